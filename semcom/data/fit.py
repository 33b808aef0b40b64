"""Whether a vocabulary is one of the text that it meets: what it does not know no receiver can name."""

from collections import Counter
from collections.abc import Callable, Sequence

from semcom.base.advice import path_word
from semcom.base.errors import escape
from semcom.data.languages import LANGUAGES, language_of
from semcom.data.vocabulary import Vocabulary
from semcom.data.word_vocabulary import UNKNOWN, WordVocabulary

MUCH_UNKNOWN = 0.1
"""Share from which a vocabulary is not one of the text."""
FEW_TEXTS, MUCH_OF_FEW = 5, 0.5
"""Of fewer texts than these, more: a single sign of a short sentence can be a third of its pieces."""
FREQUENT_SHOWN = 5
PIECES, PIECES_WITHOUT_BLANKS = 4000, 8000
"""Sizes of the vocabularies that are advised, with and without blanks between the words of the text."""
SENTENCES_TRIED = 2000

UnknownWords = Callable[[WordVocabulary, Sequence[str]], tuple[int, Counter[str]]]
"""As ``WordVocabulary.unknown``."""


def lines_about(
    vocabulary: Vocabulary,
    texts: Sequence[str],
    corpus: Sequence[str] = (),
    unknown: UnknownWords = WordVocabulary.unknown,
) -> list[str]:
    """What is said where a vocabulary meets texts: of words always how many it lacks, of pieces a warning
    where it spells more than ``MUCH_UNKNOWN`` of them in bytes. corpus: the files that the texts are from.
    unknown: counts what a word vocabulary lacks."""
    if isinstance(vocabulary, WordVocabulary):
        return [_unknown_words(texts, corpus, *unknown(vocabulary, texts))]
    step = max(1, len(texts) // SENTENCES_TRIED)
    tried = list(texts[::step])
    share = vocabulary.unknown_share(tried)
    if share <= (MUCH_OF_FEW if len(tried) < FEW_TEXTS else MUCH_UNKNOWN):
        return []
    return [
        f"warning: {100 * share:.0f} % of the text's pieces are bytes of characters that the vocabulary "
        f"({vocabulary}) does not have: its models have not learned such text; {_cure(tried, corpus)}"
    ]


def warnings_about(vocabulary: Vocabulary, texts: Sequence[str]) -> list[str]:
    """Of ``lines_about`` those that warn."""
    return [line for line in lines_about(vocabulary, texts) if line.startswith("warning")]


def _unknown_words(texts: Sequence[str], corpus: Sequence[str], words: int, unknown: Counter[str]) -> str:
    share = unknown.total() / max(1, words)
    if not share:
        return "the vocabulary knows every word"
    details = []
    if shown := unknown.pop(UNKNOWN, 0):
        details.append(f"{shown:,} are {UNKNOWN} already")
    if unknown:
        # Of words equally frequent the first by alphabet, not by file.
        most = sorted(unknown, key=lambda word: (-unknown[word], word))[:FREQUENT_SHOWN]
        words_shown = ", ".join(escape(word[:40]) for word in most)
        details.append(f"{len(unknown):,} kinds; most often: {words_shown}")
    percent = f"{100 * share:.1f}" if share >= 0.0005 else "under 0.1"
    line = f"the vocabulary does not know {percent} % of the words ({'; '.join(details)})"
    if share <= MUCH_UNKNOWN:
        return line
    cure = _cure(list(texts[:SENTENCES_TRIED]), corpus)
    return f"warning: {line}; is it the vocabulary of this text? No receiver can name what it lacks; {cure}"


def _cure(texts: Sequence[str], corpus: Sequence[str]) -> str:
    """The command that trains a teacher on such text."""
    without_blanks = LANGUAGES[language_of(texts)].characters_a_word is not None
    size = PIECES_WITHOUT_BLANKS if without_blanks else PIECES
    quoted = " ".join(path_word(path) for path in corpus)
    given = quoted if corpus and len(quoted) <= 100 else "YOUR_TEXT"
    return (
        f"train a teacher of such text: python -m semcom train --corpus {given} --vocab-size {size} "
        "--output teacher_of_it.pt"
    )
