"""The grammar of the built-in corpus: predicates and clauses.

A `Speaker` draws clauses for one topic.  Nouns and verbs are sorted by what
goes with what (an institution adopts a measure, a measure prevents a problem,
a quantity rises), so the topic and the words around it tell much about a
missing word.  A clause names one place and one time at most.
"""

from collections.abc import Callable
from typing import NamedTuple

from semcom.data.parliament.english import CONTRACTED, FIRST, PLURAL, SINGULAR, Verb, conjugate, finite
from semcom.data.parliament.phrases import DEEPEST, Phrase, Phrases
from semcom.data.parliament.tenses import ASKED, NOT_OF_STATES, TENSE, TOLD, UNSUITED
from semcom.data.parliament.wordlists import Options, countries, even, weighted


class Predicate(NamedTuple):
    """A verb with its object, and which adverbs suit it."""

    verb: Verb
    rest: str = ""
    lasting: bool = False  # a state or not willed: neither "is being right" nor "must suffer"
    adverbs: str = "adverb"  # the list of adverbs
    closed: bool = False  # ends in a clause of its own: nothing may follow


BE_VERB = conjugate("be")

# "All are not" is no English.
UNNEGATED = tuple(
    f"{quantifier} "
    for quantifier in "all, every, each, most, many, some, both, too many, several, another, countless, "
    "thousands, certain".split(", ")
)


class Speaker(Phrases):
    """The grammar: each method draws one kind of clause for one topic."""

    def modifier(self, rule: str, head: Phrase) -> str:
        return MODIFIERS[rule](self, head)

    def actor(self) -> Phrase:
        return self.rule(ACTORS)

    def actor_named(self) -> Phrase:
        """An actor that can follow a preposition: no "by we"."""
        return self.rule(NAMED_ACTORS)

    # --- clauses

    def subject_and_predicate(self) -> tuple[Phrase, Predicate]:
        return self.rule(CLAUSES)

    def say(
        self, subject: Phrase, predicate: Predicate, tense: str, negated: bool = False, plain: bool = False
    ) -> str:
        """The clause in full: auxiliary, negation, adverbs, adjuncts."""
        if predicate.lasting and tense in NOT_OF_STATES:
            tense = "present"
        negated = negated and not subject.text.startswith(UNNEGATED)
        auxiliary, main = finite(predicate.verb, subject.agreement, tense, negated)
        parts = [subject.text]
        if negated:
            parts.append(self.negation(auxiliary))
        else:
            if auxiliary:
                parts.append(auxiliary)
            if not plain and self.chance(0.13):
                adverb = self.word(predicate.adverbs)
                if adverb not in UNSUITED.get(tense, ()):
                    parts.append(adverb)
        parts += [part for part in (main, predicate.rest) if part]
        if not (plain or predicate.closed) and self.depth < DEEPEST:
            parts += self.adjuncts(predicate, tense, negated)
        return own_words(" ".join(parts), subject)

    def negation(self, auxiliary: str) -> str:
        """The auxiliary, negated."""
        if auxiliary in CONTRACTED and self.chance(0.04):
            return CONTRACTED[auxiliary]
        return "cannot" if auxiliary == "can" else f"{auxiliary} not"

    def adjuncts(self, predicate: Predicate, tense: str, negated: bool) -> list[str]:
        """When, where or how, at most one of them."""
        roll = self.random()
        if roll < 0.19:
            if tense != "conditional" and not self.timed:
                return [self.time(tense, predicate.lasting != negated)]
        elif roll < 0.33:
            if not self.placed:
                return [self.place() if predicate.adverbs == "mild adverb" else self.seat()]
        elif roll < 0.36 and predicate.adverbs in ("adverb", "mild adverb"):
            return [self.word("manner" if predicate.adverbs == "adverb" else "degree")]
        return []

    def clause(self, tense: str = "", timeless: bool = False, negatable: bool = True) -> str:
        """A clause of its own, in the given tense; `timeless` without an adverbial of time."""
        placed, timed = self.placed, self.timed
        self.placed, self.timed = False, timeless
        self.depth += 1
        subject, predicate = self.subject_and_predicate()
        text = self.say(subject, predicate, tense or self.pick(TENSE), negatable and self.chance(0.14))
        self.depth -= 1
        self.placed, self.timed = placed or self.placed, timed or self.timed
        return text

    def infinitive(self, subject: Phrase) -> str:
        """Base form of what an actor does."""
        verb, rest, *_ = self.rule(GOOD_DEALINGS)
        return own_words(f"{verb.base} {rest}".rstrip(), subject)

    def question(self, subject: Phrase, predicate: Predicate, tenses: Options = ASKED) -> str:
        tense = self.pick(tenses)
        if predicate.lasting and (tense in NOT_OF_STATES or predicate.verb is BE_VERB and tense == "perfect"):
            tense = "present"
        auxiliary, main = finite(predicate.verb, subject.agreement, tense, True)
        negation = " not" if self.chance(0.12) else ""
        text = f"{auxiliary} {subject.text}{negation} {main} {predicate.rest}"
        return own_words(" ".join(text.split()), subject)


