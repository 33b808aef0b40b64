"""The one exception a user sees as a line, and how strangers' strings are shown on a console: escaped, and
short enough."""

import re
import sys
import warnings

LONGEST_LINE = 500
"""Characters of a line about what went wrong."""
LONGEST_WORD = 80
"""Characters of a word in a line that would be longer than that: such a word is a given value."""


class SemcomError(Exception):
    """Wrong input. The message names what was given, what is allowed and, where there is one, the command
    that mends it."""


class Unwise(UserWarning):
    """Of the Python API: what was typed is allowed, and hardly meant. One line, as a ``SemcomError`` has."""


def warn(line: str) -> None:
    """An ``Unwise``, shown at the line of the program that called this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INNER:
        frame, level = frame.f_back, level + 1
    warnings.warn(one_line(line), Unwise, stacklevel=level)


_INNER = (__name__.partition(".")[0], "torch")
"""Packages between that line and the warning: a module of torch calls our ``forward``."""


class ChecksFailed(Exception):
    """A measurement found something off; what it measured is printed and written."""


class NothingToDo(Exception):
    """What was asked for is there already; the message says where."""


class InterruptedRun(Exception):
    """A signal stopped a run; what was finished is kept and the message says where. signal: its number, that
    of Ctrl-C if nothing else is known."""

    def __init__(self, message: str, signal: int = 2):
        super().__init__(message, signal or 2)

    @property
    def signal(self) -> int:
        return int(self.args[1])

    def __str__(self) -> str:
        return str(self.args[0])


# Persian, the scripts of India and emoji join their letters or signs with invisible characters.
_JOINED = "[\u0590-\u1fff\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]"
# Between characters of East Asia an ideographic space is an ordinary blank; at an end nobody would see it.
_WIDE = (
    "[\u2010-\u2027\u2e80-\u2fff\u3001-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uffef\U00020000-\U0003ffff]"
)
_CHARACTER = re.compile(
    f"(?P<ordinary>(?<={_JOINED})[\u200c\u200d](?={_JOINED})|(?<={_WIDE})\u3000+(?={_WIDE}))|.", re.DOTALL
)


def escape(text: object) -> str:
    """``text`` with control, bidi and other invisible characters spelled out (``\\x1b``), safe to print on a
    terminal. Joiners within a word of a script that is written with them, or within an emoji, stay, and so do
    ideographic spaces between characters of East Asia."""
    text = str(text)
    if text.isprintable():
        return text
    return _CHARACTER.sub(_spelled_out, text)


def _spelled_out(found: re.Match[str]) -> str:
    character = found[0]
    if found["ordinary"] or character.isprintable():
        return character
    if ord(character) > 127 or character in "\n\r\t":
        return character.encode("unicode_escape").decode("ascii")
    return f"\\x{ord(character):02x}"


def shown(value: object) -> str:
    """What a message shows of a stranger's value: ``escape``d and short enough."""
    text = escape(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def one_line(message: object) -> str:
    """A message as one line of at most ``LONGEST_LINE`` characters, whatever values stand in it: ``escape``d;
    of one that is longer first the words that are longest are cut, then the whole in its middle, since a
    message begins with what is wrong and ends with what mends it."""
    line = escape(" ".join(str(message).splitlines()))
    if len(line) > LONGEST_LINE:
        line = " ".join(_cut(word, LONGEST_WORD) for word in line.split(" "))
    return _cut(line, LONGEST_LINE)


def _cut(text: str, longest: int) -> str:
    """Without its middle, where it is longer."""
    if len(text) <= longest:
        return text
    at_end = longest // 3
    return f"{text[: longest - at_end - 1]}…{text[-at_end:]}"
