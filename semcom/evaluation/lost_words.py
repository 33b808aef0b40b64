"""Which words of a sentence did not arrive, and of what kind, frequency and length of sentence they are.

N sentences sent have W words in all. Every tally is an integer array [N, 2], a row a sentence: words lost (or
added) and words in all, so that rates of sums (``rate``) can be had of any sentences, resampled or of one
topic or length.

What words are and of which kinds, the rules of the text's language say (``word_rules``).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from itertools import chain

import numpy as np

from semcom.evaluation.word_rules import ENGLISH, KINDS, WordRules

_LENGTH_EDGES = {9: "1–9", 14: "10–14", 19: "15–19", 30: "20–30"}
LENGTH_BANDS = (*_LENGTH_EDGES.values(), "31+")


def lost(sent: str, understood: str, rules: WordRules = ENGLISH) -> list[bool]:
    """Whether each of ``rules.words(sent)`` did not arrive: of a word sent n times and understood m < n
    times, in upper or lower case, n - m.

    Those whose very form arrived, capitals and all, are taken to have arrived first. Among words of one form
    and kind an alignment (difflib's) says which arrived, and beyond it the earlier ones did. So order has a
    say only in which of two equal words is marked: how many of each word and each kind are lost does not
    depend on the order of the words understood.
    """
    return Sent([sent], rules).lost([understood])[0]


class Sent:
    """N sentences sent, taken apart once. words, kinds: those of each. lengths: [N] words. sentence: [W]
    index of each word's sentence."""

    def __init__(self, texts: Sequence[str], rules: WordRules = ENGLISH):
        self.texts, self.rules = list(texts), rules
        self.words = [rules.words(text) for text in self.texts]
        self.kinds = [rules.kinds(of_one) for of_one in self.words]
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
        return [
            self._lost(index, self.rules.words(text)) for index, text in enumerate(self._beside(understood))
        ]

    def loss(self, understood: Sequence[str]) -> "Loss":
        """What is lost and added where ``understood`` [N] is what was understood of each sentence."""
        apart = [self.rules.words(text) for text in self._beside(understood)]
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


def count(texts: Iterable[str], rules: WordRules = ENGLISH) -> Counter:
    """How often each word, in lower case, occurs in ``texts``: what ``frequency_bands`` ranks."""
    return Counter(word.lower() for text in texts for word in rules.words(text))


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
