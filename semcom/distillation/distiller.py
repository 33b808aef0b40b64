"""Distillation from Python, for any two classifiers: no transceiver is needed.

Letters: B samples, V classes. What a batch holds for a model, its *inputs*, is a tuple or list (the arguments
of forward), a mapping (its keyword arguments) or anything else (its one argument).
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semcom.base.device import resolve_device
from semcom.base.errors import SemcomError
from semcom.distillation import training_loop
from semcom.distillation.kd_loss import UNLABELLED, DistillationLoss
from semcom.distillation.objectives import Frozen
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_loop import Epoch, Loop, NonFiniteLoss, Step, Terms
from semcom.distillation.training_settings import TrainingConfig

Model = Callable[..., Any]
"""A module, or a method of one: inputs -> logits [..., V], (logits, grid of logits [B, H, W, V]), or an
object with ``logits``."""
Batch = Sequence[Any]
"""(inputs, targets) or (inputs, targets, mask)."""
Row = dict[str, float | None]


def set_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators, of all devices."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Distiller:
    """Trains a student after a teacher under a ``DistillationLoss``.

    teacher: a model, or any other callable that gives the same; None where ``settings.distill_weight`` is 0.
    Where it is a module or a method of one, that module is frozen: it gets no gradient and is in eval mode
    whenever it is asked. Learning rate, warm-up, decay and clipping are those of ``python distillation.py``.
    device: auto, cpu, cuda or cuda:N, where both models go.

    loss: the ``DistillationLoss``. stopped: where Ctrl-C ended the last ``fit``, else empty.
    Raises SemcomError for a student without parameters of its own, and for settings that need a channel.
    """

    # Many arguments: the training's settings are named one by one, as flags are.
    def __init__(
        self,
        student: Model,
        teacher: Model | None,
        settings: DistillationConfig | None = None,
        *,
        lr: float = TrainingConfig.lr,
        warmup_steps: int = TrainingConfig.warmup_steps,
        weight_decay: float = TrainingConfig.weight_decay,
        clip: float = TrainingConfig.clip,
        device: str | torch.device = "cpu",
    ):
        self.training = TrainingConfig(lr=lr, warmup_steps=warmup_steps, weight_decay=weight_decay, clip=clip)
        self.loss = DistillationLoss(settings)
        settings = self.loss.settings
        if "snr" in (settings.temperature_schedule, settings.weight_schedule):
            raise SemcomError("a schedule by snr: these models meet no channel; give linear or cosine")
        if teacher is None and settings.distils:
            raise SemcomError(
                f"distill_weight {settings.distill_weight:g}: there is no teacher to distil; "
                "give one, or distill_weight=0"
            )
        self.device = resolve_device(str(device))
        self.student, self.teacher, self.stopped = student, teacher, ""
        theirs = owner_of(teacher)
        self.frozen = Frozen(theirs).to(self.device) if theirs else None
        self.module = owner_of(student) or nn.Module()
        # What the two share is the teacher's, and frozen by now.
        self.trained = [p for p in self.module.to(self.device).parameters() if p.requires_grad]
        if not self.trained:
            raise SemcomError(
                "the student must be a module, or a method of one, with parameters that are not the "
                "teacher's; of one model make two with copy.deepcopy"
            )

    def fit(
        self,
        batches: Iterable[Batch],
        epochs: int,
        validation: Iterable[Batch] | None = None,
        on_epoch: Callable[[Row, bool], None] | None = None,
        quiet: bool = False,
    ) -> list[Row]:
        """Train for ``epochs`` passes over ``batches`` and return a row for each, as ``plot_training_curves``
        takes them.

        batches, validation: what gives (inputs, targets) or (inputs, targets, mask) anew each time it is
        iterated, a list or a DataLoader; targets and mask as in ``DistillationLoss``. A row's loss and parts
        are means over the steps of the epoch; "validation" is the student's cross-entropy and "accuracy" its
        share of hits there. on_epoch(row, is_best) runs after each epoch, for saving. Ctrl-C ends the
        training and keeps what the student has learnt. It is left in eval mode. Raises NonFiniteLoss, with
        the student as it was before that step.
        """
        total = _steps(epochs, batches)
        history: list[Row] = []

        def keep(epoch: Epoch, is_best: bool) -> None:
            history.append(_row(epoch))
            if on_epoch:
                on_epoch(history[-1], is_best)

        loop = Loop(_Task(self, validation), self.training)
        passes = ((Step(batch) for batch in batches) for _ in range(epochs))
        self.stopped = ""
        try:
            result = training_loop.run(loop, passes, total, on_epoch=keep, quiet=quiet)
        finally:
            self.module.eval()
        if result.failed:
            raise NonFiniteLoss(f"{result.failed}; try a smaller lr than {self.training.lr:g}")
        self.stopped = result.stopped
        return history

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """The means of a ``DistillationLoss``; of labels alone the student stands in for its teacher."""
        inputs, targets, mask = self._on_device(batch)
        theirs = self._teacher(inputs)
        logits, grid = _outputs(self.student, inputs)
        soft, soft_grid = theirs or (logits, grid)
        return self.loss(logits, soft, targets, mask, student_grid=grid, teacher_grid=soft_grid)

    @torch.no_grad()
    def _teacher(self, inputs: Any) -> tuple[Tensor, Tensor | None] | None:
        if self.teacher is None:
            return None
        if self.frozen:
            # Its owner may have put it into training mode, or a student that shares a part of it.
            self.frozen.module.eval()
        return _outputs(self.teacher, inputs)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """The student's mean cross-entropy "ce" in nats and share of hits "accuracy" over the labelled rows,
        in eval mode."""
        total = hits = rows = 0.0
        with Evaluating(self.module):
            for batch in batches:
                inputs, targets, mask = self._on_device(batch)
                kept = targets != UNLABELLED if mask is None else mask & (targets != UNLABELLED)
                logits, targets = _outputs(self.student, inputs)[0][kept], targets[kept]
                total += float(nn.functional.cross_entropy(logits.float(), targets, reduction="sum"))
                hits += int((logits.argmax(-1) == targets).sum())
                rows += len(targets)
        if not rows:
            raise SemcomError("evaluate: no row has a label; give batches (inputs, targets)")
        return {"ce": total / rows, "accuracy": hits / rows}

    def _on_device(self, batch: Batch) -> tuple[Any, Tensor, Tensor | None]:
        inputs, targets, *mask = batch
        return _moved(inputs, self.device), targets.to(self.device), mask[0].to(self.device) if mask else None


class _Task:
    """What the training loop sees of a distiller. The loss is a term of its own, with a mean over the steps
    of an epoch, as its parts are."""

    def __init__(self, distiller: Distiller, validation: Iterable[Batch] | None):
        self.distiller, self.validation = distiller, validation
        self.objective, self.trained = distiller.loss, distiller.trained

    def train(self) -> None:
        self.distiller.module.train()

    def terms(self, data: Batch, epoch: int) -> Terms:
        return {name: (mean, 1) for name, mean in self.distiller._losses(data).items()}

    def measure(self, epoch: int) -> dict[str, float]:
        return {} if self.validation is None else self.distiller.evaluate(self.validation)


class Evaluating:
    """A module in eval mode for a while; afterwards each part is in the mode it was in."""

    def __init__(self, module: nn.Module):
        self.modes = {part: part.training for part in module.modules()}

    def __enter__(self) -> None:
        for part in self.modes:
            part.training = False

    def __exit__(self, *_: object) -> None:
        for part, training in self.modes.items():
            part.training = training


def owner_of(model: Model | None) -> nn.Module | None:
    """The module that is called, or whose method is."""
    owner = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def called(model: Model, inputs: Any) -> Any:
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)


def _outputs(model: Model, inputs: Any) -> tuple[Tensor, Tensor | None]:
    """Logits and, where the model gives one, their grid."""
    given = called(model, inputs)
    return given if isinstance(given, tuple) else (getattr(given, "logits", given), None)


def _moved(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, (tuple, list)):
        return tuple(_moved(part, device) for part in inputs)
    if isinstance(inputs, Mapping):
        return {name: _moved(part, device) for name, part in inputs.items()}
    return inputs.to(device) if hasattr(inputs, "to") else inputs


def _row(epoch: Epoch) -> Row:
    """An epoch under the names that ``plot_training_curves`` knows."""
    parts = {
        name if name == "complementary" else f"train_{name}": mean
        for name, mean in epoch.parts.items()
        if name != "loss"
    }
    return {
        "epoch": epoch.epoch,
        "loss": epoch.loss,
        **parts,
        "validation": epoch.held_out.get("ce"),
        "accuracy": epoch.held_out.get("accuracy"),
        "lr": epoch.lr,
    }


def _steps(epochs: int, batches: Iterable[Batch]) -> int:
    if iter(batches) is batches:
        raise SemcomError(
            f"batches: a {type(batches).__name__} can be gone through only once; give a list or a DataLoader"
        )
    total = epochs * (length_hint(batches) or sum(1 for _ in batches))
    if total < 1:
        raise SemcomError(f"epochs {epochs}: there is no step to take; give an epoch and a batch at least")
    return total
