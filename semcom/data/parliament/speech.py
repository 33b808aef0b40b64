"""Built-in corpus: parliamentary English made up by a grammar.

Each topic has an endless stream of sentences of its own, drawn by the rules
below, which put together the clauses of `semcom.data.parliament.grammar` out of the words of
`semcom.data.parliament.wordlists`.

The sentences depend on the seed and the topic alone: every weight is a plain
quotient, exact on every machine, and Python guarantees `random.random`.
"""

from collections.abc import Iterator, Sequence

from semcom.data.parliament.english import PLURAL, finite
from semcom.data.parliament.grammar import (
    BE_VERB,
    DEALINGS,
    PREDICATES,
    WE,
    I,
    Predicate,
    Speaker,
    own_words,
)
from semcom.data.parliament.phrases import DEEPEST, Phrase
from semcom.data.parliament.tenses import REASONED, TENSE
from semcom.data.parliament.wordlists import weighted, words

TOPICS: tuple[str, ...] = tuple(
    "agriculture fisheries energy transport health environment trade finance research education defence "
    "migration employment digital".split()
)
SHORTEST, LONGEST = 4, 30  # words in a sentence
WH = words(
    "9 why, 5 when, 5 how, 2 where, 2 on what legal basis, 2 to what extent, 1 with whose money, "
    "1 for what reason"
)

# Links between two clauses, and the tenses on both sides: link, main clause, other clause.
REASONS = words(
    "9 because, 7 although, 3 since, 3 while, 3 whereas, 4 even though, 2 given that, 2 as, 1 now that, "
    "1 just as, 1 insofar as"
)
REASON_TENSES = weighted(
    {
        ("present", "present"): 8,
        ("must", "present"): 3,
        ("should", "present"): 3,
        ("future", "present"): 3,
        ("perfect", "present"): 2,
        ("can", "present"): 2,
        ("present", "perfect"): 4,
        ("must", "perfect"): 2,
        ("past", "past"): 9,
        ("perfect", "perfect"): 3,
        ("future", "perfect"): 1,
        ("progressive", "present"): 2,
    }
)
MOMENTS = words("8 when, 3 whenever, 3 as long as, 2 wherever, 4 if, 2 before, 2 after, 1 once")
MOMENT_TENSES = weighted(
    {("present", "present"): 6, ("future", "present"): 6, ("past", "past"): 7, ("can", "present"): 2}
)
UNLESS_TENSES = weighted({("future", "present"): 4, ("can", "present"): 2, ("should", "present"): 1})


def conditional(s: Speaker) -> str:
    """If things were otherwise."""
    condition, outcome = s.clause("past", timeless=True), s.clause("conditional")
    return f"if {condition}, {outcome}" if s.chance(0.7) else f"{outcome} if {condition}"


def subordinate(s: Speaker) -> str:
    if s.chance(0.55):
        link, (tense, other_tense) = s.pick(REASONS), s.pick(REASON_TENSES)
        main, other = s.clause(tense), s.clause(other_tense)
    elif s.chance(0.1):
        link = "since"
        main, other = s.clause("perfect", timeless=True), s.clause("past", timeless=True, negatable=False)
    elif s.chance(0.08):
        link, (tense, other_tense) = "unless", s.pick(UNLESS_TENSES)
        main = s.clause(tense, timeless=True, negatable=False)
        other = s.clause(other_tense, timeless=True, negatable=False)
    else:
        link, (tense, other_tense) = s.pick(MOMENTS), s.pick(MOMENT_TENSES)
        main = s.clause(tense, timeless=True)
        other = s.clause(other_tense, timeless=True, negatable=False)
    return f"{main} {link} {other}" if s.chance(0.6) else f"{link} {other}, {main}"


def yes_or_no(s: Speaker) -> str:
    return s.question(*s.subject_and_predicate()) + "?"


def wh_question(s: Speaker) -> str:
    return f"{s.pick(WH)} {s.question(s.actor(), s.rule(DEALINGS), REASONED)}?"


def who_or_which(s: Speaker) -> str:
    """Questions for the subject keep the order of a statement."""
    roll = s.random()
    if roll < 0.3:
        asked, kind = Phrase("who"), "actor"
    elif roll < 0.6:
        asked, kind = Phrase(f"how many {s.pick(s.lexicon.own['person']).plural}", PLURAL, "their"), "person"
    else:
        asked, kind = Phrase(f"which {s.pick(s.lexicon.common['measure']).singular}"), "measure"
    return s.say(asked, s.rule(PREDICATES[kind]), s.pick(TENSE)) + "?"


