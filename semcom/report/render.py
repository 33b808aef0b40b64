"""A ``Document`` to files: HTML, Markdown, LaTeX, CSV, pictures, and to a console. Knows neither models nor
measures.

Every string may be a stranger's: each format shows it as text, control and bidi characters spelled out.
"""

import base64
import contextlib
import csv
import io
import math
import re
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from semcom.base.errors import escape
from semcom.base.output_files import write_atomically
from semcom.evaluation.intervals import Interval
from semcom.report import tables
from semcom.report.catalogue import translation
from semcom.report.document import Cell, Column, Document, Figure, Table
from semcom.report.settings import LANGUAGES

LONG = 28
"""Characters from which a text cell may wrap."""

NUMERIC = ("number", "interval")

INLINE_SVG = 150_000
"""Bytes up to which a page shows a figure as SVG; beyond that drawing it costs a browser more than a PNG
does."""

CSS_DPI = 96  # what "px" means in HTML
PNG_DPI = 2 * CSS_DPI

CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
)


def write(document: Document, folder: str | Path) -> list[Path]:
    """Write the report into ``folder`` and return its files, ``report.html`` first: it is written last, so
    where it is, all are.

    ValueError for a document that cannot be shown (see ``check``), before anything is written; SemcomError
    where a file cannot be written.
    """
    folder = Path(folder)
    check(document)
    images = pictures(document)
    page = html(document, images)
    files: dict[str, str | bytes] = {"report.md": markdown(document), "tables.tex": latex(document)}
    files |= {f"tables/{table.name}.csv": csv_of(table) for table in document.tables()}
    files |= {f"figures/{figure.name}.csv": csv_of(figure) for figure in document.figures()}
    files |= {f"figures/{name}": image for name, image in images.items()}
    with contextlib.suppress(OSError):  # an earlier report's page must not vouch for half of this one
        (folder / "report.html").unlink(missing_ok=True)
    for name, content in (files | {"report.html": page}).items():
        write_atomically(folder / name, content)
    return [folder / name for name in ("report.html", *files)]


def check(document: Document) -> None:
    """ValueError for an unknown language, a name that is no plain file name or stands twice, a row of wrong
    length, a NaN."""
    if document.language not in LANGUAGES:
        raise ValueError(f"language {document.language!r}: allowed are {', '.join(LANGUAGES)}")
    seen = set()
    for kind, block in [("section", s) for s in document.sections] + [
        ("block", b) for b in (*document.tables(), *document.figures())
    ]:
        if not re.fullmatch("[a-z0-9_]+", block.name) or (kind, block.name) in seen:
            raise ValueError(
                f"{type(block).__name__.lower()} {block.name!r}: names are of a-z, 0-9 and _, and stand once"
            )
        seen.add((kind, block.name))
    for table in document.tables():
        if any(len(row) != len(table.columns) for row in table.rows):
            raise ValueError(
                f"table {table.name}: a row has not {len(table.columns)} cells, as its columns have"
            )
    for block in (*document.tables(), *document.figures()):
        rows = block.rows if isinstance(block, Table) else [row.values() for row in block.data]
        if any(
            isinstance(part, Real) and part != part for row in rows for cell in row for part in _parts(cell)
        ):
            raise ValueError(
                f"{type(block).__name__.lower()} {block.name}: NaN is no number to show; give None for what is missing"
            )


