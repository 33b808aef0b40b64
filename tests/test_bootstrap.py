"""Bootstrap and swap tests against enumeration and simulation. Bounds are three binomial errors, and what a
comment states beside."""

import math
from itertools import product

import numpy as np
import pytest

from semcom.evaluation.bootstrap import interval, resamples, swap_tests
from semcom.evaluation.intervals import Interval

NAN, INF = math.nan, math.inf


def ratio(sums):
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"ratio": sums[..., 0] / sums[..., 1]}


def pairs_of(generator, *shape):
    """[..., 2]: a sentence's sum and its tokens, 5 to 30 of them, of rate 2 and with a quality of its own."""
    tokens = generator.integers(5, 31, size=shape).astype(float)
    return np.stack([tokens * (2 + generator.normal(size=shape)), tokens], axis=-1)


# Bootstrap


def test_each_row_is_a_sample_of_as_many_sentences():
    weights = resamples(40, 500, seed=3)
    assert weights.shape == (501, 40) and (weights[0] == 1).all() and (weights.sum(1) == 40).all()
    assert (
        (weights >= 0).all()
        and (weights == np.round(weights)).all()
        and len(np.unique(weights[1:], axis=0)) == 500
    )
    # A sentence is left out of a sample with probability (1 - 1/N)^N.
    left_out, expected = (weights[1:] == 0).mean(), (1 - 1 / 40) ** 40
    assert abs(left_out - expected) < 3 * math.sqrt(expected * (1 - expected) / 20_000)
    # Multinomial: mean 1, variance 1 - 1/N of each sentence's count.
    assert weights[1:].var() == pytest.approx(1 - 1 / 40, abs=3 * math.sqrt(2.5 / 20_000))


def test_resamples_are_those_of_the_seed():
    assert (resamples(40, 20, 3) == resamples(40, 20, 3)).all() and (
        resamples(40, 20, 3) != resamples(40, 20, 4)
    ).any()
    assert (
        resamples(1, 2, 0)[0].tolist() == [1]
        and np.isnan(resamples(1, 2, 0)[1:]).all()
        and resamples(3, 0, 0).tolist() == [[1, 1, 1]]
    )


def test_interval_is_the_value_and_the_percentiles_of_the_replicates():
    replicates = np.random.default_rng(0).permutation(2001) * 1.0
    assert interval(np.array([7.0, *replicates])) == Interval(7.0, 50.0, 1950.0)
    skewed = np.random.default_rng(1).gamma(1.0, size=4001)
    found = interval(np.array([1.0, *skewed]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(skewed, (0.025, 0.975))))


def test_a_value_that_is_not_there_has_no_interval():
    assert interval(np.array([NAN, 1.0, 2.0])) is None and interval(np.array([NAN])) is None


def test_without_replicates_nothing_bounds_the_value():
    assert interval(np.array([3.0])) == interval(np.array([3.0, NAN, NAN])) == Interval(3.0, -INF, INF)


def test_replicates_that_are_no_number_are_left_out_and_infinite_ones_stand_at_their_end():
    replicates = np.arange(41.0)
    assert (
        interval(np.array([7.0, *replicates, *[NAN] * 30]))
        == Interval(7.0, 1.0, 39.0)
        == interval(np.array([7.0, *replicates]))
    )
    assert interval(np.array([7.0, *replicates[2:], INF, INF])) == Interval(7.0, 3.0, INF)
    assert interval(np.array([7.0, *replicates[2:], -INF, -INF])) == Interval(7.0, -INF, 39.0)
    assert interval(np.array([INF, *[INF] * 40])) == Interval(INF, INF, INF)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Of a ratio of sums over 80 sentences. The percentile interval of N normal values is too narrow by the
    factor sqrt((N - 1) / N) z / t(N - 1), which costs 0.5 % of coverage at N = 80; 1.5 % are allowed for this
    and the ratio's bias.

    Samples are independent of each other and of the resamples, which they share.
    """
    samples, weights = pairs_of(np.random.default_rng(5), 2000, 80), resamples(80, 1000, seed=6)
    sums = np.einsum("rn,snk->srk", weights, samples, optimize=True)
    found = [interval(values) for values in ratio(sums)["ratio"]]
    covered = np.mean([i.low <= 2 <= i.high for i in found])
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 2000) + 0.015
    assert [i.value for i in found] == pytest.approx(
        (samples[..., 0].sum(1) / samples[..., 1].sum(1)).tolist()
    )
    below, above = np.mean([2 < i.low for i in found]), np.mean([2 > i.high for i in found])
    assert abs(below - above) < 3 * math.sqrt(0.05 / 2000) + 0.015, "as often missed on either side"


def test_differences_are_paired():
    """Two systems that share their sentences' difficulty: the interval of the difference is far narrower than
    either one's."""
    generator = np.random.default_rng(7)
    one = pairs_of(generator, 200)
    other = one + np.stack([0.5 + 0.1 * generator.normal(size=200), np.zeros(200)], axis=-1)
    weights = resamples(200, 2000, seed=8)
    values, theirs = (ratio(weights @ sums)["ratio"] for sums in (one, other))
    own, difference = interval(values), interval(theirs - values)
    assert (difference.low > 0 or difference.high < 0) and difference.high - difference.low < 0.1 * (
        own.high - own.low
    )
    assert interval(values - values) == Interval(0.0, 0.0, 0.0)


