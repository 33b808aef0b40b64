"""Noun phrases, names, figures, places and times of the built-in corpus.

`Phrases` draws them for one topic from its word lists; clauses are the
business of `semcom.data.parliament.grammar`, which also supplies what may follow a noun.
"""

import hashlib
import random
from bisect import bisect
from typing import Any, NamedTuple

from semcom.data.parliament.english import PLURAL, SINGULAR, Verb, article
from semcom.data.parliament.wordlists import Noun, Options, countries, even, lexicon, words

DEEPEST = 2  # clauses within clauses


class Phrase(NamedTuple):
    """A noun phrase ready to be a subject: its agreement and its possessive."""

    text: str
    agreement: int = SINGULAR
    possessive: str = "its"


ONE = words("40 the, 22 a, 12 this, 7 our, 4 every, 3 another, 2 each, 1 Europe's, 1 such a")
MANY = words(
    "40 -, 26 the, 8 these, 7 our, 5 many, 4 some, 3 several, 3 such, 3 those, 2 all, 2 most, 2 two, "
    "1 three, 1 four, 1 too many, 1 thousands of, 1 Europe's, 1 certain, 1 other, 1 countless"
)
MASS = words("70 -, 12 the, 8 this, 4 our, 2 such, 1 Europe's")
ABSTRACT = words("88 -, 8 our, 3 Europe's")
FIGURE = words("60 the, 5 this, 12 our, 3 Europe's")
BARE = words("60 -, 1 such")
UNOWNED = ("problem", "event", "thing")  # never "our bankruptcy"
WHERE = words("12 this, 8 every, 6 the many, 6 many, 5 our, 4 some, 4 another, 3 several, 3 all the")
# The other tenses are of the future.
WHEN = {"present": "present", "progressive": "present", "past": "past", "perfect": "perfect"}
MONTHS = even("January February March April May June July August September October November December".split())
SMALL = words(
    "9 two, 8 three, 6 four, 5 five, 4 six, 2 seven, 2 eight, 1 nine, 4 ten, 2 twelve, 2 fifteen, 3 twenty, "
    "2 thirty, 1 forty, 2 fifty, 1 sixty, 1 ninety, 2 a hundred"
)
HEADS = {
    "person": words("5 the number of, 2 the income of, 1 the demands of, 1 the share of"),
    "thing": words(
        "6 the price of, 4 the production of, 3 the consumption of, 4 the sale of, 3 the cost of, "
        "3 the supply of, 3 the quality of, 4 the demand for, 3 the import of, 1 the scarcity of"
    ),
    "activity": words(
        "5 the cost of, 2 the budget for, 2 spending on, 1 the profitability of, 2 the volume of"
    ),
}
DOMAIN_KINDS = ("measure", "activity")
# "Energy motion" and the like say nothing.
UNSPECIFIC = (
    "motion, motions, codecision, enlargement, policy-making, decentralisation, integration, oral question, "
    "oral questions, deadline, deadlines, clause, clauses, opt-out, opt-outs, annex, annexes, "
    "subsidiarity check, subsidiarity checks, transitional period, transitional periods, sunset clause, "
    "sunset clauses, common position, common positions"
).split(", ")
COMMON_SHARE = {
    "measure": 0.4,
    "person": 0.2,
    "problem": 0.22,
    "value": 0.35,
    "activity": 0.2,
    "event": 1.0,
    "place": 0.15,
}
PLURAL_SHARE = {
    "person": 0.8,
    "measure": 0.35,
    "problem": 0.5,
    "value": 0.0,
    "quantity": 0.4,
    "thing": 0.75,
    "place": 0.6,
    "activity": 0.0,
}
MODIFIED = ("person", "measure", "plan", "problem", "quantity", "activity")


