"""Vocabularies of pieces: sentencepiece does the work."""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import sentencepiece

from semcom.base.errors import SemcomError, escape, shown
from semcom.data.languages import LANGUAGES, UNDETERMINED
from semcom.data.sentences import Texts
from semcom.data.settings import NFC, NORMALIZATIONS
from semcom.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary

MAKE_ONE = "make one with: python -m semcom vocab --size 4000 --output FILE"
COVERAGE = 0.9995
"""The share of a text's characters that become pieces at least: sentencepiece's own. Of scripts without
blanks, where a character is a word or much of one, all do that have a place in half of the vocabulary."""
MOST_SENTENCES = 1_000_000
"""Of a larger corpus a vocabulary learns from as many, those that it begins with."""
MOST_SIZES_TRIED = 20
BLANK = "\u2581"
"""How a blank stands in a piece."""
LONGEST_LINE_BYTES = 40_000
"""A line of training text: 10,000 characters of up to four bytes. Longer ones sentencepiece would skip."""


class PieceVocabulary(Vocabulary):
    """A sentencepiece model; ``serialized`` is the model file's bytes."""

    def __init__(self, serialized: bytes, name: str = "vocabulary"):
        self.serialized = serialized
        self._model = sentencepiece.SentencePieceProcessor()
        try:
            self._model.LoadFromSerializedProto(serialized)
            described = message_of(serialized)
        except (RuntimeError, TypeError, ValueError):
            raise SemcomError(
                f"{escape(name)}: not a sentencepiece model, nor the JSON of a word vocabulary; {MAKE_ONE}"
            ) from None
        ids = (self._model.pad_id(), self._model.bos_id(), self._model.eos_id(), self._model.unk_id())
        if ids != (PAD, BOS, EOS, UNK):
            raise SemcomError(
                f"{escape(name)}: pad, bos, eos and unk have ids {ids}, expected {(PAD, BOS, EOS, UNK)}; "
                f"{MAKE_ONE}"
            )
        self.normalization = _normalization_of(described)
        self.language = _language_of(described)

    def __len__(self) -> int:
        return self._model.vocab_size()

    def __str__(self) -> str:
        language = "" if self.language == UNDETERMINED else f", {self.language}"
        return f"{len(self)} pieces, {self.fingerprint}{language}, {shown(self.normalization)}"

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        if self.normalization == NFC:
            texts = [unicodedata.normalize("NFC", text) for text in texts]
        return self._model.encode(list(texts))

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return [text.strip() for text in self._model.decode(list(ids))]

    def spelled(self, ids: Sequence[int]) -> list[str]:
        return [self._model.id_to_piece(i).replace(BLANK, " ") for i in ids]

    def unknown_share(self, texts: Iterable[str]) -> float:
        pieces = [i for ids in self.encode(list(texts)) for i in ids]
        spelled = {i for i in set(pieces) if i == UNK or self._model.is_byte(i)}
        return sum(i in spelled for i in pieces) / max(1, len(pieces))


