"""Which share of the words of each class (kind, frequency, length of the sentence, topic) did not arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from semcom.evaluation import bootstrap, frames, intervals, lost_words
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pairs import Pair

if TYPE_CHECKING:
    from semcom.evaluation.study import Study

Row = dict[str, Any]
ByClass = dict[tuple[str, str], np.ndarray]
"""What words are classed by and a class -> [N, 2] words lost and words in all, by sentence."""


def table(study: Study, bands: lost_words.Bands) -> pd.DataFrame:
    """A row a pair and class of words: share lost, at the reference SNR."""
    pairs = [pair for pair in study.pairing.pairs if pair.draw == 0 and not pair.forced]
    rows = [
        {
            "pair": study.pairing.label(pair),
            **row_of(study, place, tally),
            "lost": share(study, tally),
        }
        for pair in pairs
        for place, tally in by_class(study, pair, bands).items()
    ]
    return frames.frame_of(rows)


def row_of(study: Study, place: tuple[str, str], tally: np.ndarray) -> Row:
    """What is known of a class beside its loss."""
    by, name = place
    at = {"channel": study.channel, "snr": study.reference_snr}
    return {"by": by, "class": name, "words": int(tally[:, 1].sum()), **at}


def by_class(study: Study, pair: Pair, bands: lost_words.Bands) -> ByClass:
    """Of the classes that any word is of."""
    loss = study.sent.loss(study.texts(pair))
    found = _word_classes(study, pair, loss, study.sent.by_frequency(bands))
    return {
        (by, name): tally
        for by, classes in found.items()
        for name, tally in classes.items()
        if tally[:, 1].any()
    }


def _word_classes(
    study: Study, pair: Pair, loss: lost_words.Loss, frequency: lost_words.Classes
) -> Mapping[str, Mapping[str, np.ndarray]]:
    everything = loss.in_all()
    lengths = np.array([lost_words.length_band(int(n)) for n in loss.sent.lengths])
    topics = np.array([sentence.topic or "" for sentence in study.sentences])
    found = {
        "all": {"words": everything, "added": loss.added()},
        "kind": loss.by_kind(),
        "frequency": loss.by(frequency),
        "length": _parted(everything, lengths, lost_words.LENGTH_BANDS),
        "topic": _parted(everything, topics, sorted(set(topics) - {""})),
    }
    if pair.seen_topics is not None and (topics != "").any():
        seen = np.isin(topics, sorted(pair.seen_topics))[:, None]
        found["topics of this pair"] = {"seen": everything * seen, "not seen": everything * ~seen}
    return found


def _parted(tally: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: tally * (labels == name)[:, None] for name in names}


def shares(study: Study, tally: np.ndarray) -> np.ndarray:
    """[R+1] of the words of a class that were lost."""
    sums = study.weights @ tally
    with np.errstate(invalid="ignore"):
        return sums[:, 0] / sums[:, 1]


def share(study: Study, tally: np.ndarray) -> Interval | None:
    found = bootstrap.interval(shares(study, tally))
    if found is None or 0 < found.value < 1:
        return found
    # No resample of words that all arrived loses one: the exact end of a binomial share instead (Clopper
    # and Pearson 1934).
    end = 1 - ((1 - intervals.LEVEL) / 2) ** (1 / tally[:, 1].sum())
    return Interval(0.0, 0.0, end) if found.value == 0 else Interval(1.0, 1 - end, 1.0)


def over_seeds(study: Study, tallies: Sequence[np.ndarray]) -> Interval | None:
    """Of the same class of pairs that differ in seeds alone: of several the mean of their shares."""
    if len(tallies) == 1:
        return share(study, tallies[0])
    return bootstrap.over_seeds([shares(study, tally) for tally in tallies])
