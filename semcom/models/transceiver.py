"""Transmitter, receiver and the transceiver of both; ``splice`` joins parts of two transceivers.

Architecture of public DeepSC code (Xie et al. 2021, arXiv 2006.10685). Letters: B sentences, S source tokens,
T target tokens, V pieces, D model width, C real channel dimensions a token. The seam between the ends is the
channel signal alone, so ends of any depth and width splice as long as C and V agree.
"""

import copy
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semcom.base.errors import SemcomError
from semcom.models.layers import LAYER_NORM_EPS, DecoderLayer, Embedding, EncoderLayer, widened
from semcom.models.settings import PARTS, RECEIVER_PARTS, TRANSMITTER_PARTS

LIMITS = {
    "vocab_size": 1_000_000,
    "channel_dim": 4096,
    "layers": 64,
    "d_model": 8192,
    "num_heads": 256,
    "dff": 65_536,
    "channel_encoder_hidden": 65_536,
    "channel_decoder_hidden": 65_536,
}
"""The largest sizes that are taken from a file."""
CHANNEL_PART_FIELDS = {
    "channel_encoder": ("channel_encoder_hidden",),
    "channel_decoder": ("channel_decoder_hidden", "amplitude"),
}


@dataclass(frozen=True)
class EndSize:
    """Size of one end: layers, model width D, attention heads, feed-forward width.

    stored_positions: its position table is among its weights, since another machine computed it and its last
    bits differ from ours.
    """

    layers: int = 4
    d_model: int = 128
    num_heads: int = 8
    dff: int = 512
    stored_positions: bool = False


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a transceiver whose weights are then loaded.

    channel_encoder_hidden, channel_decoder_hidden: widths between D and C, and between D and D. amplitude:
    the receiver was trained on signals this many times as strong as ours, so it multiplies what arrives by
    it: 1, or sqrt(2) where the transceiver comes from public DeepSC code, whose signals have power 1 per real
    dimension.
    """

    vocab_size: int
    transmitter: EndSize = EndSize()
    receiver: EndSize = EndSize()
    channel_dim: int = 16
    dropout: float = 0.1
    channel_encoder_hidden: int = 256
    channel_decoder_hidden: int = 512
    amplitude: float = 1.0

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict) -> "Architecture":
        ends = {end: EndSize(**fields[end]) for end in ("transmitter", "receiver")}
        return cls(**{**fields, **ends})


@dataclass(frozen=True)
class Record:
    """What one forward pass leaves to look at.

    signal: [B, S, C]; encoder_state: [B, S, D]; decoder_state: [B, T, D], not yet projected to V.
    """

    signal: Tensor
    encoder_state: Tensor
    decoder_state: Tensor


def normalize_power(x: Tensor, mask: Tensor) -> Tensor:
    """Scale [B, S, C] to mean power 1 per complex symbol, per sentence, over real tokens only; padded ones
    send zeros."""
    x = x * mask[..., None]
    power = x.square().sum((1, 2), keepdim=True) / (mask.sum(1)[:, None, None] * x.shape[-1] / 2)
    return x * torch.rsqrt(power.clamp_min(1e-12))


class Encoder(nn.Module):
    """Semantic encoder: [B, S] ids -> [B, S, D] states."""

    def __init__(self, vocab_size: int, size: EndSize, dropout: float):
        super().__init__()
        self.embedding = Embedding(vocab_size, size.d_model, dropout, size.stored_positions)
        self.layers = nn.ModuleList(
            EncoderLayer(size.d_model, size.num_heads, size.dff, dropout) for _ in range(size.layers)
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        return x


class ChannelEncoder(nn.Sequential):
    """[B, S, D] states -> [B, S, C] symbols, not yet of unit power."""

    def __init__(self, width: int, hidden: int, channel_dim: int):
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, channel_dim))


class ChannelDecoder(nn.Module):
    """[B, S, C] received symbols, of transmitted power 1 per complex symbol -> [B, S, D] memory."""

    def __init__(self, channel_dim: int, width: int, hidden: int, amplitude: float):
        super().__init__()
        self.amplitude = amplitude
        self.linear1 = nn.Linear(channel_dim, width)
        self.linear2 = nn.Linear(width, hidden)
        self.linear3 = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    def forward(self, received: Tensor) -> Tensor:
        u = self.linear1(received if self.amplitude == 1 else received * self.amplitude)
        u = u + self.linear3(F.relu(self.linear2(F.relu(u))))
        return self.norm(
            u.to(received.dtype)
        )  # two products of rounded factors: their sum is rounded too, LayerNorm is not to be


class Decoder(nn.Module):
    """Semantic decoder: target prefix and memory -> states; ``project`` maps states to logits."""

    def __init__(self, vocab_size: int, size: EndSize, dropout: float):
        super().__init__()
        self.embedding = Embedding(vocab_size, size.d_model, dropout, size.stored_positions)
        self.layers = nn.ModuleList(
            DecoderLayer(size.d_model, size.num_heads, size.dff, dropout) for _ in range(size.layers)
        )
        self.projection = nn.Linear(size.d_model, vocab_size)

    def hidden(self, target_in: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """[B, T] prefix, [B, S, D] memory, [B, S] mask -> [B, T, D]."""
        x = self.embedding(target_in)
        # Targets are padded at their end, so the causal mask alone keeps real tokens from seeing padding.
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        memory_mask = memory_mask[:, None, None, :]
        for layer in self.layers:
            x = layer(
                x,
                layer.attention.keys_values(x),
                causal,
                layer.cross_attention.keys_values(memory),
                memory_mask,
            )
        return x

    def project(self, state: Tensor) -> Tensor:
        """[..., D] states -> [..., V] logits."""
        return self.projection(state)


class Transmitter(nn.Module):
    """Semantic encoder and channel encoder: a sentence becomes channel symbols."""

    def __init__(self, a: Architecture):
        super().__init__()
        self.encoder = Encoder(a.vocab_size, a.transmitter, a.dropout)
        self.channel_encoder = ChannelEncoder(a.transmitter.d_model, a.channel_encoder_hidden, a.channel_dim)

    def forward(self, source: Tensor, source_mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S] ids and mask -> signal [B, S, C] of unit power per complex symbol, encoder state [B, S,
        D]."""
        state = self.encoder(source, source_mask)
        return normalize_power(widened(self.channel_encoder(state)), source_mask), state


