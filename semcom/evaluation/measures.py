"""The table of measures: a row each, from which matrix, intervals, tests, report, CSV and console follow."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from semcom.base.messages import N_
from semcom.evaluation import concentration, text_metrics
from semcom.evaluation import sums as of
from semcom.evaluation.measure_row import NATS, Measure
from semcom.evaluation.sums import PieceSum, Sum, TokenSum


def _mean(count: np.ndarray, total: np.ndarray) -> np.ndarray:
    return total / count


def _bleu_where_compared(kl: np.ndarray, statistics: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(kl), np.nan, text_metrics.bleu_of(statistics))


MEASURES: tuple[Measure, ...] = (
    Measure(
        "bleu",
        (of.TO_SENT,),
        text_metrics.bleu_of,
        N_("BLEU"),
        decimals=2,
        better="higher",
        in_matrix=True,
        tested=True,
        teachers_own=True,
        curve=True,
        effect=2,
        followed=3,
        by_snr=1,
        console=6,
    ),
    Measure(
        "chrf",
        (of.CHRF,),
        text_metrics.chrf_of,
        N_("chrF"),
        decimals=2,
        better="higher",
        in_matrix=True,
        by_snr=2,
        console=7,
    ),
    Measure(
        "token_accuracy",
        (of.TOKENS, of.MATCHES),
        _mean,
        N_("token accuracy"),
        decimals=4,
        better="higher",
        by_snr=6,
    ),
    Measure(
        "exact",
        (of.SENTENCES, of.EXACT),
        _mean,
        N_("exact sentences"),
        decimals=4,
        better="higher",
        by_snr=7,
    ),
    Measure(
        "exact_as_written",
        (of.SENTENCES, of.EXACT_AS_WRITTEN),
        _mean,
        N_("exact as written"),
        decimals=4,
        better="higher",
    ),
    Measure(
        "cross_entropy",
        (of.TARGETS, of.NATS),
        _mean,
        N_("cross-entropy"),
        decimals=4,
        better="lower",
        unit=NATS,
        in_matrix=True,
        tested=True,
        gap=True,
        teachers_own=True,
        curve=True,
        effect=1,
        followed=2,
        by_snr=4,
        console=5,
    ),
    Measure(
        "kl_divergence",
        (of.TOKENS, of.KL),
        _mean,
        N_("KL to the teacher"),
        decimals=4,
        better="lower",
        unit=NATS,
        short=N_("KL"),
        to_teacher=True,
        in_matrix=True,
        beside_noise=True,
        curve=True,
        effect=3,
        followed=1,
        by_snr=3,
        headline=1,
        console=1,
    ),
    Measure(
        "kl_reference_prefix",
        (of.OWN_TOKENS, of.OWN_KL),
        _mean,
        N_("KL to the teacher on its own decodings"),
        decimals=4,
        better="lower",
        unit=NATS,
        short=N_("KL own prefix"),
        to_teacher=True,
        console=2,
    ),
    Measure(
        "js_divergence",
        (of.TOKENS, of.JS),
        _mean,
        N_("JS to the teacher"),
        decimals=4,
        better="lower",
        unit=NATS,
        short=N_("JS"),
        to_teacher=True,
        beside_noise=True,
        by_snr=5,
        console=3,
    ),
    Measure(
        "agreement_rate",
        (of.TOKENS, of.AGREEMENTS),
        _mean,
        N_("agreement"),
        decimals=4,
        better="higher",
        to_teacher=True,
        in_matrix=True,
        headline=3,
        console=4,
    ),
    Measure(
        "representation_distance",
        (of.TOKENS, of.DISTANCE),
        _mean,
        N_("distance of decoder states"),
        decimals=4,
        better="lower",
        to_teacher=True,
        headline=2,
    ),
    Measure(
        "bleu_to_reference",
        (of.KL, of.TO_REFERENCE),
        _bleu_where_compared,
        N_("BLEU to teacher"),
        decimals=2,
        better="higher",
        to_teacher=True,
        console=8,
    ),
    Measure(
        "kl_calibrated",
        (of.TOKENS, of.CALIBRATED_KL),
        _mean,
        N_("KL to the teacher after one temperature"),
        decimals=4,
        better="lower",
        unit=NATS,
        short=N_("calibrated KL"),
        to_teacher=True,
        makeup=True,
    ),
    Measure(
        "kl_worst_share",
        (of.KL,),
        concentration.worst_share,
        N_("share of KL in the worst 5 % of sentences"),
        decimals=3,
        better="lower",
        short=N_("KL share of worst 5 %"),
        by_sentence=True,
        to_teacher=True,
        makeup=True,
    ),
)
"""In the order of the columns of matrix.csv."""
SAY_MORE_OF_SHORT_TEXTS = ("exact", "chrf")
"""Than BLEU."""


def all_sums() -> list[Sum]:
    """What the measures need, each once: of decoded pieces, after gold prefixes, after the reference's own,
    of text; among these in the order of the measures."""
    needed = {found.columns: found for measure in MEASURES for found in measure.sums}
    return sorted(needed.values(), key=_stage)


def _stage(found: Sum) -> int:
    if isinstance(found, TokenSum):
        return 1 if found.prefixes == "gold" else 2
    return 0 if isinstance(found, PieceSum) else 3


def columns() -> list[str]:
    """Of an array of sums [..., K]."""
    return [name for found in all_sums() for name in found.columns]


def slices() -> dict[tuple[str, ...], slice]:
    """A sum's ``columns`` -> its place in an array of sums."""
    places, start = {}, 0
    for found in all_sums():
        places[found.columns] = slice(start, start + len(found.columns))
        start += len(found.columns)
    return places


