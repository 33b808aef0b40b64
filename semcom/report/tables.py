"""Rows of plain numbers and strings to console tables and CSV, by way of data frames. Never sees a model.

A cell that is missing, None or NaN, is a dash on the console and empty in a CSV.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcom.base.errors import escape
from semcom.base.output_files import write_atomically
from semcom.evaluation import frames
from semcom.report.console_tables import Column, fitted

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
BYTE_ORDER_MARK = "\ufeff"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def text(frame: "pd.DataFrame", decimals: int | None = None, signed: bool = False) -> str:
    """Aligned columns for a console, no wider than that: text to the left, numbers to the right, as many
    decimals in all of a column. signed: a plus before positive ones."""
    cells_of = [frame.iloc[:, place].tolist() for place in range(frame.shape[1])]
    shown = [
        Column(str(name), _texts(cells, decimals, signed), "right" if _is_numeric(cells) else "left")
        for name, cells in zip(frame.columns, cells_of)
    ]
    return aligned(shown)[0]


def aligned(shown: Sequence[Column]) -> tuple[str, Sequence[str]]:
    """Columns of text as they fit the console, and the titles of those that do not."""
    safe = [
        replace(column, title=escape(column.title), cells=[escape(cell) for cell in column.cells])
        for column in shown
    ]
    found = fitted(safe)
    return "\n\n".join(map(_panel, found.panels)), found.left_out


def _panel(shown: Sequence[Column]) -> str:
    titles, cells = [column.title for column in shown], [column.cells for column in shown]
    return _tabulated(titles, cells, [column.side for column in shown], "simple")


def markdown(titles: Sequence[str], columns: Sequence[Sequence[str]], sides: Sequence[str]) -> str:
    """A table of GitHub's Markdown. Cells are in Markdown already."""
    return _tabulated(titles, columns, sides, "pipe")


def pivot(
    table: "pd.DataFrame | Sequence[Row]",
    index: str,
    column: str,
    value: str,
    label: Callable[[Any], str] = "{:g}".format,
    decimals: int | None = None,
) -> str:
    """A table of ``value`` with one line per ``index`` and one column per ``column``, both in order of
    appearance. decimals: as many as the values need where None."""
    frame = _frame(table)
    by_column = frame.pivot(index=index, columns=column, values=value)
    by_column = by_column.reindex(index=frame[index].unique(), columns=frame[column].unique())
    by_column = by_column.rename(columns=label).reset_index()
    return text(by_column, _decimals(frame[value]) if decimals is None else decimals)


def write_csv(path: str | Path, table: "pd.DataFrame | Sequence[Row]", language: str = "en") -> None:
    """All rows. Text that a spreadsheet would run as a formula is quoted. language: of the report that the
    file belongs to."""
    write_atomically(path, csv_file(csv_text(_frame(table)), language))


def csv_file(text: str, language: str) -> str:
    """A CSV as its file holds it: for readers of Chinese with the mark at its beginning that makes Excel read
    UTF-8 instead of the system's old code page. Programs read either with Python's ``utf-8-sig``."""
    return BYTE_ORDER_MARK + text if language == "zh" else text


def csv_text(frame: "pd.DataFrame") -> str:
    safe = frames.mapped(frame, spreadsheet_safe)
    return safe.to_csv(index=False, header=[str(name) for name in frame.columns], lineterminator="\n")


def spreadsheet_safe(value: Any) -> Any:
    """``value`` for a cell of CSV: text that a spreadsheet would run as a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _frame(table: "pd.DataFrame | Sequence[Row]") -> "pd.DataFrame":
    import pandas as pd

    return table if isinstance(table, pd.DataFrame) else frames.frame_of(table)


def _texts(cells: Sequence[Any], decimals: int | None, signed: bool) -> list[str]:
    places = _decimals(cells) if decimals is None else decimals
    form = f"{'+' if signed else ''}.{places}f"
    shown = [format(cell, form) if isinstance(cell, float) else str(cell) for cell in cells]
    return ["-" if _missing(cell) else told for cell, told in zip(cells, shown)]


def _decimals(cells: Iterable[Any]) -> int:
    numbers = [abs(cell) for cell in cells if isinstance(cell, float) and not _missing(cell)]
    largest = max(numbers, default=0)
    if largest > 1 and all(number == round(number) for number in numbers):
        return 0
    return 2 if largest >= 10 else 4


def _missing(cell: Any) -> bool:
    return cell is None or cell != cell


def _is_numeric(cells: Sequence[Any]) -> bool:
    return all(cell is None or isinstance(cell, (int, float)) for cell in cells)


def _tabulated(
    titles: Sequence[str], columns: Sequence[Sequence[str]], sides: Sequence[str], style: str
) -> str:
    import pandas as pd

    frame = pd.DataFrame(dict(enumerate(columns)), dtype=object)
    return frame.to_markdown(
        index=False, tablefmt=style, headers=list(titles), colalign=list(sides), disable_numparse=True
    )
