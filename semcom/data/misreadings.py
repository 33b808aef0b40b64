"""Text that an earlier conversion has spoilt: decoded as another encoding than it was in, or with characters
lost."""

import re
from collections.abc import Sequence

from semcom.data import encodings
from semcom.data.cleaning import LOST

_LOST_OF_TEXT = 0.02
_LINES_LOOKED_AT = 200
_TAKEN_FOR = ("CP1252", "ISO-8859-1", "CP1251", "MACINTOSH", "KOI8-R", "CP866")
_RUN_BEYOND = re.compile("[^\x00-\x7f]+")
# Letters with accents, other scripts from Greek to Georgian and those of East Asia, punctuation, emoji.
_FREQUENT_RUN = re.compile(
    "[\xa0-\u017f\u0386-\u052f\u05d0-\u05ea\u0600-\u06ff\u0900-\u10ff\u1e00-\u1fff\u2010-\u203a"
    "\u20ac\u2122\u2190-\u27bf\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff00-\uffef\U0001f300-\U0001faff]+"
)
_FEWEST_TWICE = 3
_TWICE_OF_RUNS = 0.8
_FEWEST_KINDS = 4
_TWICE_OF_LETTERS = 0.5
_TWICE_OF_LINES = 0.8


def is_lost(head: str) -> bool:
    """Whether an earlier conversion has lost so many characters that it was a wrong one."""
    return head.count(LOST) > _LOST_OF_TEXT * sum(not c.isascii() or c.isalpha() for c in head)


def twice_encoded(head: str) -> tuple[str, str] | None:
    """The encoding that a text was in, and the one that it was taken for before it was encoded in UTF-8
    ("cafÃ©" was UTF-8, "ÖÐ¹ú" GB18030, both taken for CP1252). None where that is not plain: what is UTF-8
    is most often right."""
    lines = [line for line in head.split("\n") if not line.isascii()][:_LINES_LOOKED_AT]
    runs = [run for line in lines for run in _RUN_BEYOND.findall(line)]
    for taken_for in _TAKEN_FOR:
        if _is_utf8_within(runs, taken_for):
            return encodings.UTF_8, taken_for
    for taken_for in ("CP1252", "ISO-8859-1"):
        if was := _other_within(lines, runs, taken_for):
            return was, taken_for
    return None


def _is_utf8_within(runs: Sequence[str], taken_for: str) -> bool:
    """Whether nearly all that stands between ASCII characters would be characters of UTF-8, and frequent
    ones: a sign or a letter with an accent alone, as in "£5" or "où", never is."""
    read = [_recoded(run, taken_for) for run in runs]
    told = [run for run in read if _FREQUENT_RUN.fullmatch(run)]
    return sum(map(len, told)) >= _FEWEST_TWICE and len(told) > _TWICE_OF_RUNS * len(runs)


def _recoded(run: str, taken_for: str) -> str:
    try:
        return run.encode(taken_for).decode()
    except UnicodeError:
        return ""


def _other_within(lines: Sequence[str], runs: Sequence[str], taken_for: str) -> str:
    """The encoding of text that stands in long runs of letters with accents and signs, and in little else:
    languages in Latin letters have such letters one by one among others."""
    long_runs = "".join(run for run in runs if len(run) > 1)
    letters = sum(c.isalpha() or not c.isascii() for line in lines for c in line)
    if len(set(long_runs)) < _FEWEST_KINDS or len(long_runs) <= _TWICE_OF_LETTERS * letters:
        return ""
    before = [bytes_of for line in lines if (bytes_of := _encoded(line, taken_for))]
    if len(before) < _TWICE_OF_LINES * len(lines):
        return ""
    found = encodings.likely(before)
    return found[0] if found and found[0] not in encodings.LATIN else ""


def _encoded(line: str, encoding: str) -> bytes:
    try:
        return line.encode(encoding)
    except UnicodeError:
        return b""
