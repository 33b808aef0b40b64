"""Figures say what their data say: read back from the axes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from semcom.evaluation.intervals import Interval
from semcom.report import figures, plots


def drawn(draw):
    figure = Figure(layout="constrained")
    draw(figure)
    figure.canvas.draw()
    return figure


def line(*values):
    return [(float(3 * k), Interval(value, value - 0.1, value + 0.1)) for k, value in enumerate(values)]


def test_a_name_has_one_style_in_all_panels_and_one_legend():
    panels = {
        "BLEU": {"teacher": line(1, 2), "a": line(3, 4), "b": line(5, 6)},
        "KL": {"a": line(7, 8), "b": line(9, 10), "noise": line(11, 12)},
    }
    figure = drawn(figures.curves(panels, dashed="noise"))
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["teacher", "a", "b", "noise"]
    colour = dict(zip(names, (handle.get_color() for handle in legend.legend_handles)))
    assert len(set(colour.values())) == 4
    for axis, lines in zip(figure.axes, panels.values()):
        found = {tuple(curve.get_ydata()): curve.get_color() for curve in axis.lines}
        assert found == {tuple(i.value for _, i in points): colour[name] for name, points in lines.items()}
        assert len(axis.collections) == len(lines)  # the bands
        assert list(axis.get_xticks()) == [0, 3]


def test_strangers_names_are_no_mathematics():
    hostile = r"a$\foo$_{b}"
    drawn(figures.curves({hostile: {hostile: line(1, 2)}}, across=hostile))
    drawn(figures.effects({hostile: {hostile: line(1, 2)}}))
    drawn(figures.bars({hostile: [(hostile, Interval(1, 0, 2))]}, "share"))
    drawn(figures.constellations({hostile: np.zeros((3, 2))}))
    drawn(figures.scatter({hostile: [(1, 2, hostile)]}, "x", "y"))
    drawn(figures.trainings({hostile: [{"epoch": 1, "loss": 2.0, "validation": 1.0, "lr": 0.1}]}))
    drawn(figures.temperature_effect({1.0: [0.5], 2.0: [0.4]}, [hostile]))


@pytest.mark.parametrize(("values", "scale"), [((0.5, 2), "log"), ((0.0, 2), "linear")])
def test_a_logarithm_needs_values_above_zero(values, scale):
    assert (
        drawn(figures.curves({"KL": {"a": line(*values)}}, logarithmic=["KL"])).axes[0].get_yscale() == scale
    )


def test_many_curves_have_no_bands_and_differ():
    figure = drawn(figures.curves({"KL": {str(k): line(k, k + 1) for k in range(20)}}))
    (axis,) = figure.axes
    assert (
        not axis.collections
        and len({(curve.get_color(), curve.get_linestyle()) for curve in axis.lines}) == 20
    )


def test_temperature_rows_are_softmaxes_of_the_likeliest():
    logits = np.array([0.0, 3.0, -1.0, 2.0])
    rows, best = figures.temperature_rows(logits, (1, 4), 2)
    assert best == [1, 3]
    for t, found in rows.items():
        p = np.exp(logits / t) / np.exp(logits / t).sum()
        assert found == pytest.approx([p[1], p[3]])


def test_training_curves_of_rows_and_of_a_frame_are_the_same(tmp_path):
    rows = [
        {"epoch": 1, "loss": 2.0, "train_ce": 1.5, "validation": None, "lr": 0.1},
        {"epoch": 2, "loss": 1.0, "train_ce": 0.5, "validation": 1.25, "lr": 0.1},
    ]
    plots.plot_training_curves(rows, tmp_path / "rows.png")
    plots.plot_training_curves(pd.DataFrame(rows), tmp_path / "frame.png")
    assert (tmp_path / "rows.png").read_bytes() == (tmp_path / "frame.png").read_bytes()
    assert len((tmp_path / "rows.png").read_bytes()) > 10_000
