"""Intervals, paired differences and Holm's adjustment against scipy, by hand and by simulation."""

import math
import random

import numpy as np
import pytest
from scipy import stats

from semcom.evaluation import intervals

VALUES, OTHERS = [3.1, 2.4, 4.0, 3.3, 2.9], [2.0, 2.6, 3.1, 2.8, 2.2]


def test_estimate_against_scipy():
    found, test = intervals.estimate(VALUES), stats.ttest_1samp(VALUES, 0)
    low, high = test.confidence_interval(0.95)
    assert (
        found.mean == pytest.approx(np.mean(VALUES))
        and found.p == pytest.approx(test.pvalue)
        and found.count == 5
    )
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert f"{found:.2f}" == f"{found.mean:.2f} ± {found.half_width:.2f}"


def test_paired_against_scipy():
    found = intervals.paired(VALUES, OTHERS)
    assert found.p == pytest.approx(stats.ttest_rel(VALUES, OTHERS).pvalue)
    assert found.mean == pytest.approx(np.mean(VALUES) - np.mean(OTHERS))
    with pytest.raises(ValueError, match="5 values beside 4"):
        intervals.paired(VALUES, OTHERS[:4])


def test_one_value_has_no_interval_and_equal_values_one_of_no_width():
    assert intervals.estimate([2.0]) == intervals.Estimate(2.0, None, None, 1)
    assert f"{intervals.estimate([2.0]):.2f}" == "2.00"
    assert intervals.estimate([2.0, 2.0]) == intervals.Estimate(2.0, 0.0, 0.0, 2)
    assert intervals.paired(VALUES, VALUES) == intervals.Estimate(0.0, 0.0, 1.0, 5)
    with pytest.raises(ValueError, match="no values"):
        intervals.estimate([])


def test_the_interval_holds_the_mean_as_often_as_it_says():
    rng, runs = random.Random(0), 1000
    within = 0
    for _ in range(runs):
        found = intervals.estimate([rng.gauss(1.0, 2.0) for _ in range(5)])
        within += abs(found.mean - 1.0) <= found.half_width
    assert abs(within / runs - 0.95) < 3 * math.sqrt(0.95 * 0.05 / runs)


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.04: 4 x 0.01, 3 x 0.02, then never less than before."""
    assert intervals.holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])
    assert (
        intervals.holm([0.6, 0.7]) == [1.0, 1.0]
        and intervals.holm([]) == []
        and intervals.holm([0.03]) == [0.03]
    )


def test_holm_keeps_the_error_rate_of_the_family():
    rng, runs = random.Random(1), 1000
    wrong = sum(min(intervals.holm([rng.random() for _ in range(6)])) < 0.05 for _ in range(runs))
    assert wrong / runs < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
