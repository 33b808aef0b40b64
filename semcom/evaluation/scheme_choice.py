"""Which scheme a coded link sends by: chosen on validation sentences by BLEU, and scored on others.

Letters: J schemes, K SNRs, N sentences, M sums of ``measures.columns``.
"""

from dataclasses import dataclass

import numpy as np

from semcom.evaluation import measures

ONE, SNR_KNOWN, H_KNOWN = "one", "snr", "h"
ADAPTATIONS = {ONE: "one scheme", SNR_KNOWN: "SNR known", H_KNOWN: "h known"}
"""Name -> what the transmitter goes by, as labels have it."""
SENTENCES_A_BIN = 60
"""Of the validation, from which a scheme for states of the channel is chosen."""
MOST_BINS = 16


@dataclass(frozen=True)
class Choice:
    """A scheme for each state of the channel. borders: [L - 1] in dB, rising, between L states; none where
    the state does not matter. schemes: [L] places of schemes."""

    borders: np.ndarray
    schemes: np.ndarray

    def of(self, states: np.ndarray) -> np.ndarray:
        """[K, N] in dB -> [K, N] places of schemes."""
        return self.schemes[np.searchsorted(self.borders, states, side="right")]

    def taken(self, by_scheme: np.ndarray, states: np.ndarray) -> np.ndarray:
        """[J, K, N, ...] -> [K, N, ...], of each sentence at each SNR what its scheme comes to."""
        k, n = np.indices(states.shape)
        return by_scheme[self.of(states), k, n]


def carried(fits: np.ndarray) -> np.ndarray:
    """[J, N], whether a scheme carries a sentence -> [J, N] the scheme that it goes by: the first one from
    that on, in their order, which carries it, and that itself where none does."""
    schemes = np.arange(len(fits))[:, None]
    places = np.where(fits, schemes, len(fits))
    first = np.minimum.accumulate(places[::-1])[::-1]
    return np.where(first < len(fits), first, schemes)


def choose(adaptation: str, sums: np.ndarray, states: np.ndarray) -> Choice:
    """What a transmitter sends by that knows nothing, the mean SNR, or the channel's gain.

    sums: [J, K, N, M] of validation sentences. states: [K, N] in dB that the transmitter goes by: the mean
    SNR of each, or what the channel's gain makes of it. Of schemes that are level the first is taken. Mean
    SNRs are few, a scheme each; other states are divided into bins of equal numbers.
    """
    if adaptation == ONE:
        return Choice(np.empty(0), np.array([_best(sums.sum((1, 2)))]))
    values = np.unique(states)
    if adaptation == H_KNOWN:
        bins = max(1, min(MOST_BINS, states.size // SENTENCES_A_BIN))
        borders = np.unique(np.quantile(states, np.linspace(0, 1, bins + 1)[1:-1]))
    else:
        borders = (values[1:] + values[:-1]) / 2
    places = np.searchsorted(borders, states, side="right")
    schemes = [_best(sums[:, places == place].sum(1)) for place in range(len(borders) + 1)]
    return Choice(borders, np.array(schemes))


def _best(sums: np.ndarray) -> int:
    """[J, M] -> the scheme of the highest BLEU."""
    bleu = measures.of_sums(sums, [measures.named("bleu")])["bleu"]
    return int(np.argmax(np.nan_to_num(bleu)))
