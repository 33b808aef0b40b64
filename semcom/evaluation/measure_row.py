"""A row of the table of measures: what it says, and what follows from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from semcom.base.messages import N_
from semcom.evaluation.sums import Sum

NATS = N_("nats a token")


@dataclass(frozen=True)
class Measure:
    """name: of its column. sums: those by sentence that it is a function of. value: that function, of the
    sums over any set of sentences, an array each. title, unit: in English, marked for translation; short: the
    title where there is little room. decimals: shown. better: which direction is.

    by_sentence: ``value`` needs more than totals. It is given how often each sentence counts in each of R
    samples, [R, N], then the sums of the sentences, [..., N] each, and gives [..., R]. It cannot be
    ``tested``, as a test swaps totals.

    Its roles:
    to_teacher: compares with the teacher, whose own pair therefore stands beside no other in its tables.
    in_matrix: a column of the report's matrix. tested: with a p of no difference from the teacher's own pair.
    makeup: beside KL in the table of what a divergence is made of. beside_noise: also as a multiple,
    ``name_over_noise``, of what another draw of the channel makes of the teacher. gap: also as a difference,
    ``name_gap``, from the teacher's own. teachers_own: the teacher's own value stands beside a run's. curve:
    drawn by SNR.

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
    by_sentence: bool = False
    to_teacher: bool = False
    in_matrix: bool = False
    makeup: bool = False
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

    def __post_init__(self) -> None:
        if self.by_sentence and self.tested:
            raise ValueError(f"{self.name}: a measure of sentences, not of totals, cannot be tested")

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
