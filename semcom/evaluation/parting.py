"""Where receivers of one sentence part, and what each of them held likely to come next there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semcom.channel.channels import Channel
from semcom.data.sentences import Sentence
from semcom.data.vocabulary import BOS, EOS
from semcom.evaluation.heard_sentence import GREEDY, as_sent, transmitted
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.protocols import Receiver

SHOWN = 5


@dataclass(frozen=True)
class Parting:
    """Where receivers part.

    said: what all have understood up to there, ``place`` pieces. parted: whether they go on differently; else
    they understand the same, and the place is that where their probabilities differ most. pieces: K names of
    what may come next, the likeliest first, "</s>" for the end. probabilities: label -> [K] of these pieces,
    after the pieces that all have said. chosen: label -> name of the piece that it said.
    """

    said: str
    place: int
    parted: bool
    pieces: tuple[str, ...]
    probabilities: Mapping[str, np.ndarray]
    chosen: Mapping[str, str]


# Seven arguments: whose links, what is sent, over what, at which SNR, under which draw, how many are shown.
def parting(
    models: Mapping[str, Checkpoint],
    text: str | Sentence,
    channel: Channel,
    snr: float,
    seed: int,
    search: Search = GREEDY,
    shown: int = SHOWN,
) -> Parting | None:
    """Of two models or more, sending as ``heard_sentence.hear`` has them, the first place where not all go on
    alike. None where they have no vocabulary in common: then no piece of one is a piece of the other.

    shown: of each receiver so many of its likeliest pieces are among those named.
    """
    vocabularies = [c.vocabulary for c in models.values()]
    if len(models) < 2 or len({vocabulary.fingerprint for vocabulary in vocabularies}) > 1:
        return None
    sentence = as_sent(text, vocabularies)
    said: dict[str, list[int]] = {}
    given: dict[str, tuple[Receiver, Tensor, Tensor]] = {}
    with torch.inference_mode():
        for label, c in models.items():
            batch, sent = transmitted(c, sentence, channel, [snr], seed)
            given[label] = c.model.receiver, sent.heard_by(c.model.receiver)[0], batch.source_mask
            said[label] = [*search(*given[label])[0], EOS]
        place, parted = _first_difference(list(said.values()))
        prefix = next(iter(said.values()))[:place]
        expected = {label: _expected(*by_one, prefix) for label, by_one in given.items()}
    if not parted:
        place = _furthest_apart(list(expected.values()))
    at_place = {label: rows[place] for label, rows in expected.items()}
    named = _likeliest(list(at_place.values()), shown)
    vocabulary = vocabularies[0]
    return Parting(
        vocabulary.decode([prefix[:place]])[0],
        place,
        parted,
        tuple(vocabulary.spelled(named)),
        {label: row[named] for label, row in at_place.items()},
        {label: vocabulary.spelled(pieces[place : place + 1])[0] for label, pieces in said.items()},
    )


def _first_difference(said: Sequence[Sequence[int]]) -> tuple[int, bool]:
    """The place of the first piece that not all have said; that of the last, and no, where all say the
    same."""
    for place, pieces in enumerate(zip(*said)):
        if len(set(pieces)) > 1:
            return place, True
    return min(map(len, said)) - 1, False


def _expected(receiver: Receiver, given: Tensor, source_mask: Tensor, prefix: Sequence[int]) -> np.ndarray:
    """[T + 1, V] probabilities of what comes after each of the first pieces of a prefix of T, none to all."""
    target_in = torch.tensor([[BOS, *prefix]], device=given.device)
    logits = receiver.project(receiver(given, source_mask, target_in))[0]
    return logits.double().softmax(-1).cpu().numpy()


def _furthest_apart(expected: Sequence[np.ndarray]) -> int:
    """The place at which two of these probabilities, [T, V] each, differ most in all."""
    each = np.stack(expected)
    apart = np.abs(each[:, None] - each[None]).sum(-1)
    return int(apart.max((0, 1)).argmax())


def _likeliest(rows: Sequence[np.ndarray], count: int) -> list[int]:
    """The ``count`` likeliest pieces of each row [V], each once, those of the largest probability first."""
    found = {int(piece) for row in rows for piece in np.argsort(-row, kind="stable")[:count]}
    return sorted(found, key=lambda piece: (-max(row[piece] for row in rows), piece))
