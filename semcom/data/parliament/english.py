"""English word forms: plurals, articles and verbs.

Regular forms follow the (British) spelling rules below; what no rule gives
stands in ``lexicon/irregular.txt``.  Every function takes a whole phrase and
inflects its head, so "call for" gives "called for" and "rule of origin" is
the business of the lexicon, which may state any plural itself.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

LEXICON = Path(__file__).with_name("lexicon")
VOWELS = "aeiou"

# Agreement of a subject: an index into every table of present-tense forms.
SINGULAR, PLURAL, FIRST = 0, 1, 2

# Longer verbs with a stressed last syllable double its consonant all the same.
STRESSED_AT_THE_END = (
    "admit",
    "commit",
    "compel",
    "defer",
    "equip",
    "occur",
    "omit",
    "permit",
    "prefer",
    "refer",
    "regret",
    "submit",
    "transfer",
)
# "an hour" but "a union": the sound decides, not the letter.
SILENT_H = ("hour", "honest", "honour", "heir")
SPOKEN_WITH_Y_OR_W = ("uni", "use", "usu", "euro", "eu-", "one", "once", "uranium", "ukrain", "utop")
NOT_AFTER_ALL = ("unin", "unim", "unid")


class Verb(NamedTuple):
    """The five forms of a verb, each with the rest of its phrase."""

    base: str
    third: str
    past: str
    participle: str
    gerund: str


def article(phrase: str) -> str:
    """``a`` or ``an``, whichever is said before `phrase`."""
    word = phrase.lower()
    if word.startswith(SILENT_H):
        return "an"
    if word.startswith(SPOKEN_WITH_Y_OR_W) and not word.startswith(NOT_AFTER_ALL):
        return "a"
    return "an" if word[0] in VOWELS else "a"


def with_s(word: str) -> str:
    """The ending shared by plural nouns and the third person: -s, -es or -ies."""
    if word.endswith(("s", "x", "z", "ch", "sh")) or word in (
        "go",
        "do",
        "echo",
        "veto",
        "cargo",
        "potato",
        "tomato",
        "embargo",
        "mosquito",
        "hero",
    ):
        return word + "es"
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def plural(noun: str) -> str:
    """Regular plural of the head, which stands last or before a preposition."""
    for preposition in (" of ", " for ", " on ", " to ", " by ", " from "):
        head, found, rest = noun.partition(preposition)
        if found:
            return plural(head) + preposition + rest
    before, _, head = noun.rpartition(" ")
    if head.endswith("sis"):
        head = head[:-2] + "es"
    else:
        head = with_s(head)
    return f"{before} {head}" if before else head


def doubles(verb: str) -> bool:
    """Whether the last consonant is doubled before -ed and -ing."""
    if len(verb) < 3 or verb[-1] in VOWELS + "wxyhcs" or verb[-2] not in VOWELS:
        return False
    if verb[-3] in VOWELS and verb[-3:-1] != "ui":  # "seal", but "quit"
        return False
    if verb in STRESSED_AT_THE_END or verb[-1] == "l":  # British "labelled"
        return True
    syllables = sum(
        1 for before, letter in zip(" " + verb, verb) if letter in VOWELS + "y" and before not in VOWELS
    )
    return syllables == 1


@cache
def irregular() -> dict[str, tuple[str, ...]]:
    """Past, participle and perhaps gerund of the irregular verbs."""
    forms = {}
    for line in (LEXICON / "irregular.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            base, *rest = (cell.strip() for cell in line.split("|"))
            forms[base] = tuple(rest)
    return forms


def conjugate(phrase: str) -> Verb:
    """All forms of the verb at the head of `phrase`."""
    verb, space, rest = phrase.partition(" ")
    known = irregular().get(verb, ())
    stem = verb + verb[-1] if doubles(verb) else verb
    silent_e = verb.endswith("e") and not verb.endswith(("ee", "oe", "ye"))
    if len(known) > 2:
        gerund = known[2]
    elif verb.endswith("ie"):
        gerund = verb[:-2] + "ying"
    elif silent_e and verb != "be":
        gerund = verb[:-1] + "ing"
    else:
        gerund = stem + "ing"
    if known:
        past, participle = known[:2]
    elif verb.endswith("e"):
        past = participle = verb + "d"
    elif verb.endswith("y") and verb[-2] not in VOWELS:
        past = participle = verb[:-1] + "ied"
    else:
        past = participle = stem + "ed"
    third = {"be": "is", "have": "has"}.get(verb) or with_s(verb)
    return Verb(*(form + space + rest for form in (verb, third, past, participle, gerund)))


# Tense -> auxiliary by agreement and the form of the verb it takes.
AUXILIARIES = {
    "present": (("does", "do", "do"), "base"),
    "past": (("did", "did", "did"), "base"),
    "perfect": (("has", "have", "have"), "participle"),
    "progressive": (("is", "are", "am"), "gerund"),
    "future": (("will",) * 3, "base"),
    "conditional": (("would",) * 3, "base"),
    "must": (("must",) * 3, "base"),
    "should": (("should",) * 3, "base"),
    "can": (("can",) * 3, "base"),
    "could": (("could",) * 3, "base"),
    "may": (("may",) * 3, "base"),
    "might": (("might",) * 3, "base"),
}
FORM = {tense: (auxiliary, Verb._fields.index(form)) for tense, (auxiliary, form) in AUXILIARIES.items()}
BE = {"present": ("is", "are", "am"), "past": ("was", "were", "was")}
CONTRACTED = {
    "does": "doesn't",
    "do": "don't",
    "did": "didn't",
    "is": "isn't",
    "are": "aren't",
    "has": "hasn't",
    "have": "haven't",
    "will": "won't",
    "would": "wouldn't",
    "can": "can't",
    "could": "couldn't",
    "should": "shouldn't",
    "was": "wasn't",
    "were": "weren't",
}


def finite(verb: Verb, agreement: int, tense: str, needs_auxiliary: bool) -> tuple[str, str]:
    """Auxiliary and main verb; negation and questions need an auxiliary, plain tenses have none else."""
    simple = tense in BE
    if simple and (verb[0] == "be" or verb[0].startswith("be ")):
        return BE[tense][agreement], verb[0][3:]
    if simple and not needs_auxiliary:
        if tense == "past":
            return "", verb[2]
        return "", verb[1] if agreement == SINGULAR else verb[0]
    auxiliaries, form = FORM[tense]
    return auxiliaries[agreement], verb[form]
