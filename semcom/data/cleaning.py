"""One cleaning of a line, wherever it comes from."""

import html
import unicodedata

_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn")


def clean(line: str) -> str:
    """HTML entities undone (also doubly escaped ones), control and bidi characters dropped, white space
    folded."""
    if "&" in line:
        line = html.unescape(html.unescape(line))
    if not line.isprintable():
        spaced = (" " if c.isspace() else c for c in line)
        line = "".join(c for c in spaced if c == " " or unicodedata.category(c) not in _UNPRINTABLE)
    return " ".join(line.split())
