"""What a pair of ends made of sentences, as sums by sentence of which every measure is a function."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semcom.data.batching import Encoded
from semcom.evaluation import text_metrics
from semcom.models.transceiver import Receiver, Transmitter

FORCED = ("nats", "kl", "js", "agree", "distance", "own_tokens", "own_kl")
"""Sums over a sentence's target tokens, on gold prefixes: cross-entropy, KL and JS from the reference (nats),
agreements of the most probable piece, mean squared differences of decoder states; and on the reference's own
decodings: tokens and KL."""
TO_SENT, TO_REFERENCE = (
    [f"{to}_{name}" for name in text_metrics.BLEU_COLUMNS] for to in ("sent", "reference")
)
COLUMNS = ("tokens", "matches", "exact", "sentences", *FORCED, *TO_SENT, *TO_REFERENCE)
PLACE = {name: index for index, name in enumerate(COLUMNS)}


@dataclass(frozen=True)
class End:
    """One end of a link. fingerprint: of its weights; ends of one fingerprint are one. seen_topics: of the
    built-in corpus, None where that is not known."""

    label: str
    module: Transmitter | Receiver
    fingerprint: str
    seen_topics: frozenset[str] | None = None


@dataclass(frozen=True)
class Pair:
    """A transmitter that talks to a receiver. draw: number of the channel's draw; 0 is common to all but the
    noise reference."""

    transmitter: End
    receiver: End
    draw: int = 0

    @property
    def seen_topics(self) -> frozenset[str] | None:
        """Topics that both ends have seen."""
        sender, listener = self.transmitter.seen_topics, self.receiver.seen_topics
        return sender & listener if sender is not None and listener is not None else None

    @property
    def key(self) -> tuple[str, str, int]:
        return self.transmitter.fingerprint, self.receiver.fingerprint, self.draw


@dataclass
class Heard:
    """What one pair made of N sentences at S SNRs.

    sums: [S, N, len(COLUMNS)]; NaN where there was no reference to compare with. pieces: S lists of N
    decodings. cka: of final decoder states with the reference's at the SNR asked for, on the first chunk.
    """

    sums: np.ndarray
    pieces: list[list[list[int]]]
    cka: float | None = None


@dataclass
class Signals:
    """What one transmitter sent. distance: [N], mean squared difference of its symbols from the reference's,
    per complex symbol (each of mean power 1: uncorrelated signals are 2 apart). symbols: [M, 2], some of
    them. cka: of encoder states with the reference's."""

    distance: np.ndarray
    symbols: np.ndarray
    cka: float | None = None


@dataclass
class Measured:
    """All that was found. heard: by ``Pair.key``. sent: by a transmitter's fingerprint."""

    snrs: Sequence[float]
    encoded: Sequence[Encoded]
    heard: dict[tuple[str, str, int], Heard]
    sent: dict[str, Signals]


def measures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """[..., len(COLUMNS)] over any set of sentences -> all measures of docs/definitions.md, each [...]."""
    column = {name: sums[..., index] for name, index in PLACE.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "bleu": text_metrics.bleu_of(sums[..., PLACE[TO_SENT[0]] : PLACE[TO_SENT[-1]] + 1]),
            "token_accuracy": column["matches"] / column["tokens"],
            "exact": column["exact"] / column["sentences"],
            "cross_entropy": column["nats"] / column["tokens"],
            "kl_divergence": column["kl"] / column["tokens"],
            "kl_reference_prefix": column["own_kl"] / column["own_tokens"],
            "js_divergence": column["js"] / column["tokens"],
            "agreement_rate": column["agree"] / column["tokens"],
            "representation_distance": column["distance"] / column["tokens"],
            "bleu_to_reference": np.where(
                np.isnan(column["kl"]), np.nan, text_metrics.bleu_of(sums[..., PLACE[TO_REFERENCE[0]] :])
            ),
        }
