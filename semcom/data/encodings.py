"""Which encoding bytes are in: by their byte order mark, by what text in UTF-8 never holds, and by what the
bytes are likely to mean."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

from semcom.data.cleaning import LOST

UTF_8 = "UTF-8"
_MARKS = {
    b"\xef\xbb\xbf": UTF_8,
    b"\xff\xfe\x00\x00": "UTF-32LE",
    b"\x00\x00\xfe\xff": "UTF-32BE",
    b"\xff\xfe": "UTF-16LE",
    b"\xfe\xff": "UTF-16BE",
    b"\x84\x31\x95\x33": "GB18030",
}
_SEVEN_BITS = {
    "ISO-2022-JP": re.compile(rb"\x1b\$[@B]|\x1b\(J"),
    "ISO-2022-KR": re.compile(rb"\x1b\$\)C"),
    "ISO-2022-CN": re.compile(rb"\x1b\$\)[AG]"),
    "HZ": re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7e])+~\}"),
}
# Bytes that text does not hold: NUL and the other control characters, but for white space, backspace, end of
# file on DOS, and escape.
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\v\f\r\b\x1a\x1b"))
_CONTROLS_OF_TEXT = 0.05
_LOST_OF_TEXT = 0.02
_SAMPLE = 1 << 15

# As Python and iconv call them.
_OTHERS = (
    *("GB18030", "BIG5", "BIG5-HKSCS", "CP932", "EUC-JP", "CP949", "CP1251", "KOI8-R", "KOI8-U", "CP866"),
    *("CP1253", "CP1255", "CP1256", "CP874"),
)
# First bytes of what is frequent: punctuation, kana, Hangul, and the Chinese characters that each standard
# puts first because they are.
_EAST_ASIAN = {
    "CP949": (b"\xa1\xa3", (0xB0, 0xC8)),
    "GB18030": (b"\xa1\xa3", (0xB0, 0xD7)),
    "BIG5": (b"\xa1\xa2\xa3", (0xA4, 0xC6)),
    "EUC-JP": (b"\xa1\xa3\xa4\xa5", (0xB0, 0xCF)),
    "CP932": (b"\x81\x82\x83", (0x88, 0x97)),
}
_SECOND_BYTES = {"CP949": 0xA1, "GB18030": 0xA1}
_FREQUENT = 0.8
_FLAWS = 0.01  # of the characters, broken ones in a file that is otherwise in an encoding
_ALSO_KNOWN_AS = {"CP932": "Shift-JIS", "CP949": "EUC-KR", "GB18030": "GBK", "CP1252": "Latin 1 of Windows"}
# Letters beyond ASCII of the languages that each is used for, the likeliest encoding first.
_WESTERN = (
    *("àâæçéèêëîïôœùûüÿ", "äöüß", "áéíñóúü¿¡ªº", "àáâãçéêíóôõúü", "àèéìîòù", "àçèéíïòóúü·"),
    *("åäöéæøèóòôü", "áéëïóöüèê"),
)
_ICELANDIC = ("áðéíóúýþæö",)  # which Turkish looks like
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ")
_LATIN = (
    ("CP1252", _WESTERN),
    ("CP1250", _CENTRAL),
    ("ISO-8859-2", _CENTRAL),
    ("CP1254", ("çğıöşüâîûi̇",)),
    ("CP1257", ("āčēģīķļņšūž", "ąčęėįšųūž", "äõöüšž")),
    ("CP1252", _ICELANDIC),
    ("MACINTOSH", _WESTERN),
    ("CP850", _WESTERN),
)
_SIGNS = "“”„‘‚‹›«»…•€£§°©®™"
_SIGNS_IN_WORDS = "’–—"
_FITS = 0.85
_WORD_BREAKS = re.compile(rb"[\x00-\x40\x5b-\x60\x7b-\x7f]+")


@dataclass(frozen=True)
class Mark:
    """A byte order mark. encoding: that it tells. size: in bytes."""

    encoding: str
    size: int


def byte_order_mark(head: bytes) -> Mark:
    """At the beginning of a file; of none, UTF-8 and no bytes."""
    found = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    return Mark(_MARKS.get(found, UTF_8), len(found))


def beginning(head: bytes, encoding: str) -> str | None:
    """The text of what a file begins with, which may end within a character; None if it is not that."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeError:
        return None


def is_binary(head: bytes) -> bool:
    """Whether so many of the bytes are none of a text's that it is something else."""
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return controls > _CONTROLS_OF_TEXT * len(head)


def unlike_utf8(head: bytes) -> str:
    """The encoding of what begins like this and would pass for UTF-8, or for no text, but is neither; empty
    where nothing says so."""
    if 0 in head and (wide := _wide(head)):
        return wide
    if head.isascii():
        return next((name for name, escapes in _SEVEN_BITS.items() if escapes.search(head)), "")
    return ""


