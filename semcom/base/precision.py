"""Which matrix products are made in bfloat16; where that pays, ``fastest`` says.

Softmax, LayerNorm, attention on CPUs, power, channel and losses are float32 either way.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