def message_of(serialized: bytes) -> Any:
    """The model file as protobuf's message. Raises ValueError where it is none."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    try:
        return sentencepiece_model_pb2.ModelProto.FromString(serialized)
    except DecodeError as error:
        raise ValueError(str(error)) from None


def _normalization_of(described: Any) -> str:
    """The name in the file, where it is one that its map of characters bears out."""
    spec = described.normalizer_spec
    if not spec.precompiled_charsmap:
        return NFC if spec.name == NFC else "identity"
    return spec.name or "unnamed"


def _language_of(described: Any) -> str:
    """The one language that the file says it was made for."""
    named = list(described.trainer_spec.accept_language)
    return named[0] if len(named) == 1 and named[0] in LANGUAGES else UNDETERMINED


def train_vocabulary(
    sentences: Iterable[str],
    size: int,
    normalization: str = "nfkc",
    language: str = UNDETERMINED,
    flag: str = "--size",
) -> PieceVocabulary:
    """A unigram model of ``size`` pieces with byte fallback, which says of itself by which of
    ``NORMALIZATIONS`` and for which language (a code of ``LANGUAGES``) it was made. Raises SemcomError naming
    ``flag`` and the largest size a small corpus allows."""
    assert normalization in NORMALIZATIONS and language in LANGUAGES
    texts = sentences if isinstance(sentences, Texts) else list(sentences)
    if normalization == NFC:
        texts = [unicodedata.normalize("NFC", text) for text in texts]
    try:
        trained = _trained(texts, size, normalization, language)
    except RuntimeError as error:
        raise _wrong_size(texts, f"{flag} {size}", str(error), normalization, language) from None
    return PieceVocabulary(_labelled(trained, normalization, language))


def _trained(texts: Sequence[str], size: int, normalization: str, language: str) -> bytes:
    """The model file. Raises RuntimeError, in sentencepiece's words, for a size that the texts do not
    allow."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=size,
        model_type="unigram",
        byte_fallback=True,
        pad_id=PAD,
        bos_id=BOS,
        eos_id=EOS,
        unk_id=UNK,
        unk_surface="?",
        # Sentencepiece has no map of characters for NFC: ``encode`` composes them.
        normalization_rule_name="identity" if normalization == NFC else normalization,
        character_coverage=_coverage_of(texts, language, size // 2),
        max_sentence_length=LONGEST_LINE_BYTES,
        # One thread: expectation-maximisation sums in a fixed order, so the same text gives the same pieces.
        num_threads=1,
        input_sentence_size=MOST_SENTENCES,
        shuffle_input_sentence=False,
        minloglevel=2,
    )
    return model.getvalue()


def _coverage_of(texts: Iterable[str], language: str, places: int) -> float:
    """The share of the characters of these texts that is to become pieces; ``places``: as many as may."""
    if LANGUAGES[language].characters_a_word is None:
        return COVERAGE
    characters: Counter[str] = Counter()
    for text in texts:
        characters.update(text)
    covered = sum(count for _, count in characters.most_common(places))
    return max(COVERAGE, covered / max(1, characters.total()))


def _labelled(serialized: bytes, normalization: str, language: str) -> bytes:
    """The model file with the name of its normalisation and its language."""
    described = message_of(serialized)
    described.normalizer_spec.name = normalization
    if language != UNDETERMINED:
        described.trainer_spec.accept_language[:] = [language]
    return described.SerializeToString(deterministic=True)


def _wrong_size(
    texts: Sequence[str], given: str, message: str, normalization: str, language: str
) -> SemcomError:
    """given: flag and size. message: sentencepiece's, of why it could not train."""
    flag, _, size = given.partition(" ")
    fits, tried = _size_in(message), {int(size)}
    while fits and fits not in tried and len(tried) < MOST_SIZES_TRIED:
        # Another size covers other characters and so allows another size: what is advised has to train.
        try:
            _trained(texts, fits, normalization, language)
            break
        except RuntimeError as error:
            tried.add(fits)
            fits = _size_in(str(error))
    else:
        if fits:
            return SemcomError(f"{given}: the corpus is too small for a vocabulary; give more text")
    if fits and fits < int(size):
        return SemcomError(
            f"{given}: the corpus is too small for it; the largest size it allows is {fits}: {flag} {fits}"
        )
    if fits:
        return SemcomError(
            f"{given}: the bytes and characters of this corpus alone need more; use at least {flag} {fits}"
        )
    return SemcomError(f"{given}: sentencepiece could not train on this corpus: {escape(message)[-200:]}")


def _size_in(message: str) -> int:
    """That sentencepiece's message would allow; 0 where it is about something else."""
    if found := re.search(r"value <= (\d+)", message):
        return int(found[1])
    found = re.search(r"smaller than required_chars\. \d+ vs (\d+)", message)
    return int(found[1]) + 1 if found else 0
