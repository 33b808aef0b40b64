"""Training of a link on sentences, teachers and students alike: which batches, under which draws, over which
processes."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from inspect import signature
from itertools import count, cycle, islice
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from semcom.base import precision, signals
from semcom.base.distributed import ALONE, Processes
from semcom.base.tracking import Tracker
from semcom.data.batching import Batch, Encoded, by_length, collate, shuffled
from semcom.distillation import training_loop
from semcom.distillation.history import Epoch, Result
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.run_state import Keeper, load_weights
from semcom.distillation.task import AskedToEnd, NonFiniteLoss, Step, Terms
from semcom.distillation.training_loop import Loop, OnStep
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.layers import dropout_state, load_dropout_state, seed_dropout
from semcom.models.state_file import State

VALIDATION_SEED = 0
"""The same draws for every run, so that best losses compare across seeds, temperatures and losses."""
TIMED_STEPS = 12
COUNTED_EPOCHS = 100
"""Epochs of which every batch is counted; those of a longer run have as many on average."""

LinkObjective = TransceiverObjective | DistillationObjective


def validate(
    objective: LinkObjective,
    batches: Sequence[Batch],
    width: int,
    device: torch.device,
    processes: Processes = ALONE,
    asked: signals.Asked = lambda: 0,
) -> float:
    """Mean validation cross-entropy in nats a target token, under draws that never change; each process takes
    its share of ``batches``. Raises AskedToEnd, on all, once one was."""
    objective.eval()
    total, rows = 0.0, 0.0
    with torch.inference_mode():
        for batch in processes.share(batches):
            if asked():
                break
            batch = batch.to(device)
            draw = batch.draw(objective.channel, width, seed=VALIDATION_SEED, number=0)
            value, row_count = objective(batch, draw)["ce"]
            total, rows = total + float(value), rows + row_count
    objective.train()
    total, rows, ends = processes.sum([total, rows, asked() > 0])
    if ends:
        raise AskedToEnd(max(processes.gather(asked())))
    return total / rows


class LinkTask:
    """Training of what requires gradients in ``objective``, on batches whose draw number is the epoch.

    held_out: validation batches. width: C.
    """

    # Many arguments: those of ``fit`` that a step needs.
    def __init__(
        self,
        objective: LinkObjective,
        held_out: Sequence[Batch],
        config: TrainingConfig,
        *,
        width: int,
        device: torch.device,
        seed: int,
        processes: Processes = ALONE,
    ):
        self.objective, self.held_out, self.config = objective, held_out, config
        self.width, self.device, self.seed, self.processes = width, device, seed, processes
        self.trained = [p for p in objective.parameters() if p.requires_grad]
        self.forward = _averaging(objective) if processes.count > 1 else objective

    def train(self) -> None:
        self.objective.train()

    def terms(self, data: Batch, epoch: int) -> Terms:
        batch = data.to(self.device)
        draw = batch.draw(self.objective.channel, self.width, seed=self.seed, number=epoch)
        with precision.products(self.config.precision, self.device):
            return self.forward(batch, draw)

    def measure(self, epoch: int, asked: signals.Asked) -> dict[str, float]:
        ce = validate(self.objective, self.held_out, self.width, self.device, self.processes, asked)
        if not math.isfinite(ce):
            raise NonFiniteLoss(f"the validation loss is {ce} in epoch {epoch}")
        return {"ce": ce}

    def state(self) -> State:
        """Weights by their names in the objective, and the generator of dropout of each process."""
        return {
            "weights": dict(self._named()),
            "dropout": self.processes.gather(dropout_state(self.objective, self.device)),
        }

    def load_state(self, state: State) -> None:
        load_weights(self._named(), state["weights"])
        load_dropout_state(self.objective, self.device, state["dropout"][self.processes.rank])

    def _named(self) -> dict[str, torch.Tensor]:
        return {name: p for name, p in self.objective.named_parameters() if p.requires_grad}


def _averaging(objective: LinkObjective) -> DistributedDataParallel:
    """It starts all processes from the main one's weights and averages gradients; the buffers are
    constants."""
    names = ("forward_sync_buffers", "broadcast_buffers")
    known = signature(DistributedDataParallel).parameters
    # The name changed between versions of torch.
    constants: dict[str, Any] = {next(name for name in names if name in known): False}
    return DistributedDataParallel(objective, gradient_as_bucket_view=True, **constants)


def step_of(batch: Batch, counts: bool = True) -> Step[Batch]:
    return Step(batch, batch.target_tokens, batch.target_mask.numel(), counts)


# Many arguments: what a run is made of; callers name each.
def fit(
    objective: LinkObjective,
    train: Sequence[Encoded],
    validation: Sequence[Encoded],
    config: TrainingConfig,
    *,
    width: int,
    device: torch.device,
    seed: int,
    quiet: bool,
    on_epoch: Callable[[Epoch, bool], None],
    on_step: OnStep | None = None,
    processes: Processes = ALONE,
    keeper: Keeper | None = None,
    tracker: Tracker | None = None,
) -> Result:
    """Train what requires gradients in ``objective``, as ``training_loop.run`` does, on from what ``keeper``
    has found.

    width: C. Batches are formed once for all processes; each takes its share of every one.
    """
    objective.to(device).train()
    # Seeds end below 2^31: each process drops other units, the main one those of a process alone.
    dropout_seed = seed + 2**31 * processes.rank
    seed_dropout(objective, dropout_seed)
    held_out = by_length(validation, config.batch_size, config.batch_tokens)
    task = LinkTask(objective, held_out, config, width=width, device=device, seed=seed, processes=processes)
    try:
        total = (keeper.total if keeper else 0) or _total(task, train)
    except NonFiniteLoss as error:
        return Result([], failed=str(error))
    seed_dropout(objective, dropout_seed)
    loop = Loop(task, config, processes, total=total, keeper=keeper)
    loop.tracker = tracker or loop.tracker
    passes = _passes(loop, task, train)
    return training_loop.run(loop, passes, on_epoch=on_epoch, on_step=on_step, quiet=quiet)


def _total(task: LinkTask, train: Sequence[Encoded]) -> int:
    """Steps of the run. ``--minutes`` are timed, which uses up random numbers of dropout."""
    config, processes = task.config, task.processes
    if config.minutes:
        seconds = sum(processes.gather(_seconds_a_step(task, train))) / processes.count
        return max(1, int(config.minutes * 60 / seconds))
    return config.steps or _steps_of_epochs(train, config, task.seed)


def _passes(loop: Loop[Batch], task: LinkTask, train: Sequence[Encoded]) -> Iterator[Iterator[Step[Batch]]]:
    """Passes over the sentences, each in an order of its own, until the run has its steps: from the place on
    where the loop stands."""
    config, done = task.config, loop.done
    left = loop.result.total - loop.result.steps + done
    for epoch in count(loop.epoch):
        if not left:
            return
        batches = shuffled(train, config.batch_size, task.seed, epoch, config.batch_tokens)[:left]
        yield _shares(batches[done:], task.processes)
        left -= len(batches)
        done = 0


def _shares(batches: Sequence[Sequence[Encoded]], processes: Processes) -> Iterator[Step[Batch]]:
    """This process's share of every batch; where it has none, the first sentence stands in."""
    for encoded in batches:
        mine = processes.share(encoded)
        yield step_of(collate(mine or encoded[:1]), counts=bool(mine))


