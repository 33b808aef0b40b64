"""A causal model whose probabilities are the same to the bit whatever the batch, the threads and the device.

Both ends of an arithmetic code have to see the same probabilities, and sums of floating point change with
their order, which batches, threads and devices choose. Here numbers are whole multiples of powers of two, so
few bits each that float64 adds up their products without rounding, in any order. What is no sum is one
operation of IEEE 754 at a time, or looked up.

Letters: B sentences, n new tokens, T tokens so far, V pieces, D model width, H heads.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from semcom.data.arithmetic_coding import TOTAL
from semcom.models.causal_model import CausalModel
from semcom.models.layers import LAYER_NORM_EPS, Attention, FeedForward, Residual

STATE_STEP, LARGEST_STATE = 2.0**-12, 2.0**8
WEIGHT_STEP, LARGEST_WEIGHT = 2.0**-14, 2.0**5
"""Products have 39 bits, and sums of 8192 of them 52."""
EXPONENT_STEPS = 1024
"""Of an exponential's argument, to one."""
ONE = 2**20
"""The exponential of 0; V of them times ``TOTAL`` are below 2^63."""
LEAST_EXPONENT = 15 * EXPONENT_STEPS
"""From there on exponentials are 0."""

Map = Callable[[Tensor], Tensor]


def on_grid(x: Tensor, step: float, largest: float) -> Tensor:
    """The nearest multiples of ``step``, a power of two, in float64, from -largest to largest."""
    return x.double().mul(1 / step).round().mul(step).clamp(-largest, largest)


def _state(x: Tensor) -> Tensor:
    return on_grid(x, STATE_STEP, LARGEST_STATE)


@lru_cache(maxsize=4)
def _exponentials(device: torch.device) -> Tensor:
    """[LEAST_EXPONENT + 1] of 0, -1, -2, … steps, as whole numbers."""
    steps = range(LEAST_EXPONENT)
    return torch.tensor([*(round(ONE * math.exp(-i / EXPONENT_STEPS)) for i in steps), 0], device=device)


def exponentials(x: Tensor) -> Tensor:
    """[..., S] -> exp(x less the greatest of each row) times ``ONE``, as whole numbers; of -infinity 0."""
    below = (x.amax(-1, keepdim=True) - x).mul(EXPONENT_STEPS).round()
    return _exponentials(x.device)[below.clamp(max=LEAST_EXPONENT).long()]


class ExactCausalModel:
    """The weights of a ``CausalModel`` on a grid, on ``device``."""

    def __init__(self, model: CausalModel, device: torch.device):
        self.device = device
        embedding = model.embedding
        self.pieces = _state(embedding.table.weight.detach().double() * embedding.scale).to(device)
        self.positions = _state(embedding.positions).to(device)
        self.layers = [_Layer(layer, device) for layer in model.layers]
        weight, bias = _on_device(model.projection, device)
        self.logits: Map = lambda x: x @ weight + bias

    def start(self) -> "ExactState":
        return ExactState(self)


class ExactState:
    """What has been said of B sentences: keys and values of each layer, [B, H, T, D/H] each."""

    def __init__(self, model: ExactCausalModel):
        self.model = model
        self.length = 0
        self.past: list[tuple[Tensor, Tensor] | None] = [None] * len(model.layers)

    @torch.no_grad()
    def advance(self, tokens: Tensor) -> Tensor:
        """[B, n] tokens that follow -> logits [B, n, V] of the next ones."""
        model, end = self.model, self.length + tokens.shape[1]
        tokens = tokens.to(model.device)
        x = _state(model.pieces[tokens] + model.positions[self.length : end])
        seen = torch.ones(tokens.shape[1], end, dtype=torch.bool, device=model.device).tril(self.length)
        for number, layer in enumerate(model.layers):
            x, self.past[number] = layer(x, self.past[number], seen)
        self.length = end
        return model.logits(x)

    def keep(self, rows: list[int]) -> None:
        """Go on with these sentences alone."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self.model.device)
        self.past = [each and (each[0][chosen], each[1][chosen]) for each in self.past]


class _Layer:
    def __init__(self, layer: nn.Module, device: torch.device):
        attention, feed_forward = layer.attention, layer.feed_forward
        assert isinstance(attention, Attention) and isinstance(feed_forward, FeedForward)
        inner, _, outer = feed_forward
        self.heads = attention.heads
        self.query, self.key, self.value, self.output, self.inner, self.outer = (
            _linear(each, device)
            for each in (attention.query, attention.key, attention.value, attention.output, inner, outer)
        )
        self.after_attention = _norm(layer.after_attention, device)
        self.after_feed_forward = _norm(layer.after_feed_forward, device)

    def __call__(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, seen: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x: [B, n, D]; seen: [n, T], True = may attend -> [B, n, D], and keys and values of all tokens."""
        keys, values = self._split(self.key(x)), self._split(self.value(x))
        if past:
            keys, values = torch.cat((past[0], keys), 2), torch.cat((past[1], values), 2)
        x = self.after_attention(x + self.output(self._mixed(self._split(self.query(x)), keys, values, seen)))
        x = self.after_feed_forward(x + self.outer(self.inner(x).relu()))
        return x, (keys, values)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _mixed(self, queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        """[B, n, D]."""
        scores = (queries @ keys.transpose(2, 3)).mul(queries.shape[-1] ** -0.5)
        weights = exponentials(scores.masked_fill(~seen, -math.inf)).double()
        shares = on_grid(weights / weights.sum(-1, keepdim=True), 1 / ONE, 1.0)
        return _state(shares @ values).transpose(1, 2).flatten(2)


def _on_device(layer: nn.Linear, device: torch.device) -> tuple[Tensor, Tensor]:
    """Its weights, [in, out], and its biases."""
    weight, bias = (on_grid(w.detach(), WEIGHT_STEP, LARGEST_WEIGHT) for w in (layer.weight, layer.bias))
    return weight.T.contiguous().to(device), bias.to(device)


def _linear(layer: nn.Module, device: torch.device) -> Map:
    assert isinstance(layer, nn.Linear)
    weight, bias = _on_device(layer, device)
    return lambda x: _state(x @ weight + bias)


def _norm(residual: Tensor | nn.Module, device: torch.device) -> Map:
    assert isinstance(residual, Residual)
    scale, shift = (w.detach().double().to(device) for w in (residual.norm.weight, residual.norm.bias))

    def normed(x: Tensor) -> Tensor:
        # By a product: a division by one number for all is one on some devices, not on others.
        share = 1 / x.shape[-1]
        centred = _state(x - x.sum(-1, keepdim=True) * share)
        deviation = (centred.square().sum(-1, keepdim=True) * share + LAYER_NORM_EPS).sqrt()
        return _state(centred / deviation * scale + shift)

    return normed


def edges(logits: Tensor) -> Tensor:
    """[..., V] logits -> [..., V + 1] where the parts of the pieces begin and end for ``arithmetic_coding``:
    from 0 to ``TOTAL``, each 1 wide at least, else as wide as its probability."""
    pieces = logits.shape[-1]
    sums = exponentials(logits).cumsum(-1)
    places = torch.arange(1, pieces + 1, device=logits.device)
    ends = sums * (TOTAL - pieces) // sums[..., -1:] + places
    return torch.cat((torch.zeros_like(ends[..., :1]), ends), -1)
