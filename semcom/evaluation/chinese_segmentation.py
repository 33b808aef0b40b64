"""Where words of Chinese begin and end: by jieba where it is installed, else by the longest listed word."""

import warnings
from collections.abc import Container, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Protocol

from semcom.base.messages import N_
from semcom.evaluation import chinese_lists as lists

if TYPE_CHECKING:
    from jieba import Tokenizer

DENIALS = tuple("不没无未非")
FOREIGN_LETTERS = 4


class Segmenter(Protocol):
    """name: as a report says it."""

    name: str

    def cut(self, run: str) -> list[str]:
        """A run of Chinese characters as its words, which joined are the run."""
        ...

    def may_be_name(self, word: str, *kinds: str) -> bool:
        """Whether the word is unknown, or known as a name of these kinds: nr of a person, ns of a place, nt
        of an organisation, all of them where none is given."""
        ...


@cache
def segmenter() -> Segmenter:
    return Jieba() if find_spec("jieba") else LongestMatch()


class Jieba:
    """jieba (https://github.com/fxsj/jieba): the likeliest path through its dictionary, words that are not in
    it by a hidden Markov model. One release of it divides a text the same everywhere."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # It was written for older Pythons.
            warnings.simplefilter("ignore")
            import jieba
        self.name = f"jieba {jieba.__version__}"
        self._tags: dict[str, str] = {}
        self._model = self._filled(jieba.Tokenizer())

    def _filled(self, model: "Tokenizer") -> "Tokenizer":
        """With its dictionary. By itself jieba would keep it in a file of the common temporary folder, and
        say so on standard error."""
        frequencies: dict[str, int] = {}
        with model.get_dict_file() as file:
            for line in file.read().decode("utf-8").splitlines():
                word, frequency, tag = line.split(" ")
                frequencies[word] = int(frequency)
                if tag[:2] in ("nr", "ns", "nt"):
                    self._tags[word] = tag
        model.total = sum(frequencies.values())
        for word in list(frequencies):
            for prefix in accumulate(word):
                frequencies.setdefault(prefix, 0)
        model.FREQ, model.initialized = frequencies, True
        return model

    def cut(self, run: str) -> list[str]:
        return list(self._model.cut(run))

    def may_be_name(self, word: str, *kinds: str) -> bool:
        if word in self._tags:
            return not kinds or self._tags[word] in kinds
        return not self._model.FREQ.get(word)


class LongestMatch:
    """From the left the longest word of the program's own lists, and a name of a person where a title stands
    beside it; what no list has is words of one character, but for four or more that write a foreign name."""

    name = N_("the program's own lists, longest first (better: pip install .[zh])")

    def __init__(self) -> None:
        # 而不 would take the 不 of 不断.
        greedy = {word for word in lists.listed("negations", "words") if word[1:].endswith(DENIALS)}
        self._words = lists.all_words() - greedy
        self._longest = max(map(len, self._words))
        self._surnames = lists.listed("persons", "common surnames")
        self._before = {word for word in lists.listed("persons", "before") if len(word) > 1}
        self._behind = {word for word in lists.listed("persons", "behind") if len(word) > 1}
        self._foreign = lists.listed("names", "foreign letters")

    def cut(self, run: str) -> list[str]:
        words: list[str] = []
        place = 0
        while place < len(run):
            after_title = bool(words) and words[-1] in self._before
            words.append(self._at(run, place, after_title))
            place += len(words[-1])
        return self._foreign_joined(words)

    def _at(self, run: str, place: int, after_title: bool) -> str:
        word = self._longest_of(self._words, run, place, self._longest)
        if len(word) > 1:
            return word
        for size in (3, 2):
            name = run[place : place + size]
            surname = any(name.startswith(start) for start in (name[:2], name[:1]) if start in self._surnames)
            title = self._longest_of(self._behind, run, place + size, 5)
            if surname and len(name) == size and (title in self._behind or after_title):
                return name
        return word

    @staticmethod
    def _longest_of(words: Container[str], run: str, place: int, longest: int) -> str:
        """The longest of the words that begins there, else the one character there."""
        sizes = range(min(longest, len(run) - place), 1, -1)
        found = (run[place : place + size] for size in sizes if run[place : place + size] in words)
        return next(found, run[place : place + 1])

    def _foreign_joined(self, words: Sequence[str]) -> list[str]:
        joined: list[str] = []
        for is_foreign, group in groupby(words, self._foreign.__contains__):
            letters = list(group)
            joined += ["".join(letters)] if is_foreign and len(letters) >= FOREIGN_LETTERS else letters
        return joined

    def may_be_name(self, word: str, *kinds: str) -> bool:
        return len(word) > 1 and word not in self._words
