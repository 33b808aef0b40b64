"""Fonts for what a picture's labels are written in: names of files and pieces of any script.

matplotlib takes each character from the first font of a list that has it. The list is its usual font alone
unless a label needs another; a character that no font here has is shown by its number (``\\u4e2d``), which
one line says, once.
"""

import functools
import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from semcom.base.errors import escape
from semcom.base.messages import N_

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontEntry
    from matplotlib.text import Text

log = logging.getLogger(__name__)

PREFERRED = tuple(
    """
    DejaVu Sans
    Noto Sans CJK SC, Noto Sans SC, Source Han Sans SC, Source Han Sans CN
    PingFang SC, Hiragino Sans GB, Heiti SC, STHeiti, Microsoft YaHei, SimHei
    WenQuanYi Micro Hei, WenQuanYi Zen Hei, Droid Sans Fallback
    Noto Sans CJK JP, Hiragino Sans, Yu Gothic, MS Gothic
    Noto Sans CJK KR, Apple SD Gothic Neo, Malgun Gothic
    Noto Sans, Arial Unicode MS, Leelawadee UI, Nirmala UI, Segoe UI
    Noto Emoji, Segoe UI Emoji, Segoe UI Symbol
    """.strip()
    .replace("\n", ",")
    .replace("    ", "")
    .replace(", ", ",")
    .split(",")
)
"""Families tried first, in this order: without serifs, simplified Chinese before the rest of East Asia."""
NOT_FOR_TEXT = re.compile(r"Last ?Resort|Color Emoji|STIX(NonUnicode|Size)|cm[a-z]{1,2}10")
"""In the names of families that have boxes for glyphs, glyphs that are bitmaps, or mathematics."""
CURE = N_("install one that has them, of Chinese fonts-noto-cjk, of most other scripts fonts-noto-core")
LETTERS = {"en": "", "zh": "与发送端接收信噪比差异"}
"""Of a report's language, some of those that a font of it has beside Latin ones."""
_said: set[str] = set()
"""Characters that a line has named already."""


def saved(figure: "Figure", **choice: Any) -> bytes:
    """A figure as a picture's bytes, its labels in fonts that have their characters. choice: what ``savefig``
    is given."""
    buffer = io.BytesIO()
    with quiet():
        fit(figure)
        figure.savefig(buffer, **choice)
    return buffer.getvalue()


def has_language(language: str) -> bool:
    """Whether labels in a report's language can be drawn on this machine."""
    # Most are in the font that matplotlib brings: others are looked for only where they are not.
    letters = set(LETTERS[language]) - _drawn_by(("DejaVu Sans",))
    return not letters or not letters - _drawn_by(tuple(_families(letters)))


@contextmanager
def quiet() -> Iterator[None]:
    """Without what matplotlib says of fonts: of a family without the usual weight, or whose table promises
    glyphs that it lacks."""
    of_matplotlib = logging.getLogger("matplotlib.font_manager")
    level = of_matplotlib.level
    of_matplotlib.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Gg]lyph")
            yield
    finally:
        of_matplotlib.setLevel(level)


def fit(figure: "Figure") -> None:
    """Give a drawn figure's texts the fonts that they need, and numbers for characters that none has."""
    from matplotlib import rcParams

    own = list(rcParams["font.family"])
    characters = {c for text in _texts(figure) for c in text.get_text() if ord(c) > 127}
    lacking = characters - _drawn_by(tuple(own))
    if not lacking:
        return
    found = _families(lacking)
    unknown = {c: c.encode("unicode_escape").decode() for c in sorted(lacking - _drawn_by(tuple(found)))}
    _say_once(unknown)
    _set(figure, own + found, str.maketrans(unknown))


def _texts(figure: "Figure") -> "list[Text]":
    from matplotlib.text import Text

    for axis in _axes_of(figure):
        axis.get_ticklabels()  # writes those of ticks, which are else written when the figure is drawn
    return figure.findobj(Text)


def _axes_of(figure: "Figure") -> "list[Axis]":
    return [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]


def _set(figure: "Figure", families: list[str], numbers: Mapping[int, str]) -> None:
    for axis in _axes_of(figure):
        axis.set_tick_params(labelfontfamily=families)
        labels = [label.get_text() for label in axis.get_ticklabels()]
        numbered = [label.translate(numbers) for label in labels]
        if numbered != labels:
            axis.set_ticks(axis.get_ticklocs(), labels=numbered)
    for text in _texts(figure):
        text.set_text(text.get_text().translate(numbers))
        text.set_fontfamily(families)


def _say_once(characters: Iterable[str]) -> None:
    new = sorted(set(characters) - _said)
    _said.update(new)
    if new:
        some = escape("".join(new[:12])) + "…" * (len(new) > 12)
        log.warning(f"no font here has {some}: pictures show their numbers; {CURE}")


def _families(characters: set[str]) -> list[str]:
    """As few families as have what is to be had of ``characters``, those of ``PREFERRED`` first."""
    families = []
    left = set(characters)
    for family in _candidates():
        if drawn := left & _drawn_by((family,)):
            families.append(family)
            left -= drawn
        if not left:
            break
    return families


@functools.cache
def _candidates() -> list[str]:
    names = {entry.name for entry in _entries() if not NOT_FOR_TEXT.search(entry.name)}
    return [name for name in PREFERRED if name in names] + sorted(names - set(PREFERRED))


@functools.cache
def _entries() -> "list[FontEntry]":
    """The upright fonts of this machine, those that came after matplotlib listed them too."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - known):
        try:
            fontManager.addfont(path)
        except Exception:  # whatever FreeType finds wrong with a file: it is no font to us
            continue
    return [entry for entry in fontManager.ttflist if entry.style == "normal"]


@functools.cache
def _drawn_by(families: tuple[str, ...]) -> frozenset[str]:
    """Characters that the fonts which matplotlib takes for ``families`` have between them."""
    from matplotlib.font_manager import FontProperties, fontManager
    from matplotlib.ft2font import FT2Font

    drawn: set[str] = set()
    for family in families:
        try:
            path = fontManager.findfont(FontProperties(family=[family]), fallback_to_default=False)
            drawn |= set(map(chr, FT2Font(path).get_charmap()))
        except Exception:  # as above
            continue
    return frozenset(drawn)
