"""Words of a text as blanks divide it, and their kinds by lists of English words and by capitals.

Of languages other than English only digits and capitals are told apart: ``kinds`` makes the rest "content"
(and, where nouns have capitals, "name").
"""

import re
import unicodedata
from collections.abc import Sequence

NUMBER_WORDS = frozenset(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred
    hundreds thousand thousands million millions billion billions trillion trillions dozen dozens first
    second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
    fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth fortieth fiftieth sixtieth
    seventieth eightieth ninetieth hundredth thousandth millionth half halves thirds quarter quarters
    fifths sixths sevenths eighths ninths tenths twice
    """.split()
)
NEGATIONS = frozenset("not no never none nothing nobody no-one nowhere neither nor cannot without".split())
# A lone s is the genitive of text that parts it from its noun ("the Commission' s proposal").
FUNCTION_WORDS = frozenset(
    """
    a an the
    about above across after against along alongside amid among around at before behind below beneath
    beside besides between beyond by
    concerning despite down during except for from in inside into like near of off on onto out outside
    over past per regarding since
    through throughout till to towards toward under until up upon via with within
    and or but yet so because although though while whilst whereas if unless whether than as once lest
    that insofar
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself
    she her hers herself it its itself
    they them their theirs themselves this these those there here each every either both all any some
    such other others another
    someone somebody something anyone anybody anything everyone everybody everything s
    am is are was were be been being do does did doing done have has had having will would shall should
    can could may might must ought
    who whom whose which what when where why how whatever whichever whoever whenever wherever however
    """.split()
)

_CJK = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Thai, Lao, Tibetan, Burmese, Khmer: their letters, without the signs on them.
_SOUTH_EAST = (
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"
    "\u0f00\u0f40-\u0f6c\u0f88-\u0f8c\u1000-\u102a\u103f\u1050-\u1055\u1780-\u17b3"
)
_ALONE = _CJK + _SOUTH_EAST
# No letters to ``re``, but parts of words: the vowel signs of Hindi, the points of Hebrew.
_MARKS = "".join(chr(code) for code in range(0x300, 0xFE00) if unicodedata.category(chr(code))[0] == "M")
_RUN = f"[^\\W_{_ALONE}](?:[^\\W_{_ALONE}]|[{_MARKS}])*"
_WORD = re.compile(f"[{_ALONE}][{_MARKS}]*|{_RUN}(?:(?:['-]|(?<=\\d)[.,:/\u2044](?=\\d)){_RUN})*")
_ONE_SIGN_EACH = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2010": "-"})
_CONTRACTED = re.compile(r"'(?:s|m|re|ve|ll|d)$")


def words(text: str) -> list[str]:
    """The words of ``text`` in their order, as they are written.

    A word is a run of letters and digits, with the apostrophes and hyphens inside it (don't, father's,
    twenty-one) and, between two digits, with full stop, comma, colon and slash (1,200.5, 12:30, 94/55).
    Characters of scripts that put no blanks between words (Chinese, Japanese, Thai) are words one by one.
    What else there is divides words and is dropped: an apostrophe at the end (farmers'), percent signs, the
    minus of a number. The text is taken in Unicode's form NFKC, as sentencepiece returns it, with one sign
    for all apostrophes and one for all hyphens.
    """
    return _WORD.findall(
        text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_ONE_SIGN_EACH)
    )


def kinds(words: Sequence[str]) -> list[str]:
    """The kind of each word of one sentence: of ``KINDS`` the first whose rule holds."""
    return [
        _kind(word, following, first=place == 0)
        for place, (word, following) in enumerate(zip(words, [*words[1:], ""]))
    ]


def _kind(word: str, following: str, *, first: bool) -> str:
    lower = word.lower()
    stem = _CONTRACTED.sub("", lower)
    if _has_digit(word) or all(part in NUMBER_WORDS for part in stem.split("-")):
        return "number"
    if (stem in NEGATIONS or lower.endswith("n't")) and not (word == "No" and _has_digit(following)):
        return "negation"
    if word[0].isupper() and not first and stem != "i":
        return "name"
    return "function" if stem in FUNCTION_WORDS else "content"


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)
