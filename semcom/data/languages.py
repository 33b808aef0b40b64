"""Languages by the scripts of their letters, and how long a text is to its reader. Standard library only.

Scripts that put blanks between words are counted in words. Chinese, Japanese, Thai, Lao, Khmer, Burmese and
Tibetan do not: there as many characters count as one word as carry what a word of English does.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

UNDETERMINED = "und"
LENGTH_UNITS = ("auto", "words", "characters", "pieces")


@dataclass(frozen=True)
class Language:
    """code: of BCP 47. characters_a_word: how many letters tell as much as a word of English, None where
    blanks divide words. bleu_tokenizer: of sacrebleu, the one that its users expect."""

    code: str
    name: str
    characters_a_word: float | None = None
    bleu_tokenizer: str = "13a"


# Chinese: 1.5 to 1.8 characters of a translation a word of English, by translators' rule of thumb. The
# others: letters of the first article of the Universal Declaration of Human Rights by its 30 English words.
# Vowel signs and tone marks that stand on a letter are no letters.
_WITHOUT_BLANKS = (
    Language("zh", "Chinese", 1.7, "zh"),
    Language("ja", "Japanese", 2.5, "ja-mecab"),
    Language("th", "Thai", 3.4, "char"),
    Language("lo", "Lao", 4.4, "char"),
    Language("km", "Khmer", 3.7, "char"),
    Language("my", "Burmese", 3.4, "char"),
    Language("bo", "Tibetan", 4.4, "char"),
)
_WITH_BLANKS = """
    ar Arabic, bg Bulgarian, bn Bengali, ca Catalan, cs Czech, da Danish, de German, el Greek, en English,
    es Spanish, et Estonian, eu Basque, fa Persian, fi Finnish, fr French, ga Irish, gu Gujarati, he Hebrew,
    hi Hindi, hr Croatian, hu Hungarian, hy Armenian, id Indonesian, is Icelandic, it Italian, ka Georgian,
    kn Kannada, ko Korean, lt Lithuanian, lv Latvian, ml Malayalam, mr Marathi, mt Maltese, nb Norwegian,
    ne Nepali, nl Dutch, pa Punjabi, pl Polish, pt Portuguese, ro Romanian, ru Russian, si Sinhala, sk Slovak,
    sl Slovenian, sr Serbian, sv Swedish, sw Swahili, ta Tamil, te Telugu, tr Turkish, uk Ukrainian, ur Urdu,
    vi Vietnamese, und undetermined"""


def _with_blanks() -> list[Language]:
    rows = (row.split() for row in _WITH_BLANKS.split(","))
    return [Language(code, name) for code, name in rows]


LANGUAGES: dict[str, Language] = {language.code: language for language in [*_WITHOUT_BLANKS, *_with_blanks()]}
"""By code."""

# Code points of each script's letters: blocks with what else stands in them, where scripts put blanks between
# words, and letters alone, which are counted, where they do not.
_SCRIPTS = {
    "Latin": "41-5A 61-7A AA BA C0-D6 D8-F6 F8-2AF 1D00-1DBF 1E00-1EFF 2C60-2C7F A720-A7FF FB00-FB06 "
    "FF21-FF3A FF41-FF5A",
    "Greek": "370-3FF 1F00-1FFF",
    "Cyrillic": "400-52F 1C80-1C8F A640-A69F",
    "Armenian": "531-587 FB13-FB17",
    "Hebrew": "5D0-5F2 FB1D-FB4F",
    "Arabic": "620-6FF 750-77F 870-8FF FB50-FDFF FE70-FEFC",
    "Devanagari": "900-97F",
    "Bengali": "980-9FF",
    "Gurmukhi": "A00-A7F",
    "Gujarati": "A80-AFF",
    "Tamil": "B80-BFF",
    "Telugu": "C00-C7F",
    "Kannada": "C80-CFF",
    "Malayalam": "D00-D7F",
    "Sinhala": "D80-DFF",
    "Georgian": "10A0-10FF 1C90-1CBF 2D00-2D2D",
    "Hangul": "1100-11FF 3130-318F A960-A97F AC00-D7FF FFA0-FFDC",
    "Thai": "E01-E30 E32-E33 E40-E46",
    "Lao": "E81-EB0 EB2-EB3 EBD-EC6 EDC-EDF",
    "Khmer": "1780-17B3 17D7 17DC",
    "Burmese": "1000-102A 103F 1050-1055 105A-105D 1061 1065-1066 106E-1070 1075-1081 108E A9E0-A9E4 "
    "A9E6-A9EF A9FA-A9FE AA60-AA76 AA7A AA7E-AA7F",
    "Tibetan": "F00 F40-F6C F88-F8C",
    "kana": "3041-3096 309D-309F 30A1-30FA 30FC-30FF 31F0-31FF FF66-FF9D 1B000-1B167",
    "Han": "2E80-2FDF 3005-3007 3021-3029 3105-312F 31A0-31BF 3400-4DBF 4E00-9FFF F900-FAFF 20000-323AF",
}
# Where a script is of one language, or nearly.
_LANGUAGE_OF = {
    **{"Greek": "el", "Armenian": "hy", "Hebrew": "he", "Georgian": "ka", "Hangul": "ko", "Bengali": "bn"},
    **{"Gurmukhi": "pa", "Gujarati": "gu", "Tamil": "ta", "Telugu": "te", "Kannada": "kn"},
    **{"Malayalam": "ml", "Sinhala": "si", "Thai": "th", "Lao": "lo", "Khmer": "km", "Burmese": "my"},
    **{"Tibetan": "bo", "kana": "ja", "Han": "zh"},
}


def _ranges(script: str) -> str:
    """Of its code points, as within the brackets of a regular expression."""
    bounds = (points.partition("-") for points in _SCRIPTS[script].split())
    pairs = ((first, last or first) for first, _, last in bounds)
    return "".join(f"\\U{first:0>8}-\\U{last:0>8}" for first, last in pairs)


_LETTERS = {script: re.compile(f"[{_ranges(script)}]") for script in _SCRIPTS}
_RATES = {
    script: rate for script, code in _LANGUAGE_OF.items() if (rate := LANGUAGES[code].characters_a_word)
}
_UNDIVIDED = "".join(map(_ranges, _RATES))
_HOLDS_UNDIVIDED = re.compile(f"[{_UNDIVIDED}]")
# Words of other scripts beside such letters: runs of letters and digits.
_OTHER_WORD = re.compile(rf"[^\W_{_UNDIVIDED}]+(?:['’.,-][^\W_{_UNDIVIDED}]+)*")
_LETTERS_A_SPACED_WORD = 5.0

_SAMPLED = 2000
_KANA_OF_JAPANESE = 0.05  # of the words in Chinese characters and kana
# Words of English that no other language in Latin letters uses often.
_ENGLISH = frozenset("the of and to that with for from this which have has are were is not their we".split())
_ENGLISH_SHARE = 0.08
_LATIN_WORD = re.compile(f"[{_ranges('Latin')}]+")


def language_of(texts: Sequence[str]) -> str:
    """The code of the language of most of some thousand sentences, by their scripts; of Latin letters
    ``en`` where English function words are frequent; ``und`` for what that does not tell."""
    step = max(1, len(texts) // _SAMPLED)
    sampled = "\n".join(islice(texts, 0, step * _SAMPLED, step))
    words = _words_by_script(sampled)
    han, kana = words["Han"], words["kana"]
    if kana >= _KANA_OF_JAPANESE * (han + kana):
        words["kana"], words["Han"] = han + kana, 0.0
    script = max(words, key=lambda name: words[name])
    if words[script] * 2 <= sum(words.values()):
        return UNDETERMINED
    if script == "Latin":
        return "en" if _is_english(sampled) else UNDETERMINED
    return _LANGUAGE_OF.get(script, UNDETERMINED)


def _words_by_script(text: str) -> dict[str, float]:
    """How many words of each script's letters, whole or not."""
    words = dict.fromkeys(_SCRIPTS, 0.0)
    for letter, count in Counter(text).items():
        if letter.isalpha() and (script := _script_of(letter)):
            words[script] += count / _RATES.get(script, _LETTERS_A_SPACED_WORD)
    return words


