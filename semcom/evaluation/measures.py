"""The table of measures: a row each, from which matrix, intervals, tests, report, CSV and console follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from semcom.base.messages import N_
from semcom.evaluation import sums as of
from semcom.evaluation import text_metrics
from semcom.evaluation.sums import PieceSum, Sum, TextSums, TokenSum

NATS = N_("nats a token")


@dataclass(frozen=True)
class Measure:
    """name: of its column. sums: those by sentence that it is a function of. value: that function, of the
    sums over any set of sentences, an array each. title, unit: in English, marked for translation; short: the
    title where there is little room. decimals: shown. better: which direction is.

    Its roles:
    to_teacher: compares with the teacher, whose own pair therefore stands beside no other in its tables.
    in_matrix: a column of the report's matrix. tested: with a p of no difference from the teacher's own pair.
    beside_noise: also as a multiple, ``name_over_noise``, of what another draw of the channel makes of the
    teacher. gap: also as a difference, ``name_gap``, from the teacher's own. teachers_own: the teacher's own
    value stands beside a run's. curve: drawn by SNR.

    Places, from 1, in lists that have an order of their own (None: not in the list):
    effect: parted into what either end adds, the first the primary one. followed: over settings and seeds, by
    its gap where it has one. by_snr: with a table by SNR. headline: at the top of a run's record. console: in
    the table on the console.
    """

    name: str
    sums: tuple[Sum, ...]
    value: Callable[..., np.ndarray]
    title: str
    decimals: int
    better: Literal["higher", "lower"]
    unit: str = ""
    short: str = ""
    to_teacher: bool = False
    in_matrix: bool = False
    tested: bool = False
    beside_noise: bool = False
    gap: bool = False
    teachers_own: bool = False
    curve: bool = False
    effect: int | None = None
    followed: int | None = None
    by_snr: int | None = None
    headline: int | None = None
    console: int | None = None

    @property
    def label(self) -> str:
        return self.short or self.title

    @property
    def title_with_unit(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def alone(self) -> bool:
        """Whether it needs no reference."""
        return not any(needed.compares for needed in self.sums)

    @property
    def over_noise_name(self) -> str:
        return f"{self.name}_over_noise"

    @property
    def gap_name(self) -> str:
        return f"{self.name}_gap"

    @property
    def reference_name(self) -> str:
        """Of the teacher's own value."""
        return f"reference_{self.name}"

    @property
    def p_name(self) -> str:
        return f"{self.name}_p"

    @property
    def followed_name(self) -> str:
        """Of what is followed over settings and seeds."""
        return self.gap_name if self.gap else self.name


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
        "token_accuracy",
        (of.TOKENS, of.MATCHES),
        _mean,
        N_("token accuracy"),
        decimals=4,
        better="higher",
        by_snr=5,
    ),
    Measure(
        "exact",
        (of.SENTENCES, of.EXACT),
        _mean,
        N_("exact sentences"),
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
        by_snr=3,
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
        by_snr=2,
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
        by_snr=4,
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
        console=7,
    ),
)
"""In the order of the columns of matrix.csv."""


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
    """[..., K] summed over any set of sentences -> every measure (of ``wanted``), each [...]."""
    places = slices()

    def summed(needed: Sum) -> np.ndarray:
        place = places[needed.columns]
        return sums[..., place] if isinstance(needed, TextSums) else sums[..., place.start]

    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            measure.name: measure.value(*map(summed, measure.sums))
            for measure in (MEASURES if wanted is None else wanted)
        }


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


def with_curve() -> list[Measure]:
    """By their places among those with a table by SNR."""
    return [measure for measure in by_snr() if measure.curve]


def parted() -> list[Measure]:
    """Measures that are parted into what either end adds, the primary one first."""
    return _in_order(lambda measure: measure.effect)


def followed() -> list[Measure]:
    """Measures that are followed over settings and seeds."""
    return _in_order(lambda measure: measure.followed)


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
