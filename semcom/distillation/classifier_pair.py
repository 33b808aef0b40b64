"""A student and its teacher, classifiers of any kind, at a batch: what the loss is, and what the student
scores."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from semcom.base import signals
from semcom.base.errors import SemcomError, warn
from semcom.distillation.any_batch import Batch, Reader, on_device
from semcom.distillation.any_model import Evaluating, Model, outputs, owner_of
from semcom.distillation.any_teacher import Teacher, numbers_in
from semcom.distillation.kd_loss import DistillationLoss
from semcom.distillation.task import AskedToEnd, Terms

ORDER = "Distiller(student, teacher) takes the student first"


class ClassifierPair:
    """module: the student, or the one whose method it is, on ``device``. own: its parameters; what it shares
    with the teacher is the teacher's, and does not learn. trained: those of its own that do.

    Raises SemcomError where none does.
    """

    def __init__(
        self, student: Model, teacher: Model | None, loss: DistillationLoss, device: torch.device | None
    ):
        self.student, self.loss = student, loss
        owner = owner_of(student)
        self.module = nn.Module() if owner is None else owner
        self.device = device or next((p.device for p in self.module.parameters()), torch.device("cpu"))
        if device:
            self.module.to(device)
        self.teacher = Teacher(teacher, self.device) if teacher is not None else None
        frozen = self.teacher.module if self.teacher else None
        shared = {id(p) for p in frozen.parameters()} if frozen is not None else set()
        self.own = [p for p in self.module.parameters() if id(p) not in shared]
        self.trained = [p for p in self.own if p.requires_grad]
        if not self.own:
            raise SemcomError(
                "the student must be a module, or a method of one, with parameters that are not the "
                f"teacher's; {ORDER}; of one model make two with copy.deepcopy"
            )
        if not self.trained:
            raise SemcomError(
                f"all parameters of the student are frozen, so that nothing could learn: {ORDER}; a student "
                "of yours learns after student.requires_grad_(True)"
            )
        self._warn_of_order()
        self._warn_of_teacher()

    def _warn_of_order(self) -> None:
        ours = numbers_in(self.module.parameters())
        theirs = self.teacher.numbers if self.teacher and self.loss.settings.distils else 0
        if 0 < theirs < ours:
            warn(f"the student has {ours:,} parameters and the teacher {theirs:,}: {ORDER}; is it so here?")

    def _warn_of_teacher(self) -> None:
        if self.teacher is None or not self.loss.settings.distils:
            return
        if self.teacher.is_unseen:
            warn(
                "no module is seen in the teacher, a function: put what it uses into eval mode, or give the "
                "module, or a method of it"
            )
        parameters = list(self.module.parameters())
        shared = len(parameters) - len(self.own)
        if shared:
            warn(
                f"{shared} of the student's {len(parameters)} parameters are the teacher's too: they do not "
                "learn; for a part of the student's own type copy.deepcopy(part)"
            )

    @contextmanager
    def training(self) -> Iterator[None]:
        """Meanwhile the teacher is frozen; then it is as before, and the student in eval mode."""
        try:
            with self.teacher.frozen() if self.teacher else nullcontext():
                yield
        finally:
            self.module.eval()

    def losses(self, batch: Batch) -> Terms:
        """The sums of a ``DistillationLoss``; for labels alone no teacher is asked."""
        inputs, targets, mask = on_device(batch, self.device)
        distils = self.teacher is not None and self.loss.settings.distils
        soft, soft_grid = self.teacher(inputs) if self.teacher and distils else (None, None)
        logits, grid = outputs(self.student, inputs)
        if targets is None:
            rows = logits.movedim(self.loss.class_axis, -1).shape[:-1]
            targets = torch.full(rows, self.loss.ignore_index, device=logits.device)
        if not self.loss.settings.scales:
            return self.loss.sums(logits, soft, targets, mask)
        return self.loss.sums(logits, soft, targets, mask, student_grid=grid, teacher_grid=soft_grid)

    @torch.no_grad()
    def scores(self, batches: Iterable[Any], reader: Reader, asked: signals.Asked) -> dict[str, float]:
        """The student's mean cross-entropy "ce" in nats and share of hits "accuracy" over the labelled rows,
        in eval mode. Raises AskedToEnd where a signal has asked for the end meanwhile."""
        total = hits = number = 0.0
        is_empty = True
        with Evaluating(self.module):
            for given in batches:
                if asked():
                    raise AskedToEnd(asked())
                is_empty = False
                batch = on_device(reader.read(given), self.device)
                if batch.targets is None:
                    continue
                logits = outputs(self.student, batch.inputs)[0]
                found = self.loss.scores(logits, batch.targets, batch.mask)
                total += float(found["ce"][0])
                hits += int(found["accuracy"][0])
                number += int(found["ce"][1])
        if not number:
            why = "there is no batch" if is_empty else "no row has a label"
            raise SemcomError(f"evaluate, or validation: {why}; give batches (inputs, targets)")
        return {"ce": total / number, "accuracy": hits / number}
