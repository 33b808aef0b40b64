"""What a message advises: the name or the path that was meant, and commands that paste into a shell."""

import difflib
import os
import shlex
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from semcom.base.errors import escape, shown

NEAR = 0.6
"""Likeness from which a name is taken for a slip of another."""
MOST_NAMES = 10_000
"""Names of a folder that are looked through."""
QUOTES = "\"'“”„‟‘’‚‛«»‹›「」『』"


# --- what was meant


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """Of the allowed names the one that is likest, whatever its case; None where none is like it."""
    by_folded = {_folded(name): name for name in allowed}
    found = difflib.get_close_matches(_folded(given), by_folded, 1, NEAR)
    return by_folded[found[0]] if found else None


def meant(given: str, allowed: Iterable[str]) -> str:
    """``; did you mean NAME?``, or nothing."""
    found = nearest(given, allowed)
    return f"; did you mean {escape(found)}?" if found else ""


def meant_path(given: str | Path) -> str:
    """The same of a path that is not there."""
    found = nearest_path(str(given))
    return f"; did you mean {shown(found)}?" if found else ""


def nearest_path(given: str) -> str | None:
    """A path that exists and is like the given one, of which at most one part is misspelt."""
    try:
        return _expanded(given) or _respelt(Path(given))
    except (OSError, ValueError):
        return None  # too long, or not to be read: nothing is like it


def _expanded(given: str) -> str | None:
    """Without quotes that a text program made, or ~ as a shell would have read it."""
    plain = os.path.expanduser(given.strip().strip(QUOTES))
    return plain if plain != given and os.path.exists(plain) else None


def _respelt(path: Path) -> str | None:
    missing = [path, *path.parents]
    there = next(place for place in missing if place.exists())
    if there == path or not there.is_dir():
        return None
    first, *rest = path.relative_to(there).parts
    with os.scandir(there) as entries:
        names = [entry.name for entry, _ in zip(entries, range(MOST_NAMES)) if entry.name[0] != "."]
    found = nearest(first, names)
    respelt = there.joinpath(found, *rest) if found else path
    return str(respelt) if respelt.exists() else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


# --- commands


def command(*words: object) -> str:
    """Words as a person types them into a shell."""
    return " ".join(quoted(word) for word in words)


def path_word(path: object) -> str:
    """A path ``quoted`` for a command, where one that begins with a dash must not be read as a flag."""
    text = str(path)
    return quoted(f"./{text}" if text.startswith("-") else text)


def quoted(word: object) -> str:
    """A word that a shell reads as it is, on one line that a terminal can show."""
    text = str(word)
    if escape(text) == text:
        return shlex.quote(text)
    return f"$'{''.join(map(_in_ansi_c, text))}'"


def _in_ansi_c(character: str) -> str:
    """As bash and zsh read it between ``$'`` and ``'``."""
    if character in "\\'":
        return f"\\{character}"
    if escape(character) == character:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte of a name that is not UTF-8
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
