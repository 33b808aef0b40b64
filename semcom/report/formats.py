"""A ``Document`` or its tables as text of a format: Markdown, CSV, a console's.

Every string may be a stranger's: each format shows it as text, control and bidi characters spelled out.
"""

import re
from collections.abc import Iterator
from itertools import chain
from numbers import Real
from typing import TYPE_CHECKING

from semcom.base import widths
from semcom.base.errors import escape
from semcom.evaluation import frames
from semcom.report import console_tables, room, tables
from semcom.report.catalogue import translation
from semcom.report.cells import halves, labels, note_of, plain, sides, stands_out, value_of, without_empty
from semcom.report.document import Answer, Block, Cell, Column, Document, Figure, Folded, Styled, Table, check

if TYPE_CHECKING:
    import pandas as pd

# Entities where dialects differ on the backslash, so that none of them sees HTML or a new column.
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in r"\`*_{}[]#"} | {c: f"&#{ord(c)};" for c in "&<>|@~^$"})


def markdown(document: Document) -> str:
    """The report in GitHub's Markdown, its figures beside it. ValueError as ``check`` says."""
    check(document)
    _ = translation(document.language).gettext
    provenance = _("How this report was made")
    lines = [f"# {markdown_text(document.title)}"]
    for answer in document.answers:
        lines += _markdown_answer(document, answer)
    for section in document.sections:
        lines.append(f"## {markdown_text(section.title)}")
        for block in section.blocks:
            lines += _markdown_block(document, block)
    made = [[markdown_text(label) for label, _value in document.provenance]]
    made.append([markdown_text(value) for _label, value in document.provenance])
    lines += [f"## {provenance}", tables.markdown([_("Item"), _("Value")], made, ["left", "left"])]
    return "\n\n".join(lines) + "\n"


def _markdown_answer(document: Document, answer: Answer) -> Iterator[str]:
    if answer.of:
        yield f"## {markdown_text(answer.of)}"
    yield from map(markdown_text, answer.before)
    yield f"**{markdown_text(answer.sentence)}**"
    for block in answer.blocks:
        yield from _markdown_block(document, block)
    yield from map(markdown_text, answer.beside)


def _markdown_block(document: Document, block: Block) -> Iterator[str]:
    label = labels(document)
    if isinstance(block, Table):
        yield f"**{label[block.name]}** {markdown_text(block.caption)}"
        titles = [markdown_text(column.title) for column in block.columns.values()]
        yield tables.markdown(titles, _markdown_cells(block), sides(block))
        if block.note:
            yield translation(document.language).gettext("Note: ") + markdown_text(block.note)
    elif isinstance(block, Figure):
        yield f"![{markdown_text(block.alternative)}](figures/{block.name}.png)"
        yield f"**{label[block.name]}** {markdown_text(block.caption)}"
    elif isinstance(block, Folded):
        yield f"**{markdown_text(block.title)}**"
        for folded in block.blocks:
            yield from _markdown_block(document, folded)
    else:
        yield markdown_text(block.words)


def _markdown_cells(table: Table) -> list[list[str]]:
    """Of each column."""
    shown = zip(table.columns.values(), table.cells())
    return [
        [_markdown_cell(cell, column.at(row)) for row, cell in enumerate(cells)] for column, cells in shown
    ]


def _markdown_cell(cell: Cell, column: Column) -> str:
    if not isinstance(cell, Styled):
        return markdown_text(plain(cell, column))
    text = markdown_text(plain(cell.value, column))
    return (f"**{text}**" if cell.bold and text else text) + markdown_text(cell.marks)


def markdown_text(text: str) -> str:
    """A stranger's string as plain text within a line of Markdown."""
    text = escape(text).strip().translate(_MARKDOWN)
    # No address becomes a link by itself.
    text = re.sub(r"(?i)(?<=www)\.", "&#46;", text.replace("://", "&#58;//"))
    return re.sub(r"^([-+=])|^(\d+)(?=[.)](?: |$))", lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\", text)


def csv_of(block: Table | Figure) -> str:
    """All numbers of a table or behind a figure, unrounded, without style. An interval becomes three columns;
    text that a spreadsheet would run is quoted."""
    frame = _titled(block) if isinstance(block, Table) else block.data
    unstyled = frames.mapped(frame, value_of)
    spelled_out = frames.mapped(frames.with_ends(unstyled), _spelled_out)
    return tables.csv_text(spelled_out.rename(columns=lambda title: tables.spreadsheet_safe(escape(title))))


def _titled(table: Table) -> "pd.DataFrame":
    titles = [column.title for column in table.columns.values()]
    return table.frame[list(table.columns)].set_axis(titles, axis="columns")


def _spelled_out(cell: object) -> object:
    return cell if cell is None or isinstance(cell, Real) else escape(cell)


def aligned(table: Table, language: str = "en", file: str = "") -> str:
    """The table as it fits the console, without its caption; below it what does not, and where that is, and
    its note. file: that has all of it, where that is not its CSV."""
    whole, table = table, without_empty(table)
    shown = [
        console_tables.Column(column.title, texts, side, column.rank)
        for column, texts, side in zip(table.columns.values(), _console_cells(table), sides(table))
    ]
    text, left_out = tables.aligned(shown)
    _ = translation(language).gettext
    told = []
    if left_out:
        more = _("Too wide for here: {columns}. {file} has all.")
        told.append(more.format(columns=_(", ").join(left_out), file=file or f"tables/{table.name}.csv"))
    kept = [name for name, column in table.columns.items() if escape(column.title) not in left_out]
    told.append(escape(note_of(whole, kept)))
    if any(stands_out(cell) for cells in table.cells() for cell in cells):
        told.append(_("What is bold is written _so_ here."))
    lines = [room.lines(line, widths.of_console(), widths.columns) for line in told if line]
    return "\n".join([text, *chain(*lines)])


def _console_cells(table: Table) -> list[list[str]]:
    """Of each column."""
    shown = zip(table.columns.values(), table.cells())
    return [
        [_console_cell(cell, column.at(row)) for row, cell in enumerate(cells)] for column, cells in shown
    ]


def _console_cell(cell: Cell, column: Column) -> str:
    text = plain(cell, column)
    if not stands_out(cell):
        return text
    value, _ends = halves(cell, column)
    return f"_{value}_{text.removeprefix(value)}"
