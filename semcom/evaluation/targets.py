"""What a dial can be set to: how far a pair is from the reference by one measure, a number that is 0 for the
reference itself."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from semcom.base.messages import N_
from semcom.evaluation.measure_row import NATS, Measure
from semcom.evaluation.measures import named, of_sums

BLEU_DROP = "bleu_drop"
"""What may be asked for beside measures and their gaps: points of BLEU below the teacher's."""
RELATIVE_TOLERANCE = 0.01
BLEU_TOLERANCE = 0.2
"""Of a drop in BLEU, in points, or one standard error of it where that is more."""

PREFIXES = {
    "gold": N_("gold prefixes"),
    "reference": N_("the teacher's own prefixes"),
    "text": N_("decoded text"),
}
"""What a receiver has read of the sentence where a divergence is measured."""

Difference = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Target:
    """measure: the row it is made of. of: that measure's value of a pair and of the reference -> the
    difference. prefix: of ``PREFIXES``. title, unit: for people, in English. steps: whether it moves in steps
    as weights move, for it counts texts."""

    measure: Measure
    of: Difference
    prefix: str
    title: str
    unit: str = NATS
    steps: bool = False

    def value(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Sums [..., K] of a pair and of the reference over the same sentences -> [...]."""
        of_pair, of_reference = (of_sums(sums, [self.measure])[self.measure.name] for sums in (ours, theirs))
        return self.of(of_pair, of_reference)

    def tolerance(self, target: float, error: float) -> float:
        """How near to ``target`` a search must come, where a value has the standard error ``error``."""
        return max(BLEU_TOLERANCE, error) if self.steps else RELATIVE_TOLERANCE * target

    def wanted_error(self, target: float, share: float) -> float:
        """The standard error below which more sentences are not needed: a share of the target."""
        return max(BLEU_TOLERANCE, share * target) if self.steps else share * target


def _itself(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return ours


TARGETS = {
    "kl_divergence": Target(named("kl_divergence"), _itself, "gold", "KL to the teacher"),
    "kl_reference_prefix": Target(
        named("kl_reference_prefix"), _itself, "reference", "KL to the teacher on its own decodings"
    ),
    "js_divergence": Target(named("js_divergence"), _itself, "gold", "JS to the teacher"),
    "cross_entropy_gap": Target(
        named("cross_entropy"),
        lambda ours, theirs: ours - theirs,
        "gold",
        "cross-entropy above the teacher's",
    ),
    BLEU_DROP: Target(
        named("bleu"),
        lambda ours, theirs: theirs - ours,
        "text",
        N_("BLEU below the teacher's"),
        unit="points",
        steps=True,
    ),
}
"""By the names that ``--target-measure`` takes."""
