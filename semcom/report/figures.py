"""What the report's figures show: each function returns what draws it, from plain numbers, for the place
where it is looked at. Never sees a model or a file.

Their titles and names are given in the report's language.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from semcom.base.messages import N_
from semcom.evaluation.intervals import Interval
from semcom.report import curve_axes, curve_names, look
from semcom.report.curve_names import Named
from semcom.report.look import MARKERS, PAGE, PHONE, Draw, Place, label

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Curve = Sequence[tuple[float, Interval]]
"""Points: place and value."""
Curves = Mapping[str, Curve]
Style = dict[str, Any]
Translate = Callable[[str], str]
SNR = N_("SNR, dB per complex symbol")
LEFT_OUT = N_(" Drawn are {page} of {all}, on a narrow screen {phone}; the CSV has all.")
LEFT_OUT_NARROW = N_(" On a narrow screen {phone} of {all} are drawn; the CSV has all.")
DASHES: Sequence[Any] = ("-", (0, (4, 2)), (0, (1, 1.6)), (0, (5, 1.5, 1, 1.5)))
"""Of references, the first first."""


# More than six arguments: each is one thing that most callers leave.
def curves(
    panels: Mapping[str, Curves],
    references: Sequence[str] = (),
    across: str = SNR,
    logarithmic: Sequence[str] = (),
    kinds: Mapping[str, object] | None = None,
    mark: float | None = None,
    ylabels: Mapping[str, str] | None = None,
    scale: str = "linear",
) -> Draw:
    """One panel a title, in it a curve a name with the band of its intervals: all references, and of many
    others the first, the last and as many evenly between as the place has lines for.

    references: names drawn without markers, the first in black, such as the teacher, the others, such as
    yardsticks, in grey and dashed; of a single place across they are drawn over the whole width. kinds: of
    the other names; those of one kind have one colour. mark: a place across that a line marks, such as the
    reference SNR. ylabels: of each panel, whose title then stands above it; else the title is the label.
    Panels of one label have one scale. scale: of what is across, "linear" or "log".
    """

    def draw(place: Place) -> "Figure":
        styles = styles_of(panels, references, place, kinds)
        figure, axes = look.panels(place, len(panels))
        named = []
        for axis, (title, lines) in zip(axes, panels.items()):
            axis.set_xscale(scale)
            named.append(fill(axis, lines, styles))
            shown = {name: points for name, points in lines.items() if name in styles}
            if title in logarithmic and _all_above_zero(shown):
                curve_axes.logarithm(axis)
            curve_axes.across(axis, {x for points in shown.values() for x, _ in points}, across, mark)
            curve_axes.titled(axis, place, title, (ylabels or {}).get(title))
        curve_axes.within_ranges(axes)
        curve_axes.one_scale_a_label(axes)
        curve_names.add(figure, place, named)
        return figure

    return draw


def fill(axis: "Axes", lines: Curves, styles: Mapping[str, Style]) -> Named:
    """Draw those that have a style, with their bands."""
    shown = {name: points for name, points in lines.items() if name in styles}
    places = sorted({x for points in shown.values() for x, _ in points})
    if len(places) == 1:
        ends = curve_axes.around(places[0], axis.get_xscale())
        axis.set_xlim(ends)
        levels = [name for name in shown if "marker" not in styles[name]]
        shown |= {name: [(x, value) for x in ends for _, value in shown[name]] for name in levels}
    return Named(
        axis,
        {name: _curve(axis, points, styles[name] | {"label": label(name)}) for name, points in shown.items()},
    )


def over_snr(
    panels: Mapping[str, Curves],
    references: Sequence[str],
    reference_snr: float,
    across: str = SNR,
    logarithmic: Sequence[str] = (),
) -> Draw:
    """``curves`` of the first screen, by the title and unit of a measure; the reference SNR is marked."""
    return curves(panels, references, across, logarithmic, mark=reference_snr)


def effects(panels: Mapping[str, Curves], up: str = "", across: str = SNR) -> Draw:
    """``curves`` of effects, with a line at none. up: of what, with its unit."""
    inner = curves(panels, across=across, ylabels=dict.fromkeys(panels, up))

    def draw(place: Place) -> "Figure":
        figure = inner(place)
        for axis in figure.axes:
            axis.axhline(0, color=look.inks(place).strong, linewidth=0.8, zorder=1)
        return figure

    return draw


def marked(inner: Draw, points: Sequence[tuple[float, float]]) -> Draw:
    """With a ring around each of the ``points`` of the first panel, where curves cross."""

    def draw(place: Place) -> "Figure":
        figure = inner(place)
        ring: Style = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "linestyle": "none"}
        figure.axes[0].plot(*zip(*points), markeredgecolor=look.inks(place).strong, zorder=5, **ring)
        return figure

    return draw if points else inner


def drawn_of(names: Sequence[str], place: Place) -> list[str]:
    """Those of ``names`` that ``place`` has lines for: the first, the last and those evenly between."""
    return [names[at] for at in evenly(len(names), place.lines)]


def evenly(number: int, room: int) -> list[int]:
    """Places of at most ``room`` of so many things: the first, the last and those evenly between."""
    if number <= room or room < 2:
        return list(range(min(number, max(0, room))))
    return [round(k * (number - 1) / (room - 1)) for k in range(room)]


def left_out(
    panels: Mapping[str, Mapping[str, object]], gettext: Translate, references: Sequence[str] = ()
) -> str:
    """What a caption adds where a figure of these panels does not draw all their curves everywhere."""
    names = _names(panels)
    page, phone = (len(_kept(panels, references, place)) for place in (PAGE, PHONE))
    if phone == len(names):
        return ""
    told = LEFT_OUT if page < len(names) else LEFT_OUT_NARROW
    return gettext(told).format(all=len(names), page=page, phone=phone)


def _names(panels: Mapping[str, Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for lines in panels.values() for name in lines))


def _kept(panels: Mapping[str, Mapping[str, object]], references: Sequence[str], place: Place) -> list[str]:
    """All references, and of the others as many as every panel has lines for beside its references."""
    names = _names(panels)
    others = drawn_of([name for name in names if name not in references], _beside(panels, references, place))
    return [name for name in names if name in references or name in others]


def _beside(panels: Mapping[str, Mapping[str, object]], references: Sequence[str], place: Place) -> Place:
    """The place with the lines that its references leave."""
    most = max((sum(name in lines for name in references) for lines in panels.values()), default=0)
    return replace(place, lines=place.lines - most)


def styles_of(
    panels: Mapping[str, Curves],
    references: Sequence[str],
    place: Place,
    kinds: Mapping[str, object] | None = None,
) -> dict[str, Style]:
    """Of each curve that is drawn, the same in all panels."""
    names = _names(panels)
    known = {name: number for number, name in enumerate(references) if name in names}
    others = [name for name in names if name not in known]
    if kinds is None:
        shown = [name for name in _kept(panels, references, place) if name not in known]
        styles = {name: style_of(number, place) for number, name in enumerate(shown)}
    else:
        styles = _styles_by_kind(others, kinds, _beside(panels, references, place))
    return {name: _of_reference(number, place) for name, number in known.items()} | styles


def style_of(number: int, place: Place) -> Style:
    """Colour and marker of curve ``number`` of at most six."""
    return {"color": look.inks(place).colours[number], "marker": MARKERS[number]}


def _of_reference(number: int, place: Place) -> Style:
    ink = look.inks(place)
    dashes = DASHES[number % len(DASHES)]
    return {"color": ink.faint if number else ink.strong, "linestyle": dashes, "linewidth": 1.3}


def _styles_by_kind(names: Sequence[str], kinds: Mapping[str, object], place: Place) -> dict[str, Style]:
    """Those of one kind differ in marker and dashes alone; colours go by the order of ``kinds``."""
    there = {kinds[name] for name in names}
    found = [kind for kind in dict.fromkeys(kinds.values()) if kind in there]
    shown = [found[at] for at in evenly(len(found), place.lines)]
    so_far: dict[object, int] = {}
    styles = {}
    for name in (name for name in names if kinds[name] in shown):
        number = so_far[kinds[name]] = so_far.get(kinds[name], -1) + 1
        colour = look.inks(place).colours[shown.index(kinds[name])]
        marker, dashes = MARKERS[number % len(MARKERS)], DASHES[number % len(DASHES)]
        styles[name] = {"color": colour, "marker": marker, "linestyle": dashes}
    return styles


def _curve(axis: "Axes", points: Curve, style: Style) -> "Line2D":
    places = [x for x, _ in points]
    # A marker on the edge is whole: the axes hold all points.
    (line,) = axis.plot(places, [interval.value for _, interval in points], clip_on=False, **style)
    low, high = [interval.low for _, interval in points], [interval.high for _, interval in points]
    if low == high:
        return line
    if len(points) > 1:
        axis.fill_between(places, low, high, color=style["color"], alpha=0.14, linewidth=0)
    elif all(map(math.isfinite, (*low, *high))):
        axis.vlines(places, low, high, color=style["color"], linewidth=1)
    return line


def _all_above_zero(lines: Curves) -> bool:
    return all(interval.value > 0 for points in lines.values() for _, interval in points)


def bars(groups: Mapping[str, Sequence[tuple[str, Interval]]], title: str) -> Draw:
    """Horizontal: for each class a point with its interval for every name, of as many as the place has lines
    for; the first class on top."""

    def draw(place: Place) -> "Figure":
        shown = drawn_of(list(groups), place)
        classes = list(dict.fromkeys(name for points in groups.values() for name, _ in points))
        figure, (axis,) = look.panels(place, 1, 0.8 + len(classes) * (0.16 + 0.1 * len(shown)))
        named = {}
        for number, name in enumerate(shown):
            points = groups[name]
            shift = 0.7 * ((number + 0.5) / len(shown) - 0.5)
            places = [len(classes) - 1 - classes.index(at) - shift for at, _ in points]
            errors = [[i.value - i.low for _, i in points], [i.high - i.value for _, i in points]]
            style = style_of(number, place)
            named[name] = axis.errorbar(
                [i.value for _, i in points], places, xerr=errors, ls="", lw=1, capsize=2, **style
            ).lines[0]
        axis.set_yticks(range(len(classes)), [label(name) for name in reversed(classes)])
        axis.set_xlabel(label(title))
        axis.set_xlim(left=max(axis.get_xlim()[0], 0.0), right=_not_past_one(axis))
        curve_names.legend(figure, place, [Named(axis, named)])
        return figure

    return draw


def _not_past_one(axis: "Axes") -> float:
    return min(axis.get_xlim()[1], max(1.0, axis.dataLim.x1))


def constellations(
    symbols: Mapping[str, "np.ndarray"], in_phase: str = "in phase", quadrature: str = "quadrature"
) -> Draw:
    """The transmitted complex symbols of each transmitter, [M, 2] of unit mean power, on one scale."""

    def draw(place: Place) -> "Figure":
        figure, axes = look.panels(place, len(symbols))
        for axis, (name, points) in zip(axes, symbols.items()):
            colour = look.inks(place).colours[0]
            # As an image also in a drawing of vectors, of which thousands of points would make megabytes.
            axis.plot(points[:, 0], points[:, 1], ".", ms=1.5, alpha=0.4, color=colour, rasterized=True)
            axis.set_title(look.wrapped(name, look.width_of(axis) - 0.6, place.points))
            axis.set(xlabel=label(in_phase), ylabel=label(quadrature))
            axis.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
        return figure

    return draw


def scatter(points: Mapping[str, Sequence[tuple[float, float, str]]], across: str, up: str) -> Draw:
    """Points by group: x, y and what to write beside it, which the points of one place share."""

    def draw(place: Place) -> "Figure":
        figure, (axis,) = look.panels(place, 1, 3.2)
        named = {}
        for number, name in enumerate(drawn_of(list(points), place)):
            group = points[name]
            style = style_of(number, place) | {"linestyle": "none"}
            (named[name],) = axis.plot([x for x, *_ in group], [y for _, y, _ in group], **style)
            for x, y, text in group:
                written = axis.annotate(label(text), (x, y), xytext=(4, 3), textcoords="offset points")
                written.set(color=style["color"], fontsize=place.points - 2)
        axis.set(xlabel=label(across), ylabel=look.wrapped(up, 2.6, place.points))
        curve_names.legend(figure, place, [Named(axis, named)])
        return figure

    return draw
