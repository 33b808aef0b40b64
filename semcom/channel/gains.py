"""Gains of fading channels: how they are made of a draw's scatter, and what theory says of their power."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from semcom.channel.draws import Draw


def rician(scatter: Tensor, k: float) -> Tensor:
    """[B, 2] gains h = sqrt(K/(K+1)) + s/sqrt(K+1) of CN(0, 1) ``scatter`` s [B, 2]: E|h|^2 = 1.

    k: ratio of line-of-sight to scattered power, linear.
    """
    line_of_sight = torch.cat((scatter.new_full((1,), k**0.5), scatter.new_zeros(1)))
    return (line_of_sight + scatter) / (k + 1) ** 0.5


class PowerLaw(Protocol):
    """The law of |h|^2, of mean 1, independent from sentence to sentence.

    formula: its distribution function, in words. spread: its standard deviation.
    """

    @property
    def formula(self) -> str: ...

    @property
    def spread(self) -> float: ...

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """P(|h|^2 < x)."""

    def tails(self, total: float, count: int) -> tuple[float, float]:
        """Probabilities that the sum of ``count`` of them is below ``total``, and above it."""


@dataclass(frozen=True)
class RicianPower:
    """|h|^2 of a Rician gain (Rayleigh: K = 0): 2(K+1)|h|^2 is noncentral chi-square, 2 degrees,
    noncentrality 2K."""

    k: float
    formula: str = "noncentral chi-square"

    @property
    def spread(self) -> float:
        return (1 + 2 * self.k) ** 0.5 / (1 + self.k)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        if self.k == 0:
            return -np.expm1(-x)
        from scipy import stats  # here, since training needs none of it

        return stats.ncx2.cdf(2 * (self.k + 1) * x, 2, 2 * self.k)

    def tails(self, total: float, count: int) -> tuple[float, float]:
        from scipy import stats

        law = stats.ncx2(2 * count, 2 * self.k * count)
        scaled = 2 * (self.k + 1) * total
        return float(law.cdf(scaled)), float(law.sf(scaled))


@dataclass(frozen=True)
class Theory:
    """What a channel under zero forcing is held against: its noise has power N0 before the equaliser.

    power: a draw -> |h|^2, [B, 1, 1] or [B, S, C/2], by which the noise after zero forcing is turned back
    into that before it. law: of |h|^2; None where h is 1.
    """

    power: Callable[[Draw], Tensor]
    law: PowerLaw | None = None
