"""One cleaning of a line, whether it comes from a file, from standard input or from an argument."""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from html.entities import html5

from semcom.base.errors import SemcomError

LOST = "\ufffd"
"""What a conversion has left in the place of a character that it could not read."""

# None without its semicolon, though HTML reads some so: code has "&copy", "&not" and "&reg", addresses
# "&region=". Numbers of more digits than a character has stay as they are.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7};|#[xX][0-9a-fA-F]{1,6};|(?P<name>[A-Za-z][A-Za-z0-9]{1,31};))")
_HALVES = re.compile(r"&#(5[56][0-9]{3});&#(5[67][0-9]{3});")
# What tokenisers part a word by and mark so that it can be put together again: "well @-@ known" of Moses,
# "3 @,@ 000" of WikiText, "low@@ er" of subword-nmt. A single "foo@@ bar" may be anything; text that was cut
# so has many of them.
_JOINT = re.compile(r"(?<=\S) @([^\w\s@])@ (?=\S)")
_SUBWORD_JOINT = re.compile(r"(?<=\w)@@(?: |$)")
_SUBWORD_JOINTS_A_LINE = 2
_SUBWORD_LINES = 0.1
_MARKUP = re.compile(r"(?:<(?:[/?]?[A-Za-z]|!(?:[A-Za-z]|--))[^<>]*>\s*)+")
_METADATA = re.compile(
    r"<(url|keywords|speaker|talkid|title|description|reviewer|translator|docid)\b[^<>]*>[^<>]*</\1>"
)

_KINDS = {
    "Cc": "control characters",
    "Cf": "invisible characters",
    "Cs": "halves of characters",
    "Co": "characters of private use",
    "Cn": "characters that do not exist",
}
ZWNJ, ZWJ = "\u200c", "\u200d"
# Scripts whose letters change their shape where a joiner stands: Arabic to N'Ko, those of India, Burmese,
# Khmer, Mongolian.
_JOINING = re.compile("[\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1800-\u18af\ua840-\ua87f]")
# Numbers and ends of verses in Arabic and its kin: format characters that are seen.
_SEEN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
_MONGOLIAN_SEPARATOR = "\u180e"
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
# Code points that no later Unicode will give a character. The others without one in this Python's Unicode may
# have one in a newer one, and a corpus must not depend on that.
_NEVER = re.compile("[\u2065\ufdd0-\ufdef\ufff0-\ufff8\U000e0000-\U000e0fff]")


def is_cut_into_subwords(lines: Sequence[str]) -> bool:
    """Whether so many lines of a file hold joints as in ``low@@ er`` that each of these is one."""
    return sum(bool(_SUBWORD_JOINT.search(line)) for line in lines) > _SUBWORD_LINES * len(lines)


def clean(line: str, counts: Counter | None = None, subwords: bool = False) -> str:
    """HTML entities undone (also doubly escaped ones), tokenisers' joints closed, control and invisible
    characters dropped, white space folded.

    Joiners, emoji tags and signs that change what is read stay. counts: gains what was undone, closed and
    dropped, how often. subwords: whether a line's only ``low@@ er`` is a joint too.
    """
    counts = Counter() if counts is None else counts
    if "&" in line:
        counts["entities"] += sum(_character(entity) != entity[0] for entity in _ENTITY.finditer(line))
        line = _without_entities(_without_entities(line))
    if "@" in line:
        line = _joined(line, counts, subwords)
    if not line.isprintable():
        line = _printable(line, counts)
    if LOST in line:
        counts["characters lost before (U+FFFD) stay"] += line.count(LOST)
    return " ".join(line.split())


def check_argument(text: str, flag: str) -> str:
    """What was typed. Raises SemcomError naming ``flag`` for bytes that are no text."""
    if any("\udc80" <= c <= "\udcff" for c in text):
        raise SemcomError(
            f"{flag}: holds bytes that are not UTF-8; set the terminal to UTF-8 (export LC_ALL=C.UTF-8) and "
            "type it again"
        )
    return text


def is_markup(text: str) -> bool:
    """Whether a cleaned line is tags alone, such as ``<SPEAKER ID=1>`` of Europarl, or one element that is
    about the text, such as ``<keywords>talks, art</keywords>`` of IWSLT."""
    return text.startswith("<") and bool(_MARKUP.fullmatch(text) or _METADATA.fullmatch(text))


def _joined(line: str, counts: Counter, subwords: bool) -> str:
    line, joints = _JOINT.subn(r"\1", line)
    joined, more = _SUBWORD_JOINT.subn("", line)
    if subwords or more >= _SUBWORD_JOINTS_A_LINE:
        line, joints = joined, joints + more
    counts["joints of a tokeniser closed"] += joints
    return line


def _without_entities(line: str) -> str:
    return _ENTITY.sub(_character, _HALVES.sub(_whole, line))


def _whole(halves: re.Match) -> str:
    """The character that two halves of UTF-16 are, as in ``&#55357;&#56832;``."""
    high, low = (int(half) for half in halves.groups())
    is_pair = 0xD800 <= high < 0xDC00 <= low < 0xE000
    return chr(0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00) if is_pair else halves[0]


def _character(entity: re.Match) -> str:
    name = entity["name"]
    return html.unescape(entity[0]) if name is None else html5.get(name, entity[0])


def _printable(line: str, counts: Counter) -> str:
    """Without what is no part of the text; white space of any kind is a blank."""
    flags = {place for flag in _FLAG.finditer(line) for place in range(*flag.span())}
    kept = []
    for place, c in enumerate(line):
        kind = unicodedata.category(c)
        if c.isspace():
            kept.append(" ")
        elif kind not in _KINDS or place in flags or _is_meant(line, place, kind):
            kept.append(c)
        else:
            counts[_KINDS[kind]] += 1
    return "".join(kept)


def _is_meant(line: str, place: int, kind: str) -> bool:
    """Whether a character that is not seen itself, or not known, changes what is read."""
    c, before, after = line[place], line[place - 1 : place], line[place + 1 : place + 2]
    if kind == "Cn":
        return not _never_a_character(c)
    if c in _SEEN:
        return True
    joins = bool(_JOINING.match(before)) and unicodedata.category(before)[0] in "LM"
    if c == _MONGOLIAN_SEPARATOR or c == ZWJ and joins:
        return joins
    if c == ZWNJ:
        # Persian hangs its endings so on abbreviations and numbers too: PDF-ها.
        joins = joins or before.isalnum()
        ends_a_letter = unicodedata.combining(before or " ") == _VIRAMA
        return ends_a_letter or joins and bool(_JOINING.match(after))
    return c == ZWJ and _is_of_emoji(before) and _is_of_emoji(after)


_VIRAMA = 9  # the combining class of the sign that takes a consonant its vowel
_EMOJI = re.compile("[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]")


def _is_of_emoji(c: str) -> bool:
    return bool(_EMOJI.match(c))


def _never_a_character(c: str) -> bool:
    return ord(c) & 0xFFFE == 0xFFFE or bool(_NEVER.match(c))
