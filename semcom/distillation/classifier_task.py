"""What the training loop sees of a ``Distiller``."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from torch import Tensor

from semcom.base import signals
from semcom.base.errors import SemcomError
from semcom.distillation import generators
from semcom.distillation.any_batch import LABELS, Reader
from semcom.distillation.classifier_pair import ClassifierPair
from semcom.distillation.history import Epoch
from semcom.distillation.rows import Row
from semcom.distillation.run_state import load_weights
from semcom.distillation.task import AskedToEnd, Step, Terms
from semcom.distillation.training_loop import Loop
from semcom.models.state_file import State


class ClassifierTask:
    """The loss is a term of its own, with a mean over the steps of an epoch; its parts are means over rows.

    best: weights of the student's best epoch, where they are kept. at_start: states of the generators at the
    start of the epoch under way. exhausted: whether its batches are.
    """

    def __init__(self, pair: ClassifierPair, batches: Iterable[Any], validation: Iterable[Any] | None):
        self.pair, self.batches, self.validation = pair, batches, validation
        self.objective, self.trained = pair.loss, pair.trained
        self.reader = Reader()
        self.generators = generators.of_loaders(batches, validation)
        self.at_start = self._drawn()
        self.exhausted = False
        self.keeps_best = False
        self.best: dict[str, Tensor] | None = None

    @contextmanager
    def keeping(self, what: str) -> Iterator[None]:
        """However it ends, the student is afterwards as in the best epoch that was noted, where ``what`` is
        "best"."""
        self.keeps_best = what == "best"
        try:
            yield
        finally:
            if self.keeps_best and self.best is not None:
                load_weights(self._weights(), self.best)

    def note_best(self) -> None:
        """The student is at its best now."""
        if self.keeps_best:
            self.best = {name: tensor.detach().clone() for name, tensor in self._weights().items()}

    def passes(self, loop: Loop[Any], epochs: int) -> Iterator[Iterator[Step[Any]]]:
        """An epoch each, from the place on where the loop stands."""
        done = loop.done
        for _ in range(loop.epoch, epochs + 1):
            yield self._steps(done)
            done = 0

    def _steps(self, done: int) -> Iterator[Step[Any]]:
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
        self.pair.module.train()

    def terms(self, data: Any, epoch: int) -> Terms:
        return self.pair.losses(self.reader.read(data))

    def measure(self, epoch: int, asked: signals.Asked) -> dict[str, float]:
        if self.validation is None:
            return {}
        before = self._drawn()
        try:
            return self.pair.scores(self.validation, self.reader, asked)
        except AskedToEnd:
            # It is measured anew when the training goes on.
            self._put_back(before)
            raise

    def state(self) -> State:
        return {
            "weights": self._weights(),
            "best": self.best,
            "generators": self._drawn(),
            "at_start": self.at_start,
            "exhausted": self.exhausted,
        }

    def load_state(self, state: State) -> None:
        # States of earlier versions have no best weights, and none of what was frozen.
        kept = state["weights"]
        frozen = {n for n, p in self.pair.module.named_parameters() if not p.requires_grad and n not in kept}
        load_weights({name: t for name, t in self._weights().items() if name not in frozen}, kept)
        self.best = state.get("best")
        self.at_start, self.exhausted = state["at_start"], state["exhausted"]
        self._put_back(state["generators"])

    def _weights(self) -> dict[str, Tensor]:
        """Of the student's own, frozen or not, since a caller may change that meanwhile; and buffers such as
        those of BatchNorm."""
        module = self.pair.module
        own = {id(p) for p in self.pair.own}
        parameters = {name: p for name, p in module.named_parameters() if id(p) in own}
        return {**parameters, **dict(module.named_buffers())}

    def _drawn(self) -> State:
        return generators.states(self.generators, self.pair.device)

    def _put_back(self, state: State) -> None:
        generators.put_back(state, self.generators, self.pair.device)


def check_learns(epoch: Epoch) -> None:
    """Raise SemcomError where the first epoch has met nothing to learn from."""
    if epoch.epoch == 1 and not {"ce", "kd", "scales"} & epoch.parts.keys():
        raise SemcomError(
            "fit: no row of the batches has a label, and none is distilled, so that nothing is learnt; give "
            f"batches (inputs, targets), or mappings with {' or '.join(LABELS)}, or a teacher and "
            "distill_weight above 0"
        )


def row(epoch: Epoch) -> Row:
    """An epoch under the names that ``plot_training_curves`` knows; "train_ce" is None where no row was
    labelled."""
    parts = {"ce": None, **epoch.parts}
    named = {
        name if name == "complementary" else f"train_{name}": mean
        for name, mean in parts.items()
        if name != "loss"
    }
    return {
        "epoch": epoch.epoch,
        "loss": epoch.loss,
        **named,
        "validation": epoch.held_out.get("ce"),
        "accuracy": epoch.held_out.get("accuracy"),
        "lr": epoch.lr,
    }