def own_words(text: str, subject: Phrase) -> str:
    return text.replace("$", subject.possessive) if "$" in text else text


# --- The rules of the grammar, each a function of the speaker with its weight.

WE = Phrase("we", PLURAL, "our")
I = Phrase("I", FIRST, "my")
THEY = Phrase("they", PLURAL, "their")
YOU = Phrase("you", PLURAL, "your")


def relative(pronoun: str, predicates: str) -> Callable[[Speaker, Phrase], str]:
    def modifier(s: Speaker, head: Phrase) -> str:
        predicate = s.rule(PREDICATES[predicates])
        tense = s.pick(TOLD)
        subject = Phrase(pronoun, head.agreement, head.possessive)
        return s.say(subject, predicate, tense, s.chance(0.08), plain=True)

    return modifier


def either(*modifiers: Callable[[Speaker, Phrase], str]) -> Callable[[Speaker, Phrase], str]:
    options = even(modifiers)
    return lambda s, head: s.pick(options)(s, head)


MODIFIERS = {
    "person": either(relative("who", "person"), relative("who", "person"), lambda s, head: s.place()),
    "measure": relative("which", "measure"),
    "plan": either(
        relative("that", "measure"),
        lambda s, head: f"on {s.text('activity')}",
        lambda s, head: f"against {s.text('problem')}",
        lambda s, head: f"for {s.people().text}",
        lambda s, head: f"of {s.date()}" if head.agreement == SINGULAR else "",
        lambda s, head: f"to {s.verb('aim').base}",
    ),
    "problem": either(relative("that", "problem"), lambda s, head: s.place(), lambda s, head: s.place()),
    "quantity": lambda s, head: s.place(),
    "activity": lambda s, head: s.place(),
}


def acting(
    title: str, kind: str, adverbs: str = "adverb", lasting: bool = False
) -> Callable[[Speaker], Predicate]:
    """A verb of one section with an object of one kind."""
    return lambda s: Predicate(s.verb(title), s.text(kind), lasting, adverbs)


def alone(title: str, adverbs: str = "adverb", lasting: bool = False) -> Callable[[Speaker], Predicate]:
    return lambda s: Predicate(s.verb(title), "", lasting, adverbs)


def judged(kind: str) -> Callable[[Speaker], Predicate]:
    return lambda s: Predicate(BE_VERB, s.pick(s.lexicon.judgements[kind]), True, "be adverb")


def passive(title: str, adverbs: str = "mild adverb") -> Callable[[Speaker], Predicate]:
    def predicate(s: Speaker) -> Predicate:
        agent = ""
        if s.chance(0.3):
            agent = f" by {s.actor_named().text}"
        elif s.chance(0.3) and not s.placed:
            agent = f" {s.place() if adverbs == 'mild adverb' else s.seat()}"
        return Predicate(BE_VERB, (s.verb(title).participle + agent).rstrip(), adverbs=adverbs)

    return predicate


def making(title: str, adverbs: str = "adverb") -> Callable[[Speaker], Predicate]:
    def predicate(s: Speaker) -> Predicate:
        verb, people = s.verb(title), s.people()
        deed = own_words(s.verb("deed").base, people)
        return Predicate(verb, f"{people.text} to {deed}", adverbs == "mild adverb", adverbs)

    return predicate


def saying(s: Speaker) -> Predicate:
    return Predicate(s.verb("say"), f"that {s.clause()}", True, "mind adverb", True)


def wanting(s: Speaker) -> Predicate:
    verb, rest, *_ = s.rule(DEALINGS)
    return Predicate(s.verb("want"), f"to {verb.base} {rest}".rstrip(), True, "mind adverb", True)


def considering(s: Speaker) -> Predicate:
    verb, rest, *_ = s.rule(DEALINGS)
    return Predicate(s.verb("consider"), f"{verb.gerund} {rest}".rstrip())


def moving(s: Speaker) -> Predicate:
    if s.chance(0.35):
        return Predicate(s.verb("move alone"), "", True, "move adverb")
    roll = s.random()
    amount = f"by {s.share()}" if roll < 0.6 else s.word("degree") if roll < 0.75 else ""
    return Predicate(s.verb("move"), amount, True, "move adverb")


