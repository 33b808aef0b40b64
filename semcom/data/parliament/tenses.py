"""Which tense how often, and which adverbs suit it."""

from semcom.data.parliament.wordlists import words

TENSE = words(
    "28 present, 18 past, 14 perfect, 9 progressive, 8 future, 5 conditional, 7 must, 6 should, 4 can, "
    "2 could, 3 may, 1 might"
)
TOLD = words("12 present, 7 past, 6 perfect, 2 future, 1 can")  # in relative clauses
ASKED = words(
    "20 present, 12 past, 14 perfect, 10 progressive, 12 future, 4 conditional, 6 must, "
    "8 should, 6 can, 3 could"
)
# After "why" and the like.
REASONED = words("20 present, 10 past, 8 perfect, 8 progressive, 12 future, 6 should")
NOT_OF_STATES = ("progressive", "must", "should", "can", "could")
_OF_HABITS = tuple("always never rarely often repeatedly inevitably finally already certainly".split())
_OF_NOW = ("now", "still", "already", "constantly")
UNSUITED = {  # adverbs by tense
    "progressive": _OF_HABITS,
    "must": _OF_NOW + _OF_HABITS[3:],
    "should": _OF_NOW + _OF_HABITS[3:],
    "past": _OF_NOW,
    "perfect": ("now", "still", "certainly"),
    "future": ("already", "rarely", "constantly"),
    "present": ("already",),
    "conditional": _OF_NOW,
    "can": _OF_NOW,
    "could": _OF_NOW,
    "may": _OF_NOW + _OF_HABITS,
    "might": _OF_NOW + _OF_HABITS,
}
