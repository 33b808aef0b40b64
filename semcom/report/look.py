"""How pictures look: the places that they are drawn for, one palette, one style.

A colour stands for one curve of a panel and never for two; with it goes a marker, so that a picture says the
same to the colour-blind and in print without colours.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from semcom.report import fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Place:
    """Where a picture is looked at. width: in inches. lines: curves at most in a panel. dark: on a dark
    ground. panels: at most beside each other. height: of a panel, in inches. points: of the letters."""

    name: str
    width: float
    lines: int
    dark: bool = False
    panels: int = 3
    height: float = 2.6
    points: float = 9.0

    def in_the_dark(self) -> "Place":
        return replace(self, name=f"{self.name}-dark", dark=True)


PAGE = Place("page", 7.5, 6)
PAGE_DARK = PAGE.in_the_dark()
PHONE = Place("phone", 3.4, 4, panels=1, height=2.3, points=8.5)
PHONE_DARK = PHONE.in_the_dark()
COLUMN = Place("column", 3.5, 6, panels=1, height=1.9, points=8.0)
"""Of a paper in two columns, as IEEE prints it."""
TEXT = Place("text", 7.16, 6, height=2.2, points=8.0)
"""Both columns of such a paper."""

Draw = Callable[[Place], "Figure"]

PNG_DPI = 192
"""Twice what "px" means in HTML."""
COLOURS = ("#1f5fa8", "#c8501e", "#2f8f4e", "#8a4fa3", "#b08a00", "#5b5b5b", "#d0447f", "#1a9ba1")
MARKERS = "os^vD*Pxhp"


@dataclass(frozen=True)
class Inks:
    """Colours of one ground. strong: of the teacher and what is written. faint: of yardsticks."""

    ground: str
    strong: str
    faint: str
    hair: str
    colours: tuple[str, ...]


LIGHT = Inks("#ffffff", "#1c1c1e", "#767b82", "#d9dce0", COLOURS)
DARK = Inks("#16181b", "#e3e5e8", "#9aa0a8", "#363a40", COLOURS)


def inks(place: Place) -> Inks:
    return DARK if place.dark else LIGHT


@contextmanager
def style(place: Place) -> Iterator[None]:
    """Everything about a picture that is the same in all of one place, whatever the user's settings of
    matplotlib."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_settings(place))
        yield


def _settings(place: Place) -> Any:
    ink = inks(place)
    return {
        "font.family": ["DejaVu Sans"],
        "font.size": place.points,
        "axes.titlesize": place.points,
        "axes.labelsize": place.points,
        "xtick.labelsize": place.points - 1,
        "ytick.labelsize": place.points - 1,
        "legend.fontsize": place.points - 0.5,
        "legend.frameon": False,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.linewidth": 0.5,
        "axes.linewidth": 0.7,
        "lines.linewidth": 1.5,
        "lines.markersize": 4,
        "figure.facecolor": ink.ground,
        "savefig.facecolor": ink.ground,
        "axes.facecolor": ink.ground,
        "text.color": ink.strong,
        "axes.labelcolor": ink.strong,
        "axes.edgecolor": ink.faint,
        "xtick.color": ink.faint,
        "xtick.labelcolor": ink.strong,
        "ytick.color": ink.faint,
        "ytick.labelcolor": ink.strong,
        "grid.color": ink.hair,
        "svg.hashsalt": "semcom",
        # Type 3 fonts, which are matplotlib's usual, are refused by IEEE.
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
    }


def canvas(place: Place, width: float | None = None, height: float | None = None) -> "Figure":
    """An empty figure, of the place's width unless it needs another. Without pyplot, whose backend is the
    user's choice: a notebook's pictures stay in the notebook."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width or place.width, height or place.height), layout="constrained")


def panels(place: Place, number: int, height: float | None = None) -> "tuple[Figure, list[Axes]]":
    """A figure of so many panels, as many side by side as the place has room for. height: of one, in
    inches."""
    rows = -(-number // place.panels)
    columns = -(-number // rows)
    figure = canvas(place, height=rows * (height or place.height))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[number:]:
        unused.remove()
    return figure, axes[:number]


METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What would make two pictures of the same numbers differ."""


def pictures(draw: Draw, place: Place, *kinds: str) -> list[bytes]:
    """What ``draw`` makes for a place, as files of these kinds: png, svg, pdf. The same numbers give the same
    bytes on one machine."""
    with style(place):
        figure = draw(place)
        return [fonts.saved(figure, format=kind, dpi=PNG_DPI, metadata=METADATA[kind]) for kind in kinds]


KINDS = (
    (PAGE, ("png", "svg")),
    (PAGE_DARK, ("svg",)),
    (PHONE, ("svg",)),
    (PHONE_DARK, ("svg",)),
    (COLUMN, ("pdf",)),
    (TEXT, ("pdf",)),
)
"""Of a report's figure: for which places it is drawn, as files of which kinds."""


def file_names(name: str) -> list[str]:
    """Of a report's figure ``name``: ``NAME.png``, ``NAME.svg``, ``NAME-dark.svg``, …, ``NAME-text.pdf``."""
    return [f"{name}{suffix(place)}.{kind}" for place, kinds in KINDS for kind in kinds]


def suffix(place: Place) -> str:
    """Of a file's name, before its ending."""
    return f"-{place.name}".removeprefix("-page")


def files(name: str, draw: Draw) -> dict[str, bytes]:
    """By the names of ``file_names``."""
    made = [image for place, kinds in KINDS for image in pictures(draw, place, *kinds)]
    return dict(zip(file_names(name), made))


def pixels(svg: bytes) -> tuple[int, int]:
    """Width and height of a picture on a page. SVG has them in points, of which a pixel is 3/4."""
    return _in_pixels(svg, b"width"), _in_pixels(svg, b"height")


def _in_pixels(svg: bytes, side: bytes) -> int:
    found = re.search(rb' %s="([0-9.]+)pt"' % side, svg[: svg.find(b"viewBox")])
    return round(float(found[1]) * 4 / 3) if found else 0
