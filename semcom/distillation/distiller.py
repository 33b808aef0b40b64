"""Distillation from Python, for any two classifiers: no transceiver is needed.

Letters: B samples, V classes. Inputs of models are those of ``any_model``.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semcom.base.device import resolve_device
from semcom.base.errors import SemcomError
from semcom.base.settings import ResumeConfig
from semcom.distillation import other_conventions, teachers, training_loop
from semcom.distillation.any_batch import Reader
from semcom.distillation.any_model import Model
from semcom.distillation.classifier_pair import ClassifierPair
from semcom.distillation.classifier_task import ClassifierTask, check_learns, row
from semcom.distillation.fit_arguments import LOADER, FitArguments, check_callbacks, check_ends
from semcom.distillation.given_updates import GivenUpdates, updates_of
from semcom.distillation.history import Epoch
from semcom.distillation.kd_loss import DistillationLoss
from semcom.distillation.rows import Row, Rows
from semcom.distillation.run_state import Keeper
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.task import NonFiniteLoss
from semcom.distillation.training_loop import Loop, OnStep
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.models.state_file import digest_of


def set_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators, of all devices."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Distiller:
    """Trains a student after a teacher under a ``DistillationLoss``.

    teacher: a model, or any other callable that gives the same, or a list of them, whose mean counts by
    ``teacher_mean`` and ``teacher_weights`` as in ``python distillation.py``; None where
    ``settings.distill_weight`` is 0. While a student is trained its module gets no gradient and is in eval
    mode; afterwards it is as it was. Of a function, the modules that it is seen to use are in eval mode
    whenever it is asked.
    settings: a ``DistillationConfig``, or a whole ``DistillationLoss``.
    lr, warmup_steps, weight_decay, clip: of AdamW, by default those of ``python distillation.py``.
    device: auto, cpu, cuda or cuda:N, where both models go; by default where the student is.

    loss: the ``DistillationLoss``. stopped: where the last ``fit`` ended before its last step, and by what,
    else empty. signal: the number of the signal that ended it, else 0.
    Raises SemcomError for a student without parameters of its own that learn, and for settings that need a
    channel; warns where the student is larger than its teacher.
    """

    # Many arguments: the training's settings are named one by one, as flags are.
    def __init__(
        self,
        student: Model | None = None,
        teacher: Model | Sequence[Model] | None = None,
        settings: DistillationConfig | DistillationLoss | None = None,
        *places: Any,
        teacher_mean: str = TransferConfig.teacher_mean,
        teacher_weights: Sequence[float] = TransferConfig.teacher_weights,
        lr: float | None = None,
        warmup_steps: int | None = None,
        weight_decay: float | None = None,
        clip: float | None = None,
        device: str | torch.device | None = None,
        **typed: Any,
    ):
        if typed:
            other_conventions.refuse("Distiller", typed)
        if places or not isinstance(settings, DistillationConfig | DistillationLoss | None):
            other_conventions.misplaced("Distiller", (settings, *places))
        if student is None:
            raise SemcomError("Distiller: there is no student; type Distiller(student, teacher)")
        if any(isinstance(model, DistillationConfig | DistillationLoss) for model in (student, teacher)):
            raise SemcomError("Distiller: settings come third; type Distiller(student, teacher, settings)")
        given: dict[str, Any] = {"lr": lr, "warmup_steps": warmup_steps}
        given |= {"weight_decay": weight_decay, "clip": clip}
        self.given: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.training = TrainingConfig(**self.given)
        self.loss = settings if isinstance(settings, DistillationLoss) else DistillationLoss(settings)
        one = teachers.as_one(teacher, self.loss, teacher_mean, teacher_weights)
        if one is None and self.loss.settings.distils:
            raise SemcomError(
                f"distill_weight {self.loss.settings.distill_weight:g}: there is no teacher to distil; "
                "give one, or distill_weight=0"
            )
        there = None if device is None else resolve_device(str(device))
        self.pair = ClassifierPair(student, one, self.loss, there)
        self.student, self.teacher, self.module = student, teacher, self.pair.module
        self.trained, self.device = self.pair.trained, self.pair.device
        self.stopped, self.signal = "", 0

    # Many arguments: what a training is, and where it may be stopped; callers name them.
    def fit(
        self,
        *data: Any,
        batches: Iterable[Any] | None = None,
        epochs: int | None = None,
        validation: Iterable[Any] | None = None,
        on_epoch: Callable[[Row, bool], object] | None = None,
        on_step: OnStep | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
        scheduler_every: str | None = None,
        early_stopping: int | None = None,
        keep: str = "best",
        quiet: bool = False,
        save_to: str | Path | None = None,
        save_every: float = ResumeConfig.save_every,
        resume: bool = False,
        **typed: Any,
    ) -> Rows:
        """``fit(batches, epochs, validation)`` trains for ``epochs`` passes over ``batches`` and returns a
        row for each, as ``plot_training_curves`` takes them. ``fit(batches, validation, epochs)`` is the
        same.

        batches, validation: what gives batches as ``any_batch.Reader`` takes them anew each time it is
        iterated, a list or a DataLoader; targets and mask as in ``DistillationLoss``. A row's loss is a mean
        over the steps of the epoch, its parts are means over rows, "train_ce" over the labelled ones;
        "validation" is the student's cross-entropy and "accuracy" its share of hits there.
        on_epoch(row, is_best) runs after each epoch, on_step(number, means) after each step; either ends the
        training by returning True. Numbers of a step are known a step late on GPUs: there one more is made.

        optimizer, scheduler: of torch, over parameters of the student; then lr, warmup_steps and weight_decay
        are theirs, and gradients are clipped only where a clip was given. A scheduler alone brings its
        optimizer. It is stepped after each epoch, OneCycleLR, CyclicLR and those of ``transformers`` after
        each step; scheduler_every, "epoch" or "step", says otherwise. ReduceLROnPlateau is given the
        validation cross-entropy.

        early_stopping: after how many epochs without a lower validation cross-entropy the training ends.
        keep: "best", the student is afterwards as in the epoch of the lowest one, if validation was given;
        "last": as it ended. It is left in eval mode. Ctrl-C ends the training after a whole step. Raises
        NonFiniteLoss, with the student as it was before that step where no epoch was the best.

        save_to: a file where the state of the training is kept: every ``save_every`` minutes, after each
        epoch, and when Ctrl-C or a signal such as SIGTERM ends it. resume: go on from there, if it is there,
        to the bits of a training that was never stopped; after the last epoch that is at once. The global
        generators of Python, numpy and torch, and a DataLoader's own, are put back too; workers that persist
        over epochs are not. The file stays until you remove it. Raises SemcomError for a damaged file and for
        that of another training.
        """
        if typed:
            other_conventions.refuse("fit", typed)
        given = FitArguments.of(data, batches, epochs, validation)
        validates = given.validation is not None
        check_callbacks(on_epoch, on_step)
        check_ends(early_stopping, keep, resume, save_to, validates=validates)
        updates = self._updates(optimizer, scheduler, scheduler_every)
        run = {"epochs": given.epochs, "keep": keep}
        keeper = self._keeper(save_to, save_every, resume, run, updates) if save_to else None
        total = given.steps(keeper.total if keeper else 0)
        if updates:
            goes_on = keeper is not None and keeper.found is not None
            updates.check_lasts(given.epochs, total, goes_on=goes_on, validates=validates)
        with self.pair.training():
            task = ClassifierTask(self.pair, given.batches, given.validation)
            loop = Loop(task, self.training, total=total, keeper=keeper, updates=updates)
            loop.patience = early_stopping or 0
            with task.keeping(keep):
                history = self._run(loop, task, given.epochs, on_epoch, on_step, quiet=quiet)
        return history

    # Many arguments: those of ``fit`` that are for the loop.
    def _run(
        self,
        loop: Loop[Any],
        task: ClassifierTask,
        epochs: int,
        on_epoch: Callable[[Row, bool], object] | None,
        on_step: OnStep | None,
        *,
        quiet: bool,
    ) -> Rows:
        history = Rows(row(epoch) for epoch in loop.result.history)

        def note(epoch: Epoch, is_best: bool) -> object:
            check_learns(epoch)
            history.append(row(epoch))
            if is_best:
                task.note_best()
            return on_epoch(history[-1], is_best) if on_epoch else None

        self.stopped, self.signal = "", 0
        passes = task.passes(loop, epochs)
        result = training_loop.run(loop, passes, on_epoch=note, on_step=on_step, quiet=quiet)
        if result.failed:
            raise NonFiniteLoss(f"{result.failed}; try a smaller lr than {self._peak(loop):g}")
        self.stopped, self.signal = result.stopped, result.signal
        return history

    def _updates(self, optimizer: Any, scheduler: Any, every: str | None) -> GivenUpdates | None:
        """By what the caller made; None where that is nothing."""
        updates = updates_of(optimizer, scheduler, every, self.pair.own, self.given.get("clip"))
        own = next((name for name in self.given if name != "clip"), None)
        if updates and own:
            raise SemcomError(
                f"Distiller({own}={self.given[own]:g}) beside an optimizer, which brings its own; leave one "
                "of them out"
            )
        return updates

    def _peak(self, loop: Loop[Any]) -> float:
        """Learning rate to be lowered."""
        return float(loop.lr) if isinstance(loop.updates, GivenUpdates) else self.training.lr

    def _keeper(
        self,
        path: str | Path,
        minutes: float,
        resume: bool,
        run: dict[str, Any],
        updates: GivenUpdates | None,
    ) -> Keeper:
        """Keeps the state of a training; to ``resume`` one, it has found it. run: what else the training is
        told by."""
        if updates:
            updates.check_plain()
            run = {**updates.described(), "clip": updates.clip, **run}
        else:
            names = ("lr", "warmup_steps", "weight_decay", "clip")
            run = {**{name: getattr(self.training, name) for name in names}, **run}
        run |= {"device": self.device.type, **self.loss.record()}
        if run["keep"] == "best":
            # States of earlier versions do not tell it.
            del run["keep"]
        teacher = self.pair.teacher
        if teacher and teacher.module is not None:
            # By the names that states of earlier versions have.
            weights = {f"module.{name}": tensor for name, tensor in teacher.module.state_dict().items()}
            run["the teacher:"] = digest_of(weights)[:16]
        keeper = Keeper(Path(path), minutes, run, cure="leave resume=True out to begin anew")
        if resume:
            keeper.find()
        return keeper

    def evaluate(self, batches: Iterable[Any], *places: Any) -> dict[str, float]:
        """The student's mean cross-entropy "ce" in nats and share of hits "accuracy" over the labelled rows,
        in eval mode. batches: as ``fit`` takes them."""
        if places:
            raise SemcomError(f"evaluate: takes batches alone; type evaluate({LOADER})")
        return self.pair.scores(batches, Reader(), lambda: 0)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(other_conventions.missing_method(name))