# Swap tests


def test_p_is_that_of_all_swaps():
    """Of 10 sentences there are 1024; trials come to it within three binomial errors and the one trial that
    the data count for."""
    generator = np.random.default_rng(0)
    ours, theirs = pairs_of(generator, 10, 6), pairs_of(generator, 10, 6)
    ours[..., 0] += np.linspace(0, 30, 6)
    swapped = np.array(list(product([0.0, 1.0], repeat=10)))
    moved = np.einsum("tn,nmk->tmk", swapped, ours - theirs)
    apart = np.abs(ratio(ours.sum(0) - moved)["ratio"] - ratio(theirs.sum(0) + moved)["ratio"])
    exact = (apart >= apart[0] - 1e-9).mean(0)
    assert exact.min() < 0.05 and exact.max() > 0.3
    trials = 20_000
    found = swap_tests(ours, theirs, ratio, trials, seed=1)["ratio"]
    assert (np.abs(found - exact) < 3 * np.sqrt(exact * (1 - exact) / trials) + 1 / trials).all()


def test_the_rarest_p_counts_ties():
    """Ours is better in each of 8 sentences by the same: only no swap and all swaps are as far apart, 2 of
    256."""
    tokens = np.full((8, 1), 3.0)
    ours, theirs = (np.stack([tokens * rate, tokens], axis=-1) for rate in (0.7, 0.1))
    trials = 20_000
    found = float(swap_tests(ours, theirs, ratio, trials, seed=2)["ratio"][0])
    assert abs(found - 2 / 256) < 3 * math.sqrt(2 / 256 / trials) + 1 / trials


def test_p_is_uniform_without_an_effect():
    generator = np.random.default_rng(1)
    ours, theirs = pairs_of(generator, 60, 400), pairs_of(generator, 60, 400)
    found = swap_tests(ours, theirs, ratio, 2000, seed=3)["ratio"]
    for level in (0.05, 0.25, 0.5, 0.75):
        assert abs((found < level).mean() - level) < 3 * math.sqrt(level * (1 - level) / 400), level
    assert found.min() >= 1 / 2001 and found.max() <= 1


def test_p_is_small_for_an_effect_and_does_not_ask_its_sign():
    generator = np.random.default_rng(2)
    theirs = pairs_of(generator, 80, 30)
    ours = theirs + np.stack(
        [theirs[..., 1] * (0.5 + generator.normal(size=(80, 30))), np.zeros((80, 30))], axis=-1
    )
    found = swap_tests(ours, theirs, ratio, 2000, seed=4)["ratio"]
    assert (found < 0.05).mean() > 0.9  # an effect of half a deviation, 4.5 standard errors
    np.testing.assert_array_equal(swap_tests(theirs, ours, ratio, 2000, seed=4)["ratio"], found)


def test_identical_systems_have_p_one():
    ours = pairs_of(np.random.default_rng(3), 50, 4)
    assert swap_tests(ours, ours.copy(), ratio, 1500, seed=5)["ratio"].tolist() == [1.0] * 4


def test_one_test_is_the_same_beside_others_and_its_seed_is_heard():
    generator = np.random.default_rng(4)
    ours, theirs = pairs_of(generator, 30, 5), pairs_of(generator, 30, 5)
    found = swap_tests(ours, theirs, ratio, 1700, seed=6)["ratio"]
    alone = [
        float(swap_tests(ours[:, [k]], theirs[:, [k]], ratio, 1700, seed=6)["ratio"][0]) for k in range(5)
    ]
    assert (
        found.tolist() == alone
        and found.tolist() != swap_tests(ours, theirs, ratio, 1700, seed=7)["ratio"].tolist()
    )
    assert [p * 1701 for p in alone] == pytest.approx([round(p * 1701) for p in alone], abs=1e-9), (
        "counts of 1700 trials and the data"
    )


@pytest.mark.parametrize("tokens", [0.0, NAN])
def test_a_measure_that_is_no_number_is_no_difference(tokens):
    """Also beside one that is: columns do not touch each other, nor do measures."""
    ours, theirs = (pairs_of(np.random.default_rng(seed), 30, 1) for seed in (5, 6))
    ours[..., 0] += 40

    def both(sums):
        return {
            "broken": sums[..., 0] / sums[..., 1] if math.isnan(tokens) else ratio(sums * [0, 0])["ratio"],
            "sound": sums[..., 0],
        }

    ours[..., 1] = theirs[..., 1] = tokens
    found = swap_tests(ours, theirs, both, 1000, seed=7)
    assert found["broken"].tolist() == [1.0] and found["sound"][0] < 0.01


def test_a_difference_without_bound_is_as_rare_as_it_is():
    """A measure that is infinite for one system as it stands: swaps that leave it so count, others do not."""
    ours, theirs = (np.ones((6, 1, 2)) for _ in range(2))
    ours[:, 0, 1] = 0  # infinite where no sentence is swapped in, for the other where all are
    found = swap_tests(ours, theirs, ratio, 20_000, seed=8)["ratio"][0]
    assert abs(found - 2 / 64) < 3 * math.sqrt(2 / 64 / 20_000) + 1 / 20_000
