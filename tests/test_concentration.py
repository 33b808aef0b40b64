"""How much of a total the worst sentences hold, against samples written out sentence by sentence."""

import numpy as np
import pytest

from semcom.evaluation import bootstrap, measures
from semcom.evaluation.concentration import worst_share
from semcom.evaluation.measure_row import Measure


def by_hand(values, times):
    """Of one sample, written out: the worst twentieth, with a part of the sentence on the boundary."""
    sample = sorted(np.repeat(values, times.astype(int)), reverse=True)
    wanted = 0.05 * len(sample)
    whole = int(wanted)
    held = sum(sample[:whole]) + (wanted - whole) * sample[whole]
    return held / sum(sample)


@pytest.mark.parametrize("count", [2, 7, 20, 33, 400])
def test_shares_are_those_of_samples_written_out(count):
    values = np.random.default_rng(count).gamma(0.3, 1, (2, 3, count))
    weights = bootstrap.resamples(count, 50, seed=1)
    found = worst_share(weights, values)
    assert found.shape == (2, 3, 51)
    expected = [[[by_hand(of_one, times) for times in weights] for of_one in row] for row in values]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_samples_that_lack_the_worst_look_further():
    """Of 1,000 sentences a sample may consist of the last ten alone."""
    values = np.arange(1000.0, 0, -1)
    weights = np.zeros((2, 1000))
    weights[0], weights[1, -10:] = 1, 100
    assert worst_share(weights, values) == pytest.approx([by_hand(values, times) for times in weights])


def test_known_shares():
    alike, one = np.ones(40), np.eye(40)[3]
    assert worst_share(np.ones((1, 40)), np.stack([alike, one])) == pytest.approx(np.array([[0.05], [1.0]]))
    assert worst_share(np.ones((1, 10)), np.eye(10)[0]) == pytest.approx([0.5]), "half of one sentence"
    assert np.isnan(worst_share(np.ones((1, 40)), np.zeros(40))).all(), "of nothing"
    unknown = bootstrap.resamples(1, 3, seed=0)
    assert (
        worst_share(unknown, np.ones(1))[0] == 0.05 and np.isnan(worst_share(unknown, np.ones(1))[1:]).all()
    )
    assert np.isnan(worst_share(np.ones((1, 40)), np.full(40, np.nan))).all()


def test_measures_of_sentences_are_those_of_their_sums_and_of_samples():
    generator = np.random.default_rng(0)
    sums = generator.gamma(1, 1, (3, 60, len(measures.columns())))
    place = measures.columns().index("kl")
    weights = bootstrap.resamples(60, 20, seed=2)
    once, sampled = measures.of_sentences(sums), measures.of_sentences(sums, weights=weights)
    assert list(once) == list(sampled) == [measure.name for measure in measures.MEASURES]
    of_totals = measures.of_sums(sums.sum(1))
    assert "kl_worst_share" not in of_totals and len(of_totals) == len(once) - 1
    for name, values in of_totals.items():
        np.testing.assert_array_equal(once[name], values)
    for name, values in measures.of_sums(weights @ sums).items():
        np.testing.assert_array_equal(sampled[name], values)
    for k in range(3):
        expected = [by_hand(sums[k, :, place], times) for times in weights]
        assert sampled["kl_worst_share"][k] == pytest.approx(expected)
        assert once["kl_worst_share"][k] == pytest.approx(expected[0])
    only = measures.of_sentences(sums, [measures.named("kl_worst_share"), measures.named("bleu")])
    assert list(only) == ["kl_worst_share", "bleu"]


def test_a_measure_is_found_by_its_name():
    assert measures.named("bleu") is measures.MEASURES[0]
    with pytest.raises(KeyError, match="absent"):
        measures.named("absent")


def test_what_needs_sentences_cannot_be_tested_by_swapping_totals():
    with pytest.raises(ValueError, match="odd"):
        Measure("odd", (), worst_share, "odd", 3, "lower", by_sentence=True, tested=True)
