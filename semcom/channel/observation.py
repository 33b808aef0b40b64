"""What a receiver has before it equalises: the symbols, and what it knows of gain and noise.

Letters: B sentences, S source tokens, C real channel dimensions a token; dimensions 2k and 2k+1 are a complex
symbol.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Observation:
    """y = hx + n of B sentences, with the estimate of h that the receiver has.

    y: [B, S, C/2], complex; zero at padded positions. gain: [B, S, C/2], complex, the receiver's estimate of
    h; 1 where nothing fades. error: real, [B, S, C/2] or broadcast to it, the variance of estimate - h; 0
    where h is known. n0: [B, 1, 1], noise power per complex symbol.
    """

    y: Tensor
    gain: Tensor
    error: Tensor
    n0: Tensor


def complex_symbols(x: Tensor) -> Tensor:
    """[..., C] real to [..., C/2] complex, of complex64 at least."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return torch.view_as_complex(wide.unflatten(-1, (-1, 2)).contiguous())


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Complex product of [..., 2] pairs."""
    real = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    imaginary = a[..., 0] * b[..., 1] + a[..., 1] * b[..., 0]
    return torch.stack((real, imaginary), dim=-1)


def equalised_pairs(y: Tensor, gain: Tensor, added: Tensor | None = None) -> Tensor:
    """[B, S, C] of [B, S, C/2, 2] pairs: conj(g)*y/|g|^2, by ``added`` conj(g)*y/(|g|^2 + added).

    Of real pairs, which bfloat16 has too. added: [B, S, C/2] or broadcast to it.
    """
    conjugate = torch.stack((gain[..., 0], -gain[..., 1]), -1)
    divisor = gain.square().sum(-1, keepdim=True)
    if added is not None:
        divisor = divisor + added[..., None]
    return (multiply(y, conjugate) / divisor).flatten(-2)


def equalised(observed: Observation, equalizer: str) -> Tensor:
    """[B, S, C]: by zf conj(g)*y/|g|^2, by mmse conj(g)*y/(|g|^2 + error + N0), g the estimated gain."""
    y, gain = torch.view_as_real(observed.y), torch.view_as_real(observed.gain)
    return equalised_pairs(y, gain, observed.error + observed.n0 if equalizer == "mmse" else None)
