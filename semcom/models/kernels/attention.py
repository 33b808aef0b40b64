"""Attention over the real tokens of a batch, laid end to end, by layers.cpp, on CPUs.

A third of the positions of a batch of unlike lengths is padding, and most operations of narrow layers are too
small for what starting them costs.

Letters: N tokens that ask, M that are asked (of all sentences), D model width, H heads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from semcom.models.kernels import native
from semcom.models.spans import Spans

_ATTENTION = native.structure(
    "query key value mixed tops shares to_mixed to_query to_key to_value query_starts key_starts",
    "sentences heads width query_stride key_stride value_stride causal threads",
)


@dataclass(frozen=True)
class _Asked:
    """Who attends to what. causal: token t of a sentence sees the keys up to t."""

    heads: int
    asking: Spans
    asked: Spans
    causal: bool


# Seven arguments: three tensors, who asks whom, and how.
def attend(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, asking: Spans, asked: Spans, causal: bool
) -> Tensor:
    """Scaled dot-product attention of each sentence's tokens [N, D] to its keys and values [M, D] -> [N, D];
    differentiable once.

    All are float32 or all bfloat16, and each row is contiguous; computed in float32. causal: query t sees the
    keys up to t. Raises ValueError for tensors of other shapes or kinds.
    """
    return _Attend.apply(queries, keys, values, _Asked(heads, asking, asked, causal))


def _check(queries: Tensor, keys: Tensor, values: Tensor, given: _Asked) -> None:
    width = queries.shape[1]
    of_spans = {
        "queries": (queries, given.asking),
        "keys": (keys, given.asked),
        "values": (values, given.asked),
    }
    for name, (x, spans) in of_spans.items():
        wanted = (len(spans.places), width)
        alike = x.shape == wanted and x.dtype == queries.dtype and x.dtype in native.SUFFIXES
        if not alike or x.stride(1) != 1 or x.device.type != "cpu":
            raise ValueError(
                f"{name}: {x.dtype} {list(x.shape)} on {x.device}, must be {list(wanted)}, "
                "float32 or bfloat16 as the queries are, on the CPU, with contiguous rows"
            )
    asking, asked = len(given.asking.starts) - 1, len(given.asked.starts) - 1
    if asking != asked or given.heads < 1 or width % given.heads:
        raise ValueError(
            f"{asking} sentences ask {asked}, {given.heads} heads for width {width}: must be as many, "
            "and divide it"
        )


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, queries, keys, values, given):
        _check(queries, keys, values, given)
        n, width = queries.shape
        # Where nothing is to be learned, what only the backward pass reads is not written.
        tops, shares = torch.empty(2, n, given.heads) if any(ctx.needs_input_grad) else (None, None)
        mixed = queries.new_empty(n, width)
        ctx.save_for_backward(queries, keys, values, tops, shares)
        ctx.sizes = {
            "query_starts": given.asking.starts,
            "key_starts": given.asked.starts,
            "sentences": len(given.asking.starts) - 1,
            "heads": given.heads,
            "width": width,
            "query_stride": queries.stride(0),
            "key_stride": keys.stride(0),
            "value_stride": values.stride(0),
            "causal": given.causal,
        }
        read = {"query": queries, "key": keys, "value": values, "tops": tops, "shares": shares}
        native.call("attention", queries.dtype, _ATTENTION, **read, mixed=mixed, **ctx.sizes)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx, to_mixed):
        queries, keys, values, tops, shares = ctx.saved_tensors
        if not queries.numel():
            return *map(torch.zeros_like, (queries, keys, values)), None
        read = {"query": queries, "key": keys, "value": values, "tops": tops, "shares": shares}
        made = {
            name: torch.empty_like(x, memory_format=torch.contiguous_format)
            for name, x in (("to_query", queries), ("to_key", keys), ("to_value", keys))
        }
        read["to_mixed"] = to_mixed.to(queries.dtype).contiguous()
        native.call("attention", queries.dtype, _ATTENTION, **read, **made, **ctx.sizes)
        return *made.values(), None
