"""Distillation from Python, for any two classifiers: no transceiver is needed.

Letters: B samples, V classes. What a batch holds for a model, its *inputs*, is a tuple or list (the arguments
of forward), a mapping (its keyword arguments) or anything else (its one argument).
"""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from semcom.base.device import resolve_device
from semcom.base.errors import SemcomError
from semcom.distillation.kd_loss import UNLABELLED, DistillationLoss
from semcom.distillation.objectives import Frozen
from semcom.distillation.optimizer import AdamW
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.trainer import NonFiniteLoss, learning_rate
from semcom.distillation.training_settings import TrainingConfig

Model = Callable[..., Any]
"""A module, or a method of one: inputs -> logits [..., V], (logits, grid of logits [B, H, W, V]), or an
object with ``logits``."""
Row = dict[str, Any]


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
                f"distill_weight {settings.distill_weight:g}: there is no teacher to distil; give one, or distill_weight=0"
            )
        self.device = resolve_device(str(device))
        self.student, self.teacher, self.stopped = student, teacher, ""
        theirs = owner_of(teacher)
        self.frozen = Frozen(theirs).to(self.device) if theirs else None
        self.module = owner_of(student)
        # What the two share is the teacher's, and frozen by now.
        self.trained = (
            [p for p in self.module.to(self.device).parameters() if p.requires_grad] if self.module else []
        )
        if not self.trained:
            raise SemcomError(
                "the student must be a module, or a method of one, with parameters that are not the teacher's; "
                "of one model make two with copy.deepcopy"
            )

    def fit(
        self,
        batches: Iterable,
        epochs: int,
        validation: Iterable | None = None,
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
        total = epochs * _count(batches)
        if total < 1:
            raise SemcomError(
                f"epochs {epochs}: there is no step to take; give an epoch and a batch at least"
            )
        optimizer = AdamW(self.trained, self.training.weight_decay)
        history: list[Row] = []
        best, step, epoch, self.stopped = math.inf, 0, 0, ""
        bar = tqdm(total=total, disable=quiet, unit="step", dynamic_ncols=True, mininterval=0.5)
        try:
            for epoch in range(1, epochs + 1):
                sums: dict[str, float] = defaultdict(float)
                first = step
                self.module.train()
                for batch in batches:
                    step += 1
                    for name, value in self._step(
                        optimizer, batch, step, total, f"epoch {epoch}, step {step}"
                    ).items():
                        sums[name] += value
                    bar.update()
                    bar.set_postfix_str(
                        f"epoch {epoch} loss {sums['loss'] / (step - first):.4f}", refresh=False
                    )
                measured = (
                    self.evaluate(validation) if validation is not None else {"ce": None, "accuracy": None}
                )
                row = {
                    "epoch": epoch,
                    **_logged({name: value / (step - first) for name, value in sums.items()}),
                    "validation": measured["ce"],
                    "accuracy": measured["accuracy"],
                    "lr": self._lr(step, total),
                }
                history.append(row)
                is_best = validation is not None and row["validation"] < best
                best = row["validation"] if is_best else best
                if on_epoch:
                    on_epoch(row, is_best)
                if not quiet:
                    bar.write(_line(row) + " *" * is_best)
        except KeyboardInterrupt:
            self.stopped = f"interrupted in epoch {epoch}, step {step} of {total}"
        finally:
            bar.close()
            self.module.eval()
        return history

    def _step(self, optimizer: AdamW, batch: Any, step: int, total: int, where: str) -> dict[str, float]:
        inputs, targets, mask = self._on_device(batch)
        # A pass may be longer than the one that was counted.
        self.loss.progress = min(step / total, 1.0)
        theirs = self._teacher(inputs) if self.teacher else None
        logits, grid = _outputs(self.student, inputs)
        soft, soft_grid = theirs or (logits, grid)
        means = self.loss(logits, soft, targets, mask, student_grid=grid, teacher_grid=soft_grid)
        values = {name: float(value.detach()) for name, value in means.items()}
        if not math.isfinite(values["loss"]):
            raise NonFiniteLoss(
                f"the loss is {values['loss']} in {where}; try a smaller lr than {self.training.lr:g}"
            )
        optimizer.zero_grad()
        means["loss"].backward()
        nn.utils.clip_grad_norm_(self.trained, self.training.clip)
        optimizer.step(self._lr(step, total))
        return values

    def _lr(self, step: int, total: int) -> float:
        return learning_rate(min(step, total), total, self.training.lr, self.training.warmup_steps)

    @torch.no_grad()
    def _teacher(self, inputs: Any) -> tuple[Tensor, Tensor | None]:
        if self.frozen:
            # Its owner may have put it into training mode, or a student that shares a part of it.
            self.frozen.module.eval()
        return _outputs(self.teacher, inputs)

    @torch.no_grad()
    def evaluate(self, batches: Iterable) -> dict[str, float]:
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

    def _on_device(self, batch: Any) -> tuple[Any, Tensor, Tensor | None]:
        inputs, targets, *mask = batch
        return _moved(inputs, self.device), targets.to(self.device), mask[0].to(self.device) if mask else None


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


def _logged(means: dict[str, float]) -> Row:
    """The loss and its parts under the names that ``plot_training_curves`` knows."""
    parts = {
        name if name == "complementary" else f"train_{name}": value
        for name, value in means.items()
        if name != "loss"
    }
    return {"loss": means["loss"], **parts}


def _line(row: Row) -> str:
    shown = {
        name.removeprefix("train_"): value
        for name, value in row.items()
        if name not in ("epoch", "lr") and value is not None
    }
    return "  ".join([f"epoch {row['epoch']:3d}", *(f"{name} {value:.4f}" for name, value in shown.items())])


def _count(batches: Iterable) -> int:
    if iter(batches) is batches:
        raise SemcomError(
            f"batches: a {type(batches).__name__} can be gone through only once; give a list or a DataLoader"
        )
    return length_hint(batches) or sum(1 for _ in batches)
