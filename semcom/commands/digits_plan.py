"""Sizes, lengths and losses of the image setting."""

import dataclasses
from dataclasses import dataclass, field

from semcom.distillation.settings import DistillationConfig

LABELS_ALONE = "labels alone"
# Of T from 1 to 4 and beta from 1 to 8, what had the highest mean validation accuracy over seeds 100 to 105.
KD = DistillationConfig(distill_weight=0.9, temperature=1.0)
LSKD = DistillationConfig(distill_weight=0.9, standardize_logits=True, temperature=1.0)
DKD = DistillationConfig(distill_weight=0.9, kd_loss="dkd", dkd_beta=1.0, temperature=1.0)
DKD_LSKD = DistillationConfig(
    distill_weight=0.9, kd_loss="dkd", dkd_beta=2.0, standardize_logits=True, temperature=1.0
)


def over(base: DistillationConfig, *scales: int) -> DistillationConfig:
    """Scale Decoupled Distillation: ``base`` on the cells of these scales too."""
    return dataclasses.replace(base, scales=scales)


METHODS = {
    LABELS_ALONE: DistillationConfig(distill_weight=0.0),
    "kd": KD,
    "dkd": DKD,
    "lskd": LSKD,
    "dkd+lskd": DKD_LSKD,
    "sdd [1] over kd": over(KD, 1),
    "sdd [1,2] over kd": over(KD, 1, 2),
    "sdd [1,2,4] over kd": over(KD, 1, 2, 4),
    "sdd [1,2,4] over lskd": over(LSKD, 1, 2, 4),
    "sdd [1,2,4] over dkd+lskd": over(DKD_LSKD, 1, 2, 4),
}
UNSEEN = DistillationConfig(distill_weight=1.0, standardize_logits=True, temperature=2.0)
"""What a student learns from that never sees a class: soft targets alone; chosen in the same way, of T in 2,
4, 8 and kd at 8."""


@dataclass(frozen=True)
class Plan:
    """Sizes and lengths. Widths are channels of the three convolutions; lr is a peak; a step takes labelled
    and unlabelled images."""

    teacher_widths: tuple[int, int, int] = (40, 80, 128)
    student_widths: tuple[int, int, int] = (10, 20, 20)
    test: int = 597
    validation: int = 300
    labelled: int = 100
    teacher_steps: int = 300
    teacher_batch: int = 64
    teacher_lr: float = 3e-3
    steps: int = 300
    labelled_batch: int = 32
    unlabelled_batch: int = 96
    lr: float = 0.02
    warmup_steps: int = 50
    hidden: tuple[int, ...] = (3,)
    hidden_steps: int = 600
    methods: dict[str, DistillationConfig] = field(default_factory=lambda: METHODS)
    unseen: DistillationConfig = UNSEEN
