"""A vocabulary of pieces as plain JSON, for programs without sentencepiece: what ``docs/export.md`` cuts text
with."""

import json
import struct
import unicodedata
from typing import Any

import numpy as np

from semcom.data.piece_vocabulary import PieceVocabulary, message_of
from semcom.data.settings import NFC

FORMAT = 1
UNIGRAM = 1
NORMAL, USER_DEFINED = 1, 4
"""Types of model and of piece, as sentencepiece numbers them."""
UNKNOWN_PENALTY = np.float32(10)
"""Below the least score of a piece, in sentencepiece."""
SURROGATES = range(0xD800, 0xE000)


def plain_pieces(vocabulary: PieceVocabulary) -> bytes | None:
    """JSON of the pieces, by id, their scores, null for those that no text is cut into, and what is made of a
    text before it is cut. None for a model that is not of the form that ``train_vocabulary`` gives one.

    form: of Unicode, or empty. instead: character -> what stands for it, where that is not what the form
    makes of it. longest: characters of a piece, at most. unknown: score of a character that no piece spells.
    """
    model = message_of(vocabulary.serialized)
    pieces = model.pieces
    if not _is_usual(model):
        return None
    scores = [np.float32(piece.score) for piece in pieces if piece.type == NORMAL]
    charsmap = model.normalizer_spec.precompiled_charsmap
    form = "NFKC" if charsmap else "NFC" if vocabulary.normalization == NFC else ""
    made: dict[str, Any] = {
        "format": FORMAT,
        "normalization": vocabulary.normalization,
        "form": form,
        "instead": _beside_nfkc(charsmap) if charsmap else {},
        "pieces": [piece.piece for piece in pieces],
        "scores": [piece.score if piece.type == NORMAL else None for piece in pieces],
        "longest": max(len(piece.piece) for piece in pieces if piece.type == NORMAL),
        "unknown": float(min(scores) - UNKNOWN_PENALTY),
    }
    return json.dumps(made, ensure_ascii=False).encode()


def _is_usual(model: Any) -> bool:
    """Whether it is unigram with byte fallback, makes blanks as usual, and has no symbols of its user's."""
    trained, blanks = model.trainer_spec, model.normalizer_spec
    usual_blanks = blanks.add_dummy_prefix and blanks.remove_extra_whitespaces and blanks.escape_whitespaces
    own_symbols = any(piece.type == USER_DEFINED for piece in model.pieces)
    unigram = trained.model_type == UNIGRAM and trained.byte_fallback
    return unigram and usual_blanks and not trained.treat_whitespace_as_suffix and not own_symbols


def _beside_nfkc(charsmap: bytes) -> dict[str, str]:
    """Characters of which sentencepiece's map makes something other than this Python's NFKC."""
    found = _of_characters(charsmap)
    changed = {chr(code) for code in range(0x110000) if code not in SURROGATES and not _is_nfkc(chr(code))}
    return {
        c: found.get(c, c)
        for c in sorted(changed | set(found))
        if unicodedata.normalize("NFKC", c) != found.get(c, c)
    }


def _is_nfkc(character: str) -> bool:
    return unicodedata.is_normalized("NFKC", character)


def _of_characters(charsmap: bytes) -> dict[str, str]:
    """Single character -> what stands for it. The map is a double-array trie (Aoe 1989, as darts-clone lays
    it out) over UTF-8, behind its size in bytes, and then the strings that its values point to, each up to a
    zero."""
    (size,) = struct.unpack_from("<I", charsmap)
    units = np.frombuffer(charsmap, "<u4", size // 4, offset=4).astype(np.int64)
    strings = charsmap[4 + size :]
    found, waiting = {}, [(0, b"")]
    while waiting:
        place, key = waiting.pop()
        unit = int(units[place])
        base = place ^ ((unit >> 10) << ((unit & 0x200) >> 6))
        if key and len(key) == _bytes_of(key[0]):
            if unit & 0x100:
                start = int(units[base]) & 0x7FFFFFFF
                found[key.decode()] = strings[start : strings.index(b"\0", start)].decode()
            continue
        labels = np.arange(1, 256)
        there = labels[(base ^ labels) < len(units)]
        there = there[(units[base ^ there] & 0x800000FF) == there]
        waiting += [(base ^ label, key + bytes([label])) for label in there.tolist()]
    return found


def _bytes_of(first: int) -> int:
    """Of a character of UTF-8, by the first of them."""
    return 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
