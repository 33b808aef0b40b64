"""A step's forward pass over real tokens alone: sentences laid end to end, attention and residuals by
layers.cpp, on CPUs.

The values, but for rounding and the order of random numbers, and the gradients are those of ``transceiver``,
which this knows from outside. A third of the positions of a batch of unlike lengths is padding, and most
operations of narrow layers are too small for what starting them costs.

Letters: B sentences, N real tokens of all of them (S, T: of one), D model width, H heads, C channel
dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from semcom.models.kernels import native
from semcom.models.layers import Attention, Residual, joined, widened
from semcom.models.transceiver import Receiver, Transmitter, normalize_power

_ATTENTION = native.structure(
    "query key value mixed tops shares to_mixed to_query to_key to_value query_starts key_starts",
    "sentences heads width query_stride key_stride value_stride causal threads",
)
_RESIDUAL = native.structure(
    "x change words gain bias normal spread out to_out to_x to_change to_gain to_bias",
    "rows width threshold threads",
    "scale eps",
)


@dataclass(frozen=True)
class Spans:
    """Where the N real tokens of B padded sentences are.

    places: [N] in the padded ones, flattened; positions: [N] in their sentences; starts: [B + 1] where each
    sentence begins among the N, and N; shape: (B, T).
    """

    places: Tensor
    positions: Tensor
    starts: Tensor
    shape: torch.Size

    @classmethod
    def of(cls, mask: Tensor) -> "Spans":
        """mask: [B, T], True at real tokens. Raises ValueError unless they stand before the padding."""
        if (mask[:, 1:] > mask[:, :-1]).any():
            raise ValueError("padding stands before a real token")
        places = mask.flatten().nonzero()[:, 0]
        return cls(places, places % mask.shape[1], F.pad(mask.sum(1).cumsum(0), (1, 0)), mask.shape)

    def pack(self, x: Tensor) -> Tensor:
        """[B, T, ...] -> [N, ...]."""
        return x.flatten(0, 1).index_select(0, self.places)

    def unpack(self, rows: Tensor) -> Tensor:
        """[N, ...] -> [B, T, ...], zeros at padding."""
        return (
            rows.new_zeros(self.shape.numel(), *rows.shape[1:])
            .index_copy(0, self.places, rows)
            .unflatten(0, self.shape)
        )


def transmit(transmitter: Transmitter, source: Tensor, mask: Tensor, spans: Spans) -> tuple[Tensor, Tensor]:
    """``Transmitter.forward``: [B, S] ids and mask -> signal [B, S, C], encoder state [N, D]."""
    x = transmitter.encoder.embedding.at(spans.pack(source), spans.positions)
    for layer in transmitter.encoder.layers:
        x = _self_attention(layer.attention, layer.after_attention, x, spans, causal=False)
        x = residual(layer.after_feed_forward, x, layer.feed_forward(x))
    return normalize_power(spans.unpack(widened(transmitter.channel_encoder(x))), mask), x


def receive(receiver: Receiver, received: Tensor, sent: Spans, target_in: Tensor, said: Spans) -> Tensor:
    """``Receiver.forward``: received [B, S, C] and prefix [B, T] -> decoder state [N, D]."""
    layers = receiver.decoder.layers
    memory = receiver.channel_decoder(sent.pack(received))
    of_memory = _products(
        [of for layer in layers for of in (layer.cross_attention.key, layer.cross_attention.value)], memory
    )
    x = receiver.decoder.embedding.at(said.pack(target_in), said.positions)
    for number, layer in enumerate(layers):
        x = _self_attention(layer.attention, layer.after_attention, x, said, causal=True)
        cross = layer.cross_attention
        mixed = attend(
            cross.query(x), *of_memory[2 * number : 2 * number + 2], cross.heads, said, sent, causal=False
        )
        x = residual(layer.after_cross_attention, x, cross.output(mixed))
        x = residual(layer.after_feed_forward, x, layer.feed_forward(x))
    return x


def _self_attention(attention: Attention, after: Residual, x: Tensor, spans: Spans, causal: bool) -> Tensor:
    queries, keys, values = _products((attention.query, attention.key, attention.value), x)
    return residual(
        after, x, attention.output(attend(queries, keys, values, attention.heads, spans, spans, causal))
    )


def _products(layers: Sequence[nn.Linear], x: Tensor) -> tuple[Tensor, ...]:
    """What each of ``layers`` makes of x [N, D], by one product."""
    return F.linear(x, *joined(*layers)).chunk(len(layers), -1)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, asking: Spans, asked: Spans, causal: bool
) -> Tensor:
    """Scaled dot-product attention of each sentence's tokens [N, D] to its keys and values [M, D] -> [N, D];
    differentiable once.

    All are float32 or all bfloat16, and each row is contiguous; computed in float32. causal: query t sees the
    keys up to t. Raises ValueError for tensors of other shapes or kinds.
    """
    return _Attend.apply(queries, keys, values, heads, asking, asked, causal)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, queries, keys, values, heads, asking, asked, causal):
        n, width = queries.shape
        for name, x, spans in (
            ("queries", queries, asking),
            ("keys", keys, asked),
            ("values", values, asked),
        ):
            rows = len(spans.places)
            if (
                x.shape != (rows, width)
                or x.dtype != queries.dtype
                or x.stride(1) != 1
                or x.device.type != "cpu"
                or x.dtype not in native.SUFFIXES
            ):
                raise ValueError(
                    f"{name}: {x.dtype} {list(x.shape)} on {x.device}, must be {[rows, width]}, float32 or bfloat16 as the queries are, "
                    "on the CPU, with contiguous rows"
                )
        if len(asking.starts) != len(asked.starts) or heads < 1 or width % heads:
            raise ValueError(
                f"{len(asking.starts) - 1} sentences ask {len(asked.starts) - 1}, {heads} heads for width {width}: must be as many, "
                "and divide it"
            )
        tops, shares = torch.empty(2, n, heads) if any(ctx.needs_input_grad) else (None, None)
        mixed = queries.new_empty(n, width)
        ctx.save_for_backward(queries, keys, values, tops, shares)
        ctx.sizes = {
            "query_starts": asking.starts,
            "key_starts": asked.starts,
            "sentences": len(asking.starts) - 1,
            "heads": heads,
            "width": width,
            "query_stride": queries.stride(0),
            "key_stride": keys.stride(0),
            "value_stride": values.stride(0),
            "causal": causal,
        }
        native.call(
            "attention",
            queries.dtype,
            _ATTENTION,
            query=queries,
            key=keys,
            value=values,
            tops=tops,
            shares=shares,
            mixed=mixed,
            **ctx.sizes,
        )
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx, to_mixed):
        queries, keys, values, tops, shares = ctx.saved_tensors
        if not queries.numel():
            return (
                torch.zeros_like(queries),
                torch.zeros_like(keys),
                torch.zeros_like(values),
                None,
                None,
                None,
                None,
            )
        to_queries, to_keys, to_values = (
            torch.empty_like(x, memory_format=torch.contiguous_format) for x in (queries, keys, keys)
        )
        native.call(
            "attention",
            queries.dtype,
            _ATTENTION,
            query=queries,
            key=keys,
            value=values,
            tops=tops,
            shares=shares,
            to_mixed=to_mixed.to(queries.dtype).contiguous(),
            to_query=to_queries,
            to_key=to_keys,
            to_value=to_values,
            **ctx.sizes,
        )
        return to_queries, to_keys, to_values, None, None, None, None


def residual(module: Residual, x: Tensor, change: Tensor) -> Tensor:
    """``Residual.forward`` over rows: x float32 [N, D], change float32 or bfloat16 -> float32 [N, D];
    differentiable once."""
    words, threshold = module.dropout.words(x)
    scale = 1 if words is None else 1 / (1 - module.dropout.rate)
    given = x, change, module.norm.weight, module.norm.bias
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in given)
    return _Residual.apply(*given, words, threshold, scale, module.norm.eps, learns)


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, change, gain, bias, words, threshold, scale, eps, learns):
        n, width = x.shape
        x, change, exact = x.contiguous(), change.contiguous(), torch.float32
        native.check(
            {
                "x": (x, (n, width), exact),
                "change": (change, (n, width), change.dtype),
                "words": (words, (n, width), torch.int16),
                "gain": (gain, (width,), exact),
                "bias": (bias, (width,), exact),
            }
        )
        # Where nothing is to be learned, what only the backward pass reads is not written.
        normal, spread = (torch.empty(n, width), torch.empty(n)) if learns else (None, None)
        out = torch.empty(n, width)
        ctx.save_for_backward(words, gain, normal, spread)
        ctx.dtype, ctx.sizes = (
            change.dtype,
            {"rows": n, "width": width, "threshold": threshold, "scale": scale, "eps": eps},
        )
        native.call(
            "residual",
            change.dtype,
            _RESIDUAL,
            x=x,
            change=change,
            words=words,
            gain=gain,
            bias=bias,
            normal=normal,
            spread=spread,
            out=out,
            **ctx.sizes,
        )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, to_out):
        words, gain, normal, spread = ctx.saved_tensors
        n, width = to_out.shape
        to_x, to_change = torch.empty(n, width), torch.empty(n, width, dtype=ctx.dtype)
        to_gain, to_bias = torch.zeros(2, torch.get_num_threads(), width, dtype=torch.float64)
        native.call(
            "residual",
            ctx.dtype,
            _RESIDUAL,
            words=words,
            gain=gain,
            normal=normal,
            spread=spread,
            to_out=to_out.contiguous(),
            to_x=to_x,
            to_change=to_change,
            to_gain=to_gain,
            to_bias=to_bias,
            **ctx.sizes,
        )
        return to_x, to_change, to_gain.sum(0).float(), to_bias.sum(0).float(), *[None] * 5
