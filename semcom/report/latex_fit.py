"""How a table fits its place in a paper: which columns are printed, how they are set, what finds no room."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from semcom.report.cells import NUMERIC, kinds, shade_of
from semcom.report.document import Cell, Table
from semcom.report.latex_columns import (
    GAP,
    Typeset,
    Way,
    least_width,
    natural_width,
    numbers,
    text,
    texts_of,
)
from semcom.report.room import shared

COLUMN, TEXT = 223.0, 345.0
"""Points: 8 cm less what the widths of letters may be off by, which columns of IEEEtran (252) and of
``article`` in two columns (229.5) hold; and the text of ``article`` in one."""

MOST = 5
"""Tables of a paper, and SNRs of a table by SNR where none are asked for."""

WAYS = (
    Way(COLUMN, heads_wrapped=False),
    Way(COLUMN),
    Way(COLUMN, below=True),
    Way(TEXT, heads_wrapped=False),
    Way(TEXT),
    Way(TEXT, below=True),
)
"""In which a table is tried to be set, the first in which it fits is taken."""


@dataclass(frozen=True)
class Printed:
    """What is asked of the tables. columns: names of the columns of numbers, () for all. snrs: of tables by
    SNR, in dB, () for the five of the lowest rank."""

    columns: Sequence[str] = ()
    snrs: Sequence[float] = ()


ALL = Printed()


def selected(table: Table, printed: Printed) -> Table:
    """With the columns that were asked for."""
    by_snr = {name: column.snr for name, column in table.columns.items() if column.snr is not None}
    if by_snr:
        by_rank = sorted(by_snr, key=lambda name: table.columns[name].rank)
        wanted = printed.snrs or [by_snr[name] for name in by_rank[:MOST]]
        left_out = [name for name, snr in by_snr.items() if snr not in wanted]
        # None of those measured: all, since a table without numbers says nothing.
        return table if len(left_out) == len(by_snr) else _without(table, left_out)
    asked = [name for name in printed.columns if name in table.columns]
    if not asked:
        return table
    # What a row is stays.
    texts = [
        name
        for (name, column), kind in zip(table.columns.items(), kinds(table))
        if kind not in NUMERIC and column.rank == 0 and name not in asked
    ]
    return replace(table, columns={name: table.columns[name] for name in (*texts, *asked)})


def _without(table: Table, left_out: Sequence[str]) -> Table:
    kept = {name: column for name, column in table.columns.items() if name not in left_out}
    return replace(table, columns=kept)


# --- how they fit


@dataclass(frozen=True)
class Fitted:
    """A table as it is set. panels: groups of columns, one below the other where they are too many. dropped:
    titles of columns that found no room. table: without those."""

    table: Table
    way: Way
    panels: Sequence[Sequence[Typeset]]
    dropped: Sequence[str]


def fitted(table: Table) -> Fitted:
    dropped: list[str] = []
    while True:
        for way in WAYS:
            if columns := _columns(table, way):
                return Fitted(table, way, [columns], dropped)
        rank = max(column.rank for column in table.columns.values())
        if rank <= 0:
            return Fitted(table, WAYS[-1], _panels(table, WAYS[-1]), dropped)
        last = [name for name, column in table.columns.items() if column.rank == rank][-1]
        dropped.insert(0, table.columns[last].title)
        table = _without(table, [last])


def _columns(table: Table, way: Way) -> list[Typeset] | None:
    """The columns of a table, or None where they are wider than there is room."""
    found_kinds = kinds(table)
    if way.below and "interval" not in found_kinds:
        return None
    shown = list(zip(table.columns.values(), table.cells()))
    texts = {place: texts_of(*shown[place]) for place, kind in enumerate(found_kinds) if kind not in NUMERIC}
    of_numbers = {place: numbers(*shown[place], way) for place in range(len(shown)) if place not in texts}
    room = way.room - _gaps(table) - sum(column.width for column in of_numbers.values())
    wanted = {}
    for place, told in texts.items():
        column, cells = shown[place]
        wanted[place] = (least_width(column, told, cells), natural_width(column, told, cells, way))
    given = shared(room, wanted)
    if given is None:
        return None
    of_texts = {place: text(*shown[place], told, given[place], way) for place, told in texts.items()}
    return [(of_numbers | of_texts)[place] for place in range(len(shown))]


def _gaps(table: Table) -> float:
    """Points between its columns and, where it is shaded, to the right of the last one."""
    at_the_edge = 0.5 if has(table, shade_of) else 0.0
    return GAP * (len(table.columns) - 1 + at_the_edge)


def has(table: Table, styled: Callable[[Cell], object]) -> bool:
    """Whether a cell is so."""
    return any(styled(cell) for cells in table.cells() for cell in cells)


def _panels(table: Table, way: Way) -> list[list[Typeset]]:
    """The columns in groups that fit, each with the first one, which says what a row is."""
    first, *others = table.columns
    panels: list[list[Typeset]] = []
    names = [first]
    for name in others:
        if len(names) > 1 and not _one(_only(table, [*names, name]), way):
            panels.append(_one(_only(table, names), way))
            names = [first]
        names.append(name)
    return [*panels, _one(_only(table, names), way)]


def _only(table: Table, names: Sequence[str]) -> Table:
    return _without(table, [name for name in table.columns if name not in names])


def _one(table: Table, way: Way) -> list[Typeset]:
    return _columns(table, way) or _columns(table, replace(way, below=False)) or []
