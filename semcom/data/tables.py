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

from semcom.base import json_files
from semcom.base.advice import meant, path_word, quoted
from semcom.base.errors import SemcomError, escape, shown
from semcom.data.file_kinds import Named

JSON_LINES = "JSON lines"
_DIVIDERS = {"\t": "tabs", " ||| ": "|||", ",": "commas", ";": "semicolons"}
CSV_DIVIDERS = (",", ";")
_BARS = " [|][|][|] "  # as awk divides by
_LOOKED_AT = 200
_OBJECTS_LOOKED_AT = 20
_FEW = 10
_NAME = re.compile(r"\ufeff?\w[\w.-]{0,39}")
_JSON_OBJECT = re.compile(r'\ufeff?\s*\{\s*"([^"]{0,100})"\s*:')
_JSON_SUFFIXES = frozenset((".json", ".jsonl", ".ndjson"))
_LONGEST_NAMES = 120


@dataclass(frozen=True)
class Table:
    """divider: of a line's values, or ``JSON_LINES``. columns: names or, where nothing says that they are
    names, values of the first line. likely: the one that has most text, by its place; None where none has.
    named: whether the first line is likely one of names."""

    divider: str
    columns: tuple[str, ...]
    likely: int | None = 0
    named: bool = False

    def __str__(self) -> str:
        if self.divider == JSON_LINES:
            return f"JSON lines with {self.listed()}"
        divided = f"{len(self.columns)} columns divided by {_DIVIDERS[self.divider]}"
        return f"a table of {divided} ({self.listed()})"

    def listed(self) -> str:
        names = ", ".join(escape(name if len(name) <= 20 else f"{name[:19]}…") for name in self.columns)
        return names if len(names) <= _LONGEST_NAMES else f"{names[:_LONGEST_NAMES]}…"


def table_of(path: Path, head: Sequence[str], column: str | None = None) -> Table | None:
    """What table the first lines of a file are of, if they are of one. Prose has commas too: of CSV, only
    with its suffix or a header, as many values in nearly all lines, and no blanks behind its commas; or with
    the column that is asked for in its first line."""
    lines = [line for line in head[:_LOOKED_AT] if line.strip()]
    lines = _uncut(lines)
    if not lines:
        return None
    suffixes = {suffix.lower() for suffix in path.suffixes[-2:]}
    if _JSON_OBJECT.match(lines[0]) and (suffixes & _JSON_SUFFIXES or _are_objects(lines)):
        return _json_table(lines)
    for divider, fewest in (("\t", 1 if ".tsv" in suffixes else 2), (" ||| ", 1)):
        if len(lines) >= fewest and _is_divided(lines, divider):
            rows = [line.split(divider) for line in lines]
            return _table_of_rows(divider, rows)
    return _csv(lines, ".csv" in suffixes, column)


def _are_objects(lines: Sequence[str]) -> bool:
    """Whether half of the lines are, for a broken one is told when it is read."""
    return 2 * sum(isinstance(_parsed_or_none(line), dict) for line in lines) >= len(lines)


