"""Axes of curves: scales, ticks, ranges, titles."""

import math
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from semcom.report import look
from semcom.report.look import Place, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS_AT_VALUES = 9
"""Places across up to which each has its tick."""
TICKS_APART = 0.05
"""Of the whole width, between two places that have their ticks."""
NEAR_ZERO = 0.3
"""Of the largest value: an axis whose smallest is less begins at zero."""
ENDS_OF_RANGES = (0.0, 1.0, 100.0)
"""What shares and scores do not pass: no axis passes them by its margin alone."""


def around(place: float, scale: str) -> tuple[float, float]:
    """Ends of an axis that has one place."""
    return (place / 2, place * 2) if scale == "log" else (place - 1, place + 1)


def logarithm(axis: "Axes") -> None:
    """With plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    several = (1, 2, 5) if high < 100 * low else (1,)
    axis.yaxis.set_major_locator(LogLocator(10, several))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def across(axis: "Axes", where: Collection[float], title: str, mark: float | None) -> None:
    """A tick at each place, where they are few and not too near each other."""
    axis.set_xlabel(label(title))
    places = sorted(where)
    is_log = axis.get_xscale() == "log"
    along = [math.log(x) for x in places] if is_log else places
    gaps = [right - left for left, right in pairwise(along)]
    if len(places) <= TICKS_AT_VALUES and all(gap >= TICKS_APART * (along[-1] - along[0]) for gap in gaps):
        axis.set_xticks(places, [_rounded(x) if is_log else f"{x:g}" for x in places])
        axis.minorticks_off()
    if mark is not None:
        axis.axvline(mark, color=axis.xaxis.label.get_color(), linewidth=0.6, alpha=0.5, zorder=0)
        for tick in (tick for x, tick in zip(axis.get_xticks(), axis.get_xticklabels()) if x == mark):
            tick.set_fontweight("bold")


def _rounded(value: float) -> str:
    """To three digits: 13,200 of 13,235.2."""
    return f"{float(f'{value:.3g}'):,g}"


def titled(axis: "Axes", place: Place, title: str, up: str | None) -> None:
    # Its label is as long as the axis is high, less what stands below it.
    room = look.height_of(axis) - 0.9
    axis.set_ylabel(look.in_halves(title if up is None else up, room, place.points))
    if up is not None:
        axis.set_title(look.wrapped(title, look.width_of(axis) - 0.8, place.points))


def within_ranges(axes: "Sequence[Axes]") -> None:
    """No probability above 1, no BLEU above 100, nothing below zero that cannot be."""
    for axis in axes:
        low, high = axis.get_ylim()
        data = axis.dataLim
        lower = [end for end in ENDS_OF_RANGES if low < end <= data.y0]
        upper = [end for end in ENDS_OF_RANGES if data.y1 <= end < high]
        low, high = max([low, *lower]), min([high, *upper])
        if 0 <= data.y0 < NEAR_ZERO * data.y1 and axis.get_yscale() == "linear":
            low = 0.0
        axis.set_ylim(low, high if high > low else low + 1)


def one_scale_a_label(axes: "Sequence[Axes]") -> None:
    by_label: dict[str, list[Axes]] = {}
    for axis in axes:
        by_label.setdefault(axis.get_ylabel(), []).append(axis)
    for of_one in by_label.values():
        limits = [axis.get_ylim() for axis in of_one]
        whole = min(low for low, _ in limits), max(high for _, high in limits)
        for axis in of_one:
            axis.set_ylim(whole)