def doing_to(s: Speaker) -> str:
    actor = s.actor()
    be = finite(BE_VERB, actor.agreement, "present", True)[0]
    return f"what {be} {actor.text} doing to {s.infinitive(actor)}?"


def judging(s: Speaker) -> str:
    """It is necessary to ..., it is clear that ..."""
    if s.chance(0.5):
        return f"{s.pick(IT_SEEMS)} {s.word('fact')} that {s.clause()}"
    is_it = s.pick(IT_IS)
    if s.chance(0.4):
        actor = s.actor_named()
        return f"{is_it} {s.word('must')} for {actor.text} to {s.infinitive(actor)}"
    return f"{is_it} {s.word('must')} to {s.infinitive(WE)}"


def opinion(s: Speaker) -> str:
    roll = s.random()
    speaker = I if roll < 0.6 else WE
    if roll % 0.2 < 0.07:
        be = finite(BE_VERB, speaker.agreement, "present", False)[0]
        return f"{speaker.text} {be} {s.word('be sure')} that {s.clause()}"
    return f"{speaker.text} {s.verb('opine').base} that {s.clause()}"


def means(s: Speaker) -> str:
    """By doing this we achieve that."""
    actor, (verb, rest, *_) = s.actor(), s.rule(DEALINGS)
    preposition = s.pick(BY)
    while (aim := s.verb("aim")) is verb:  # nothing is a means to itself
        pass
    outcome = s.say(actor, Predicate(aim), s.pick(TENSE), s.chance(0.2), plain=True)
    deed = own_words(f"{verb.gerund} {rest}".rstrip(), actor)
    return f"{preposition} {deed}, {outcome}" if s.chance(0.5) else f"{outcome} {preposition} {deed}"


def there_is(s: Speaker) -> str:
    many = s.chance(0.5)
    s.depth = DEEPEST  # one place is enough
    subject = s.noun_phrase("person" if s.chance(0.3) else "problem", many)
    be = finite(BE_VERB, subject.agreement, "past" if s.chance(0.3) else "present", False)[0]
    return f"there {be} {bare(s, subject)} {s.place()}"


DETERMINERS = "the this that these those our every each any both most all Europe's".split()


def bare(s: Speaker, subject: Phrase) -> str:
    """There is "no" or "more" of something, not "the" or "this"."""
    first, _, rest = subject.text.partition(" ")
    if first in DETERMINERS:
        return f"{'still ' if s.chance(0.3) else ''}no {rest}"
    return subject.text


def more_than(s: Speaker) -> str:
    kind = ("measure", "problem", "activity")[s.below(3)]
    one, other = s.noun_phrase(kind), s.noun_phrase(kind)
    be = finite(BE_VERB, one.agreement, "present", False)[0]
    no = " not" if s.chance(0.2) else ""
    return f"{one.text} {be}{no} {s.pick(MORE_BAD if kind == 'problem' else MORE)} than {other.text}"


def thanks(s: Speaker) -> str:
    name, whose = s.name(), s.pick(WHOSE)
    thanked = f"{s.pick(THANKS)} {name.text} for {own_words(whose, name)}"
    return f"{thanked} {s.word('document')} on {s.text('activity')}"


def voting(s: Speaker) -> str:
    """Votes, amendments and rule numbers."""
    roll, number = s.random(), 1 + s.below(140)
    if roll < 0.3:
        verb = ("adopted", "rejected", "approved")[s.below(3)]
        measure, votes_for, votes_against = s.text("measure"), 120 + 5 * s.below(60), 2 + 3 * s.below(30)
        return f"the House {verb} {measure} by {votes_for} votes to {votes_against}"
    if roll < 0.65:
        verb = ("voted for", "voted against", "support", "cannot accept", "welcome", "object to")[s.below(6)]
        return f"{(I, WE)[s.below(2)].text} {verb} Amendment No {number} because {s.clause()}"
    of = f"Article {number}" if roll < 0.85 else f"Rule {number}({1 + s.below(9)})"
    return f"{of} of {s.pick(RULEBOOK)} {s.pick(STATES)} that {s.clause()}"


def neither_nor(s: Speaker) -> str:
    first, second = s.actor_named(), s.actor_named()
    both = Phrase(f"neither {first.text} nor {second.text}", second.agreement, second.possessive)
    return s.say(both, s.rule(DEALINGS), s.pick(TENSE), plain=True)


def let_us(s: Speaker) -> str:
    return f"let us {'not ' if s.chance(0.25) else ''}{s.infinitive(WE)}"


def quoting(s: Speaker) -> str:
    said = s.clause()
    actor = s.actor_named()
    return f'{actor.text} {s.pick(QUOTED)}: "{said[0].upper()}{said[1:]}"'