def _parsed_or_none(line: str) -> object:
    try:
        return json.loads(line.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None


def _json_table(lines: Sequence[str]) -> Table:
    sizes: dict[str, int] = {}
    for found in map(_parsed_or_none, lines[:_OBJECTS_LOOKED_AT]):
        for key, value in _values(found) if isinstance(found, dict) else ():
            sizes[key] = sizes.get(key, 0) + (len(value) if isinstance(value, str) else 0)
    if not sizes:
        begun = _JSON_OBJECT.match(lines[0])
        return Table(JSON_LINES, (begun[1] if begun else "",))
    longest = max(sizes, key=lambda key: sizes[key])
    return Table(JSON_LINES, tuple(sizes), list(sizes).index(longest) if sizes[longest] else None)


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


def _uncut(found: list) -> list:
    """Without the last of many, which the end of the head may cut."""
    return found[:-1] if len(found) > _FEW else found


def _table_of_rows(divider: str, rows: Sequence[Sequence[str]]) -> Table:
    first, *others = rows
    sizes = [sum(len(row[place]) for row in rows if place < len(row)) for place in range(len(first))]
    likely = sizes.index(max(sizes))
    longer = sizes[likely] - len(first[likely]) > 1.5 * len(first[likely]) * len(others)
    return Table(divider, tuple(first), likely, named=_are_names(first) and longer)


def _are_names(values: Sequence[str]) -> bool:
    are_words = all(_NAME.fullmatch(value) and not value.isdecimal() for value in values)
    return are_words and len(set(values)) == len(values)


def _csv(lines: Sequence[str], suffixed: bool, column: str | None) -> Table | None:
    for divider in sorted(CSV_DIVIDERS, key=lines[0].count, reverse=True):
        rows = _uncut([row for row in _split(lines, divider) if row])
        if rows and len(rows[0]) > 1 and column in rows[0]:
            return _table_of_rows(divider, rows)
        if not rows or _is_prose(rows):
            continue
        width, as_wide = Counter(map(len, rows)).most_common(1)[0]
        is_regular = as_wide >= 0.9 * len(rows)
        is_table = width > 1 and (suffixed or (len(rows) > 2 and _table_of_rows(divider, rows).named))
        is_quoted = suffixed and width == 1 and all(line.startswith('"') for line in lines[1:])
        if is_regular and (is_table or is_quoted):
            return _table_of_rows(divider, rows)
    return None


def _is_prose(rows: Sequence[Sequence[str]]) -> bool:
    """Whether most dividers have a blank behind them."""
    behind = [value for row in rows for value in row[1:]]
    return 2 * sum(value.startswith(" ") for value in behind) > len(behind)


def _split(lines: Iterable[str], divider: str) -> Iterator[list[str]]:
    """Rows as far as they can be read."""
    with suppress(csv.Error):
        yield from csv.reader((f"{line}\n" for line in lines), delimiter=divider)


def refusal(named: Named, table: Table) -> SemcomError:
    """Of a table of which no column is chosen."""
    if table.likely is None:
        key = f".{table.columns[0]}[].KEY"
        return SemcomError(
            f"{named}: is {table}, of which none is text; make a text file of it: "
            f"{named.through(f'jq -r {quoted(key)} < FILE > TEXT')}"
        )
    is_named = table.named or table.divider == JSON_LINES
    likely = table.columns[table.likely].lstrip("\ufeff") if is_named else str(table.likely + 1)
    return SemcomError(
        f"{named}: is {table}, not text of one sentence a line; choose a column, such as --column "
        f"{quoted(likely)}, or make a text file of it: {named.through(_command(table, table.likely))}"
    )


def _command(table: Table, likely: int) -> str:
    """Which writes the likely column to a text file."""
    if table.divider == JSON_LINES:
        key = ".".join(f'"{part}"' for part in table.columns[likely].split("."))
        return f"jq -r {quoted('.' + key)} < FILE > TEXT"
    if table.divider == "\t":
        return f"cut -f{likely + 1} < FILE > TEXT"
    if table.divider == " ||| ":
        return f"awk -F '{_BARS}' '{{print ${likely + 1}}}' < FILE > TEXT"
    header = "" if table.named else ", header=None"
    read = f"pandas.read_csv(sys.stdin, sep='{table.divider}'{header}).iloc[:, {likely}]"
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
        if self.name.isdecimal() and 1 <= int(self.name[:9]) <= len(names):
            place = int(self.name) - 1
        elif self.name in names:
            place = names.index(self.name)
            next(rows, None)
        else:
            raise SemcomError(
                f"--column {shown(self.name)}: {shown(self.named.path)} is {table}; give a name of its first "
                f"line, or a number from 1 to {len(names)}{meant(self.name, names)}"
            )
        for row in rows:
            if len(row) != len(names) and any(row):
                raise self._of_another_width(row, table)
            yield row[place] if any(row) else ""

    def _of_another_width(self, row: Sequence[str], table: Table) -> SemcomError:
        width, cure = len(table.columns), "mend that line"
        if table.divider not in CSV_DIVIDERS:
            divider = "\\t" if table.divider == "\t" else _BARS
            others = self.named.through(f"awk -F '{divider}' 'NF=={width}' < FILE > ALIKE")
            cure = f"mend it, or leave such lines out: {others}"
        return SemcomError(
            f"{self.named} line {self.number()}: {len(row)} values, where the first line has {width}; {cure}"
        )

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
            return json.loads(line.lstrip("\ufeff"), parse_int=json_files.whole)
        except (ValueError, RecursionError) as error:
            reason = _reason(error)
            raise SemcomError(
                f"{self.named} line {self.number()}: not JSON ({reason}); mend that line, or "
                f"leave it out: sed {self.number()}d {path_word(self.named.path)} > mended.jsonl"
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
        likely = ""
        if value is found:
            keys = tuple(dict(_values(found))) if isinstance(found, dict) else ()
            reason = f"has no such key, but {Table(JSON_LINES, keys).listed() or 'none'}"
            likely = meant(self.name, keys)
        raise SemcomError(
            f"--column {shown(self.name)}: line {self.number()} of {shown(self.named.path)} {reason}; "
            f"name a key of each line, with text{likely}"
        )


def _reason(error: Exception) -> str:
    """Why a line is not the JSON that is wanted."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    said = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
    return escape(said)[:80]
