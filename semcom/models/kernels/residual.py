"""LayerNorm of a sum, part of which is dropped, over rows, by layers.cpp, on CPUs. Letters: N rows, D model
width."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from semcom.models.kernels import native

_RESIDUAL = native.structure(
    "x change words gain bias normal spread out to_out to_x to_change to_gain to_bias",
    "rows width threshold threads",
    "scale eps",
)


def normed_sum(
    x: Tensor,
    change: Tensor,
    gain: Tensor,
    bias: Tensor,
    eps: float,
    dropped: tuple[Tensor | None, int, float],
) -> Tensor:
    """LayerNorm(x + dropout(change)) -> float32 [N, D]; differentiable once.

    x: float32 [N, D]; change: float32 or bfloat16 [N, D]; gain, bias, eps: of the LayerNorm, [D] and [D];
    dropped: a random int16 for each number of ``change`` or None, the least that keeps it, and what those
    kept are multiplied by. Raises ValueError for tensors of other shapes or kinds.
    """
    given = x, change, gain, bias
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in given)
    return _NormedSum.apply(*given, eps, dropped, learns)


class _NormedSum(torch.autograd.Function):
    # Seven arguments: autograd sees those tensors alone that are arguments themselves.
    @staticmethod
    def forward(ctx, x, change, gain, bias, eps, dropped, learns):
        (n, width), exact = x.shape, torch.float32
        words, threshold, scale = dropped
        x, change = x.contiguous(), change.contiguous()
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
        ctx.dtype = change.dtype
        ctx.sizes = {"rows": n, "width": width, "threshold": threshold, "scale": scale, "eps": eps}
        read = {"x": x, "change": change, "words": words, "gain": gain, "bias": bias}
        made = {"normal": normal, "spread": spread, "out": out}
        native.call("residual", change.dtype, _RESIDUAL, **read, **made, **ctx.sizes)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, to_out):
        words, gain, normal, spread = ctx.saved_tensors
        n, width = to_out.shape
        to_x, to_change = torch.empty(n, width), torch.empty(n, width, dtype=ctx.dtype)
        # A sum a thread, in float64.
        to_gain, to_bias = torch.zeros(2, torch.get_num_threads(), width, dtype=torch.float64)
        read = {
            "words": words,
            "gain": gain,
            "normal": normal,
            "spread": spread,
            "to_out": to_out.contiguous(),
        }
        made = {"to_x": to_x, "to_change": to_change, "to_gain": to_gain, "to_bias": to_bias}
        native.call("residual", ctx.dtype, _RESIDUAL, **read, **made, **ctx.sizes)
        return to_x, to_change, to_gain.sum(0).float(), to_bias.sum(0).float(), None, None, None
