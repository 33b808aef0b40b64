"""Which encoding bytes are in: by their byte order mark, by what text in UTF-8 never holds, and by what the
bytes are likely to mean.

Not by charset-normalizer (3.5.3): it took Japanese in Shift-JIS and a line of GBK for CP949, German and
French in CP1252 for CP1250, Turkish for CP1257; and a command that converts from a wrong encoding spoils
the text.
"""

import codecs
import math
import re
import unicodedata
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
    "HZ": re.compile(rb"~\{(?:[\x21\x23\x30-\x57][\x21-\x7e])+~\}"),
}
# Bytes that text does not hold: NUL and the other control characters, but for white space, backspace, end of
# file on DOS, and escape.
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\v\f\r\b\x1a\x1b"))
_CONTROLS_OF_TEXT = 0.05
_SAMPLE = 1 << 13

# Encodings of scripts of their own, with letters in order of their frequency in each of their languages.
_CYRILLIC = (
    "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
    "оаніитвреслкудмпязьбгйчхцжїєюшщґф",
    "аоиенјрстувдкмлпбгзшчцњжљхћђфџ",
)
_GREEK = ("αοιετσνηυρπκμλίςόάγδέωθήύχφβώξζψϊϋ",)
_HEBREW = ("יוהלארתשמבנםדעחקפגכסצטןזךףץ",)
_ARABIC = ("اليمونرتبةعدسفهكقحجأشصطخىذضزإثغئءظؤآ", "اینرمدتهسوشلبکزفگعخقآحجصپطضچذغثظئژ")
_THAI = ("านรกอเงมลวยท่ี้สตัะปิดบคหแจพไชขใโ็ผูถุซธณฟศษภฐญฉำืึ์ๆโฮฤฎฏฑฒฌฆฝ",)
_SCRIPTS = (
    *(("CP1251", _CYRILLIC), ("KOI8-R", _CYRILLIC), ("CP866", _CYRILLIC), ("ISO-8859-5", _CYRILLIC)),
    *(("MAC-CYRILLIC", _CYRILLIC), ("KOI8-U", _CYRILLIC), ("CP1253", _GREEK), ("CP1255", _HEBREW)),
    *(("CP1256", _ARABIC), ("ISO-8859-6", _ARABIC), ("CP874", _THAI)),
)
# First bytes of what is frequent: punctuation, kana, Hangul, and the Chinese characters that each standard
# puts first because they are.
_EAST_ASIAN = {
    "CP949": (b"\xa1\xa3", (0xB0, 0xC8)),
    "GB18030": (b"\xa1\xa3\xa8", (0xB0, 0xD7)),
    "BIG5": (b"\xa1\xa2\xa3", (0xA4, 0xC6)),
    "BIG5-HKSCS": (b"\xa1\xa2\xa3", (0xA4, 0xC6)),
    "EUC-JP": (b"\xa1\xa3\xa4\xa5", (0xB0, 0xCF)),
    "CP932": (b"\x81\x82\x83", (0x88, 0x97)),
}
_SECOND_BYTES = {"CP949": 0xA1, "GB18030": 0xA1}
_FREQUENT, _FREQUENT_AMONG_LATIN = 0.7, 0.95
_FLUENT = 0.6  # right texts have 0.65 to 0.9, wrong ones up to 0.6, or 0.75 within ten letters
_BYTES_OF_HANGUL = 12  # six characters: as many frequent Chinese ones are hardly all among those of Korean
_ABOVE_LETTERS = 0.15
_FEWEST_BYTES = 4
_BY_CHANCE = 0.3  # how far the worth of a letter is from that of another
_HANGUL = re.compile("[\uac00-\ud7a3]")
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
    ("CP1258", ("ăâđêôơưàáèéíóùú\u0300\u0301\u0303\u0309\u0323",)),
    ("MACINTOSH", _WESTERN),
    ("CP850", _WESTERN),
)
_SIGNS = "“”„‘‚‹›«»…•€£§°©®™"
_SIGNS_IN_WORDS = "’–—"
_ANY_SIGN = frozenset(f"{_SIGNS}{_SIGNS_IN_WORDS}№،؛؟ـًٌٍَُِّْ\u05b0\u200c\xa0")
_FITS = 0.85
_RARE = ("MACINTOSH", "CP850", "CP1258")
LATIN = frozenset(name for name, _ in _LATIN)
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


def likely(lines: Sequence[bytes]) -> tuple[str, ...]:
    """The likely encodings of lines that are not UTF-8, as iconv calls them, the likeliest first: one where
    they tell, two where they are too few to tell, none where nothing is likely."""
    sample = _sample(lines)
    if len(_BEYOND.findall(sample)) >= _FEWEST_BYTES and not _is_mostly_latin(sample):
        shares = {**_shares_of_east_asia(sample), **_shares_of_scripts(sample)}
        return _best(sample, shares) or _likely_latin(sample)
    if _frequent(sample, "GB18030") > _FREQUENT_AMONG_LATIN:
        return ("GB18030",)
    return _likely_latin(sample)


