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

from semcom.base import precision
from semcom.base.distributed import ALONE, Processes
from semcom.data.batching import Batch, Encoded, by_length, collate, shuffled
from semcom.distillation import training_loop
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.training_loop import Epoch, Loop, NonFiniteLoss, OnStep, Result, Step, Terms
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.layers import seed_dropout

VALIDATION_SEED = 0
"""The same draws for every run, so that best losses compare across seeds, temperatures and losses."""
TIMED_STEPS = 12

LinkObjective = TransceiverObjective | DistillationObjective


def validate(
    objective: LinkObjective,
    batches: Sequence[Batch],
    width: int,
    device: torch.device,
    processes: Processes = ALONE,
) -> float:
    """Mean validation cross-entropy in nats a target token, under draws that never change; each process takes
    its share of ``batches``."""
    objective.eval()
    total, rows = 0.0, 0.0
    with torch.inference_mode():
        for batch in processes.share(batches):
            batch = batch.to(device)
            draw = batch.draw(objective.channel, width, seed=VALIDATION_SEED, number=0)
            value, row_count = objective(batch, draw)["ce"]
            total, rows = total + float(value), rows + row_count
    objective.train()
    total, rows = processes.sum([total, rows])
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

    def measure(self, epoch: int) -> dict[str, float]:
        ce = validate(self.objective, self.held_out, self.width, self.device, self.processes)
        if not math.isfinite(ce):
            raise NonFiniteLoss(f"the validation loss is {ce} in epoch {epoch}")
        return {"ce": ce}


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
) -> Result:
    """Train what requires gradients in ``objective``, as ``training_loop.run`` does.

    width: C. Batches are formed once for all processes; each takes its share of every one.
    """
    objective.to(device).train()
    # Seeds end below 2^31: each process drops other units, the main one those of a process alone.
    dropout_seed = seed + 2**31 * processes.rank
    seed_dropout(objective, dropout_seed)
    held_out = by_length(validation, config.batch_size, config.batch_tokens)
    task = LinkTask(objective, held_out, config, width=width, device=device, seed=seed, processes=processes)
    loop = Loop(task, config, processes)
    total = config.steps or _steps_of_epochs(train, config, seed)
    if config.minutes:
        try:
            seconds = sum(processes.gather(_seconds_a_step(task, train))) / processes.count
        except NonFiniteLoss as error:
            return Result([], failed=str(error))
        total = max(1, int(config.minutes * 60 / seconds))
        seed_dropout(objective, dropout_seed)
    passes = _passes(task, train, total)
    return training_loop.run(loop, passes, total, on_epoch=on_epoch, on_step=on_step, quiet=quiet)


def _passes(task: LinkTask, train: Sequence[Encoded], total: int) -> Iterator[Iterator[Step[Batch]]]:
    """Passes over the sentences, each in an order of its own, until there are ``total`` steps."""
    config = task.config
    for epoch in count(1):
        batches = shuffled(train, config.batch_size, task.seed, epoch, config.batch_tokens)[:total]
        yield _shares(batches, task.processes)
        total -= len(batches)
        if not total:
            return


def _shares(batches: Sequence[Sequence[Encoded]], processes: Processes) -> Iterator[Step[Batch]]:
    """This process's share of every batch; where it has none, the first sentence stands in."""
    for encoded in batches:
        mine = processes.share(encoded)
        yield step_of(collate(mine or encoded[:1]), counts=bool(mine))


def _steps_of_epochs(train: Sequence[Encoded], config: TrainingConfig, seed: int) -> int:
    if not config.batch_tokens:
        return config.epochs * math.ceil(len(train) / config.batch_size)
    # Under a token budget every epoch's order cuts into another number of batches.
    return sum(
        len(shuffled(train, config.batch_size, seed, epoch, config.batch_tokens))
        for epoch in range(1, config.epochs + 1)
    )


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
