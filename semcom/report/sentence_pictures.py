"""Geometry of the pictures of one sentence, as what SVG is made of: symbols, attention, its fate over SNR.

Units are CSS pixels; x goes right, y goes down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FACE = 240.0
"""Side of a constellation."""
SHARE_SHOWN = 0.99
"""Of the symbols, within the edge of a constellation; those beyond stand at it."""
ARRIVALS = 400
"""Symbols of which a constellation shows where they went, at most."""
FAINTEST = 0.03
"""Attention that is drawn; the rest is ground."""
CELLS_WIDE, WIDEST_CELL, NARROWEST_CELL = 300.0, 18.0, 5.0
NAMED_CELL = 9.0
"""Where cells are narrower, symbols have no names but those that a pointer shows."""
LETTER = 5.4
"""Width of a letter of a name beside cells."""
LONGEST_NAME = 12
CURVE_WIDTH, CURVE_HEIGHT = 360.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 34.0, 10.0, 10.0, 34.0
"""Room beside the curves for the axes."""


@dataclass(frozen=True)
class Constellation:
    """Complex symbols in a square of side ``FACE``, as SVG paths: sent and received ones as points (lines of
    no length), and a line from each to where it went. unit: radius of power 1."""

    sent: str
    received: str
    ways: str
    unit: float


def constellation(signal: np.ndarray, received: np.ndarray) -> Constellation:
    """signal, received: complex symbols of any shape, each beside its own."""
    both = np.stack([np.ravel(signal), np.ravel(received)])
    reach = np.abs(np.concatenate([both.real, both.imag]))
    edge = max(1.5, float(np.quantile(reach, SHARE_SHOWN))) if reach.size else 1.5
    scale = FACE / 2 / (edge * 1.06)
    x = FACE / 2 + np.clip(both.real, -edge, edge) * scale
    y = FACE / 2 - np.clip(both.imag, -edge, edge) * scale
    points = ["".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x[row], y[row])) for row in (0, 1)]
    every = max(1, -(-both.shape[1] // ARRIVALS))
    ways = (f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for a, b, c, d in zip(*x[:1], *y[:1], *x[1:], *y[1:]))
    return Constellation(points[0], points[1], "".join(list(ways)[::every]), scale)


@dataclass(frozen=True)
class Cell:
    """shade: from 0 to 1, that of the largest weight of the grid."""

    x: float
    y: float
    weight: float
    shade: float
    piece: str
    symbol: str


@dataclass(frozen=True)
class Name:
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Grid:
    """Attention as cells of a size, a row a piece understood, a column a token sent; rows and columns: their
    names, where there is room."""

    width: float
    height: float
    cell: float
    cells: tuple[Cell, ...]
    rows: tuple[Name, ...]
    columns: tuple[Name, ...]


def grid(attention: np.ndarray, pieces: Sequence[str], symbols: Sequence[str]) -> Grid:
    """attention: [T, S] of the ``pieces`` [T] over the ``symbols`` [S]."""
    cell = min(WIDEST_CELL, max(NARROWEST_CELL, CELLS_WIDE / max(1, len(symbols))))
    are_named = cell >= NAMED_CELL
    left = _room(pieces) if are_named else 4.0
    top = _room(symbols) if are_named else 4.0
    most = max(float(attention.max(initial=0)), FAINTEST)
    cells = [
        Cell(left + column * cell, top + row * cell, weight, weight / most, pieces[row], symbols[column])
        for (row, column), weight in np.ndenumerate(attention.astype(float))
        if weight >= FAINTEST
    ]
    said, sent = ([_short(name) for name in read_as(names)] for names in (pieces, symbols))
    rows = [Name(left - 4, top + (row + 0.5) * cell, name) for row, name in enumerate(said)]
    columns = [Name(left + (n + 0.5) * cell, top - 4, name) for n, name in enumerate(sent)]
    return Grid(
        left + cell * len(symbols) + 2,
        top + cell * len(pieces) + 2,
        cell,
        tuple(cells),
        tuple(rows) if are_named else (),
        tuple(columns) if are_named else (),
    )


def read_as(pieces: Sequence[str]) -> list[str]:
    """Pieces as they are read: without the blank that they begin with; one that is but a blank as a sign for
    it; where one differs from another by that blank alone, that which goes on a word behind dots."""
    begin = {piece.strip() for piece in pieces if piece.startswith(" ")}
    return [
        f"…{piece}" if not piece.startswith(" ") and piece in begin else piece.strip() or "␣"
        for piece in pieces
    ]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _room(names: Sequence[str]) -> float:
    """For the longest of them; letters of East Asia are twice as wide."""
    widths = [sum(2 if ord(letter) > 0x2E7F else 1 for letter in _short(name)) for name in names]
    return 10 + LETTER * max(widths, default=1)


@dataclass(frozen=True)
class Line:
    """A receiver's curve: line, its points, and where its value at the SNR of the page stands."""

    label: str
    points: tuple[tuple[float, float], ...]
    values: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Curves:
    """lines: in their order. snrs, scores: ticks, place and text. here: x of the SNR of the page."""

    lines: tuple[Line, ...]
    snrs: tuple[tuple[float, str], ...]
    scores: tuple[tuple[float, str], ...]
    here: float


def curves(by_label: Mapping[str, Sequence[tuple[float, float]]], snr: float) -> Curves:
    """by_label: of each receiver SNRs in dB and scores of 0 to 100 there."""
    snrs = sorted({at for points in by_label.values() for at, _ in points})
    low, high = snrs[0], max(snrs[-1], snrs[0] + 1)

    def x(at: float) -> float:
        return LEFT + (CURVE_WIDTH - LEFT - RIGHT) * (at - low) / (high - low)

    def y(score: float) -> float:
        return TOP + (CURVE_HEIGHT - TOP - BOTTOM) * (1 - score / 100)

    lines = [
        Line(label, tuple((x(at), y(score)) for at, score in points), tuple(points))
        for label, points in by_label.items()
    ]
    return Curves(
        tuple(lines),
        tuple((x(at), f"{at:g}".replace("-", "−")) for at in snrs),
        tuple((y(score), f"{score}") for score in (0, 25, 50, 75, 100)),
        x(min(high, max(low, snr))),
    )
