"""Crossing points of curves against straight lines and logistic curves whose crossing is known."""

import numpy as np
import pytest

from semcom.evaluation.crossings import Crossing, Crossings, crossings

SNRS = [-6.0, 0.0, 6.0, 12.0, 18.0]


def test_straight_lines_cross_where_their_formula_says():
    for slope, at in ((2.0, 4.7), (0.5, -5.9), (3.0, 17.0)):
        model = [slope * snr for snr in SNRS]
        baseline = [3 * slope * snr - 2 * slope * at for snr in SNRS]
        found = crossings(SNRS, model, baseline)
        assert [point.ahead for point in found.found] == ["baseline"]
        assert found.found[0].snr == pytest.approx(at, abs=1e-12)
        (back,) = crossings(SNRS, baseline, model).found
        assert back.ahead == "model" and back.snr == pytest.approx(at, abs=1e-12)


def test_steep_curves_cross_within_their_grid():
    """A cliff and a slope meet at 5 dB by their formulas; the grid of 1 dB finds it to a tenth."""
    snrs = np.arange(-6.0, 19.0)
    slope, cliff = 100 / (1 + np.exp(-(snrs - 5) / 4)), 100 / (1 + np.exp(-(snrs - 5) / 0.7))
    (found,) = crossings(snrs.tolist(), slope.tolist(), cliff.tolist()).found
    assert found.snr == pytest.approx(5, abs=0.1) and found.ahead == "baseline"


def test_several_crossings_are_all_listed():
    found = crossings(SNRS, [1, 3, 1, 3, 3], [2, 2, 2, 2, 5])
    assert found.found == [
        Crossing(-3.0, "model", -6.0, 0.0),
        Crossing(3.0, "baseline", 0.0, 6.0),
        Crossing(9.0, "model", 6.0, 12.0),
        Crossing(14.0, "baseline", 12.0, 18.0),
    ]
    told = "between -6 and 0 dB (-3.0), model ahead above; between 0 and 6 dB (3.0), baseline ahead above; "
    assert str(found).startswith(told)


@pytest.mark.parametrize(
    "model, baseline, said",
    [
        ([1, 2, 3, 4, 5], [0, 0, 0, 0, 0], "none: model ahead throughout"),
        ([1, 2, 3, 4, 5], [2, 3, 4, 5, 6], "none: baseline ahead throughout"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], "none: level throughout"),
        ([0, 0, 3, 4, 5], [0, 0, 0, 0, 0], "none: model ahead throughout"),
        ([0, 0, 3, 4, 4], [0, 0, 1, 4, 3], "none: model ahead throughout"),
    ],
)
def test_curves_that_do_not_cross_say_who_is_ahead(model, baseline, said):
    assert str(crossings(SNRS, model, baseline)) == said


def test_a_level_stretch_is_crossed_in_its_middle():
    assert crossings(SNRS, [1, 2, 2, 2, 4], [2, 2, 2, 2, 3]) == Crossings(
        [Crossing(6.0, "model", -6.0, 18.0)]
    )
    assert crossings(SNRS, [1, 2, 2, 2, 4], [2, 2, 1, 2, 3]).found[0].snr == 0.0


@pytest.mark.parametrize("snrs, values", [([0.0, 0.0], [1, 2]), ([6.0, 0.0], [1, 2]), ([0.0], [1, 2])])
def test_grids_that_do_not_rise_or_fit_are_refused(snrs, values):
    with pytest.raises(ValueError, match="must rise"):
        crossings(snrs, values, values)
