"""The gap between two curves by hand, against scikit-learn and by simulation; what the grid does not hold."""

import math

import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from semcom.evaluation.intervals import Interval
from semcom.evaluation.snr_gap import Price, crossing, monotone, price

SNRS = np.arange(-6.0, 19.0, 3.0)
INF = math.inf


def sigmoid(snrs, shift=0.0, top=80.0, slope=2.0):
    return top / (1 + np.exp(-(snrs - shift - 4.0) / slope))


def one(*curve):
    return np.array([curve], dtype=float)


def test_monotone_is_isotonic_regression():
    curves = np.random.default_rng(0).normal(size=(200, 9)) + np.linspace(0, 2, 9)
    wanted = [isotonic_regression(curve) for curve in curves]
    np.testing.assert_allclose(monotone(curves), wanted, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(monotone(curves.reshape(20, 10, 9)), monotone(curves).reshape(20, 10, 9))
    np.testing.assert_array_equal(monotone(np.asfortranarray(curves)), monotone(curves))


def test_monotone_by_hand():
    """4, 2, 3 pool to 3; the fall of 9, 1 pulls them along: (4 + 2 + 3 + 9 + 1) / 5."""
    np.testing.assert_allclose(monotone(one(1, 4, 2, 3, 9)), one(1, 3, 3, 3, 9))
    np.testing.assert_allclose(monotone(one(0, 4, 2, 3, 9, -3)), one(0, 3, 3, 3, 3, 3))
    np.testing.assert_allclose(monotone(one(3, 2, 1)), one(2, 2, 2))


def test_monotone_never_falls_and_keeps_what_needs_no_fit():
    curves = np.random.default_rng(1).normal(size=(2001, 9)) + np.linspace(0, 2, 9)
    fit = monotone(curves)
    assert (np.diff(fit) >= 0).all()
    np.testing.assert_array_equal(monotone(fit), fit)
    np.testing.assert_array_equal(monotone(np.sort(curves)), np.sort(curves))
    np.testing.assert_array_equal(monotone(curves[:, :1]), curves[:, :1])
    with pytest.raises(ValueError, match="finite"):
        monotone(one(1, math.nan, 2))


def test_crossing_by_hand():
    snrs, curves = [0, 3, 9], [[10, 40, 70]] * 7
    found = crossing(snrs, curves, np.array([9.9, 10, 25, 40, 50, 70, 70.1]))
    np.testing.assert_allclose(found, [-INF, 0, 1.5, 3, 5, 9, INF])
    np.testing.assert_array_equal(crossing(snrs, [[1, 5, 5], [5, 5, 5], [0, 0, 5]], [5, 5, 5]), [3, 0, 9])


@pytest.mark.parametrize(
    "snrs, curves, levels, named",
    [
        ([0, 0, 6], [[1, 2, 3]], [2], "increase"),
        ([0, math.nan, 6], [[1, 2, 3]], [2], "increase"),
        ([0, 3, 6], [[1, 3, 2]], [2], "monotone"),
        ([0, 3], [[1, 2, 3]], [2], r"wanted \[K\]"),
        ([0, 3, 6], [[1, 2, 3]], [2, 2], r"wanted \[K\]"),
        ([], np.zeros((1, 0)), [2], r"wanted \[K\]"),
    ],
)
def test_crossing_refuses(snrs, curves, levels, named):
    with pytest.raises(ValueError, match=named):
        crossing(snrs, curves, levels)


def test_price_refuses():
    curve = one(*sigmoid(SNRS))
    for share in (0, 1.1, math.nan):
        with pytest.raises(ValueError, match="share"):
            price(SNRS, curve, curve, share=share)
    for reference, other in (
        (curve, np.vstack([curve, curve])),
        (curve[0], curve[0]),
        (curve[:0], curve[:0]),
    ):
        with pytest.raises(ValueError, match="beside"):
            price(SNRS, reference, other)


@pytest.mark.parametrize("shift", [2.5, -2.5])
@pytest.mark.parametrize("step", [3.0, 0.1])
def test_the_shift_of_two_sigmoids_is_found(shift, step):
    """A chord misses its curve by at most step² / 8 x the largest |second derivative|, top / slope² / (6√3)
    for a sigmoid. Over the chord's own slope this is how far, in dB, it moves the crossing of a level; two
    curves, two errors."""
    top, slope, snrs = 80.0, 2.0, np.arange(-6.0, 18.0 + step / 2, step)
    curves = sigmoid(snrs, 0.0, top, slope), sigmoid(snrs, shift, top, slope)
    found = price(snrs, one(*curves[0]), one(*curves[1]))
    miss = step**2 / 8 * top / slope**2 / (6 * math.sqrt(3))
    error = sum(miss * step / np.diff(curve)[np.flatnonzero(curve < found.level)[-1]] for curve in curves)
    assert abs(found.gap.value - shift) < error < (1.2 if step == 3 else 0.002)
    assert found.level == pytest.approx(0.9 * curves[0][-1])


REFERENCE, SHIFTED = np.interp(SNRS, [0, 9, 18], [0, 90, 100]), np.clip(10 * (SNRS - 2.5), 0, 100)
"""Both rise by 10 BLEU per dB, from 0 and from 2.5 dB, up to 9 and 12 dB."""


@pytest.mark.parametrize("share", [0.9, 0.75, 0.5, 0.4])
def test_the_shift_of_two_lines_is_found_exactly(share):
    found = price(SNRS, one(*REFERENCE), one(*SHIFTED), share=share)
    assert found.gap.value == pytest.approx(2.5, abs=1e-12) and found.level == pytest.approx(100 * share)
    assert found.at_least == found.at_most == found.gap.value and found.why == ""
    assert price(SNRS, one(*SHIFTED), one(*REFERENCE), share=share).gap.value == pytest.approx(
        -2.5, abs=1e-12
    )


def test_level_and_gap_are_read_off_the_monotone_fits():
    """60, 90, 80, 82 pools to 60, 84, 84, 84: level 75.6, crossed at 3 + 3 x 15.6 / 24; the other, 20, 70,
    50, 90, at 9 + 3 x 15.6 / 30."""
    found = price([3, 6, 9, 12], one(60, 90, 80, 82), one(20, 70, 50, 90))
    assert found.level == pytest.approx(75.6)
    assert found.gap.value == pytest.approx((9 + 3 * 15.6 / 30) - (3 + 3 * 15.6 / 24))


def test_a_model_against_itself():
    rng = np.random.default_rng(2)
    curves = sigmoid(SNRS) + rng.normal(size=(500, SNRS.size))
    found = price(SNRS, curves, curves)
    assert found.gap == Interval(0.0, 0.0, 0.0) and found.replicates == 499
    assert found.above == found.below == found.unbounded == 0
    flat = price(SNRS, np.full((5, 9), 30.0), np.full((5, 9), 30.0))
    assert flat == Price(None, pytest.approx(27.0), "below_grid", -INF, INF, 4, 0, 0, 4)


def test_without_replicates_the_interval_is_unbounded():
    found = price(SNRS, one(*sigmoid(SNRS)), one(*sigmoid(SNRS, 2.5)))
    assert (found.gap.low, found.gap.high, found.replicates) == (-INF, INF, 0)


CROSSES, LATER, NEVER, BELOW = [0, 50, 100], [0, 0, 100], [0, 10, 20], [95, 96, 97]
"""At 0, 3, 6 dB with a level of 90: crossed at 5.4, at 5.7, not within the grid, below it."""
STARTS = [95, 96, 100]


@pytest.mark.parametrize(
    "reference, other, why, at_least, at_most",
    [
        (CROSSES, NEVER, "other_not_reached", 6 - 5.4, INF),
        (STARTS, NEVER, "other_not_reached", 6 - 0, INF),
        (CROSSES, BELOW, "below_grid", -INF, 0 - 5.4),
        (STARTS, CROSSES, "below_grid", 5.4 - 0, INF),
        (STARTS, BELOW, "below_grid", -INF, INF),
    ],
)
def test_no_gap_has_a_reason_and_bounds(reference, other, why, at_least, at_most):
    found = price([0, 3, 6], one(*reference), one(*other))
    assert found.gap is None and found.why == why
    assert (found.at_least, found.at_most) == pytest.approx((at_least, at_most))


def test_a_reference_that_transmits_nothing_has_no_price():
    found = price([0, 3, 6], one(0, 0, 0), one(0, 0, 0))
    assert (found.gap, found.level, found.why) == (None, 0.0, "below_grid")


def test_censored_replicates_are_counted_by_side_and_lie_at_infinity():
    """100 replicates: the interval leaves out the int(0.025 x 99) = 2 outermost at each end."""

    def found(above, below, unbounded):
        kinds = (
            [(CROSSES, LATER)]
            + [(CROSSES, NEVER)] * above
            + [(CROSSES, BELOW)] * below
            + [(STARTS, BELOW)] * unbounded
        )
        pairs = kinds + [(CROSSES, LATER)] * (101 - len(kinds))
        done = price([0, 3, 6], *(np.array(curves, dtype=float) for curves in zip(*pairs)))
        counted = (done.replicates, done.above, done.below, done.unbounded)
        assert counted == (100, above, below, unbounded)
        assert done.gap.value == pytest.approx(0.3)
        return done.gap.low, done.gap.high

    assert found(2, 2, 0) == pytest.approx((0.3, 0.3))
    assert found(3, 2, 0) == pytest.approx((0.3, INF))
    assert found(2, 3, 0) == pytest.approx((-INF, 0.3))
    assert found(2, 0, 2) == pytest.approx((0.3, INF)) and found(1, 1, 2) == (-INF, INF)
    assert found(0, 0, 2) == pytest.approx((0.3, 0.3)) and found(0, 0, 3) == (-INF, INF)
    assert found(40, 30, 30) == (-INF, INF)


def test_a_reference_past_the_level_below_the_grid_censors_from_above():
    rows = [(CROSSES, LATER), (STARTS, CROSSES), (STARTS, NEVER)]
    found = price([0, 3, 6], *(np.array(curves, dtype=float) for curves in zip(*rows)))
    assert (found.above, found.below, found.unbounded) == (2, 0, 0)


def test_nan_never_comes_out():
    rng = np.random.default_rng(3)
    for _ in range(300):
        curves = rng.choice([0.0, 1.0, 50.0, 100.0], size=(2, 4, 3)) + rng.choice([0, 1]) * rng.normal(
            size=(2, 4, 3)
        )
        found = price([0, 3, 6], *curves)
        ends = [] if found.gap is None else [found.gap.value, found.gap.low, found.gap.high]
        assert not any(math.isnan(number) for number in [*ends, found.level, found.at_least, found.at_most])
        assert found.at_least <= found.at_most and (found.gap is None) == bool(found.why)


def test_the_interval_holds_the_gap_as_often_as_it_says():
    rng, experiments, replicates = np.random.default_rng(4), 300, 300
    truth, within = np.stack([REFERENCE, SHIFTED]), 0
    for _ in range(experiments):
        seen = truth + rng.normal(size=truth.shape)
        again = seen[:, None] + rng.normal(size=(2, replicates, SNRS.size))
        found = price(SNRS, *np.concatenate([seen[:, None], again], axis=1), share=0.75)
        within += found.gap.low <= 2.5 <= found.gap.high
    assert abs(within / experiments - 0.95) < 3 * math.sqrt(0.95 * 0.05 / experiments)