def pictures(document: Document) -> dict[str, bytes]:
    """NAME.png and NAME.svg of every figure. The same figure gives the same bytes on one machine, whatever
    the user's matplotlib settings."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in CHINESE_FONTS if name in installed)]
    images = {}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.family": fonts, "svg.hashsalt": "semcom"})
        for figure in document.figures():
            canvas = Canvas(figsize=figure.size, layout="constrained")
            figure.draw(canvas)
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
                buffer = io.BytesIO()
                canvas.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
                images[f"{figure.name}.{kind}"] = buffer.getvalue()
    return images


def html(document: Document, images: Mapping[str, bytes]) -> str:
    """One page that needs nothing else: no script, no request to anywhere. images: as ``pictures`` returns
    them; KeyError where one lacks.

    ValueError as ``check`` says.
    """
    check(document)

    def image(figure: Figure) -> Markup:
        svg = images[f"{figure.name}.svg"]
        return (
            _uri("image/svg+xml", svg)
            if len(svg) <= INLINE_SVG
            else _uri("image/png", images[f"{figure.name}.png"])
        )

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("semcom.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else escape(value),
    )
    return environment.get_template("report.html.jinja").render(
        _=translation(document.language).gettext,
        document=document,
        kind=lambda block: type(block).__name__,
        label=_labels(document),
        zip=zip,
        kinds=_kinds,
        halves=_halves,
        plain=_plain,
        pixels=lambda inches: round(CSS_DPI * inches),
        image=image,
        svg=lambda figure: _uri("image/svg+xml", images[f"{figure.name}.svg"]),
        # The mark at its beginning makes Excel read UTF-8 (Chinese!) instead of the system's old code page.
        # The files beside the page are for programs and have none.
        csv=lambda block: _uri(
            "text/csv;charset=utf-8", csv_of(block).encode("utf-8-sig", "backslashreplace")
        ),
    )


def _uri(kind: str, content: bytes) -> Markup:
    return Markup(
        f"data:{kind};base64,{base64.b64encode(content).decode()}"
    )  # nothing in it that HTML must escape


def _labels(document: Document) -> dict[str, str]:
    """Name of a table or figure -> what it is called, numbered apart."""
    _ = translation(document.language).gettext
    labels = {table.name: _("Table {}.").format(n) for n, table in enumerate(document.tables(), 1)}
    return labels | {figure.name: _("Figure {}.").format(n) for n, figure in enumerate(document.figures(), 1)}


def _parts(cell: Cell) -> tuple[Any, ...]:
    return (cell.value, cell.low, cell.high) if isinstance(cell, Interval) else (cell,)


def _kinds(table: Table) -> list[str]:
    """Of each column: number, interval (numbers, some with one), text, or long (text that may wrap)."""
    kinds = []
    for i, column in enumerate(table.columns):
        given = [row[i] for row in table.rows if row[i] is not None]
        if given and all(isinstance(cell, (Real, Interval)) for cell in given):
            kinds.append("interval" if any(isinstance(cell, Interval) for cell in given) else "number")
        else:
            kinds.append("long" if any(len(_plain(cell, column)) >= LONG for cell in given) else "text")
    return kinds


def _number(value: Real, places: int | None) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return (str(value) if places is None else format(value, f"z.{places}f")).replace(
        "-", "−"
    )  # z: no "-0.00"


def _halves(cell: Cell, column: Column) -> tuple[str, str]:
    """A cell's text and, of an interval, its ends'."""
    if isinstance(cell, Interval):
        value, low, high = (_number(part, column.places) for part in _parts(cell))
        return value, f"[{low}, {high}]"
    return "–" if cell is None else _number(cell, column.places) if isinstance(cell, Real) else cell, ""


def _plain(cell: Cell, column: Column) -> str:
    return " ".join(filter(None, _halves(cell, column)))


def csv_of(block: Table | Figure) -> str:
    """All numbers of a table or behind a figure, unrounded. An interval becomes three columns; text that a
    spreadsheet would run is quoted."""
    if isinstance(block, Table):
        titles, rows = [column.title for column in block.columns], block.rows
    else:
        titles = list(dict.fromkeys(name for row in block.data for name in row))
        rows = [[row.get(title) for title in titles] for row in block.data]
    split = [any(isinstance(row[i], Interval) for row in rows) for i in range(len(titles))]
    header = [
        part
        for title, three in zip(titles, split)
        for part in ([title, f"{title} low", f"{title} high"] if three else [title])
    ]

    def cells(row):
        for cell, three in zip(row, split):
            yield from (*_parts(cell), None, None)[:3] if three else (cell,)

    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(
        [
            tables.spreadsheet_safe(cell if isinstance(cell, Real) or cell is None else escape(cell))
            for cell in row
        ]
        for row in (header, *map(cells, rows))
    )
    return buffer.getvalue()


def markdown(document: Document) -> str:
    """The report in GitHub's Markdown, its figures beside it. ValueError as ``check`` says."""
    check(document)
    _, label, shown = translation(document.language).gettext, _labels(document), _markdown
    summary = _("Summary")
    lines = [f"# {shown(document.title)}", f"**{summary}**", *map(shown, document.summary)]
    for section in document.sections:
        lines.append(f"## {shown(section.title)}")
        for block in section.blocks:
            if isinstance(block, Table):
                lines.append(f"**{label[block.name]}** {shown(block.caption)}")
                lines.append(
                    _pipes(
                        [column.title for column in block.columns],
                        _kinds(block),
                        [
                            [_plain(cell, column) for cell, column in zip(row, block.columns)]
                            for row in block.rows
                        ],
                    )
                )
                lines += [_("Note: ") + shown(block.note)] if block.note else []
            elif isinstance(block, Figure):
                lines.append(f"![{shown(block.alternative)}](figures/{block.name}.png)")
                lines.append(f"**{label[block.name]}** {shown(block.caption)}")
            else:
                lines.append(shown(block.words))
    provenance = _("How this report was made")
    lines += [
        f"## {provenance}",
        _pipes([_("Item"), _("Value")], ["text", "text"], document.provenance),
    ]
    return "\n\n".join(lines) + "\n"


