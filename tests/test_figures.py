"""Figures say what their data say: read back from the axes."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from semcom.base.errors import SemcomError
from semcom.evaluation.intervals import Interval
from semcom.report import figures, look, plots, training_figures
from semcom.report.grid_figures import Grid, grids, shades_of
from semcom.report.look import PAGE

pytestmark = pytest.mark.draws


def drawn(draw):
    figure = draw(PAGE)
    figure.canvas.draw()
    return figure


def line(*values):
    return [(float(3 * k), Interval(value, value - 0.1, value + 0.1)) for k, value in enumerate(values)]


TWO = {
    "BLEU": {"teacher": line(1, 2), "a": line(3, 4), "b": line(5, 6)},
    "KL": {"a": line(7, 8), "b": line(9, 10), "noise": line(11, 12)},
}


def test_a_name_has_one_style_in_all_panels_and_stands_at_its_curve():
    figure = drawn(figures.curves(TWO, ["teacher", "noise"]))
    colour: dict[str, str] = {}
    for axis, lines in zip(figure.axes, TWO.values()):
        found = {tuple(curve.get_ydata()): curve.get_color() for curve in axis.lines}
        of_panel = {name: found[tuple(i.value for _, i in points)] for name, points in lines.items()}
        assert of_panel.items() <= (colour := colour | of_panel).items() and len(found) == len(lines)
        assert len(axis.collections) == len(lines)  # the bands
        assert list(axis.get_xticks()) == [0, 3]
    assert len(set(colour.values())) == 4
    assert (colour["teacher"], colour["noise"]) == (look.LIGHT.strong, look.LIGHT.faint)
    assert not figure.legends
    told = [{text.get_text(): text.get_color() for text in axis.texts} for axis in figure.axes]
    assert told == [{name: colour[name] for name in lines} for lines in TWO.values()]


def test_strangers_names_are_no_mathematics():
    hostile = r"a$\foo$_{b}"
    drawn(figures.curves({hostile: {hostile: line(1, 2)}}, across=hostile))
    drawn(figures.effects({hostile: {hostile: line(1, 2)}}))
    drawn(figures.bars({hostile: [(hostile, Interval(1, 0, 2))]}, "share"))
    drawn(figures.constellations({hostile: np.zeros((3, 2))}))
    drawn(figures.scatter({hostile: [(1, 2, hostile)]}, "x", "y"))
    drawn(training_figures.trainings({hostile: [{"epoch": 1, "loss": 2.0, "validation": 1.0, "lr": 0.1}]}))
    drawn(training_figures.temperature_effect({1.0: [0.5], 2.0: [0.4]}, [hostile]))


@pytest.mark.parametrize(("values", "scale"), [((0.5, 2), "log"), ((0.0, 2), "linear")])
def test_a_logarithm_needs_values_above_zero(values, scale):
    assert (
        drawn(figures.curves({"KL": {"a": line(*values)}}, logarithmic=["KL"])).axes[0].get_yscale() == scale
    )


@pytest.mark.parametrize("place", [look.PAGE, look.PHONE_DARK])
def test_of_many_curves_the_place_has_its_number_references_first(place):
    many = {"KL": {**{str(k): line(k, k + 1) for k in range(20)}, "noise": line(3, 3)}}
    (axis,) = figures.curves(many, ["noise"])(place).axes
    assert len(axis.lines) - len(axis.artists) == place.lines == len({c.get_color() for c in axis.lines})
    shown = [list(curve.get_ydata()) for curve in axis.lines]
    assert [3, 3] in shown and [0, 1] in shown and [19, 20] in shown


@pytest.mark.parametrize(
    ("number", "room", "places"),
    [(3, 6, [0, 1, 2]), (5, 3, [0, 2, 4]), (9, 2, [0, 8]), (7, 4, [0, 2, 4, 6]), (4, 1, [0]), (4, -1, [])],
)
def test_of_many_the_first_the_last_and_those_between(number, room, places):
    assert figures.evenly(number, room) == places


def test_a_panel_has_room_for_what_is_no_reference_of_another_panel():
    hybrids = {f"asked {n}": line(n + 1, n + 2) for n in range(5)}
    panels = {"BLEU": {"teacher": line(9, 9), **hybrids}, "KL": {**hybrids, "noise": line(1, 1)}}
    assert set(figures.styles_of(panels, ["teacher", "noise"], PAGE)) == {"teacher", *hybrids, "noise"}
    on_phone = figures.styles_of(panels, ["teacher", "noise"], look.PHONE)
    assert list(on_phone) == ["teacher", "noise", "asked 0", "asked 2", "asked 4"]
    assert "5 of 7" in figures.left_out(panels, str, ["teacher", "noise"])


def test_temperature_rows_are_softmaxes_of_the_likeliest():
    logits = np.array([0.0, 3.0, -1.0, 2.0])
    rows, best = training_figures.temperature_rows(logits, (1, 4), 2)
    assert best == [1, 3]
    for t, found in rows.items():
        p = np.exp(logits / t) / np.exp(logits / t).sum()
        assert found == pytest.approx([p[1], p[3]])


def test_training_curves_of_rows_and_of_a_frame_are_the_same(tmp_path):
    rows = [
        {"epoch": 1, "loss": 2.0, "train_ce": 1.5, "validation": None, "lr": 0.1},
        {"epoch": 2, "loss": 1.0, "train_ce": 0.5, "validation": 1.25, "lr": 0.1},
    ]
    plots.plot_training_curves(rows, tmp_path / "rows.svg")
    plots.plot_training_curves(pd.DataFrame(rows), tmp_path / "frame.svg")
    assert (tmp_path / "rows.svg").read_bytes() == (tmp_path / "frame.svg").read_bytes()
    assert len((tmp_path / "rows.svg").read_bytes()) > 10_000


def test_training_curves_have_accuracy_where_there_is_one_in_samples(tmp_path, monkeypatch):
    rows = [
        {"epoch": i, "loss": 2.0 / i, "validation": 1.5 / i, "accuracy": 0.3 * i, "lr": 0.1}
        for i in (1, 2, 3)
    ]

    def titles(history, unit=None):
        drawings = []
        monkeypatch.setattr(plots, "save", lambda draw, path: drawings.append(drawn(draw).axes))
        plots.plot_training_curves(history, save_path="curves.png", unit=unit)
        (axes,) = drawings
        return [" ".join((axis.get_ylabel() or axis.get_xlabel()).split()) for axis in axes], axes

    names, axes = titles(rows)
    assert names[1:3] == ["validation cross-entropy, nats a sample", "validation accuracy, share of samples"]
    assert axes[2].lines[0].get_ydata().tolist() == pytest.approx([0.3, 0.6, 0.9])
    assert titles(rows, "image")[0][0] == "training loss, nats an image"
    assert titles(rows[:1])[0] == [
        "means of the one epoch, nats a sample",
        "validation accuracy, share of samples",
    ]
    unmeasured = [{**row, "validation": None, "accuracy": None} for row in rows]
    assert titles(unmeasured)[0][0] == "training loss, nats a sample"
    assert titles(pd.DataFrame(unmeasured))[0][0] == "training loss, nats a sample"
    without = [{name: value for name, value in row.items() if name != "accuracy"} for row in rows]
    assert titles(without)[0][0] == "training loss, nats a token" and len(titles(without)[0]) == 3


@pytest.mark.parametrize(
    "history, path, told",
    [
        ([{"epoch": 1}], None, "a path is needed"),
        ([{"epoch": 1}], "curves.pdf", "give curves.png"),
        ([], "curves.png", "no epoch"),
        ({"train_loss": [1.0]}, "curves.png", "a dict as history"),
        ([1.0, 0.5], "curves.png", "a list of float as history"),
    ],
)
def test_what_is_no_history_or_picture_is_one_line(history, path, told):
    with pytest.raises(SemcomError, match=told):
        plots.plot_training_curves(history, path)


def test_a_temperature_is_of_one_row():
    with pytest.raises(SemcomError, match=r"logits of 5 x 10: .* logits\[0\]"):
        plots.plot_temperature_effect(np.zeros((5, 10)), "temperature.png")


DIAL = plots.DialCurve(
    title="KL to the teacher, nats",
    where="12 dB, awgn",
    corners={0.0: "start", 0.5: r"step $\foo$", 1.0: "best"},
    readings=[(0.0, 3.0), (0.5, 1.0), (0.75, 0.4), (1.0, 0.1)],
    rungs=[(0.8, 0.3, Interval(0.31, 0.25, 0.4), 30.0), (0.6, 0.8, Interval(0.7, 0.65, 0.78), 20.0)],
    teacher_bleu=35.0,
)


def dialled(curve):
    return drawn(plots.dial(curve)).axes


def test_the_dial_draws_readings_targets_and_hybrids():
    divergence, bleu = dialled(DIAL)
    readings, *others = divergence.lines
    assert list(zip(*readings.get_data())) == DIAL.readings and readings.get_marker() == "."
    levels = {line.get_ydata()[0] for line in others if line.get_linestyle() == "--"}
    assert levels == {target for _, target, *_ in DIAL.rungs}
    assert {text.get_text().strip(): text.xy for text in divergence.texts} == {
        "0.3": (0.8, 0.3),
        "0.8": (0.6, 0.8),
    }
    (hybrids,) = divergence.containers
    points, _, (bars,) = hybrids.lines
    assert list(zip(*points.get_data())) == [(0.8, 0.31), (0.6, 0.7)] and points.get_marker() == "s"
    ends = [(low[1], high[1]) for low, high in bars.get_segments()]
    assert np.array(ends) == pytest.approx(np.array([(0.25, 0.4), (0.65, 0.78)]))
    scores, teacher = bleu.lines
    assert list(zip(*scores.get_data())) == [(0.8, 30.0), (0.6, 20.0)] and scores.get_marker() == "s"
    assert set(teacher.get_ydata()) == {35.0}


def test_the_dial_names_what_it_draws():
    axes = divergence, bleu = dialled(DIAL)
    assert divergence.get_ylabel().replace("\n", " ") == "KL to the teacher, nats, 12 dB, awgn"
    assert bleu.get_ylabel().replace("\n", " ") == "BLEU on test sentences, 12 dB, awgn"
    (legend,) = divergence.figure.legends
    told = {text.get_text() for text in legend.get_texts()}
    assert told == {"read on validation sentences", "hybrids on test sentences, 95 %", "target", "teacher"}
    for axis in axes:
        assert axis.get_xlabel() == "place on the path" and list(axis.get_xticks()) == [0.0, 0.5, 1.0]
        ticks = [tick.get_text() for tick in axis.get_xticklabels()]
        assert ticks == ["0\nstart", "0.5\nstep \\$\\foo\\$", "1\nbest"]


@pytest.mark.parametrize(("last", "scale"), [(0.1, "log"), (0.0, "linear"), (-0.2, "linear")])
def test_a_dial_has_a_logarithm_above_zero_alone(last, scale):
    curve = replace(DIAL, readings=[(0.0, 3.0), (1.0, last)])
    assert dialled(curve)[0].get_yscale() == scale


def test_a_picture_has_two_for_print_beside_it_with_their_fonts(tmp_path):
    plots.plot_dial(DIAL, tmp_path / "dial.png")
    sizes = {"dial-column.pdf": 3.5, "dial-text.pdf": 7.16}
    assert {path.name for path in tmp_path.iterdir()} == {"dial.png", *sizes}
    assert look.with_print("dial.png") == ("dial.png", *sizes)
    plots.plot_dial(DIAL, tmp_path / "again.png")
    assert (tmp_path / "dial.png").read_bytes().startswith(b"\x89PNG")
    for name, width in sizes.items():
        pdf = (tmp_path / name).read_bytes()
        box = re.search(rb"/MediaBox \[ 0 0 ([0-9.]+) ", pdf)
        assert float(box[1]) == pytest.approx(72 * width, abs=0.1)
        assert b"/Type3" not in pdf and b"/FontFile2" in pdf
        assert pdf == (tmp_path / name.replace("dial", "again")).read_bytes()


def test_grids_are_read_as_their_values_say():
    value = lambda v: Interval(v, v - 0.1, v + 0.1)  # noqa: E731
    grid = Grid("KL", [[value(0.0), value(1.0)], [None, value(2.0)]], "lower", 1)
    assert shades_of(grid) == [[0.0, 0.5], [None, 1.0]]
    (axis,) = drawn(grids([grid], ["teacher", "a"], ["teacher", "b"])).axes
    told = {
        (text.get_position()[0], round(text.get_position()[1])): text.get_text() for text in axis.texts[::-1]
    }
    assert told == {(0, 0): "0.0", (1, 0): "1.0", (0, 1): "–", (1, 1): "2.0"}
    *cells, frame = axis.patches
    assert [cell.get_alpha() for cell in cells] == sorted(cell.get_alpha() for cell in cells)
    assert frame.get_xy() == (-0.47, -0.47) and not frame.get_fill()


def test_effects_say_of_what_they_are():
    figure = drawn(figures.effects({"a + b": {"transmitter": line(1, 2)}}, "effect on BLEU"))
    assert figure.axes[0].get_ylabel() == "effect on BLEU"


@pytest.mark.parametrize("epochs", [2, 3, 40])
def test_epochs_are_whole_numbers(epochs):
    history = [{"epoch": n, "loss": 2.0, "validation": 1.0, "lr": 0.1} for n in range(1, epochs + 1)]
    for draw in (training_figures.training(history), training_figures.trainings({"a": history})):
        for axis in drawn(draw).axes:
            low, high = axis.get_xlim()
            shown = [tick for tick in axis.get_xticks() if low <= tick <= high]
            assert 1 in shown or epochs > 3
            assert shown and all(tick == round(tick) for tick in shown)


def test_one_epoch_is_its_means_and_no_line():
    row = {
        "epoch": 1,
        "steps": 20,
        "loss": 2.0,
        "validation": 0.9,
        "lr": 0.1,
        "train_ce": 1.2,
        "train_kd": 2.4,
    }
    (axis,) = drawn(training_figures.training([row])).axes
    names = [tick.get_text().replace("\n", " ") for tick in axis.get_yticklabels()]
    means = [2.0, 1.2, 2.4, 0.9]
    assert not axis.lines and [bar.get_width() for bar in axis.patches] == means
    told = ["training loss", "cross-entropy part", "distillation part", "validation cross-entropy"]
    assert names == told and "one epoch of 20 steps" in axis.get_xlabel().replace("\n", " ")
    assert [text.get_text().strip() for text in axis.texts] == [f"{mean:g}" for mean in means]


def test_curves_of_training_are_means_over_seeds():
    seeds = [[{"epoch": n, "loss": s / n, "validation": s, "lr": 0.1} for n in (1, 2)] for s in (1, 3)]
    first, second = training_figures.mean_over_seeds(seeds)
    assert (first["loss"], second["loss"], second["epoch"]) == (2, 1, 2)
    assert (first["validation"], first["temperature"]) == (2, None)


def test_what_is_drawn_of_a_classifier_are_classes(monkeypatch):
    drawings = []
    monkeypatch.setattr(plots, "save", lambda draw, path: drawings.append(drawn(draw).axes[0]))
    plots.plot_temperature_effect([2.0, 0.0, 1.0], "effect.png", pieces=["cat", "dog", "bird"])
    assert drawings[0].get_xlabel() == "class"


def test_pieces_have_no_order_and_so_no_line():
    (axis,) = drawn(training_figures.temperature_effect({1.0: [1.0, 0.1], 2.0: [0.6, 0.3]}, ["a", "b"])).axes
    assert {line.get_linestyle() for line in axis.lines} == {"None"}
    assert axis.get_xlabel() == "next piece" and not any(line.get_clip_on() for line in axis.lines)


def test_more_than_three_measures_by_snr_stand_in_rows():
    names = [f"measure_{number}" for number in range(5)]
    rows = pd.DataFrame([{"model": "teacher", "snr": snr, **dict.fromkeys(names, 1.0)} for snr in (0, 6)])
    figure = drawn(plots.by_snr(rows, dict(zip(names, names))))
    assert [axis.get_ylabel() for axis in figure.axes] == names
    assert figure.get_size_inches()[0] == PAGE.width
    places = [axis.get_subplotspec() for axis in figure.axes]
    assert [(p.rowspan.start, p.colspan.start) for p in places] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_a_picture_by_snr_has_its_teacher_black_and_the_floor_grey():
    rows = pd.DataFrame(
        [{"model": m, "snr": s, "bleu": 50.0 + s} for m in ("student", "teacher") for s in (0, 6)]
    )
    for teacher in ("teacher", None):
        (axis,) = drawn(plots.by_snr(rows, {"bleu": "BLEU"}, teacher, {"bleu": 4.0})).axes
        colours = {line.get_label(): line.get_color() for line in axis.lines}
        assert (colours["teacher"] == look.LIGHT.strong) == (teacher is not None)
        assert colours["floor"] == look.LIGHT.faint and len(set(colours.values())) == 3
    assert [4, 4] in [list(line.get_ydata()) for line in axis.lines]
