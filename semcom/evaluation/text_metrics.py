"""Measures of decoded text and of representations: BLEU and chrF are sacrebleu's, as exact sums over
sentences."""

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from semcom.data.vocabulary import EOS


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenizer: str = "13a") -> float:
    """sacrebleu's corpus BLEU of detokenised text, 0 to 100."""
    return _bleu(tokenizer).corpus_score(list(hypotheses), [list(references)]).score


def bleu_signature(tokenizer: str = "13a") -> str:
    """sacrebleu's signature of ``bleu``, to be printed beside every score."""
    return _signature(_bleu(tokenizer))


def chrf(hypotheses: Sequence[str], references: Sequence[str], words: bool = True) -> float:
    """sacrebleu's corpus chrF, 0 to 100. words: with word unigrams and bigrams, which is chrF++."""
    return _chrf(words).corpus_score(list(hypotheses), [list(references)]).score


def chrf_signature(words: bool = True) -> str:
    """sacrebleu's signature of ``chrf``."""
    return _signature(_chrf(words))


def chrf_name(words: bool = True) -> str:
    return "chrF++" if words else "chrF"


def _signature(metric) -> str:
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


def _bleu(tokenizer: str):
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer)


def _chrf(words: bool):
    from sacrebleu.metrics import CHRF

    return CHRF(word_order=WORD_ORDER if words else 0)


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
BATCH_REMEMBERED = 256
"""Texts whose n-grams are: what pairs of ends and SNRs are compared with, a batch at a time."""
BLEU_COLUMNS = (
    "hypothesis_length",
    "reference_length",
    *(f"{what}_{n}" for what in ("matches", "ngrams") for n in range(1, BLEU_ORDER + 1)),
)


def bleu_statistics(
    hypotheses: Sequence[str], references: Sequence[str], tokenizer: str = "13a"
) -> np.ndarray:
    """[N, 10], ``BLEU_COLUMNS`` of each sentence: what corpus BLEU is a function of the sums of."""
    each = [_bleu_counts(tokenizer, *texts) for texts in zip(hypotheses, references)]
    return np.array(each, dtype=np.float64).reshape(-1, len(BLEU_COLUMNS))


@lru_cache(maxsize=REMEMBERED)
def _bleu_counts(tokenizer: str, hypothesis: str, reference: str) -> tuple[int, ...]:
    """Of one sentence. Remembered, since pairs of ends and SNRs mostly understand the same."""
    found = _bleu_of_sentences(tokenizer).sentence_score(hypothesis, [reference])
    return (found.sys_len, found.ref_len, *found.counts, *found.totals)


@cache
def _bleu_of_sentences(tokenizer: str):
    from sacrebleu.metrics import BLEU

    # It only keeps it from warning about single sentences; the counts are the same.
    return BLEU(effective_order=True, tokenize=tokenizer)


def words_of(text: str, tokenizer: str = "13a") -> int:
    """How many words BLEU has of a text."""
    return len(_bleu_of_sentences(tokenizer).tokenizer(text).split())


def bleu_of(sums: np.ndarray) -> np.ndarray:
    """[..., 10] summed ``bleu_statistics`` -> [...], sacrebleu's corpus BLEU of them, 0 to 100: of as many
    resamples as there are at once. Of one set, [10], it is sacrebleu's own, to the last bit.

    As sacrebleu 2 has it: an order without a match counts half a match, the next one a quarter (Chen and
    Cherry 2014, smoothing 3).
    """
    if sums.ndim == 1:
        known = not np.isnan(sums).any()
        return np.asarray(_sacrebleu_of([int(count) for count in sums]) if known else np.nan)
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


CHARACTER_ORDER, WORD_ORDER = 6, 2
BETA_SQUARED = 4
"""By which recall counts more than precision in chrF."""
CHRF_COLUMNS = tuple(
    f"chrf_{what}_{order}"
    for order in [*(f"c{n}" for n in range(1, CHARACTER_ORDER + 1)), "w1", "w2"]
    for what in ("hypothesis", "reference", "matches")
)
"""Of n-grams of characters, then of words: how many both texts have, and share."""


def chrf_statistics(hypotheses: Sequence[str], references: Sequence[str], words: bool = True) -> np.ndarray:
    """[N, 24], ``CHRF_COLUMNS`` of each sentence: what corpus chrF is a function of the sums of. Without
    words those of words are 0."""
    each = [_chrf_counts(words, *texts) for texts in zip(hypotheses, references)]
    return np.array(each, dtype=np.float64).reshape(-1, len(CHRF_COLUMNS))


@lru_cache(maxsize=REMEMBERED)
def _chrf_counts(words: bool, hypothesis: str, reference: str) -> tuple[int, ...]:
    counts = _chrf_of_sentences(words)._compute_segment_statistics(hypothesis, _ngrams(words, reference))
    return (*counts, *[0] * (len(CHRF_COLUMNS) - len(counts)))


@lru_cache(maxsize=BATCH_REMEMBERED)
def _ngrams(words: bool, reference: str):
    return _chrf_of_sentences(words)._extract_reference_info([reference])


@cache
def _chrf_of_sentences(words: bool):
    return _chrf(words)


def chrf_of(sums: np.ndarray) -> np.ndarray:
    """[..., 24] summed ``chrf_statistics`` -> [...], sacrebleu's corpus chrF of them, 0 to 100. Of one set,
    [24], it is sacrebleu's own, to the last bit.

    Precision and recall are means over the orders that both texts have (Popović 2015, 2017).
    """
    if sums.ndim == 1:
        if np.isnan(sums).any():
            return np.asarray(np.nan)
        return np.asarray(_chrf_of_sentences(True)._compute_f_score([int(count) for count in sums]))
    hypotheses, references, matches = (sums[..., place::3] for place in range(3))
    there = (hypotheses > 0) & (references > 0)
    orders = np.maximum(there.sum(-1), 1)
    precision, recall = (
        np.divide(matches, total, out=np.zeros_like(matches), where=there).sum(-1) / orders
        for total in (hypotheses, references)
    )
    below = BETA_SQUARED * precision + recall
    score = (1 + BETA_SQUARED) * precision * recall
    found = 100 * np.divide(score, below, out=np.zeros_like(score), where=below > 0)
    # What was not decoded has no score.
    return np.where(np.isnan(sums).any(-1), np.nan, found)


def cka(x: np.ndarray, y: np.ndarray) -> float | None:
    """Linear centred kernel alignment of two representations of the same N things, 0 to 1 (Kornblith et al.
    2019, arXiv 1905.00414, eq. 3).

    x: [N, D1]; y: [N, D2]. None where one of them does not vary.
    """
    if not all(np.ptp(z, axis=0).any() for z in (x, y)):
        return None
    x, y = (np.asarray(z, dtype=np.float64) - np.mean(z, axis=0, dtype=np.float64) for z in (x, y))
    return float(np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))
