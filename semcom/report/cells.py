"""What a cell of a ``Table`` shows, in every format: its text, and to which side it stands."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING

from semcom.base.widths import columns
from semcom.evaluation.intervals import Interval
from semcom.report.catalogue import translation
from semcom.report.document import Cell, Column, Document, Styled, Table

if TYPE_CHECKING:
    import pandas as pd

LONG = 28
"""Columns of a console from which a text cell may wrap."""

NUMERIC = ("number", "interval")
SMALLEST_P, P_PLACES = 0.001, 3
LEVELS_OF_P = (0.01, 0.05)
"""Thresholds that readers compare a p with, the smallest first."""


def labels(document: Document) -> dict[str, str]:
    """Name of a table or figure -> what it is called, numbered apart."""
    _ = translation(document.language).gettext
    named = {table.name: _("Table {}.").format(n) for n, table in enumerate(document.tables(), 1)}
    return named | {figure.name: _("Figure {}.").format(n) for n, figure in enumerate(document.figures(), 1)}


def kinds(table: Table) -> list[str]:
    """Of each column: number, interval (numbers, some with one), text, or long (text that may wrap)."""
    return [_kind(column, cells) for column, cells in zip(table.columns.values(), table.cells())]


def _kind(column: Column, cells: Sequence[Cell]) -> str:
    given = [value for cell in cells if (value := value_of(cell)) is not None]
    if given and all(isinstance(cell, (Real, Interval)) for cell in given):
        return "interval" if any(isinstance(cell, Interval) for cell in given) else "number"
    return "long" if any(columns(plain(cell, column)) >= LONG for cell in given) else "text"


def value_of(cell: Cell) -> str | int | float | Interval | None:
    """Without its style."""
    return cell.value if isinstance(cell, Styled) else cell


def stands_out(cell: Cell) -> bool:
    """Whether it is bold."""
    return isinstance(cell, Styled) and cell.bold


def marks_of(cell: Cell) -> str:
    """Marks of tests behind its value."""
    return cell.marks if isinstance(cell, Styled) else ""


def shade_of(cell: Cell) -> float:
    """Of its ground, 0 to 1."""
    return cell.shade or 0.0 if isinstance(cell, Styled) else 0.0


def without_empty(table: Table) -> Table:
    """Without columns in which no row has anything."""
    kept = {
        name: column
        for (name, column), cells in zip(table.columns.items(), table.cells())
        if not cells or any(value_of(cell) not in (None, "") for cell in cells)
    }
    return replace(table, columns=kept)


def note_of(table: Table, shown: Iterable[str]) -> str:
    """Its note where these of its columns are shown."""
    note = table.note
    for name in set(table.columns).difference(shown):
        if said := table.columns[name].note:
            note = note.replace(f"{said} ", "").replace(said, "")
    return note.strip()


def sides(table: Table) -> list[str]:
    """Of each column: numbers to the right, text to the left."""
    return ["right" if kind in NUMERIC else "left" for kind in kinds(table)]


def halves(cell: Cell, column: Column) -> tuple[str, str]:
    """A cell's text and, of an interval, its ends'."""
    cell = value_of(cell)
    if isinstance(cell, Interval):
        value, low, high = (_number(part, column.places) for part in (cell.value, cell.low, cell.high))
        return value, f"[{low}, {high}]"
    if cell is None:
        return "–", ""
    if column.is_p and isinstance(cell, Real):
        return p_text(float(cell)), ""
    # Numpy's numbers are real numbers too, if neither int nor float.
    return (_number(cell, column.places) if isinstance(cell, (int, float, Real)) else cell), ""


def plain(cell: Cell, column: Column) -> str:
    """A cell's text with its marks, its ends in brackets."""
    value, ends = halves(cell, column)
    return f"{value}{marks_of(cell)} {ends}".rstrip()


def columns_of_text(table: Table) -> list[list[str]]:
    shown = zip(table.columns.values(), table.cells())
    return [[plain(cell, column.at(row)) for row, cell in enumerate(cells)] for column, cells in shown]


def supported(columns: Mapping[str, Column], frame: "pd.DataFrame") -> dict[str, Column]:
    """The columns with no more decimals than their intervals support: two significant digits of half the
    narrowest one. Columns that had the same number of decimals have the same number again, so that they
    compare."""
    needed: dict[int | None, int] = {}
    for name, column in columns.items():
        widths = [_half_width(value_of(cell)) for cell in frame[name]]
        digits = [1 - math.floor(math.log10(width)) for width in widths if width]
        if digits:
            needed[column.places] = max(*digits, needed.get(column.places, 0))
    return {name: _with_places(column, needed.get(column.places)) for name, column in columns.items()}


def _half_width(value: object) -> float | None:
    """None of what is no interval, or one without end."""
    if not isinstance(value, Interval) or not math.isfinite(value.high - value.low):
        return None
    return (value.high - value.low) / 2


def _with_places(column: Column, needed: int | None) -> Column:
    if column.places is None or needed is None:
        return column
    return replace(column, places=min(column.places, needed))


def p_text(p: float) -> str:
    """The p of a test, three decimals or as many as keep it below a threshold that it is below: 0.0497, not
    0.050; what is smaller than the last of them as ``<0.001``."""
    if p < SMALLEST_P:
        return f"<{SMALLEST_P:g}"
    crossed = (level for level in LEVELS_OF_P if p < level)
    level = next(crossed, math.inf)
    places = next(n for n in range(P_PLACES, 18) if round(p, n) < level)
    return f"{p:.{places}f}"


def _number(value: float, places: int | None) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    # z: no "-0.00"
    text = str(value) if places is None else format(value, f"z.{places}f")
    return text.replace("-", "−")
