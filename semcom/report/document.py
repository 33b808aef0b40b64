"""A report as data: sections of text, tables and figures, in one language. Knows neither models nor file
formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semcom.evaluation.intervals import Interval

Cell = str | int | float | Interval | None
"""None is shown as a dash."""


@dataclass(frozen=True)
class Column:
    """places: decimals of its numbers; None for text and whole numbers."""

    title: str
    places: int | None = None


@dataclass(frozen=True)
class Table:
    """name: of its file, [a-z0-9_]+. note: what a reader must know beside the caption."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """name: of its files, [a-z0-9_]+. alternative: what it shows, for those who cannot see it. data: its
    numbers, one row a point.

    draw: fills an empty matplotlib figure of ``size`` (inches).
    """

    name: str
    caption: str
    alternative: str
    data: Sequence[Mapping[str, Any]]
    draw: Callable[[Any], None]
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
