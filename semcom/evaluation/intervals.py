"""What repeated runs allow to say: intervals of means, paired differences, many tests at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with the half-width of its 95 % interval, and the two-sided p of a mean of zero; both None for a
    single value."""

    mean: float
    half_width: float | None
    p: float | None
    count: int

    def __format__(self, places: str) -> str:
        """places: decimals, for example ``f"{estimate:.2f}"``."""
        return format(self.mean, places) + (
            "" if self.half_width is None else f" ± {format(self.half_width, places)}"
        )

    @property
    def interval(self) -> Interval:
        """The same as an ``Interval``, without bounds for a single value."""
        half = math.inf if self.half_width is None else self.half_width
        return Interval(self.mean, self.mean - half, self.mean + half)


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95 % interval. An end is infinite where the data do not bound it."""

    value: float
    low: float
    high: float

    def __format__(self, places: str) -> str:
        """places: decimals, for example ``f"{interval:.2f}"``."""
        return f"{format(self.value, places)} [{format(self.low, places)}, {format(self.high, places)}]"


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of values of independent runs, by Student's t. ValueError without values."""
    if not len(values):
        raise ValueError("no values")
    from scipy import stats

    mean, count = fmean(values), len(values)
    if count == 1:
        return Estimate(mean, None, None, 1)
    error = stdev(values) / count**0.5
    if error == 0:
        return Estimate(mean, 0.0, 1.0 if mean == 0 else 0.0, count)
    _, half_width = stats.t.interval(LEVEL, count - 1, scale=error)
    p = 2 * stats.t.sf(abs(mean), count - 1, scale=error)
    return Estimate(mean, float(half_width), float(p), count)


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """The mean of ours - theirs, pair by pair: the paired t-test."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} values beside {len(theirs)}: pairs are wanted")
    return estimate([a - b for a, b in zip(ours, theirs)])


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of a family of tests, adjusted in Holm's way (1979): the family's error rate holds whatever
    their dependence."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
