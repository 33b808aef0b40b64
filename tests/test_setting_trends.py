"""Trends against scipy, by enumeration and by simulation; which runs differ in one setting alone."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from semcom.evaluation.setting_trends import Point, Trend, differing, judge, numeric, sweeps, trend

VALUES = (0.5, 1.0, 2.0, 4.0, 8.0)
RISING = (0.1, 0.2, 0.4, 0.5, 0.9)


def runs(*measures, values=VALUES):
    """One row of measures a seed."""
    return [
        Point(value, seed, measure)
        for seed, row in enumerate(measures)
        for value, measure in zip(values, row)
    ]


@pytest.mark.parametrize("decimals", [8, 1, 0])
def test_correlations_are_spearmans(decimals):
    """Rounded to one decimal and to whole numbers, measures tie."""
    measures = np.random.default_rng(0).normal(size=(4, 5)).round(decimals)
    found = trend(runs(*measures))
    wanted = {seed: stats.spearmanr(VALUES, row).statistic for seed, row in enumerate(measures)}
    assert len(np.unique(measures[0])) < 5 or decimals
    assert found.by_seed == pytest.approx(wanted) and found.rho == pytest.approx(
        np.mean(list(wanted.values()))
    )


def test_order_of_runs_does_not_matter():
    given = runs(*np.random.default_rng(1).normal(size=(3, 5)))
    assert trend(reversed(given)) == trend(given)


@pytest.mark.parametrize("ties", [False, True])
def test_exact_p_against_every_order(ties):
    """Four values x three seeds have 24³ = 13,824 orders."""
    values, measures = VALUES[:4], [(1, 2, 3, 4), (1, 3, 2, 4), (3, 1, 3 if ties else 2, 4)]
    tables = [[stats.spearmanr(order, row).statistic for order in permutations(values)] for row in measures]
    sums = np.abs([sum(picked) for picked in product(*tables)])
    found = trend(runs(*measures, values=values))
    assert found.p == np.mean(sums >= sums[0] - 1e-9) and 0.001 < found.p < 0.05
    assert (found.verdict, found.why, found.values, found.seeds) == ("rises", "", 4, 3)


def test_exact_p_by_hand():
    """Two of the 24 orders of one seed are as far from zero as the order itself, and two of the 13,824 of
    three seeds."""
    row = (1, 2, 3, 4)
    assert trend(runs(row, values=VALUES[:4])).p == 2 / 24
    assert trend(runs(row, row, row, values=VALUES[:4])).p == 2 / 24**3


def test_sampled_p_agrees_with_the_exact_one():
    """Five values x three seeds have 1,728,000 orders: more than are enumerated."""
    measures = [(1, 2, 3, 5, 4), (2, 1, 5, 3, 4), (1, 4, 2, 3, 5)]
    tables = [
        np.array([stats.spearmanr(order, row).statistic for order in permutations(VALUES)])
        for row in measures
    ]
    sums = np.abs(tables[0][:, None, None] + tables[1][:, None] + tables[2])
    exact = np.mean(sums >= sums[0, 0, 0] - 1e-9)
    found = trend(runs(*measures))
    assert abs(found.p - exact) < 3 * math.sqrt(exact * (1 - exact) / 20_000) + 1 / 20_001
    assert trend(runs(*measures)) == found, "the random orders are the same each time"
    count = found.p * 20_001 - 1
    assert count == pytest.approx(round(count)) and trend(runs(RISING, RISING, RISING)).p >= 1 / 20_001


def test_without_an_effect_few_verdicts():
    rng, studies = np.random.default_rng(2), 400
    verdicts = [trend(runs(*rng.normal(size=(3, 5)))).verdict for _ in range(studies)]
    wrong = sum(verdict != "undecided" for verdict in verdicts) / studies
    assert wrong < 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)
    assert {"rises", "falls"} < set(verdicts), "so few that the test would hold nothing"


@pytest.mark.parametrize("sign, verdict", [(1, "rises"), (-1, "falls")])
def test_an_effect_is_found(sign, verdict):
    noise = np.random.default_rng(3).normal(scale=0.05, size=(3, 5))
    found = trend(runs(*(sign * (np.array(RISING) + noise))))
    assert found.verdict == verdict and found.why == "" and found.rho * sign > 0.8 and found.p < 0.01
    exact = trend(runs(*[sign * np.array(RISING[:4])] * 3, values=VALUES[:4]))
    assert exact.verdict == verdict and exact.rho == pytest.approx(sign)


def test_three_values_never_decide():
    found = trend(runs(*[RISING[:3]] * 20, values=VALUES[:3]))
    assert found.p < 0.001 and (found.verdict, found.why, found.values, found.seeds) == (
        "undecided",
        "few_values",
        3,
        20,
    )


def test_two_seeds_never_decide():
    found = trend(runs(RISING, RISING))
    assert found.p < 0.01 and (found.verdict, found.why, found.seeds) == ("undecided", "few_seeds", 2)


def test_a_seed_that_lacks_a_value_does_not_count():
    whole, lacking = runs(RISING, RISING, RISING), Point(VALUES[0], 7, 99.0)
    assert trend([*whole, lacking]) == trend(whole)
    found = trend([*whole[:-1], lacking])
    assert (found.verdict, found.why, found.seeds, sorted(found.by_seed)) == (
        "undecided",
        "unbalanced",
        2,
        [0, 1],
    )
    assert trend([Point(value, seed, 1.0) for seed, value in enumerate(VALUES)]) == Trend(
        None, {}, None, 5, 0, "undecided", "unbalanced"
    )


def test_noise_is_not_significant():
    found = trend(runs((1, 2, 3, 4, 5), (3, 1, 2, 5, 4), (2, 5, 3, 4, 1)))
    assert found.p > 0.05 and (found.verdict, found.why) == ("undecided", "not_significant")


def test_all_seeds_must_agree():
    found = trend(runs(RISING, RISING, RISING, RISING, RISING[::-1]))
    assert found.p < 0.05 and found.rho > 0.5 and (found.verdict, found.why) == ("undecided", "signs_differ")
    falling = trend(runs(*[RISING[::-1]] * 4, RISING))
    assert falling.rho < -0.5 and falling.why == "signs_differ"


def test_a_constant_measure_rises_nowhere():
    found = trend(runs(RISING, RISING, RISING, [1.0] * 5))
    assert found.by_seed[3] == 0.0 and found.p < 0.05 and found.why == "signs_differ"
    still = trend(runs(*[[1.0] * 5] * 3))
    assert (still.rho, still.p, still.why) == (0.0, 1.0, "not_significant")


def test_too_little_for_a_correlation():
    assert trend([]) == Trend(None, {}, None, 0, 0, "undecided", "few_values")
    assert trend([Point(1.0, 0, 2.0), Point(1.0, 1, 3.0)]) == Trend(
        None, {}, None, 1, 2, "undecided", "few_values"
    )


@pytest.mark.parametrize(
    "given, named",
    [
        ([Point(1, 0, 2.0), Point(1.0, 0, 3.0)], "two runs of value 1.0 and seed 0"),
        ([Point(1.0, 0, math.nan)], "numbers"),
        ([Point(math.nan, 0, 1.0)], "numbers"),
        ([Point("soft", 0, 1.0)], "numbers"),
        ([Point(True, 0, 1.0)], "numbers"),
    ],
)
def test_what_is_refused(given, named):
    with pytest.raises(ValueError, match=named):
        trend(given)


def test_judgement_of_a_claim():
    rises, falls, undecided = trend(runs(RISING, RISING, RISING)), trend(runs(*[RISING[::-1]] * 3)), trend([])
    assert [judge(found, "rises") for found in (rises, falls, undecided)] == [
        "supported",
        "contradicted",
        "undecided",
    ]
    assert [judge(found, "falls") for found in (rises, falls, undecided)] == [
        "contradicted",
        "supported",
        "undecided",
    ]
    with pytest.raises(ValueError, match="claimed"):
        judge(rises, "up")


def test_numeric_settings():
    assert numeric([1, 2.5, np.float32(3), np.int64(4)])
    for other in (True, "1", [1], None):
        assert not numeric([1, other])


def test_differing_settings_in_order():
    settings = [
        {"seed": 1, "loss": "kd", "topics": ["a"], "same": [1, {"x": 2}]},
        {"seed": 2, "topics": ["a", "b"], "loss": "kd", "same": [1.0, {"x": 2}]},
        {"seed": 1, "loss": "kd", "topics": ["a"], "same": [1, {"x": 2}], "late": 3},
    ]
    assert list(differing(settings, []).items()) == [
        ("seed", [1, 2]),
        ("topics", [["a"], ["a", "b"]]),
        ("late", [None, 3]),
    ]
    assert list(differing(settings, ["seed", "late"])) == ["topics"]
    assert differing([], []) == differing(settings[:1], []) == differing([{"x": None}, {}], []) == {}


def test_equal_settings_are_those_equal_in_json():
    found = differing(
        [
            {"a": 1, "b": 1, "c": [1, 0], "d": {"x": 1, "y": 2}},
            {"a": True, "b": 1.0, "c": [True, 0], "d": {"y": 2, "x": 1}},
        ],
        [],
    )
    assert {name: repr(values) for name, values in found.items()} == {
        "a": "[1, True]",
        "c": "[[1, 0], [True, 0]]",
    }


def test_a_grid_has_sweeps_of_both_settings():
    settings = [
        {"temperature": t, "init": init, "seed": seed, "name": f"{t}{init}"}
        for init, t, seed in product(["teacher", "random"], [1.0, 2.0, 4.0], [0, 1])
    ]
    assert sweeps(settings, ["name"]) == {
        "temperature": [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]],
        "init": [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]],
    }
    assert sweeps(settings, []) == {}, "the name differs along with each"


def test_sweeps_of_a_star():
    """A baseline, and runs that differ from it in one setting each."""
    settings = [{"t": 1, "w": 0.5}, {"t": 2, "w": 0.5}, {"t": 1, "w": 0.9}, {"t": 1, "w": 0.1}]
    assert sweeps(settings, []) == {"t": [[0, 1]], "w": [[0, 2, 3]]}


def test_settings_that_vary_together_have_no_sweep():
    assert sweeps([{"t": 1, "w": 1}, {"t": 2, "w": 2}], []) == {}
    assert sweeps([{"t": 1, "w": 1}, {"t": 2, "w": 2}], ["w"]) == {"t": [[0, 1]]}
    assert sweeps([{"t": 1, "seed": 1}, {"t": 1, "seed": 2}], []) == sweeps([], []) == {}


def test_a_missing_setting_is_a_value_of_its_own():
    settings = [{"t": 1}, {}, {"t": None, "seed": 1}]
    assert sweeps(settings, []) == {"t": [[0, 1, 2]]}
