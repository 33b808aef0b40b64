"""The vocabulary: sentences to piece ids and back, behind one small class; sentencepiece does the work."""

import hashlib
import io
import re
from collections.abc import Iterable
from functools import cached_property

import sentencepiece

from semcom.errors import SemcomError, escape

PAD, BOS, EOS, UNK = 0, 1, 2, 3


class Vocabulary:
    """A sentencepiece model. ``serialized`` is the model file's bytes, as checkpoints carry them."""

    def __init__(self, serialized: bytes, name: str = "vocabulary"):
        self.serialized = serialized
        self._model = sentencepiece.SentencePieceProcessor()
        try:
            self._model.LoadFromSerializedProto(serialized)
        except (RuntimeError, TypeError, ValueError):
            raise SemcomError(f"{escape(name)}: not a sentencepiece model; make one with: "
                              "python -m semcom vocab --size 4000 --output FILE") from None
        ids = (self._model.pad_id(), self._model.bos_id(), self._model.eos_id(), self._model.unk_id())
        if ids != (PAD, BOS, EOS, UNK):
            raise SemcomError(f"{escape(name)}: pad, bos, eos and unk have ids {ids}, expected {(PAD, BOS, EOS, UNK)}; "
                              "make one with: python -m semcom vocab --size 4000 --output FILE")

    def __len__(self) -> int:
        return self._model.vocab_size()

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the model."""
        return hashlib.sha256(self.serialized).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{len(self)} pieces, {self.fingerprint}"

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Piece ids of each text, without bos and eos."""
        return self._model.encode(texts)

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Text of each list of ids; special ids vanish."""
        return [text.strip() for text in self._model.decode(ids)]


def train(sentences: Iterable[str], size: int) -> Vocabulary:
    """A unigram model of ``size`` pieces with byte fallback. Raises SemcomError naming the largest size a small corpus allows."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=model, vocab_size=size, model_type="unigram",
            byte_fallback=True, pad_id=PAD, bos_id=BOS, eos_id=EOS, unk_id=UNK, unk_surface="?",
            # One thread: expectation-maximisation sums in a fixed order, so the same text gives the same pieces.
            num_threads=1, input_sentence_size=1_000_000, shuffle_input_sentence=False, minloglevel=2)
    except RuntimeError as error:
        raise _too_small(size, str(error)) from None
    return Vocabulary(model.getvalue())


def _too_small(size: int, message: str) -> SemcomError:
    if found := re.search(r"value <= (\d+)", message):
        return SemcomError(f"--size {size}: the corpus is too small for it; the largest size it allows is {found[1]}: --size {found[1]}")
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return SemcomError(f"--size {size}: the bytes and characters of this corpus alone need more; use at least --size {int(found[1]) + 1}")
    return SemcomError(f"--size {size}: sentencepiece could not train on this corpus: {escape(message)[-200:]}")