def _script_of(letter: str) -> str | None:
    return next((script for script, letters in _LETTERS.items() if letters.match(letter)), None)


def _is_english(text: str) -> bool:
    words = _LATIN_WORD.findall(text.lower())
    telling = sum(word in _ENGLISH for word in words)
    return telling >= _ENGLISH_SHARE * max(1, len(words))


def divides_words(text: str) -> bool:
    """Whether most of a text's words are of scripts that put blanks between them."""
    if text.isascii() or not _HOLDS_UNDIVIDED.search(text):
        return True
    words = _words_by_script(text)
    undivided = sum(words[script] for script in _RATES)
    return undivided * 2 <= sum(words.values())


def length(text: str, unit: str = "auto", language: str = "auto") -> float:
    """How long one line is, its white space folded: 0 for an empty one.

    unit: ``words``, what stands between blanks; ``characters`` without blanks and marks on letters; ``auto``,
    what its reader counts: words, and of scripts without blanks letters by ``characters_a_word``. language:
    ``ja`` for Chinese characters that are Japanese, which a line without kana does not tell.
    """
    if not text:
        return 0.0
    if unit == "characters":
        return float(sum(_stands_alone(c) for c in text))
    between_blanks = text.count(" ") + 1
    if unit == "words" or text.isascii() or not _HOLDS_UNDIVIDED.search(text):
        return float(between_blanks)
    rates = _rates_of(text, language)
    words = sum(_words_of_token(token, rates) for token in text.split(" "))
    return round(words, 6)


def _stands_alone(c: str) -> bool:
    """Whether a character takes its own place in a line: no blank, and no sign on the letter before it."""
    return c != " " and unicodedata.category(c)[0] not in "MC"


def _rates_of(line: str, language: str) -> dict[str, float]:
    """Letters a word; Chinese characters in a line with kana are Japanese."""
    is_japanese = language == "ja" or _LETTERS["kana"].search(line)
    return {**_RATES, "Han": _RATES["kana"]} if is_japanese else _RATES


def _words_of_token(token: str, rates: dict[str, float]) -> float:
    """Of what stands between two blanks: a word, or letters at their rates and the words among them."""
    if not _HOLDS_UNDIVIDED.search(token):
        return 1.0
    letters = sum(len(_LETTERS[script].findall(token)) / rate for script, rate in rates.items())
    return letters + len(_OTHER_WORD.findall(token))
