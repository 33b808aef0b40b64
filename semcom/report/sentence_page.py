"""What several receivers make of one sentence, as fragments of an HTML page.

All texts, of strangers too, go through the escaping of ``_environment``.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jinja2
import markupsafe
import numpy as np
from markupsafe import Markup

from semcom.base.errors import escape
from semcom.report import look, sentence_pictures
from semcom.report.catalogue import translation
from semcom.report.sentence_pictures import Constellation, Grid

if TYPE_CHECKING:
    import pandas as pd

    from semcom.evaluation.heard_sentence import Heard
    from semcom.evaluation.parting import Parting

PIECES_SHOWN = 7
SMALLEST_SHOWN = 0.005
"""Probability of a piece that has a row, of any receiver."""
FOR_TEMPLATES = {ord(letter): f"&#{ord(letter)};" for letter in "${}`"}
"""What gradio's HTML component may take for a place to fill in."""


@dataclass(frozen=True)
class Card:
    """One receiver. said, sent: parts of the text understood and of that sent, and whether each is marked.
    lost: words of ``words`` that did not arrive."""

    label: str
    said: tuple[tuple[str, bool], ...]
    sent: tuple[tuple[str, bool], ...]
    lost: int
    words: int
    score: str


@dataclass(frozen=True)
class Face:
    """A transmitter's symbols. names: number and label of the receivers that get them; none: all do."""

    number: int
    names: tuple[tuple[int, str], ...]
    picture: Constellation
    count: int


@dataclass(frozen=True)
class Attending:
    number: int
    label: str
    grid: Grid


@dataclass(frozen=True)
class Bar:
    """width, percent: of 100. is_chosen: whether the receiver said this piece."""

    width: str
    percent: str
    is_chosen: bool


@dataclass(frozen=True)
class Row:
    piece: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Expected:
    """labels: of each receiver its place among all, and its label."""

    said: str
    parted: bool
    labels: tuple[tuple[int, str], ...]
    rows: tuple[Row, ...]


def receivers(heard: Sequence["Heard"], language: str) -> str:
    """A card each: what it understood, and which words it lost."""
    cards = [
        Card(
            one.label,
            _parts(one.text, one.said),
            _parts(one.sent, one.marked),
            one.lost,
            len(one.marked),
            f"{one.score:.0f}",
        )
        for one in heard
    ]
    return _fragment("receivers", language, cards)


def _parts(text: str, words: Iterable[tuple[str, bool]]) -> tuple[tuple[str, bool], ...]:
    """The text in parts, and which of them are words without a counterpart. A word that does not stand in the
    text as it is, since words are compared in another form, is written behind a blank."""
    parts: list[tuple[str, bool]] = []
    end = 0
    for word, has_counterpart in words:
        begin = text.find(word, end)
        between = text[end:begin] if begin >= 0 else " "
        end = begin + len(word) if begin >= 0 else end
        parts += [(between, False), (word, not has_counterpart)]
    return tuple(part for part in (*parts, (text[end:] if parts else text, False)) if part[0])


def parting(found: "Parting", numbers: Sequence[int], language: str) -> str:
    """What the receivers held likely at the place where they part. numbers: of each, its place among all."""
    labels = tuple(found.probabilities)
    table = np.stack([found.probabilities[label] for label in labels])
    chosen = [found.chosen[label] for label in labels]
    shown = [
        n
        for n, piece in enumerate(found.pieces)
        if piece in chosen or (n < PIECES_SHOWN and table[:, n].max() >= SMALLEST_SHOWN)
    ]
    names = sentence_pictures.read_as(found.pieces)
    rows = [
        Row(
            names[n],
            tuple(_bar(float(p), found.pieces[n] == said) for p, said in zip(table[:, n], chosen)),
        )
        for n in shown
    ]
    return _fragment(
        "parting", language, Expected(found.said, found.parted, tuple(zip(numbers, labels)), tuple(rows))
    )


def _bar(probability: float, is_chosen: bool) -> Bar:
    percent = 100 * probability
    return Bar(f"{percent:.1f}", "<1" if 0 < percent < 1 else f"{percent:.0f}", is_chosen)


