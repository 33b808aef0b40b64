"""A report as data: sections of text, tables and figures, in one language. Knows neither models nor file
formats."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from semcom.evaluation.intervals import Interval
from semcom.report.settings import LANGUAGES

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

Cell = str | int | float | Interval | None
"""None is shown as a dash."""


@dataclass(frozen=True)
class Column:
    """places: decimals of its numbers; None for text and whole numbers. by_row: those of each row, where the
    rows differ in them. is_p: shown as probabilities of tests are, by ``cells.p_text``."""

    title: str
    places: int | None = None
    by_row: tuple[int | None, ...] = ()
    is_p: bool = False

    def at(self, row: int) -> "Column":
        """As it is in a row."""
        return replace(self, places=self.by_row[row], by_row=()) if self.by_row else self


@dataclass(frozen=True)
class Table:
    """name: of its file, [a-z0-9_]+. columns: which of the frame's are shown, and how. frame: cells as
    ``Cell``. note: what a reader must know beside the caption."""

    name: str
    caption: str
    columns: Mapping[str, Column]
    frame: "pd.DataFrame"
    note: str = ""

    def cells(self) -> list[list[Cell]]:
        """Of each column that is shown."""
        return [self.frame[name].tolist() for name in self.columns]


@dataclass(frozen=True)
class Figure:
    """name: of its files, [a-z0-9_]+. alternative: what it shows, for those who cannot see it. data: its
    numbers, one row a point.

    draw: fills an empty matplotlib figure of ``size`` (inches).
    """

    name: str
    caption: str
    alternative: str
    data: "pd.DataFrame"
    draw: Callable[["matplotlib.figure.Figure"], None]
    size: tuple[float, float] = (7.0, 4.0)


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    words: str


Block = Text | Table | Figure


@dataclass(frozen=True)
class Section:
    """name: its anchor, [a-z0-9_]+."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """language: en or zh. summary: the answer, in a few sentences. provenance: how it was made, label and
    value."""

    title: str
    language: str
    summary: Sequence[str]
    sections: Sequence[Section]
    provenance: Sequence[tuple[str, str]]

    def tables(self) -> list[Table]:
        return [block for section in self.sections for block in section.blocks if isinstance(block, Table)]

    def figures(self) -> list[Figure]:
        return [block for section in self.sections for block in section.blocks if isinstance(block, Figure)]


def check(document: Document) -> None:
    """ValueError for an unknown language, a name that is no plain file name or stands twice, a column that
    the frame lacks or whose decimals are not of its rows, a NaN."""
    if document.language not in LANGUAGES:
        raise ValueError(f"language {document.language!r}: allowed are {', '.join(LANGUAGES)}")
    tables, figures = document.tables(), document.figures()
    _check_names(document.sections)
    _check_names([*tables, *figures])
    for table in tables:
        lacking = [name for name in table.columns if name not in table.frame]
        if lacking:
            raise ValueError(f"table {table.name}: its frame has no column {', '.join(lacking)}")
        if any(len(column.by_row) not in (0, len(table.frame)) for column in table.columns.values()):
            raise ValueError(f"table {table.name}: decimals by row must be as many as its rows")
        _check_numbers(table, (cell for cells in table.cells() for cell in cells))
    for figure in figures:
        _check_numbers(figure, (cell for _, cells in figure.data.items() for cell in cells.tolist()))


def _check_names(named: Sequence[Section | Table | Figure]) -> None:
    seen = set()
    for block in named:
        if not re.fullmatch("[a-z0-9_]+", block.name) or block.name in seen:
            what = type(block).__name__.lower()
            raise ValueError(f"{what} {block.name!r}: names are of a-z, 0-9 and _, and stand once")
        seen.add(block.name)


def _check_numbers(block: Table | Figure, cells: Iterable[object]) -> None:
    for cell in cells:
        numbers = (cell.value, cell.low, cell.high) if isinstance(cell, Interval) else (cell,)
        if any(number != number for number in numbers):
            what = type(block).__name__.lower()
            raise ValueError(f"{what} {block.name}: NaN is no number to show; give None for what is missing")
