"""The only training loop, for links and any other classifiers alike. It never looks inside a loss.

What it trains is a ``Task``: of the data of a step the task makes named terms, sums over rows, and the
weights of its objective say how the means of the terms add up to the loss.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from semcom.base import signals
from semcom.base.ahead import with_first
from semcom.base.distributed import ALONE, Processes
from semcom.base.progress import Progress
from semcom.base.tracking import Tracker
from semcom.distillation import loop_state
from semcom.distillation.history import Epoch, Result
from semcom.distillation.run_state import Keeper
from semcom.distillation.step_sums import Begun, LateSums, StepSums, Sum, read
from semcom.distillation.task import AskedToEnd, NonFiniteLoss, Step, Task, Terms
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.updates import OwnUpdates, Rate, Updates

Data = TypeVar("Data")

OnStep = Callable[[int, Mapping[str, float]], object]
"""Of the number of steps done, and the means of the last one's terms, which its weights before that step
gave. True ends the run."""


def run(
    loop: "Loop[Data]",
    passes: Iterable[Iterable[Step[Data]]],
    *,
    on_epoch: Callable[[Epoch, bool], object],
    on_step: OnStep | None = None,
    quiet: bool,
) -> Result:
    """Train on the steps of all passes, an epoch each; of a training that goes on, of what is left of them.

    on_epoch(epoch, is_best) runs after each epoch's validation, on the main process, for saving; on_step
    after each step there. A loss that is not finite and a signal end the run early, the latter after a whole
    step; the result says so, on every process alike. So do, of one process, either of them that returns True,
    and the loop's patience.
    """
    result = loop.result
    done, total = result.steps, result.total

    def log(epoch: Epoch, bar: Progress) -> None:
        is_best = result.log(epoch)
        if loop.processes.is_main:
            loop.end_if(on_epoch(epoch, is_best) is True, "on_epoch")
            if not quiet:
                bar.say(epoch.lines(is_best))

    try:
        with signals.noted(signals.ALL if loop.keeper else signals.CTRL_C) as loop.asked:
            # What is made before the first step has a bar of its own.
            made = with_first(passes)
            with Progress(total, f"epoch {loop.epoch}", quiet=quiet, done=done, leave=True) as bar:
                loop.on_step = _telling(loop, bar, on_step)
                loop.heed_patience()
                for steps in made:
                    log(_train_epoch(loop, steps, bar), bar)
                    loop.start_epoch(loop.epoch + 1)
                    loop.heed_epoch()
            # Asked while the state was saved for the last time.
            loop.check_asked()
    except NonFiniteLoss as error:
        result.failed = str(error)
    except AskedToEnd as end:
        loop.keep()
        result.stopped, result.signal = loop.place(end.why), end.number
    except KeyboardInterrupt as interrupt:
        result.stopped, result.signal = loop.place("interrupted"), signals.number_of(interrupt)
    return result


def _telling(loop: "Loop[Data]", bar: Progress, on_step: OnStep | None) -> OnStep:
    """Tells ``on_step``, on the main process, and the bar."""

    def tell(number: int, means: Mapping[str, float]) -> None:
        if on_step and loop.processes.is_main:
            loop.end_if(on_step(number, means) is True, "on_step")
        bar.show(f"epoch {loop.epoch}", loop.loss(), loop.tokens_per_second)

    return tell


def _train_epoch(loop: "Loop[Data]", steps: Iterable[Step[Data]], bar: Progress) -> Epoch:
    """What is left of a pass, its steps counted in the loop's result."""
    result = loop.result
    loop.task.train()
    for step in steps:
        result.steps += 1
        loop.set_progress()
        loop.lr = loop.updates.rate(result.steps, result.total)
        loop.step(step, loop.epoch, loop.lr, result.steps)
        loop.done += 1
        if not loop.reads_late:
            loop.settle()
        bar.advance()
        loop.heed()
    return loop.end_epoch()


def on_gpu(trained: Iterable[nn.Parameter]) -> bool:
    return any(p.is_cuda for p in trained)


