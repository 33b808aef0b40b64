"""Transformer ends, as in public DeepSC code (Xie et al. 2021, arXiv 2006.10685).

Letters: B sentences, S source tokens, T target tokens, M and N real ones of all sentences, K hypotheses a
sentence, V pieces, D model width, H heads, C real channel dimensions a token.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semcom.base import precision
from semcom.base.errors import SemcomError
from semcom.models import packed_decoding
from semcom.models.architecture import Architecture, EndSize
from semcom.models.channel_parts import ChannelDecoder, ChannelEncoder, normalize_power
from semcom.models.kernels import native
from semcom.models.layers import DecoderLayer, Embedding, EncoderLayer, joined, products, stack, widened
from semcom.models.packed_decoding import PackedDecoderState
from semcom.models.protocols import Kind, Receiver, Transmitter
from semcom.models.spans import Spans
from semcom.models.stateless_decoding import DecodingStart, DecodingStep

PAGE = 8  # caches grow by this many tokens
NARROW = 16  # tokens at least; torch's softmax over fewer columns is several times slower than over this many


@dataclass(frozen=True)
class TransformerSize:
    """Size of one end: layers, model width D, attention heads, feed-forward width.

    stored_positions: its position table is among its weights, since another machine computed it and its last
    bits differ from ours.
    """

    kind: ClassVar[str] = "transformer"
    layers: int = 4
    d_model: int = 128
    num_heads: int = 8
    dff: int = 512
    stored_positions: bool = False


LIMITS = {"layers": 64, "d_model": 8192, "num_heads": 256, "dff": 65_536}


class Encoder(nn.Module):
    """Semantic encoder: [B, S] ids -> [B, S, D] states."""

    def __init__(self, vocab_size: int, size: TransformerSize, dropout: float):
        super().__init__()
        self.embedding = Embedding(vocab_size, size.d_model, dropout, size.stored_positions)
        self.layers = stack(
            EncoderLayer(size.d_model, size.num_heads, size.dff, dropout) for _ in range(size.layers)
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        return x

    def rows(self, ids: Tensor, sent: Spans) -> Tensor:
        """``forward`` over real tokens alone: [B, S] ids -> [M, D]."""
        x = self.embedding.at(sent.pack(ids), sent.positions)
        for layer in self.layers:
            x = layer.rows(x, sent)
        return x


class Decoder(nn.Module):
    """Semantic decoder: target prefix and memory -> states; ``projection`` maps states to logits."""

    def __init__(self, vocab_size: int, size: TransformerSize, dropout: float):
        super().__init__()
        self.embedding = Embedding(vocab_size, size.d_model, dropout, size.stored_positions)
        self.layers = stack(
            DecoderLayer(size.d_model, size.num_heads, size.dff, dropout) for _ in range(size.layers)
        )
        self.projection = nn.Linear(size.d_model, vocab_size)

    def hidden(self, target_in: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """[B, T] prefix, [B, S, D] memory, [B, S] mask -> [B, T, D]."""
        x = self.embedding(target_in)
        causal, memory_mask = _causal(x), memory_mask[:, None, None, :]
        for layer in self.layers:
            past = layer.attention.keys_values(x)
            x = layer(x, past, causal, layer.cross_attention.keys_values(memory), memory_mask)
        return x

    def attention(self, target_in: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """[B, T] prefix, [B, S, D] memory, [B, S] mask -> [B, T, S], the shares by which the last layer of
        ``hidden`` mixes the memory, mean over heads. Earlier layers look about wherever they are."""
        x = self.embedding(target_in)
        causal, memory_mask = _causal(x), memory_mask[:, None, None, :]
        *before, last = self.layers
        for layer in before:
            past = layer.attention.keys_values(x)
            x = layer(x, past, causal, layer.cross_attention.keys_values(memory), memory_mask)
        asking = last.asking(x, last.attention.keys_values(x), causal)
        keys, _ = last.cross_attention.keys_values(memory)
        return last.cross_attention.shares(asking, keys, memory_mask).mean(1)

    def rows(self, target_in: Tensor, said: Spans, memory: Tensor, sent: Spans) -> Tensor:
        """``hidden`` over real tokens alone: [B, T] prefix, [M, D] memory -> [N, D]."""
        across = [layer.cross_attention for layer in self.layers]
        of_memory = products([each for a in across for each in (a.key, a.value)], memory)
        x = self.embedding.at(said.pack(target_in), said.positions)
        for layer, keys, values in zip(self.layers, of_memory[::2], of_memory[1::2]):
            x = layer.rows(x, said, (keys, values), sent)
        return x


def _causal(x: Tensor) -> Tensor:
    """[T, T] for x [B, T, D]. Targets are padded at their end, so it alone keeps real tokens from seeing
    padding."""
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()


class TransformerTransmitter(Transmitter):
    """Semantic encoder and channel encoder."""

    encoder: Encoder
    channel_encoder: ChannelEncoder
    size: TransformerSize

    def __init__(self, a: Architecture):
        size = _of_this_kind(a.transmitter)
        super().__init__(size)
        self.encoder = Encoder(a.vocab_size, size, a.dropout)
        self.channel_encoder = ChannelEncoder(size.d_model, a.channel_encoder_hidden, a.channel_dim)

    def packed(self, source: Tensor, source_mask: Tensor, sent: Spans) -> tuple[Tensor, Tensor] | None:
        if not _kernels_take(self, source.device):
            return None
        state = self.encoder.rows(source, sent)
        symbols = sent.unpack(widened(self.channel_encoder.rows(state)))
        return normalize_power(symbols, source_mask), state

    def start_from(self, teacher: Transmitter) -> None:
        """Evenly spaced layers, first and last; one layer takes the first. All else is copied whole."""
        _check_start("transmitter", self.size, teacher.size)
        _copy_layers(teacher.encoder, self.encoder)
        self.channel_encoder.load_state_dict(teacher.channel_encoder.state_dict())


class TransformerReceiver(Receiver):
    """Channel decoder and semantic decoder."""

    channel_decoder: ChannelDecoder
    decoder: Decoder
    size: TransformerSize

    def __init__(self, a: Architecture):
        size = _of_this_kind(a.receiver)
        super().__init__(size)
        self.channel_decoder = ChannelDecoder(
            a.channel_dim, size.d_model, a.channel_decoder_hidden, a.amplitude
        )
        self.decoder = Decoder(a.vocab_size, size, a.dropout)

    def forward(self, received: Tensor, source_mask: Tensor, target_in: Tensor) -> Tensor:
        return self.decoder.hidden(target_in, self.channel_decoder(received), source_mask)

    def start(self, received: Tensor, source_mask: Tensor, width: int = 1) -> "DecoderState":
        longest = int(source_mask.any(0).nonzero().max()) + 1
        memory = self.channel_decoder(received[:, :longest])
        return DecoderState(self.decoder, memory, source_mask[:, :longest], width)

    @property
    def projection(self) -> nn.Linear:
        return self.decoder.projection

    def attention(self, received: Tensor, source_mask: Tensor, target_in: Tensor) -> Tensor:
        return self.decoder.attention(target_in, self.channel_decoder(received), source_mask)

    def packed(self, received: Tensor, sent: Spans, target_in: Tensor, said: Spans) -> Tensor | None:
        if not _kernels_take(self, received.device):
            return None
        return self.decoder.rows(target_in, said, self.channel_decoder.rows(sent.pack(received)), sent)

    @torch.no_grad()
    def packed_start(
        self, received: Tensor, source_mask: Tensor, width: int = 1
    ) -> PackedDecoderState | None:
        device = received.device
        exact = precision.product_dtype(device) is None and _kernels_take(self, device)
        if self.training or not exact or not packed_decoding.takes(self.size.d_model, self.size.num_heads):
            return None
        memory = self.channel_decoder(received[source_mask])
        return PackedDecoderState(self.decoder, memory, source_mask, width)

    def stateless(self) -> tuple[nn.Module, nn.Module]:
        return DecodingStart(self), DecodingStep(self)

    def start_from(self, teacher: Receiver) -> None:
        """Evenly spaced layers, first and last; one layer takes the first. All else is copied whole."""
        _check_start("receiver", self.size, teacher.size)
        _copy_layers(teacher.decoder, self.decoder)
        self.channel_decoder.load_state_dict(teacher.channel_decoder.state_dict())


def _of_this_kind(size: EndSize) -> TransformerSize:
    assert isinstance(size, TransformerSize), f"{size} is no size of a transformer"
    return size


def _kernels_take(end: nn.Module, device: torch.device) -> bool:
    """Whether the compiled kernels can run this end: on CPUs, in float32 or with products in bfloat16."""
    exact = all(weights.dtype == torch.float32 for weights in end.parameters())
    product = precision.product_dtype(device) or torch.float32
    return device.type == "cpu" and exact and product in native.SUFFIXES


def _check_start(end: str, ours: TransformerSize, theirs: EndSize) -> None:
    theirs = _of_this_kind(theirs)
    if ours.layers > theirs.layers:
        raise SemcomError(
            f"--student-layers {ours.layers}: the teacher's {end} has {theirs.layers} layers to start from; "
            f"give at most {theirs.layers}, or --student-init random"
        )
    if replace(ours, layers=theirs.layers) != theirs:
        raise SemcomError(
            f"--student-init teacher: widths differ from the teacher's (D={ours.d_model}, "
            f"{ours.num_heads} heads, feed-forward {ours.dff}; "
            f"teacher D={theirs.d_model}, {theirs.num_heads}, {theirs.dff}); "
            "give --student-init random"
        )


def _copy_layers(source: nn.Module, target: Encoder | Decoder) -> None:
    """Into a shallower target of equal widths."""
    assert isinstance(source, type(target))
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


class DecoderState:
    """What the semantic decoder remembers of B·K rows: keys and values of the received signal, made once for
    all rows of a sentence, and of the tokens so far. All layers' lie in one tensor: keys as [layers, .., D,
    tokens], values as [layers, .., tokens, D].
    """

    def __init__(self, decoder: Decoder, memory: Tensor, mask: Tensor, width: int):
        """memory: [B, S, D]; mask: [B, S]; width: K."""
        self.embedding, self.layers = decoder.embedding, decoder.layers
        self.length = 0
        missing = max(0, NARROW - memory.shape[1])
        memory, mask = F.pad(memory, (0, 0, 0, missing)), F.pad(mask, (0, missing))
        self.unsent = memory.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)[:, None]
        across = [layer.cross_attention for layer in self.layers]
        self.memory_keys = torch.stack([attention.key(memory).transpose(1, 2) for attention in across])
        self.memory_values = torch.stack([attention.value(memory) for attention in across])
        d, heads = memory.shape[2], across[0].heads
        self.keys = memory.new_zeros(len(across), len(memory) * width, d, NARROW)
        self.values = memory.new_zeros(len(across), len(memory) * width, NARROW, d)
        apart = torch.eye(heads, device=memory.device).repeat_interleave(d // heads, 1)
        self.parts = apart * (heads / d) ** 0.5
        self.own = [
            joined(layer.attention.query, layer.attention.key, layer.attention.value) for layer in self.layers
        ]

    def step(self, tokens: Tensor) -> Tensor:
        """[N] tokens that follow -> [N, D] decoder states, from which the next tokens are told."""
        if self.length == self.keys.shape[3]:
            self.keys, self.values = F.pad(self.keys, (0, PAGE)), F.pad(self.values, (0, 0, 0, PAGE))
        x = self.embedding(tokens[:, None], start=self.length)[:, 0]
        unwritten = x.new_zeros(self.keys.shape[3])
        unwritten[self.length + 1 :] = -torch.inf
        caches = zip(self.keys, self.values, self.memory_keys, self.memory_values)
        for layer, own, (keys, values, memory_keys, memory_values) in zip(self.layers, self.own, caches):
            query, keys[:, :, self.length], values[:, self.length] = F.linear(x, *own).chunk(3, dim=1)
            x = layer.after_attention(x, layer.attention.output(self._attend(query, keys, values, unwritten)))
            mixed = self._attend(layer.cross_attention.query(x), memory_keys, memory_values, self.unsent)
            x = layer.after_cross_attention(x, layer.cross_attention.output(mixed))
            x = layer.after_feed_forward(x, layer.feed_forward(x))
        self.length += 1
        return x

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """[N, D] queries; [G, D, S] keys and [G, S, D] values of N rows or of their sentences; bias:
        broadcasts to [G, N/G·H, S]. Returns [N, D].

        One query a head makes products too small to be worth starting. So all heads and rows of a sentence
        are taken in one: each head's query stands in a row of its own [D], zero outside the head's part, and
        of what it mixes only that part is read.
        """
        heads, d = self.parts.shape
        apart = (queries[:, None] * self.parts).view(len(keys), -1, d)
        weights = torch.bmm(apart, keys).add_(bias).softmax(-1)
        mixed = torch.bmm(weights, values).view(-1, heads, heads, d // heads)
        return mixed.diagonal(dim1=1, dim2=2).transpose(1, 2).reshape(-1, d)

    def reorder(self, sentences: Tensor, rows: Tensor) -> None:
        """Go on with these sentences alone, from what these rows have said, K rows a sentence."""
        if len(sentences) < len(self.unsent):
            self.unsent = self.unsent[sentences]
            self.memory_keys = self.memory_keys[:, sentences]
            self.memory_values = self.memory_values[:, sentences]
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]


TRANSMITTER = Kind[Transmitter](TransformerTransmitter, TransformerSize, LIMITS)
RECEIVER = Kind[Receiver](TransformerReceiver, TransformerSize, LIMITS)
