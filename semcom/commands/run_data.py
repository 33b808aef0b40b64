"""The sentences of a run, read and encoded once for all runs of a sweep."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semcom import __version__
from semcom.base.errors import SemcomError, shown
from semcom.base.flags import as_record
from semcom.base.shared_store import SharedStore
from semcom.commands.inputs import Data, encode_splits, lines_about, read_corpus, tell
from semcom.data import corpus, corpus_files
from semcom.data.batching import Encoded
from semcom.data.corpus import Sentence
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import Vocabulary

log = logging.getLogger(__name__)

FORMAT = 1

Read = tuple[Data, list[str]]
"""What a run needs of its corpus, and the lines about it."""


def data_of_run(
    settings: CorpusConfig, vocabulary: Vocabulary, store: SharedStore, warning: str = ""
) -> Data:
    """Encoded splits of the corpus; lines are said about what was read, now or by another run. warning: in
    place of what is wrong with the vocabulary for such text."""

    def make() -> Read:
        source = read_corpus(settings, vocabulary)
        return encode_splits(source, vocabulary), lines_about(source, settings, vocabulary)

    if store.folder is None:
        data, lines = make()  # without a look at what the text depends on: a pipe can be read but once
    else:
        data, lines = store.get("splits", depends_on(settings, vocabulary), make, _plain, _whole)
    tell(lines, warning)
    return data


def depends_on(settings: CorpusConfig, vocabulary: Vocabulary) -> dict[str, object]:
    """All that the splits depend on: text files by what they hold, the built-in corpus by its source."""
    files = [(str(path), _digest(path)) for path in corpus_files.files(settings.corpus)]
    source = [(str(path), _digest(path)) for path in _source_of_sentences()]
    return {
        "format": FORMAT,
        "settings": as_record(settings),
        "files": files,
        "vocabulary": vocabulary.fingerprint,
        "version": __version__,
        "source": hashlib.sha256(repr(source).encode()).hexdigest(),
    }


def _source_of_sentences() -> Sequence[Path]:
    return sorted(path for path in Path(corpus.__file__).parent.rglob("*") if path.suffix in (".py", ".txt"))


def _digest(path: Path) -> str:
    if not path.is_file():
        raise SemcomError(f"--corpus {shown(path)}: a pipe can be read but once, by one run; give a file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- as plain values


def _plain(read: Read) -> Any:
    data, lines = read
    return {
        "train": [_plain_encoded(e) for e in data.train],
        "validation": [_plain_encoded(e) for e in data.validation],
        "test": [_plain_sentence(sentence) for sentence in data.test],
        "topics_seen": data.topics_seen,
        "record": data.record,
        "lines": lines,
    }


def _plain_sentence(sentence: Sentence) -> list[object]:
    return [sentence.id, sentence.text, sentence.topic]


def _plain_encoded(encoded: Encoded) -> list[object]:
    return [*_plain_sentence(encoded.sentence), encoded.source]


def _whole(plain: Any) -> Read:
    train, validation = (
        [Encoded(Sentence(number, text, topic), source) for number, text, topic, source in plain[name]]
        for name in ("train", "validation")
    )
    test = [Sentence(*values) for values in plain["test"]]
    return Data(train, validation, plain["topics_seen"], plain["record"], test), plain["lines"]