def constellations(heard: Sequence["Heard"], language: str) -> str:
    """The symbols of each transmitter: once where several receivers get the same."""
    faces: list[Face] = []
    of_faces: list[Heard] = []
    for number, one in enumerate(heard):
        same = next((n for n, first in enumerate(of_faces) if _get_the_same(first, one)), None)
        if same is None:
            picture = sentence_pictures.constellation(one.signal, one.received)
            of_faces.append(one)
            faces.append(Face(number, ((number, one.label),), picture, one.signal.size))
        else:
            face = faces[same]
            names = (*face.names, (number, one.label))
            faces[same] = Face(face.number, names, face.picture, face.count)
    if len(faces) == 1 < len(heard):
        faces = [replace(faces[0], names=())]
    return _fragment("constellations", language, faces, sentence_pictures.FACE)


def _get_the_same(first: "Heard", second: "Heard") -> bool:
    pairs = (first.signal, second.signal), (first.received, second.received)
    return all(a.shape == b.shape and np.allclose(a, b, atol=1e-4) for a, b in pairs)


def attentions(heard: Sequence["Heard"], language: str) -> str:
    """From which tokens each receiver took each piece."""
    shown = [
        Attending(number, one.label, sentence_pictures.grid(one.attention, one.pieces, one.symbols))
        for number, one in enumerate(heard)
        if one.attention is not None
    ]
    without = [(number, one.label) for number, one in enumerate(heard) if one.attention is None]
    return _fragment("attentions", language, shown, without)


def fate(table: "pd.DataFrame", snr: float, draws: int, language: str) -> str:
    """table: as ``sentence_fate.fate`` returns it. snr: of the page, in dB."""
    by_label: Mapping[str, list[tuple[float, float]]] = {
        str(label): [(float(at), 100 * float(share)) for at, share in zip(rows["snr"], rows["arrived"])]
        for label, rows in table.groupby("model", sort=False)
    }
    curves = sentence_pictures.curves(by_label, snr)
    sides = [getattr(sentence_pictures, side) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
    size = sentence_pictures.CURVE_WIDTH, sentence_pictures.CURVE_HEIGHT
    return _fragment("fate", language, curves, *size, *sides, snr, draws)


def heading(title: str, lead: str) -> str:
    """Of the page."""
    return f'<div class="sentence">{_fragment("heading", "en", title, lead)}</div>'


# Seven arguments: what the dial reads, and on what that was measured.
def reading(
    place: float, kl: float, bleu: float, sentences: int, channel: str, snr: float, language: str
) -> str:
    """Where the dial stands on its path, 0 to 1, and what was measured of the hybrid there."""
    decimals = 2 if kl >= 0.1 else 3
    return _fragment(
        "reading",
        language,
        round(100 * place),
        f"{kl:.{decimals}f}",
        f"{bleu:.1f}",
        sentences,
        channel,
        f"{snr:g}",
    )


def note(text: str, kind: str = "") -> str:
    """A line about what went wrong (kind "wrong") or is to be known."""
    return _fragment("note", "en", text, kind)


def css() -> str:
    """Of all fragments, in the palette of the project's pictures."""
    colours = [
        f"{ground} {{ {_variables(ink)} }}" for ground, ink in ((":root", look.LIGHT), (".dark", look.DARK))
    ]
    of_receivers = [f".r{n} {{ --own: var(--r{n}); }}" for n in range(len(look.LIGHT.colours))]
    (source, _, _) = jinja2.PackageLoader("semcom.report").get_source(_environment("en"), "sentence.css")
    return "\n".join([*colours, *of_receivers, source])


def _variables(ink: look.Inks) -> str:
    named = {"ground": ink.ground, "ink": ink.strong, "faint": ink.faint, "hair": ink.hair}
    named |= {f"r{n}": colour for n, colour in enumerate(ink.colours)}
    return " ".join(f"--{name}: {colour};" for name, colour in named.items())


def _fragment(macro: str, language: str, *given: object) -> str:
    module = _environment(language).get_template("sentence.html.jinja").module
    return str(getattr(module, macro)(*given)).strip()


@functools.cache
def _environment(language: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("semcom.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_escaped,
    )
    environment.globals["_"] = translation(language).gettext
    return environment


def _escaped(value: object) -> Markup | object:
    if isinstance(value, (Markup, int, float)):
        return value
    return Markup(str(markupsafe.escape(escape(value))).translate(FOR_TEMPLATES))
