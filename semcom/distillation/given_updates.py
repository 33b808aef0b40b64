"""Weights moved by an optimizer and a learning rate scheduler of torch's, which a caller made."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from semcom.base.errors import SemcomError, shown
from semcom.distillation.updates import Rate
from semcom.models.state_file import plain_copy

EVERY = ("epoch", "step")
USUAL = "torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)"
USUAL_SCHEDULER = "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)"


class GivenUpdates:
    """every: after what the scheduler is stepped, "epoch" or "step". clip: the norm at which gradients are
    clipped together, None for any. own: the student's parameters, also those that the optimizer has not.

    What torch's optimizers do cannot be skipped by a scalar on a device: there the weights before each step
    are kept beside them until it is known that its loss was finite.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        every: str,
        own: Sequence[nn.Parameter],
        clip: float | None = None,
    ):
        self.optimizer, self.scheduler, self.every, self.clip = optimizer, scheduler, every, clip
        self.own = own
        self.trained = [p for group in optimizer.param_groups for p in group["params"]]
        self.before: list[Tensor] = []

    def rate(self, step: int, total: int) -> Rate:
        """Of the first group of parameters."""
        rate = self.optimizer.param_groups[0]["lr"]
        return rate.clone() if isinstance(rate, Tensor) else float(rate)

    def step(self, rate: Rate, skip: Tensor | None = None) -> None:
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.trained, self.clip)
        if skip is not None:
            self._remember()
        self.optimizer.step()
        if self.every == "step":
            self._step_scheduler()
        self.zero_grad()

    @torch.no_grad()
    def _remember(self) -> None:
        if not self.before:
            self.before = [torch.empty_like(p) for p in self.trained]
        torch._foreach_copy_(self.before, self.trained)

    @torch.no_grad()
    def undo(self) -> None:
        if self.before:
            torch._foreach_copy_(self.trained, self.before)

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()
        # A backward pass also reaches those that the optimizer has not.
        for parameter in self.own:
            parameter.grad = None

    def end_epoch(self, held_out: Mapping[str, float]) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(held_out["ce"])
        elif self.every == "epoch":
            self._step_scheduler()

    def _step_scheduler(self) -> None:
        """Raises SemcomError where one within it has come to its end."""
        try:
            if self.scheduler:
                self.scheduler.step()
        except ValueError as error:
            raise SemcomError(
                f"scheduler: a {type(self.scheduler).__name__} that does not last for this training: "
                f"{shown(error)}; give it more steps, or leave it out"
            ) from None

    def state_dict(self) -> Any:
        scheduler = self.scheduler.state_dict() if self.scheduler else None
        return {"optimizer": self.optimizer.state_dict(), "scheduler": scheduler}

    def load_state_dict(self, given: Any) -> None:
        self.optimizer.load_state_dict(given["optimizer"])
        if self.scheduler:
            # Torch warns of schedulers stepped before their optimizer; its steps were made before this.
            self.optimizer._opt_called = True  # type: ignore[attr-defined]
            self.scheduler.load_state_dict(_as_in(self.scheduler.state_dict(), given["scheduler"]))

    def described(self) -> dict[str, Any]:
        """What they are, by the names that a message may call it by, but for what a scheduler changes."""
        changes = ("lr", "momentum", "betas") if self.scheduler else ()
        told: dict[str, Any] = {"optimizer": type(self.optimizer).__name__}
        for number, group in enumerate(self.optimizer.param_groups, start=1):
            kept = {name: value for name, value in _plain(group).items() if name not in changes}
            told |= {f"{name} of the optimizer's group {number}": value for name, value in kept.items()}
        told["scheduler"] = type(self.scheduler).__name__ if self.scheduler else None
        return told

    def check_lasts(self, epochs: int, steps: int, *, goes_on: bool, validates: bool) -> None:
        """Raise SemcomError where the scheduler does not last for the training, or has nothing to go by.
        goes_on: its state will be that of a training that goes on."""
        if isinstance(self.scheduler, ReduceLROnPlateau) and not validates:
            raise SemcomError(
                "ReduceLROnPlateau goes by the validation cross-entropy; type fit(batches, epochs, "
                "validation=val_loader)"
            )
        if isinstance(self.scheduler, OneCycleLR):
            begun = 0 if goes_on else self.scheduler.last_epoch
            needed = begun + (steps if self.every == "step" else epochs)
            if self.scheduler.total_steps < needed:
                raise SemcomError(
                    f"OneCycleLR(total_steps={self.scheduler.total_steps}): with this training it takes "
                    f"{needed}; give total_steps={needed}"
                )

    def check_plain(self) -> None:
        """Raise SemcomError where the state cannot be kept in a file."""
        try:
            plain_copy(self.state_dict())
        except TypeError as error:
            name = type(self.scheduler or self.optimizer).__name__
            raise SemcomError(
                f"save_to: the state of this {name} cannot be kept ({error}); leave save_to out, or give "
                "another"
            ) from None


