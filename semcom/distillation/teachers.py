"""Several teachers as one: the mean of their logits, or of their probabilities at the loss's temperature.

Letters: B samples, V classes, H x W places.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from semcom.base.errors import SemcomError, shown
from semcom.distillation import kd_loss
from semcom.distillation.any_model import Model, outputs, owner_of
from semcom.distillation.kd_loss import DistillationLoss
from semcom.distillation.transfer_settings import TransferConfig


def as_one(
    teacher: Model | Sequence[Model] | None,
    loss: DistillationLoss,
    mean: str = "logits",
    weights: Sequence[float] = (),
) -> Model | None:
    """The teacher; of several, in a list or tuple, their ``Teachers``.

    mean, weights: ``--teacher-mean`` and ``--teacher-weights``. Raises SemcomError for what is no model, and
    for a mean of one teacher.
    """
    several = isinstance(teacher, (list, tuple, nn.ModuleList))
    members = _members(teacher)
    for member in members:
        if not callable(member):
            raise SemcomError(
                f"teacher: a {shown(type(member).__name__)} is no model; give a torch.nn.Module, a function "
                "that gives logits, or a list of them"
            )
    if several and not members:
        raise SemcomError("teacher: an empty list; give a model, or several, or None with distill_weight=0")
    if len(members) < 2 and (weights or mean != "logits"):
        raise SemcomError(
            f"teacher_mean and teacher_weights: there is {'one' if members else 'no'} teacher; leave them "
            "out, or give several: Distiller(student, [teacher_1, teacher_2], …)"
        )
    if len(members) < 2:
        return members[0] if members else None
    return Teachers(members, loss, mean, weights)


def _members(teacher: Any) -> list[Model]:
    if isinstance(teacher, (list, tuple, nn.ModuleList)):
        return list(teacher)
    return [] if teacher is None else [teacher]


class Teachers(nn.Module):
    """Called as each of its ``members`` is; gives the mean of their logits [..., V] and, where all of them
    give one and the loss compares them, of their grids [B, H, W, V].

    mean: "logits"; or "probabilities", logits z of which softmax(z / T), T the temperature of ``loss`` in
    this step, is the mean of the members' softmax(z / T), of a grid at each place. weights: one of each, any
    above 0, equal if there are none.
    """

    def __init__(
        self,
        members: Sequence[Model],
        loss: DistillationLoss,
        mean: str = "logits",
        weights: Sequence[float] = (),
    ):
        super().__init__()
        transfer = TransferConfig(teacher_mean=mean, teacher_weights=tuple(weights))
        given = transfer.teacher_weights or (1.0,) * len(members)
        if len(given) != len(members):
            told = " ".join(f"{weight:g}" for weight in given)
            raise SemcomError(
                f"teacher_weights {told}: {len(given)} for {len(members)} teachers; give one for each, or "
                "leave it out"
            )
        if mean == "probabilities" and loss.settings.standardize_logits:
            raise SemcomError(
                "teacher_mean 'probabilities' with standardize_logits: a mean of probabilities has no logits "
                "to standardise; give teacher_mean='logits'"
            )
        self.members = tuple(members)
        self.shares = tuple(weight / sum(given) for weight in given)
        self.temperature = _temperature_of(loss) if mean == "probabilities" else None
        self.class_axis = loss.class_axis
        self.compares_grids = bool(loss.settings.scales)
        self.owners = nn.ModuleList(owner for owner in map(owner_of, members) if owner is not None)

    def forward(self, *inputs: Any, **named: Any) -> tuple[Tensor, Tensor | None]:
        asked = [outputs(member, named or inputs) for member in self.members]
        grids = [grid for _, grid in asked if grid is not None]
        # Beside a loss that compares none, what else teachers return may be anything.
        in_all = self.compares_grids and len(grids) == len(asked)
        return self._mean([logits for logits, _ in asked]), self._mean(grids) if in_all else None

    def _mean(self, logits: Sequence[Tensor]) -> Tensor:
        shapes = [tuple(each.shape) for each in logits]
        if len(set(shapes)) > 1:
            told = ", ".join(map(str, shapes))
            raise SemcomError(f"teachers that give shapes {told}: a mean needs the same of all")
        wide = [each.to(torch.promote_types(each.dtype, torch.float32)) for each in logits]
        if self.temperature is None:
            return torch.stack([share * each for share, each in zip(self.shares, wide)]).sum(0)
        t = self.temperature()
        logs = [(each / t).log_softmax(self.class_axis) for each in wide]
        shared = [math.log(share) + each for share, each in zip(self.shares, logs)]
        return t * torch.stack(shared).logsumexp(0)


def _temperature_of(loss: DistillationLoss) -> Callable[[], kd_loss.Temperature]:
    """T in the step under way."""
    return lambda: kd_loss.temperature(loss.settings, loss.progress)
