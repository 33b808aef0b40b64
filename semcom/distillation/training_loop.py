"""The only training loop, for links and any other classifiers alike. It never looks inside a loss.

What it trains is a ``Task``: of the data of a step the task makes named terms, sums over rows, and the
weights of its objective say how the means of the terms add up to the loss.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from semcom.base import signals
from semcom.base.distributed import ALONE, Processes
from semcom.base.progress import Progress
from semcom.base.tracking import Tracker
from semcom.distillation.history import Epoch, Result
from semcom.distillation.optimizer import AdamW
from semcom.distillation.run_state import Keeper
from semcom.distillation.task import AskedToEnd, NonFiniteLoss, Step, Task, Terms
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.state_file import State

Data = TypeVar("Data")

OnStep = Callable[[int, Mapping[str, float]], None]
"""Of the number of steps done, and the means of the last one's terms, which its weights before that step
gave."""


def learning_rate(step: int, total: int, peak: float, warmup: int) -> float:
    """Linear warm-up over ``warmup`` steps, then linear decay to zero at ``total``. Steps count from 1."""
    warmup = max(1, min(warmup, total // 5))
    return peak * min(step / warmup, (total - step + 1) / max(1, total - warmup + 1))


def run(
    loop: "Loop[Data]",
    passes: Iterable[Iterable[Step[Data]]],
    *,
    on_epoch: Callable[[Epoch, bool], None],
    on_step: OnStep | None = None,
    quiet: bool,
) -> Result:
    """Train on the steps of all passes, an epoch each; of a training that goes on, of what is left of them.

    on_epoch(epoch, is_best) runs after each epoch's validation, on the main process, for saving; on_step
    after each step there. A loss that is not finite and a signal end the run early, the latter after a whole
    step; the result says so, on every process alike.
    """
    result = loop.result
    done, total = result.steps, result.total
    bar = Progress(total, f"epoch {loop.epoch}", quiet=quiet, done=done, leave=True)

    def log(epoch: Epoch) -> None:
        is_best = result.log(epoch)
        if loop.processes.is_main:
            on_epoch(epoch, is_best)
            if not quiet:
                bar.say(epoch.lines(is_best))

    try:
        with signals.noted(signals.ALL if loop.keeper else signals.CTRL_C) as loop.asked:
            for steps in passes:
                log(_train_epoch(loop, steps, bar, on_step))
                loop.start_epoch(loop.epoch + 1)
                loop.heed_epoch()
            # Asked while the state was saved for the last time.
            loop.check_asked()
    except NonFiniteLoss as error:
        result.failed = str(error)
    except AskedToEnd as end:
        loop.keep()
        result.stopped, result.signal = loop.place(), end.number
    except KeyboardInterrupt as interrupt:
        result.stopped, result.signal = loop.place(), signals.number_of(interrupt)
    finally:
        bar.close()
    return result


def _train_epoch(
    loop: "Loop[Data]", steps: Iterable[Step[Data]], bar: Progress, on_step: OnStep | None
) -> Epoch:
    """What is left of a pass, its steps counted in the loop's result."""
    result = loop.result
    on_step = on_step if loop.processes.is_main else None
    loop.task.train()
    for step in steps:
        result.steps += 1
        loop.set_progress()
        means = loop.step(step, loop.epoch, loop.lr, result.steps)
        loop.done += 1
        if on_step:
            on_step(result.steps, means)
        if loop.tracker.is_due(result.steps):
            loop.tracker.log("step", loop.numbers(means), result.steps)
        bar.show(f"epoch {loop.epoch}", loop.loss(), loop.tokens_per_second)
        bar.advance()
        loop.heed()
    return loop.end_epoch()


@dataclass
class Sum:
    """Of a term, over rows and processes."""

    value: float = 0.0
    rows: float = 0

    @property
    def mean(self) -> float:
        return self.value / max(self.rows, 1)


