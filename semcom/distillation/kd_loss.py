"""The distillation loss as its settings describe it: which divergence, at which temperature and weight, when.

It knows nothing of transceivers: what it compares are logits [..., V] of any two classifiers.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from semcom.distillation import losses
from semcom.distillation.losses import Temperature
from semcom.distillation.settings import DistillationConfig

RowLoss = Callable[[Tensor, Tensor, Tensor, Temperature], Tensor]
"""Student and teacher logits [..., V], targets [...] and T -> [...]."""

UNLABELLED = -100
"""The target of a row without a label; torch's ``ignore_index``."""


def row_loss(settings: DistillationConfig) -> RowLoss:
    """The divergence that ``settings`` name, one value a row."""
    s = settings
    divergence: RowLoss = {
        "kd": lambda student, teacher, targets, t: losses.kd(student, teacher, t),
        "rkl": lambda student, teacher, targets, t: losses.rkl(student, teacher, t),
        "jsd": lambda student, teacher, targets, t: losses.jsd(student, teacher, t, s.jsd_beta),
        "skl": lambda student, teacher, targets, t: losses.skl(student, teacher, t, s.skew),
        "dkd": lambda student, teacher, targets, t: losses.dkd(
            student, teacher, targets, t, s.dkd_alpha, s.dkd_beta
        ),
    }[s.kd_loss]
    if not s.standardize_logits:
        return divergence
    return lambda student, teacher, targets, t: divergence(
        losses.standardize(student), losses.standardize(teacher), targets, t
    )


def scheduled(
    start: float, end: float | None, shape: str, progress: float, level: Tensor | None = None
) -> Temperature:
    """A setting's value when ``progress`` (0 to 1) of the run is done: constant, linear or by half a cosine
    from start to end.

    By ``snr`` it is linear in the place of a row's SNR in the training range, ``level`` (0 to 1) [...].
    """
    if shape == "constant" or end is None:
        return start
    if shape == "snr":
        if level is None:
            raise ValueError("a schedule by SNR needs the level of each row")
        return start + (end - start) * level
    return start + (end - start) * (progress if shape == "linear" else (1 - math.cos(math.pi * progress)) / 2)


def temperature(settings: DistillationConfig, progress: float, level: Tensor | None = None) -> Temperature:
    """T when ``progress`` of the run is done."""
    return scheduled(
        settings.temperature, settings.final_temperature, settings.temperature_schedule, progress, level
    )


def weights(
    settings: DistillationConfig, progress: float, level: Tensor | None = None
) -> tuple[Temperature, Temperature]:
    """Weights of cross-entropy, 1 - a, and of distillation, a; the latter rises from 0 during the warm-up of
    ``dkd``."""
    a = scheduled(settings.distill_weight, settings.final_weight, settings.weight_schedule, progress, level)
    warm = (
        min(progress / settings.dkd_warmup, 1) if settings.kd_loss == "dkd" and settings.dkd_warmup else 1.0
    )
    return 1 - a, a * warm


def scalars(settings: DistillationConfig, progress: float) -> dict[str, float | None]:
    """T and a when ``progress`` of the run is done, for a log; None where they depend on the SNR."""
    by_snr = {
        "temperature": settings.temperature_schedule == "snr",
        "weight": settings.weight_schedule == "snr",
    }
    t = None if by_snr["temperature"] else temperature(settings, progress)
    return {"temperature": t, "weight": None if by_snr["weight"] else weights(settings, progress)[1]}


class DistillationLoss(nn.Module):
    """(1 - a) * CE + a * KD of any student and teacher with logits [..., V], each a mean over its rows.

    ``progress``, the share of the run that is done, drives schedules and the warm-up of ``dkd``; set it
    before each step.
    """

    def __init__(self, settings: DistillationConfig | None = None):
        super().__init__()
        self.settings = settings or DistillationConfig()
        self.divergence = row_loss(self.settings)
        self.progress = 0.0

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        targets: Tensor,
        mask: Tensor | None = None,
        *,
        student_grid: Tensor | None = None,
        teacher_grid: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The means "loss", "ce", "kd", and "scales" with its share "complementary" where there are scales.

        student, teacher: [..., V], no gradient reaches the teacher. targets: [...] classes; ``UNLABELLED``
        rows count for distillation alone, with the teacher's own class where a loss asks for one. mask: [...]
        True at rows that count (default all). student_grid, teacher_grid: [B, H, W, V] logits at each place
        of B images, whose means over cells are distilled at the settings' scales; a mask [B] chooses among
        them too.
        """
        if mask is not None:
            student, teacher, targets = student[mask], teacher[mask], targets[mask]
        teacher = teacher.detach()
        labelled = targets != UNLABELLED
        t, (ce_weight, kd_weight) = (
            temperature(self.settings, self.progress),
            weights(self.settings, self.progress),
        )
        known = torch.where(labelled, targets, teacher.argmax(-1))
        ce = losses.cross_entropy(student[labelled], targets[labelled])
        means = {"ce": _mean(ce), "kd": _mean(self.divergence(student, teacher, known, t))}
        means["loss"] = ce_weight * means["ce"] + kd_weight * means["kd"]
        if self.settings.scales:
            if student_grid is None or teacher_grid is None:
                raise ValueError(
                    "scales need student_grid and teacher_grid, logits at each place [B, H, W, V]"
                )
            if mask is not None:
                student_grid, teacher_grid = student_grid[mask], teacher_grid[mask]
            means["scales"], means["complementary"] = self._scales(
                student_grid, teacher_grid.detach(), known, t
            )
            means["loss"] = means["loss"] + kd_weight * self.settings.scale_weight * means["scales"]
        return means

    def _scales(self, student: Tensor, teacher: Tensor, targets: Tensor, t: float) -> tuple[Tensor, Tensor]:
        ours, theirs = (
            torch.cat([losses.pool_grid(grid, scale) for scale in self.settings.scales], 1)
            for grid in (student, teacher)
        )
        seen, whole = theirs.argmax(-1), losses.pool_grid(teacher, 1).argmax(-1)
        weight = losses.complementary(seen, whole.expand_as(seen), self.settings.complementary_weight)
        rows = weight * self.divergence(ours, theirs, targets[:, None].expand_as(seen), t)
        return _mean(rows), _mean((seen != whole).float())


def _mean(rows: Tensor) -> Tensor:
    """The mean, of no rows 0, from which a gradient of zero flows."""
    return rows.sum() / max(rows.numel(), 1)
