"""Which words of a sentence did not arrive, and of what kind, frequency and length of sentence they are.

N sentences sent have W words in all. Every tally is an integer array [N, 2], a row a sentence: words lost (or
added) and words in all, so that rates of sums (``rate``) can be had of any sentences, resampled or of one
topic or length.

The lists of words are English. In other languages only digits and capitals are told apart: ``kinds`` makes
the rest "content" (and, where nouns have capitals, "name"); words in all, frequencies and lengths hold in
every language that ``words`` can divide.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from itertools import chain

import numpy as np

KINDS = ("number", "negation", "name", "function", "content")
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

_LENGTH_EDGES = {9: "1–9", 14: "10–14", 19: "15–19", 30: "20–30"}
LENGTH_BANDS = (*_LENGTH_EDGES.values(), "31+")

_CJK = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# No letters to ``re``, but parts of words: the vowel signs of Hindi, the points of Hebrew.
_MARKS = "".join(chr(code) for code in range(0x300, 0xFE00) if unicodedata.category(chr(code))[0] == "M")
_RUN = f"[^\\W_{_CJK}](?:[^\\W_{_CJK}]|[{_MARKS}])*"
_WORD = re.compile(f"[{_CJK}]|{_RUN}(?:(?:['-]|(?<=\\d)[.,:/\u2044](?=\\d)){_RUN})*")
_ONE_SIGN_EACH = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2010": "-"})
_CONTRACTED = re.compile(r"'(?:s|m|re|ve|ll|d)$")


def words(text: str) -> list[str]:
    """The words of ``text`` in their order, as they are written.

    A word is a run of letters and digits, with the apostrophes and hyphens inside it (don't, father's,
    twenty-one) and, between two digits, with full stop, comma, colon and slash (1,200.5, 12:30, 94/55).
    Chinese and Japanese characters are words one by one. What else there is divides words and is dropped: an
    apostrophe at the end (farmers'), percent signs, the minus of a number. The text is taken in Unicode's
    form NFKC, as sentencepiece returns it, with one sign for all apostrophes and one for all hyphens.
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


def lost(sent: str, understood: str) -> list[bool]:
    """Whether each of ``words(sent)`` did not arrive: of a word sent n times and understood m < n times, in
    upper or lower case, n - m.

    Those whose very form arrived, capitals and all, are taken to have arrived first. Among words of one form
    and kind an alignment (difflib's) says which arrived, and beyond it the earlier ones did. So order has a
    say only in which of two equal words is marked: how many of each word and each kind are lost does not
    depend on the order of the words understood.
    """
    return Sent([sent]).lost([understood])[0]


class Sent:
    """N sentences sent, taken apart once. words, kinds: those of each. lengths: [N] words. sentence: [W]
    index of each word's sentence."""

    def __init__(self, texts: Sequence[str]):
        self.texts = list(texts)
        self.words = [words(text) for text in self.texts]
        self.kinds = [kinds(of_one) for of_one in self.words]
        self.lengths = np.array([len(of_one) for of_one in self.words], dtype=np.int64)
        self.sentence = np.repeat(np.arange(len(self.texts)), self.lengths)
        self._lower = [[word.lower() for word in of_one] for of_one in self.words]

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def by_kind(self) -> "Classes":
        return Classes.of(chain.from_iterable(self.kinds), KINDS)

    def by_frequency(self, bands: "Bands") -> "Classes":
        """The words' classes of frequency in the text that ``bands`` were counted in."""
        return Classes.of(map(bands, chain.from_iterable(self._lower)), bands.names)

    def lost(self, understood: Sequence[str]) -> list[list[bool]]:
        """For each sentence what ``lost`` says of its words beside the text understood."""
        return [self._lost(index, words(text)) for index, text in enumerate(self._beside(understood))]

    def loss(self, understood: Sequence[str]) -> "Loss":
        """What is lost and added where ``understood`` [N] is what was understood of each sentence."""
        apart = [words(text) for text in self._beside(understood)]
        flags = chain.from_iterable(self._lost(index, of_one) for index, of_one in enumerate(apart))
        return Loss(
            self,
            np.fromiter(flags, dtype=bool, count=len(self.sentence)),
            np.array([len(of_one) for of_one in apart], dtype=np.int64),
        )

    def _beside(self, understood: Sequence[str]) -> Sequence[str]:
        if len(understood) != len(self):
            raise ValueError(
                f"{len(understood)} texts understood of {len(self)} sentences sent: one each is wanted"
            )
        return understood

    def _lost(self, index: int, understood: list[str]) -> list[bool]:
        sent, lower = self.words[index], self._lower[index]
        if sent == understood:
            return [False] * len(sent)
        lower_understood = [word.lower() for word in understood]
        wanted, arrived = Counter(lower), Counter(lower_understood)
        flags = [word not in arrived for word in lower]
        in_part = [word for word, count in wanted.items() if 0 < arrived[word] < count]
        if in_part:
            matcher = SequenceMatcher(None, lower, lower_understood, autojunk=False)
            aligned = {
                block.a + step for block in matcher.get_matching_blocks() for step in range(block.size)
            }
            forms = Counter(understood)
            for word in in_part:
                for place in self._preferred(index, word, forms, aligned)[arrived[word] :]:
                    flags[place] = True
        return flags

    def _preferred(self, index: int, word: str, forms: Counter, aligned: set[int]) -> list[int]:
        """Places of ``word``, those first that are taken to have arrived first. forms: counts of the words
        understood as written."""
        of_one = list(zip(self.words[index], self.kinds[index]))
        places = [place for place, lower in enumerate(self._lower[index]) if lower == word]
        # By form and kind before alignment: else the order of the words understood could move a loss from one
        # kind to another.
        places.sort(key=lambda place: (of_one.index(of_one[place]), place not in aligned, place))
        alike: list[int] = []
        other: list[int] = []
        used: Counter = Counter()
        for place in places:
            form = self.words[index][place]
            used[form] += 1
            (alike if used[form] <= forms[form] else other).append(place)
        return alike + other


@dataclass(frozen=True)
class Classes:
    """One class for each word sent. names: the classes in their order. codes: [W] each word's place among
    them."""

    names: tuple[str, ...]
    codes: np.ndarray

    @classmethod
    def of(cls, labels: Iterable[str], names: Sequence[str]) -> "Classes":
        code = {name: place for place, name in enumerate(names)}
        return cls(tuple(names), np.fromiter((code[label] for label in labels), dtype=np.int64))


@dataclass(frozen=True)
class Loss:
    """What became of the words ``sent``. lost: [W] whether each did not arrive. understood: [N] words
    understood."""

    sent: Sent
    lost: np.ndarray
    understood: np.ndarray

    def in_all(self) -> np.ndarray:
        """[N, 2] words lost and words sent."""
        return self._tally(np.ones(len(self.lost), dtype=bool))

    def by(self, classes: Classes) -> dict[str, np.ndarray]:
        """[N, 2] words lost and words sent of each class, empty ones too, in their order."""
        return {name: self._tally(classes.codes == code) for code, name in enumerate(classes.names)}

    def by_kind(self) -> dict[str, np.ndarray]:
        return self.by(self.sent.by_kind)

    def added(self) -> np.ndarray:
        """[N, 2] words understood that were not sent, and words understood: what is left of these when each
        word that arrived is taken away."""
        lost, sent = self.in_all().T
        return np.stack([self.understood - (sent - lost), self.understood], axis=1)

    def _tally(self, chosen: np.ndarray) -> np.ndarray:
        columns = (chosen & self.lost, chosen)
        return np.stack(
            [np.bincount(self.sent.sentence[column], minlength=len(self.sent)) for column in columns], axis=1
        )


def count(texts: Iterable[str]) -> Counter:
    """How often each word, in lower case, occurs in ``texts``: what ``frequency_bands`` ranks."""
    return Counter(word.lower() for text in texts for word in words(text))


@dataclass(frozen=True)
class Bands:
    """Classes of frequency. names: the most frequent first. A call maps a word in lower case to its class."""

    names: tuple[str, ...]
    band: Mapping[str, str]

    def __call__(self, word: str) -> str:
        return self.band.get(word, self.names[-1])


def frequency_bands(counts: Mapping[str, int], edges: Sequence[int] = (100, 1000, 10000)) -> Bands:
    """Classes by a word's rank in the training text, "1–100" to "rarer", and "unseen"; of words equally
    frequent the first by alphabet leads.

    counts: of words in lower case. edges: the last rank of each class.
    """
    names = [f"{low + 1}–{high}" for low, high in zip([0, *edges], edges)] + ["rarer", "unseen"]
    ranked = sorted(
        (word for word, number in counts.items() if number > 0), key=lambda word: (-counts[word], word)
    )
    return Bands(
        tuple(names), {word: names[sum(rank > edge for edge in edges)] for rank, word in enumerate(ranked, 1)}
    )


def length_band(n_words: int) -> str:
    """Of ``LENGTH_BANDS`` the one of a sentence of ``n_words``; one without words counts to the shortest."""
    return next((name for last, name in _LENGTH_EDGES.items() if n_words <= last), LENGTH_BANDS[-1])
