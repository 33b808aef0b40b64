"""What a measurement of pairs of ends found, sentence by sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semcom.data.batching import Encoded
from semcom.evaluation.pairs import PairKey
from semcom.evaluation.text_scoring import TextScoring


@dataclass
class PairResult:
    """What one pair made of N sentences at S SNRs.

    sums: [S, N, K] of ``measures.columns``; NaN where there was no reference to compare with. pieces: S lists
    of N decodings. cka: of final decoder states with the reference's at the SNR asked for, on the first
    chunk. temperature: of its calibrated KL; None where none was fitted.
    """

    sums: np.ndarray
    pieces: list[list[list[int]]]
    cka: float | None = None
    temperature: float | None = None


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
    """All that was found. pairs: by ``Pair.key``. sent: by a transmitter's fingerprint. scoring: of texts."""

    snrs: Sequence[float]
    encoded: Sequence[Encoded]
    pairs: dict[PairKey, PairResult]
    sent: dict[str, Signals]
    scoring: TextScoring = TextScoring()
