"""Text of one column of a table: of values divided by tabs, commas or ``|||``, or of objects of JSON, one a
line."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcom.base.errors import SemcomError, escape, shown
from semcom.data.file_kinds import Named, quoted

JSON_LINES = "JSON lines"
_DIVIDERS = {"\t": "tabs", " ||| ": "|||", ",": "commas", ";": "semicolons"}
CSV_DIVIDERS = (",", ";")
_LOOKED_AT = 200
_NAME = re.compile(r"\ufeff?\w[\w.-]{0,39}")
_JSON_OBJECT = re.compile(r'\ufeff?\s*\{\s*"([^"]{0,100})"\s*:')
_JSON_SUFFIXES = frozenset((".json", ".jsonl", ".ndjson"))
_LONGEST_NAMES = 120


@dataclass(frozen=True)
class Table:
    """divider: of a line's values, or ``JSON_LINES``. columns: names or, where nothing says that they are
    names, values of the first line. likely: the one that has most text, by its place."""

    divider: str
    columns: tuple[str, ...]
    likely: int = 0

    def __str__(self) -> str:
        if self.divider == JSON_LINES:
            return f"JSON lines with {self.listed()}"
        divided = f"{len(self.columns)} columns divided by {_DIVIDERS[self.divider]}"
        return f"a table of {divided} ({self.listed()})"

    def listed(self) -> str:
        names = ", ".join(escape(name if len(name) <= 20 else f"{name[:19]}…") for name in self.columns)
        return names if len(names) <= _LONGEST_NAMES else f"{names[:_LONGEST_NAMES]}…"


def table_of(path: Path, head: Sequence[str]) -> Table | None:
    """What table the first lines of a file are of, if they are of one. Prose has commas too: of CSV, only
    with its suffix or a header."""
    lines = [line for line in head[:_LOOKED_AT] if line.strip()]
    lines = lines[:-1] if len(lines) > 1 else lines  # the last may be cut
    if not lines:
        return None
    suffixes = {suffix.lower() for suffix in path.suffixes[-2:]}
    if _JSON_OBJECT.match(lines[0]) and (suffixes & _JSON_SUFFIXES or _are_objects(lines)):
        return _json_table(lines)
    for divider, fewest in (("\t", 1 if ".tsv" in suffixes else 2), (" ||| ", 1)):
        if len(lines) >= fewest and _is_divided(lines, divider):
            rows = [line.split(divider) for line in lines]
            return Table(divider, tuple(rows[0]), _longest(rows))
    return _csv(lines, ".csv" in suffixes)


def _are_objects(lines: Sequence[str]) -> bool:
    """Whether half of the lines are, for a broken one is told when it is read."""
    return 2 * sum(isinstance(_parsed_or_none(line), dict) for line in lines) >= len(lines)


def _parsed_or_none(line: str) -> object:
    try:
        return json.loads(line.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None


def _json_table(lines: Sequence[str]) -> Table:
    try:
        first = json.loads(lines[0].lstrip("\ufeff"))
    except (ValueError, RecursionError):
        found = _JSON_OBJECT.match(lines[0])
        return Table(JSON_LINES, (found[1] if found else "",))
    values = dict(_values(first))
    longest = max(values, key=lambda key: len(values[key]) if isinstance(values[key], str) else 0, default="")
    return Table(JSON_LINES, tuple(values), list(values).index(longest) if values else 0)


def _values(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """By their keys, and of an object within as ``translation.en``."""
    for key, value in found.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", its) for inner, its in value.items())
        else:
            yield key, value


def _is_divided(lines: Sequence[str], divider: str) -> bool:
    """Whether nearly all lines have as many values, two at least."""
    counts = Counter(line.strip().count(divider) for line in lines)
    most, lines_of_most = counts.most_common(1)[0]
    return most > 0 and lines_of_most >= 0.9 * len(lines)


def _longest(rows: Sequence[Sequence[str]]) -> int:
    """The place of the column with most text."""
    sizes = [sum(len(row[place]) for row in rows if place < len(row)) for place in range(len(rows[0]))]
    return sizes.index(max(sizes))


def _csv(lines: Sequence[str], named: bool) -> Table | None:
    for divider in sorted(CSV_DIVIDERS, key=lines[0].count, reverse=True):
        rows = list(_split(lines, divider))
        widths = {len(row) for row in rows[:-1] if row}
        header = len(rows) > 2 and len(widths) == 1 and all(map(_NAME.fullmatch, rows[0]))
        if named or (header and widths != {1}):
            return Table(divider, tuple(rows[0]), _longest(rows))
    return None


def _split(lines: Iterable[str], divider: str) -> Iterator[list[str]]:
    """Rows as far as they can be read."""
    with suppress(csv.Error):
        yield from csv.reader((f"{line}\n" for line in lines), delimiter=divider)


def refusal(named: Named, table: Table) -> SemcomError:
    """Of a table of which no column is chosen."""
    likely = table.columns[table.likely] if table.divider == JSON_LINES else str(table.likely + 1)
    return SemcomError(
        f"{named}: is {table}, not text of one sentence a line; choose a column, such as "
        f"--column {quoted(likely)}, or make a text file of it: {named.through(_command(table))}"
    )


def _command(table: Table) -> str:
    """Which writes the likely column to a text file."""
    number = table.likely + 1
    if table.divider == JSON_LINES:
        key = ".".join(f'"{part}"' for part in table.columns[table.likely].split("."))
        return f"jq -r {quoted('.' + key)} < FILE > TEXT"
    if table.divider == "\t":
        return f"cut -f{number} < FILE > TEXT"
    if table.divider == " ||| ":
        return f"awk -F ' [|][|][|] ' '{{print ${number}}}' < FILE > TEXT"
    read = f"pandas.read_csv(sys.stdin, sep='{table.divider}').iloc[:, {table.likely}]"
    return f"python -c \"import pandas, sys; print(*{read}, sep='\\n')\" < FILE > TEXT"


# --- the text of a column


@dataclass(frozen=True)
class Column:
    """One of a file's. name: as it was asked for, or its number from 1. number: of the line read last."""

    named: Named
    name: str
    number: Callable[[], int]

    def of(self, table: Table | None, lines: Iterable[str]) -> Iterator[str]:
        """The lines of text in it. Raises SemcomError for what is no table, has no such column, or breaks
        off."""
        if table is None:
            raise SemcomError(
                f"--column {shown(self.name)}: {shown(self.named.path)} is no table (values divided by tabs, "
                "commas or |||, or an object of JSON a line); leave it out"
            )
        values = self._of_json if table.divider == JSON_LINES else self._of_rows
        for value in values(table, lines):
            yield from value.split("\n") if "\n" in value else [value]

    def _of_rows(self, table: Table, lines: Iterable[str]) -> Iterator[str]:
        rows = self._rows(table.divider, lines)
        names = [name.strip().lstrip("\ufeff") for name in table.columns]
        if self.name in names:
            place = names.index(self.name)
            next(rows, None)
        elif self.name.isdecimal() and 1 <= int(self.name[:9]) <= len(names):
            place = int(self.name) - 1
        else:
            raise SemcomError(
                f"--column {shown(self.name)}: {shown(self.named.path)} is {table}; give a name of its first "
                f"line, or a number from 1 to {len(names)}"
            )
        for row in rows:
            yield row[place] if place < len(row) else ""

    def _rows(self, divider: str, lines: Iterable[str]) -> Iterator[list[str]]:
        if divider not in CSV_DIVIDERS:
            yield from (line.split(divider) for line in lines)
            return
        try:
            yield from csv.reader((f"{line}\n" for line in lines), delimiter=divider)
        except csv.Error as error:
            raise SemcomError(
                f"{self.named} line {self.number()}: broken CSV ({escape(error)}); "
                "close the quotes that are opened before it"
            ) from None

    def _of_json(self, table: Table, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            yield self._value(self._parsed(line)) if line.strip() else ""

    def _parsed(self, line: str) -> object:
        try:
            return json.loads(line.lstrip("\ufeff"))
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else escape(error)[:80]
            raise SemcomError(
                f"{self.named} line {self.number()}: not JSON ({reason}); mend that line, or "
                f"leave it out: sed {self.number()}d {quoted(self.named.path)} > mended.jsonl"
            ) from None

    def _value(self, found: object) -> str:
        """Of an object; empty where it has null."""
        value = found.get(self.name, found) if isinstance(found, dict) else found
        if value is found:
            for part in self.name.split("."):
                value = value.get(part, found) if isinstance(value, dict) else found
        if value is None or isinstance(value, str):
            return value or ""
        reason = f"has {shown(value)} there"
        if value is found:
            keys = tuple(dict(_values(found))) if isinstance(found, dict) else ()
            reason = f"has no such key, but {Table(JSON_LINES, keys).listed() or 'none'}"
        raise SemcomError(
            f"--column {shown(self.name)}: line {self.number()} of {shown(self.named.path)} {reason}; "
            "name a key of each line, with text"
        )
