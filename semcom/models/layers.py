"""Attention, feed-forward and positions. Masks have one polarity everywhere: True = may attend.

``rows`` of a layer is its ``forward`` over real tokens alone, laid end to end, by the compiled kernels. The
values are the same, but for rounding and the order of random numbers.

Letters: B sentences, S or T tokens, N or M real tokens of all sentences, D model width, H heads.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semcom.data.settings import MAX_POSITIONS
from semcom.models.kernels.attention import attend
from semcom.models.kernels.linear import linear
from semcom.models.kernels.residual import normed_sum
from semcom.models.spans import Spans

LAYER_NORM_EPS = 1e-6
USUAL_HEADS = 8

Layer = TypeVar("Layer", bound=nn.Module)


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """[length, D]: sin in the even, cos in the odd dimensions (Vaswani et al. 2017, section 3.5)."""
    position = torch.arange(length, dtype=torch.float32, device="cpu")[:, None]
    frequency = torch.exp(
        torch.arange(0, width, 2, dtype=torch.float32, device="cpu") * (-math.log(10000.0) / width)
    )
    table = torch.zeros(length, width, device="cpu")
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)[:, : width // 2]
    return table


def widened(x: Tensor) -> Tensor:
    """float32 of what is narrower; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def stack(layers: Iterable[Layer]) -> Sequence[Layer]:
    """Layers of one kind as a module; type checkers know a ``ModuleList`` by no more than its methods."""
    return cast(Sequence[Layer], nn.ModuleList(layers))


class Dropout(nn.Module):
    """Inverted dropout whose CPU masks come from a generator of its own, see ``seed_dropout``.

    torch's ``bernoulli_`` runs on one CPU thread and is a large part of a step; 16 random bits an element are
    far cheaper and give the rate to 1 part in 65,536.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate
        self.bits: np.random.SFC64 | None = None

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return F.dropout(x, self.rate, self.training)
        words, threshold = self.words(x)
        if words is None:
            return x
        return x * (words >= threshold).to(x.dtype).mul_(1 / (1 - self.rate))

    def words(self, x: Tensor) -> tuple[Tensor | None, int]:
        """A random int16 for each element of ``x``, and the least that keeps it; None where nothing is
        dropped."""
        if not self.training or self.rate == 0:
            return None, 0
        if self.bits is None:
            raise RuntimeError("call seed_dropout(model, seed) before training")
        words = torch.from_numpy(self.bits.random_raw((x.numel() + 3) // 4).view(np.int16))
        return words[: x.numel()].view(x.shape), min(round(self.rate * 65536), 65535) - 32768


def seed_dropout(model: nn.Module, seed: int) -> None:
    """Give the dropouts of ``model`` one generator, started from ``seed``; on CUDA, the device's
    generator."""
    bits = np.random.SFC64(seed)
    for module in model.modules():
        if isinstance(module, Dropout):
            module.bits = bits
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def dropout_state(model: nn.Module, device: torch.device) -> list[list[int]]:
    """The state of the generators of ``model``'s dropouts after ``seed_dropout``, as whole numbers: its own
    one's, none where it has no dropout, and on CUDA the device's."""
    bits = _bits(model)
    own = [int(word) for word in bits.state["state"]["state"]] if bits else []
    return [own, torch.cuda.get_rng_state(device).tolist() if device.type == "cuda" else []]


def load_dropout_state(model: nn.Module, device: torch.device, state: list[list[int]]) -> None:
    """Go on from a ``dropout_state``."""
    own, of_device = state
    if bits := _bits(model):
        before = bits.state
        bits.state = {**before, "state": {"state": np.array(own, dtype=np.uint64)}}
    if device.type == "cuda":
        torch.cuda.set_rng_state(torch.tensor(of_device, dtype=torch.uint8), device)


def _bits(model: nn.Module) -> np.random.SFC64 | None:
    return next((module.bits for module in model.modules() if isinstance(module, Dropout)), None)


class Embedding(nn.Module):
    """Pieces to vectors: embedding times sqrt(D) plus sinusoidal position, then dropout."""

    positions: Tensor

    def __init__(self, vocab_size: int, width: int, dropout: float, stored_positions: bool = False):
        super().__init__()
        # Weights are drawn by ``build`` or loaded; torch's own drawing would import its compiler where a
        # model is only sketched.
        self.table = nn.Embedding.from_pretrained(torch.empty(vocab_size, width), freeze=False)
        self.register_buffer(
            "positions", sinusoidal_positions(MAX_POSITIONS, width), persistent=stored_positions
        )
        self.dropout = Dropout(dropout)
        self.scale = math.sqrt(width)

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        """[B, T] ids whose first stands at position ``start`` -> [B, T, D]."""
        return self.at(ids, slice(start, start + ids.shape[1]))

    def at(self, ids: Tensor, positions: Tensor | slice) -> Tensor:
        """Ids [..., N] at their ``positions``, [N] or a slice of as many -> [..., N, D]."""
        return self.dropout(self.table(ids) * self.scale + self.positions[positions])


def joined(*maps: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weights and biases of several linear maps as those of one."""
    return torch.cat([m.weight for m in maps]), torch.cat([m.bias for m in maps])


def products(layers: Sequence[nn.Linear], x: Tensor) -> tuple[Tensor, ...]:
    """What each of several linear maps of one width makes of x [N, D], by one product."""
    return linear(x, *joined(*layers)).chunk(len(layers), -1)


