"""Languages by the scripts of their letters, and how long a text is to its reader. Standard library only.

Scripts that put blanks between words are counted in words. Chinese, Japanese, Thai, Lao, Khmer, Burmese and
Tibetan do not: there as many characters count as one word as carry what a word of English does. Of scripts
that are not listed here (Javanese, Yi, Tai Tham, Ethiopic) the text itself tells, by how long its letters run
between blanks.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

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


_LETTERS_A_WORD_UNLISTED = 3.4  # as in Thai and Burmese
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
    Language("dz", "Dzongkha", 4.4, "char"),
    Language("ii", "Sichuan Yi", _LETTERS_A_WORD_UNLISTED, "char"),
)
_WITH_BLANKS = """
    aa Afar, ab Abkhazian, ae Avestan, af Afrikaans, ak Akan, am Amharic, an Aragonese, ar Arabic,
    as Assamese, av Avaric, ay Aymara, az Azerbaijani, ba Bashkir, be Belarusian, bg Bulgarian,
    bi Bislama, bm Bambara, bn Bengali, br Breton, bs Bosnian, ca Catalan, ce Chechen, ch Chamorro,
    co Corsican, cr Cree, cs Czech, cu Church Slavic, cv Chuvash, cy Welsh, da Danish, de German,
    dv Divehi, ee Ewe, el Greek, en English, eo Esperanto, es Spanish, et Estonian, eu Basque, fa Persian,
    ff Fulah, fi Finnish, fil Filipino, fj Fijian, fo Faroese, fr French, fy Western Frisian, ga Irish,
    gd Scottish Gaelic, gl Galician, gn Guarani, gu Gujarati, gv Manx, ha Hausa, he Hebrew, hi Hindi,
    ho Hiri Motu, hr Croatian, ht Haitian, hu Hungarian, hy Armenian, hz Herero, ia Interlingua,
    id Indonesian, ie Interlingue, ig Igbo, ik Inupiaq, io Ido, is Icelandic, it Italian, iu Inuktitut,
    jv Javanese, ka Georgian, kg Kongo, ki Kikuyu, kj Kuanyama, kk Kazakh, kl Kalaallisut, kn Kannada,
    ko Korean, kr Kanuri, ks Kashmiri, ku Kurdish, kv Komi, kw Cornish, ky Kyrgyz, la Latin,
    lb Luxembourgish, lg Ganda, li Limburgish, ln Lingala, lt Lithuanian, lu Luba-Katanga, lv Latvian,
    mg Malagasy, mh Marshallese, mi Maori, mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi,
    ms Malay, mt Maltese, na Nauru, nb Norwegian Bokmål, nd North Ndebele, ne Nepali, ng Ndonga, nl Dutch,
    nn Norwegian Nynorsk, no Norwegian, nr South Ndebele, nv Navajo, ny Chichewa, oc Occitan, oj Ojibwa,
    om Oromo, or Odia, os Ossetian, pa Punjabi, pi Pali, pl Polish, ps Pashto, pt Portuguese, qu Quechua,
    rm Romansh, rn Rundi, ro Romanian, ru Russian, rw Kinyarwanda, sa Sanskrit, sc Sardinian, sd Sindhi,
    se Northern Sami, sg Sango, sh Serbo-Croatian, si Sinhala, sk Slovak, sl Slovenian, sm Samoan,
    sn Shona, so Somali, sq Albanian, sr Serbian, ss Swati, st Southern Sotho, su Sundanese, sv Swedish,
    sw Swahili, ta Tamil, te Telugu, tg Tajik, ti Tigrinya, tk Turkmen, tl Tagalog, tn Tswana, to Tongan,
    tr Turkish, ts Tsonga, tt Tatar, tw Twi, ty Tahitian, ug Uyghur, uk Ukrainian, ur Urdu, uz Uzbek,
    ve Venda, vi Vietnamese, vo Volapük, wa Walloon, wo Wolof, xh Xhosa, yi Yiddish, yo Yoruba, za Zhuang,
    zu Zulu, und undetermined"""


def _with_blanks() -> list[Language]:
    rows = (row.split(maxsplit=1) for row in _WITH_BLANKS.replace("\n", " ").split(","))
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
# Of scripts that are not listed: more letters between two blanks than words have on the average of a line, in
# any language, are no word.
_UNLISTED_LETTER = re.compile(rf"[^\W\d_{''.join(map(_ranges, _SCRIPTS))}]")
_LONGEST_MEAN_WORD = 12
_ETHIOPIC_BLANK = "፡"

_SAMPLED = 2000
_KANA_OF_JAPANESE = 0.05  # of the words in Chinese characters and kana
# Words of English that no other language in Latin letters uses often.
_ENGLISH = frozenset("the of and to that with for from this which have has are were is not their we".split())
_ENGLISH_SHARE = 0.08
_LATIN_WORD = re.compile(f"[{_ranges('Latin')}]+")


def language_of(texts: Sequence[str]) -> str:
    """The code of the language of most of some thousand sentences, by their scripts; of Latin letters
    ``en`` where English function words are frequent; ``und`` for what that does not tell."""
    sampled = "\n".join(_sample(texts))
    words = _words_by_script(sampled)
    han, kana = words["Han"], words["kana"]
    if kana >= _KANA_OF_JAPANESE * (han + kana):
        words["kana"], words["Han"] = han + kana, 0.0
    script = max(words, key=words.__getitem__)
    if words[script] * 2 <= sum(words.values()):
        return UNDETERMINED
    if script == "Latin":
        return "en" if _is_english(sampled) else UNDETERMINED
    return _LANGUAGE_OF.get(script, UNDETERMINED)


def _sample(texts: Sequence[str]) -> Sequence[str]:
    step = max(1, len(texts) // _SAMPLED)
    return texts[: step * _SAMPLED : step]


def _words_by_script(text: str) -> dict[str, float]:
    """How many words of each script's letters, whole or not; of those not listed under ``""``."""
    words = dict.fromkeys([*_SCRIPTS, ""], 0.0)
    for letter, count in Counter(text).items():
        if letter.isalpha():
            script = _script_of(letter) or ""
            words[script] += count / _RATES.get(script, _LETTERS_A_SPACED_WORD)
    return words