def of_sums(sums: np.ndarray, wanted: Sequence[Measure] | None = None) -> dict[str, np.ndarray]:
    """[..., K] summed over any set of sentences -> every measure (of ``wanted``) that is a function of
    totals, each [...]."""
    wanted = [measure for measure in MEASURES if not measure.by_sentence] if wanted is None else wanted
    places = slices()
    with np.errstate(invalid="ignore", divide="ignore"):
        return {measure.name: measure.value(*_sums_of(measure, sums, places)) for measure in wanted}


def of_sentences(
    sums: np.ndarray, wanted: Sequence[Measure] | None = None, weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """[..., N, K] sums of N sentences -> every measure (of ``wanted``) of them all, each [...].

    weights: [R, N], how often each sentence counts in each of R samples; the measures are then of each
    sample, [..., R].
    """
    wanted = MEASURES if wanted is None else wanted
    totals = sums.sum(-2) if weights is None else weights @ sums
    found = of_sums(totals, [measure for measure in wanted if not measure.by_sentence])
    once = np.ones((1, sums.shape[-2])) if weights is None else weights
    places = slices()
    with np.errstate(invalid="ignore", divide="ignore"):
        for measure in wanted:
            if measure.by_sentence:
                values = measure.value(once, *_sums_of(measure, sums, places))
                found[measure.name] = values[..., 0] if weights is None else values
    return {measure.name: found[measure.name] for measure in wanted}


def _sums_of(measure: Measure, sums: np.ndarray, places: Mapping[tuple[str, ...], slice]) -> list[np.ndarray]:
    """Of [..., K], laid out as ``places`` says, those that a measure is a function of: [...] each, of several
    columns [..., several]."""
    found = []
    for needed in measure.sums:
        place = places[needed.columns]
        found.append(sums[..., place] if len(needed.columns) > 1 else sums[..., place.start])
    return found


def named(name: str) -> Measure:
    """The measure of that name; ``KeyError`` where there is none."""
    return {measure.name: measure for measure in MEASURES}[name]


def alone() -> list[Measure]:
    """Measures of a transceiver by itself; the first is the one shown where there is room for one."""
    return [measure for measure in MEASURES if measure.alone]


def tested() -> list[Measure]:
    return [measure for measure in MEASURES if measure.tested]


def beside_noise() -> list[Measure]:
    return [measure for measure in MEASURES if measure.beside_noise]


def with_gap() -> list[Measure]:
    return [measure for measure in MEASURES if measure.gap]


def in_matrix() -> list[Measure]:
    return [measure for measure in MEASURES if measure.in_matrix]


def of_makeup() -> list[Measure]:
    return [measure for measure in MEASURES if measure.makeup]


def with_curve() -> list[Measure]:
    """By their places among those with a table by SNR."""
    return [measure for measure in by_snr() if measure.curve]


def parted() -> list[Measure]:
    """Measures that are parted into what either end adds, the primary one first."""
    return _in_order(lambda measure: measure.effect)


def followed() -> list[Measure]:
    """Measures that are followed over settings and seeds."""
    return _in_order(lambda measure: measure.followed)


def first_of_short_texts(found: Sequence[Measure]) -> list[Measure]:
    """Those measures with what says most of texts without 4-grams ahead."""
    first = [named(name) for name in SAY_MORE_OF_SHORT_TEXTS]
    return [*first, *(measure for measure in found if measure not in first)]


def by_snr() -> list[Measure]:
    """Measures with a table by SNR."""
    return _in_order(lambda measure: measure.by_snr)


def headlines() -> list[Measure]:
    return _in_order(lambda measure: measure.headline)


def on_console() -> list[Measure]:
    return _in_order(lambda measure: measure.console)


def _in_order(place: Callable[[Measure], int | None]) -> list[Measure]:
    """Measures that have a place, by it."""
    placed = [(number, measure) for measure in MEASURES if (number := place(measure)) is not None]
    return [measure for _, measure in sorted(placed, key=lambda pair: pair[0])]
