"""How pictures look: the places that they are drawn for, one palette, one style.

A colour stands for one curve of a panel and never for two; with it goes a marker, so that a picture says the
same to the colour-blind and in print without colours.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcom.base.errors import escape
from semcom.base.widths import columns
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
    beside: float = 1.3

    def in_the_dark(self) -> "Place":
        return replace(self, name=f"{self.name}-dark", dark=True)


PAGE = Place("page", 7.5, 6)
PAGE_DARK = PAGE.in_the_dark()
PHONE = Place("phone", 3.4, 4, panels=1, height=2.3, points=8.5, beside=1.0)
PHONE_DARK = PHONE.in_the_dark()
COLUMN = Place("column", 3.5, 6, panels=1, height=1.9, points=8.0, beside=1.1)
"""Of a paper in two columns, as IEEE prints it."""
TEXT = Place("text", 7.16, 6, height=2.2, points=8.0, beside=1.2)
"""Both columns of such a paper."""

PRINT = COLUMN, TEXT
Draw = Callable[[Place], "Figure"]

PNG_DPI = 192
"""Twice what "px" means in HTML."""
MARKERS = "os^vDP"


@dataclass(frozen=True)
class Inks:
    """Colours of one ground. strong: of the teacher and what is written. faint: of yardsticks."""

    ground: str
    strong: str
    faint: str
    hair: str
    colours: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return self.ground, self.strong, self.faint, self.hair, *self.colours


LIGHT = Inks(
    ground="#ffffff",
    strong="#1c1c1e",
    faint="#767b82",
    hair="#d9dce0",
    colours=("#1c63ca", "#c98050", "#145434", "#8a0e67", "#259ec8", "#75670f"),
)
DARK = Inks(
    ground="#16181b",
    strong="#e3e5e8",
    faint="#9aa0a8",
    hair="#363a40",
    colours=("#7293fe", "#d96a12", "#4f8f66", "#b06cb4", "#4ed5f8", "#f9d64c"),
)
"""Blue, orange, green, purple, light blue, olive or yellow, after Okabe and Ito (2008), moved until any two,
and each and the greys, are apart to protanopes, deuteranopes and tritanopes too (CIEDE2000 of 12 and more by
Machado, Oliveira and Fernandes 2009), and each is three times as light or dark as its ground."""


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
        # Hinted letters are wider in points at one resolution than at another, and a layout holds at one.
        "text.hinting": "none",
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
    in_a_row = -(-number // rows)
    figure = canvas(place, height=rows * (height or place.height))
    axes = list(figure.subplots(rows, in_a_row, squeeze=False).flat)
    for unused in axes[number:]:
        unused.remove()
    return figure, axes[:number]


def lay_out(figure: "Figure") -> None:
    """Give all that is in it its place, as at a first drawing but without drawing."""
    with fonts.quiet():
        fonts.fit(figure)
        engine = figure.get_layout_engine()
        if engine is not None and figure.axes:
            engine.execute(figure)


def thin_ticks(figure: "Figure") -> None:
    """Leave out every other number below an axis where they would touch; one in bold stays, and so do names,
    which are turned."""
    lay_out(figure)
    for axis in figure.axes:
        ticks = [tick for tick in axis.get_xticklabels() if tick.get_text() and not tick.get_rotation()]
        boxes = [tick.get_window_extent() for tick in ticks]
        if any(right.x0 < left.x1 + 0.3 * left.height for left, right in zip(boxes, boxes[1:])):
            kept = next((n for n, tick in enumerate(ticks) if tick.get_fontweight() == "bold"), 0) % 2
            for tick in ticks[1 - kept :: 2]:
                tick.set_visible(False)


def height_of(axis: "Axes") -> float:
    """Inches of its cell in the figure."""
    spec = axis.get_subplotspec()
    whole = axis.figure.bbox.height / axis.figure.dpi
    return whole / spec.get_gridspec().nrows if spec else whole


def width_of(axis: "Axes") -> float:
    """Inches of its cell in the figure."""
    spec = axis.get_subplotspec()
    whole = axis.figure.bbox.width / axis.figure.dpi
    return whole / spec.get_gridspec().ncols if spec else whole


def label(text: object) -> str:
    """A name for a picture: "$" would start mathematics in what may be a stranger's file name."""
    return escape(text).replace("$", r"\$")


