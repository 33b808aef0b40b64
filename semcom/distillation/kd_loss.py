"""The distillation loss as its settings describe it: which divergence, at which temperature and weight, when.

It knows nothing of transceivers: what it compares are logits [..., V] of any two classifiers.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from semcom.base.errors import SemcomError, shown, warn
from semcom.base.flags import differs, names_without_flag
from semcom.distillation import losses, other_conventions
from semcom.distillation.given_rows import (
    Rows,
    check_probabilities,
    check_range,
    check_soft,
    check_tensors,
    classes_last,
    warn_of_probabilities,
)
from semcom.distillation.logit_losses import LOGIT_LOSSES, LossSettings
from semcom.distillation.losses import Temperature
from semcom.distillation.means import Means
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
            student, teacher = (losses.standardize(x, settings.standardize_ddof) for x in (student, teacher))
        if number:
            student, teacher = losses.top_and_rest(student, teacher, number, temperature)
        return logit_loss(student, teacher, targets, LossSettings(temperature, settings))

    return divergence


def over_run(start: float, end: float | None, shape: str, progress: float | None) -> float:
    """A setting's value when ``progress`` (0 to 1) of the run is done: constant, linear or by half a cosine
    from start to end. Raises SemcomError where that depends on a progress that is not known."""
    if shape == "constant" or end is None:
        return start
    if progress is None:
        raise SemcomError(
            f"a {shape} schedule from {start:g} to {end:g}: how much of the run is done is not known; set "
            "loss.progress, from 0 to 1, before each step, or leave the schedule out"
        )
    share = progress if shape == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return start + (end - start) * share


def scheduled(
    start: float, end: float | None, shape: str, progress: float | None, level: Tensor | None = None
) -> Temperature:
    """``over_run``; by ``snr`` linear in the place of a row's SNR in the training range, ``level`` (0 to 1)
    [...]."""
    if shape != "snr" or end is None:
        return over_run(start, end, shape, progress)
    if level is None:
        raise ValueError("a schedule by SNR needs the level of each row")
    return start + (end - start) * level


def temperature(
    settings: DistillationConfig, progress: float | None, level: Tensor | None = None
) -> Temperature:
    """T when ``progress`` of the run is done."""
    s = settings
    return scheduled(s.temperature, s.final_temperature, s.temperature_schedule, progress, level)


def weights(
    settings: DistillationConfig, progress: float | None, level: Tensor | None = None
) -> tuple[Temperature, Temperature]:
    """Weights of cross-entropy, 1 - a, and of distillation, a; the latter rises from 0 over the warm-up of a
    loss that has one."""
    s = settings
    a = scheduled(s.distill_weight, s.final_weight, s.weight_schedule, progress, level)
    return 1 - a, a * _warmth(s.warmup, progress)


def _warmth(warmup: float, progress: float | None) -> float:
    """Where nobody says how much of the run is done, the warm-up is."""
    return min(progress / warmup, 1) if warmup and progress is not None else 1.0


def scalars(settings: DistillationConfig, progress: float | None) -> dict[str, float | None]:
    """T and a when ``progress`` of the run is done, for a log; None where they depend on the SNR."""
    s = settings
    t = over_run(s.temperature, s.final_temperature, s.temperature_schedule, progress)
    a = over_run(s.distill_weight, s.final_weight, s.weight_schedule, progress) * _warmth(s.warmup, progress)
    return {
        "temperature": None if s.temperature_schedule == "snr" else t,
        "weight": None if s.weight_schedule == "snr" else a,
    }


Sums = dict[str, tuple[Tensor, int | Tensor]]
"""Of named terms: sums over rows, and of how many."""


class DistillationLoss(nn.Module):
    """(1 - a) * CE + a * KD of any student and teacher with logits [..., V], each a mean over its rows.

    ignore_index: the target of a row without a label. ignore_in: what leaves such rows out, "labels" for
    cross-entropy alone, "both" for distillation too. class_axis: where the classes of logits, of grids and of
    targets that are probabilities lie; 1 for [B, V, H, W].

    progress: the share of the run that is done, from 0 to 1, which schedules and warm-up follow; a loop sets
    it before each step. None, as it begins, is outside of such a loop: the warm-up is done, and a schedule
    raises SemcomError.
    """

    weights = {"loss": 1.0}

    def __init__(
        self,
        settings: DistillationConfig | None = None,
        *places: object,
        ignore_index: int = UNLABELLED,
        ignore_in: str = "labels",
        class_axis: int = -1,
        **typed: object,
    ):
        if typed:
            other_conventions.refuse("DistillationLoss", typed)
        if places or isinstance(settings, int | float):
            other_conventions.misplaced("DistillationLoss", (settings, *places))
        if not isinstance(settings, DistillationConfig | None):
            raise SemcomError(
                f"DistillationLoss({shown(settings)}): must be a DistillationConfig, and cross-entropy is "
                "part of it; type DistillationLoss(DistillationConfig(temperature=4, distill_weight=0.7))"
            )
        for name, number in (("ignore_index", ignore_index), ("class_axis", class_axis)):
            if not isinstance(number, int):
                raise SemcomError(
                    f"{name} {shown(number)}: must be a whole number; leave it out for the usual"
                )
        if ignore_in not in ("labels", "both"):
            raise SemcomError(f"ignore_in {shown(ignore_in)}: allowed are labels, both")
        super().__init__()
        self.settings = settings or DistillationConfig()
        if "snr" in (self.settings.temperature_schedule, self.settings.weight_schedule):
            raise SemcomError("a schedule by snr: these models meet no channel; give linear or cosine")
        self.ignore_index, self.ignore_in, self.class_axis = ignore_index, ignore_in, class_axis
        self.divergence = row_loss(self.settings)
        self.progress: float | None = None
        self._has_seen_values = False
        self._advised: set[str] = set()

    def record(self) -> dict[str, Any]:
        """What it is, by the names of settings; what the command line does not have only where it is not the
        default."""
        own = {"ignore_index": UNLABELLED, "ignore_in": "labels", "class_axis": -1}
        chosen = {name: getattr(self, name) for name, usual in own.items() if getattr(self, name) != usual}
        usual = {name for name in names_without_flag(self.settings) if not differs(self.settings, name)}
        settings = {name: value for name, value in asdict(self.settings).items() if name not in usual}
        return settings | chosen

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | None,
        targets: Tensor,
        mask: Tensor | None = None,
        *,
        student_grid: Tensor | None = None,
        teacher_grid: Tensor | None = None,
    ) -> Means:
        """The means "loss", "ce", "kd", and "scales" with its share "complementary" where there are scales.

        student_logits, teacher_logits: [..., V], no gradient reaches the teacher, which may be None where
        distill_weight is 0: then there are "loss" and "ce". targets: [...] classes, or [..., V]
        probabilities; rows of ``ignore_index`` count for distillation alone, with the teacher's own class
        where a loss asks for one. mask: [...] True at rows that count (default all). student_grid,
        teacher_grid: [B, H, W, V] logits at each place of B images, whose means over cells are distilled at
        the settings' scales; a mask [B] chooses among them too. Raises SemcomError for shapes that do not
        fit, and for targets out of range: of each batch on the CPU, of the first on other devices.
        """
        grids = {"student_grid": student_grid, "teacher_grid": teacher_grid}
        sums = self.sums(student_logits, teacher_logits, targets, mask, **grids)
        return Means({name: _mean(total, number) for name, (total, number) in sums.items()})

    def sums(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | None,
        targets: Tensor,
        mask: Tensor | None = None,
        *,
        student_grid: Tensor | None = None,
        teacher_grid: Tensor | None = None,
    ) -> Sums:
        """The same terms as sums over rows with the numbers of rows, so that a caller can make means over
        several batches; "loss" is the batch's own, (mean, 1). Numbers are tensors where they are known to
        the device alone."""
        check_tensors(student_logits, teacher_logits, targets, distils=self.settings.distils)
        alone = teacher_logits is None
        theirs = student_logits if teacher_logits is None else teacher_logits.detach()
        rows = Rows(student_logits, theirs, targets, mask)
        if self.settings.scales and not alone:
            their_grid = teacher_grid if teacher_grid is None else teacher_grid.detach()
            rows = replace(rows, student_grid=student_grid, teacher_grid=their_grid)
        rows = self._counted(classes_last(rows, self.class_axis))
        if rows.soft:
            check_soft(self.settings)
        labelled, known = self._known(rows)
        self._check_values(rows, labelled, alone=alone)
        ce = self._label_sum(rows, labelled, known)
        loss = weights(self.settings, self.progress)[0] * _mean(*ce)
        if alone:
            return {"ce": ce, "loss": (loss, 1)}
        return {"ce": ce} | self._soft_sums(rows, known, loss)

    def _soft_sums(self, rows: Rows, known: Tensor, loss: Tensor) -> Sums:
        """Of distillation, added to the ``loss`` of the labels."""
        t = temperature(self.settings, self.progress)
        kd_weight = weights(self.settings, self.progress)[1]
        kd = _sum(self.divergence(rows.student, rows.teacher, known, t), rows.mask)
        if self.settings.global_term == "both":
            loss = loss + kd_weight * _mean(*kd)
        sums: Sums = {"kd": kd, "loss": (loss, 1)}
        if self.settings.scales:
            sums |= self._scale_sums(rows, known, t)
            warmth = _warmth(self.settings.scale_warmup, self.progress)
            weight = kd_weight * self.settings.scale_weight * warmth
            sums["loss"] = loss + weight * _mean(*sums["scales"]), 1
        return sums

    def scores(self, student_logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Sums:
        """Of a student alone, over rows that have a label and count: cross-entropy "ce" and hits "accuracy",
        each with the number of these rows. Of targets that are probabilities a hit is their largest."""
        given = Rows(student_logits, student_logits, targets, mask)
        check_tensors(student_logits, None, targets, distils=False)
        rows = self._counted(classes_last(given, self.class_axis))
        labelled, known = self._known(rows)
        self._check_values(rows, labelled, alone=True)
        hits = (rows.student.argmax(-1) == known) & labelled
        return {"ce": self._label_sum(rows, labelled, known), "accuracy": (hits.sum(), _number(labelled))}

    def _counted(self, rows: Rows) -> Rows:
        """Those that count: chosen, or still beside the others with a mask where choosing would wait for the
        device."""
        if self.ignore_in == "both" and not rows.soft:
            labelled = rows.targets != self.ignore_index
            rows = replace(rows, mask=labelled if rows.mask is None else labelled & rows.mask)
        return rows.chosen() if can_choose(rows.student) else rows

    def _known(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """[...] which rows have a label, and the class of each: the teacher's own where there is none."""
        if not rows.soft:
            labelled = rows.targets != self.ignore_index
            labelled = labelled if rows.mask is None else labelled & rows.mask
            return labelled, torch.where(labelled, rows.targets, rows.teacher.argmax(-1))
        known = rows.targets.argmax(-1)
        return torch.ones_like(known, dtype=torch.bool) if rows.mask is None else rows.mask, known

    def _check_values(self, rows: Rows, labelled: Tensor, *, alone: bool) -> None:
        """Of targets, and of the first logits, ``alone`` those of a student: off the CPU to look at them is
        to wait, so there at the first ones alone."""
        if rows.targets.is_meta or (self._has_seen_values and not rows.targets.is_cpu):
            return
        if not self._has_seen_values:
            warn_of_probabilities(rows.student, None if alone else rows.teacher)
        self._has_seen_values = True
        if rows.soft:
            check_probabilities(rows.targets[labelled])
        else:
            check_range(rows.targets[labelled], rows.student.shape[-1], self.ignore_index)

    def _label_sum(self, rows: Rows, labelled: Tensor, known: Tensor) -> tuple[Tensor, int | Tensor]:
        """Of cross-entropy."""
        if rows.soft:
            return _sum(losses.cross_entropy_of(rows.student, rows.targets), rows.mask)
        if can_choose(rows.student):
            return _sum(losses.cross_entropy(rows.student[labelled], known[labelled]), None)
        return _sum(losses.cross_entropy(rows.student, known), labelled)

    def _scale_sums(self, rows: Rows, known: Tensor, t: Temperature) -> Sums:
        """Of the cells of all scales, and how many are complementary."""
        if rows.student_grid is None or rows.teacher_grid is None:
            raise SemcomError(
                "scales: need student_grid and teacher_grid, logits at each place [B, H, W, V]; give both, "
                "or leave scales out"
            )
        settings, grid = self.settings, rows.teacher_grid
        self._advise_on("student", rows.student_grid)
        self._advise_on("teacher", grid)
        ours = torch.cat([losses.pool_grid(rows.student_grid, scale) for scale in settings.scales], 1)
        theirs = torch.cat([losses.pool_grid(grid, scale) for scale in settings.scales], 1)
        seen, known = theirs.argmax(-1), known[:, None].expand(theirs.shape[:2])
        whole = losses.pool_grid(grid, 1).argmax(-1).expand_as(seen)
        if settings.complementary == "label":
            seen, whole = seen == known, whole == known
        weight = losses.complementary(seen, whole, settings.complementary_weight)
        counts = rows.mask if rows.mask is None else rows.mask[:, None].expand_as(seen)
        total, cells = _sum(weight * self.divergence(ours, theirs, known, t), counts)
        number = cells // seen.shape[1] if settings.scale_reduction == "sum" else cells
        return {"scales": (total, number), "complementary": _sum((seen != whole).float(), counts)}

    def _advise_on(self, whose: str, grid: Tensor) -> None:
        """Once for each model."""
        height, width = grid.shape[1:3]
        too_fine = [scale for scale in self.settings.scales if scale > min(height, width)]
        if too_fine and whose not in self._advised:
            self._advised.add(whose)
            warn(
                f"scales {' '.join(map(str, too_fine))}: finer than the {whose}'s grid of {height} x {width} "
                "places, so that cells repeat places, as adaptive pooling does; leave them out, or take the "
                "grid from an earlier layer"
            )


def _number(counts: Tensor) -> int | Tensor:
    """How many are True; a tensor where only the device knows."""
    return int(counts.sum()) if can_choose(counts) else counts.sum()


def _sum(rows: Tensor, counts: Tensor | None) -> tuple[Tensor, int | Tensor]:
    """Of the rows that count, None for all, and their number, which is not asked for."""
    if counts is None:
        return rows.sum(), rows.numel()
    return rows.where(counts, torch.zeros_like(rows)).sum(), counts.sum()


def _mean(total: Tensor, number: int | Tensor) -> Tensor:
    """Of no rows 0, from which a gradient of zero flows."""
    return total / (number.clamp_min(1) if isinstance(number, Tensor) else max(number, 1))


def can_choose(logits: Tensor) -> bool:
    """Whether rows can be chosen by a mask without waiting for a GPU to tell how many they are."""
    return logits.device.type == "cpu"
