"""Pictures that stand by themselves beside a command's results, from plain numbers. Never sees a model.

Each is a PNG to look at and, for print, two PDFs beside it, as wide as a column and as the text of a paper in
two columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from semcom.base.output_files import write_atomically
from semcom.evaluation.intervals import Interval
from semcom.report import curve_axes, curve_names, figures, look, training_figures
from semcom.report.curve_names import Named
from semcom.report.figures import Curve, style_of
from semcom.report.look import PAGE, PRINT, Draw, Place, label
from semcom.report.training_figures import Row

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


@dataclass(frozen=True)
class DialCurve:
    """A path as it was read. title: of the divergence, with its unit. where: SNR and channel. corners: place
    -> label of a snapshot. readings: places and divergences on validation sentences, by place. rungs: of each
    target its place, the target, the divergence on test sentences and BLEU there."""

    title: str
    where: str
    corners: Mapping[float, str]
    readings: Sequence[tuple[float, float]]
    rungs: Sequence[tuple[float, float, Interval, float]]
    teacher_bleu: float


Lines = Sequence[tuple[str, float, float | None]]
"""Of each name a mean and half of its interval, if it has one."""
Gains = Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]]
"""Channel -> x, the shares of fading gains measured below it, and those of theory."""
Realised = tuple[str, float, float, float]
"""Channel, nominal SNR, realised SNR and half of its interval, in dB."""
FLOOR, WATERFALL_ROW, BY_SNR = "floor", 0.3, 2.4
"""A curve's name; inches of a habit's bar, and of the panel below the bars."""


def save(draw: Draw, path: str | Path) -> None:
    """A picture at ``path`` and, where that is a PNG, those for print beside it."""
    path = Path(path)
    if path.suffix == ".svg":
        write_atomically(path, *look.pictures(draw, PAGE, "svg"))
        return
    write_atomically(path, *look.pictures(draw, PAGE, "png"))
    for place, beside in zip(PRINT, look.for_print(path)):
        write_atomically(beside, *look.pictures(draw, place, "pdf"))


def outputs(output: str, picture: Path) -> dict[str, str | Path]:
    """``--output`` and the files that ``save`` writes beside it, by what a refusal calls them."""
    named: dict[str, str | Path] = {"--output": output, "--output (its picture)": picture}
    for place, beside in zip(PRINT, look.for_print(picture)):
        named[f"--output (its picture for print, {place.name})"] = beside
    return named


def plot_training_curves(
    history: "Sequence[Row] | pd.DataFrame",
    path: str | Path | None = None,
    unit: str | None = None,
    *,
    save_path: str | Path | None = None,
) -> None:
    """Loss with its parts, validation cross-entropy and accuracy (where there were any), learning rate and,
    where it changes, temperature by epoch, as a PNG and PDFs.

    history: a row an epoch, as ``Distiller.fit`` returns them or as a data frame. path: where; save_path is
    what other code calls it. unit: what a row is (default "sample" where it has an accuracy, else "token").
    """
    where = training_figures.picture(path if save_path is None else save_path)
    rows = training_figures.rows_of(history)
    usual = "sample" if training_figures.is_of_samples(rows) else "token"
    save(training_figures.training(rows, unit or usual), where)


def plot_temperature_effect(
    logits: "npt.ArrayLike | torch.Tensor",
    path: str | Path,
    temperatures: Sequence[float] = (1, 2, 4, 8, 16),
    pieces: Sequence[str] | None = None,
    shown: int = 8,
    *,
    unit: str = "class",
) -> None:
    """What the temperature does to a teacher's distribution, as a PNG and PDFs: the ``shown`` most probable
    of its logits [V] at each.

    pieces: names of all V; their numbers where there are none. unit: what one of them is.
    """
    rows, best = training_figures.temperature_rows(logits, temperatures, shown)
    names = [pieces[i] if pieces is not None else str(i) for i in best]
    save(training_figures.temperature_effect(rows, names, unit=unit), path)


def plot_by_snr(
    rows: "pd.DataFrame",
    measures: Mapping[str, str],
    path: str | Path,
    *,
    teacher: str | None = None,
    floor: Row | None = None,
    kinds: Mapping[str, object] | None = None,
) -> None:
    """One panel a measure (name -> title), one curve a model over SNR, those of one kind in one colour.

    teacher: the model in black. floor: of a measure what no understanding exceeds, as a grey line."""
    save(by_snr(rows, measures, teacher, floor or {}, kinds), path)


def by_snr(
    rows: "pd.DataFrame",
    measures: Mapping[str, str],
    teacher: str | None = None,
    floor: Row | None = None,
    kinds: Mapping[str, object] | None = None,
) -> Draw:
    panels = {title: _curves_of(rows, name) for name, title in measures.items()}
    for name, title in measures.items():
        lowest = (floor or {}).get(name)
        if lowest is not None and len(panels[title]):
            ends = min(rows["snr"]), max(rows["snr"])
            panels[title][FLOOR] = [(snr, Interval(lowest, lowest, lowest)) for snr in ends]
    # The first reference is black, those behind it grey: without a teacher the first is none.
    return figures.curves(panels, [teacher or "", FLOOR], kinds=kinds)


def plot_over(panels: Mapping[str, figures.Curves], across: str, path: str | Path) -> None:
    """``figures.curves`` over something else than the SNR, such as channel uses."""
    save(figures.curves(panels, across=across), path)


def _curves_of(rows: "pd.DataFrame", name: str) -> dict[str, Curve]:
    found: dict[str, Curve] = {}
    for model, of_model in rows.groupby("model", sort=False):
        points = of_model[["snr", name]].dropna().sort_values("snr")
        values = zip(points["snr"].tolist(), points[name].tolist())
        if len(points):
            found[str(model)] = [(snr, Interval(value, value, value)) for snr, value in values]
    return found


def plot_intervals(panels: Mapping[str, Lines], path: str | Path, *, mark: float | None = None) -> None:
    """One panel a title, in it a line for each name, the first on top; an SVG alone where ``path`` ends so.

    mark: a value to compare with.
    """
    save(intervals(panels, mark), path)


def intervals(panels: Mapping[str, Lines], mark: float | None = None) -> Draw:
    def draw(place: Place) -> "Figure":
        figure, axes = look.panels(
            replace(place, panels=min(place.panels, 2)),
            len(panels),
            0.75 + 0.24 * max(map(len, panels.values())),
        )
        for axis, (title, lines) in zip(axes, panels.items()):
            if mark is not None:
                axis.axvline(mark, color=look.inks(place).strong, linewidth=0.8)
            places = range(len(lines), 0, -1)
            means, halves = [mean for _, mean, _ in lines], [half or 0 for *_, half in lines]
            style = style_of(0, place) | {"ls": "", "capsize": 3, "lw": 1}
            axis.errorbar(means, places, xerr=halves, **style)
            names = [look.wrapped(name, place.beside, place.points - 1) for name, *_ in lines]
            axis.set_yticks(places, names)
            axis.set_ylim(0.4, len(lines) + 0.6)
            axis.set_xlabel(look.in_halves(title, look.width_of(axis) - place.beside, place.points))
        return figure

    return draw


def plot_audit(rows: Sequence[Row], reference: float, path: str | Path) -> None:
    """What each habit of an audit moves the score by at the SNR ``reference``, as a waterfall, and the scores
    over SNR below it.

    rows: ``row``, ``habit``, ``snr``, ``score`` and ``change`` (None: stands on the ground), in the order of
    the habits.
    """
    save(audit(rows, reference), path)


def audit(rows: Sequence[Row], reference: float) -> Draw:
    names = list(dict.fromkeys(row["row"] for row in rows))
    curves = {f"row {name}": _scores(rows, name) for name in names}
    # The first and the last row stand on the ground: what is printed, and what is left of it.
    whole = [f"row {names[0]}", f"row {names[-1]}"]

    def draw(place: Place) -> "Figure":
        above = 0.7 + WATERFALL_ROW * len(names)
        figure = look.canvas(place, height=above + BY_SNR)
        waterfall, over_snr = figure.subplots(2, 1, height_ratios=[above, BY_SNR])
        _draw_waterfall(waterfall, place, [row for row in rows if row["snr"] == reference])
        waterfall.set_xlabel(f"score at {reference:g} dB, 0 to 100")
        named = figures.fill(over_snr, curves, figures.styles_of({"": curves}, whole, place))
        over_snr.set(xlabel="SNR label, dB", ylabel="score, 0 to 100")
        over_snr.set_xticks(sorted({row["snr"] for row in rows}))
        curve_axes.within_ranges([over_snr])
        curve_names.add(figure, place, [named])
        return figure

    return draw


def _scores(rows: Sequence[Row], name: str) -> Curve:
    points = sorted((row["snr"], row["score"]) for row in rows if row["row"] == name)
    return [(snr, Interval(score, score, score)) for snr, score in points]


def _draw_waterfall(axis: "Axes", place: Place, rows: Sequence[Row]) -> None:
    blue, orange, green, *_ = look.inks(place).colours
    for number, row in enumerate(rows):
        score, change = row["score"], row["change"]
        whole = change is None or number == len(rows) - 1
        start, length = (0.0, score) if whole else (score - change, change)
        axis.barh(
            number, length, left=start, height=0.6, color=blue if whole else green if length >= 0 else orange
        )
        told = f"{score:.1f}" if change is None else f"{score:.1f} ({change:+.1f})"
        axis.text(max(start, score), number, f" {told}", va="center", fontsize=place.points - 1)
    names = [
        look.wrapped(f"{row['row']}  {row['habit']}", 0.42 * place.width, place.points - 1) for row in rows
    ]
    axis.set_yticks(range(len(rows)), names)
    axis.grid(axis="y", visible=False)
    axis.set(xlim=(0, 100), xticks=range(0, 101, 20), ylim=(len(rows) - 0.5, -0.5))


def plot_link(gains: Gains, realised: Sequence[Realised], tolerance: float, path: str | Path) -> None:
    """A channel beside its theory: shares of fading gains below x, realised SNRs, and their differences with
    95 % intervals. tolerance: what a right link may be off, in dB."""
    save(link(gains, realised, tolerance), path)


def link(gains: Gains, realised: Sequence[Realised], tolerance: float) -> Draw:
    channels = list(dict.fromkeys([*(name for name, *_ in realised), *gains]))

    def draw(place: Place) -> "Figure":
        figure, (fades, levels, errors) = look.panels(place, 3)
        _draw_gains(fades, place, gains, channels)
        errors.axhspan(-tolerance, tolerance, color=look.inks(place).faint, alpha=0.15, linewidth=0)
        named = _draw_realised(levels, errors, place, realised, channels)
        curve_names.legend(figure, place, [Named(fades, _theory(fades)), Named(levels, named)])
        return figure

    return draw


def _draw_gains(axis: "Axes", place: Place, gains: Gains, channels: Sequence[str]) -> None:
    for name, (x, measured, theory) in gains.items():
        colour = look.inks(place).colours[channels.index(name) % len(look.MARKERS)]
        axis.plot(x, theory, color=colour, linewidth=5, alpha=0.3)
        axis.plot(x, measured, color=colour, linewidth=1)
    axis.set(xscale="log", yscale="log", ylim=(5e-4, 1), xlabel="x", ylabel="share of |h|² below x")


def _theory(axis: "Axes") -> "dict[str, Line2D]":
    return dict(zip(("theory", "measured"), axis.lines))


def _draw_realised(
    levels: "Axes", errors: "Axes", place: Place, realised: Sequence[Realised], channels: Sequence[str]
) -> "dict[str, Line2D]":
    """A line a channel."""
    nominals = sorted({nominal for _, nominal, *_ in realised})
    strong = look.inks(place).strong
    levels.plot(nominals, nominals, color=strong, linewidth=0.8)
    errors.axhline(0, color=strong, linewidth=0.8)
    width = 0.04 * max(1.0, nominals[-1] - nominals[0])
    names = list(dict.fromkeys(name for name, *_ in realised))
    named = {}
    for number, name in enumerate(names):
        points = sorted((x, y, half) for channel, x, y, half in realised if channel == name)
        style = style_of(channels.index(name) % len(look.MARKERS), place) | {"ls": ""}
        (named[name],) = levels.plot([x for x, *_ in points], [y for _, y, _ in points], alpha=0.7, **style)
        # Intervals of several channels stand side by side.
        beside = (number - (len(names) - 1) / 2) * width
        off, halves = [y - x for x, y, _ in points], [half for *_, half in points]
        errors.errorbar([x + beside for x, *_ in points], off, halves, capsize=3, lw=1, **style)
    for axis, title in ((levels, "realised SNR, dB"), (errors, "realised less nominal, dB")):
        axis.set_xticks(nominals)
        axis.set(xlabel="nominal SNR, dB", ylabel=title)
    return named


def plot_dial(curve: DialCurve, path: str | Path) -> None:
    """The divergence along a path with its targets, and BLEU of the hybrids found."""
    save(dial(curve), path)


def dial(curve: DialCurve) -> Draw:
    def draw(place: Place) -> "Figure":
        figure, (divergence, bleu) = look.panels(place, 2, place.height + 0.4)
        ink = look.inks(place)
        named = _draw_divergence(divergence, place, curve)
        places, scores = [at for at, *_ in curve.rungs], [score for *_, score in curve.rungs]
        bleu.plot(places, scores, **style_of(1, place))
        teacher = bleu.axhline(curve.teacher_bleu, color=ink.strong, linewidth=1.3, zorder=1)
        room = look.height_of(bleu) - 1.2
        up = f"BLEU on test sentences, {curve.where}"
        divergence.set_ylabel(look.wrapped(f"{curve.title}, {curve.where}", room, place.points))
        bleu.set_ylabel(look.wrapped(up, room, place.points))
        curve_axes.within_ranges([divergence, bleu])
        for axis in (divergence, bleu):
            _draw_corners(axis, place, curve)
        curve_names.legend(figure, place, [Named(divergence, named), Named(bleu, {"teacher": teacher})])
        look.thin_ticks(figure)
        return figure

    return draw


def _draw_divergence(axis: "Axes", place: Place, curve: DialCurve) -> "dict[str, Line2D]":
    (readings,) = axis.plot(*zip(*curve.readings), color=look.inks(place).colours[0], marker=".")
    for at, target, *_ in curve.rungs:
        dashed = axis.axhline(target, color=look.inks(place).faint, linewidth=0.7, linestyle="--", zorder=0)
        axis.annotate(f"  {target:g}", (at, target), va="bottom", fontsize=place.points - 1)
    values = [value for _, _, value, _ in curve.rungs]
    ends = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
    places = [at for at, *_ in curve.rungs]
    style = style_of(1, place) | {"ls": "", "capsize": 3, "lw": 1}
    hybrids = axis.errorbar(places, [v.value for v in values], yerr=ends, **style)
    if min(value for _, value in curve.readings) > 0:
        curve_axes.logarithm(axis)
    named = {"read on validation sentences": readings, "hybrids on test sentences, 95 %": hybrids.lines[0]}
    return named | ({"target": dashed} if curve.rungs else {})


def _draw_corners(axis: "Axes", place: Place, curve: DialCurve) -> None:
    room = max(0.5, (look.width_of(axis) - 0.8) / len(curve.corners))
    corners = [
        f"{at:.2g}\n{look.wrapped(name, room, place.points - 1)}" for at, name in curve.corners.items()
    ]
    axis.set_xticks(list(curve.corners), corners)
    axis.set(xlim=(-0.03, 1.03), xlabel=label("place on the path"))
