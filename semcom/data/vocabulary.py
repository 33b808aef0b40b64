"""What a vocabulary is: sentences to ids and back. Its two forms are pieces (``piece_vocabulary``) and whole
words (``word_vocabulary``); ``vocabulary_files`` reads either."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property

PAD, BOS, EOS, UNK = 0, 1, 2, 3


class Vocabulary(ABC):
    """Sentences to ids and back. ``serialized`` is the vocabulary as a file's bytes, as checkpoints carry it;
    ``read_vocabulary`` undoes it.

    language: BCP-47 code of the text that it was made for, ``und`` where that is not known. normalization:
    what ``encode`` makes of a text before it is cut: a name of ``NORMALIZATIONS``, or that of the file.
    """

    serialized: bytes
    language: str = "und"
    normalization: str = "identity"

    @abstractmethod
    def __len__(self) -> int:
        """V."""

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of ``serialized``."""
        return hashlib.sha256(self.serialized).hexdigest()[:16]

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without bos and eos."""

    @abstractmethod
    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Text of each list of ids; pad, bos and eos vanish."""

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """Each id by itself as people may read it, the special ones too: a piece with the blank that it
        begins with."""
        special = {PAD: "<pad>", BOS: "<s>", EOS: "</s>", UNK: "<unk>"}
        return [special.get(i) or self.decode([[i]])[0] for i in ids]

    @abstractmethod
    def unknown_share(self, texts: Iterable[str]) -> float:
        """Which part, 0 to 1, of the texts it does not know: of all pieces those that spell a byte, or of all
        words those that are not in it. 0 of no text."""

    def normalize(self, text: str) -> str:
        """``text`` as this vocabulary's models are given it, words it does not know included: what their
        output is compared with."""
        return text
