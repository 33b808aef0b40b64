"""What the report's figures show: each function fills axes of a matplotlib figure from plain numbers. Never
sees a model or a file.

Labels are in English in every language of the report: not every machine's fonts have Chinese.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from semcom.base.errors import escape
from semcom.base.widths import columns
from semcom.evaluation.intervals import Interval
from semcom.report import look
from semcom.report.look import COLOURS, MARKERS, Draw, Place

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Row = Mapping[str, Any]
Curve = Sequence[tuple[float, Interval]]
"""Points: place and value."""
Curves = Mapping[str, Curve]
LINES = ("-", "--", ":", "-.")
BANDS_FOR = 5
"""Curves up to which each has its band; more would hide one another, and their intervals are in the table."""
LEGEND_COLUMNS = 4
HANDLE_INCHES, LETTER_INCHES = 0.6, 0.07
"""Of a legend's entry: the line beside it, and a letter of its text."""
NOISE = {"color": "#999999", "linestyle": "--", "marker": ""}
SNR = "SNR, dB per complex symbol"


def label(text: object) -> str:
    """A name for a legend: "$" would start mathematics in what may be a stranger's file name."""
    return escape(text).replace("$", r"\$")


def style_of(number: int) -> dict[str, Any]:
    """Colour, marker and line of curve ``number``, which differ for the first 32."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 4,
        "linewidth": 1.4,
        "linestyle": LINES[number // len(COLOURS) % len(LINES)],
    }


def curves(
    panels: Mapping[str, Curves],
    dashed: str | None = None,
    across: str = SNR,
    logarithmic: Sequence[str] = (),
    kinds: Mapping[str, object] | None = None,
) -> Draw:
    """One panel a title, in it a curve a name with the band of its intervals. dashed: the name of the
    channel's own noise, or of another reference. kinds: of each name; curves of one kind have one colour."""

    def draw(place: Place) -> "Figure":
        # A name has one style in all panels, also where a panel leaves some out; so one legend holds for all.
        names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
        styles = {name: style_of(number) for number, name in enumerate(names)}
        if kinds is not None:
            styles |= _styles_by_kind(kinds)
        if dashed in styles:
            styles[dashed] |= NOISE
        shown = {}
        figure, axes = look.panels(place, len(panels))
        for axis, (title, lines) in zip(axes, panels.items()):
            for name, points in lines.items():
                shown[name] = _curve(axis, points, styles[name], with_band=len(lines) <= BANDS_FOR)
            if title in logarithmic and _all_above_zero(lines):
                axis.set_yscale("log")
            if across == SNR:
                axis.set_xticks(sorted({x for points in lines.values() for x, _ in points}))
            axis.set(xlabel=label(across), title=label(title))
        figure.legend(
            [shown[name] for name in names],
            [label(name) for name in names],
            loc="outside lower center",
            ncols=_legend_columns(names, figure.get_figwidth()),
        )
        return figure

    return draw


def _legend_columns(names: Sequence[str], width: float) -> int:
    """At most four; fewer where the longest name needs more of ``width`` inches."""
    needed = HANDLE_INCHES + LETTER_INCHES * max(map(columns, names), default=0)
    return max(1, min(LEGEND_COLUMNS, int(width / needed)))