def _pipes(titles, kinds, rows) -> str:
    rule = ["---:" if kind in NUMERIC else ":---" for kind in kinds]
    return "\n".join(
        f"| {' | '.join(row)} |"
        for row in [map(_markdown, titles), rule, *(map(_markdown, row) for row in rows)]
    )


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


def _markdown(text: str) -> str:
    text = escape(text).strip().translate(_MARKDOWN)
    text = re.sub(
        r"(?i)(?<=www)\.", "&#46;", text.replace("://", "&#58;//")
    )  # no address becomes a link by itself
    return re.sub(r"^([-+=])|^(\d+)(?=[.)](?: |$))", lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\", text)


def latex(document: Document) -> str:
    """Every table, ready for ``\\input`` into a paper. ValueError as ``check`` says."""
    check(document)
    packages = "array,booktabs,ctex" if document.language == "zh" else "array,booktabs"
    lines = [
        f"% {_latex(document.title)}",
        rf"% \usepackage{{{packages}}}; XeLaTeX or LuaLaTeX for other than Latin letters",
    ]
    for table in document.tables():
        kinds = _kinds(table)
        wrapped = rf">{{\raggedright\arraybackslash}}p{{{0.5 / max(1, kinds.count('long')):.2f}\linewidth}}"
        letters = "".join("r" if kind in NUMERIC else wrapped if kind == "long" else "l" for kind in kinds)
        lines += [
            "",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_latex(table.caption)}}}",
            rf"  \label{{tab:{table.name}}}",
            rf"  \begin{{tabular}}{{{letters}}}",
            r"    \toprule",
            rf"    {' & '.join(_latex(column.title) for column in table.columns)} \\",
            r"    \midrule",
        ]
        lines += [
            rf"    {' & '.join(_math(cell, column) for cell, column in zip(row, table.columns))} \\"
            for row in table.rows
        ]
        lines += [r"    \bottomrule", r"  \end{tabular}"]
        lines += (
            [
                rf"  \par\smallskip\begin{{minipage}}{{\linewidth}}\footnotesize {_latex(table.note)}\end{{minipage}}"
            ]
            if table.note
            else []
        )
        lines.append(r"\end{table}")
    return "\n".join(lines) + "\n"


def _latex(text: str) -> str:
    return escape(text).translate(_LATEX)


def _math(cell: Cell, column: Column) -> str:
    if not isinstance(cell, (Real, Interval)):
        return _latex(_plain(cell, column))
    return f"${_plain(cell, column)}$".replace(" [", r"\,[").replace("−", "-").replace("∞", r"\infty")


def aligned(table: Table) -> str:
    """The table for a terminal, without its caption."""
    rows = [
        [column.title for column in table.columns],
        *([_plain(cell, column) for cell, column in zip(row, table.columns)] for row in table.rows),
    ]
    columns = [[escape(text) for text in column] for column in zip(*rows)]
    for kind, texts in zip(_kinds(table), columns):
        if kind in NUMERIC:
            texts[:] = [
                " " * (max(map(tables.text_width, texts)) - tables.text_width(text)) + text for text in texts
            ]
    header, *body = zip(*columns)
    return tables.table(body, header)
