"""The physical link of the public DeepSC code, restated from its formulas so that ours can be compared with
it.

The code of Xie et al. 2021 (arXiv 2006.10685) and its copies count power and noise per *real* dimension: a
signal of at most 1 there is at most 2 per complex symbol, and noise of 1/(2 SNR) there is 1/SNR per complex
symbol. Where the power rule acts, its X dB are therefore X + 10 log10 2 = X + 3.01 dB here; its Rician gain
has E|h|^2 = 2, another 3.01 dB on the mean. Nothing is drawn here.

Letters: B sentences, S source tokens, C real channel dimensions a token; dimensions 2k and 2k+1 are a complex
symbol.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from semcom.channel import gains
from semcom.channel.settings import ChannelConfig


def scale_power(x: Tensor) -> Tensor:
    """[B, S, C] with its mean square over the whole batch, padding included, brought down to 1 where it is
    above; else left as it is."""
    root = x.square().mean().sqrt()
    return x / root if root > 1 else x


def noise_std(snr_db: float) -> float:
    """Standard deviation of the noise per real dimension: 1/sqrt(2 SNR)."""
    return (2 * 10 ** (snr_db / 10)) ** -0.5


class PublicLink(ABC):
    """A channel of the public code."""

    @property
    @abstractmethod
    def power(self) -> float:
        """E|h|^2."""

    @property
    @abstractmethod
    def relative_variance(self) -> float:
        """Of |h|^2, over the square of its mean; 0 where h is 1."""

    @abstractmethod
    def fades(self, scatter: Tensor) -> Tensor:
        """[B, 2] gains h made of CN(0, 1) ``scatter`` [B, 2]; the public code draws one for a batch."""

    @abstractmethod
    def fades_as_ours(self, scatter: Tensor) -> Tensor:
        """[B, 2] gains, in law those of ``fades`` but for a turn, which a receiver that knows the gain
        undoes; of our gain's phase, so that a sentence has the same fade there and here."""

    @abstractmethod
    def receive(self, x: Tensor, h: Tensor, noise: Tensor, snr_db: float) -> Tensor:
        """What the receiver has of the signal x: (hx + n)/h, the exact inverse whatever the noise.

        x: [B, S, C]. h: [B, 2], all rows alike where a batch has one fade. noise: [B, S, C], unit variance
        per real dimension. The public code multiplies rows by a 2 x 2 matrix, that is by the conjugate of h,
        of the same distribution.
        """


@dataclass(frozen=True)
class PublicAWGN(PublicLink):
    """h = 1."""

    power = 1.0
    relative_variance = 0.0

    def fades(self, scatter: Tensor) -> Tensor:
        return scatter.new_tensor([1.0, 0.0]).expand_as(scatter)

    def fades_as_ours(self, scatter: Tensor) -> Tensor:
        return self.fades(scatter)

    def receive(self, x: Tensor, h: Tensor, noise: Tensor, snr_db: float) -> Tensor:
        """x + n, whatever h."""
        return x + noise_std(snr_db) * noise


class PublicFading(PublicLink):
    def receive(self, x: Tensor, h: Tensor, noise: Tensor, snr_db: float) -> Tensor:
        gain = _complex(h)[..., None]
        received = gain * _complex(x) + _complex(noise_std(snr_db) * noise)
        return torch.view_as_real(received / gain).flatten(-2)


@dataclass(frozen=True)
class PublicRayleigh(PublicFading):
    """h is the scatter."""

    power = 1.0
    relative_variance = 1.0

    def fades(self, scatter: Tensor) -> Tensor:
        return scatter

    def fades_as_ours(self, scatter: Tensor) -> Tensor:
        return scatter


@dataclass(frozen=True)
class PublicRician(PublicFading):
    """Real and imaginary part of h each of mean sqrt(K/(K+1)) and variance 1/(K+1)."""

    power = 2.0
    k: float = ChannelConfig.rician_k

    @property
    def relative_variance(self) -> float:
        return (1 + 2 * self.k) / (1 + self.k) ** 2

    def fades(self, scatter: Tensor) -> Tensor:
        return (self.k / (self.k + 1)) ** 0.5 + (2 / (self.k + 1)) ** 0.5 * scatter

    def fades_as_ours(self, scatter: Tensor) -> Tensor:
        """sqrt(2) times ours; those of ``fades`` are turned by 45 degrees."""
        return gains.rician(scatter, self.k) * 2**0.5


def _complex(x: Tensor) -> Tensor:
    """[..., 2k] real to [..., k] complex."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
