"""Pictures of a training by epoch, and of what a temperature does to a teacher."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcom.base.errors import SemcomError, shown
from semcom.base.messages import N_
from semcom.evaluation import frames
from semcom.report import curve_names, look
from semcom.report.curve_axes import logarithm, within_ranges
from semcom.report.curve_names import Named
from semcom.report.figures import drawn_of, evenly, style_of
from semcom.report.look import PAGE, Draw, Place, label

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
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
ACCURACY = "validation accuracy, share of tokens"
"""Of classifiers; histories of a link have none, and so have reports."""
EPOCH, PROBABILITY, PIECE = N_("epoch"), N_("probability"), N_("next piece")
PARTS = {"ce": "cross-entropy part", "kd": "distillation part", "distillation": "both parts, weighted"}
"""Of a loss, by the names that a history has for them."""
BAR = 0.4
"""Inches of a bar with its name."""


def picture(path: str | Path | None) -> Path:
    """Where a picture goes. Raises SemcomError for none, and for one of a kind that is not written."""
    if path is None:
        raise SemcomError(
            "plot_training_curves: a path is needed; for example plot_training_curves(history, 'curves.png')"
        )
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise SemcomError(
            f"plot_training_curves: {shown(path)} ends in neither .png nor .svg; give "
            f"{shown(path.with_suffix('.png'))}, beside which PDFs for print are written"
        )
    return path


def rows_of(history: "Sequence[Row] | pd.DataFrame") -> Sequence[Row]:
    """A row an epoch. Raises SemcomError for a history of no epoch, and for what is none."""
    import pandas as pd

    if isinstance(history, pd.DataFrame):
        history = frames.records(frames.none_where_missing(history))
    odd = [] if isinstance(history, Mapping) else [row for row in history if not isinstance(row, Mapping)]
    if isinstance(history, Mapping) or not len(history) or odd:
        given = f"a {shown(type(history).__name__)}" if len(history) else "no epoch"
        given += f" of {shown(type(odd[0]).__name__)}" if odd else ""
        raise SemcomError(
            f"plot_training_curves: {given} as history; give what fit returned, or a data frame with columns "
            "epoch, loss, validation, accuracy and lr"
        )
    return history


def training(history: Sequence[Row], unit: str = "token") -> Draw:
    """Loss with its parts, validation cross-entropy, accuracy where there is one, learning rate and, where it
    changes, temperature, by epoch; of one epoch, of which means alone are known, these as bars, without the
    learning rate. unit: what a row is."""
    parts = [name for name in history[0] if name.startswith("train_") and name != "train_complementary"]
    losses = {name: _part(name) for name in _telling(history, parts)}
    if len(history) == 1:
        names = {"loss": "training loss", **losses, "validation": "validation cross-entropy"}
        bars = {_of_one_epoch(history[0], unit): _known(history[0], names)}
        if has_accuracy(history):
            bars[_of_unit(ACCURACY, unit)] = _known(history[0], {"accuracy": "accuracy"})
        return _bars(bars)
    panels = {
        TITLES["loss"]: {"loss": "loss", **losses},
        TITLES["validation"]: {"validation": "validation"},
    }
    if has_accuracy(history):
        panels[ACCURACY] = {"accuracy": "accuracy"}
    panels[TITLES["lr"]] = {"lr": "lr"}
    if _changes([history], "temperature"):
        panels[TITLES["temperature"]] = {"temperature": "temperature"}
    return _over_epochs(
        {
            _of_unit(title, unit): {told: (history, name) for name, told in of.items() if name in history[0]}
            for title, of in panels.items()
        },
        str,
    )


def is_of_samples(history: Sequence[Row]) -> bool:
    """Whether it is of a classifier, whose rows have an accuracy, be it None."""
    return any("accuracy" in row for row in history)


def has_accuracy(history: Sequence[Row]) -> bool:
    return any(row.get("accuracy") is not None for row in history)


def _part(name: str) -> str:
    part = name.removeprefix("train_")
    return PARTS.get(part, f"{part.replace('_', ' ')} part")


def _of_one_epoch(row: Row, unit: str) -> str:
    steps = f" of {row['steps']:g} steps" if row.get("steps") else ""
    return _of_unit(f"means of the one epoch{steps}, nats a token", unit)


def _of_unit(title: str, unit: str) -> str:
    """A title that is of tokens, of other units."""
    article = "an" if unit[:1].lower() in "aeiou" else "a"
    return title.replace("a token", f"{article} {unit}").replace("token", unit)


def _known(row: Row, names: Mapping[str, str]) -> dict[str, float]:
    return {told: row[name] for name, told in names.items() if row.get(name) is not None}


def _telling(history: Sequence[Row], parts: Sequence[str]) -> list[str]:
    """Without a part that is the whole loss."""
    return [name for name in parts if any(row.get(name) != row.get("loss") for row in history)]


def trainings(histories: Mapping[str, Sequence[Row]], gettext: Translate = str) -> Draw:
    """``training`` of several runs, a curve each, without the parts of the loss; where none has more than one
    epoch a bar each. gettext: of the report."""
    several = list(histories.values())
    known = [name for name in TITLES if any(row.get(name) is not None for rows in several for row in rows)]
    if not _changes(several, "temperature"):
        known = [name for name in known if name != "temperature"]
    if all(len(rows) == 1 for rows in several):
        # The learning rate at an epoch's end says little without those before it.
        known = [name for name in known if name in ("loss", "validation")]
        return _bars(
            {
                gettext(TITLES[name]): _known_of({run: histories[run][0] for run in histories}, name)
                for name in known
            }
        )
    panels = {
        gettext(TITLES[name]): {run: (history, name) for run, history in histories.items()} for name in known
    }
    return _over_epochs(panels, gettext)


def _known_of(rows: Mapping[str, Row], name: str) -> dict[str, float]:
    return {run: row[name] for run, row in rows.items() if row.get(name) is not None}


def mean_over_seeds(histories: Sequence[Sequence[Row]]) -> list[dict[str, float | None]]:
    """One history of runs that differ in their seeds: the means, of the epochs that all have."""
    return [{name: _mean(rows, name) for name in ("epoch", *TITLES)} for rows in zip(*histories)]


def _mean(rows: Sequence[Row], name: str) -> float | None:
    values = [row.get(name) for row in rows]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _changes(histories: Sequence[Sequence[Row]], name: str) -> bool:
    return any(len({row.get(name) for row in history} - {None}) > 1 for history in histories)


Series = tuple[Sequence[Row], str]
"""A history and a column of it."""


def _bars(panels: Mapping[str, Mapping[str, float]]) -> Draw:
    """One panel a title, a bar with its number a name, the first on top."""

    def draw(place: Place) -> "Figure":
        most = max(min(len(values), place.lines) for values in panels.values())
        beside = replace(place, panels=min(place.panels, 2))
        figure, axes = look.panels(beside, len(panels), 0.8 + BAR * most)
        for axis, (title, values) in zip(axes, panels.items()):
            shown = drawn_of(list(values), place)
            for number, name in enumerate(shown):
                colour = style_of(number, place)["color"]
                axis.barh(number, values[name], height=0.55, color=colour)
                axis.text(values[name], number, f" {values[name]:.3g}", va="center")
            names = [look.wrapped(name, place.beside, place.points - 1) for name in shown]
            axis.set_yticks(range(len(shown)), names)
            axis.grid(axis="y", visible=False)
            largest = max(values.values(), default=0.0)
            axis.set(ylim=(len(shown) - 0.4, -0.6), xlim=(0, 1.25 * largest or 1))
            axis.set_xlabel(look.wrapped(title, look.width_of(axis) - 0.4, place.points))
            axis.locator_params(axis="x", nbins=4)
        return figure

    return draw


def _over_epochs(panels: Mapping[str, Mapping[str, Series]], gettext: Translate) -> Draw:
    """One panel a title, a curve a name."""

    def draw(place: Place) -> "Figure":
        figure, axes = look.panels(place, len(panels))
        named = []
        for axis, (title, lines) in zip(axes, panels.items()):
            shown = drawn_of(list(lines), place)
            found = {
                name: _series(axis, lines[name], style_of(number, place)) for number, name in enumerate(shown)
            }
            named.append(Named(axis, {} if len(lines) == 1 else found))
            axis.set_xlabel(label(gettext(EPOCH)))
            axis.set_ylabel(look.in_halves(title, look.height_of(axis) - 0.9, place.points))
            axis.ticklabel_format(axis="y", style="plain", useOffset=False)
            _whole_numbers(axis)
        within_ranges(axes)
        curve_names.add(figure, place, named)
        return figure

    return draw


def _series(axis: "Axes", series: Series, style: dict[str, Any]) -> "Line2D":
    history, name = series
    values = [math.nan if row.get(name) is None else row[name] for row in history]
    (line,) = axis.plot([row["epoch"] for row in history], values, clip_on=False, **style)
    return line


def _whole_numbers(axis: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    # Of one epoch the axis is narrower than two whole numbers; without them it has fractions.
    low, high = axis.get_xlim()
    if high - low < 1:
        axis.set_xlim(math.floor(low), math.ceil(high))
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=True))


def temperature_effect(
    rows: Mapping[float, Sequence[float]], pieces: Sequence[str], gettext: Translate = str, unit: str = PIECE
) -> Draw:
    """A teacher's distribution over its most probable ``pieces`` at several temperatures: points, since
    pieces have no order. unit: what a piece is."""

    def draw(place: Place) -> "Figure":
        figure, (axis,) = look.panels(place, 1, 3.0)
        named = {}
        shown = evenly(len(rows), PAGE.lines)
        for number, temperature in enumerate(list(rows)[at] for at in shown):
            style = style_of(number, place) | {"linestyle": "none", "clip_on": False}
            # Side by side: one does not hide another of nearly its probability.
            shift = 0.5 * ((number + 0.5) / len(shown) - 0.5)
            places = [piece + shift for piece in range(len(pieces))]
            (named[f"T={temperature:g}"],) = axis.plot(places, rows[temperature], **style)
        names = [label(piece) for piece in pieces]
        axis.set_xticks(range(len(pieces)), names, rotation=30, ha="right", rotation_mode="anchor")
        axis.set(xlabel=label(gettext(unit)), ylabel=label(gettext(PROBABILITY)))
        logarithm(axis)
        within_ranges([axis])
        curve_names.legend(figure, place, [Named(axis, named)])
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
    if values.ndim != 1:
        shape = " x ".join(map(str, values.shape)) or "no axis"
        raise SemcomError(
            f"plot_temperature_effect: logits of {shape}: must be of one row, [V]; for example logits[0]"
        )
    best = np.argsort(-values, kind="stable")[:shown]
    rows = {}
    for temperature in temperatures:
        p = np.exp((values - values.max()) / temperature)
        rows[float(temperature)] = (p[best] / p.sum()).tolist()
    return rows, best.tolist()
