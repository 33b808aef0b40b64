"""The only training loop, for links and any other classifiers alike. It never looks inside a loss.

What it trains is a ``Task``: of the data of a step the task makes named terms, sums over rows, and the
weights of its objective say how the means of the terms add up to the loss.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from semcom.base.distributed import ALONE, Processes
from semcom.distillation.optimizer import AdamW
from semcom.distillation.training_settings import TrainingConfig

Data = TypeVar("Data")
GivenData = TypeVar("GivenData", contravariant=True)

Terms = dict[str, tuple[Tensor, int]]
"""Named sums over rows: {name: (sum, rows)}."""
OnStep = Callable[[int, Mapping[str, float]], None]
"""Of the number of steps done, and the means of the last one's terms, which its weights before that step
gave."""


class NonFiniteLoss(Exception):
    """A training or validation loss is infinite or not a number."""


class Objective(Protocol):
    """weights: of the means of named terms in the loss; terms without one are for the log. progress: share of
    the run that is done, which schedules follow; set before each step."""

    weights: dict[str, float]
    progress: float


class Task(Protocol[GivenData]):
    """What is trained."""

    @property
    def objective(self) -> Objective: ...

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that learn."""

    def train(self) -> None:
        """Into training mode."""

    def terms(self, data: GivenData, epoch: int) -> Terms:
        """The forward pass of a step."""

    def measure(self, epoch: int) -> dict[str, float]:
        """Of held-out data, where there are any: the cross-entropy "ce", by which the best epoch is told, and
        what else is to be logged."""


@dataclass(frozen=True)
class Step(Generic[Data]):
    """The data of a step.

    tokens: real target positions in it. cells: with padding. counts: False where this process has no share of
    the step, and ``data`` stand in, so that all processes take it together.
    """

    data: Data
    tokens: int = 0
    cells: int = 0
    counts: bool = True


@dataclass(frozen=True)
class Epoch:
    """What is logged of an epoch, over all processes. Losses are means over rows; held_out: what the task
    measured; lr is the last step's; seconds are training time alone; padding is its share of the target
    positions."""

    epoch: int
    steps: int
    loss: float
    parts: dict[str, float]
    held_out: dict[str, float]
    lr: float
    target_tokens: int
    seconds: float
    padding: float

    @property
    def validation(self) -> float:
        """Cross-entropy of the held-out data."""
        return self.held_out["ce"]

    @property
    def tokens_per_second(self) -> float:
        return self.target_tokens / max(self.seconds, 1e-9)

    def row(self) -> dict[str, float]:
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "loss": self.loss,
            "validation": self.validation,
            "lr": self.lr,
            "target_tokens": self.target_tokens,
            "seconds": self.seconds,
            "padding": self.padding,
            **{f"train_{name}": value for name, value in self.parts.items()},
            "tokens_per_second": self.tokens_per_second,
        }

    def line(self, is_best: bool) -> str:
        """For the console; the best epoch until now has a star."""
        held_out = {"validation" if name == "ce" else name: value for name, value in self.held_out.items()}
        values = {"loss": self.loss, **self.parts, **held_out}
        words = [f"epoch {self.epoch:3d}", *(f"{name} {value:.4f}" for name, value in values.items())]
        line = "  ".join(words) + (" *" if is_best else "  ")
        if self.target_tokens:
            line += f"  {self.tokens_per_second:,.0f} tokens/s, padding {self.padding:.1%}"
        return line.rstrip()


@dataclass
class Result:
    """history: an ``Epoch`` each. best_loss: lowest validation cross-entropy, at ``best_epoch``. steps: those
    begun, of ``total``.

    stopped: where the user interrupted it. failed: where a loss was not finite. Both empty for a whole run.
    """

    history: list[Epoch]
    best_loss: float = math.inf
    best_epoch: int = 0
    steps: int = 0
    total: int = 0
    stopped: str = ""
    failed: str = ""

    @property
    def padding(self) -> float:
        """Its share of the target positions of all epochs."""
        tokens = sum(e.target_tokens for e in self.history)
        return 1 - tokens / sum(e.target_tokens / (1 - e.padding) for e in self.history) if tokens else 0.0


