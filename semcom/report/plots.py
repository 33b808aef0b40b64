"""Pictures that stand by themselves beside a command's results, from plain numbers. Never sees a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from semcom.base.output_files import write_atomically
from semcom.base.widths import columns
from semcom.evaluation import frames
from semcom.evaluation.intervals import Interval
from semcom.report import figures, fonts, training_figures
from semcom.report.look import LIGHT, PAGE, label
from semcom.report.training_figures import Row

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


PANELS_BESIDE = 3
"""As many as a reader sees at once."""

Realised = tuple[str, float, float, float]
"""Channel, nominal SNR, realised SNR and half of its interval, in dB."""


def plot_training_curves(
    history: "Sequence[Row] | pd.DataFrame", path: str | Path, unit: str = "token"
) -> None:
    """Loss with its parts, validation cross-entropy (where there was one), learning rate and, where it is
    known, temperature by epoch, as a PNG.

    history: a row an epoch, as ``Distiller.fit`` returns them or as a data frame. unit: what a row is.
    """
    import pandas as pd

    if isinstance(history, pd.DataFrame):
        history = frames.records(frames.none_where_missing(history))
    _save(training_figures.training(history, unit)(PAGE), path)


def plot_temperature_effect(
    logits: "npt.ArrayLike | torch.Tensor",
    path: str | Path,
    temperatures: Sequence[float] = (1, 2, 4, 8, 16),
    pieces: Sequence[str] | None = None,
    shown: int = 8,
) -> None:
    """What the temperature does to a teacher's distribution, as a PNG: the ``shown`` most probable of its
    logits [V] at each.

    pieces: names of all V; their numbers where there are none.
    """
    rows, best = training_figures.temperature_rows(logits, temperatures, shown)
    names = [pieces[i] if pieces is not None else str(i) for i in best]
    _save(training_figures.temperature_effect(rows, names)(PAGE), path)


def plot_by_snr(rows: "pd.DataFrame", measures: Mapping[str, str], path: str | Path) -> None:
    """One panel per measure (name -> title), three side by side, one curve per model over SNR, as a PNG."""
    columns = min(PANELS_BESIDE, len(measures))
    rows_of_panels = -(-len(measures) // PANELS_BESIDE)
    figure = _empty(4.6 * columns, 3.6 * rows_of_panels)
    axes = _plain_panels(figure, columns, rows_of_panels)
    for unused in axes[len(measures) :]:
        unused.remove()
    for axis, (name, title) in zip(axes, measures.items()):
        axis.set_xticks(sorted(rows["snr"].unique()))
        for number, (model, of_model) in enumerate(rows.groupby("model", sort=False)):
            points = of_model[["snr", name]].dropna().sort_values("snr")
            if len(points):
                marker = "os^vD*"[number % 6]
                axis.plot(points["snr"], points[name], marker=marker, ms=4, label=label(model))
        axis.set(xlabel=figures.SNR, title=title)
    axes[0].legend(fontsize="small")
    _save(figure, path)


def plot_intervals(
    panels: Mapping[str, Sequence[tuple[str, float, float | None]]],
    path: str | Path,
    *,
    mark: float | None = None,
) -> None:
    """One panel a title, in it a line for each (name, mean, half of its interval or None), the first on top;
    a PNG, or an SVG where ``path`` ends so.

    mark: a value to compare with.
    """
    # Names stand beside the axes, and leave room for the title above them.
    longest = max(columns(name) for lines in panels.values() for name, *_ in lines)
    figure = _empty((3.6 + 0.08 * longest) * len(panels), 1 + 0.3 * max(map(len, panels.values())))
    for axis, (title, lines) in zip(_plain_panels(figure, len(panels)), panels.items()):
        if mark is not None:
            axis.axvline(mark, color="black", lw=0.8)
        places = range(len(lines), 0, -1)
        means, halves = [mean for _, mean, _ in lines], [half or 0 for *_, half in lines]
        axis.errorbar(means, places, xerr=halves, fmt="o", ms=4, capsize=3)
        axis.set_yticks(places, [label(name) for name, *_ in lines])
        axis.set_title(title, fontsize="medium")
    _save(figure, path)


def plot_audit(rows: Sequence[Row], reference: float, path: str | Path) -> None:
    """What each habit of an audit moves the score by at the SNR ``reference``, as a waterfall, and the scores
    over SNR; a PNG.

    rows: ``row``, ``habit``, ``snr``, ``score`` and ``change`` (None: stands on the ground), in the order of
    the habits.
    """
    figure = _empty(14.0, 1.6 + 0.36 * len({row["row"] for row in rows}))
    waterfall, by_snr = _plain_panels(figure, 2)
    _draw_waterfall(waterfall, [row for row in rows if row["snr"] == reference])
    waterfall.set_title(f"at {reference:g} dB")
    for number, name in enumerate(dict.fromkeys(row["row"] for row in rows)):
        points = sorted((row["snr"], row["score"]) for row in rows if row["row"] == name)
        by_snr.plot(*zip(*points), label=f"row {name}", **figures.style_of(number % 6, PAGE))
    by_snr.set_xticks(sorted({row["snr"] for row in rows}))
    by_snr.set(xlabel="SNR label, dB", title="score, 0 to 100")
    by_snr.legend(fontsize="small", frameon=False)
    _save(figure, path)


def _draw_waterfall(axis: "Axes", rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        score, change = row["score"], row["change"]
        whole = change is None or place == len(rows) - 1
        start, length = (0.0, score) if whole else (score - change, change)
        colour = LIGHT.colours[0] if whole else LIGHT.colours[2] if length >= 0 else LIGHT.colours[1]
        axis.barh(place, length, left=start, height=0.6, color=colour)
        told = f"{score:.1f}" if change is None else f"{score:.1f} ({change:+.1f})"
        axis.text(max(start, score), place, f" {told}", va="center", fontsize="small")
    axis.set_yticks(range(len(rows)), [label(f"{row['row']}  {row['habit']}") for row in rows])
    axis.invert_yaxis()
    axis.set_xticks(range(0, 101, 20))
    axis.set(xlim=(0, 125), xlabel="score, 0 to 100")


def plot_link(
    gains: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    realised: Sequence[Realised],
    tolerance: float,
    path: str | Path,
) -> None:
    """A channel beside its theory: shares of fading gains below x, realised SNRs, and their differences with
    95 % intervals; a PNG.

    gains: channel -> (x, measured, theory). tolerance: what a right link may be off, in dB.
    """
    figure = _empty(13.0, 3.8)
    fades, levels, errors = _plain_panels(figure, 3)
    for number, (name, (x, measured, theory)) in enumerate(gains.items(), 1):
        fades.plot(
            x, theory, color=LIGHT.colours[number], linewidth=5, alpha=0.3, label=f"{label(name)}, theory"
        )
        fades.plot(x, measured, color=LIGHT.colours[number], linewidth=1, label=f"{label(name)}, measured")
    fades.set(xscale="log", yscale="log", ylim=(5e-4, 1.5), xlabel="x", title="share of |h|² below x")
    fades.legend(fontsize="small", frameon=False)
    _draw_realised(levels, errors, realised, tolerance)
    _save(figure, path)


def _draw_realised(levels: "Axes", errors: "Axes", realised: Sequence[Realised], tolerance: float) -> None:
    nominals = sorted({nominal for _, nominal, *_ in realised})
    names = list(dict.fromkeys(name for name, *_ in realised))
    levels.plot(nominals, nominals, color="black", linewidth=0.8)
    errors.axhspan(-tolerance, tolerance, color="#999999", alpha=0.15, linewidth=0)
    errors.axhline(0, color="black", linewidth=0.8)
    width = 0.04 * max(1.0, nominals[-1] - nominals[0])
    for number, name in enumerate(names):
        points = sorted((x, y, half) for channel, x, y, half in realised if channel == name)
        style = {**figures.style_of(number % 6, PAGE), "linestyle": ""}
        x, y = [x for x, *_ in points], [y for _, y, _ in points]
        levels.plot(x, y, **style, label=label(name), alpha=0.6)
        # Intervals of several channels stand side by side.
        beside = (number - (len(names) - 1) / 2) * width
        off, halves = [y - x for x, y, _ in points], [half for *_, half in points]
        errors.errorbar([nominal + beside for nominal in x], off, halves, capsize=3, **style)
    for axis, title in ((levels, "realised SNR, dB"), (errors, "realised less nominal, dB")):
        axis.set_xticks(nominals)
        axis.set(xlabel=f"nominal {figures.SNR}", title=title)
    levels.legend(fontsize="small", frameon=False)


def plot_dial(curve: DialCurve, path: str | Path) -> None:
    """The divergence along a path with its targets, and BLEU of the hybrids found, as a PNG."""
    figure = _empty(11.0, 4.0)
    divergence, bleu = _plain_panels(figure, 2)
    places = [place for place, *_ in curve.rungs]
    divergence.plot(
        *zip(*curve.readings), color=LIGHT.colours[0], marker=".", label="read on validation sentences"
    )
    for place, target, *_ in curve.rungs:
        divergence.axhline(target, color="#999999", linewidth=0.7, linestyle="--", zorder=0)
        divergence.annotate(f"  {target:g}", (place, target), va="bottom", fontsize="small")
    values = [value for _, _, value, _ in curve.rungs]
    ends = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
    told = "hybrids on test sentences, 95 %"
    divergence.errorbar(
        places,
        [v.value for v in values],
        yerr=ends,
        fmt="o",
        ms=5,
        capsize=3,
        color=LIGHT.colours[1],
        label=told,
    )
    if min(value for _, value in curve.readings) > 0:
        divergence.set_yscale("log")
    divergence.set(title=f"{curve.title}, {curve.where}")
    divergence.legend(fontsize="small", frameon=False)
    bleu.plot(
        places, [score for *_, score in curve.rungs], color=LIGHT.colours[1], marker="o", label="hybrids"
    )
    bleu.axhline(curve.teacher_bleu, color="#999999", linestyle="--", label="teacher")
    bleu.set(title=f"BLEU on test sentences, {curve.where}")
    bleu.legend(fontsize="small", frameon=False)
    corners = [f"{place:.2g}\n{label(name)}" for place, name in curve.corners.items()]
    for axis in (divergence, bleu):
        axis.set_xticks(list(curve.corners), corners)
        axis.set(xlim=(-0.03, 1.03), xlabel="place on the path")
    _save(figure, path)


def _empty(width: float, height: float) -> "Figure":
    # Without pyplot, whose backend is the user's choice: a notebook's pictures stay in the notebook.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _plain_panels(figure: "Figure", columns: int, rows: int = 1) -> list["Axes"]:
    """With a frame around each; row by row."""
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.grid(alpha=0.3)
    return axes


def _save(figure: "Figure", path: str | Path) -> None:
    vector = Path(path).suffix == ".svg"
    metadata = {"Date": None} if vector else None
    picture = fonts.saved(figure, format="svg" if vector else "png", dpi=130, metadata=metadata)
    write_atomically(path, picture)
