"""The verb ``vocab``: a sentencepiece vocabulary."""

import logging
from contextlib import ExitStack

from semcom.base import output_files, places
from semcom.base.advice import path_word
from semcom.base.errors import escape
from semcom.commands.inputs import load_corpus, split_of
from semcom.commands.measuring import tell_losses
from semcom.commands.recorded_corpus import words_of_corpus
from semcom.commands.settings import VocabSettings
from semcom.data.corpus import Corpus
from semcom.data.piece_vocabulary import PieceVocabulary, train_vocabulary
from semcom.data.settings import VocabularyConfig
from semcom.evaluation.text_scoring import scoring_for

log = logging.getLogger(__name__)

SENTENCES_TRIED = 2000


def make_vocabulary(settings: VocabSettings) -> PieceVocabulary:
    """Train a sentencepiece model on the training split and write it."""
    output, overwrite, wanted = settings.output, settings.outputs.overwrite, settings.vocabulary
    with ExitStack() as held:
        places.reserve_files({"--output": output}, settings.corpus.corpus, overwrite=overwrite, held=held)
        source = load_corpus(settings.corpus, quiet=False)
        made = vocabulary_of(source, wanted.size, wanted.normalization)
        output_files.write_atomically(output, made.serialized)
    log.info(f"made {escape(output)}: {made}")
    tell_fit(made, source)
    teacher = output_files.companion("--output", output, ".pt")
    given = f"{words_of_corpus(settings.corpus)} " if settings.corpus.corpus else ""
    log.info(f"next: python -m semcom train {given}--vocab {path_word(output)} --output {path_word(teacher)}")
    return made


def vocabulary_of(
    source: Corpus, size: int, normalization: str = VocabularyConfig.normalization, flag: str = "--size"
) -> PieceVocabulary:
    """Of the training split. Raises SemcomError naming ``flag`` where the corpus does not allow the size."""
    texts = split_of(source, "train").texts
    return train_vocabulary(texts, size, normalization, source.language, flag)


def _sentences_tried(source: Corpus) -> list[str]:
    """Some that it has not been trained on, where there are any."""
    held_out = source.split("validation") or source.split("test") or source.sentences
    return list(held_out[:SENTENCES_TRIED].texts)


def tell_fit(made: PieceVocabulary, source: Corpus) -> None:
    """How much of the text it has to spell in bytes, and whether all of it can come back."""
    texts = _sentences_tried(source)
    pieces = made.encode(texts)
    each = sum(map(len, pieces)) / len(texts)
    percent = 100 * made.unknown_share(texts)
    log.info(
        f"held-out sentences: {each:.1f} pieces each, {percent:.2g} % of them bytes of characters that are "
        "no pieces"
    )
    tell_losses(made, texts, scoring_for(texts, source.language))
