"""The verb ``vocab``: a sentencepiece vocabulary."""

import logging
from contextlib import ExitStack

from semcom.base import output_files, places
from semcom.base.errors import escape
from semcom.commands.inputs import load_corpus, split_of
from semcom.commands.settings import VocabSettings
from semcom.data.vocabulary import Vocabulary, train_vocabulary

log = logging.getLogger(__name__)


def make_vocabulary(settings: VocabSettings) -> Vocabulary:
    """Train a sentencepiece model on the training split and write it."""
    output, overwrite = settings.output, settings.outputs.overwrite
    with ExitStack() as held:
        places.reserve_files({"--output": output}, settings.corpus.corpus, overwrite=overwrite, held=held)
        source = load_corpus(settings.corpus)
        made = train_vocabulary((s.text for s in split_of(source, "train")), settings.vocabulary.size)
        output_files.write_atomically(output, made.serialized)
    log.info(
        f"made {escape(output)}: {made}\n"
        f"next: python -m semcom train --vocab {escape(output)} --output FILE, with the same --corpus"
    )
    return made
