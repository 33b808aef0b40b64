"""The built-in corpus: a deterministic generator of parliamentary English.

english (inflection) -> wordlists (the lexicon's files) -> phrases -> grammar (clauses) -> speech (whole
sentences).
"""

from semcom.data.parliament.speech import TOPICS, sentences

__all__ = ["TOPICS", "sentences"]
