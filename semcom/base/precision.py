"""Which matrix products are made in bfloat16, and where that pays.

Softmax, LayerNorm, attention on CPUs, power, channel and losses are float32 either way.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

NARROW = 64
"""Model width up to which products are too small to gain; see benchmarks/precision.py."""


def resolve(name: str, device: torch.device, width: int) -> str:
    """fp32 or bf16. auto takes bf16 where products in it run on units of their own (AMX, or a GPU's) and D is
    not narrow."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() and width > NARROW else "fp32"
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("amx_bf16") and width > NARROW else "fp32"


@contextmanager
def products(precision: str, device: torch.device) -> Iterator[None]:
    """Matrix products of a forward pass within, and those of its backward pass, in ``precision``: fp32 or
    bf16."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


def product_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype to which the factors of products are rounded on ``device`` at the moment; None where they are
    not."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
