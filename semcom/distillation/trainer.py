"""Training of a link on sentences, teachers and students alike: which batches, under which draws, over which
processes."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from copy import deepcopy
from inspect import signature
from itertools import count, cycle, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from semcom.base import precision, signals
from semcom.base.ahead import ahead
from semcom.base.distributed import ALONE, Processes
from semcom.base.side_by_side import GoOn, side_by_side
from semcom.base.tracking import Tracker
from semcom.data.batching import Batch, Batches, Encoded, Places, by_length, collate, shuffled
from semcom.distillation import training_loop
from semcom.distillation.history import Epoch, Result
from semcom.distillation.kept_signals import LEAST_PASSES, KeptSignals
from semcom.distillation.link_data import LinkData, sent_ahead
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
AHEAD = 4
"""Steps whose data are made while another is taken."""
COUNTED_EPOCHS, COUNTED_SENTENCES = 100, 4_000_000
"""Epochs, and sentences that they may have in all, of which every batch is counted, one epoch at least; the
others of a run have as many on average."""

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

    def of_batch(batch: Batch, go_on: GoOn) -> tuple[Tensor, int]:
        go_on()
        _heed(asked)
        batch = batch.to(device)
        draw = batch.draw(objective.channel, width, seed=VALIDATION_SEED, number=0)
        return objective(batch, draw)["ce"]

    found: list[tuple[Tensor, int]] = []
    with suppress(AskedToEnd):
        found = side_by_side(of_batch, processes.share(batches), device)
    # Read once all is under way: to read batch by batch is to wait for a GPU.
    total, rows = sum(float(value) for value, _ in found), float(sum(count for _, count in found))
    objective.train()
    total, rows, ends = processes.sum([total, rows, asked() > 0])
    if ends:
        raise AskedToEnd(max(processes.gather(asked())))
    return total / rows


def _heed(asked: signals.Asked) -> None:
    """Raise AskedToEnd once this process was."""
    if asked():
        raise AskedToEnd(asked())


class LinkTask:
    """Training of what requires gradients in ``objective``, on batches whose draw number is the epoch.

    held_out: validation batches. width: C. kept: signals that no draw changes, once ``keep_signals`` was
    called and where they are worth their room.
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
        self.kept: KeptSignals | None = None

    def train(self) -> None:
        self.objective.train()

    @property
    def unchanging(self) -> Sequence[nn.Module]:
        """Transmitters whose signals can be kept."""
        return self.objective.unchanging if isinstance(self.objective, DistillationObjective) else ()

    def keep_signals(self, train: Sequence[Encoded], *, asked: signals.Asked, quiet: bool) -> None:
        """Those of the sentences to train on, in the precision of steps. Raises AskedToEnd once this process
        was."""
        objective = self.objective
        kept = KeptSignals.room_for(train, self.unchanging, self.width)
        if kept is None or not isinstance(objective, DistillationObjective):
            return

        def signals_of(batch: Batch) -> list[Tensor]:
            with precision.products(self.config.precision, self.device):
                return objective.signals(batch)

        kept.fill(signals_of, train, device=self.device, go_on=lambda: _heed(asked), quiet=quiet)
        self.kept = kept

    def step_at(
        self, train: Sequence[Encoded], places: Places, epoch: int, *, counts: bool = True
    ) -> Step[LinkData]:
        """Of the sentences at ``places``, made on the CPU; any thread may."""
        batch = collate([train[place] for place in places.tolist()])
        signals = self.kept.of(places, batch.source_mask) if self.kept else ()
        return self.step_of(batch, epoch, signals, counts=counts)

    def step_of(
        self, batch: Batch, epoch: int, signals: Sequence[torch.Tensor] = (), *, counts: bool = True
    ) -> Step[LinkData]:
        """signals: those kept of the batch."""
        draw = batch.draw(self.objective.channel, self.width, seed=self.seed, number=epoch)
        data = LinkData(batch, draw, signals)
        return Step(data, batch.target_tokens, batch.target_mask.numel(), counts)

    def terms(self, data: LinkData, epoch: int) -> Terms:
        data = data.to(self.device)
        kept = [data.signals] if data.signals else []
        with precision.products(self.config.precision, self.device):
            return self.forward(data.batch, data.draw, *kept)

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

    def _named(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.objective.named_parameters() if p.requires_grad}


def _averaging(objective: LinkObjective) -> DistributedDataParallel:
    """It starts all processes from the main one's weights and averages gradients; the buffers are
    constants."""
    names = ("forward_sync_buffers", "broadcast_buffers")
    known = signature(DistributedDataParallel).parameters
    # The name changed between versions of torch.
    constants: dict[str, Any] = {next(name for name in names if name in known): False}
    return DistributedDataParallel(objective, gradient_as_bucket_view=True, **constants)


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
    with closing(_passes(loop, task, train, quiet)) as passes:
        return training_loop.run(loop, passes, on_epoch=on_epoch, on_step=on_step, quiet=quiet)