def _sample(lines: Sequence[bytes]) -> bytes:
    """The first lines that are not all ASCII; a few KB tell as much as more."""
    taken, size = [], 0
    for line in lines:
        if size < _SAMPLE and not line.isascii():
            taken.append(line)
            size += len(line)
    return b"\n".join(taken)[:_SAMPLE]


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


def _best(sample: bytes, shares: dict[str, float]) -> tuple[str, ...]:
    """The likeliest, and one beside it that reads otherwise and is hardly less likely."""
    first, *others = sorted(shares, key=lambda name: shares[name], reverse=True) or [""]
    if not first:
        return ()
    text, beyond = _text(sample, first), len(_BEYOND.findall(sample))

    def is_close(name: str) -> bool:
        other = _text(sample, name)
        differing = sum(map(str.__ne__, text, other)) if len(text) == len(other) else 1
        by_chance = _BY_CHANCE * math.sqrt(differing) / beyond
        return other != text and shares[first] - shares[name] < by_chance

    close = [name for name in others if is_close(name)]
    return (first, *close[:1])


def _text(sample: bytes, encoding: str) -> str:
    return sample.decode(encoding, "replace")


def _shares_of_east_asia(sample: bytes) -> dict[str, float]:
    """The best of them, by its share of frequent characters, which comes out higher than that of letters."""
    shares = {name: _frequent(sample, name) for name in _EAST_ASIAN}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] <= _FREQUENT:
        return {}
    is_short = best == "CP949" and len(_BEYOND.findall(sample)) < _BYTES_OF_HANGUL
    return dict.fromkeys((best, "GB18030") if is_short else (best,), shares[best] - _ABOVE_LETTERS)


def _shares_of_scripts(sample: bytes) -> dict[str, float]:
    shares = {
        name: max(_fluency(_text(sample, name), each) for each in letters) for name, letters in _SCRIPTS
    }
    return {name: share for name, share in shares.items() if share > _FLUENT}


def _fluency(text: str, letters: str) -> float:
    """How frequent the characters beyond ASCII are: the mean of 1 for a language's most frequent letter, down
    to 0 for its rarest, and below for what it has not, or not there."""
    worth = {letter: 1 - place / len(letters) for place, letter in enumerate(letters)}
    found = [
        -0.5
        if (c.isupper() and before.islower()) or _is_latin(before + after)
        else worth.get(c.lower(), 0.5 if c in _ANY_SIGN else -0.5)
        for before, c, after in zip(f" {text}", text, f"{text[1:]} ")
        if not c.isascii()
    ]
    return sum(found) / max(1, len(found))


def _frequent(sample: bytes, encoding: str) -> float:
    """The share of frequent characters among those beyond ASCII."""
    text = _text(sample, encoding)
    beyond = [c.encode(encoding, "replace") for c in text if not c.isascii()]
    if not beyond or text.count(LOST) > _FLAWS * len(beyond):
        return 0.0
    if encoding == "CP949" and not _HANGUL.search(text):  # its signs are also those of GB18030
        return 0.0
    others, (first, last) = _EAST_ASIAN[encoding]
    second = _SECOND_BYTES.get(encoding, 0)
    # Four bytes of GB18030 are a letter with an accent, and nothing else looks like that.
    in_range = (len(c) == 4 or (len(c) == 2 and first <= c[0] <= last and c[1] >= second) for c in beyond)
    return sum(found or c[0] in others for found, c in zip(in_range, beyond)) / len(beyond)


def _is_latin(around: str) -> bool:
    return any(c.isascii() and c.isalpha() for c in around)


def _likely_latin(sample: bytes) -> tuple[str, ...]:
    fits: dict[str, float] = {}
    for name, languages in _LATIN:
        fits[name] = max(_fit(sample, name, languages), fits.get(name, 0.0))
    if fits["CP1252"] == max(fits.values()):  # rarer ones have its signs for letters
        fits = {name: fit for name, fit in fits.items() if name not in _RARE}
    return _best(sample, {name: fit for name, fit in fits.items() if fit > _FITS})


def _fit(sample: bytes, encoding: str, languages: Sequence[str]) -> float:
    """The share of characters beyond ASCII that a language has, and where they stand; of each line, its
    likeliest language."""
    lines = _text(sample, encoding).split("\n")
    fitting = sum(max(_fitting(line, letters) for letters in languages) for line in lines)
    return fitting / max(1, sum(not c.isascii() for line in lines for c in line))


def _fitting(line: str, letters: str) -> int:
    placed = zip(f" {line}", line, f"{line[1:]} ")
    return sum(_fits(*around, letters) for around in placed if not around[1].isascii())


def _fits(before: str, c: str, after: str, letters: str) -> bool:
    within = before.isalpha() and after.isalpha()
    if c.isalpha():
        return c.lower() in letters and not (c.isupper() and before.islower())
    if unicodedata.combining(c):
        return c in letters and before.isalpha()
    return c in _SIGNS_IN_WORDS or c in letters or (c in _SIGNS and not within)
