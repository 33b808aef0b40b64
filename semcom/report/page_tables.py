"""How a table stands on the page: its heads and cells, and what becomes of it on a phone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from semcom.base.widths import columns
from semcom.report.cells import LONG, columns_of_text, halves, kinds
from semcom.report.document import Cell, Column, Styled, Table

SHORT_HEAD = 12
"""Columns of a console up to which a head of a table stands on one line."""

PHONE = 46
"""Columns of a console that are as wide as a phone's screen held upright."""
SCREEN = 165
"""Columns of a console that are as wide as the page, and as a sheet on which letters can still be read."""
GAP = 3
"""Columns of a console between two columns of a table."""
CARDS = 12
"""Rows up to which a table becomes cards on a phone; more of them would be a long way to scroll."""


@dataclass(frozen=True)
class Head:
    """kind: as ``cells.kinds`` has it."""

    title: str
    kind: str
    is_short: bool


@dataclass(frozen=True)
class Shown:
    """A cell. kind: number, text or long. title: of its column. bounds: of a cell in a column of intervals,
    its interval or nothing; None in other columns. shade: of its ground, 0 to 1."""

    kind: str
    title: str
    text: str
    bounds: str | None
    bold: bool
    marks: str
    shade: float | None

    @property
    def is_bare(self) -> bool:
        """Whether it says little without its column's title, as a number does."""
        return not any(map(str.isalpha, self.text))


@dataclass(frozen=True)
class Layout:
    """across: its width in columns of a console. as_cards: whether each row becomes a card where the screen
    is narrow; else it scrolls by itself. left_out: titles of columns for which no screen has room."""

    heads: list[Head]
    rows: list[list[Shown]]
    across: int
    as_cards: bool
    is_shaded: bool
    left_out: list[str]


def layout_of(table: Table, is_first: bool = False) -> Layout:
    """is_first: whether its numbers must be seen at once, on any screen."""
    is_shaded = any(isinstance(cell, Styled) and cell.shade is not None for cell in _cells(table))
    whole = table
    # Intervals of a matrix stand below its values.
    table = table if is_shaded else _fitted(table)
    of_kind = kinds(table)
    shown = zip(table.columns.values(), of_kind)
    heads = [Head(column.title, kind, columns(column.title) <= SHORT_HEAD) for column, kind in shown]
    return Layout(
        heads,
        _rows(table, of_kind),
        across=_width(table),
        as_cards=not is_shaded and _becomes_cards(table, of_kind, is_first),
        is_shaded=is_shaded,
        left_out=[column.title for name, column in whole.columns.items() if name not in table.columns],
    )


def _fitted(table: Table) -> Table:
    """Without the columns of the highest rank, as few as can be, where not all have room."""
    while _width(table) > SCREEN:
        name, column = max(reversed(list(table.columns.items())), key=lambda item: item[1].rank)
        if column.rank <= 0:
            break
        table = replace(table, columns={kept: of for kept, of in table.columns.items() if kept != name})
    return table


def _cells(table: Table) -> Iterator[Cell]:
    return (cell for of_column in table.cells() for cell in of_column)


def _rows(table: Table, of_kind: list[str]) -> list[list[Shown]]:
    return [
        [
            _shown(cell, column.at(number), kind)
            for cell, column, kind in zip(row, table.columns.values(), of_kind)
        ]
        for number, row in enumerate(zip(*table.cells()))
    ]


def _shown(cell: Cell, column: Column, kind: str) -> Shown:
    styled = cell if isinstance(cell, Styled) else Styled(cell)
    text, bounds = halves(styled.value, column)
    return Shown(
        kind="number" if kind == "interval" else kind,
        title=column.title,
        text=text,
        bounds=bounds if kind == "interval" else None,
        bold=styled.bold,
        marks=styled.marks,
        shade=styled.shade,
    )


def _becomes_cards(table: Table, of_kind: list[str], is_first: bool) -> bool:
    if _width(table) <= PHONE:
        return False
    # Plain numbers stand closely enough beside a name that stays; intervals and sentences do not, and of SNRs
    # the one that the report is about would be hidden.
    is_by_snr = any(column.snr is not None for column in table.columns.values())
    is_spread = is_by_snr or bool({"interval", "long"} & set(of_kind[1:]))
    return is_first or (len(table.frame) <= CARDS and is_spread)


def _width(table: Table) -> int:
    """In columns of a console, where long heads and sentences wrap."""
    heads = (columns(column.title) for column in table.columns.values())
    cells = (max(map(columns, texts), default=0) for texts in columns_of_text(table))
    widest = (max(min(head, SHORT_HEAD), min(cell, LONG)) for head, cell in zip(heads, cells))
    return sum(width + GAP for width in widest)