LETTER = 0.58 / 72
"""Inches of a letter of one point, on average; those of East Asia are two."""


def wrapped(text: object, inches: float, points: float) -> str:
    """A ``label`` in lines of about so many inches."""
    room = max(6, int(inches / (LETTER * points)))
    lines = [""]
    for word in re.findall(r"[^\s，、/]+[，、/]?\s*|\s+|[，、/]", escape(text)):
        if lines[-1] and columns(lines[-1] + word.rstrip()) > room:
            lines.append("")
        lines[-1] += word
        while columns(lines[-1].rstrip()) > room + 4:
            kept = _fitting(lines[-1], room)
            lines[-1:] = [lines[-1][:kept], lines[-1][kept:]]
    return "\n".join(label(line.rstrip()) for line in lines)


def in_halves(text: str, inches: float, points: float) -> str:
    """``wrapped``, but before the unit where that is behind a comma and both halves have room."""
    room = inches / (LETTER * points)
    for comma in (", ", "，"):
        before, found, after = text.rpartition(comma)
        halves = before + comma.rstrip(), after
        if found and columns(text) > room >= max(map(columns, halves)):
            return "\n".join(map(label, halves))
    return wrapped(text, inches, points)


def _fitting(text: str, room: int) -> int:
    """How many of its letters stand in ``room`` columns."""
    return next(n for n in range(len(text), 0, -1) if n == 1 or columns(text[:n]) <= room)


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
        lay_out(figure)
        figure.set_layout_engine("none")  # which would do the same again at each saving
        return [fonts.saved(figure, format=kind, dpi=PNG_DPI, metadata=METADATA[kind]) for kind in kinds]


KINDS = ((PAGE, ("png", "svg")), (PHONE, ("svg",)), (COLUMN, ("pdf",)), (TEXT, ("pdf",)))
"""Of a report's figure: for which places it is drawn, as files of which kinds; each SVG is there dark too."""


def file_names(name: str) -> list[str]:
    """Of a report's figure ``name``: ``NAME.png``, ``NAME.svg``, ``NAME-dark.svg``, …, ``NAME-text.pdf``."""
    made_as = [(place, kind) for place, kinds in KINDS for kind in kinds]
    return [f"{name}{suffix(on)}.{kind}" for place, kind in made_as for on in _grounds(place, kind)]


def _grounds(place: Place, kind: str) -> list[Place]:
    return [place, place.in_the_dark()] if kind == "svg" else [place]


def suffix(place: Place) -> str:
    """Of a file's name, before its ending."""
    return f"-{place.name}".removeprefix("-page")


def files(name: str, draw: Draw) -> dict[str, bytes]:
    """By the names of ``file_names``."""
    made: list[bytes] = []
    for place, kinds in KINDS:
        for kind, image in zip(kinds, pictures(draw, place, *kinds)):
            made += [image, in_the_dark(image)] if kind == "svg" else [image]
    return dict(zip(file_names(name), made))


def in_the_dark(svg: bytes) -> bytes:
    """The same on a dark ground: all its colours are ``LIGHT``'s, and drawing it again takes longer."""
    pairs = zip(LIGHT.all, DARK.all)
    dark = {light.encode(): dark.encode() for light, dark in pairs}
    return re.sub(b"#[0-9a-f]{6}", lambda found: dark.get(found[0], found[0]), svg)


def for_print(picture: str | Path) -> list[Path]:
    """Where the PDFs of a PNG go that stands by itself: ``NAME-column.pdf`` and ``NAME-text.pdf``."""
    path = Path(picture)
    return [path.with_name(f"{path.stem}{suffix(place)}.pdf") for place in PRINT]


def with_print(*names: str) -> tuple[str, ...]:
    """Names of pictures, each with those of its PDFs."""
    return tuple(one for name in names for one in (name, *map(str, for_print(name))))


def pixels(svg: bytes) -> tuple[int, int]:
    """Width and height of a picture on a page. SVG has them in points, of which a pixel is 3/4."""
    return _in_pixels(svg, b"width"), _in_pixels(svg, b"height")


def _in_pixels(svg: bytes, side: bytes) -> int:
    found = re.search(rb' %s="([0-9.]+)pt"' % side, svg[: svg.find(b"viewBox")])
    return round(float(found[1]) * 4 / 3) if found else 0
