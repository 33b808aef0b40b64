"""Pilot sentences: which ones, and what arrives of them beside what the receiver was trained to read.

Both ends know the pilots. They come from the training split, so that no sentence that is measured is among
them. Letters: N real tokens of all pilots, C_a real channel dimensions a token of the transmitter, C_b of the
receiver.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semcom.channel.channels import Channel
from semcom.data import batching
from semcom.data.batching import Batch, Encoded, collate
from semcom.data.sentences import Sentences
from semcom.data.vocabulary import Vocabulary
from semcom.distillation.aligners import Pilots
from semcom.models.link import send
from semcom.models.transceiver import Transceiver

SENTENCES_TOGETHER = 64
POOL = 20_000
"""Sentences among which pilots that cover the text are chosen."""
SNR = float | tuple[float, float]
"""In dB; of a range (low, high), each sentence has the one that its draw gives it."""


@dataclass(frozen=True)
class Ends:
    """A link to be joined: the transmitter of ``sender``, the receiver of ``listener``, who also holds the
    transmitter that this receiver was trained with."""

    sender: Transceiver
    listener: Transceiver

    @property
    def join(self) -> bool:
        """Whether they do without a map: one C."""
        return self.sender.architecture.channel_dim == self.listener.architecture.channel_dim

    @property
    def listeners_own(self) -> "Ends":
        return Ends(self.listener, self.listener)


@dataclass(frozen=True)
class Air:
    """Through what pilots are sent: the channel, the seed of the draws, the device."""

    channel: Channel
    seed: int
    device: torch.device


def chosen_pilots(
    choice: str, train: Sentences, vocabulary: Vocabulary, count: int, *, seed: int, number: int
) -> list[Encoded]:
    """``count`` sentences of one of ``PILOT_CHOICES``, by draw ``number`` of ``seed``, in an order of which
    fewer pilots are the first. Of too few sentences that are short enough, all."""
    if choice == "random":
        return drawn_pilots(train, vocabulary, count, seed=seed, number=number)
    pool = drawn_pilots(train, vocabulary, max(count, POOL), seed=seed, number=number)
    return covering(pool, count, per_symbol=choice == "covering-per-symbol")


def drawn_pilots(
    train: Sentences, vocabulary: Vocabulary, count: int, *, seed: int, number: int
) -> list[Encoded]:
    """``count`` sentences, in the order that draw ``number`` of ``seed`` gives them: fewer pilots are the
    first of more. Of too few sentences that are short enough, all."""
    # By ids, which are hashes, so that neither the order of the corpus nor what is beside them plays a part.
    odd = np.random.default_rng([seed, number]).integers(2**63, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    order = np.argsort(train.ids * odd, kind="stable").tolist()  # modulo 2^64
    found: list[Encoded] = []
    for start in range(0, len(order), count):
        chosen = [train[place] for place in order[start : start + count]]
        found += batching.encode(chosen, vocabulary, leave_out_long=True)
        if len(found) >= count:
            break
    return found[:count]


def covering(pool: Sequence[Encoded], count: int, *, per_symbol: bool) -> list[Encoded]:
    """``count`` sentences of a pool, each the one whose pieces that none before it had make up most of the
    pool's text; or most of it per symbol that the sentence takes.

    A greedy choice of a cover, whose text is at least 1 - 1/e of the best choice's (Nemhauser, Wolsey and
    Fisher 1978, equation 4.1). A code for a piece that no pilot holds can only be guessed.
    """
    pieces = [set(e.source) for e in pool]
    said = Counter(piece for e in pool for piece in e.source)
    covered: set[int] = set()

    def gain(place: int) -> float:
        new = sum(said[piece] for piece in pieces[place] - covered)
        return new / len(pool[place].source) if per_symbol else float(new)

    # What a sentence would bring only falls as others are chosen, so a gain of earlier is a bound.
    bounds = [(-gain(place), place) for place in range(len(pool))]
    heapq.heapify(bounds)
    chosen: list[Encoded] = []
    while bounds and len(chosen) < count:
        _, place = heapq.heappop(bounds)
        now = (-gain(place), place)
        if bounds and now > bounds[0]:
            heapq.heappush(bounds, now)
            continue
        chosen.append(pool[place])
        covered |= pieces[place]
    return chosen


def covered_text(pilots: Sequence[Encoded], texts: Sequence[Encoded]) -> float:
    """Share of the running pieces of texts that are pieces of the pilots too."""
    known = {piece for e in pilots for piece in e.source}
    running = [piece for e in texts for piece in e.source]
    return sum(piece in known for piece in running) / len(running)


def symbols_of(encoded: Sequence[Encoded], channel_dim: int) -> int:
    """Complex symbols that sentences take: S C/2 of each, bos and eos too."""
    return sum(len(e.source) for e in encoded) * channel_dim // 2


@dataclass(frozen=True)
class PilotRows:
    """What all pilots gave. ends: of each sentence, the number of tokens up to its last."""

    pilots: Pilots
    ends: Sequence[int]

    def first(self, sentences: int) -> Pilots:
        tokens = self.ends[sentences - 1]
        arrived, wanted, sentence = self.pilots.arrived, self.pilots.wanted, self.pilots.sentence
        return Pilots(arrived[:tokens], wanted[:tokens], None if sentence is None else sentence[:tokens])


@torch.no_grad()
def pilot_rows(ends: Ends, encoded: Sequence[Encoded], snrs: Sequence[SNR], air: Air) -> list[PilotRows]:
    """At each SNR what arrives of the pilots, [N, C_a], equalised, and the noiseless signal of the listener's
    own transmitter, [N, C_b], at their real tokens, on the CPU."""
    sender, listener = (model.transmitter.to(air.device).eval() for model in (ends.sender, ends.listener))
    arrived: list[list[Tensor]] = [[] for _ in snrs]
    wanted = []
    for batch in _batches(encoded, air.device):
        received = send(sender, batch, air.channel, snrs, seed=air.seed).received[0]
        for at_snr, of_batch in zip(arrived, received):
            at_snr.append(batch.of_sources(of_batch).double().cpu())
        own, _ = listener(batch.source, batch.source_mask)
        wanted.append(batch.of_sources(own).double().cpu())
    lengths = torch.tensor([len(e.source) for e in encoded])
    sentence, target = torch.arange(len(encoded)).repeat_interleave(lengths), torch.cat(wanted)
    ends_of = lengths.cumsum(0).tolist()
    return [PilotRows(Pilots(torch.cat(at_snr), target, sentence), ends_of) for at_snr in arrived]


def _batches(encoded: Sequence[Encoded], device: torch.device) -> Iterator[Batch]:
    """In their order."""
    for start in range(0, len(encoded), SENTENCES_TOGETHER):
        yield collate(encoded[start : start + SENTENCES_TOGETHER]).to(device)
