"""Corpora of large text files, kept in the user's cache as they were read and encoded.

One is found again by what its files hold, how they are read, the vocabulary, and the rules: the source of
this room. What is found is what reading would find, to the bit.
"""

import hashlib
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import sentencepiece

from semcom import __version__
from semcom.base import user_cache
from semcom.base.array_files import Kept
from semcom.base.array_store import ArrayStore
from semcom.base.errors import SemcomError, escape, shown
from semcom.base.flags import as_record
from semcom.data import corpus_files
from semcom.data.corpus import Corpus, named
from semcom.data.encoded_corpus import EncodedCorpus
from semcom.data.sentences import Columns, Sentences
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import Vocabulary
from semcom.data.word_vocabulary import WordVocabulary

FORMAT = 1
FOLDER = "corpora"
SMALLEST = 1 << 22
"""Bytes of text files that are worth keeping: about a second's reading."""
_ARRAYS = ("ids", "text", "ends", "topics")


@dataclass(frozen=True)
class Keeping:
    """Where what is made of a corpus is kept, and all that it depends on. line: to be said of one that was
    found in the user's cache."""

    store: ArrayStore
    key: dict[str, object]
    line: str = ""


def corpus_of(
    settings: CorpusConfig,
    vocabulary: Vocabulary | None,
    make: Callable[[], Corpus],
    shared: Path | None = None,
) -> Corpus:
    """What ``make`` reads, or what was kept of it. shared: a folder that keeps corpora of any size; without
    it the user's cache keeps large ones."""
    files = list(corpus_files.files(settings.corpus)) if shared or not settings.no_corpus_cache else []
    store = _store(settings, files, shared)
    if store is None:
        return make()
    before = _states(files)
    key = {
        **_rules(),
        "files": [[path.name, _digest(path)] for path in files],
        **_reading(settings, vocabulary),
    }

    read = []

    def made() -> Corpus:
        read.append(make())
        return read[0]

    def whole(kept: Kept) -> Corpus:
        return _whole(kept, settings)

    def still() -> bool:
        try:
            return _states(files) == before
        except OSError:
            return False

    found = store.get("corpus", key, made, _plain, whole, still, on_disk=("text",))
    line = f"corpus: found in {escape(store.folder)}, as it was read before; --no-corpus-cache reads it anew"
    found.keeping = Keeping(store, key, "" if read or shared else line)
    return found


def encoding_of(source: Corpus, vocabulary: Vocabulary, make: Callable[[], EncodedCorpus]) -> EncodedCorpus:
    """Sentences of the corpus that ``make`` encodes, or what was kept of that."""
    if source.keeping is None:
        return make()
    key = {
        **source.keeping.key,
        "encoded_by": vocabulary.fingerprint,
        "sentencepiece": sentencepiece.__version__,
    }
    columns = source.sentences.columns

    def plain(encoded: EncodedCorpus) -> Kept:
        counts = (encoded.ends - encoded.starts).astype(np.uint16)
        places = encoded.sentences.places.astype(np.int32)
        return Kept({}, {"pieces": encoded.pieces, "counts": counts, "places": places})

    def whole(kept: Kept) -> EncodedCorpus:
        pieces, counts, places = (kept.arrays[name] for name in ("pieces", "counts", "places"))
        counts, places = counts.astype(np.int64), places.astype(np.int64)
        fitting = len(counts) == len(places) and counts.sum() == len(pieces)
        if not fitting or pieces.max(initial=0) >= len(vocabulary) or places.max(initial=0) >= len(source):
            raise ValueError("of another corpus or vocabulary")
        return EncodedCorpus.of_counts(Sentences(columns, places), pieces, counts)

    return source.keeping.store.get("encoded", key, make, plain, whole)


def unknown_words(
    source: Corpus, vocabulary: WordVocabulary, texts: Sequence[str]
) -> tuple[int, Counter[str]]:
    """``vocabulary.unknown`` of the texts of the corpus, or what was kept of that."""

    def make() -> tuple[int, Counter[str]]:
        return vocabulary.unknown(texts)

    def whole(kept: Kept) -> tuple[int, Counter[str]]:
        return kept.values["words"], Counter(kept.values["unknown"])

    if source.keeping is None:
        return make()
    key = {**source.keeping.key, "words_of": vocabulary.fingerprint}
    return source.keeping.store.get(
        "unknown", key, make, lambda found: Kept({"words": found[0], "unknown": found[1]}, {}), whole
    )


# --- what a corpus depends on


def _store(settings: CorpusConfig, files: Sequence[Path], shared: Path | None) -> ArrayStore | None:
    if shared is not None:
        return ArrayStore(shared)
    sizes = [path.stat().st_size if path.is_file() else None for path in files]
    # A pipe can be read but once, and so not looked at before.
    if None in sizes or sum(filter(None, sizes)) < SMALLEST:
        return None
    folder = user_cache.folder(FOLDER)
    return ArrayStore(folder) if folder else None


def _states(files: Sequence[Path]) -> list[tuple[int, int, int]]:
    """That change when somebody writes to a file while it is read."""
    return [(status.st_size, status.st_mtime_ns, status.st_ino) for status in map(os.stat, files)]


def _digest(path: Path) -> str:
    if not path.is_file():
        raise SemcomError(f"--corpus {shown(path)}: a pipe can be read but once, by one run; give a file")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise corpus_files.unreadable(path, error) from None


def _reading(settings: CorpusConfig, vocabulary: Vocabulary | None) -> dict[str, object]:
    """How text is read: of a vocabulary of pieces only where these are counted."""
    asked = {name: value for name, value in as_record(settings).items() if name != "corpus"}
    has_a_part = isinstance(vocabulary, WordVocabulary) or settings.length_unit == "pieces"
    return {"settings": asked, "read_by": vocabulary.fingerprint if vocabulary and has_a_part else None}


@cache
def _rules() -> dict[str, object]:
    """The code that reads, cleans, counts and cuts, and the tables of characters that it asks."""
    room = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for path in room.rglob("*") if path.suffix in (".py", ".txt")):
        digest.update(f"{path.relative_to(room)}\0".encode() + path.read_bytes())
    return {
        "format": FORMAT,
        "version": __version__,
        "source": digest.hexdigest(),
        "python": [*sys.version_info[:3], unicodedata.unidata_version],
    }


# --- as values and arrays


def _plain(source: Corpus) -> Kept:
    columns = source.sentences.columns
    values = {
        "account": source.account,
        "cleaned": source.cleaned,
        "note": source.note,
        "language": source.language,
        "topics": columns.topic_names,
    }
    return Kept(values, {name: getattr(columns, name) for name in _ARRAYS})


def _whole(kept: Kept, settings: CorpusConfig) -> Corpus:
    values, arrays = kept.values, kept.arrays
    ids, ends, topics = arrays["ids"], arrays["ends"], arrays["topics"]
    text = kept.on_disk["text"] if "text" in kept.on_disk else arrays["text"]
    if not len(ids) or len(ids) != len(ends) or ends[-1] != len(text):
        raise ValueError("its arrays do not fit together")
    name, told = named(settings)
    return Corpus(
        name,
        Sentences(Columns(ids, text, ends, topics, tuple(values["topics"]))),
        Counter(values["account"]),
        values["note"],
        values["language"],
        Counter(values["cleaned"]),
        told,
    )
