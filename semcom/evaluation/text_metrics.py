"""Measures of decoded text and of representations, the text's as exact sums over sentences."""

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from semcom.data.vocabulary import EOS


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """sacrebleu's corpus BLEU of detokenised text, 0 to 100."""
    return _sacrebleu().corpus_score(list(hypotheses), [list(references)]).score


def bleu_signature() -> str:
    """sacrebleu's signature of ``bleu``, to be printed beside every score."""
    metric = _sacrebleu()
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


def _sacrebleu():
    from sacrebleu.metrics import BLEU

    return BLEU()


def token_matches(hypothesis: Sequence[int], reference: Sequence[int]) -> int:
    """Positions, eos included, at which a free-running decoding has the reference's piece."""
    return sum(h == r for h, r in zip([*hypothesis, EOS], [*reference, EOS]))


def shuffled_partners(lengths: Sequence[int]) -> list[int]:
    """For each sentence the index of another of the same length (the nearest where there is none): the floor
    of a measure."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    groups: dict[int, list[int]] = {}
    for index in order:
        groups.setdefault(lengths[index], []).append(index)
    partner = list(range(len(lengths)))
    for group in groups.values():
        for here, there in zip(group, group[1:] + group[:1]):
            partner[here] = there
    for rank, index in enumerate(order):
        if partner[index] == index and len(order) > 1:
            beside = order[max(rank - 1, 0) : rank] + order[rank + 1 : rank + 2]
            partner[index] = _nearest(lengths, beside, lengths[index])
    return partner


def _nearest(lengths: Sequence[int], among: Sequence[int], length: int) -> int:
    return min(among, key=lambda index: abs(lengths[index] - length))


BLEU_ORDER = 4
REMEMBERED = 50_000
"""Pairs of texts whose statistics are not counted again."""
BLEU_COLUMNS = (
    "hypothesis_length",
    "reference_length",
    *(f"{what}_{n}" for what in ("matches", "ngrams") for n in range(1, BLEU_ORDER + 1)),
)


def bleu_statistics(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """[N, 10], ``BLEU_COLUMNS`` of each sentence: what corpus BLEU is a function of the sums of."""
    each = [_statistics_of(*texts) for texts in zip(hypotheses, references)]
    return np.array(each, dtype=np.float64).reshape(-1, len(BLEU_COLUMNS))


@lru_cache(maxsize=REMEMBERED)
def _statistics_of(hypothesis: str, reference: str) -> tuple[int, ...]:
    """Of one sentence. Remembered, since pairs of ends and SNRs mostly understand the same."""
    found = _by_sentence().sentence_score(hypothesis, [reference])
    return (found.sys_len, found.ref_len, *found.counts, *found.totals)


@cache
def _by_sentence():
    from sacrebleu.metrics import BLEU

    # It only keeps it from warning about single sentences; the counts are the same.
    return BLEU(effective_order=True)


def bleu_of(sums: np.ndarray) -> np.ndarray:
    """[..., 10] summed ``bleu_statistics`` -> [...], sacrebleu's corpus BLEU of them, 0 to 100: of as many
    resamples as there are at once. Of one set, [10], it is sacrebleu's own, to the last bit.

    As sacrebleu 2 has it: an order without a match counts half a match, the next one a quarter (Chen and
    Cherry 2014, smoothing 3).
    """
    if sums.ndim == 1:
        return np.asarray(_sacrebleu_of([int(count) for count in sums]))
    lengths, references, matches, ngrams = (
        sums[..., 0],
        sums[..., 1],
        sums[..., 2 : 2 + BLEU_ORDER],
        sums[..., 2 + BLEU_ORDER :],
    )
    missed = (matches == 0) & (ngrams > 0)
    smoothed = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(ngrams > 0, np.log(smoothed / ngrams), -np.inf).mean(-1)
        brevity = np.minimum(0.0, 1 - references / lengths)
        score = 100 * np.exp(precision + brevity)
    return np.where((matches.sum(-1) == 0) | (lengths == 0), 0.0, score)


def _sacrebleu_of(counts: Sequence[int]) -> float:
    from sacrebleu.metrics import BLEU

    length, reference, *found = counts
    matches, ngrams = found[:BLEU_ORDER], found[BLEU_ORDER:]
    return BLEU.compute_bleu(matches, ngrams, length, reference, smooth_method="exp").score


def cka(x: np.ndarray, y: np.ndarray) -> float | None:
    """Linear centred kernel alignment of two representations of the same N things, 0 to 1 (Kornblith et al.
    2019, arXiv 1905.00414, eq. 3).

    x: [N, D1]; y: [N, D2]. None where one of them does not vary.
    """
    if not all(np.ptp(z, axis=0).any() for z in (x, y)):
        return None
    x, y = (np.asarray(z, dtype=np.float64) - np.mean(z, axis=0, dtype=np.float64) for z in (x, y))
    return float(np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))
