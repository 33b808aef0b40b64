"""Sentences: one, and millions of them as arrays, which take a fifth of the room of objects."""

import hashlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
import numpy.typing as npt

from semcom.base.array_files import BytesOnDisk

SPLITS = ("train", "validation", "test")
_SHARES = (90, 95, 100)  # upper bounds in percent
WASTED = 4
"""Bytes fetched for each that is wanted, at most."""
WALKED = 1 << 12
"""Sentences that are made objects together where all are walked through."""

Ids = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence. id: 64-bit hash of the text, so it is the same in every corpus and order. topic: of
    built-in ones."""

    id: int
    text: str
    topic: str | None = None

    @property
    def split(self) -> str:
        """train, validation or test (90/5/5), by the id alone."""
        percent = self.id % 100
        return next(name for name, bound in zip(SPLITS, _SHARES) if percent < bound)


def make_sentence(text: str, topic: str | None = None) -> Sentence:
    return Sentence(id_of(text.encode()), text, topic)


def id_of(text: bytes) -> int:
    """Of a sentence in UTF-8."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def splits_of(ids: Ids) -> npt.NDArray[np.int64]:
    """[N] of each sentence the place of its split in ``SPLITS``."""
    return np.searchsorted(np.array(_SHARES, dtype=np.uint64), ids % np.uint64(100), side="right")


@dataclass(frozen=True)
class Columns:
    """N sentences. ids: [N]. text: [bytes] all of it in UTF-8, end to end, in memory or on the disk. ends:
    [N] where each ends in it. topics: [N] their places in ``topic_names``; none where that is empty."""

    ids: Ids
    text: npt.NDArray[np.uint8] | BytesOnDisk
    ends: Places
    topics: npt.NDArray[np.uint8]
    topic_names: tuple[str, ...] = ()

    def text_at(self, place: int) -> str:
        start = self.ends[place - 1] if place else 0
        return bytes(self.text[start : self.ends[place]]).decode()

    def texts_at(self, places: Places) -> list[str]:
        """Near each other, they are fetched together."""
        if not len(places):
            return []
        ends = self.ends[places]
        starts = np.where(places > 0, self.ends[places - 1], 0)
        first, end = int(starts.min()), int(ends.max())
        if end - first > WASTED * int((ends - starts).sum()):
            return [self.text_at(place) for place in places.tolist()]
        block = bytes(self.text[first:end])
        return [block[a:b].decode() for a, b in zip((starts - first).tolist(), (ends - first).tolist())]

    def topic_at(self, place: int) -> str | None:
        return self.topic_names[self.topics[place]] if self.topic_names else None


class Sentences(Sequence[Sentence]):
    """Some sentences of ``columns``, in order: made objects as they are asked for. places: of these; None
    for all."""

    def __init__(self, columns: Columns, places: Places | None = None):
        self.columns = columns
        self._places = places

    @classmethod
    def of(cls, sentences: Iterable[Sentence]) -> "Sentences":
        """With columns of these alone."""
        growing = Growing()
        for sentence in sentences:
            growing.add(sentence.id, sentence.text.encode(), sentence.topic)
        return growing.whole()

    def __len__(self) -> int:
        return len(self.columns.ids if self._places is None else self._places)

    @overload
    def __getitem__(self, at: int) -> Sentence: ...

    @overload
    def __getitem__(self, at: slice) -> "Sentences": ...

    def __getitem__(self, at: int | slice) -> "Sentence | Sentences":
        if isinstance(at, slice):
            return Sentences(self.columns, self.places[at])
        place = self._place(at)
        columns = self.columns
        return Sentence(int(columns.ids[place]), columns.text_at(place), columns.topic_at(place))

    def __iter__(self) -> Iterator[Sentence]:
        for start in range(0, len(self), WALKED):
            yield from map(Sentence, *self._walked(start))

    def _walked(self, start: int) -> tuple[Iterable[int], Iterable[str], Iterable[str | None]]:
        """Ids, texts and topics of some, as objects of Python."""
        columns, places = self.columns, self.places[start : start + WALKED]
        here = places.tolist()
        return columns.ids[places].tolist(), columns.texts_at(places), map(columns.topic_at, here)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(Sentence.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {len(self):,}"

    @property
    def places(self) -> Places:
        return np.arange(len(self)) if self._places is None else self._places

    def _place(self, at: int) -> int:
        if self._places is not None:
            return int(self._places[at])
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return at % len(self)

    @property
    def texts(self) -> "Texts":
        return Texts(self)

    @cached_property
    def ids(self) -> Ids:
        """[N]."""
        return self.columns.ids if self._places is None else self.columns.ids[self._places]

    @property
    def topics(self) -> list[str]:
        """Those that occur, in order."""
        names = self.columns.topic_names
        return sorted(names[i] for i in np.unique(self.columns.topics[self.places])) if names else []

    def split(self, name: str) -> "Sentences":
        return self.where(splits_of(self.ids) == SPLITS.index(name))

    def split_sizes(self) -> dict[str, int]:
        counts = np.bincount(splits_of(self.ids), minlength=len(SPLITS)).tolist()
        return dict(zip(SPLITS, counts))

    def where(self, chosen: npt.NDArray[np.bool_] | Places) -> "Sentences":
        """chosen: of each, whether it is; or the places of some."""
        return Sentences(self.columns, self.places[chosen])

    def of_ids(self, ids: Collection[int]) -> "Sentences":
        """Those among them, in their order here."""
        return self.where(np.isin(self.ids, np.array(sorted(ids), dtype=np.uint64)))

    def lowest(self, number: int) -> "Sentences":
        """As many, by their ids, which is a choice that neither order nor topic has a part in."""
        return self.where(np.argsort(self.ids, kind="stable")[:number])


class Texts(Sequence[str]):
    """The texts of sentences alone."""

    def __init__(self, sentences: Sentences):
        self._sentences = sentences

    def __len__(self) -> int:
        return len(self._sentences)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> "Texts": ...

    def __getitem__(self, at: int | slice) -> "str | Texts":
        found = self._sentences[at]
        return found.text if isinstance(found, Sentence) else found.texts

    def __iter__(self) -> Iterator[str]:
        places, columns = self._sentences.places, self._sentences.columns
        for start in range(0, len(places), WALKED):
            yield from columns.texts_at(places[start : start + WALKED])


class Growing:
    """Sentences as they are found, one after the other."""

    def __init__(self) -> None:
        self._ids, self._ends, self._text = array("Q"), array("q"), bytearray()
        self._topics, self._names = bytearray(), dict[str, int]()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, sentence_id: int, text: bytes, topic: str | None = None) -> None:
        """text: in UTF-8. topic: of all, or of none."""
        self._ids.append(sentence_id)
        self._text += text
        self._ends.append(len(self._text))
        if topic is not None:
            self._topics.append(self._names.setdefault(topic, len(self._names)))

    def whole(self) -> Sentences:
        """Nothing is added afterwards: the arrays are these."""
        assert len(self._topics) in (0, len(self))
        return Sentences(
            Columns(
                np.frombuffer(self._ids, dtype=np.uint64),
                np.frombuffer(self._text, dtype=np.uint8),
                np.frombuffer(self._ends, dtype=np.int64),
                np.frombuffer(self._topics, dtype=np.uint8),
                tuple(self._names),
            )
        )