def _styles_by_kind(kinds: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Of each name; those of one kind differ in marker and line alone."""
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds.values()))}
    of_kind: dict[object, int] = {}
    styles = {}
    for name, kind in kinds.items():
        number = of_kind[kind] = of_kind.get(kind, -1) + 1
        line, colour = LINES[number % len(LINES)], style_of(numbers[kind])["color"]
        styles[name] = style_of(number) | {"color": colour, "linestyle": line}
    return styles


def _curve(axis: "Axes", points: Curve, style: dict[str, Any], with_band: bool) -> "Line2D":
    places = [x for x, _ in points]
    (line,) = axis.plot(places, [interval.value for _, interval in points], **style)
    if with_band:
        low, high = [interval.low for _, interval in points], [interval.high for _, interval in points]
        axis.fill_between(places, low, high, color=style["color"], alpha=0.15, linewidth=0)
    return line


def _all_above_zero(lines: Curves) -> bool:
    return all(interval.value > 0 for points in lines.values() for _, interval in points)


def bars(groups: Mapping[str, Sequence[tuple[str, Interval]]], title: str) -> Draw:
    """Horizontal: for each class a point with its interval for every name; the first class on top."""

    def draw(place: Place) -> "Figure":
        figure, (axis,) = look.panels(place, 1, 1.5 + 0.4 * len(groups))
        classes = list(dict.fromkeys(name for points in groups.values() for name, _ in points))
        for number, (name, points) in enumerate(groups.items()):
            shift = 0.7 * ((number + 0.5) / len(groups) - 0.5)
            places = [len(classes) - 1 - classes.index(at) - shift for at, _ in points]
            errors = [[i.value - i.low for _, i in points], [i.high - i.value for _, i in points]]
            axis.errorbar(
                [i.value for _, i in points],
                places,
                xerr=errors,
                fmt=MARKERS[number % len(MARKERS)],
                markersize=4,
                capsize=2,
                color=COLOURS[number % len(COLOURS)],
                linewidth=1,
                label=label(name),
            )
        axis.set_yticks(range(len(classes)), [label(name) for name in reversed(classes)])
        axis.set(xlabel=title)
        axis.legend()
        return figure

    return draw


def effects(panels: Mapping[str, Curves], up: str = "") -> Draw:
    """``curves`` of effects, with a line at none. up: of what, with its unit."""
    inner = curves(panels)

    def draw(place: Place) -> "Figure":
        figure = inner(place)
        for axis in figure.axes:
            axis.axhline(0, color=look.inks(place).strong, linewidth=0.8)
        figure.axes[0].set_ylabel(label(up))
        return figure

    return draw


def constellations(symbols: Mapping[str, "np.ndarray"]) -> Draw:
    """The transmitted complex symbols of each transmitter, [M, 2] of unit mean power, on one scale."""

    def draw(place: Place) -> "Figure":
        figure, axes = look.panels(place, len(symbols))
        for axis, (name, points) in zip(axes, symbols.items()):
            axis.plot(points[:, 0], points[:, 1], ".", markersize=1.5, alpha=0.4, color=COLOURS[0])
            axis.set(
                title=label(name),
                xlabel="in phase",
                ylabel="quadrature",
                xlim=(-3, 3),
                ylim=(-3, 3),
                aspect="equal",
            )
        return figure

    return draw


def scatter(points: Mapping[str, Sequence[tuple[float, float, str]]], across: str, up: str) -> Draw:
    """Points by group: x, y and what to write beside it."""

    def draw(place: Place) -> "Figure":
        figure, (axis,) = look.panels(place, 1, 3.5)
        for number, (name, group) in enumerate(points.items()):
            style = style_of(number) | {"linestyle": "none"}
            axis.plot([x for x, *_ in group], [y for _, y, _ in group], label=label(name), **style)
            for x, y, text in group:
                axis.annotate(
                    label(text), (x, y), textcoords="offset points", xytext=(4, 3), fontsize="xx-small"
                )
        axis.set(xlabel=across, ylabel=up)
        axis.legend()
        return figure

    return draw


def training(history: Sequence[Row], unit: str = "token") -> Draw:
    """Loss with its parts, validation cross-entropy, learning rate and, where it is known, temperature, by
    epoch. unit: what a row is."""
    parts = [name for name in history[0] if name.startswith("train_") and name != "train_complementary"]
    losses = [name for name in history[0] if name in ("loss", *parts)]
    panels = {
        f"training loss, nats a {unit}": losses,
        f"validation cross-entropy, nats a {unit}": ["validation"],
        "learning rate": ["lr"],
    }
    if history[0].get("temperature") is not None:
        panels["temperature"] = ["temperature"]

    def draw(place: Place) -> "Figure":
        figure, axes = look.panels(place, len(panels))
        for axis, (title, names) in zip(axes, panels.items()):
            for number, name in enumerate(names):
                _by_epoch(axis, history, name, name.removeprefix("train_"), number)
            _over_epochs(axis, title)
            if len(names) > 1:
                axis.legend()
        return figure

    return draw


def trainings(histories: Mapping[str, Sequence[Row]]) -> Draw:
    """``training`` of several runs, a curve each, without the parts of the loss."""
    titles = {
        "loss": "training loss, nats a token",
        "validation": "validation cross-entropy, nats a token",
        "lr": "learning rate",
        "temperature": "temperature",
    }
    epochs = [epoch for history in histories.values() for epoch in history]
    known = [name for name in titles if any(epoch.get(name) is not None for epoch in epochs)]

    def draw(place: Place) -> "Figure":
        figure, axes = look.panels(place, len(known))
        for axis, name in zip(axes, known):
            for number, (run, history) in enumerate(histories.items()):
                _by_epoch(axis, history, name, run, number)
            _over_epochs(axis, titles[name])
        axes[0].legend()
        return figure

    return draw


def _by_epoch(axis: "Axes", history: Sequence[Row], name: str, shown_as: str, number: int) -> None:
    epochs = [row["epoch"] for row in history]
    values = [math.nan if row.get(name) is None else row[name] for row in history]
    axis.plot(epochs, values, label=label(shown_as), **style_of(number))


def _over_epochs(axis: "Axes", title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set(title=title, xlabel="epoch")
    # Of one epoch the axis is narrower than two whole numbers; without them it has fractions.
    low, high = axis.get_xlim()
    if high - low < 1:
        axis.set_xlim(math.floor(low), math.ceil(high))
    axis.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))


def temperature_effect(rows: Mapping[float, Sequence[float]], pieces: Sequence[str]) -> Draw:
    """A teacher's distribution over its most probable ``pieces`` at several temperatures."""

    def draw(place: Place) -> "Figure":
        figure, (axis,) = look.panels(place, 1, 3.0)
        width = 0.8 / len(rows)
        for number, (temperature, probabilities) in enumerate(rows.items()):
            places = [place + width * (number - (len(rows) - 1) / 2) for place in range(len(pieces))]
            axis.bar(
                places,
                probabilities,
                width=width,
                color=COLOURS[number % len(COLOURS)],
                label=f"T={temperature:g}",
            )
        axis.set_xticks(
            range(len(pieces)), [label(piece) for piece in pieces], rotation=30, ha="right", fontsize="small"
        )
        axis.set(ylabel="probability", yscale="log")
        axis.legend()
        return figure

    return draw


def temperature_rows(
    logits: "npt.ArrayLike | torch.Tensor", temperatures: Sequence[float], shown: int
) -> tuple[dict[float, list[float]], list[int]]:
    """Probabilities of the ``shown`` most probable of logits [V] at each temperature, and which pieces they
    are."""
    import numpy as np

    plain = logits.detach().cpu() if hasattr(logits, "detach") else logits
    values = np.asarray(plain, dtype=np.float64)
    best = np.argsort(-values, kind="stable")[:shown]
    rows = {}
    for temperature in temperatures:
        p = np.exp((values - values.max()) / temperature)
        rows[float(temperature)] = (p[best] / p.sum()).tolist()
    return rows, best.tolist()