def _script_of(letter: str) -> str | None:
    return next((script for script, letters in _LETTERS.items() if letters.match(letter)), None)


def _is_english(text: str) -> bool:
    words = _LATIN_WORD.findall(text.lower())
    telling = sum(word in _ENGLISH for word in words)
    return telling >= _ENGLISH_SHARE * max(1, len(words))


def divides_words(text: str) -> bool:
    """Whether most of a text's words have blanks between them."""
    if text.isascii():
        return True
    unlisted = _unlisted_rate(text)
    if not unlisted and not _HOLDS_UNDIVIDED.search(text):
        return True
    words = _words_by_script(text)
    undivided = sum(words[script] for script in _RATES) + (words[""] if unlisted else 0)
    return undivided * 2 <= sum(words.values())


def _unlisted_rate(text: str) -> float | None:
    """Letters a word of scripts that are not listed, None where blanks divide its words."""
    if not _UNLISTED_LETTER.search(text):
        return None
    letters = [len(_UNLISTED_LETTER.findall(token)) for token in text.split()]
    tokens = sum(map(bool, letters))
    return _LETTERS_A_WORD_UNLISTED if sum(letters) > _LONGEST_MEAN_WORD * tokens else None


def most_are_divided(texts: Sequence[str]) -> bool:
    """Whether blanks divide the words of most of some thousand texts."""
    sampled = _sample(texts)
    return 2 * sum(map(divides_words, sampled)) >= len(sampled)


# They are written in more scripts than one, with blanks and without.
_EITHER_WAY = frozenset("am jv ms pi sa su ti za und".split())


def contradiction(language: str, texts: Sequence[str]) -> str:
    """A line for the user where texts are not written as the language is that was given for them, else
    empty."""
    has_blanks, given = most_are_divided(texts), LANGUAGES[language]
    if language in _EITHER_WAY or has_blanks == (given.characters_a_word is None):
        return ""
    code = language_of(texts)
    found = "" if code == UNDETERMINED else f" ({LANGUAGES[code].name})"
    cure = "leave it out" if code == UNDETERMINED else f"leave it out or give --language {code}"
    written = "with" if has_blanks else "without"
    return (
        f"warning: --language {language}: {given.name} is not written as most of these sentences are, "
        f"{written} blanks between words{found}; {cure}"
    )


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
    if unit == "words" or text.isascii():
        return float(between_blanks)
    tokens = text.replace(_ETHIOPIC_BLANK, " ").split()
    unlisted = _unlisted_rate(" ".join(tokens))
    if unlisted is None and not _HOLDS_UNDIVIDED.search(text):
        return float(len(tokens))
    rates = _rates_of(text, language)
    words = sum(_words_of_token(token, rates, unlisted) for token in tokens)
    return round(words, 6)


def _stands_alone(c: str) -> bool:
    """Whether a character takes its own place in a line: no blank, and no sign on the letter before it."""
    return c != " " and unicodedata.category(c)[0] not in "MC"


def _rates_of(line: str, language: str) -> dict[str, float]:
    """Letters a word; Chinese characters in a line with kana are Japanese."""
    is_japanese = language == "ja" or _LETTERS["kana"].search(line)
    return {**_RATES, "Han": _RATES["kana"]} if is_japanese else _RATES


def _words_of_token(token: str, rates: dict[str, float], unlisted: float | None) -> float:
    """Of what stands between two blanks: a word, or letters at their rates and the words among them."""
    words = 0.0
    if unlisted:
        words = len(_UNLISTED_LETTER.findall(token)) / unlisted
        token = _UNLISTED_LETTER.sub(" ", token)
    if not words and not _HOLDS_UNDIVIDED.search(token):
        return 1.0
    words += sum(len(_LETTERS[script].findall(token)) / rate for script, rate in rates.items())
    return words + len(_OTHER_WORD.findall(token))
