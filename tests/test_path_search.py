"""The search of a path, on made-up curves: a ruler whose sentences have known values, a path whose weights at
a place are the place."""

from dataclasses import replace

import numpy as np
import pytest

from semcom.evaluation.measures import columns, slices
from semcom.evaluation.path_search import (
    EVALUATIONS,
    NARROWEST_OF_STEPS,
    OutOfReach,
    Readings,
    check_reach,
    find,
    scan,
    scan_places,
)
from semcom.evaluation.targets import BLEU_TOLERANCE, RELATIVE_TOLERANCE, TARGETS

KL = TARGETS["kl_divergence"]
STEPS = replace(KL, steps=True)
TOKEN_COLUMN, KL_COLUMN = (slices()[needed.columns].start for needed in KL.measure.sums)
BLOCK = 50


class Line:
    """A path whose weights at a place are the place."""

    def __init__(self, *places):
        self.places = places or (0.0, 1.0)

    def at(self, place):
        return place


class Curve:
    """A ruler of one-token sentences: sentence i has the value f(place) + off[i]. asked: (place, block) of
    each call."""

    def __init__(self, f, off=None, blocks=2):
        self.f, self.asked = f, []
        self.off = np.zeros(blocks * BLOCK) if off is None else np.asarray(off)
        self.blocks = [[None] * BLOCK] * (len(self.off) // BLOCK)

    def sentences(self, blocks):
        return blocks * BLOCK

    def sums(self, place, block):
        self.asked.append((place, block))
        ours = np.full((BLOCK, len(columns())), np.nan)
        ours[:, TOKEN_COLUMN] = 1
        ours[:, KL_COLUMN] = self.f(place) + self.off[block * BLOCK : (block + 1) * BLOCK]
        return ours, np.zeros_like(ours)

    def mean(self, place, blocks):
        return self.f(place) + self.off[: blocks * BLOCK].mean()


def searched(f, target, *, measured=KL, places=(), blocks=2, scanned=2, **choice):
    """What is found, and the ruler as it was after the scan."""
    ruler = Curve(f, blocks=blocks, **choice)
    readings = Readings(Line(*places), ruler, measured)
    along = scan(readings, scanned)
    ruler.asked.clear()
    return find(readings, along, target), ruler


# As measured of a receiver's learning path (Brent's method likes neither the steep nor the flat part).
MEASURED = [0.958, 0.540, 0.282, 0.198, 0.137, 0.099, 0.077, 0.064, 0.062]
AT = [0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
FALLING = {
    "measured": lambda x: float(np.interp(x, AT, MEASURED)),
    "line": lambda x: 1 - 0.95 * x,
    "exponential": lambda x: np.exp(-3 * x),
    "cliff": lambda x: 0.05 + 0.95 / (1 + np.exp(200 * (x - 0.43))),
    "plateau": lambda x: 0.06 + 0.9 * (1 - x) ** 8,
}


@pytest.mark.parametrize("name", FALLING)
@pytest.mark.parametrize("target", [0.07, 0.1, 0.2, 0.4, 0.8])
def test_a_target_is_found_within_one_percent_in_at_most_twelve_evaluations(name, target):
    f = FALLING[name]
    found, ruler = searched(f, target)
    assert found.within and found.target == target and found.crossings == 1 and not found.short
    assert f(found.reading.place) == pytest.approx(target, rel=RELATIVE_TOLERANCE * (1 + 1e-9))
    assert found.reading.value == pytest.approx(f(found.reading.place), rel=1e-12)
    assert len({place for place, _ in ruler.asked}) == len(found.used) <= EVALUATIONS == 12


@pytest.mark.parametrize("target", [0.0005, 0.01, 0.02, 0.05])
def test_a_path_from_nothing_upward_has_small_values(target):
    found, _ = searched(lambda x: 0.06 * x * x, target)
    assert found.within and found.reading.place == pytest.approx((target / 0.06) ** 0.5, rel=0.006)


def nearest_crossing(f, target, better_last):
    """By looking at every place of a fine grid."""
    grid = np.linspace(0, 1, 100_001)
    above = np.array([f(x) >= target for x in grid])
    crossings = grid[1:][above[1:] != above[:-1]]
    return crossings[-1 if better_last else 0], len(crossings)


@pytest.mark.parametrize(
    "f, better_last",
    [
        (lambda x: 0.5 + 0.3 * np.cos(3 * np.pi * x), True),
        (lambda x: 0.5 - 0.3 * np.cos(3 * np.pi * x), False),
        (lambda x: 0.5 + 0.3 * np.cos(5 * np.pi * x), True),
        (lambda x: 0.9 - 2 * x + 1.6 * x * x, True),  # turns before its better end
    ],
)
@pytest.mark.parametrize("target", [0.4, 0.45, 0.3, 0.6])
def test_of_several_crossings_that_nearest_to_the_better_end_is_taken(f, better_last, target):
    place, count = nearest_crossing(f, target, better_last)
    found, _ = searched(f, target)
    assert found.within and found.crossings == count
    assert found.reading.place == pytest.approx(place, abs=0.01 * target + 0.01)


@pytest.mark.parametrize("jump", [0.3, 1 / 3, 0.71])
@pytest.mark.parametrize("high, low", [(31, 29), (80, 29.5), (30.5, 2)])
def test_a_step_is_narrowed_to_where_it_is(jump, high, low):
    found, ruler = searched(lambda x: high if x < jump else low, 30, measured=STEPS)
    assert not found.within and len(found.used) <= EVALUATIONS
    assert found.reading.value == min((high, low), key=lambda value: abs(value - 30))
    either = [
        max(r.place for r in found.used if r.value == high),
        min(r.place for r in found.used if r.value == low),
    ]
    assert 0 < either[1] - either[0] <= 2 * NARROWEST_OF_STEPS, either


def test_a_step_within_the_tolerance_is_enough():
    found, _ = searched(lambda x: 40.0 - 0.3 * np.floor(100 * x), 25.1, measured=STEPS)
    assert found.within and abs(found.reading.value - 25.1) <= BLEU_TOLERANCE
    noisy = np.random.default_rng(0).normal(0, 20, 2 * BLOCK)
    noisy -= noisy.mean()
    found, _ = searched(lambda x: 40.0 if x < 0.5 else 24, 25.1, measured=STEPS, off=noisy)
    assert found.within and found.reading.error > 1, "one standard error where that is more"


def test_a_flat_path_has_its_one_value_alone():
    found, ruler = searched(lambda x: 0.2, 0.201)
    assert found.within and found.crossings == 0
    with pytest.raises(OutOfReach) as error:
        searched(lambda x: 0.2, 0.21)
    assert (error.value.target, error.value.low, error.value.high) == (
        0.21,
        pytest.approx(0.2),
        pytest.approx(0.2),
    )


@pytest.mark.parametrize("target, place", [(0.0497, 1), (0.0503, 1), (1.005, 0), (0.995, 0)])
def test_an_end_within_the_tolerance_is_taken(target, place):
    found, _ = searched(FALLING["line"], target)
    assert found.within and found.reading.place == place and len(found.used) <= 2


@pytest.mark.parametrize("target", [0.03, 1.2])
def test_out_of_reach_tells_the_range(target):
    ruler = Curve(lambda x: 1 - 0.95 * x)
    readings = Readings(Line(), ruler, KL)
    along = scan(readings, 2)
    for fails in (check_reach, lambda measured, *rest: find(readings, *rest)):
        with pytest.raises(OutOfReach, match="is not within 0.05 to 1") as error:
            fails(KL, along, target)
        assert (error.value.target, error.value.low, error.value.high) == pytest.approx((target, 0.05, 1))
    assert {place for place, _ in ruler.asked} == set(scan_places((0.0, 1.0))), (
        "nothing but the scan was read"
    )


def test_what_more_sentences_put_outside_is_out_of_reach():
    # On the scan's sentences the target is just inside the noise of the end; on all it is not there.
    off = np.concatenate([np.tile([-0.2, 0.2], BLOCK) + 0.02, np.tile([-0.2, 0.2], 9 * BLOCK) - 0.002])
    with pytest.raises(OutOfReach) as error:
        searched(lambda x: 1 - 0.8 * x, 0.16, off=off)
    assert error.value.low > 0.17


# --- the scan


def test_the_scan_has_the_corners_and_equal_steps_between():
    assert scan_places((0.0, 1.0)) == [k / 8 for k in range(9)]
    assert scan_places((0.0, 0.5, 1.0)) == [k / 8 for k in range(9)]
    places = scan_places((0.0, 1 / 3, 2 / 3, 1.0))
    assert places == pytest.approx([k / 9 for k in range(10)]) and {0.0, 1 / 3, 2 / 3, 1.0} <= set(places)
    assert scan_places(tuple(k / 10 for k in range(11))) == [k / 10 for k in range(11)]


def test_a_kink_at_a_corner_is_seen():
    # Between the ends of the whole path there would be no crossing.
    found, _ = searched(lambda x: 0.5 - abs(x - 0.5), 0.45, places=(0.0, 0.5, 1.0))
    assert found.within and found.crossings == 2 and found.reading.place == pytest.approx(0.45, abs=0.01)


# --- sentences


def spread(blocks, size, seed=0):
    return np.random.default_rng(seed).normal(0, size, blocks * BLOCK)


@pytest.mark.parametrize("target", [0.3, 0.45, 0.9])
def test_as_many_sentences_as_bring_the_standard_error_under_two_percent(target):
    off = spread(80, 0.2)
    found, _ = searched(lambda x: 1 - 0.95 * x, target, off=off)
    # (spread / sqrt(N)) / target = 2 %; a bootstrap of 400 knows the error of the scan to some 4 %.
    wanted = (off[: 2 * BLOCK].std() / (0.02 * target)) ** 2
    assert 0.8 * wanted - BLOCK <= found.reading.sentences <= 1.25 * wanted + BLOCK
    assert found.reading.sentences == found.reading.blocks * BLOCK and not found.short
    error = off[: found.reading.sentences].std() / found.reading.sentences**0.5
    assert found.reading.error == pytest.approx(error, rel=0.15)
    assert found.within and all(reading.blocks == found.reading.blocks for reading in found.used)


def test_where_there_are_too_few_sentences_it_is_said():
    off = spread(6, 0.2)
    found, _ = searched(lambda x: 1 - 0.95 * x, 0.1, off=off)
    assert found.short and found.reading.blocks == 6 and found.within


def test_steps_need_no_more_sentences_than_their_tolerance_asks_for():
    off = spread(40, 2.0)
    found, _ = searched(lambda x: 40 * x, 8, off=off, measured=STEPS)
    assert found.reading.sentences == 2 * BLOCK, "0.2 is the standard error already"
    off = spread(40, 4.0)
    found, _ = searched(lambda x: 40 * x, 8, off=off, measured=STEPS)
    assert 300 <= found.reading.sentences <= 550


@pytest.mark.parametrize("shift", [-0.45, -0.25, -0.12, 0.0, 0.12, 0.25, 0.4])
def test_where_more_sentences_say_otherwise_the_bracket_is_widened(shift):
    """The sentences of the scan lie beside the mean of all, by up to the whole path."""
    noise = np.tile([-0.5, 0.5], 20 * BLOCK)
    off = noise + np.where(np.arange(len(noise)) < 2 * BLOCK, shift, -shift / 19)
    f, target = lambda x: 1.5 - x, 1.0
    readings = Readings(Line(), ruler := Curve(f, off), KL)
    along = scan(readings, 2)
    ruler.asked.clear()
    found = find(readings, along, target)
    assert found.reading.blocks > 2 and found.within and len(found.used) <= EVALUATIONS
    assert abs(ruler.mean(found.reading.place, found.reading.blocks) / target - 1) <= RELATIVE_TOLERANCE


# --- what was read already


def test_nothing_is_read_twice():
    off = spread(40, 0.2)
    readings = Readings(Line(), ruler := Curve(lambda x: 1 - 0.95 * x, off), KL)
    along = scan(readings, 2)
    found = [find(readings, along, target) for target in (0.3, 0.32, 0.3)]
    assert len(ruler.asked) == len(set(ruler.asked)) and found[0] == found[2]
    assert along == scan(readings, 2)
    kept = dict(readings.known)
    again = Readings(Line(), other := Curve(lambda x: 1 - 0.95 * x, off), KL, kept)
    assert [find(again, scan(again, 2), target) for target in (0.3, 0.32, 0.3)] == found
    assert other.asked == [], "an interrupted search reads nothing again"


def test_each_new_reading_is_told_once():
    told = []
    readings = Readings(Line(), Curve(FALLING["measured"]), KL, on_reading=told.append)
    along = scan(readings, 2)
    assert told == along
    find(readings, along, 0.25)
    find(readings, along, 0.25)
    assert len({(r.place, r.blocks) for r in told}) == len(told) == len(readings.known) > len(along)


def test_what_earlier_targets_have_read_narrows_the_bracket():
    f, targets = FALLING["cliff"], (0.2, 0.9, 0.5, 0.4)
    evaluations = []
    for reused in (False, True):
        readings = Readings(Line(), Curve(f), KL)
        along, earlier = scan(readings, 2), []
        for target in targets:
            found = find(readings, along, target, earlier)
            assert found.within and len(found.used) <= EVALUATIONS
            earlier += found.used if reused else []
        evaluations.append(len(readings.known))
    alone, together = evaluations
    assert together < alone


def test_evaluations_are_those_that_only_this_target_took():
    readings = Readings(Line(), Curve(FALLING["measured"]), KL)
    along = scan(readings, 2)
    found = find(readings, along, 0.25)
    assert found.used and not set(found.used) & set(along)
    again = find(readings, along, 0.25, found.used)
    assert again.reading == found.reading and not again.used


@pytest.mark.parametrize("target", [0.3, 0.5])
def test_a_cliff_of_a_hundredth_of_the_path_is_met_too(target):
    found, _ = searched(lambda place: 1 / (1 + np.exp(400 * (place - 0.53))), target)
    assert found.within and abs(found.reading.value - target) <= 0.01 * target
