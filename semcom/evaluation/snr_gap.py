"""The price of mismatch: how many dB more a mismatched pair needs for the same BLEU.

K SNRs in dB, increasing. R replicates of a bootstrap: row 0 of an array is the estimate, rows 1..R are the
replicates, and row r of two arrays comes from the same resample of sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean

import numpy as np

from semcom.evaluation import intervals
from semcom.evaluation.intervals import LEVEL, Interval

SHARE = 0.9
COUNTS = ("replicates", "above", "below", "unbounded")
OTHER_NOT_REACHED, BELOW_GRID = "other_not_reached", "below_grid"


@dataclass(frozen=True)
class Price:
    """What the other pair needs more than the reference, in dB, for BLEU ``level``.

    gap: None where the grid does not hold it; ``why`` then says the reason: "other_not_reached" (at the
    highest SNR the other is still short of the level) or "below_grid" (one of both, or each, is past the
    level at the lowest SNR already); "" beside a gap. at_least, at_most: what the grid allows to say of the
    estimate, ±inf where it says nothing; both are the gap where there is one. above, below, unbounded:
    replicates, of ``replicates``, whose gap the grid does not hold: known from one side only, as larger or as
    smaller than some value, or not at all (both pairs are past the level at the lowest SNR).
    """

    gap: Interval | None
    level: float
    why: str
    at_least: float
    at_most: float
    replicates: int
    above: int
    below: int
    unbounded: int


def monotone(curves: np.ndarray) -> np.ndarray:
    """The non-decreasing curves nearest to ``curves`` [..., K], by least squares: same shape. ValueError for
    values that are not finite.

    Isotonic regression (Barlow, Bartholomew, Bremner and Brunk, Statistical Inference under Order
    Restrictions, 1972). A curve that does not fall is its own fit, to the bit.
    """
    from scipy.optimize import isotonic_regression

    fit = np.array(curves, dtype=float, order="C")
    if not np.isfinite(fit).all():
        raise ValueError("curves must be finite: leave out the SNRs that were not measured")
    for curve in fit.reshape(-1, fit.shape[-1]):
        if (np.diff(curve) < 0).any():
            curve[:] = isotonic_regression(curve).x
    return fit


def crossing(snrs: np.ndarray, curves: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The lowest SNR, in dB, at which each of ``curves`` [R + 1, K], non-decreasing, reaches its one of
    ``levels`` [R + 1]: [R + 1].

    Linear between the SNRs. +inf where the level is not reached at the highest, -inf where it is exceeded at
    the lowest: there the true crossing lies outside the grid. ValueError for shapes that do not fit, SNRs
    that do not increase and curves that fall.
    """
    snrs, curves, levels = (np.asarray(given, dtype=float) for given in (snrs, curves, levels))
    if snrs.ndim != 1 or not snrs.size or curves.shape != (levels.size, snrs.size) or levels.ndim != 1:
        raise ValueError(
            f"SNRs {snrs.shape}, curves {curves.shape}, levels {levels.shape}: "
            "wanted [K], [R + 1, K], [R + 1]"
        )
    if not np.isfinite(snrs).all() or not (np.diff(snrs) > 0).all():
        raise ValueError(f"SNRs must be finite and increase: {snrs.tolist()}")
    if not (np.diff(curves) >= 0).all():
        raise ValueError("curves must not fall: fit them with monotone first")
    reached = (curves < levels[:, None]).sum(-1)
    found = np.where(reached == 0, np.where(curves[:, 0] == levels, snrs[0], -inf), inf)
    rows = np.flatnonzero((reached > 0) & (reached < snrs.size))
    right = reached[rows]
    low, high = curves[rows, right - 1], curves[rows, right]
    found[rows] = snrs[right - 1] + (snrs[right] - snrs[right - 1]) * ((levels[rows] - low) / (high - low))
    return found


def price(snrs: np.ndarray, reference: np.ndarray, other: np.ndarray, *, share: float = SHARE) -> Price:
    """The horizontal gap between two BLEU-SNR curves, other - reference, at ``share`` of the reference's BLEU
    at the highest SNR.

    snrs [K] in dB; reference, other [R + 1, K] in BLEU, which need not be monotone: level and gap are read
    off their monotone fits, each replicate's level off its own reference. The ends of the interval are
    percentiles of the replicates, the outer of two where one falls between; replicates whose gap the grid
    does not hold count as ±inf, unbounded ones as -inf for the low end and +inf for the high one. Without
    replicates (R = 0) both ends are infinite. A model against itself costs 0 [0, 0] where it crosses the
    level within the grid, and has no gap where it does not: its own crossing is then as unknown as another's.
    ValueError as ``monotone`` and ``crossing``, and for shapes that differ or a share outside (0, 1].
    """
    reference, other = monotone(reference), monotone(other)
    if reference.shape != other.shape or reference.ndim != 2 or not len(reference):
        raise ValueError(f"reference {reference.shape} beside other {other.shape}: wanted [R + 1, K] twice")
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1]: {share}")
    levels = share * reference[:, -1]
    # No BLEU lies below zero: a level of zero, of a reference that transmits nothing, is reached at any SNR
    # whatever.
    ours, theirs = (
        np.where(levels > 0, crossing(snrs, curves, levels), -inf) for curves in (reference, other)
    )
    lowest, highest = float(snrs[0]), float(snrs[-1])
    at_least = min(float(theirs[0]), highest) - max(float(ours[0]), lowest)
    at_most = max(float(theirs[0]), lowest) - float(ours[0])

    known = (ours > -inf) | (theirs > -inf)
    lows, highs = (
        np.subtract(theirs, ours, out=np.full_like(ours, end), where=known)[1:] for end in (-inf, inf)
    )
    unbounded = int((~known[1:]).sum())
    above, below = int((lows == inf).sum()), int((highs == -inf).sum())
    if theirs[0] == inf:
        gap, why = None, OTHER_NOT_REACHED
    elif not np.isfinite(ours[0]) or not np.isfinite(theirs[0]):
        gap, why = None, BELOW_GRID
    else:
        gap, why = Interval(at_least, *_ends(lows, highs)), ""
    return Price(gap, float(levels[0]), why, at_least, at_most, len(lows), above, below, unbounded)


def over_seeds(prices: Sequence[Price]) -> Price:
    """Of runs that differ in their seed alone: the mean of their gaps with Student's interval; where one has
    no gap, why, and what is known of the smallest and of the largest. Replicates are those of all."""
    if len(prices) == 1:
        return prices[0]
    gaps = [price.gap.value for price in prices if price.gap is not None]
    mean = intervals.estimate(gaps).interval if len(gaps) == len(prices) else None
    without = [price for price in prices if price.gap is None]
    return Price(
        mean,
        fmean(price.level for price in prices),
        without[0].why if without else "",
        min(price.at_least for price in prices) if mean is None else mean.value,
        max(price.at_most for price in prices) if mean is None else mean.value,
        *(sum(getattr(price, name) for price in prices) for name in COUNTS),
    )


def _ends(lows: np.ndarray, highs: np.ndarray) -> tuple[float, float]:
    """The ends of the percentile interval (Efron, 1979). Order statistics, as infinite values cannot be
    interpolated."""
    if not lows.size:
        return -inf, inf
    cut = int((1 - LEVEL) / 2 * (lows.size - 1))
    return float(np.sort(lows)[cut]), float(np.sort(highs)[-1 - cut])
