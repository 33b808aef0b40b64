"""The temperature of a pair: on logits whose temperature is known, against a search over a grid in float64,
at the ends of its range."""

import copy
import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from toy import CPU, Numbers, encoded, sharp, through

from semcom.base.distributed import ALONE, Processes
from semcom.channel.channels import AWGN
from semcom.data.batching import collate
from semcom.evaluation import measures, pair_matrix
from semcom.evaluation.calibration import COLDEST, HOTTEST, fit, minimum
from semcom.evaluation.pairs import End, Pair
from semcom.evaluation.scores import Meeting

VALIDATION, TEST = encoded(20, 3, 9, seed=1), encoded(8, 3, 9, seed=2)
SNR = 6.0
TEACHER, STUDENT = sharp(), sharp(noise=0.3)


def meeting(snrs=(0.0, 12.0), batch_size=8, processes=ALONE):
    return Meeting(AWGN(), snrs, 0, CPU, batch_size, quiet=True, processes=processes)


def pair_of(model, label, draw=0):
    return Pair(End(label, model.transmitter, label), End(label, model.receiver, label), draw)


def with_scaled_logits(scale):
    """The teacher, but for how sure it is."""
    model = copy.deepcopy(TEACHER)
    with torch.no_grad():
        model.receiver.projection.weight.mul_(scale)
        model.receiver.projection.bias.mul_(scale)
    return model


TT, SS, NOISE = pair_of(TEACHER, "teacher"), pair_of(STUDENT, "student"), pair_of(TEACHER, "teacher", 1)
SCALES = (2.5, 0.4)
SCALED = [pair_of(with_scaled_logits(scale), f"times {scale}") for scale in SCALES]
PAIRS = [TT, NOISE, SS, *SCALED]


@pytest.fixture(scope="module")
def fitted():
    return fit(PAIRS, TT, VALIDATION, meeting(), SNR)


@cache
def distributions(pair, snr=SNR):
    """[rows, V] logits in float64, of each validation sentence alone."""
    rows = []
    for sentence in VALIDATION:
        batch = collate([sentence])
        model = {"teacher": TEACHER, "student": STUDENT}[pair.transmitter.label]
        with torch.no_grad():
            received = through(model, batch, AWGN(), snr, number=pair.draw)
            states = pair.receiver.module(received, batch.source_mask, batch.target_in)[0]
            rows.append(pair.receiver.module.project(states).double())
    return torch.cat(rows)


def kl_at(pair, temperature, snr=SNR):
    p, q = (distributions(TT, snr).softmax(-1), (distributions(pair, snr) / temperature).softmax(-1))
    return float((p * (p / q).log()).sum(-1).mean())


def test_scaled_logits_of_the_reference_have_their_scale_and_nothing_else(fitted):
    assert [fitted[pair.key] for pair in SCALED] == pytest.approx(SCALES, rel=1e-4)
    at = {"cka_snr": 12.0, "cache": None, "temperatures": fitted}
    found = pair_matrix.measure(PAIRS, TT, TEST, Numbers(), meeting(), **at)
    for pair in SCALED:
        values = measures.of_sentences(found.pairs[pair.key].sums)
        assert (values["kl_divergence"] > 0.1).all()
        assert values["kl_calibrated"] == pytest.approx([0, 0], abs=1e-5)
        assert found.pairs[pair.key].temperature == fitted[pair.key]


def test_at_temperature_one_it_is_the_kl_divergence():
    at = {"cka_snr": 12.0, "cache": None, "temperatures": {SS.key: 1.0}}
    found = pair_matrix.measure([SS], TT, TEST, Numbers(), meeting(), **at)
    values = measures.of_sentences(found.pairs[SS.key].sums)
    np.testing.assert_array_equal(values["kl_calibrated"], values["kl_divergence"])


@pytest.mark.parametrize("pair", [SS, NOISE], ids=["student", "noise"])
def test_no_temperature_of_a_grid_is_better(fitted, pair):
    temperature = fitted[pair.key]
    grid = np.geomspace(COLDEST, HOTTEST, 400)
    assert kl_at(pair, temperature) <= min(kl_at(pair, t) for t in grid)
    found = minimize_scalar(lambda t: kl_at(pair, t), bounds=(COLDEST, HOTTEST), options={"xatol": 1e-8})
    assert temperature == pytest.approx(found.x, rel=1e-4) and abs(temperature - 1) > 0.02


def test_the_reference_is_its_own_measure(fitted):
    assert fitted[TT.key] == 1 and set(fitted) == {pair.key for pair in PAIRS}
    assert fit([SS], TT, VALIDATION, meeting(), SNR).keys() == {TT.key, SS.key}


def test_it_is_fitted_at_one_snr_whatever_the_meetings(fitted):
    assert fit([SS], TT, VALIDATION, meeting((18.0,), 3), SNR)[SS.key] == fitted[SS.key]
    assert fit([SS], TT, VALIDATION, meeting(), 0.0)[SS.key] != fitted[SS.key]


def test_temperatures_are_kept_within_bounds():
    extremes = [pair_of(with_scaled_logits(scale), str(scale)) for scale in (1e3, 1e-3)]
    fitted = fit(extremes, TT, VALIDATION, meeting(), SNR)
    assert [fitted[pair.key] for pair in extremes] == pytest.approx([HOTTEST, COLDEST], rel=1e-4)


def test_without_sentences_or_numbers_there_is_none():
    assert fit(PAIRS, TT, [], meeting(), SNR) == {}
    broken = pair_of(with_scaled_logits(math.nan), "broken")
    assert fit([broken, SS], TT, VALIDATION, meeting(), SNR).keys() == {TT.key, SS.key}


class Alone(Processes):
    """One of several that does not hear from the others."""

    def gather(self, value):
        return [value]


def test_processes_share_the_pairs_and_find_the_same(fitted):
    parts = [fit(PAIRS, TT, VALIDATION, meeting(processes=Alone(rank, 2)), SNR) for rank in (0, 1)]
    assert parts[0] | parts[1] == fitted
    assert parts[0].keys() & parts[1].keys() == {TT.key} and all(len(part) == 3 for part in parts)


@pytest.mark.parametrize("place", [0.0501, 0.3, 1.0, 1.7, 19.9])
def test_the_minimum_of_convex_functions_is_found(place):
    """Of cosh(3 (x - place)), on which Newton's method creeps or leaves the bounds, and of a parabola."""
    calls = []

    def steep(x):
        calls.append(x)
        return math.sinh(3 * (x - place)), 3 * math.cosh(3 * (x - place))

    assert minimum(steep) == pytest.approx(place, rel=1e-5) and len(calls) < 30
    assert minimum(lambda x: (x - place, 1.0)) == pytest.approx(place, rel=1e-5)


def test_where_nothing_bends_the_start_is_kept():
    assert minimum(lambda x: (0.0, 0.0)) == 1
    assert minimum(lambda x: (math.nan, 1.0)) is None and minimum(lambda x: (1.0, math.inf)) is None