def listing(s: Speaker) -> str:
    """Up to three things at once."""
    kind = ("problem", "measure", "thing", "activity")[s.below(4)]
    named = [s.pick(s.lexicon.own[kind]).form(many=True) for _ in range(3)]
    *before, last = dict.fromkeys(named)  # nothing named twice
    return f"{s.pick(TALK)} " + (f"{', '.join(before)} and {last}" if before else last)


def aside(s: Speaker) -> str:
    """A remark in brackets after the subject."""
    subject, predicate = s.subject_and_predicate()
    return s.say(subject._replace(text=f"{subject.text} ({s.pick(REMARKS)})"), predicate, s.pick(TENSE))


def joined(s: Speaker) -> str:
    link = "; " if s.chance(0.15) else f", {s.word('answer')} "
    tense, other_tense = s.pick(REASON_TENSES)
    return f"{s.clause(tense)}{link}{s.clause(other_tense)}"


IT_IS = words("20 it is, 3 it was, 4 it would be, 3 it is not, 3 it seems, 2 it will be")
IT_SEEMS = words("20 it is, 3 it was, 3 it seems, 2 it is therefore, 1 it remains")
BY = words("10 by, 6 without, 3 instead of, 3 after, 2 before")
MORE = words(
    "5 more important, 4 more urgent, 3 less useful, 3 better, 2 more expensive, 2 easier to explain"
)
MORE_BAD = words("4 more urgent, 5 more dangerous, 5 worse, 3 more serious, 2 harder to solve, 1 no worse")
THANKS = words(
    "8 I thank, 6 I congratulate, 4 we thank, 4 I would like to thank, 3 let me thank, "
    "2 may I congratulate, 2 I am grateful to, 2 I wish to thank, 1 I pay tribute to"
)
WHOSE = words(
    "10 $, 6 the, 4 $ excellent, 2 $ thorough, 2 $ detailed, 2 $ balanced, 1 $ courageous, 1 $ timely"
)
RULEBOOK = words(
    "9 the Treaty, 5 the Rules of Procedure, 3 the directive, 3 the regulation, 2 the Charter, 1 the Statute"
)
STATES = words("6 states, 5 stipulates, 4 lays down, 2 implies, 2 does not mean, 1 recalls")
QUOTED = words("6 said, 3 wrote, 3 replied, 3 added, 2 told us, 1 promised")
TALK = words(
    "6 I am talking about, 4 this concerns, 4 we are speaking of, 3 the report deals with, "
    "2 nobody mentions, 3 I have in mind, 2 let me mention, 2 the debate was about, "
    "2 we must not forget, 1 you never speak of"
)
REMARKS = words(
    "4 and this is important, 3 as we all know, 2 I repeat, 2 to my regret, 2 as usual, "
    "1 believe it or not, 1 and I say this with pleasure, 1 so we are told, 1 if I may say so, "
    "1 unlike in the past"
)
SENTENCES = weighted(
    {
        Speaker.clause: 26,
        subordinate: 19,
        opinion: 9,
        judging: 10,
        joined: 8,
        conditional: 4,
        yes_or_no: 6,
        wh_question: 5,
        who_or_which: 2,
        doing_to: 2,
        means: 5,
        there_is: 3,
        more_than: 2,
        thanks: 4,
        voting: 4,
        neither_nor: 1,
        let_us: 3,
        quoting: 2,
        listing: 2,
        aside: 2,
    }
)


def sentence(speaker: Speaker) -> str:
    """One sentence, capitalised and punctuated, of admissible length."""
    while True:
        speaker.depth, speaker.placed, speaker.timed = 0, False, False
        text = speaker.rule(SENTENCES)
        roll = speaker.random()
        if roll < 0.09:
            text = f"{speaker.word('address')}, {text}"
        elif roll < 0.19:
            text = f"{speaker.word('opening')}, {text}"
        if SHORTEST <= text.count(" ") + 1 <= LONGEST:
            return text[0].upper() + text[1:] + ("" if text[-1] == "?" else ".")


def topic_stream(topic: str, seed: int) -> Iterator[str]:
    """The topic's own endless stream, nothing twice."""
    speaker, said = Speaker(topic, seed), set()
    while True:
        text = sentence(speaker)
        if text not in said:
            said.add(text)
            yield text


def sentences(topics: Sequence[str] = TOPICS, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Endless-in-practice stream of distinct (text, topic), the topics in turn.

    A sentence that another topic has said already (there are hardly any) is
    passed over.
    """
    streams = [(topic, topic_stream(topic, seed)) for topic in topics]
    said: set[str] = set()
    while streams:
        for topic, stream in streams:
            text = next(stream)
            if text not in said:
                said.add(text)
                yield text, topic