class Receiver(nn.Module):
    """Channel decoder and semantic decoder: noisy symbols become a sentence."""

    def __init__(self, a: Architecture):
        super().__init__()
        self.channel_decoder = ChannelDecoder(
            a.channel_dim, a.receiver.d_model, a.channel_decoder_hidden, a.amplitude
        )
        self.decoder = Decoder(a.vocab_size, a.receiver, a.dropout)

    def forward(self, received: Tensor, source_mask: Tensor, target_in: Tensor) -> Tensor:
        """Received [B, S, C], which symbols are real [B, S], prefix [B, T] -> decoder state [B, T, D].

        The receiver knows how many symbols were sent: ``source_mask`` masks the memory in training and
        decoding alike.
        """
        return self.decoder.hidden(target_in, self.channel_decoder(received), source_mask)

    @property
    def projection(self) -> nn.Linear:
        """What maps decoder states to logits."""
        return self.decoder.projection

    def project(self, state: Tensor) -> Tensor:
        """[..., D] states -> [..., V] logits."""
        return self.decoder.project(state)


class Transceiver(nn.Module):
    """A transmitter and a receiver that share a vocabulary and a signal width C."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.transmitter = Transmitter(architecture)
        self.receiver = Receiver(architecture)

    def part(self, name: str) -> nn.Module:
        """The module of one of ``PARTS``."""
        return getattr(self.transmitter if name in TRANSMITTER_PARTS else self.receiver, name)

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def build(architecture: Architecture, seed: int) -> Transceiver:
    """A transceiver with fresh weights: embeddings of standard deviation D^-0.5, all else uniform within
    fan_in^-0.5.

    Xavier over V x D would start embeddings near zero, and positions would drown the words; Xavier in the
    layers starts the residual branches so strong that the receiver takes several times as long to find out
    where to attend.
    """
    model = Transceiver(architecture)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5, generator=generator)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    return model


def check_joint(transmitter: Architecture, receiver: Architecture) -> None:
    """Raise unless a transmitter of one architecture and a receiver of the other share V and C."""
    for name, what in (("vocab_size", "vocabulary size"), ("channel_dim", "signal width C")):
        ours, theirs = getattr(transmitter, name), getattr(receiver, name)
        if ours != theirs:
            raise SemcomError(
                f"the ends do not join: {what} {ours} beside {theirs}; use checkpoints that share it"
            )


def splice(teacher: Transceiver, student: Transceiver, parts: Iterable[str]) -> Transceiver:
    """A copy of ``teacher`` with the named ``parts`` taken from ``student``.

    Raises SemcomError when the ends cannot share a signal, or a set that separates parts of one end meets
    unequal D.
    """
    parts = frozenset(parts)
    if unknown := parts.difference(PARTS):
        raise SemcomError(f"hybrid part {sorted(unknown)[0]!r} is unknown; allowed are {' '.join(PARTS)}")
    ours, theirs = teacher.architecture, student.architecture
    check_joint(ours, theirs)
    sizes = {}
    for end, owned in (("transmitter", TRANSMITTER_PARTS), ("receiver", RECEIVER_PARTS)):
        taken = parts.intersection(owned)
        teacher_size, student_size = getattr(ours, end), getattr(theirs, end)
        if len(taken) == 1 and teacher_size.d_model != student_size.d_model:
            raise SemcomError(
                f"--hybrid-parts {' '.join(sorted(parts))}: separates {owned[0]} from {owned[1]}, whose widths differ "
                f"(D={teacher_size.d_model} in the teacher, {student_size.d_model} in the student); take both: {' '.join(owned)}"
            )
        # Layers, heads and feed-forward belong to the semantic part; the channel part has D and C alone.
        semantic = owned[0] if end == "transmitter" else owned[1]
        sizes[end] = student_size if semantic in taken or len(taken) == 2 else teacher_size
    for part, owned in CHANNEL_PART_FIELDS.items():
        sizes |= {name: getattr(theirs if part in parts else ours, name) for name in owned}
    with torch.device("meta"):
        hybrid = Transceiver(replace(ours, **sizes))
    for name in PARTS:
        source = student if name in parts else teacher
        owner = hybrid.transmitter if name in TRANSMITTER_PARTS else hybrid.receiver
        setattr(owner, name, copy.deepcopy(source.part(name)))
    return hybrid.train(teacher.training)


def from_teacher_layers(teacher: Transceiver, student: Transceiver) -> None:
    """Copy the teacher's weights into a shallower ``student`` of equal widths: evenly spaced layers, first
    and last.

    One layer takes the first. Everything outside the layers is copied whole.
    """
    for name in PARTS:
        source, target = teacher.part(name), student.part(name)
        if not hasattr(target, "layers"):
            target.load_state_dict(source.state_dict())
            continue
        chosen = evenly_spaced(len(source.layers), len(target.layers))
        for index, layer in zip(chosen, target.layers):
            layer.load_state_dict(source.layers[index].state_dict())
        outside = {key: value for key, value in source.state_dict().items() if not key.startswith("layers.")}
        target.load_state_dict({**target.state_dict(), **outside})


def evenly_spaced(total: int, wanted: int) -> list[int]:
    """``wanted`` of ``total`` indices, first and last among them; one index is the first."""
    if wanted == 1:
        return [0]
    return [round(k * (total - 1) / (wanted - 1)) for k in range(wanted)]
