"""The physical link of the public DeepSC code, restated from its formulas so that ours can be compared with
it.

The code of Xie et al. 2021 (arXiv 2006.10685) and its copies count power and noise per *real* dimension: a
signal of at most 1 there is at most 2 per complex symbol, and noise of 1/(2 SNR) there is 1/SNR per complex
symbol. Where the power rule acts, its X dB are therefore X + 10 log10 2 = X + 3.01 dB here; its Rician gain
has E|h|^2 = 2, another 3.01 dB on the mean. Nothing is drawn here.

Letters: B sentences, S source tokens, C real channel dimensions a token; dimensions 2k and 2k+1 are a complex
symbol.
"""

import torch
from torch import Tensor


def scale_power(x: Tensor) -> Tensor:
    """[B, S, C] with its mean square over the whole batch, padding included, brought down to 1 where it is
    above; else left as it is."""
    root = x.square().mean().sqrt()
    return x / root if root > 1 else x


def noise_std(snr_db: float) -> float:
    """Standard deviation of the noise per real dimension: 1/sqrt(2 SNR)."""
    return (2 * 10 ** (snr_db / 10)) ** -0.5


def fades(kind: str, scatter: Tensor, k: float = 1.0) -> Tensor:
    """[B, 2] gains made of CN(0, 1) ``scatter`` [B, 2]; the public code draws one for a batch.

    rayleigh: the scatter, E|h|^2 = 1. rician: real and imaginary part each of mean sqrt(K/(K+1)) and variance
    1/(K+1), so E|h|^2 = 2. awgn and ideal: 1. Raises ValueError for another kind.
    """
    if kind == "rayleigh":
        return scatter
    if kind == "rician":
        return (k / (k + 1)) ** 0.5 + (2 / (k + 1)) ** 0.5 * scatter
    if kind in ("awgn", "ideal"):
        return scatter.new_tensor([1.0, 0.0]).expand_as(scatter)
    raise ValueError(f"the public code has no channel {kind!r}")


def receive(kind: str, x: Tensor, h: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """What the receiver has of the signal x: (hx + n)/h, the exact inverse whatever the noise.

    x: [B, S, C]. h: [B, 2], all rows alike where a batch has one fade; awgn leaves it aside. noise: [B, S,
    C], unit variance per real dimension. ideal returns x. The public code multiplies rows by a 2 x 2 matrix,
    that is by the conjugate of h, of the same distribution.
    """
    if kind == "ideal":
        return x
    noise = noise_std(snr_db) * noise
    if kind == "awgn":
        return x + noise
    gain = _complex(h)[..., None]
    return torch.view_as_real((gain * _complex(x) + _complex(noise)) / gain).flatten(-2)


def _complex(x: Tensor) -> Tensor:
    """[..., 2k] real to [..., k] complex."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