def _steps_of_epochs(train: Sequence[Encoded], config: TrainingConfig, seed: int) -> int:
    if not config.batch_tokens:
        return config.epochs * math.ceil(len(train) / config.batch_size)
    # Under a token budget every epoch's order cuts into another number of batches.
    counted = min(config.epochs, COUNTED_EPOCHS)
    batches = sum(
        len(shuffled(train, config.batch_size, seed, epoch, config.batch_tokens))
        for epoch in range(1, counted + 1)
    )
    return batches if counted == config.epochs else round(batches * config.epochs / counted)


def _seconds_a_step(task: LinkTask, train: Sequence[Encoded]) -> float:
    """Time a few steps on a copy, so that ``--minutes`` becomes a number of steps that ``--steps`` repeats
    exactly."""
    config, processes = task.config, task.processes
    copy = LinkTask(
        deepcopy(task.objective),
        (),
        config,
        width=task.width,
        device=task.device,
        seed=task.seed,
        processes=processes,
    )
    loop = Loop(copy, config, processes)
    batches = shuffled(train, config.batch_size, task.seed, 1, config.batch_tokens)
    steps = _shares(list(islice(cycle(batches), TIMED_STEPS)), processes)
    times = []
    started = time.perf_counter()
    for number, step in enumerate(steps):
        loop.step(step, 1, 0.0, 0)
        now = time.perf_counter()
        if number >= 2:
            times.append(now - started)
        started = now
    return sum(times) / len(times)
