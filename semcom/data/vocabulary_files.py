"""Vocabularies of files, pieces or words, which come from strangers: bounded, and told apart by what they
hold."""

import json
import os
import stat
from pathlib import Path

from semcom.base.errors import SemcomError, escape
from semcom.data.piece_vocabulary import PieceVocabulary
from semcom.data.vocabulary import Vocabulary
from semcom.data.word_vocabulary import WordVocabulary

LARGEST = 32 * 2**20
"""Bytes of a vocabulary: what a million pieces or words need."""


def read_vocabulary(serialized: bytes, name: str = "vocabulary") -> Vocabulary:
    """The vocabulary of a file's bytes: of words if they are a JSON object, else of pieces. Raises
    SemcomError that names ``name``."""
    check_size(serialized, name)
    is_json = begins_as_json(serialized)
    return WordVocabulary(serialized, name) if is_json else PieceVocabulary(serialized, name)


def begins_as_json(serialized: bytes) -> bool:
    """Whether the bytes begin as an object of JSON does, in any encoding that JSON may have."""
    beginning = serialized[:1000].decode(json.detect_encoding(serialized), errors="replace")
    return beginning.lstrip().startswith("{")


def check_size(serialized: bytes, name: str) -> None:
    """Raise SemcomError for more bytes than a vocabulary has."""
    if len(serialized) > LARGEST:
        raise SemcomError(
            f"{escape(name)}: over {LARGEST // 2**20} MB, which no vocabulary of a million words needs; "
            "give a sentencepiece model, or vocab.json of public DeepSC code"
        )


def bytes_of(path: str | Path, flag: str) -> bytes:
    """What a vocabulary file holds. Raises SemcomError that names ``flag`` and the file for one that is too
    large, and OSError for one that cannot be read."""
    if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
        raise SemcomError(f"{flag} {escape(path)}: is no regular file; copy what it gives into a file first")
    with open(path, "rb") as file:
        serialized = file.read(LARGEST + 1)
    check_size(serialized, f"{flag} {path}")
    return serialized