def _total(task: LinkTask, train: Sequence[Encoded]) -> int:
    """Steps of the run. ``--minutes`` are timed, which uses up random numbers of dropout."""
    config = task.config
    if not config.minutes:
        return config.steps or _steps_of_epochs(train, config, task.seed)
    total = _steps_within(config.minutes, task, train, keeps=False)
    if _are_worth_keeping(total, task, train):
        total = _steps_within(config.minutes, task, train, keeps=True)
    return total


def _steps_within(minutes: float, task: LinkTask, train: Sequence[Encoded], *, keeps: bool) -> int:
    """keeps: whether signals are kept meanwhile."""
    processes = task.processes
    seconds = sum(processes.gather(_seconds_a_step(task, train, keeps))) / processes.count
    return max(1, int(minutes * 60 / seconds))


def _passes(
    loop: Loop[LinkData], task: LinkTask, train: Sequence[Encoded], quiet: bool
) -> Generator[Iterator[Step[LinkData]], None, None]:
    """Passes over the sentences, each in an order of its own, until the run has its steps: from the place on
    where the loop stands."""
    config, done = task.config, loop.done
    if _are_worth_keeping(loop.result.total, task, train):
        with suppress(AskedToEnd):
            task.keep_signals(train, asked=loop.asked, quiet=quiet)
        loop.check_asked()
    left = loop.result.total - loop.result.steps + done
    for epoch in count(loop.epoch):
        if not left:
            return
        batches = shuffled(train, config.batch_size, task.seed, epoch, config.batch_tokens)[:left]
        with ahead(sent_ahead(_shares(task, batches[done:], epoch), task.device), AHEAD) as steps:
            yield steps
        left -= len(batches)
        done = 0


def _are_worth_keeping(total: int, task: LinkTask, train: Sequence[Encoded]) -> bool:
    """Whether signals are: each process makes all of them, to save those of its share of ``total`` steps."""
    if not task.unchanging:
        return False
    return total >= LEAST_PASSES * task.processes.count * _steps_of_epoch(train, task.config, task.seed, 1)


def _shares(task: LinkTask, batches: Batches, epoch: int) -> Iterator[Step[LinkData]]:
    """This process's share of every batch; where it has none, the first sentence stands in."""
    for places in batches.places:
        mine = places[task.processes.rank :: task.processes.count]
        counts = len(mine) > 0
        yield task.step_at(batches.encoded, mine if counts else places[:1], epoch, counts=counts)


def _steps_of_epochs(train: Sequence[Encoded], config: TrainingConfig, seed: int) -> int:
    if not config.batch_tokens:
        return config.epochs * _steps_of_epoch(train, config, seed, 1)
    # Under a token budget every epoch's order cuts into another number of batches.
    counted = min(config.epochs, COUNTED_EPOCHS, max(1, COUNTED_SENTENCES // len(train)))
    batches = sum(_steps_of_epoch(train, config, seed, epoch) for epoch in range(1, counted + 1))
    return batches if counted == config.epochs else round(batches * config.epochs / counted)


def _steps_of_epoch(train: Sequence[Encoded], config: TrainingConfig, seed: int, epoch: int) -> int:
    if not config.batch_tokens:
        return math.ceil(len(train) / config.batch_size)
    return len(shuffled(train, config.batch_size, seed, epoch, config.batch_tokens))


def _seconds_a_step(task: LinkTask, train: Sequence[Encoded], keeps: bool) -> float:
    """Time a few steps on a copy, so that ``--minutes`` becomes a number of steps that ``--steps`` repeats
    exactly. keeps: whether their signals are there."""
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
    batches = shuffled(train, config.batch_size, task.seed, 1, config.batch_tokens)
    timed = _alone([*islice(cycle(batches.places), TIMED_STEPS)], train)
    if keeps:
        copy.keep_signals(timed.encoded, asked=lambda: 0, quiet=True)
    loop = Loop(copy, config, processes)
    times = []
    with ahead(sent_ahead(_shares(copy, timed, 1), copy.device), AHEAD) as steps:
        started = time.perf_counter()
        for number, step in enumerate(steps):
            loop.step(step, 1, 0.0, 0)
            now = time.perf_counter()
            if number >= 2:
                times.append(now - started)
            started = now
    loop.settle()
    return sum(times) / len(times)


def _alone(batches: Sequence[Places], train: Sequence[Encoded]) -> Batches:
    """The batches, of no sentences but theirs."""
    places = np.unique(np.concatenate(batches))
    return Batches([train[place] for place in places], [np.searchsorted(places, batch) for batch in batches])
