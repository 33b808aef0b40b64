"""A report as data: sections of text, tables and figures, in one language. Knows neither models nor file
formats."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from semcom.evaluation.intervals import Interval
from semcom.report.look import Draw
from semcom.report.settings import LANGUAGES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Styled:
    """A cell that stands out. bold: not to be told from the best of its column. marks: of tests, ``*`` or
    ``†``. shade: of its ground, 0 (none) to 1."""

    value: str | int | float | Interval | None
    bold: bool = False
    marks: str = ""
    shade: float | None = None


Cell = str | int | float | Interval | Styled | None
"""None is shown as a dash."""


@dataclass(frozen=True)
class Column:
    """places: decimals of its numbers; None for text and whole numbers. by_row: those of each row, where the
    rows differ in them. is_p: shown as probabilities of tests are, by ``cells.p_text``. rank: where there is
    not room for all, columns of the highest rank are left out first; those of rank 0 never. snr: of whose
    numbers they are, in dB, in a table by SNR. note: what the table's note says of it, word for word, and
    does not where the column is not shown."""

    title: str
    places: int | None = None
    by_row: tuple[int | None, ...] = ()
    is_p: bool = False
    rank: int = 0
    snr: float | None = None
    note: str = ""

    def at(self, row: int) -> "Column":
        """As it is in a row."""
        return replace(self, places=self.by_row[row], by_row=()) if self.by_row else self


@dataclass(frozen=True)
class Table:
    """name: of its file, [a-z0-9_]+. columns: which of the frame's are shown, and how. frame: cells as
    ``Cell``. note: what a reader must know beside the caption. conditions: what a caption must say where the
    table stands alone, in a paper: corpus and sentences, channel, decoding, seeds, signature, tests.
    in_paper: whether it is one of the few that a paper prints."""

    name: str
    caption: str
    columns: Mapping[str, Column]
    frame: "pd.DataFrame"
    note: str = ""
    conditions: str = ""
    in_paper: bool = False

    def cells(self) -> list[list[Cell]]:
        """Of each column that is shown."""
        return [self.frame[name].tolist() for name in self.columns]


@dataclass(frozen=True)
class Figure:
    """name: of its files, [a-z0-9_]+. alternative: what it shows, for those who cannot see it. data: its
    numbers, one row a point.

    draw: makes it for a place.
    """

    name: str
    caption: str
    alternative: str
    data: "pd.DataFrame"
    draw: Draw


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    words: str


@dataclass(frozen=True)
class Folded:
    """Blocks that are shown when a reader asks for them, under a line that says what they are."""

    title: str
    blocks: "Sequence[Block]"


Block = Text | Table | Figure | Folded


@dataclass(frozen=True)
class Answer:
    """What was found of one study, as the first screen shows it: one sentence, one figure, one table.

    before: what a reader must know first, such as that the teacher understands nothing. beside: yardsticks,
    a line each. of: what tells its study from the others, teacher and channel, where there are several.
    """

    sentence: str
    figure: Figure | None = None
    table: Table | None = None
    before: Sequence[str] = ()
    beside: Sequence[str] = ()
    of: str = ""

    @property
    def blocks(self) -> "list[Table | Figure]":
        return [block for block in (self.figure, self.table) if block is not None]


@dataclass(frozen=True)
class Section:
    """name: its anchor, [a-z0-9_]+."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """language: en or zh. answers: the first screen, one a study. provenance: how it was made, label and
    value."""

    title: str
    language: str
    answers: Sequence[Answer]
    sections: Sequence[Section]
    provenance: Sequence[tuple[str, str]]

    def tables(self) -> list[Table]:
        return [block for block in self._blocks() if isinstance(block, Table)]

    def figures(self) -> list[Figure]:
        return [block for block in self._blocks() if isinstance(block, Figure)]

    def _blocks(self) -> "Iterator[Block]":
        """All of them, those of the first screen first, those that are folded too."""
        for answer in self.answers:
            yield from answer.blocks
        for section in self.sections:
            yield from _unfolded(section.blocks)


def _unfolded(blocks: "Sequence[Block]") -> "Iterator[Block]":
    for block in blocks:
        if isinstance(block, Folded):
            yield from _unfolded(block.blocks)
        else:
            yield block


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
        cell = cell.value if isinstance(cell, Styled) else cell
        numbers = (cell.value, cell.low, cell.high) if isinstance(cell, Interval) else (cell,)
        if any(number != number for number in numbers):
            what = type(block).__name__.lower()
            raise ValueError(f"{what} {block.name}: NaN is no number to show; give None for what is missing")