def of_rows(layer: nn.Module, x: Tensor, *, relu: bool = False) -> Tensor:
    """What a linear map, and ReLU where it follows, makes of x [N, D], by the compiled kernels."""
    assert isinstance(layer, nn.Linear)
    return linear(x, layer.weight, layer.bias, relu=relu)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention. Keys and values are made apart from queries so that decoding
    can keep them."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    @property
    def beside_weights(self) -> str:
        return "" if self.heads == USUAL_HEADS else f"heads {self.heads}"

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S, D] -> keys and values, each [B, H, S, D/H]."""
        return self._split(self.key(x)), self._split(self.value(x))

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """x: [B, T, D]; mask: broadcasts to [B, H, T, S], True = may attend. Returns [B, T, D]."""
        queries, (keys, values) = self._split(self.query(x)), keys_values
        if x.device.type == "cpu":
            # In bfloat16, torch's attention on CPUs is an order of magnitude slower at narrow heads, above
            # all backward.
            queries, keys, values = widened(queries), widened(keys), widened(values)
        with torch.autocast(
            x.device.type, enabled=x.device.type != "cpu" and torch.is_autocast_enabled(x.device.type)
        ):
            mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def shares(self, x: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """What ``forward`` mixes values by: x [B, T, D], keys [B, H, S, D/H] -> [B, H, T, S]."""
        queries = self._split(self.query(x))
        likeness = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])
        return likeness.masked_fill(~mask, -torch.inf).softmax(-1)

    def rows(self, x: Tensor, spans: Spans, *, causal: bool) -> Tensor:
        """Of the tokens x [N, D] to those of their sentences -> [N, D]."""
        queries, keys, values = products((self.query, self.key, self.value), x)
        return of_rows(self.output, attend(queries, keys, values, self.heads, spans, spans, causal))

    def rows_across(self, x: Tensor, said: Spans, keys_values: tuple[Tensor, Tensor], sent: Spans) -> Tensor:
        """Of the tokens x [N, D] to keys and values [M, D] of what was sent -> [N, D]."""
        queries = of_rows(self.query, x)
        return of_rows(self.output, attend(queries, *keys_values, self.heads, said, sent, causal=False))


class FeedForward(nn.Sequential):
    """D -> dff -> ReLU -> D."""

    def __init__(self, width: int, hidden: int):
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def rows(self, x: Tensor) -> Tensor:
        """x: [N, D] -> [N, D]."""
        inner, _, outer = self
        return of_rows(outer, of_rows(inner, x, relu=True))


class Residual(nn.Module):
    """Post-norm residual: LayerNorm(x + dropout(change))."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, change: Tensor) -> Tensor:
        return self.norm(x + self.dropout(change))

    def rows(self, x: Tensor, change: Tensor) -> Tensor:
        """x: float32 [N, D]; change: float32 or bfloat16 [N, D] -> float32 [N, D]."""
        words, threshold = self.dropout.words(x)
        dropped = words, threshold, 1.0 if words is None else 1 / (1 - self.dropout.rate)
        return normed_sum(x, change, self.norm.weight, self.norm.bias, self.norm.eps, dropped)


class EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.attention = Attention(width, heads)
        self.feed_forward = FeedForward(width, hidden)
        self.after_attention = Residual(width, dropout)
        self.after_feed_forward = Residual(width, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: [B, S, D]; mask: [B, 1, 1, S]."""
        x = self.after_attention(x, self.attention(x, self.attention.keys_values(x), mask))
        return self.after_feed_forward(x, self.feed_forward(x))

    def rows(self, x: Tensor, sent: Spans) -> Tensor:
        """[N, D] -> [N, D]."""
        x = self.after_attention.rows(x, self.attention.rows(x, sent, causal=False))
        return self.after_feed_forward.rows(x, self.feed_forward.rows(x))


class DecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads)
        self.feed_forward = FeedForward(width, hidden)
        self.after_attention = Residual(width, dropout)
        self.after_cross_attention = Residual(width, dropout)
        self.after_feed_forward = Residual(width, dropout)

    def forward(
        self,
        x: Tensor,
        past: tuple[Tensor, Tensor],
        mask: Tensor | None,
        memory: tuple[Tensor, Tensor],
        memory_mask: Tensor,
    ) -> Tensor:
        """x: [B, T, D]; past: keys and values of the tokens x may see; memory: keys and values of the
        recovered signal."""
        x = self.asking(x, past, mask)
        x = self.after_cross_attention(x, self.cross_attention(x, memory, memory_mask))
        return self.after_feed_forward(x, self.feed_forward(x))

    def asking(self, x: Tensor, past: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """x [B, T, D] as it comes to the recovered signal: with what it may see of the tokens so far."""
        return self.after_attention(x, self.attention(x, past, mask))

    def rows(self, x: Tensor, said: Spans, memory: tuple[Tensor, Tensor], sent: Spans) -> Tensor:
        """x: [N, D]; memory: keys and values of the recovered signal, [M, D] each."""
        x = self.after_attention.rows(x, self.attention.rows(x, said, causal=True))
        x = self.after_cross_attention.rows(x, self.cross_attention.rows_across(x, said, memory, sent))
        return self.after_feed_forward.rows(x, self.feed_forward.rows(x))
