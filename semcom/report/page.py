"""A ``Document`` as one HTML page that needs nothing else: no script, no request to anywhere."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass

import jinja2
import markupsafe
from markupsafe import Markup

from semcom.base.errors import escape
from semcom.report import look
from semcom.report.catalogue import translation
from semcom.report.cells import labels
from semcom.report.document import Document, Figure, Table, check
from semcom.report.formats import csv_of
from semcom.report.latex import file_of
from semcom.report.page_tables import layout_of

INLINE_SVG = 150_000
"""Bytes up to which a page shows a figure as SVG; beyond that drawing it costs a browser more than a PNG
does."""

PICTURES_BYTES = 1_900_000
"""Up to which each figure is in a page once more for the dark and for phones: a page can be sent by mail."""
PICTURES_BESIDE = {
    "SVG": ".svg",
    "PNG": ".png",
    f"PDF {look.COLUMN.width:g} in": f"{look.suffix(look.COLUMN)}.pdf",
    f"PDF {look.TEXT.width:g} in": f"{look.suffix(look.TEXT)}.pdf",
}
"""Files of a figure that a page leads to: how they are called, and the end of their names."""
PHONES = "(max-width: 37.5rem)"
DARK = "screen and (prefers-color-scheme: dark)"
MEDIA = {
    look.PHONE_DARK: f"{DARK} and {PHONES}",
    look.PAGE_DARK: DARK,
    look.PHONE: f"screen and {PHONES}",
    look.PAGE: "",
}
"""Of each place that a page has a picture for, who sees it."""

_TORN_APART = re.compile(r"(?<=[0-9]) (?=\[[−0-9]|dB\b|%)|(?<=[0-9∞],) (?=[−0-9.∞]+\])")
"""Spaces at which a line must not end."""


@dataclass(frozen=True)
class Picture:
    """media: who sees it, as CSS has it; nothing is all. width, height: in CSS's pixels."""

    media: str
    address: Markup
    width: int
    height: int


@dataclass(frozen=True)
class File:
    """What a link leads to. is_within: whether the page holds it."""

    kind: str
    name: str
    address: str | Markup
    is_within: bool = False


def html(document: Document, images: Mapping[str, bytes]) -> str:
    """images: as ``render.pictures`` returns them; KeyError where one lacks.

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
    label = labels(document)
    return environment.get_template("report.html.jinja").render(
        _=translation(document.language).gettext,
        document=document,
        kind=lambda block: type(block).__name__,
        label=label,
        named={name: text.rstrip(".：") for name, text in label.items()},
        layout_of=layout_of,
        pictures_of=_pictures_of_all(document, images),
        files=lambda block: _files(document, block),
        together=_together,
    )


def _together(text: str) -> Markup:
    """A number on one line with its interval and its unit."""
    return Markup(_TORN_APART.sub("&nbsp;", str(markupsafe.escape(escape(text)))))


def _pictures_of_all(document: Document, images: Mapping[str, bytes]) -> dict[str, list[Picture]]:
    """Of each figure, the first ones for every place as long as there is room."""
    shown, room = {}, PICTURES_BYTES
    for figure in document.figures():
        pictures = _pictures(figure, images)
        room -= sum(len(picture.address) for picture in pictures)
        shown[figure.name] = pictures if room > 0 else pictures[-1:]
    return shown


def _pictures(figure: Figure, images: Mapping[str, bytes]) -> list[Picture]:
    """The first whose medium is the reader's is shown; the last is for all."""
    return [
        picture
        for place, media in MEDIA.items()
        if (picture := _picture(figure.name + look.suffix(place), media, images))
    ]


def _picture(name: str, media: str, images: Mapping[str, bytes]) -> Picture | None:
    """None of a place that can do without its own."""
    svg = images[f"{name}.svg"]
    width, height = look.pixels(svg)
    if len(svg) <= INLINE_SVG:
        return Picture(media, _uri("image/svg+xml", slim(svg)), width, height)
    if media:
        return None
    return Picture(media, _uri("image/png", images[f"{name}.png"]), width, height)


def slim(svg: bytes) -> bytes:
    """The same picture in fewer bytes: without comments and metadata, to a hundredth of a
    point."""
    bare = re.sub(rb"<!--.*?-->|<metadata>.*?</metadata>|(?<=>)\s+(?=<)", b"", svg, flags=re.DOTALL)
    # A scale has small numbers whose every digit counts.
    return re.sub(rb"(scale\([^)]*\))|(?<=[0-9]\.[0-9]{2})[0-9]+", rb"\1", bare)


def _files(document: Document, block: Table | Figure) -> list[File]:
    """The numbers go with the page wherever it is sent; pictures and LaTeX lie beside it."""
    # Whatever its language, what is taken from the page is meant for a spreadsheet: it has its mark.
    numbers = _uri("text/csv;charset=utf-8", csv_of(block).encode("utf-8-sig", "backslashreplace"))
    files = [File("CSV", f"{block.name}.csv", numbers, is_within=True)]
    if isinstance(block, Figure):
        beside = {kind: f"{block.name}{ending}" for kind, ending in PICTURES_BESIDE.items()}
        files += [File(kind, name, f"figures/{name}") for kind, name in beside.items()]
    else:
        source = file_of(document, block)
        files.append(File("LaTeX", source.split("/")[-1], source))
    return files


def _uri(kind: str, content: bytes) -> Markup:
    # Nothing in it that HTML must escape.
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")