def _as_in(own: Any, state: Any) -> Any:
    """A state with the counters that a scheduler's own has, since files hold plain dictionaries: MultiStepLR
    counts its milestones, also within another."""
    if isinstance(own, Counter):
        return Counter(state)
    if isinstance(own, dict):
        return {name: _as_in(own.get(name), value) for name, value in state.items()}
    if isinstance(own, list) and len(own) == len(state):
        return [_as_in(one, value) for one, value in zip(own, state)]
    return state


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, texts, and tuples of numbers, as the betas of Adam."""
    kinds = (bool, int, float, str)
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, kinds) or (isinstance(value, tuple) and all(isinstance(x, kinds) for x in value))
    }


# --- what was given


def updates_of(
    optimizer: Any, scheduler: Any, every: str | None, own: Sequence[nn.Parameter], clip: float | None
) -> GivenUpdates | None:
    """None where neither was given. optimizer: over parameters of ``own`` alone, frozen or not; None: the
    scheduler's.
    every: "epoch" or "step", None for what the scheduler is made for.

    Raises SemcomError for what is no such object.
    """
    if optimizer is None and scheduler is None:
        if every is not None:
            raise SemcomError(f"scheduler_every {shown(every)}: there is no scheduler; leave it out")
        return None
    _check_scheduler(scheduler, every)
    if optimizer is None:
        optimizer = scheduler.optimizer
    _check_optimizer(optimizer, own)
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise SemcomError(
            f"scheduler: this {type(scheduler).__name__} is of another optimizer than the one given; make it "
            f"of that: {USUAL_SCHEDULER}"
        )
    return GivenUpdates(optimizer, scheduler, every or _usual_every(scheduler), own, clip)


def _check_optimizer(optimizer: Any, own: Sequence[nn.Parameter]) -> None:
    if not isinstance(optimizer, Optimizer):
        raise SemcomError(f"optimizer {shown(optimizer)}: must be an object of torch.optim, as {USUAL}")
    if isinstance(optimizer, LBFGS):
        raise SemcomError(f"optimizer LBFGS: asks for the loss several times a step; give one as {USUAL}")
    theirs = [p for group in optimizer.param_groups for p in group["params"]]
    ours = {id(p) for p in own}
    others = sum(id(p) not in ours for p in theirs)
    if others:
        raise SemcomError(
            f"optimizer: {others} of its {len(theirs)} parameters are not the student's, or are its "
            "teacher's too, which does not learn; make it of the student's own, as "
            "torch.optim.SGD(distiller.trained, lr=0.05, momentum=0.9)"
        )


def _check_scheduler(scheduler: Any, every: str | None) -> None:
    if scheduler is not None and not isinstance(scheduler, LRScheduler):
        raise SemcomError(
            f"scheduler {shown(scheduler)}: must be an object of torch.optim.lr_scheduler, as "
            f"{USUAL_SCHEDULER}"
        )
    if every not in (None, *EVERY):
        raise SemcomError(f"scheduler_every {shown(every)}: allowed are {', '.join(EVERY)}")
    if isinstance(scheduler, ReduceLROnPlateau):
        if every == "step":
            raise SemcomError(
                "scheduler_every step: ReduceLROnPlateau is given the validation after an epoch"
            )
        if scheduler.mode != "min":
            raise SemcomError(
                "ReduceLROnPlateau(mode='max'): it is given the validation cross-entropy; leave mode out"
            )


def _usual_every(scheduler: LRScheduler | None) -> str:
    """Those of ``transformers`` are functions of the step."""
    if isinstance(scheduler, LambdaLR):
        functions = [getattr(function, "func", function) for function in scheduler.lr_lambdas]
        if any(getattr(function, "__module__", "").startswith("transformers.") for function in functions):
            return "step"
    return "step" if isinstance(scheduler, (OneCycleLR, CyclicLR)) else "epoch"
