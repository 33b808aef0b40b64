"""Grids of who meets whom as pictures: transmitters down, receivers across, a measure a grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from semcom.base.messages import N_
from semcom.evaluation.intervals import Interval
from semcom.report import look
from semcom.report.look import Draw, Place, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRANSMITTER, RECEIVER = N_("transmitter"), N_("receiver")
LIGHTEST, DARKEST = 0.05, 0.6
"""Shares of colour in a cell's ground; what is written on it can be read at both."""
ROW = 0.45
"""Inches of a row of cells."""
WITH_INTERVAL, UPRIGHT = 0.95, 0.7
"""Inches that a cell must be wide for its interval, and for the name above it not to be turned."""


@dataclass(frozen=True)
class Grid:
    """title: of the measure, with its unit. values: [transmitters][receivers], None where two do not meet.
    better: higher or lower. decimals: of the numbers."""

    title: str
    values: Sequence[Sequence[Interval | None]]
    better: str
    decimals: int = 2


def grids(
    found: Sequence[Grid],
    rows: Sequence[str],
    columns: Sequence[str],
    down: str = TRANSMITTER,
    across: str = RECEIVER,
) -> Draw:
    """A panel a measure, a cell a pair with its number, the darker the worse; the first cell, of the
    teacher's own pair, has a frame. rows: names of transmitters. columns: of receivers. down, across: what
    they are."""

    def draw(place: Place) -> "Figure":
        beside = _beside_each_other(place, len(found), len(columns))
        cell = _cell(place, beside, len(columns))
        turned = place.beside if cell < UPRIGHT else 0.4
        height = 1.0 + turned + ROW * len(rows)
        figure, axes = look.panels(replace(place, panels=beside), len(found), height)
        for axis, grid in zip(axes, found):
            _cells(axis, place, grid, cell)
            _names(axis, place, rows, columns, cell)
            title = look.wrapped(grid.title, cell * len(columns), place.points)
            axis.set(xlabel=f"{title}\n\n{label(across)}", ylabel=label(down))
        return figure

    return draw


def _cell(place: Place, beside: int, columns: int) -> float:
    """Inches of a cell's width; names of rows take what a place gives to names."""
    return (place.width / beside - place.beside - 0.4) / columns


def _beside_each_other(place: Place, grids: int, columns: int) -> int:
    """As many grids as stand in a row with their names above them."""
    room = min(place.panels, grids)
    return next((n for n in range(room, 1, -1) if _cell(place, n, columns) >= UPRIGHT), 1)


def _cells(axis: "Axes", place: Place, grid: Grid, width: float) -> None:
    from matplotlib.patches import Rectangle

    ink = look.inks(place)
    shades = shades_of(grid)
    for i, values in enumerate(grid.values):
        for j, value in enumerate(values):
            shade = shades[i][j]
            if value is None or shade is None:
                axis.text(j, i, "–", ha="center", va="center", color=ink.faint)
                continue
            alpha = LIGHTEST + (DARKEST - LIGHTEST) * shade
            axis.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=ink.colours[0], alpha=alpha, lw=0))
            _number(axis, place, (j, i), grid, value, width)
    axis.add_patch(Rectangle((-0.47, -0.47), 0.94, 0.94, fill=False, edgecolor=ink.strong, linewidth=1.6))


# Six arguments: what is written, where, and how much room there is.
def _number(
    axis: "Axes", place: Place, at: tuple[int, int], grid: Grid, value: Interval, width: float
) -> None:
    told = f"{value.value:.{grid.decimals}f}"
    x, y = at
    if width < WITH_INTERVAL:
        size = min(place.points, width / (look.LETTER * (len(told) + 1)))
        axis.text(x, y, told, ha="center", va="center", fontsize=size)
        return
    bounds = f"[{value.low:.{grid.decimals}f}, {value.high:.{grid.decimals}f}]"
    size = min(place.points - 2, 0.95 * width / (look.LETTER * len(bounds)))
    axis.text(x, y - 0.02, told, ha="center", va="bottom")
    axis.text(x, y + 0.06, bounds, ha="center", va="top", fontsize=size)


def _names(axis: "Axes", place: Place, rows: Sequence[str], columns: Sequence[str], cell: float) -> None:
    turned = cell < UPRIGHT
    room = place.beside if turned else cell
    above = [look.wrapped(name, room, place.points - 1) for name in columns]
    beside = [look.wrapped(name, place.beside, place.points - 1) for name in rows]
    axis.set_xticks(range(len(columns)), above, rotation=90 if turned else 0)
    axis.set_yticks(range(len(rows)), beside)
    axis.xaxis.set_ticks_position("top")
    axis.xaxis.set_label_position("top")
    axis.tick_params(length=0)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))


def shades_of(grid: Grid) -> list[list[float | None]]:
    """Of each cell how far it is from the best value to the worst, 0 to 1."""
    known = [value.value for row in grid.values for value in row if value is not None]
    if not known:
        return [[None for _ in row] for row in grid.values]
    best, worst = (max(known), min(known)) if grid.better == "higher" else (min(known), max(known))
    span = worst - best or 1.0
    return [[None if value is None else (value.value - best) / span for value in row] for row in grid.values]
