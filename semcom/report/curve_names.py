"""Names of curves at their ends, moved apart where they would stand on one another; a legend below where
there is no room for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from semcom.report import look
from semcom.report.look import Place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation

NARROWEST = 0.5
"""Share of a panel's room that its axes keep beside the names."""
APART = 1.08
"""Heights of a name between two."""
BESIDE = 1.05
"""Where a name begins, as a share of the axes' width."""
LEGEND_COLUMNS = 3
LINE = 1.5 / 72
"""Inches of a line of a legend in letters of one point."""


@dataclass(frozen=True)
class Named:
    """A panel's curves by their names, the first first in a legend."""

    axes: "Axes"
    lines: Mapping[str, "Line2D"]


def add(figure: "Figure", place: Place, panels: Sequence[Named]) -> None:
    """Names beside the curves of every panel."""
    written = {panel.axes: _beside(place, panel) for panel in panels}
    look.lay_out(figure)
    if all(_has_room(place, axes, names) for axes, names in written.items()):
        for axes, names in written.items():
            _move_apart(axes, names)
    else:
        for name in (name for names in written.values() for name in names):
            name.remove()
        legend(figure, place, panels)
    look.thin_ticks(figure)


def _beside(place: Place, panel: Named) -> "list[Annotation]":
    """Each at the height of its curve's last point, for now."""
    written = []
    for name, line in panel.lines.items():
        points: Any = line.get_xydata()
        if not len(points):
            continue
        text = panel.axes.annotate(
            look.wrapped(name, place.beside, place.points - 1),
            xy=tuple(points[-1]),
            xytext=(BESIDE, 0.5),
            textcoords="axes fraction",
            color=line.get_color(),
            fontsize=place.points - 1,
            va="center",
            annotation_clip=False,
        )
        written.append(text)
    return written


def _has_room(place: Place, axes: "Axes", names: "Sequence[Annotation]") -> bool:
    """Whether the names leave the axes their width, and are not higher than these together."""
    spec = axes.get_subplotspec()
    beside = 1 if spec is None else spec.get_gridspec().ncols
    box = axes.get_window_extent()
    width = box.width / axes.figure.dpi
    return width >= NARROWEST * place.width / beside and sum(_heights(names)) * APART <= box.height * 1.02


def _heights(names: "Sequence[Annotation]") -> list[float]:
    """In pixels."""
    from matplotlib.text import Text

    return [Text.get_window_extent(name).height for name in names]


def _move_apart(axes: "Axes", names: "Sequence[Annotation]") -> None:
    whole = axes.get_window_extent().height
    ends = [_end(axes, name) for name in names]
    room = [height * APART / whole for height in _heights(names)]
    for name, (x, y), place in zip(names, ends, spread([y for _, y in ends], room)):
        name.xyann = (BESIDE, place)
        _lead(axes, (x, BESIDE - 0.01), (y, place), name.get_color())


def _end(axes: "Axes", name: "Annotation") -> tuple[float, float]:
    """Of a curve, its last point as shares of the axes' width and height."""
    x, y = axes.transAxes.inverted().transform(axes.transData.transform(name.xy))
    return float(x), min(1.0, max(0.0, float(y)))


def _lead(axes: "Axes", x: tuple[float, float], y: tuple[float, float], colour: Any) -> None:
    """From a curve's end to its name."""
    from matplotlib.lines import Line2D

    style = {"color": colour, "linewidth": 0.5, "clip_on": False}
    line = Line2D(x, y, transform=axes.transAxes, **style)
    line.set_in_layout(False)
    axes.figure.add_artist(line)


def spread(wanted: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Centres of things of these sizes, in the order of ``wanted``, within 0 to 1 where they fit, none on
    another and as near as can be to where they are wanted (least squares: pooled as in isotonic
    regression)."""
    order = sorted(range(len(wanted)), key=lambda number: (wanted[number], -number))
    starts, so_far = {}, 0.0
    for number in order:
        starts[number] = so_far + sizes[number] / 2
        so_far += sizes[number]
    # Less what lies below each, the centres must only not fall.
    pools: list[tuple[float, int]] = []
    for number in order:
        mean, count = wanted[number] - starts[number], 1
        while pools and pools[-1][0] >= mean:
            before, many = pools.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        pools.append((mean, count))
    shifts = [mean for mean, count in pools for _ in range(count)]
    free = max(0.0, 1 - so_far)
    return [
        min(max(shifts[order.index(number)], 0.0), free) + starts[number] for number in range(len(wanted))
    ]


def legend(figure: "Figure", place: Place, panels: Sequence[Named]) -> None:
    """One for all panels, below them."""
    lines = {name: line for panel in panels for name, line in panel.lines.items()}
    longest = max(map(look.columns, lines), default=0)
    width = 0.6 + look.LETTER * place.points * longest
    names = [look.wrapped(name, place.width - 0.6, place.points) for name in lines]
    beside = max(1, min(LEGEND_COLUMNS, int(place.width / width)))
    figure.legend(list(lines.values()), names, loc="outside lower center", ncols=beside)
    lines_of_text = sum(1 + name.count("\n") for name in names)
    figure.set_figheight(figure.get_figheight() + LINE * place.points * -(-lines_of_text // beside))
