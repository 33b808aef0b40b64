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
from semcom.distillation.classifier_task import ClassifierTask, row
from semcom.distillation.fit_arguments import FitArguments
from semcom.distillation.history import Epoch
from semcom.distillation.kd_loss import DistillationLoss
from semcom.distillation.rows import Row, Rows
from semcom.distillation.run_state import Keeper
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.task import NonFiniteLoss
from semcom.distillation.training_loop import Loop
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

    loss: the ``DistillationLoss``. stopped: where Ctrl-C ended the last ``fit``, else empty. signal: its
    number, else 0.
    Raises SemcomError for a student without parameters of its own that learn, and for settings that need a
    channel; warns where the student is larger than its teacher.
    """

    # Many arguments: the training's settings are named one by one, as flags are.
    def __init__(
        self,
        student: Model | None = None,
        teacher: Model | Sequence[Model] | None = None,
        settings: DistillationConfig | DistillationLoss | None = None,
        *,
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
        if student is None:
            raise SemcomError("Distiller: there is no student; type Distiller(student, teacher)")
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
        on_epoch: Callable[[Row, bool], None] | None = None,
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
        iterated, a list or a DataLoader; targets and mask as in ``DistillationLoss``. A row's loss and parts
        are means over the steps of the epoch; "validation" is the student's cross-entropy and "accuracy" its
        share of hits there. on_epoch(row, is_best) runs after each epoch, for saving. Ctrl-C ends the
        training after a whole step and keeps what the student has learnt. It is left in eval mode. Raises
        NonFiniteLoss, with the student as it was before that step.

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
        keeper = self._keeper(save_to, save_every, given.epochs, resume) if save_to else None
        total = given.steps(keeper.total if keeper else 0)
        with self.pair.training():
            task = ClassifierTask(self.pair, given.batches, given.validation)
            loop = Loop(task, self.training, total=total, keeper=keeper)
            history = Rows(row(epoch) for epoch in loop.result.history)

            def keep(epoch: Epoch, is_best: bool) -> None:
                history.append(row(epoch))
                if on_epoch:
                    on_epoch(history[-1], is_best)

            self.stopped, self.signal = "", 0
            result = training_loop.run(loop, task.passes(loop, given.epochs), on_epoch=keep, quiet=quiet)
        if result.failed:
            raise NonFiniteLoss(f"{result.failed}; try a smaller lr than {self.training.lr:g}")
        self.stopped, self.signal = result.stopped, result.signal
        return history

    def _keeper(self, path: str | Path, minutes: float, epochs: int, resume: bool) -> Keeper:
        """Keeps the state of a training of so many epochs; to ``resume`` one, it has found it."""
        t = self.training
        names = ("lr", "warmup_steps", "weight_decay", "clip")
        run = {name: getattr(t, name) for name in names}
        run |= {"epochs": epochs, "device": self.device.type, **self.loss.record()}
        teacher = self.pair.teacher
        if teacher and teacher.module:
            run["the teacher:"] = digest_of(teacher.module.state_dict())[:16]
        keeper = Keeper(Path(path), minutes, run, cure="leave resume=True out to begin anew")
        if resume:
            keeper.find()
        return keeper

    def evaluate(self, batches: Iterable[Any]) -> dict[str, float]:
        """The student's mean cross-entropy "ce" in nats and share of hits "accuracy" over the labelled rows,
        in eval mode."""
        return self.pair.scores(batches, Reader(), lambda: 0)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(other_conventions.missing_method(name))