def learning_rate(step: int, total: int, peak: float, warmup: int) -> float:
    """Linear warm-up over ``warmup`` steps, then linear decay to zero at ``total``. Steps count from 1."""
    warmup = max(1, min(warmup, total // 5))
    return peak * min(step / warmup, (total - step + 1) / max(1, total - warmup + 1))


def run(
    loop: "Loop[Data]",
    passes: Iterable[Iterable[Step[Data]]],
    total: int,
    *,
    on_epoch: Callable[[Epoch, bool], None],
    on_step: OnStep | None = None,
    quiet: bool,
) -> Result:
    """Train on the steps of all passes, an epoch each, ``total`` of them by the schedules.

    on_epoch(epoch, is_best) runs after each epoch's validation, on the main process, for saving; on_step
    after each step there. A loss that is not finite and a keyboard interrupt end the run early; the result
    says so, on every process alike.
    """
    result, epoch = Result([], total=total), 0
    quiet = quiet or not loop.processes.is_main
    on_step = on_step if loop.processes.is_main else None
    bar = tqdm(total=total, disable=quiet, unit="step", dynamic_ncols=True, mininterval=0.5)
    try:
        with loop.processes.noted_interrupts() as loop.interrupted:
            for epoch, steps in enumerate(passes, start=1):
                logged = _train_epoch(loop, steps, epoch, result, bar, on_step)
                is_best = logged.held_out.get("ce", math.inf) < result.best_loss
                if is_best:
                    result.best_loss, result.best_epoch = logged.validation, epoch
                result.history.append(logged)
                if loop.processes.is_main:
                    on_epoch(logged, is_best)
                if not quiet:
                    bar.write(logged.line(is_best))
    except NonFiniteLoss as error:
        result.failed = str(error)
    except KeyboardInterrupt:
        result.stopped = f"interrupted in epoch {epoch}, step {result.steps} of {total}"
    finally:
        bar.close()
    return result


def _train_epoch(
    loop: "Loop[Data]",
    steps: Iterable[Step[Data]],
    epoch: int,
    result: Result,
    bar: tqdm,
    on_step: OnStep | None,
) -> Epoch:
    """One pass, its steps counted in ``result``."""
    config, total, lr = loop.config, result.total, 0.0
    loop.start_epoch()
    for step in steps:
        result.steps += 1
        # Passes may be longer than the one that was counted.
        place = min(result.steps, total)
        lr = learning_rate(place, total, config.lr, config.warmup_steps)
        loop.task.objective.progress = place / total
        means = loop.step(step, epoch, lr, result.steps)
        if on_step:
            on_step(result.steps, means)
        bar.update()
        bar.set_postfix_str(loop.postfix(epoch), refresh=False)
    return loop.end_epoch(epoch, result.steps, lr)


@dataclass
class Sum:
    """Of a term, over rows and processes."""

    value: float = 0.0
    rows: float = 0

    @property
    def mean(self) -> float:
        return self.value / max(self.rows, 1)


class Loop(Generic[Data]):
    """The state of a run: optimiser and running sums of the epoch, over all processes."""

    def __init__(self, task: Task[Data], config: TrainingConfig, processes: Processes = ALONE):
        self.task, self.config, self.processes = task, config, processes
        self.interrupted: Callable[[], bool] = lambda: False
        self.optimizer = AdamW(task.trained, config.weight_decay)
        self.start_epoch()

    def start_epoch(self) -> None:
        self.task.train()
        self.sums: dict[str, Sum] = {}
        self.tokens = self.cells = 0
        self.seconds = 0.0

    def step(self, step: Step[Data], epoch: int, lr: float, number: int) -> dict[str, float]:
        """One step on this process's share of the data; ``number`` counts steps through the run. Returns the
        means of its terms."""
        started = time.perf_counter()
        terms = self.task.terms(step.data, epoch)
        sums = self._over_processes(step, terms)
        weights = self.task.objective.weights
        loss = sum(weight * sums[name].value / max(sums[name].rows, 1) for name, weight in weights.items())
        if not math.isfinite(loss):
            raise NonFiniteLoss(f"the loss is {loss} in epoch {epoch}, step {number}")
        parts = [weight * terms[name][0] / max(sums[name].rows, 1) for name, weight in weights.items()]
        # Gradients are averaged over processes: their number makes sums over the rows of all into means.
        share = step.counts * self.processes.count
        self._descend(share * reduce(torch.add, parts), lr)
        for name, of_step in sums.items():
            of_epoch = self.sums.setdefault(name, Sum())
            of_epoch.value += of_step.value
            of_epoch.rows += of_step.rows
        self.seconds += time.perf_counter() - started
        return {name: of_step.mean for name, of_step in sums.items()}

    def _over_processes(self, step: Step[Data], terms: Terms) -> dict[str, Sum]:
        """Each term's sum and rows, tokens and cells counted on the way. Raises KeyboardInterrupt where one
        process was interrupted."""
        values = [step.counts * float(value.detach()) for value, _ in terms.values()]
        rows = [step.counts * count for _, count in terms.values()]
        positions = [step.counts * step.tokens, step.counts * step.cells]
        interrupted, tokens, cells, *of_all = self.processes.sum(
            [self.interrupted(), *positions, *values, *rows]
        )
        if interrupted:
            raise KeyboardInterrupt
        self.tokens += int(tokens)
        self.cells += int(cells)
        return {name: Sum(*both) for name, *both in zip(terms, of_all[: len(terms)], of_all[len(terms) :])}

    def _descend(self, loss: Tensor, lr: float) -> None:
        # A caller's own backward pass may have left gradients.
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.task.trained, self.config.clip)
        self.optimizer.step(lr)
        self.optimizer.zero_grad()

    def means(self) -> dict[str, float]:
        return {name: of_epoch.mean for name, of_epoch in self.sums.items()}

    def loss(self) -> float:
        means = self.means()
        return sum(weight * means[name] for name, weight in self.task.objective.weights.items())

    def postfix(self, epoch: int) -> str:
        means = {"loss": self.loss(), **self.means()}
        parts = [f"{name} {value:.3f}" for name, value in means.items()]
        rate = [f"{self.tokens / self.seconds:,.0f} tokens/s"] if self.tokens else []
        return " ".join([f"epoch {epoch}", *parts, *rate])

    def end_epoch(self, epoch: int, steps: int, lr: float) -> Epoch:
        return Epoch(
            epoch,
            steps,
            self.loss(),
            self.means(),
            self.task.measure(epoch),
            lr,
            self.tokens,
            self.seconds,
            padding=1 - self.tokens / self.cells if self.cells else 0.0,
        )
