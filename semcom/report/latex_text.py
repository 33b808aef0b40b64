"""Text as LaTeX source, ASCII with commands, whatever a stranger's string holds; and how wide it is
printed."""

import math
import re
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

from semcom.base.errors import escape

SMALL, FOOTNOTE, SCRIPT = 9.0, 8.0, 7.0
r"""Sizes of \small, \footnotesize and \scriptsize in a document of 10 pt."""

EAST_ASIA = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")

BREAK, WIDEST = r"\allowbreak{}", 1.2
"""Where a word may end; em of the widest character."""

UNBROKEN = "\u00a0"
"""A blank at which no line ends."""

_SPECIAL = {c: f"\\{c}" for c in "{}$&#%_"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "`": r"\textasciigrave{}",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
}
_SIGNS = {
    UNBROKEN: "~",
    "–": "--",
    "—": "---",
    "‐": "-",
    "‑": "-",
    "‘": r"\textquoteleft{}",
    "’": "'",
    "“": "``",
    "”": r"\textquotedblright{}",
    "…": r"\ldots{}",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "§": r"\S{}",
    "•": r"\textbullet{}",
    "°": r"\textdegree{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_MATHS = {
    "→": r"\to",
    "←": r"\leftarrow",
    "↔": r"\leftrightarrow",
    "⇒": r"\Rightarrow",
    "↑": r"\uparrow",
    "↓": r"\downarrow",
    "−": "-",
    "∞": r"\infty",
    "×": r"\times",
    "÷": r"\div",
    "±": r"\pm",
    "≤": r"\leq",
    "≥": r"\geq",
    "≠": r"\neq",
    "≈": r"\approx",
    "·": r"\cdot",
    "√": r"\surd",
    "∑": r"\sum",
    "∈": r"\in",
    "²": "^2",
    "³": "^3",
    "µ": r"\mu",
}
_GREEK = (
    *zip("αβγδεζηθκλμν", "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu".split()),
    *zip("ξπρστφχψω", "xi pi rho sigma tau phi chi psi omega".split()),
    *zip("ΓΔΘΛΞΠΣΦΨΩ", "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split()),
)
_MATHS |= {letter: f"\\{name}" for letter, name in _GREEK}
_MATHS |= {letter: rf"\mathrm{{{latin}}}" for letter, latin in zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo")}
_MATHS |= {"ι": r"\iota", "υ": r"\upsilon", "ς": r"\varsigma"}
_ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c", "`'^~=u.\"rHv"))
_ACCENTS |= {"\u0323": "d", "\u0327": "c", "\u0331": "b"}
# In a font two of them are one sign of another kind.
_LIGATURES = ("--", "''", ",,")


def source(text: str, room: float = math.inf) -> str:
    r"""``text`` as LaTeX shows it. room: in points of ``\small``; a word that is wider may be broken.

    Letters of East Asia and of other scripts stay as they are, for XeLaTeX and LuaLaTeX; signs that no font
    of TeX has, such as emoji, are spelled out, U+1F600.
    """
    words = re.split("( +)", _escaped(text))
    told = "".join(_word(word, room) for word in words)
    # At the beginning of a cell the command before, "\\", would take them for its own.
    return f"{{{told[0]}}}{told[1:]}" if told[:1] in ("[", "*") else told


def _escaped(text: str) -> str:
    return UNBROKEN.join(map(escape, text.split(UNBROKEN)))


def _word(word: str, room: float) -> str:
    too_wide = width(word) > room
    written, since = [], 0
    for character, following in zip(word, f"{word[1:]} "):
        written.append(_character(character))
        since += 1
        if character + following in _LIGATURES:
            written.append("{}")
        full = since * SMALL * WIDEST
        enough = full > room or (full > room / 3 and not character.isalnum())
        if too_wide and enough and following != " ":
            written.append(BREAK)
            since = 0
    return "".join(written)


@cache
def _character(character: str) -> str:
    if character in _SPECIAL or character in _SIGNS:
        return (_SPECIAL | _SIGNS)[character]
    if character in _MATHS:
        return f"${_MATHS[character]}$"
    if character.isascii() or EAST_ASIA.fullmatch(character):
        return character
    return _accented(character) or _of_another_script(character)


def _accented(character: str) -> str:
    base, *marks = list(unicodedata.normalize("NFD", character))
    if not base.isascii() or not marks or not set(marks) <= set(_ACCENTS):
        return ""
    for mark in marks:
        base = f"\\{_ACCENTS[mark]}{{{base}}}"
    return base


def _of_another_script(character: str) -> str:
    return character if unicodedata.category(character)[0] in "LM" else f"U+{ord(character):04X}"


def needs_unicode(written: str) -> bool:
    """Whether pdfLaTeX cannot read it."""
    return not written.isascii()


# --- how wide it is


@lru_cache(maxsize=10_000)
def width(text: str, size: float = SMALL) -> float:
    """In points, at most: of Computer Modern and Times the wider, without kerning."""
    return sum(map(_width_of, _escaped(text))) * size * _OPTICAL[size]


# Fonts that are made for small sizes are wider: digits of cmr9, cmr8 and cmr7 over those of cmr10.
_OPTICAL = {SMALL: 1.03, FOOTNOTE: 1.065, SCRIPT: 1.14}


@cache
def _width_of(character: str) -> float:
    """In em."""
    if character == UNBROKEN:
        return _width_of(" ")
    if character in _SIGNS or character in _MATHS:
        return 1.0
    if unicodedata.combining(character):
        return 0.0
    written = _character(character)
    if written.startswith("U+"):
        return sum(map(_width_of, written))
    base = unicodedata.normalize("NFD", character)[0]
    return _widths().get(base, 1.0)


@cache
def _widths() -> dict[str, float]:
    """Of the characters of ASCII, in em, from the metrics that matplotlib brings along."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts/afm"
    widest: dict[str, float] = {}
    for name in ("cmr10.afm", "ptmr8a.afm"):
        metrics = (folder / name).read_text(encoding="latin-1")
        for code, thousandths in re.findall(r"(?m)^C (\d+) ; WX (\d+)", metrics):
            character = chr(int(code))
            if " " <= character <= "~":
                widest[character] = max(widest.get(character, 0.0), int(thousandths) / 1000)
    # Computer Modern has other signs in their places, and mathematics' are wider.
    return widest | dict.fromkeys('<>\\^~|{}"_`', 0.78)
