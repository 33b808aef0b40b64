"""A ``Document`` or its tables as text of a format: Markdown, LaTeX, CSV, a console's.

Every string may be a stranger's: each format shows it as text, control and bidi characters spelled out.
"""

import re
from collections.abc import Iterator
from numbers import Real

from semcom.base.errors import escape
from semcom.evaluation.intervals import Interval
from semcom.report import tables
from semcom.report.catalogue import translation
from semcom.report.cells import columns_of_text, kinds, labels, parts, plain, sides
from semcom.report.document import Block, Cell, Column, Document, Figure, Table, check

# Entities where dialects differ on the backslash, so that none of them sees HTML or a new column.
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in r"\`*_{}[]#"} | {c: f"&#{ord(c)};" for c in "&<>|@~^$"})

# Braces where a command before would take the character for its own ("\\" an asterisk or a bracket) or TeX
# would make one of two.
_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "{}$&#%_"}
    | {c: f"{{{c}}}" for c in "[]*-`'"}
    | {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\symbol{34}",
        "–": "--",
        "−": "$-$",
        "∞": r"$\infty$",
    }
)

LATEX_TABLE = r"""
\begin{{table}}
  \centering
  \caption{{{caption}}}
  \label{{tab:{name}}}
{tabular}{note}
\end{{table}}
"""
LATEX_NOTE = r"""
  \par\smallskip\begin{{minipage}}{{\linewidth}}\footnotesize {note}\end{{minipage}}"""


def markdown(document: Document) -> str:
    """The report in GitHub's Markdown, its figures beside it. ValueError as ``check`` says."""
    check(document)
    _ = translation(document.language).gettext
    title, summary, provenance = _markdown(document.title), _("Summary"), _("How this report was made")
    lines = [f"# {title}", f"**{summary}**", *map(_markdown, document.summary)]
    for section in document.sections:
        lines.append(f"## {_markdown(section.title)}")
        for block in section.blocks:
            lines += _markdown_block(document, block)
    made = [[_markdown(label) for label, _value in document.provenance]]
    made.append([_markdown(value) for _label, value in document.provenance])
    lines += [f"## {provenance}", tables.markdown([_("Item"), _("Value")], made, ["left", "left"])]
    return "\n\n".join(lines) + "\n"


def _markdown_block(document: Document, block: Block) -> Iterator[str]:
    label = labels(document)
    if isinstance(block, Table):
        yield f"**{label[block.name]}** {_markdown(block.caption)}"
        titles = [_markdown(column.title) for column in block.columns]
        columns = [[_markdown(text) for text in texts] for texts in columns_of_text(block)]
        yield tables.markdown(titles, columns, sides(block))
        if block.note:
            yield translation(document.language).gettext("Note: ") + _markdown(block.note)
    elif isinstance(block, Figure):
        yield f"![{_markdown(block.alternative)}](figures/{block.name}.png)"
        yield f"**{label[block.name]}** {_markdown(block.caption)}"
    else:
        yield _markdown(block.words)


def _markdown(text: str) -> str:
    text = escape(text).strip().translate(_MARKDOWN)
    # No address becomes a link by itself.
    text = re.sub(r"(?i)(?<=www)\.", "&#46;", text.replace("://", "&#58;//"))
    return re.sub(r"^([-+=])|^(\d+)(?=[.)](?: |$))", lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\", text)


def latex(document: Document) -> str:
    """Every table, ready for ``\\input`` into a paper. ValueError as ``check`` says."""
    check(document)
    packages = "array,booktabs,ctex" if document.language == "zh" else "array,booktabs"
    head = [
        f"% {_latex(document.title)}",
        rf"% \usepackage{{{packages}}}; XeLaTeX or LuaLaTeX for other than Latin letters",
    ]
    return "\n".join(head) + "\n" + "".join(map(_latex_table, document.tables()))


def _latex_table(table: Table) -> str:
    import pandas as pd

    cells = [[_math(row[i], column) for row in table.rows] for i, column in enumerate(table.columns)]
    frame = pd.DataFrame(dict(enumerate(cells)), dtype=object)
    frame.columns = pd.Index([_latex(column.title) for column in table.columns])
    tabular = frame.to_latex(index=False, escape=False, column_format=_latex_columns(kinds(table)))
    return LATEX_TABLE.format(
        caption=_latex(table.caption),
        name=table.name,
        tabular=tabular.strip(),
        note=LATEX_NOTE.format(note=_latex(table.note)) if table.note else "",
    )


def _latex_columns(kinds_of_columns: list[str]) -> str:
    share = 0.5 / max(1, kinds_of_columns.count("long"))
    wrapped = rf">{{\raggedright\arraybackslash}}p{{{share:.2f}\linewidth}}"
    letters = {"number": "r", "interval": "r", "long": wrapped, "text": "l"}
    return "".join(letters[kind] for kind in kinds_of_columns)


def _latex(text: str) -> str:
    return escape(text).translate(_LATEX)


def _math(cell: Cell, column: Column) -> str:
    if not isinstance(cell, (Real, Interval)):
        return _latex(plain(cell, column))
    return f"${plain(cell, column)}$".replace(" [", r"\,[").replace("−", "-").replace("∞", r"\infty")


def csv_of(block: Table | Figure) -> str:
    """All numbers of a table or behind a figure, unrounded. An interval becomes three columns; text that a
    spreadsheet would run is quoted."""
    import pandas as pd

    if isinstance(block, Table):
        titles = [column.title for column in block.columns]
        columns = [[row[i] for row in block.rows] for i in range(len(titles))]
    else:
        titles = list(dict.fromkeys(name for row in block.data for name in row))
        columns = [[row.get(title) for row in block.data] for title in titles]
    parted = [part for title, cells in zip(titles, columns) for part in _with_ends(title, cells)]
    spelled_out = {i: [_spelled_out(cell) for cell in cells] for i, (_, cells) in enumerate(parted)}
    frame = pd.DataFrame(spelled_out, dtype=object)
    frame.columns = pd.Index([tables.spreadsheet_safe(escape(title)) for title, _ in parted])
    return tables.csv_text(frame)


def _with_ends(title: str, cells: list[Cell]) -> list[tuple[str, list[object]]]:
    """A column, or that of the values of its intervals and those of their ends."""
    if not any(isinstance(cell, Interval) for cell in cells):
        return [(title, list(cells))]
    three = [(*parts(cell), None, None)[:3] for cell in cells]
    titles = (title, f"{title} low", f"{title} high")
    return [(name, [cell[i] for cell in three]) for i, name in enumerate(titles)]


def _spelled_out(cell: object) -> object:
    return cell if cell is None or isinstance(cell, Real) else escape(cell)


def aligned(table: Table) -> str:
    """The table for a terminal, without its caption."""
    return tables.aligned([column.title for column in table.columns], columns_of_text(table), sides(table))