def _wide(head: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: the one in which it reads most like text."""
    shares = {name: _usual(head, name) for name in ("UTF-32LE", "UTF-32BE", "UTF-16LE", "UTF-16BE")}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] > _USUAL_OF_TEXT else ""


def _usual(head: bytes, encoding: str) -> float:
    """The share of characters that all texts have, such as blanks and stops; 0 where some are unknown."""
    text = head.decode(encoding, "ignore")  # the last may be cut
    known = sum(c.isprintable() or c.isspace() for c in text)
    if known < 0.98 * len(text) or len(text.encode(encoding)) < 0.98 * len(head) - 4:
        return 0.0
    return len(_USUAL.findall(text)) / max(1, len(text))


_USUAL = re.compile("[\\s!-~\u3000-\u3002\uff01-\uff1f]")
_USUAL_OF_TEXT = 0.02


def is_lost(head: str) -> bool:
    """Whether an earlier conversion has lost so many characters that it was a wrong one."""
    return head.count(LOST) > _LOST_OF_TEXT * sum(not c.isascii() or c.isalpha() for c in head)


def twice_encoded(head: str) -> tuple[str, str] | None:
    """The encoding that a text was in, and the one that it was taken for before it was encoded in UTF-8
    ("cafÃ©" was UTF-8, "ÖÐ¹ú" GB18030, both taken for CP1252)."""
    lines = [line for line in head.split("\n") if not line.isascii()][:200]
    for taken_for in ("CP1252", "ISO-8859-1"):
        before = [bytes_of for line in lines if (bytes_of := _encoded(line, taken_for))]
        if not lines or len(before) < 0.8 * len(lines):
            continue
        if sum(beginning(each, UTF_8) is not None for each in before) > 0.8 * len(lines):
            return UTF_8, taken_for
        sample = _sample(before)
        if not _is_mostly_latin(sample) and (was := _likely_east_asian(sample) or _likely_other(sample)):
            return was, taken_for
    return None


def _encoded(line: str, encoding: str) -> bytes:
    try:
        return line.encode(encoding)
    except UnicodeError:
        return b""


def likely(lines: Sequence[bytes]) -> str:
    """The likely encoding of lines that are not UTF-8, as iconv calls it; empty where nothing is."""
    sample = _sample(lines)
    if _is_mostly_latin(sample):
        return _likely_latin(sample)
    return _likely_east_asian(sample) or _likely_other(sample) or _likely_latin(sample)


def _sample(lines: Sequence[bytes]) -> bytes:
    """Whole lines that are not all ASCII."""
    taken, size = [], 0
    for line in lines:
        if size < _SAMPLE and not line.isascii():
            taken.append(line)
            size += len(line)
    return b"\n".join(taken)


def all_in(lines: Sequence[bytes], encoding: str) -> bool:
    """Whether none of the lines holds what the encoding does not have."""
    return b"\n".join(lines).decode(encoding, "replace").count(LOST) == 0


def known_as(encoding: str) -> str:
    """The name with the one that more people know."""
    other = _ALSO_KNOWN_AS.get(encoding)
    return f"{encoding} ({other})" if other else encoding


def _is_mostly_latin(sample: bytes) -> bool:
    """Whether most bytes beyond ASCII stand alone among Latin letters."""
    words = [word for word in _WORD_BREAKS.split(sample) if word and not word.isascii()]
    beyond = sum(len(_BEYOND.findall(word)) for word in words)
    return beyond <= 0.5 * sum(map(len, words))


_BEYOND = re.compile(rb"[\x80-\xff]")


def _likely_east_asian(sample: bytes) -> str:
    shares = {name: _frequent(sample, name) for name in _EAST_ASIAN}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] > _FREQUENT else ""


def _frequent(sample: bytes, encoding: str) -> float:
    """The share of frequent characters among those beyond ASCII."""
    text = sample.decode(encoding, "replace")
    beyond = [c.encode(encoding, "replace") for c in text if not c.isascii()]
    if not beyond or text.count(LOST) > _FLAWS * len(beyond):
        return 0.0
    others, (first, last) = _EAST_ASIAN[encoding]
    second = _SECOND_BYTES.get(encoding, 0)
    in_range = (len(c) == 2 and first <= c[0] <= last and c[1] >= second for c in beyond)
    return sum(found or c[0] in others for found, c in zip(in_range, beyond)) / len(beyond)


def _likely_other(sample: bytes) -> str:
    from charset_normalizer import from_bytes  # not until a file is not UTF-8

    python_names = {codecs.lookup(name).name.replace("-", "_"): name for name in _OTHERS}
    best = from_bytes(sample, cp_isolation=list(python_names), preemptive_behaviour=False).best()
    return python_names.get(best.encoding, "") if best is not None else ""


def _likely_latin(sample: bytes) -> str:
    fit, name = max(((_fit(sample, *row), row[0]) for row in _LATIN), key=lambda found: found[0])
    return name if fit > _FITS else ""


def _fit(sample: bytes, encoding: str, languages: Sequence[str]) -> float:
    """The share of characters beyond ASCII that a language has, and where they stand; of each line, its
    likeliest language."""
    lines = sample.decode(encoding, "replace").split("\n")
    fitting = sum(max(_fitting(line, letters) for letters in languages) for line in lines)
    return fitting / max(1, sum(not c.isascii() for line in lines for c in line))


def _fitting(line: str, letters: str) -> int:
    placed = zip(f" {line}", line, f"{line[1:]} ")
    return sum(_fits(*around, letters) for around in placed if not around[1].isascii())


def _fits(before: str, c: str, after: str, letters: str) -> bool:
    within = before.isalpha() and after.isalpha()
    if c.isalpha():
        return c.lower() in letters and not (c.isupper() and before.islower())
    return c in _SIGNS_IN_WORDS or c in letters or (c in _SIGNS and not within)
