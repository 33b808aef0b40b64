"""Distillation from Python, for any two classifiers: no transceiver is needed.

Letters: B samples, V classes. Inputs of models are those of ``any_model``.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semcom.base import signals
from semcom.base.device import copied, resolve_device
from semcom.base.errors import SemcomError
from semcom.base.settings import ResumeConfig
from semcom.distillation import generators, training_loop
from semcom.distillation.any_model import Evaluating, Model, moved, outputs, owner_of
from semcom.distillation.history import Epoch
from semcom.distillation.kd_loss import UNLABELLED, DistillationLoss
from semcom.distillation.objectives import Frozen
from semcom.distillation.run_state import Keeper, load_weights
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.task import AskedToEnd, NonFiniteLoss, Step, Terms
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.state_file import State, digest_of

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

    loss: the ``DistillationLoss``. stopped: where Ctrl-C ended the last ``fit``, else empty. signal: its
    number, else 0.
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
        self.student, self.teacher, self.stopped, self.signal = student, teacher, "", 0
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

    # Many arguments: what a training is, and where it may be stopped; callers name them.
    def fit(
        self,
        batches: Iterable[Batch],
        epochs: int,
        validation: Iterable[Batch] | None = None,
        on_epoch: Callable[[Row, bool], None] | None = None,
        quiet: bool = False,
        *,
        save_to: str | Path | None = None,
        save_every: float = ResumeConfig.save_every,
        resume: bool = False,
    ) -> list[Row]:
        """Train for ``epochs`` passes over ``batches`` and return a row for each, as ``plot_training_curves``
        takes them.

        batches, validation: what gives (inputs, targets) or (inputs, targets, mask) anew each time it is
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
        keeper = self._keeper(save_to, save_every, epochs, resume) if save_to else None
        total = keeper.total if keeper else 0
        total = _same_steps(total, epochs, batches) if total else _steps(epochs, batches)
        task = _Task(self, batches, validation)
        loop = Loop(task, self.training, total=total, keeper=keeper)
        history = [_row(epoch) for epoch in loop.result.history]

        def keep(epoch: Epoch, is_best: bool) -> None:
            history.append(_row(epoch))
            if on_epoch:
                on_epoch(history[-1], is_best)

        self.stopped, self.signal = "", 0
        try:
            result = training_loop.run(loop, task.passes(loop, epochs), on_epoch=keep, quiet=quiet)
        finally:
            self.module.eval()
        if result.failed:
            raise NonFiniteLoss(f"{result.failed}; try a smaller lr than {self.training.lr:g}")
        self.stopped, self.signal = result.stopped, result.signal
        return history

    def _keeper(self, path: str | Path, minutes: float, epochs: int, resume: bool) -> Keeper:
        """Keeps the state of a training of so many epochs; to ``resume`` one, it has found it."""
        t = self.training
        names = ("lr", "warmup_steps", "weight_decay", "clip")
        run = {name: getattr(t, name) for name in names}
        run |= {"epochs": epochs, "device": self.device.type, **asdict(self.loss.settings)}
        if self.frozen:
            run["the teacher:"] = digest_of(self.frozen.state_dict())[:16]
        keeper = Keeper(Path(path), minutes, run, cure="leave resume=True out to begin anew")
        if resume:
            keeper.find()
        return keeper

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """The means of a ``DistillationLoss``; of labels alone the student stands in for its teacher."""
        inputs, targets, mask = self._on_device(batch)
        theirs = self._teacher(inputs)
        logits, grid = outputs(self.student, inputs)
        soft, soft_grid = theirs or (logits, grid)
        return self.loss(logits, soft, targets, mask, student_grid=grid, teacher_grid=soft_grid)

    @torch.no_grad()
    def _teacher(self, inputs: Any) -> tuple[Tensor, Tensor | None] | None:
        if self.teacher is None:
            return None
        if self.frozen:
            # Its owner may have put it into training mode, or a student that shares a part of it.
            self.frozen.module.eval()
        return outputs(self.teacher, inputs)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """The student's mean cross-entropy "ce" in nats and share of hits "accuracy" over the labelled rows,
        in eval mode."""
        return self._evaluate(batches, lambda: 0)

    @torch.no_grad()
    def _evaluate(self, batches: Iterable[Batch], asked: signals.Asked) -> dict[str, float]:
        """Raises AskedToEnd where a signal has asked for the end meanwhile."""
        total = hits = rows = 0.0
        with Evaluating(self.module):
            for batch in batches:
                if asked():
                    raise AskedToEnd(asked())
                inputs, targets, mask = self._on_device(batch)
                kept = targets != UNLABELLED if mask is None else mask & (targets != UNLABELLED)
                logits, targets = outputs(self.student, inputs)[0][kept], targets[kept]
                total += float(nn.functional.cross_entropy(logits.float(), targets, reduction="sum"))
                hits += int((logits.argmax(-1) == targets).sum())
                rows += len(targets)
        if not rows:
            raise SemcomError("evaluate: no row has a label; give batches (inputs, targets)")
        return {"ce": total / rows, "accuracy": hits / rows}

    def _on_device(self, batch: Batch) -> tuple[Any, Tensor, Tensor | None]:
        inputs, targets, *mask = batch
        there = copied(targets, self.device)
        return moved(inputs, self.device), there, copied(mask[0], self.device) if mask else None


