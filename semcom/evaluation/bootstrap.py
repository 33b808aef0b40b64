"""What a finite test set allows to say: bootstrap over sentences, and paired tests by swapping.

Everything is a function of sums over sentences. Row 0 of an array of resamples is the test set itself, rows 1
to R are replicates; arithmetic between such arrays keeps pairs together, since all are made from the same
resamples.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from semcom.evaluation import intervals
from semcom.evaluation.intervals import LEVEL, Interval

TRIALS_TOGETHER = 1000

Measures = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Sums [..., K] -> name -> values [...]."""


def resamples(sentences: int, replicates: int, seed: int) -> np.ndarray:
    """[R+1, N]: how often each sentence is in the test set (once, row 0) and in R samples of N with
    replacement (Efron 1979).

    Of a single sentence there is one sample alone, which tells nothing: its replicates are not numbers, and
    intervals unbounded.
    """
    if sentences == 1:
        return np.concatenate([np.ones((1, 1)), np.full((replicates, 1), np.nan)])
    drawn = np.random.default_rng(seed).multinomial(
        sentences, np.full(sentences, 1 / sentences), size=replicates
    )
    return np.concatenate([np.ones((1, sentences)), drawn])


def interval(values: np.ndarray) -> Interval | None:
    """The value of [R+1] resamples and the percentiles of its replicates. None where the value itself is not
    to be had (NaN).

    A replicate that is infinite stands at its end; one that is not a number is left out.
    """
    if np.isnan(values[0]):
        return None
    replicates = np.sort(values[1:][~np.isnan(values[1:])])
    if not len(replicates):
        return Interval(float(values[0]), -np.inf, np.inf)
    tail = (1 - LEVEL) / 2
    # Order statistics, not interpolated between: two of them may be infinite.
    low, high = (
        replicates[min(len(replicates) - 1, max(0, round(share * (len(replicates) - 1))))]
        for share in (tail, 1 - tail)
    )
    return Interval(float(values[0]), float(low), float(high))


def over_seeds(values: Sequence[np.ndarray]) -> Interval | None:
    """Of [R+1] resamples of each seed: of several the mean of their values with Student's interval, of one
    its own. None where one of several is no finite number."""
    if len(values) == 1:
        return interval(values[0])
    plain = [float(value[0]) for value in values]
    return intervals.estimate(plain).interval if np.isfinite(plain).all() else None


def swap_tests(
    ours: np.ndarray, theirs: np.ndarray, measures: Measures, trials: int, seed: int
) -> dict[str, np.ndarray]:
    """Two-sided p [M] of each measure for no difference between two systems on the same sentences, M times:
    approximate randomisation (Riezler and Maxwell 2005), in which every sentence changes sides with
    probability one half.

    ours, theirs: [N, M, K] sums by sentence. 1 where the two do not differ at all.
    """
    count, tests, columns = ours.shape
    first, second = ours.sum(0), theirs.sum(0)
    one, other = measures(first), measures(second)
    difference = (ours - theirs).reshape(count, tests * columns)
    generator, exceeding = np.random.default_rng(seed), {name: np.ones(tests) for name in one}
    for start in range(0, trials, TRIALS_TOGETHER):
        swapped = generator.integers(0, 2, size=(min(TRIALS_TOGETHER, trials - start), count)).astype(
            np.float64
        )
        moved = (swapped @ difference).reshape(-1, tests, columns)
        by_one, by_other = measures(first - moved), measures(second + moved)
        for name in one:
            # Sums in another order differ by rounding: a tie is a tie. What is not a number speaks for no
            # difference.
            with np.errstate(invalid="ignore"):
                found = abs(one[name] - other[name]) * (1 - 1e-9) - 1e-12
                exceeding[name] += (~(abs(by_one[name] - by_other[name]) < found)).sum(0)
    return {name: count / (1 + trials) for name, count in exceeding.items()}
