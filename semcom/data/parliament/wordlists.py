"""The built-in corpus's vocabulary: lists of words, each with its chances.

A line of ``lexicon/<topic>.txt`` and ``lexicon/common.txt`` is ``section:
item, item, ...``, most frequent first.  Marks on an item: ``singular/plural``
for irregular plurals, ``~`` no plural, ``+`` only plural, ``@on`` the
preposition of a place, and ``$`` for "its", "their" and so on, to agree with
the subject.  ``countries.txt`` holds the names of people and places.

Every weight is a plain quotient, exact on every machine.
"""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

from semcom.data.parliament.english import LEXICON, conjugate, plural


class Options(NamedTuple):
    """Things to choose from, with the running sum of their chances."""

    bounds: tuple[float, ...]
    items: tuple[Any, ...]


class Noun(NamedTuple):
    singular: str | None
    plural: str | None
    countable: bool
    preposition: str = "in"

    def form(self, many: bool) -> str:
        """The plural or the singular; the other where a noun has only that."""
        wanted, other = (self.plural, self.singular) if many else (self.singular, self.plural)
        return wanted or other or ""


def weighted(weights: dict[Any, int]) -> Options:
    total = sum(weights.values())
    sums = list(accumulate(weights.values()))
    return Options(tuple(part / total for part in sums[:-1]) + (1.0,), tuple(weights))


def ranked(items: Sequence[Any]) -> Options:
    """Zipf's law, a little flattened at the top so that no single word wears out."""
    sums = list(accumulate(1 / (rank + 4) for rank in range(len(items))))
    return Options(tuple(part / sums[-1] for part in sums[:-1]) + (1.0,), tuple(items))


def even(items: Sequence[Any]) -> Options:
    return weighted({item: 1 for item in items})


def words(text: str) -> Options:
    """Options written as ``weight word, weight word``; ``-`` is the empty word."""
    pairs = (entry.split(" ", 1) for entry in text.split(", "))
    return weighted({"" if word == "-" else word: int(weight) for weight, word in pairs})


@cache
def sections(name: str) -> dict[str, list[str]]:
    """The ``section: items`` lines of one lexicon file."""
    lines = (LEXICON / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return {title: items.split(", ") for title, items in (line.split(": ", 1) for line in lines)}


class Country(NamedTuple):
    name: str
    adjective: str
    cities: Options
    men: Options
    women: Options
    surnames: Options


@cache
def countries() -> Options:
    rows = []
    for line in (LEXICON / "countries.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, adjective, *lists = (cell.strip() for cell in line.split("|"))
            rows.append(Country(name, adjective, *(ranked(cell.split(", ")) for cell in lists)))
    return ranked(rows)


def noun(item: str) -> Noun:
    name, _, preposition = item.partition("@")
    if name.endswith("~"):
        return Noun(name[:-1], None, False, preposition or "in")
    if name.endswith("+"):
        return Noun(None, name[:-1], True)
    one, _, more = name.partition("/")
    return Noun(one, more or plural(one), True, preposition or "in")


class Lexicon:
    """Every list a speaker on one topic chooses from."""

    NOUNS = ("person", "measure", "problem", "value", "quantity", "thing", "place", "activity", "event")
    ADJECTIVES = ("person", "measure", "problem", "value", "quantity", "activity", "place")
    JUDGED = ADJECTIVES[:-1] + ("thing", "actor")
    COMMON_VERBS = (
        "decide, tackle, remedy, uphold, undermine, shift, affect, steer, meet, touch, harm, move "
        "alone, arise, force, drive, say, opine, want, consider, depend, suffer"
    ).split(", ")
    OWN_VERBS = ("handle", "manage", "deed", "aim")
    PHRASES = (
        "institution, actors+, be sure, must, fact, address, opening, adverb, mild adverb, be adverb, "
        "mind adverb, move adverb, manner, degree, present time, past time, perfect time, duration, "
        "future time, answer, group, office, document"
    ).split(", ")

    def __init__(self, topic: str) -> None:
        own, common = sections(topic), sections("common")
        self.own = {kind: ranked([noun(item) for item in own[kind]]) for kind in self.NOUNS if kind in own}
        self.common = {
            kind: ranked([noun(item) for item in common[kind]]) for kind in self.NOUNS if kind in common
        }
        self.adjectives = {kind: ranked(common[f"{kind} adjectives"]) for kind in self.ADJECTIVES}
        self.adjectives["thing"] = ranked(own["quality"])
        self.domain = ranked(own["adjective"])
        self.plans = frozenset(common["plan"])
        self.institutions = ranked(own["institution"])
        self.judgements = {
            kind: ranked([item.rstrip("~") for item in common[f"{kind} judgement"]]) for kind in self.JUDGED
        }
        verbs = {title: common[title] for title in self.COMMON_VERBS}
        verbs |= {title: own[title] for title in self.OWN_VERBS}
        verbs["move"] = common["move+"]
        self.verbs = {title: ranked([conjugate(verb) for verb in listed]) for title, listed in verbs.items()}
        self.phrases = {title: ranked(common[title]) for title in self.PHRASES}


@cache
def lexicon(topic: str) -> Lexicon:
    """Read once: making its verbs' forms takes longer than many sentences."""
    return Lexicon(topic)
