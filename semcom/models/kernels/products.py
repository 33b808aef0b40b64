"""Weights as products.h reads them."""

import torch.nn.functional as F
from torch import Tensor

LANES = 16
"""Numbers of a vector in the C++ here."""
PACKED = 64
"""Outputs whose weights lie together."""


def up_to(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def panels(weight: Tensor) -> Tensor:
    """[outputs, inputs] -> [panels, inputs, PACKED], zeros beyond the last output."""
    return padded(weight).unflatten(0, (-1, PACKED)).transpose(1, 2).contiguous()


def padded(x: Tensor, value: float = 0.0) -> Tensor:
    """[outputs, ...] -> [outputs up to PACKED, ...]."""
    missing = up_to(len(x), PACKED) - len(x)
    return F.pad(x, (0, 0) * (x.dim() - 1) + (0, missing), value=value)
