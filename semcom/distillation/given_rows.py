"""What a loss of any two classifiers is given, as rows with the classes last; what does not fit is refused in
one line with both shapes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semcom.base.errors import SemcomError, shown, warn
from semcom.distillation.settings import KD_LOSSES, DistillationConfig


@dataclass(frozen=True)
class Rows:
    """Logits of student and teacher [..., V]; targets [...] classes, or [..., V] probabilities; mask [...]
    True at rows that count, None for all; grids [B, H, W, V] where there are logits at places of B images."""

    student: Tensor
    teacher: Tensor
    targets: Tensor
    mask: Tensor | None = None
    student_grid: Tensor | None = None
    teacher_grid: Tensor | None = None

    @property
    def soft(self) -> bool:
        """Whether targets are probabilities."""
        return self.targets.is_floating_point()

    def chosen(self) -> "Rows":
        """Those that the mask counts, in a row."""
        if self.mask is None:
            return self
        ours, theirs = (None if x is None else x[self.mask] for x in (self.student_grid, self.teacher_grid))
        student, teacher = self.student[self.mask], self.teacher[self.mask]
        return Rows(student, teacher, self.targets[self.mask], None, ours, theirs)


def classes_last(rows: Rows, axis: int) -> Rows:
    """Of logits, grids and probabilities whose classes lie along ``axis``. Raises SemcomError where shapes do
    not fit."""
    _check_logits(rows, axis)
    student, teacher = rows.student.movedim(axis, -1), rows.teacher.movedim(axis, -1)
    targets = rows.targets
    if targets.is_floating_point():
        if targets.shape != rows.student.shape:
            raise SemcomError(_of_float_targets(rows))
        targets = targets.movedim(axis, -1)
    else:
        _check_classes(rows, student, axis)
        targets = targets.long()
    _check_mask(rows.mask, student)
    grids = {
        name: _grid(name, getattr(rows, name), student, axis) for name in ("student_grid", "teacher_grid")
    }
    return Rows(student, teacher, targets, rows.mask, **grids)


def check_tensors(student: Any, teacher: Any, targets: Any, *, distils: bool) -> None:
    """Raise SemcomError for what is no tensor; where nothing ``distils``, a teacher may be None."""
    given = {"student logits": student, "teacher logits": teacher, "targets": targets}
    for name, each in given.items():
        if isinstance(each, Tensor) or (each is teacher is None and not distils):
            continue
        cure = "give torch.as_tensor(…)"
        if each is None and name == "teacher logits":
            cure = "give them, or DistillationConfig(distill_weight=0)"
        elif hasattr(each, "logits"):
            cure = "give its .logits"
        raise SemcomError(
            f"{name}: a {shown(type(each).__name__)}, must be a tensor; {cure}; the order is "
            "loss(student_logits, teacher_logits, targets)"
        )


def check_soft(settings: DistillationConfig) -> None:
    """Raise SemcomError where targets that are probabilities do not do for a loss."""
    if KD_LOSSES[settings.kd_loss].needs_target:
        raise SemcomError(
            f"targets are probabilities: kd_loss {settings.kd_loss} sets the one right class apart; give "
            "classes, or kd_loss='kd'"
        )
    if settings.complementary == "label":
        raise SemcomError(
            "targets are probabilities: complementary label needs the one right class; give classes, or "
            "complementary='teacher'"
        )


def check_range(classes: Tensor, number: int, ignore_index: int) -> None:
    """Raise SemcomError for a class that there is not. classes: [N], those of labelled rows that count."""
    if not len(classes):
        return
    low, high = (int(bound) for bound in classes.aminmax())
    if low < 0 or high >= number:
        odd = low if low < 0 else high
        raise SemcomError(
            f"targets: {low} to {high}, and logits have the classes 0 to {number - 1}; count classes from 0, "
            f"or give ignore_index={odd} where {odd} marks a row without a label (now {ignore_index} does)"
        )


def warn_of_probabilities(student: Tensor, teacher: Tensor | None) -> None:
    """Warn where what should be logits [..., V] are all probabilities."""
    for whose, given in (("student", student), ("teacher", teacher)):
        if (
            given is not None
            and given.numel()
            and bool((given >= 0).all())
            and torch.allclose(given.sum(-1), given.new_ones(()), atol=1e-3)
        ):
            warn(
                f"the {whose}'s logits are probabilities, as after a softmax: the loss takes that itself; "
                "give what comes before it, or the logarithm"
            )
            return


def check_probabilities(targets: Tensor) -> None:
    """Raise SemcomError unless each row [..., V] sums to 1."""
    sums = targets.detach().sum(-1)
    if len(targets) and not (bool((targets >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())):
        raise SemcomError(
            f"targets: those of the logits' shape are probabilities, and their rows sum to "
            f"{sums.min().item():g} to {sums.max().item():g}; must be 0 or more and sum to 1"
        )


def _check_logits(rows: Rows, axis: int) -> None:
    student, teacher = rows.student.shape, rows.teacher.shape
    if not rows.student.dim() or not -rows.student.dim() <= axis < rows.student.dim():
        raise SemcomError(f"class_axis {axis}: student logits are {_shown(student)}; give an axis of theirs")
    for whose, logits in (("student", rows.student), ("teacher", rows.teacher)):
        if not logits.is_floating_point():
            raise SemcomError(
                f"{whose} logits {_shown(logits.shape)} of {logits.dtype}: must be of a fraction's type; the "
                "order is loss(student_logits, teacher_logits, targets)"
            )
    if student == teacher:
        return
    same_rank = len(student) == len(teacher)
    if same_rank and student[axis] != teacher[axis]:
        unlike = f"{student[axis]} classes and {teacher[axis]}"
        cure = "must be the same ones; give the teacher's logits of the student's classes"
    else:
        unlike, cure = "other rows", "must be the same ones; give both models the same inputs"
    raise SemcomError(
        f"student logits {_shown(student)}, teacher logits {_shown(teacher)}: are of {unlike}, {cure}"
    )


def _check_classes(rows: Rows, student: Tensor, axis: int) -> None:
    given, wanted, logits = rows.targets.shape, student.shape[:-1], rows.student.shape
    if given == wanted:
        return
    cure = f"must be {_shown(wanted)}"
    if given == logits:
        cure += "; one-hot targets are targets.argmax(-1), or targets.float() as probabilities"
    elif given == (*wanted, 1):
        cure += "; give targets.squeeze(-1)"
    elif axis == -1 and len(logits) > 2 and given == (logits[0], *logits[2:]):
        cure = "where classes are the second axis, give DistillationLoss(…, class_axis=1)"
    raise SemcomError(f"targets {_shown(given)} beside logits {_shown(logits)}: {cure}")


def _of_float_targets(rows: Rows) -> str:
    given, logits = rows.targets.shape, rows.student.shape
    told = f"targets {_shown(given)} of {rows.targets.dtype} beside logits {_shown(logits)}"
    return f"{told}: probabilities have the shape of the logits, classes are whole; give targets.long()"


def _check_mask(mask: Tensor | None, student: Tensor) -> None:
    if mask is None:
        return
    if not isinstance(mask, Tensor):
        raise SemcomError(
            f"mask {shown(mask)}: must be a tensor of torch.bool, True at the rows that count; temperature "
            "and weight are DistillationLoss(DistillationConfig(temperature=…, distill_weight=…))"
        )
    if mask.dtype != torch.bool or mask.shape != student.shape[:-1]:
        raise SemcomError(
            f"mask {_shown(mask.shape)} of {mask.dtype}: must be {_shown(student.shape[:-1])} of torch.bool, "
            "True at the rows that count; give mask.bool()"
        )


def _grid(name: str, grid: Tensor | None, student: Tensor, axis: int) -> Tensor | None:
    """With the classes last."""
    if grid is None:
        return None
    if student.dim() != 2:
        raise SemcomError(f"{name}: is of images, whose logits are [B, V], not {_shown(student.shape)}")
    images, classes = student.shape
    told = f"{name} {_shown(grid.shape)} beside logits of {images} images and {classes} classes: must be"
    order = "[B, H, W, V]" if axis == -1 else "[B, V, H, W]"
    if grid.dim() == 4:
        moved = grid.movedim(axis, -1)
        if (len(moved), moved.shape[-1]) == (images, classes):
            return moved
        if axis == -1 and grid.shape[:2] == (images, classes):
            raise SemcomError(
                f"{told} {order}; give {name}.movedim(1, -1), or DistillationLoss(…, class_axis=1)"
            )
    raise SemcomError(f"{told} {order}, logits at each place of each image")


def _shown(shape: tuple[int, ...]) -> str:
    return str(list(shape))