class Loop(Generic[Data]):
    """The state of a run: optimiser, place, and running sums of the epoch, over all processes.

    tracker: logs numbers of steps, none unless it is set. total: steps of the run, by which schedules go.
    keeper: keeps the state; where it has found one, the loop goes on from there. updates: how weights move,
    by default as ``config`` says. epoch, done: the one under way, from 1, and how many of its steps are. lr:
    of the last step that was begun. on_step: is told of each step. patience: how many epochs may pass without
    a lower validation cross-entropy, 0 for any. ends: what ends the run after the step or epoch under way, in
    words, empty for nothing.

    reads_late: the numbers of a step, on GPUs, are read in the course of the next one, between its backward
    pass and its update, while the device has work: no step waits but there. A loss that is not finite is
    found then; its own update was not made.
    """

    def __init__(
        self,
        task: Task[Data],
        config: TrainingConfig,
        processes: Processes = ALONE,
        *,
        total: int = 0,
        keeper: Keeper | None = None,
        updates: Updates | None = None,
    ):
        self.task, self.config, self.processes, self.keeper = task, config, processes, keeper
        self.tracker = Tracker()
        self.asked: signals.Asked = lambda: 0
        self.end_agreed = self.save_agreed = False
        self.kept: tuple[int, int] | None = None
        self.updates: Updates = updates or OwnUpdates(task.trained, config)
        self.lr: Rate = 0.0
        self.patience, self.ends = 0, ""
        self.reads_late = on_gpu(task.trained)
        self.begun: Begun | None = None
        self.on_step: OnStep = lambda number, means: None
        self.result = Result([], total=total)
        self.start_epoch(1)
        if keeper and keeper.found:
            keeper.take_up()
            loop_state.put_back(self, keeper.found["training"])

    def start_epoch(self, epoch: int) -> None:
        self.epoch, self.done = epoch, 0
        self.sums: dict[str, Sum] = {}
        self.tokens = self.cells = 0
        self.seconds = 0.0

    def set_progress(self) -> None:
        """Of the objective, by the steps begun."""
        self.task.objective.progress = min(self.result.steps, self.result.total) / self.result.total

    def place(self, why: str) -> str:
        """Where the run ends that ends now."""
        epoch = self.epoch if self.done or self.epoch == 1 else self.epoch - 1
        return f"{why} in epoch {epoch}, step {self.result.steps} of {self.result.total}"

    def step(self, step: Step[Data], epoch: int, lr: Rate, number: int) -> None:
        """One step on this process's share of the data; ``number`` counts steps through the run. ``settle``
        tells its numbers."""
        started = time.perf_counter()
        terms = self.task.terms(step.data, epoch)
        asks = self.asked() > 0, self._is_due()
        also = {"lr": float(lr), **self.tracker.also()} if self.tracker.is_due(number) else None
        begun = Begun(epoch, number, also)
        if self.reads_late:
            begun.late = late = LateSums(step, terms, asks, self.processes)
            self._backward(step, terms, late.rows)
            self.settle()
            self.updates.step(lr, late.not_finite(self.task.objective.weights))
            late.send()
        else:
            begun.sums = read(step, terms, asks, self.processes)
            self._take(begun.sums, epoch, number)
            self._backward(step, terms, {name: max(of.rows, 1) for name, of in begun.sums.terms.items()})
            self.updates.step(lr)
        self.begun = begun
        self.seconds += time.perf_counter() - started

    def _backward(self, step: Step[Data], terms: Terms, rows: Mapping[str, float | Tensor]) -> None:
        """rows: of each term over all processes."""
        weights = self.task.objective.weights
        parts = [weight * terms[name][0] / rows[name] for name, weight in weights.items()]
        # Gradients are averaged over processes: their number makes sums over the rows of all into means.
        share = step.counts * self.processes.count
        # A caller's own backward pass may have left gradients.
        self.updates.zero_grad()
        (share * reduce(torch.add, parts)).backward()

    def settle(self) -> None:
        """Read and tell the numbers of the last step, unless that was done. Raises NonFiniteLoss."""
        begun, self.begun = self.begun, None
        if begun is None:
            return
        if begun.late:
            begun.sums = begun.late.read()
            self._take(begun.sums, begun.epoch, begun.number)
        assert begun.sums
        means = begun.sums.means()
        self.on_step(begun.number, means)
        if begun.also is not None:
            numbers = {"loss": begun.sums.loss(self.task.objective.weights), **means}
            rate = self.tokens_per_second
            self.tracker.log("step", {**numbers, "tokens_per_second": rate, **begun.also}, begun.number)

    def _take(self, sums: StepSums, epoch: int, number: int) -> None:
        """Note what processes agreed on in a step, and add it to the epoch. Raises NonFiniteLoss."""
        self.end_agreed, self.save_agreed = sums.end > 0, sums.save > 0
        self.tokens += sums.tokens
        self.cells += sums.cells
        loss = sums.loss(self.task.objective.weights)
        if not math.isfinite(loss):
            self.result.steps = number
            if self.reads_late:
                self.updates.undo()
            raise NonFiniteLoss(f"the loss is {loss} in epoch {epoch}, step {number}")
        for name, of_step in sums.terms.items():
            of_epoch = self.sums.setdefault(name, Sum())
            of_epoch.value += of_step.value
            of_epoch.rows += of_step.rows

    def means(self) -> dict[str, float]:
        return {name: of_epoch.mean for name, of_epoch in self.sums.items()}

    def loss(self) -> float:
        means = self.means()
        return sum(weight * means[name] for name, weight in self.task.objective.weights.items())

    @property
    def tokens_per_second(self) -> float | None:
        """Of the epoch until now; None where no step counts tokens."""
        return self.tokens / self.seconds if self.tokens else None

    def end_epoch(self) -> Epoch:
        started = time.perf_counter()
        self.settle()
        self.seconds += time.perf_counter() - started
        held_out = self.task.measure(self.epoch, self.asked)
        self.updates.end_epoch(held_out)
        weighed = self.task.objective.weights
        return Epoch(
            self.epoch,
            self.result.steps,
            self.loss(),
            # A mean of no rows is none.
            {name: each.mean for name, each in self.sums.items() if each.rows or name in weighed},
            held_out,
            float(self.lr),
            self.tokens,
            self.seconds,
            padding=1 - self.tokens / self.cells if self.cells else 0.0,
        )

    # --- what is left of it

    def _is_due(self) -> bool:
        return self.keeper is not None and self.processes.is_main and self.keeper.due()

    def heed(self) -> None:
        """After a step, save or raise AskedToEnd where it is time; several processes do what they agreed on
        in it."""
        if self.processes.count == 1:
            self.end_agreed, self.save_agreed = self.asked() > 0, self._is_due()
        end, save = self.end_agreed, self.save_agreed
        if end or save:
            self.settle()
            self.save_agreed = False
        if end:
            raise AskedToEnd(max(self.processes.gather(self.asked())))
        if save:
            self.keep()
        self._heed_end()

    def end_if(self, asked: bool, by: str) -> None:
        """After the step or epoch under way."""
        if asked:
            self.ends = f"ended by {by}"

    def _heed_end(self) -> None:
        """Nothing ends early after the last step."""
        if self.ends and self.result.steps < self.result.total:
            self.settle()
            raise AskedToEnd(0, self.ends)

    def heed_epoch(self) -> None:
        """The same after an epoch."""
        worth_it = self.keeper is not None and self.processes.is_main and self.keeper.is_worth_it()
        self.check_asked()
        (save,) = self.processes.sum([worth_it])
        if save or self.result.steps == self.result.total:
            self.keep()
        self._heed_end()
        self.heed_patience()

    def heed_patience(self) -> None:
        """After an epoch, or where the run goes on from."""
        waited = len(self.result.history) - self.result.best_epoch
        self.end_if(0 < self.patience <= waited, f"early_stopping={self.patience}")
        self._heed_end()

    def check_asked(self) -> None:
        """Raise AskedToEnd, on all processes, once one of them was asked to end."""
        (end,) = self.processes.sum([self.asked() > 0])
        if end:
            raise AskedToEnd(max(self.processes.gather(self.asked())))

    def keep(self) -> None:
        """Save the state, unless that was done at this place. Called on every process."""
        here = self.epoch, self.done
        if self.keeper is None or not self.keeper.minutes or self.kept == here:
            return
        state = loop_state.state_of(self)
        if self.processes.is_main:
            self.keeper.save(state)
        self.kept = here