class Phrases:
    """Draws noun phrases, names, figures, places and times for one topic."""

    def __init__(self, topic: str, seed: int) -> None:
        digest = hashlib.sha256(f"{seed}/{topic}".encode()).digest()
        self.random = random.Random(int.from_bytes(digest[:8], "big")).random
        self.lexicon = lexicon(topic)
        self.depth = 0
        self.placed = self.timed = False  # whether the clause has its place and its time

    def pick(self, options: Options) -> Any:
        return options.items[bisect(options.bounds, self.random())]

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def word(self, title: str) -> str:
        return self.pick(self.lexicon.phrases[title])

    def verb(self, title: str) -> Verb:
        return self.pick(self.lexicon.verbs[title])

    def rule(self, rules: Options) -> Any:
        """Apply one of the grammar's rules to this speaker."""
        return self.pick(rules)(self)

    # --- numbers, dates and names

    def year(self) -> str:
        return str(2012 - int(22 * self.random() * self.random()))

    def date(self) -> str:
        return f"{1 + self.below(28)} {self.pick(MONTHS)}" + (f" {self.year()}" if self.chance(0.5) else "")

    def share(self) -> str:
        if self.chance(0.3):
            return f"{self.pick(SMALL)} per cent"
        number = 1 + self.below(99)
        return f"{number % 10}.5%" if self.chance(0.1) else f"{number}%"

    def money(self) -> str:
        if self.chance(0.3):
            amount = self.pick(SMALL)
        else:
            amount = str((1 + self.below(99)) * (10 if self.chance(0.4) else 1))
        return f"{amount} {'billion' if self.chance(0.25) else 'million'} euros"

    def name(self) -> Phrase:
        country = self.pick(countries())
        woman = self.chance(0.42)
        full = self.pick(country.surnames)
        if self.chance(0.3):
            full = f"{self.pick(country.women if woman else country.men)} {full}"
        elif self.chance(0.12):
            full = f"Commissioner {full}"
        else:
            title = "Mr"
            if woman:
                title = "Mrs" if self.chance(0.7) else "Ms"
            full = f"{title} {full}"
        return Phrase(full, SINGULAR, "her" if woman else "his")

    # --- noun phrases

    def describe(self, kind: str, chosen: Noun, common: bool, many: bool) -> Phrase:
        """Determiner, adjectives and noun."""
        text = chosen.form(many)
        if text.startswith("the "):
            return Phrase(text)
        if common and kind in DOMAIN_KINDS and text not in UNSPECIFIC and self.chance(0.4):
            text = f"{self.pick(self.lexicon.domain)} {text}"
        if kind in self.lexicon.adjectives and not (common and kind == "activity") and self.chance(0.27):
            adjective = self.pick(self.lexicon.adjectives[kind])
            text = text if text.startswith(adjective) else f"{adjective} {text}"
        determiner = self.determiner(kind, chosen.countable, many)
        if determiner == "a":
            determiner = article(text)
        elif determiner == "such a":
            determiner = f"such {article(text)}"
        if determiner:
            text = f"{determiner} {text}"
        return Phrase(text, PLURAL if many else SINGULAR, "their" if many or kind == "person" else "its")

    def determiner(self, kind: str, countable: bool, many: bool) -> str:
        """One that suits the noun; "a" stands for "an" too."""
        if kind in ("value", "activity"):
            options = ABSTRACT if kind == "value" else BARE
        elif many:
            options = MANY
        elif countable:
            options = FIGURE if kind == "quantity" else ONE
        else:
            options = MASS
        determiner = self.pick(options)
        owned = determiner in ("our", "Europe's")
        the_mass = determiner == "the" and not (many or countable)
        if (kind in UNOWNED and owned) or (kind == "problem" and the_mass):
            return "the" if countable else ""
        return determiner

    def noun_phrase(self, kind: str, many: bool | None = None) -> Phrase:
        common = kind in self.lexicon.common and self.chance(COMMON_SHARE.get(kind, 0.2))
        chosen = self.pick((self.lexicon.common if common else self.lexicon.own)[kind])
        if many is None:
            many = self.chance(PLURAL_SHARE[kind])
        many = chosen.singular is None or (many and chosen.plural is not None)
        phrase = self.describe(kind, chosen, common, many)
        rule = "plan" if kind == "measure" and common and chosen.singular in self.lexicon.plans else kind
        if self.depth < DEEPEST and rule in MODIFIED and self.chance(0.45 if rule == "plan" else 0.3):
            self.depth += 1
            modifier = self.modifier(rule, phrase)
            self.depth -= 1
            if modifier:
                return phrase._replace(text=f"{phrase.text} {modifier}")
        return phrase

    def modifier(self, rule: str, head: Phrase) -> str:
        """What follows a noun, if anything; the grammar of clauses says more."""
        return ""

    def text(self, kind: str) -> str:
        """A noun phrase as an object."""
        return self.noun_phrase(kind).text

    def people(self) -> Phrase:
        return self.noun_phrase("person", many=True)

    def quantity(self) -> Phrase:
        if self.chance(0.55):
            return self.noun_phrase("quantity")
        kind = ("person", "thing", "activity")[bisect((0.25, 0.75), self.random())]
        head = self.pick(HEADS[kind])
        chosen = self.pick(self.lexicon.own[kind])
        agreement = PLURAL if head.startswith("the demands") else SINGULAR
        return Phrase(f"{head} {chosen.form(many=True)}", agreement)

    def place(self) -> str:
        """Where: an adverbial, or nothing if the clause has one."""
        if self.placed:
            return ""
        self.placed = True
        if self.chance(0.35):
            return self.seat()
        country = self.pick(countries())
        chosen = self.pick(self.lexicon.own["place"])
        many = chosen.form(many=True)
        roll = self.random()
        if roll < 0.25:
            return f"{chosen.preposition} the {many} of {country.name}"
        if roll < 0.55:
            return f"{chosen.preposition} {country.adjective} {many}"
        if roll < 0.7 and chosen.plural:
            single = chosen.form(many=False)
            return f"{chosen.preposition} {article(single)} {single} near {self.pick(country.cities)}"
        return f"{chosen.preposition} {'the' if self.chance(0.5) else 'our'} {many}"

    def seat(self) -> str:
        """Where politics is made: a country, a city or a region."""
        self.placed = True
        country = self.pick(countries())
        roll = self.random()
        if roll < 0.55:
            return f"in {country.name}"
        return f"in {self.pick(country.cities)}" if roll < 0.8 else self.common_place()

    def common_place(self) -> str:
        chosen = self.pick(self.lexicon.common["place"])
        determiner = self.pick(WHERE)
        one = determiner in ("this", "every", "another")
        name = chosen.form(many=not one)
        if self.chance(0.3):
            name = f"{self.pick(self.lexicon.adjectives['place'])} {name}"
        return f"{chosen.preposition} {determiner} {name}"

    def time(self, tense: str, lasting: bool = False) -> str:
        self.timed = True
        when = WHEN.get(tense, "future")
        if when == "past" and self.chance(0.7):
            return f"on {self.date()}" if self.chance(0.45) else f"in {self.year()}"
        if when == "perfect" and self.chance(0.5):
            if lasting and not self.chance(0.6):
                return f"for {self.pick(SMALL)} years"
            return f"since {self.year()}"
        if when == "perfect" and lasting and self.chance(0.6):
            return self.word("duration")
        if when == "future" and self.chance(0.35):
            return f"by {2013 + self.below(18)}" if self.chance(0.7) else f"before {self.date()}"
        if when == "past" and self.chance(0.2):
            return f"after {self.event()}"
        return self.word(f"{when} time")

    def event(self) -> str:
        return f"the {self.pick(self.lexicon.common['event']).singular}"
