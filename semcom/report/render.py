"""A ``Document`` to files: a page, Markdown, LaTeX, CSV and pictures. Knows neither models nor measures."""

import base64
import contextlib
from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup

from semcom.base.errors import escape
from semcom.base.output_files import write_atomically
from semcom.base.widths import columns
from semcom.report import look, tables
from semcom.report.catalogue import translation
from semcom.report.cells import halves, kinds, labels, plain
from semcom.report.document import Document, Figure, Table, check
from semcom.report.formats import csv_of, latex, markdown

INLINE_SVG = 150_000
"""Bytes up to which a page shows a figure as SVG; beyond that drawing it costs a browser more than a PNG
does."""

SHORT_HEAD = 12
"""Columns of a console up to which a head of a table stands on one line."""


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
    for folder_of, block in _with_rows(document):
        files[f"{folder_of}/{block.name}.csv"] = tables.csv_file(csv_of(block), document.language)
    files |= {f"figures/{name}": image for name, image in images.items()}
    with contextlib.suppress(OSError):  # an earlier report's page must not vouch for half of this one
        (folder / "report.html").unlink(missing_ok=True)
    for name, content in (files | {"report.html": page}).items():
        write_atomically(folder / name, content)
    return [folder / name for name in ("report.html", *files)]


def _with_rows(document: Document) -> list[tuple[str, Table | Figure]]:
    """What has a CSV, and the folder of it."""
    return [("tables", table) for table in document.tables()] + [
        ("figures", figure) for figure in document.figures()
    ]


def names(document: Document) -> list[str]:
    """Of the files that ``write`` makes."""
    figures = [
        f"figures/{name}"
        for figure in document.figures()
        for name in (f"{figure.name}.csv", *look.file_names(figure.name))
    ]
    of_tables = [f"tables/{table.name}.csv" for table in document.tables()]
    return ["report.html", "report.md", "tables.tex", *of_tables, *figures]


def pictures(document: Document) -> dict[str, bytes]:
    """Of every figure the files that ``look.file_names`` names. The same figure gives the same bytes on one
    machine, whatever the user's matplotlib settings."""
    images: dict[str, bytes] = {}
    for figure in document.figures():
        images |= look.files(figure.name, figure.draw)
    return images


def html(document: Document, images: Mapping[str, bytes]) -> str:
    """One page that needs nothing else: no script, no request to anywhere. images: as ``pictures`` returns
    them; KeyError where one lacks.

    ValueError as ``check`` says.
    """
    check(document)
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
        label=labels(document),
        zip=zip,
        kinds=kinds,
        is_short=lambda title: columns(title) <= SHORT_HEAD,
        halves=halves,
        plain=plain,
        pixels=lambda figure: look.pixels(images[f"{figure.name}.svg"]),
        image=lambda figure: _image(figure, images),
        svg=lambda figure: _uri("image/svg+xml", images[f"{figure.name}.svg"]),
        csv=_csv_for_a_spreadsheet,
    )


def _image(figure: Figure, images: Mapping[str, bytes]) -> Markup:
    svg = images[f"{figure.name}.svg"]
    if len(svg) <= INLINE_SVG:
        return _uri("image/svg+xml", svg)
    return _uri("image/png", images[f"{figure.name}.png"])


def _csv_for_a_spreadsheet(block: Table | Figure) -> Markup:
    # Whatever its language: what is taken from the page is meant for a spreadsheet.
    return _uri("text/csv;charset=utf-8", csv_of(block).encode("utf-8-sig", "backslashreplace"))


def _uri(kind: str, content: bytes) -> Markup:
    # Nothing in it that HTML must escape.
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")
