"""A transformer's decoder, a token at a time, by compiled kernels: what ``DecoderState`` computes in torch.

What rows have said stays where it was written: each token of each row has a slot, and to go on from another
row's tokens is to copy their numbers. Nothing is padded: a sentence has as many keys as it has tokens.

Letters: B sentences, K hypotheses a sentence, N = B·K rows, M tokens received of all sentences, D model
width, H heads, W width of queries, keys and values, F of the feed-forward.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semcom.models.kernels import native
from semcom.models.kernels.products import LANES, PACKED, padded, panels, up_to
from semcom.models.layers import Attention, DecoderLayer, Embedding
from semcom.models.weight_cache import kept

PAGE = 16
"""Tokens whose keys and values lie together, as in the C++."""

_STEP = native.structure(
    "tokens embedding position own own_bias own_output own_output_bias query query_bias output output_bias "
    "up up_bias down down_bias norms pages page_slots slots memory_keys memory_values starts "
    "sentences states",
    "rows layers width inner heads hidden length slots_stride memory_tokens threads",
    "scale eps",
)


@dataclass(frozen=True)
class HeadPlaces:
    """Where the dimensions of H heads lie in W: of all heads the first, of all heads the second, and so on.

    Heads are counted up to a power of two and W to whole vectors; what no head has is 0.
    """

    width: int
    heads: int

    @property
    def lanes(self) -> int:
        return 1 << (self.heads - 1).bit_length()

    @property
    def inner(self) -> int:
        """W."""
        return up_to(self.width // self.heads * self.lanes, LANES)

    def outputs(self, x: Tensor) -> Tensor:
        """[H·d, ...] -> [W, ...]."""
        by_dimension = x.unflatten(0, (self.heads, -1)).transpose(0, 1)
        placed = x.new_zeros(self.inner, *x.shape[1:])
        lanes = placed[: by_dimension.shape[0] * self.lanes].unflatten(0, (-1, self.lanes))
        lanes[:, : self.heads] = by_dimension
        return placed


class PackedDecoder:
    """Weights of a decoder as the kernel reads them, those of each kind of all layers in one tensor."""

    def __init__(self, decoder: nn.Module):
        """decoder: has ``layers``."""
        layers = cast(Sequence[DecoderLayer], decoder.layers)
        attention = layers[0].attention
        self.width = attention.query.in_features
        self.places = HeadPlaces(self.width, attention.heads)
        self.hidden = cast(nn.Linear, layers[0].feed_forward[0]).out_features
        self.eps = layers[0].after_attention.norm.eps
        made: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for layer in layers:
            for name, (weight, bias) in self._products(layer).items():
                made.setdefault(name, []).append((panels(weight), padded(bias)))
        self.members = {name: torch.stack([w for w, _ in each]) for name, each in made.items()}
        self.members |= {f"{name}_bias": torch.stack([b for _, b in each]) for name, each in made.items()}
        norms = [
            [residual.norm.weight, residual.norm.bias]
            for layer in layers
            for residual in (layer.after_attention, layer.after_cross_attention, layer.after_feed_forward)
        ]
        self.members["norms"] = torch.stack([each for pair in norms for each in pair])
        across = [layer.cross_attention for layer in layers]
        self.memory_keys = [self._received(a.key) for a in across]
        self.memory_values = [self._received(a.value) for a in across]

    def _products(self, layer: DecoderLayer) -> dict[str, tuple[Tensor, Tensor]]:
        own, across = layer.attention, layer.cross_attention
        up, _, down = cast(Iterable[nn.Linear], layer.feed_forward)
        joined = [self._query(own), self._received(own.key), self._received(own.value)]
        return {
            "own": (torch.cat([w for w, _ in joined]), torch.cat([b for _, b in joined])),
            "own_output": self._output(own),
            "query": self._query(across),
            "output": self._output(across),
            "up": (up.weight, up.bias),
            "down": (down.weight, down.bias),
        }

    def _received(self, linear: nn.Linear) -> tuple[Tensor, Tensor]:
        return self.places.outputs(linear.weight), self.places.outputs(linear.bias)

    def _query(self, attention: Attention) -> tuple[Tensor, Tensor]:
        """Scaled, so that weights are powers of 2."""
        scale = math.log2(math.e) * math.sqrt(self.places.heads / self.width)
        weight, bias = self._received(attention.query)
        return weight * scale, bias * scale

    def _output(self, attention: Attention) -> tuple[Tensor, Tensor]:
        return self.places.outputs(attention.output.weight.t()).t(), attention.output.bias


def takes(width: int, heads: int) -> bool:
    """Whether the kernel can run such layers, rows of whole vectors, all heads in one; and there is one."""
    fits = width % LANES == 0 and heads <= LANES
    return fits and native.can_decode()


class PackedDecoderState:
    """What B·K rows have said, and what was received of their B sentences.

    slots: [N, tokens], in a page of the tokens' keys and values; own: [N], where a row's next token will be;
    sentences: [N], whose a row is.
    """

    def __init__(self, decoder: nn.Module, memory: Tensor, mask: Tensor, width: int):
        """decoder: has ``embedding`` and ``layers``; memory: [M, D], of the real tokens of mask [B, S];
        width: K."""
        self.embedding, self.width = cast(Embedding, decoder.embedding), width
        self.decoder = kept(PackedDecoder, decoder)
        self.starts = F.pad(mask.sum(1).cumsum(0), (1, 0))
        self.memory_keys = self._of_memory(memory, self.decoder.memory_keys)
        self.memory_values = self._of_memory(memory, self.decoder.memory_values)
        rows = len(mask) * width
        self.sentences = torch.arange(len(mask)).repeat_interleave(width)
        self.own = torch.arange(rows, dtype=torch.int32)
        self.slots = torch.empty(rows, 0, dtype=torch.int32)
        self.pages: list[Tensor] = []
        self.length = 0

    @staticmethod
    def _of_memory(memory: Tensor, maps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """[layers, M, W]."""
        made = memory.new_empty(len(maps), len(memory), len(maps[0][1]))
        for to, (weight, bias) in zip(made, maps):
            torch.addmm(bias, memory, weight.t(), out=to)
        return made

    def step(self, tokens: Tensor) -> Tensor:
        """[N] tokens that follow -> [N, D] decoder states, from which the next tokens are told."""
        self._check(tokens)
        if self.length == len(self.pages) * PAGE:
            self._add_page()
        self.slots[:, self.length] = self.own
        decoder, rows = self.decoder, len(self.own)
        states = torch.zeros(rows, up_to(decoder.width, PACKED))
        read = {
            "tokens": tokens,
            "embedding": self.embedding.table.weight,
            "position": self.embedding.positions[self.length],
            "pages": torch.tensor([page.data_ptr() for page in self.pages]),
            "page_slots": torch.tensor([page.shape[2] for page in self.pages]),
            "slots": self.slots,
            "memory_keys": self.memory_keys,
            "memory_values": self.memory_values,
            "starts": self.starts,
            "sentences": self.sentences,
            **decoder.members,
        }
        sizes = {
            "rows": rows,
            "layers": len(decoder.memory_keys),
            "width": decoder.width,
            "inner": decoder.places.inner,
            "heads": decoder.places.lanes,
            "hidden": decoder.hidden,
            "length": self.length,
            "slots_stride": self.slots.shape[1],
            "memory_tokens": self.memory_keys.shape[1],
            "scale": self.embedding.scale,
            "eps": decoder.eps,
        }
        native.call("decoding_step", torch.float32, _STEP, **read, **sizes, states=states)
        self.length += 1
        return states[:, : decoder.width]

    def _check(self, tokens: Tensor) -> None:
        native.check({"tokens": (tokens, self.own.shape, torch.int64)})
        lowest, highest = (int(each) for each in tokens.aminmax())
        size = len(self.embedding.table.weight)
        if lowest < 0 or highest >= size:
            raise IndexError(f"tokens from {lowest} to {highest}, of {size}")

    def _add_page(self) -> None:
        """Room for the keys and values of PAGE more tokens of the rows that are left."""
        layers, rows = len(self.decoder.memory_keys), len(self.own)
        self.pages.append(torch.empty(2, layers, rows, PAGE, self.decoder.places.inner))
        self.own = torch.arange(rows, dtype=torch.int32)
        self.slots = F.pad(self.slots, (0, PAGE))

    def reorder(self, sentences: Tensor, rows: Tensor) -> None:
        """Go on with these sentences alone, from what these rows have said, K rows a sentence."""
        if self.width * len(sentences) < len(self.own):
            self.own = self.own.unflatten(0, (-1, self.width))[sentences].flatten()
            self.sentences = self.sentences.unflatten(0, (-1, self.width))[sentences].flatten()
        self.slots = self.slots[rows]
