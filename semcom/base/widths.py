"""How wide text stands on a console: letters of East Asia take two columns, signs on a letter none."""

import shutil
import sys
import unicodedata

LOG = 100
"""Columns of a file or pipe that a console's lines go to, at least."""


def of_console() -> int:
    """Columns of the terminal; of what is none those of a log, or more where ``COLUMNS`` says so."""
    wide = shutil.get_terminal_size((LOG, 24)).columns
    return wide if _is_terminal() else max(wide, LOG)


def _is_terminal() -> bool:
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


def columns(text: str) -> int:
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def padded(text: str, width: int) -> str:
    """With blanks behind it, to ``width`` columns at least."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int) -> str:
    """At most ``width`` columns, its end as an ellipsis where it is longer."""
    if columns(text) <= width:
        return text
    kept = text
    while columns(kept) > width - 1:
        kept = kept[:-1]
    return f"{kept}…"
