"""How wide text stands on a console: letters of East Asia take two columns, signs on a letter none."""

import unicodedata


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
