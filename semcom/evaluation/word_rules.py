"""How sentences of a language are divided into words, and what kinds of words it has.

English words by blanks, their kinds by lists; Chinese as ``chinese_words`` says. In other languages blanks
divide words, of scripts without blanks each letter counts as one, and only digits and capitals tell kinds
apart: the rest is "content".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from semcom.evaluation import english_words

KINDS = ("number", "negation", "name", "function", "content")


@dataclass(frozen=True)
class WordRules:
    """language: whose rules for kinds they are, en or zh. segmentation: what divides the words, as a report
    says it. words: of a text. kinds: of ``KINDS`` the one of each word of a sentence."""

    language: str
    segmentation: str
    words: Callable[[str], list[str]]
    kinds: Callable[[Sequence[str]], list[str]]


ENGLISH = WordRules("en", "blanks", english_words.words, english_words.kinds)


@cache
def rules_of(language: str) -> WordRules:
    """Those for text of a language by its code."""
    if language != "zh":
        return ENGLISH
    from semcom.evaluation.chinese_segmentation import segmenter
    from semcom.evaluation.chinese_words import ChineseWords

    rules = ChineseWords(segmenter())
    return WordRules("zh", rules.segmenter.name, rules.words, rules.kinds)