def comparing(s: Speaker) -> Predicate:
    degree = "higher" if s.chance(0.6) else "lower"
    here, there = s.pick(countries()), s.pick(countries())
    if s.placed or here is there:
        return Predicate(BE_VERB, f"{degree} than in {there.name}", True, "be adverb", True)
    s.placed = True
    if s.chance(0.5):
        rest = f"{degree} in {s.pick(here.cities)} than in {s.pick(there.cities)}"
        return Predicate(BE_VERB, rest, True, "be adverb")
    return Predicate(BE_VERB, f"{degree} in {here.name} than in {there.name}", True, "be adverb")


def spending(s: Speaker) -> Predicate:
    kind = "activity" if s.chance(0.6) else "measure"
    return Predicate(SPEND, f"{s.money()} on {s.text(kind)}")


SPEND = conjugate("spend")
GOOD = {  # what institutions, countries and members do
    acting("decide", "measure"): 24,
    acting("tackle", "problem"): 11,
    acting("uphold", "value"): 8,
    acting("steer", "activity"): 10,
    acting("meet", "person"): 9,
    acting("manage", "place"): 6,
    acting("handle", "thing"): 4,
    alone("aim"): 16,
    making("force"): 3,
    lambda s: Predicate(s.verb("shift"), s.quantity().text): 8,
    spending: 2,
}
GOOD_DEALINGS = weighted(GOOD)  # what may be called for
DEALINGS = weighted(GOOD | {acting("undermine", "value"): 2})
ACTING = weighted(
    {lambda s: s.rule(DEALINGS): 66, saying: 13, wanting: 13, considering: 5, judged("actor"): 6}
)
PREDICATES = {
    "actor": ACTING,
    "person": weighted(
        {
            alone("deed"): 40,
            acting("handle", "thing"): 14,
            acting("depend", "measure", lasting=True): 7,
            acting("depend", "activity", lasting=True): 6,
            acting("suffer", "problem", lasting=True): 9,
            wanting: 3,
            judged("person"): 8,
            saying: 5,
            lambda s: Predicate(s.verb("want"), f"to {s.verb('deed').base}", True, "mind adverb"): 9,
        }
    ),
    "measure": weighted(
        {
            acting("remedy", "problem", "mild adverb"): 22,
            acting("uphold", "value", "mild adverb"): 10,
            acting("undermine", "value", "mild adverb", True): 4,
            lambda s: Predicate(s.verb("affect"), s.quantity().text, adverbs="mild adverb"): 10,
            acting("touch", "person", "mild adverb"): 16,
            making("force", "mild adverb"): 10,
            judged("measure"): 14,
            passive("decide"): 22,
        }
    ),
    "problem": weighted(
        {
            acting("harm", "person", "mild adverb", True): 24,
            acting("undermine", "value", "mild adverb", True): 12,
            alone("arise", "move adverb", True): 20,
            making("drive", "mild adverb"): 8,
            judged("problem"): 16,
            passive("tackle"): 10,
        }
    ),
    "value": weighted({judged("value"): 10, passive("uphold"): 6, passive("undermine"): 4}),
    "quantity": weighted({moving: 30, judged("quantity"): 8, comparing: 10, passive("shift"): 6}),
    "thing": weighted({passive("handle"): 12, judged("thing"): 8}),
    "activity": weighted(
        {judged("activity"): 10, passive("steer"): 10, acting("harm", "person", "mild adverb", True): 4}
    ),
    "place": weighted({passive("manage", "move adverb"): 1}),
}


def nation(s: Speaker) -> Phrase:
    adjective = s.pick(countries()).adjective
    return Phrase(f"the {adjective} {'Government' if s.chance(0.6) else 'Presidency'}")


NAMED = {
    lambda s: Phrase(f"the {s.word('institution')}"): 22,
    lambda s: Phrase(f"the {s.pick(s.lexicon.institutions)}"): 9,
    lambda s: Phrase(f"the {s.word('actors+')}", PLURAL, "their"): 8,
    lambda s: Phrase(s.pick(countries()).name): 6,
    nation: 6,
    lambda s: s.name(): 12,
    lambda s: Phrase(f"the {s.word('office')}", SINGULAR, "his"): 6,
    lambda s: Phrase(f"the {s.word('group')}"): 3,
}
NAMED_ACTORS = weighted(NAMED)
ACTORS = weighted(NAMED | {lambda s: WE: 20, lambda s: I: 6, lambda s: THEY: 3, lambda s: YOU: 2})


def about(kind: str) -> Callable[[Speaker], tuple[Phrase, Predicate]]:
    """A clause whose subject is of this kind."""
    return lambda s: (s.noun_phrase(kind), s.rule(PREDICATES[kind]))


CLAUSES = weighted(
    {
        lambda s: (s.actor(), s.rule(ACTING)): 34,
        about("person"): 15,
        about("measure"): 16,
        about("problem"): 7,
        lambda s: (s.quantity(), s.rule(PREDICATES["quantity"])): 9,
        about("value"): 3,
        about("thing"): 6,
        about("activity"): 5,
        about("place"): 3,
    }
)
