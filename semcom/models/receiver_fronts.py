"""What may stand before a receiver of any kind: an aligner, which maps what comes of a foreign transmitter,
and a bias made of the SNR.

A front changes what the receiver reads and nothing else: decoding, kernels, losses and parts are those of the
receiver behind it. Letters: B sentences, S source tokens, T target tokens, N real ones of all sentences, V
pieces, D width of an end's states, C_a real channel dimensions a token of what arrives, C_b of what the
receiver behind the front reads.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from semcom.models.aligner import Aligner
from semcom.models.architecture import Architecture
from semcom.models.kinds import RECEIVERS
from semcom.models.protocols import DecodingState, Receiver
from semcom.models.snr_bias import SNRBias
from semcom.models.spans import Spans


class FrontedReceiver(Receiver):
    """A receiver with something before it.

    own: name of the module that is the front's; all else is that of ``inner``.
    """

    own: ClassVar[str]
    inner: Receiver

    def __init__(self, inner: Receiver):
        super().__init__(inner.size)
        self.inner = inner

    @abstractmethod
    def front(self, received: Tensor, source_mask: Tensor) -> Tensor:
        """What arrives, [B, S, C_a], and mask [B, S] -> what ``inner`` reads, [B, S, C_b]; zeros at
        padding."""

    @abstractmethod
    def draw(self, generator: torch.Generator) -> None:
        """Fresh weights of the front's own module, those of ``inner`` apart."""

    @property
    def hears_snr(self) -> bool:
        return self.inner.hears_snr

    @property
    def channel_decoder(self) -> nn.Module:  # type: ignore[override]  # that of ``inner``, set by ``set_part``
        return self.inner.channel_decoder

    @property
    def decoder(self) -> nn.Module:  # type: ignore[override]
        return self.inner.decoder

    @property
    def projection(self) -> nn.Linear:
        return self.inner.projection

    def project(self, state: Tensor) -> Tensor:
        return self.inner.project(state)

    def forward(self, received: Tensor, source_mask: Tensor, target_in: Tensor) -> Tensor:
        return self.inner(self.front(received, source_mask), source_mask, target_in)

    def start(self, received: Tensor, source_mask: Tensor, width: int = 1) -> DecodingState:
        return self.inner.start(self.front(received, source_mask), source_mask, width)

    def packed(self, received: Tensor, sent: Spans, target_in: Tensor, said: Spans) -> Tensor | None:
        return self.inner.packed(self.front(received, sent.mask), sent, target_in, said)

    @torch.no_grad()
    def packed_start(self, received: Tensor, source_mask: Tensor, width: int = 1) -> DecodingState | None:
        return self.inner.packed_start(self.front(received, source_mask), source_mask, width)

    def attention(self, received: Tensor, source_mask: Tensor, target_in: Tensor) -> Tensor | None:
        return self.inner.attention(self.front(received, source_mask), source_mask, target_in)

    def stateless(self) -> tuple[nn.Module, nn.Module] | None:
        found = self.inner.stateless()
        return None if found is None else (_FrontedStart(self, found[0]), found[1])

    def start_from(self, teacher: Receiver) -> None:
        """The receiver behind the front as its kind says; the front as the teacher's, where it has one."""
        for theirs in fronts(teacher):
            if theirs.own == self.own:
                getattr(self, self.own).load_state_dict(getattr(theirs, self.own).state_dict())
        self.inner.start_from(teacher)


class _FrontedStart(nn.Module):
    """What ``start`` of the receiver behind a front makes of what the front does."""

    def __init__(self, fronted: FrontedReceiver, start: nn.Module):
        super().__init__()
        self.fronted, self.start = fronted, start

    def forward(self, received: Tensor, source_mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.start(self.fronted.front(received, source_mask), source_mask)


class AlignedReceiver(FrontedReceiver):
    """A receiver behind a map of what arrives."""

    own = "aligner"
    aligner: Aligner

    def __init__(self, inner: Receiver, aligner: Aligner):
        super().__init__(inner)
        self.aligner = aligner

    def front(self, received: Tensor, source_mask: Tensor) -> Tensor:
        """What is told beside the symbols, after C_a columns, goes on as it is."""
        symbols, told = received.tensor_split([self.aligner.inputs], -1)
        aligned = self.aligner(symbols) * source_mask[..., None]
        return torch.cat((aligned, told), -1) if told.shape[-1] else aligned

    def draw(self, generator: torch.Generator) -> None:
        self.aligner.draw(generator)


class SNRAwareReceiver(FrontedReceiver):
    """A receiver that is told the SNR in dB, in the last column of what it receives, [B, S, C_b + 1], and
    adds a bias made of it to the symbols of real tokens."""

    own = "snr_bias"
    snr_bias: SNRBias

    def __init__(self, inner: Receiver, snr_bias: SNRBias):
        super().__init__(inner)
        self.snr_bias = snr_bias

    @property
    def hears_snr(self) -> bool:
        return True

    def front(self, received: Tensor, source_mask: Tensor) -> Tensor:
        symbols, snr_db = received[..., :-1], received[:, :1, -1:]
        return symbols + self.snr_bias(snr_db) * source_mask[..., None]

    def draw(self, generator: torch.Generator) -> None:
        self.snr_bias.draw(generator)


def made_receiver(a: Architecture) -> Receiver:
    """The receiver of an architecture behind its fronts, the aligner outermost; its weights not yet drawn."""
    behind = a.behind_aligner
    receiver = RECEIVERS[a.receiver.kind]().make(behind)
    if a.snr_aware:
        receiver = SNRAwareReceiver(receiver, SNRBias(behind.channel_dim))
    if a.aligner is not None:
        receiver = AlignedReceiver(receiver, Aligner(a.channel_dim, a.aligner))
    return receiver


def fronts(receiver: Receiver) -> Iterator[FrontedReceiver]:
    """Those before a receiver, the outermost first."""
    while isinstance(receiver, FrontedReceiver):
        yield receiver
        receiver = receiver.inner


def behind_fronts(receiver: Receiver) -> Receiver:
    """The receiver that the fronts stand before."""
    while isinstance(receiver, FrontedReceiver):
        receiver = receiver.inner
    return receiver


def owner_of(receiver: Receiver, part: str) -> Receiver:
    """Who of a receiver and its fronts has this module as its own."""
    own = [front for front in fronts(receiver) if front.own == part]
    return own[0] if own else behind_fronts(receiver)
