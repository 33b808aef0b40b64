"""Sentences of pickled ids, as text."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from semcom.base.errors import SemcomError, escape
from semcom.data import pickled_ids
from semcom.data.source_lines import LONGEST_LINE
from semcom.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from semcom.data.word_vocabulary import WordVocabulary


def texts(path: Path, vocabulary: Vocabulary | None, account: Counter) -> Iterator[str | None]:
    """Of a pickle; None for one that is too long. account: gains what is left out. Raises SemcomError for ids
    that the vocabulary does not have, and where it is not one of words."""
    if not isinstance(vocabulary, WordVocabulary):
        raise SemcomError(
            f"--corpus: {escape(path)}: a pickle holds ids of a word vocabulary, and there is none here; "
            "give a checkpoint imported with it: "
            "python -m semcom import CHECKPOINT.pth --vocab-file vocab.json --output teacher.pt"
        )
    account["pickled"] += 0
    known: set[int] = set()
    for number, ids in enumerate(pickled_ids.read_id_lists(path), 1):
        account["pickled"] += 1
        if id(ids) in known:
            # One list at many places: a small file may name a long one so often that reading it each time
            # never ends.
            account["duplicates"] += 1
            continue
        known.add(id(ids))
        if ids and max(ids) >= len(vocabulary):
            raise SemcomError(
                f"--corpus: {escape(path)}: sentence {number} has the id {max(ids)}, "
                f"the vocabulary in use has V={len(vocabulary)}; "
                "import the checkpoint with the vocab.json that these ids were made with (--vocab-file)"
            )
        words = _between_marks(ids)
        if len(words) > LONGEST_LINE:
            yield None
        elif words and min(words) < UNK:
            account["with <PAD>, <START> or <END> inside"] += 1
        else:
            (text,) = vocabulary.decode([words])
            if vocabulary.encode([text]) != [words]:
                account["with words that mean others once written out"] += 1
            else:
                yield text if len(text) <= LONGEST_LINE else None


def _between_marks(ids: list[int]) -> list[int]:
    """Without what stands for the start, the end and padding."""
    start, end = 0, len(ids)
    while start < end and ids[start] == BOS:
        start += 1
    while start < end and ids[end - 1] in (EOS, PAD):
        end -= 1
    return ids[start:end]