class _Task:
    """What the training loop sees of a distiller. The loss is a term of its own, with a mean over the steps
    of an epoch, as its parts are.

    at_start: states of the generators at the start of the epoch under way. exhausted: whether its batches
    are.
    """

    def __init__(self, distiller: Distiller, batches: Iterable[Batch], validation: Iterable[Batch] | None):
        self.distiller, self.batches, self.validation = distiller, batches, validation
        self.objective, self.trained = distiller.loss, distiller.trained
        self.generators = generators.of_loaders(batches, validation)
        self.at_start = self._drawn()
        self.exhausted = False

    def passes(self, loop: Loop[Batch], epochs: int) -> Iterator[Iterator[Step[Batch]]]:
        """An epoch each, from the place on where the loop stands."""
        done = loop.done
        for _ in range(loop.epoch, epochs + 1):
            yield self._steps(done)
            done = 0

    def _steps(self, done: int) -> Iterator[Step[Batch]]:
        """Of a pass, but the first ``done``. To get there, the batches are gone through from the start, as
        they were before."""
        now = self._drawn()
        if done:
            self._put_back(self.at_start)
        else:
            self.at_start, self.exhausted = now, False
        batches = iter(self.batches)
        if done:
            for _ in batches if self.exhausted else islice(batches, done):
                pass
            self._put_back(now)
        for batch in batches:
            yield Step(batch)
        self.exhausted = True

    def train(self) -> None:
        self.distiller.module.train()

    def terms(self, data: Batch, epoch: int) -> Terms:
        return {name: (mean, 1) for name, mean in self.distiller._losses(data).items()}

    def measure(self, epoch: int, asked: signals.Asked) -> dict[str, float]:
        if self.validation is None:
            return {}
        before = self._drawn()
        try:
            return self.distiller._evaluate(self.validation, asked)
        except AskedToEnd:
            # It is measured anew when the training goes on.
            self._put_back(before)
            raise

    def state(self) -> State:
        return {
            "weights": self._weights(),
            "generators": self._drawn(),
            "at_start": self.at_start,
            "exhausted": self.exhausted,
        }

    def load_state(self, state: State) -> None:
        load_weights(self._weights(), state["weights"])
        self.at_start, self.exhausted = state["at_start"], state["exhausted"]
        self._put_back(state["generators"])

    def _weights(self) -> dict[str, Tensor]:
        """What learns, and buffers such as those of BatchNorm."""
        module = self.distiller.module
        learns = {name: p for name, p in module.named_parameters() if p.requires_grad}
        return {**learns, **dict(module.named_buffers())}

    def _drawn(self) -> State:
        return generators.states(self.generators, self.distiller.device)

    def _put_back(self, state: State) -> None:
        generators.put_back(state, self.generators, self.distiller.device)


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


def _same_steps(total: int, epochs: int, batches: Iterable[Batch]) -> int:
    """Those of the training that goes on, unless it is seen at once that its batches were others."""
    number = length_hint(batches)
    if number and number * epochs != total:
        raise SemcomError(
            f"batches: {number} an epoch, the training was begun with {total / epochs:g}; give the same, or "
            "leave resume=True out to begin anew"
        )
    return total
