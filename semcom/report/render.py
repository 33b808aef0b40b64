"""A ``Document`` to files: a page, Markdown, LaTeX, CSV and pictures. Knows neither models nor measures."""

import contextlib
from pathlib import Path

from semcom.base.output_files import write_atomically
from semcom.report import look, tables
from semcom.report.document import Document, Figure, Table, check
from semcom.report.formats import csv_of, markdown
from semcom.report.latex import ALL, Printed, file_of
from semcom.report.latex import files as latex_files
from semcom.report.page import html


def write(document: Document, folder: str | Path, printed: Printed = ALL) -> list[Path]:
    """Write the report into ``folder`` and return its files, ``report.html`` first: it is written last, so
    where it is, all are. printed: what is asked of the LaTeX tables.

    ValueError for a document that cannot be shown (see ``check``), before anything is written; SemcomError
    where a file cannot be written.
    """
    folder = Path(folder)
    check(document)
    images = pictures(document)
    page = html(document, images)
    files: dict[str, str | bytes] = {"report.md": markdown(document), **latex_files(document, printed)}
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
    for_papers = {"tables.tex": None} | {file_of(document, table): None for table in document.tables()}
    return ["report.html", "report.md", *for_papers, *of_tables, *figures]


def pictures(document: Document) -> dict[str, bytes]:
    """Of every figure the files that ``look.file_names`` names. The same figure gives the same bytes on one
    machine, whatever the user's matplotlib settings."""
    images: dict[str, bytes] = {}
    for figure in document.figures():
        images |= look.files(figure.name, figure.draw)
    return images
