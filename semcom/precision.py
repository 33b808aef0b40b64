"""Which matrix products are made in bfloat16, and where that pays.

On CPUs tensors stay float32 throughout and oneDNN rounds the factors of its products, which sums in float32: nothing
else loses a bit, and no copies are made. On GPUs it is torch's autocast. Softmax, LayerNorm, attention on CPUs, power,
channel and losses are float32 either way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NARROWEST = 64
"""Model width below which the products are too small to gain; see benchmarks/precision.py."""


def resolve(name: str, device: torch.device, width: int) -> str:
    """fp32 or bf16. auto takes bf16 where products in it run on units of their own (AMX, or a GPU's) and D is not narrow."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() and width >= NARROWEST else "fp32"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("amx_bf16") and width >= NARROWEST else "fp32"


@contextmanager
def products(precision: str, device: torch.device) -> Iterator[None]:
    """Matrix products within, forward and backward, in ``precision``: fp32 or bf16."""
    if device.type == "cpu":
        with _onednn("bf16" if precision == "bf16" else "ieee"):
            yield
    else:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield


@contextmanager
def _onednn(precision: str) -> Iterator[None]:
    matmul = torch.backends.mkldnn.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, precision
    try:
        yield
    finally:
        matmul.fp32_precision = before


def product_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype to which factors are rounded on ``device`` at the moment; None where they are not."""
    if device.type == "cpu":
        return torch.bfloat16 if torch.backends.mkldnn.matmul.fp32_precision == "bf16" else None
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


def exactly_on_cpu(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``function(*tensors)``, differentiable once; on CPUs with float32 products forward and backward, whatever surrounds it."""
    if tensors[0].device.type != "cpu" or product_dtype(tensors[0].device) is None:
        return function(*tensors)
    return _Exactly.apply(function, *tensors)


class _Exactly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, function, *tensors):
        ctx.inside = [x.detach().requires_grad_(wanted) for x, wanted in zip(tensors, ctx.needs_input_grad[1:])]
        with torch.set_grad_enabled(any(ctx.needs_input_grad)), _onednn("ieee"):
            ctx.result = function(*ctx.inside)
        return ctx.result.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        wanted = [x for x in ctx.inside if x.requires_grad]
        with _onednn("ieee"):
            found = iter(torch.autograd.grad(ctx.result, wanted, gradient))
        del ctx.result
        return None, *(next(found) if x.requires_grad else None for x in ctx.inside)
