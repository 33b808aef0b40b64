"""Pictures of a training by epoch, and of what a temperature does to a teacher."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from semcom.base.messages import N_
from semcom.report import curve_names, look
from semcom.report.curve_names import Named
from semcom.report.figures import drawn_of, logarithm, style_of, within_ranges
from semcom.report.look import Draw, Place, label

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Row = Mapping[str, Any]
Translate = Callable[[str], str]
TITLES = {
    "loss": N_("training loss, nats a token"),
    "validation": N_("validation cross-entropy, nats a token"),
    "lr": N_("learning rate"),
    "temperature": N_("temperature"),
}
EPOCH, STEP, PROBABILITY = N_("epoch"), N_("step"), N_("probability")
MEANS = "loss", "train_"
"""What names of columns begin with that are means over all steps of an epoch; others hold at its end."""


def training(history: Sequence[Row], unit: str = "token") -> Draw:
    """Loss with its parts, validation cross-entropy, learning rate and, where it changes, temperature, by
    epoch; of one epoch by steps. unit: what a row is."""
    parts = [name for name in history[0] if name.startswith("train_") and name != "train_complementary"]
    losses = [name for name in ("loss", *_telling(history, parts)) if name in history[0]]
    panels = {
        TITLES[name].replace("token", unit): {
            column.removeprefix("train_"): (history, column) for column in of
        }
        for name, of in {"loss": losses, "validation": ["validation"], "lr": ["lr"]}.items()
    }
    if _changes([history], "temperature"):
        panels[TITLES["temperature"]] = {"temperature": (history, "temperature")}
    return _over_time(panels, str)


def _telling(history: Sequence[Row], parts: Sequence[str]) -> list[str]:
    """Without a part that is the whole loss."""
    return [name for name in parts if any(row.get(name) != row.get("loss") for row in history)]


def trainings(histories: Mapping[str, Sequence[Row]], gettext: Translate = str) -> Draw:
    """``training`` of several runs, a curve each, without the parts of the loss. gettext: of the report."""
    several = list(histories.values())
    known = [name for name in TITLES if any(row.get(name) is not None for rows in several for row in rows)]
    if not _changes(several, "temperature"):
        known = [name for name in known if name != "temperature"]
    panels = {
        gettext(TITLES[name]): {run: (history, name) for run, history in histories.items()} for name in known
    }
    return _over_time(panels, gettext)


def _changes(histories: Sequence[Sequence[Row]], name: str) -> bool:
    return any(len({row.get(name) for row in history} - {None}) > 1 for history in histories)


Series = tuple[Sequence[Row], str]
"""A history and a column of it."""


def _over_time(panels: Mapping[str, Mapping[str, Series]], gettext: Translate) -> Draw:
    """One panel a title, a curve a name."""
    histories = [history for lines in panels.values() for history, _ in lines.values()]
    by_step = all(len(history) == 1 and history[0].get("steps") for history in histories)

    def draw(place: Place) -> "Figure":
        figure, axes = look.panels(place, len(panels))
        named = []
        for axis, (title, lines) in zip(axes, panels.items()):
            shown = drawn_of(list(lines), place)
            found = {
                name: _series(axis, lines[name], style_of(number, place), by_step)
                for number, name in enumerate(shown)
            }
            named.append(Named(axis, {} if len(lines) == 1 else found))
            axis.set_xlabel(label(gettext(STEP if by_step else EPOCH)))
            axis.set_ylabel(look.in_halves(title, look.height_of(axis) - 0.9, place.points))
            axis.ticklabel_format(axis="y", style="plain", useOffset=False)
            _whole_numbers(axis)
        within_ranges(axes)
        curve_names.add(figure, place, named)
        return figure

    return draw


def _series(axis: "Axes", series: Series, style: dict[str, Any], by_step: bool) -> "Line2D":
    history, name = series
    values = [math.nan if row.get(name) is None else row[name] for row in history]
    if not by_step:
        (line,) = axis.plot([row["epoch"] for row in history], values, **style)
        return line
    steps, value = history[0]["steps"], values[0]
    # The mean of a loss is that of all steps; the rest is of the last.
    start = 0 if name.startswith(MEANS) else steps
    (line,) = axis.plot([start, steps], [value, value], **style)
    told = axis.annotate(f"{value:.3g}", (steps, value), xytext=(0, 4), textcoords="offset points")
    told.set(color=style["color"], ha="right")
    axis.set_xlim(0, 1.03 * steps)
    return line


def _whole_numbers(axis: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    # Of one epoch the axis is narrower than two whole numbers; without them it has fractions.
    low, high = axis.get_xlim()
    if high - low < 1:
        axis.set_xlim(math.floor(low), math.ceil(high))
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=True))


def temperature_effect(
    rows: Mapping[float, Sequence[float]], pieces: Sequence[str], gettext: Translate = str
) -> Draw:
    """A teacher's distribution over its most probable ``pieces`` at several temperatures."""

    def draw(place: Place) -> "Figure":
        figure, (axis,) = look.panels(place, 1, 3.0)
        named = {}
        for number, temperature in enumerate(list(rows)[: place.lines]):
            points, style = rows[temperature], style_of(number, place)
            (named[f"T={temperature:g}"],) = axis.plot(range(len(pieces)), points, **style)
        names = [label(piece) for piece in pieces]
        axis.set_xticks(range(len(pieces)), names, rotation=30, ha="right", rotation_mode="anchor")
        axis.set_ylabel(label(gettext(PROBABILITY)))
        logarithm(axis)
        within_ranges([axis])
        curve_names.add(figure, place, [Named(axis, named)])
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
