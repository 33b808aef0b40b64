"""Tables that fit a console: heads and long texts wrapped, columns of the highest rank left out, the rest
below each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from semcom.base.widths import columns, of_console
from semcom.report import room

GAP = 2
"""Columns of a console between those of a table."""

AROUND_HEAD = 2
"""By which tabulate makes a column wider than its head, at least."""

LEAST = 24
"""To which a column of longer texts may be wrapped."""


@dataclass(frozen=True)
class Column:
    """cells: as they are shown. side: to which they stand, left or right. rank: as in ``document.Column``."""

    title: str
    cells: Sequence[str]
    side: str
    rank: int = 0

    @property
    def body(self) -> int:
        """How wide its cells are."""
        return max(map(columns, self.cells), default=0)

    @property
    def natural(self) -> int:
        return max(self.body, columns(self.title) + AROUND_HEAD)

    @property
    def least(self) -> int:
        """With its head, and texts, wrapped."""
        word = max(map(columns, self.title.split()), default=0)
        body = min(self.body, LEAST) if self.side == "left" else self.body
        return max(body, min(word + AROUND_HEAD, LEAST))


@dataclass(frozen=True)
class Fitted:
    """panels: groups of columns, each a table of its own. left_out: titles of columns without room."""

    panels: Sequence[Sequence[Column]]
    left_out: Sequence[str]


def fitted(shown: Sequence[Column], width: int | None = None) -> Fitted:
    """width: of the console, where it is not ``widths.of_console()``."""
    width = of_console() if width is None else width
    kept = list(range(len(shown)))
    while _least([shown[place] for place in kept]) > width:
        rank = max(shown[place].rank for place in kept)
        if rank <= 0:
            break
        kept.remove([place for place in kept if shown[place].rank == rank][-1])
    panels = _panels([shown[place] for place in kept], width)
    left_out = [column.title for place, column in enumerate(shown) if place not in kept]
    return Fitted([_wrapped(panel, width) for panel in panels], left_out)


def _least(shown: Sequence[Column]) -> int:
    return sum(column.least + GAP for column in shown) - GAP


def _panels(shown: Sequence[Column], width: int) -> list[list[Column]]:
    """Columns in groups that fit, each with the first, which says what a row is."""
    if not shown:
        return [[]]
    first, *others = shown
    panels: list[list[Column]] = [[first]]
    for column in others:
        if len(panels[-1]) > 1 and _least([*panels[-1], column]) > width:
            panels.append([first])
        panels[-1].append(column)
    return panels


def _wrapped(shown: Sequence[Column], width: int) -> list[Column]:
    """The same columns, their heads and cells in lines where they would be too wide."""
    wanted = {place: (column.least, column.natural) for place, column in enumerate(shown)}
    given = room.shared(width - GAP * (len(shown) - 1), wanted)
    if given is None:
        given = {place: least for place, (least, _natural) in wanted.items()}
    return [_narrowed(column, int(given[place] + room.SMALLEST)) for place, column in enumerate(shown)]


def _narrowed(column: Column, width: int) -> Column:
    cells = [_lines(cell, width) for cell in column.cells]
    return replace(column, title=_lines(column.title, width - AROUND_HEAD), cells=cells)


def _lines(text: str, width: int) -> str:
    return text if columns(text) <= width else "\n".join(room.lines(text, width, columns))
