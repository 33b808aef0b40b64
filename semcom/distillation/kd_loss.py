"""The distillation loss as its settings describe it: which divergence, at which temperature and weight, when.

It knows nothing of transceivers: what it compares are logits [..., V] of any two classifiers.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from semcom.distillation import losses
from semcom.distillation.logit_losses import LOGIT_LOSSES, LossSettings
from semcom.distillation.losses import Temperature
from semcom.distillation.settings import DistillationConfig

RowLoss = Callable[[Tensor, Tensor, Tensor, Temperature], Tensor]
"""Student and teacher logits [..., V], targets [...] and T -> [...]."""

UNLABELLED = -100
"""The target of a row without a label; torch's ``ignore_index``."""


def row_loss(settings: DistillationConfig) -> RowLoss:
    """The divergence that ``settings`` name, of z-scores of the logits and of the teacher's most probable
    classes and the rest where they ask for that, one value a row."""
    logit_loss, number = LOGIT_LOSSES[settings.kd_loss], settings.teacher_top_k

    def divergence(student: Tensor, teacher: Tensor, targets: Tensor, temperature: Temperature) -> Tensor:
        if settings.standardize_logits:
            student, teacher = losses.standardize(student), losses.standardize(teacher)
        if number:
            student, teacher = losses.top_and_rest(student, teacher, number, temperature)
        return logit_loss(student, teacher, targets, LossSettings(temperature, settings))

    return divergence


def over_run(start: float, end: float | None, shape: str, progress: float) -> float:
    """A setting's value when ``progress`` (0 to 1) of the run is done: constant, linear or by half a cosine
    from start to end."""
    if shape == "constant" or end is None:
        return start
    share = progress if shape == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return start + (end - start) * share


def scheduled(
    start: float, end: float | None, shape: str, progress: float, level: Tensor | None = None
) -> Temperature:
    """``over_run``; by ``snr`` linear in the place of a row's SNR in the training range, ``level`` (0 to 1)
    [...]."""
    if shape != "snr" or end is None:
        return over_run(start, end, shape, progress)
    if level is None:
        raise ValueError("a schedule by SNR needs the level of each row")
    return start + (end - start) * level


def temperature(settings: DistillationConfig, progress: float, level: Tensor | None = None) -> Temperature:
    """T when ``progress`` of the run is done."""
    s = settings
    return scheduled(s.temperature, s.final_temperature, s.temperature_schedule, progress, level)


def weights(
    settings: DistillationConfig, progress: float, level: Tensor | None = None
) -> tuple[Temperature, Temperature]:
    """Weights of cross-entropy, 1 - a, and of distillation, a; the latter rises from 0 over the warm-up of a
    loss that has one."""
    s = settings
    a = scheduled(s.distill_weight, s.final_weight, s.weight_schedule, progress, level)
    return 1 - a, a * _warmth(s, progress)


def _warmth(settings: DistillationConfig, progress: float) -> float:
    return min(progress / settings.warmup, 1) if settings.warmup else 1.0


def scalars(settings: DistillationConfig, progress: float) -> dict[str, float | None]:
    """T and a when ``progress`` of the run is done, for a log; None where they depend on the SNR."""
    s = settings
    t = over_run(s.temperature, s.final_temperature, s.temperature_schedule, progress)
    a = over_run(s.distill_weight, s.final_weight, s.weight_schedule, progress) * _warmth(s, progress)
    return {
        "temperature": None if s.temperature_schedule == "snr" else t,
        "weight": None if s.weight_schedule == "snr" else a,
    }


class DistillationLoss(nn.Module):
    """(1 - a) * CE + a * KD of any student and teacher with logits [..., V], each a mean over its rows.

    ``progress``, the share of the run that is done, drives schedules and warm-up; set it before each step.
    """

    weights = {"loss": 1.0}

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
        weighs = not can_choose(student)
        if mask is not None and not weighs:
            student, teacher, targets = student[mask], teacher[mask], targets[mask]
        teacher = teacher.detach()
        labelled = targets != UNLABELLED
        if mask is not None and weighs:
            labelled = labelled & mask
        known = torch.where(labelled, targets, teacher.argmax(-1))
        t = temperature(self.settings, self.progress)
        ce_weight, kd_weight = weights(self.settings, self.progress)
        if weighs:
            ce = _mean_where(losses.cross_entropy(student, known), labelled)
        else:
            ce = _mean(losses.cross_entropy(student[labelled], targets[labelled]))
        kd = _mean_where(self.divergence(student, teacher, known, t), mask if weighs else None)
        loss = ce_weight * ce + kd_weight * kd
        if not self.settings.scales:
            return {"ce": ce, "kd": kd, "loss": loss}
        if student_grid is None or teacher_grid is None:
            raise ValueError("scales need student_grid and teacher_grid, logits at each place [B, H, W, V]")
        if mask is not None and not weighs:
            student_grid, teacher_grid = student_grid[mask], teacher_grid[mask]
        counts = mask if weighs else None
        scales, complementary = self._scales(student_grid, teacher_grid.detach(), known, t, counts)
        loss = loss + kd_weight * self.settings.scale_weight * scales
        return {"ce": ce, "kd": kd, "loss": loss, "scales": scales, "complementary": complementary}

    def _scales(
        self, student: Tensor, teacher: Tensor, targets: Tensor, t: Temperature, counts: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The mean of the cells of all scales, and the share of complementary ones. student, teacher: [B, H,
        W, V]; targets: [B]; counts: [B] True at those that count, None for all."""
        scales = self.settings.scales
        ours = torch.cat([losses.pool_grid(student, scale) for scale in scales], 1)
        theirs = torch.cat([losses.pool_grid(teacher, scale) for scale in scales], 1)
        seen = theirs.argmax(-1)
        whole = losses.pool_grid(teacher, 1).argmax(-1).expand_as(seen)
        weight = losses.complementary(seen, whole, self.settings.complementary_weight)
        rows = weight * self.divergence(ours, theirs, targets[:, None].expand_as(seen), t)
        counts = counts if counts is None else counts[:, None].expand_as(seen)
        return _mean_where(rows, counts), _mean_where((seen != whole).float(), counts)


def _mean(rows: Tensor) -> Tensor:
    """The mean, of no rows 0, from which a gradient of zero flows."""
    return rows.sum() / max(rows.numel(), 1)


def _mean_where(rows: Tensor, counts: Tensor | None) -> Tensor:
    """The mean of the rows that count, None for all; how many they are is not asked for."""
    if counts is None:
        return _mean(rows)
    return rows.where(counts, torch.zeros_like(rows)).sum() / counts.sum().clamp_min(1)


def can_choose(logits: Tensor) -> bool:
    """Whether rows can be chosen by a mask without waiting for a GPU to tell how many they are."""
    return logits.device.type == "cpu"
