"""What an end of a link is. Decoding, kernels, objectives and measures call what stands here and never reach
into a layer, so an end of a new kind is a file like ``transformer`` and a row of ``kinds``.

An end has two parts by name, which are trained, frozen and spliced apart. Letters: B sentences, S source
tokens, T target tokens, M and N real ones of all sentences, K hypotheses a sentence, V pieces, D width of an
end's states, C real channel dimensions a token.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from semcom.base.errors import SemcomError
from semcom.models.architecture import Architecture, EndSize
from semcom.models.channel_parts import normalize_power
from semcom.models.kinds import USUAL
from semcom.models.layers import widened
from semcom.models.spans import Spans


class DecodingState(Protocol):
    """What a receiver remembers of B·K rows while they are decoded, a token at a time; K rows a sentence, one
    after the other."""

    def step(self, tokens: Tensor) -> Tensor:
        """[B·K] tokens that follow -> [B·K, D] states, which ``project`` maps to logits of the next ones."""

    def reorder(self, sentences: Tensor, rows: Tensor) -> None:
        """Go on with these sentences alone, indices [b], from what these rows have said, indices [b·K]."""


@runtime_checkable
class MoreThanWeights(Protocol):
    """A module, of any depth within an end, whose forward pass depends on more than its weights."""

    @property
    def beside_weights(self) -> str:
        """That, for the fingerprint; empty where it is the usual, so that what older runs recorded still
        holds."""


class _End(nn.Module, ABC):
    def __init__(self, size: EndSize):
        super().__init__()
        self.size = size

    @property
    def beside_weights(self) -> str:
        """See ``MoreThanWeights``: kind and size, but of the usual kind, whose layers say it."""
        size = self.size
        return "" if size.kind == USUAL else f"{size.kind} {sorted(asdict(size).items())}"


class Transmitter(_End):
    """Makes channel symbols of a sentence. encoder: (ids [B, S], mask [B, S]) -> states [B, S, D];
    channel_encoder: states -> symbols [B, S, C], of any power."""

    encoder: nn.Module
    channel_encoder: nn.Module

    def forward(self, source: Tensor, source_mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S] ids and mask -> signal [B, S, C] of unit power per complex symbol, encoder state [B, S,
        D]."""
        state = self.encoder(source, source_mask)
        return normalize_power(widened(self.channel_encoder(state)), source_mask), state

    def packed(self, source: Tensor, source_mask: Tensor, sent: Spans) -> tuple[Tensor, Tensor] | None:
        """``forward`` by compiled kernels: signal [B, S, C] and the encoder state of real tokens, [M, D].
        Optional; None where this end, as it is, has none."""
        return None

    def start_from(self, teacher: "Transmitter") -> None:
        """Take the weights of a larger end of the same kind. Optional. Raises SemcomError where they do not
        fit."""
        raise SemcomError(_no_start("transmitter", self.size))


class Receiver(_End):
    """Makes a sentence of noisy symbols. channel_decoder: received [B, S, C] -> what ``decoder`` reads.

    The receiver knows how many symbols were sent: the mask [B, S] says which are real, in training and
    decoding alike.
    """

    channel_decoder: nn.Module
    decoder: nn.Module

    @property
    def hears_snr(self) -> bool:
        """Whether what it receives has a last column that tells the SNR in dB, see ``link.heard_by``."""
        return False

    @property
    def says_logits(self) -> bool:
        """Whether its states are the logits, D = V, so that ``projection`` is not there to be looked at."""
        return False

    @abstractmethod
    def forward(self, received: Tensor, source_mask: Tensor, target_in: Tensor) -> Tensor:
        """Received [B, S, C], mask [B, S], prefix [B, T], padded at its end -> decoder state [B, T, D]; that
        at t knows the tokens up to t alone."""

    @abstractmethod
    def start(self, received: Tensor, source_mask: Tensor, width: int = 1) -> DecodingState:
        """Begin to decode B sentences, ``width`` rows each; a ``step`` tells what ``forward`` would."""

    @property
    @abstractmethod
    def projection(self) -> nn.Linear:
        """What maps decoder states to logits, with a bias."""

    def project(self, state: Tensor) -> Tensor:
        """[..., D] states -> [..., V] logits."""
        return self.projection(state)

    def packed(self, received: Tensor, sent: Spans, target_in: Tensor, said: Spans) -> Tensor | None:
        """``forward`` by compiled kernels: the decoder state of real target tokens, [N, D]. Optional; None
        where this end, as it is, has none."""
        return None

    def packed_start(self, received: Tensor, source_mask: Tensor, width: int = 1) -> DecodingState | None:
        """``start`` by compiled kernels. Optional; None where this end, as it is, has none."""
        return None

    def attention(self, received: Tensor, source_mask: Tensor, target_in: Tensor) -> Tensor | None:
        """From where the receiver reads, as ``forward`` has it: received [B, S, C], mask [B, S], prefix
        [B, T] -> shares [B, T, S] that sum to 1 over the symbols of real tokens and are 0 at padding.
        Optional; None where this end does not attend."""
        return None

    def stateless(self) -> tuple[nn.Module, nn.Module] | None:
        """``start`` and ``step`` as modules of tensors alone, as ``stateless_decoding`` has them, of which
        graphs for other programs are made. Optional; None where this end has none."""
        return None

    def start_from(self, teacher: "Receiver") -> None:
        """Take the weights of a larger end of the same kind. Optional. Raises SemcomError where they do not
        fit."""
        raise SemcomError(_no_start("receiver", self.size))


def _no_start(end: str, size: EndSize) -> str:
    return (
        f"--student-init teacher: a {end} of kind {size.kind} cannot start from a teacher's layers; "
        "give --student-init random"
    )


def draw_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Fresh weights: embeddings of standard deviation D^-0.5; all else that has matrices uniform within
    fan_in^-0.5, biases too; norms stay as they are.

    Xavier over V x D would start embeddings near zero, and positions would drown the words; Xavier in the
    layers starts the residual branches so strong that the receiver takes several times as long to find out
    where to attend.
    """
    for part in module.modules():
        own = list(part.parameters(recurse=False))
        matrices = [weights for weights in own if weights.dim() > 1]
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=part.embedding_dim**-0.5, generator=generator)
        elif matrices:
            bound = max(weights[0].numel() for weights in matrices) ** -0.5
            for weights in own:
                nn.init.uniform_(weights, -bound, bound, generator=generator)


End = TypeVar("End", Transmitter, Receiver)


@dataclass(frozen=True)
class Kind(Generic[End]):
    """One kind of end. make: builds it, its weights not yet drawn; size: the dataclass of its size; limits:
    the largest of its whole numbers that are taken from a file; draw: gives it fresh weights."""

    make: Callable[[Architecture], End]
    size: type[EndSize]
    limits: Mapping[str, int]
    draw: Callable[[nn.Module, torch.Generator], None] = draw_weights
