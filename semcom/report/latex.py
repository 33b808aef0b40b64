r"""Tables for papers: LaTeX with booktabs and siunitx, that fit one column of 8 cm at \small, or else the
text's width, by construction."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from semcom.base.errors import escape
from semcom.report.catalogue import translation
from semcom.report.cells import NUMERIC, kinds, marks_of, note_of, stands_out, without_empty
from semcom.report.document import Document, Table, check
from semcom.report.latex_columns import GAP, SHADED, Typeset
from semcom.report.latex_fit import ALL, COLUMN, MOST, Fitted, Printed, fitted, has, selected
from semcom.report.latex_text import EAST_ASIA, needs_unicode, source, width

LINES, SPACE, SPREAD = 46.0, 0.5, 1.3
"""Of a table on a page; between rows of several lines; by how much ctex sets lines further apart."""

CAPTION_WORD = 100.0
"""Points from which a word of a caption or note may be broken."""


def files(document: Document, printed: Printed = ALL) -> dict[str, str]:
    r"""Ready for ``\input``: ``tables.tex``, the tables of a paper, and ``tables/NAME.tex``, each of the
    others. ValueError as ``check`` says."""
    check(document)
    written = {"tables.tex": _file(document, _of_paper(document), printed)}
    for table in document.tables():
        if file_of(document, table) not in written:
            written[file_of(document, table)] = _file(document, [table], printed)
    return written


def file_of(document: Document, table: Table) -> str:
    """The file that holds a table."""
    in_paper = any(table.name == other.name for other in _of_paper(document))
    return "tables.tex" if in_paper else f"tables/{table.name}.tex"


def _of_paper(document: Document) -> list[Table]:
    return [table for table in document.tables() if table.in_paper][:MOST]


def _file(document: Document, shown: Sequence[Table], printed: Printed) -> str:
    body = "".join(_table(document.language, table, printed) for table in shown)
    title = escape(document.title) if document.language == "zh" else _comment(document.title)
    return f"% {title}\n% {_packages(document.language, body)}\n{body}"


def _packages(language: str, body: str) -> str:
    colours = ",colortbl" if SHADED in body else ""
    packages = rf"\usepackage{{booktabs,siunitx{colours}}}"
    if language == "zh":
        return rf"{packages} \usepackage{{ctex}}, with XeLaTeX or LuaLaTeX"
    if EAST_ASIA.search(body):
        return rf"{packages} \usepackage[scheme=plain]{{ctex}}, with XeLaTeX or LuaLaTeX"
    if needs_unicode(body):
        return f"{packages}, with XeLaTeX or LuaLaTeX and a font that has all letters below"
    return packages


def _comment(words: str) -> str:
    return escape(words).encode("ascii", "backslashreplace").decode()


# --- its source


def _table(language: str, table: Table, printed: Printed) -> str:
    whole = without_empty(table)
    fit = fitted(selected(whole, printed))
    table = replace(fit.table, note=note_of(table, fit.table.columns))
    all_rows = len(table.frame)
    rows = _rows_that_fit(table, fit, LINES / SPREAD if language == "zh" else LINES)
    wide = fit.way.room > COLUMN
    environment = "table*" if wide else "table"
    legend = [*_snrs_left_out(language, whole, table, printed), *_legend(language, table, (rows, all_rows))]
    return "\n".join(
        [
            "",
            *_remarks(table, fit, wide),
            rf"\begin{{{environment}}}",
            r"  \centering\small\sloppy",
            *_settings(table),
            _caption(language, table, legend),
            rf"  \label{{tab:{table.name}}}",
            "\n  \\par\\medskip\n".join("\n".join(_tabular(panel, rows)) for panel in fit.panels),
            *_note(table),
            rf"\end{{{environment}}}",
            "",
        ]
    )


def _remarks(table: Table, fit: Fitted, wide: bool) -> Iterator[str]:
    widths = [sum(column.width + GAP for column in panel) - GAP for panel in fit.panels]
    place = r"the text's width, of two columns too" if wide else r"one column of 8 cm at \small"
    yield f"% {table.name}: {place}; about {max(widths):.0f} pt wide"
    if fit.dropped:
        left_out = "; ".join(map(_comment, fit.dropped))
        yield f"% not enough room for: {left_out} (in tables/{table.name}.csv)"


def _settings(table: Table) -> list[str]:
    """What siunitx and the columns are told, in this table alone."""
    lines = [r"  \setlength{\tabcolsep}{4pt}"]
    if not set(NUMERIC).isdisjoint(kinds(table)):
        options = "mode=text,group-minimum-digits=9,table-align-text-post=false"
        bold = ",detect-weight" if has(table, stands_out) else ""
        lines.append(rf"  \sisetup{{{options}{bold}}}")
    return lines


def _caption(language: str, table: Table, legend: Sequence[str]) -> str:
    title = source(table.caption, CAPTION_WORD)
    more = [words for words in (table.conditions, *legend) if words]
    if not more:
        return rf"  \caption{{{title}}}"
    between = "" if language == "zh" else " "
    told = source(between.join(_sentence(words, language) for words in more), CAPTION_WORD)
    # IEEEtran sets captions in small capitals: the title alone, so that the rest can be read.
    return "  \\caption[{" + title + "}]{" + title + "\n    \\normalfont " + told + "}"


def _is_marked(table: Table, mark: str) -> bool:
    return has(table, lambda cell: mark in marks_of(cell))


def _sentence(words: str, language: str) -> str:
    if words.endswith((".", "。", "!", "?", "！", "？")):
        return words
    words = words[0].upper() + words[1:] if words[0].isascii() else words
    return f"{words}。" if language == "zh" else f"{words}."


def _snrs_left_out(language: str, whole: Table, table: Table, printed: Printed) -> Iterator[str]:
    """Those of a table by SNR that were measured, and asked for where any were, and are not printed."""
    gone = [column.snr for name, column in whole.columns.items() if name not in table.columns]
    told = [f"{snr:g}" for snr in gone if snr is not None and (not printed.snrs or snr in printed.snrs)]
    if told:
        yield translation(language).gettext("Not shown: {snrs} dB.").format(snrs=", ".join(told))


def _legend(language: str, table: Table, rows: tuple[int, int]) -> Iterator[str]:
    """What a reader of the table must know that is not in its caption and conditions."""
    _ = translation(language).gettext
    said = " ".join([table.caption, table.conditions, table.note])
    if has(table, stands_out) and _("bold") not in said.lower():
        yield _("Bold: not to be told from the best of its column.")
    levels = [told for mark, told in (("*", "*: p < 0.05"), ("†", "†: p < 0.01")) if _is_marked(table, mark)]
    if levels and not any(told[0] in said for told in levels):
        yield _("{levels}, against the teacher's own pair, Holm-corrected.").format(levels="; ".join(levels))
    shown, there = rows
    if shown < there:
        yield _("The first {limit} of {all} rows.").format(limit=shown, all=there)


def _note(table: Table) -> list[str]:
    if not table.note:
        return []
    note = source(table.note, CAPTION_WORD)
    return [
        r"  \par\smallskip",
        rf"  \begin{{minipage}}{{\linewidth}}\footnotesize\raggedright {note}\end{{minipage}}",
    ]


def _rows_that_fit(table: Table, fit: Fitted, page: float) -> int:
    """How many rows a page of so many lines holds, one at least."""
    around = width(table.caption + table.conditions + table.note) / fit.way.room
    heads = 3 * len(fit.panels)
    room = (page - around - heads) / len(fit.panels)
    heights = _heights(fit)
    while len(heights) > 1 and sum(heights) > room:
        heights.pop()
    return len(heights)


def _heights(fit: Fitted) -> list[float]:
    """Of each row, in lines."""
    shown = [column for columns in fit.panels for column in columns]
    apart = SPACE if _several_lines(shown) else 0.0
    by_row = zip(*(column.rows for column in shown))
    return [apart + max(_height(column, row) for column, row in zip(shown, lines)) for lines in by_row]


def _height(column: Typeset, lines: Sequence[str]) -> float:
    """Of a cell, in lines: of a paragraph as many as its characters need, with something to spare."""
    is_paragraph = column.letters.startswith(">")
    return 1 + 1.3 * width(lines[0]) // column.width if is_paragraph else float(len(lines))


def _several_lines(columns: Sequence[Typeset]) -> bool:
    return any(len(lines) > 1 for column in columns for lines in column.rows)


def _tabular(columns: Sequence[Typeset], rows: int) -> Iterator[str]:
    letters = "".join(column.letters for column in columns)
    # What is shaded is shaded to the middle of the gap behind it.
    end = (
        "" if any(SHADED in line for column in columns for lines in column.rows for line in lines) else "@{}"
    )
    yield rf"  \begin{{tabular}}{{@{{}}{letters}{end}}}"
    yield r"    \toprule"
    yield rf"    {' & '.join(column.head for column in columns)} \\"
    yield r"    \midrule"
    several = _several_lines(columns)
    for row in range(rows):
        if several and row:
            yield r"    \addlinespace"
        blanks = [column.blank for column in columns]
        for line in zip_longest(*(column.rows[row] for column in columns)):
            shown = [blank if cell is None else cell for cell, blank in zip(line, blanks)]
            yield rf"    {' & '.join(shown)} \\"
    yield r"    \bottomrule"
    yield r"  \end{tabular}"