class Loop(Generic[Data]):
    """The state of a run: optimiser, place, and running sums of the epoch, over all processes.

    tracker: logs numbers of steps, none unless it is set. total: steps of the run, by which schedules go.
    keeper: keeps the state; where it has found one, the loop goes on from there. epoch, done: the one under
    way, from 1, and how many of its steps are.
    """

    def __init__(
        self,
        task: Task[Data],
        config: TrainingConfig,
        processes: Processes = ALONE,
        *,
        total: int = 0,
        keeper: Keeper | None = None,
    ):
        self.task, self.config, self.processes, self.keeper = task, config, processes, keeper
        self.tracker = Tracker()
        self.asked: signals.Asked = lambda: 0
        self.end_agreed = self.save_agreed = False
        self.kept: tuple[int, int] | None = None
        self.optimizer = AdamW(task.trained, config.weight_decay)
        self.result = Result([], total=total)
        self.start_epoch(1)
        if keeper and keeper.found:
            keeper.take_up()
            self.load_state(keeper.found["training"])

    def start_epoch(self, epoch: int) -> None:
        self.epoch, self.done = epoch, 0
        self.sums: dict[str, Sum] = {}
        self.tokens = self.cells = 0
        self.seconds = 0.0

    def set_progress(self) -> None:
        """Of the objective, by the steps begun."""
        self.task.objective.progress = min(self.result.steps, self.result.total) / self.result.total

    @property
    def lr(self) -> float:
        """Of the last step that was begun."""
        # Passes may be longer than the one that was counted.
        step = min(self.result.steps, self.result.total)
        return learning_rate(step, self.result.total, self.config.lr, self.config.warmup_steps)

    def place(self) -> str:
        """Where the run ends that is interrupted now."""
        epoch = self.epoch if self.done or self.epoch == 1 else self.epoch - 1
        return f"interrupted in epoch {epoch}, step {self.result.steps} of {self.result.total}"

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
        """Each term's sum and rows, tokens and cells counted on the way; and whether a process was asked to
        end, or the state is to be saved, after the step."""
        values = [step.counts * float(value.detach()) for value, _ in terms.values()]
        rows = [step.counts * count for _, count in terms.values()]
        positions = [step.counts * step.tokens, step.counts * step.cells]
        end, save, tokens, cells, *of_all = self.processes.sum(
            [self.asked() > 0, self._is_due(), *positions, *values, *rows]
        )
        self.end_agreed, self.save_agreed = end > 0, save > 0
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

    @property
    def tokens_per_second(self) -> float | None:
        """Of the epoch until now; None where no step counts tokens."""
        return self.tokens / self.seconds if self.tokens else None

    def numbers(self, means: Mapping[str, float]) -> dict[str, float | None]:
        """Of a step whose terms have these means, for the log of a tracker."""
        loss = sum(weight * means[name] for name, weight in self.task.objective.weights.items())
        rate = self.tokens_per_second
        return {"loss": loss, **means, "lr": self.lr, "tokens_per_second": rate, **self.tracker.also()}

    def end_epoch(self) -> Epoch:
        return Epoch(
            self.epoch,
            self.result.steps,
            self.loss(),
            self.means(),
            self.task.measure(self.epoch, self.asked),
            self.lr,
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
        if self.end_agreed:
            raise AskedToEnd(max(self.processes.gather(self.asked())))
        if self.save_agreed:
            self.keep()

    def heed_epoch(self) -> None:
        """The same after an epoch."""
        worth_it = self.keeper is not None and self.processes.is_main and self.keeper.is_worth_it()
        self.check_asked()
        (save,) = self.processes.sum([worth_it])
        if save or self.result.steps == self.result.total:
            self.keep()

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
        state = self.state()
        if self.processes.is_main:
            self.keeper.save(state)
        self.kept = here

    def state(self) -> State:
        result = self.result
        return {
            "epoch": self.epoch,
            "done": self.done,
            "steps": result.steps,
            "total": result.total,
            "history": [asdict(epoch) for epoch in result.history],
            "best": [result.best_loss, result.best_epoch],
            "sums": {name: [of_epoch.value, of_epoch.rows] for name, of_epoch in self.sums.items()},
            "positions": [self.tokens, self.cells],
            "seconds": self.seconds,
            "optimizer": self.optimizer.state_dict(),
            "task": self.task.state(),
        }

    def load_state(self, state: State) -> None:
        history = [Epoch(**epoch) for epoch in state["history"]]
        best_loss, best_epoch = state["best"]
        self.result = Result(history, best_loss, best_epoch, state["steps"], state["total"])
        self.start_epoch(state["epoch"])
        self.done = state["done"]
        self.sums = {name: Sum(*of_epoch) for name, of_epoch in state["sums"].items()}
        self.tokens, self.cells = state["positions"]
        self.seconds = state["seconds"]
        self.task.load_state(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        # What is logged of an epoch whose steps are all done is by the last of them.
        self.set_progress()
        self.kept = self.epoch, self.done
