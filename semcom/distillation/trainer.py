"""The only training loop, for teachers and students alike. It never looks inside a loss."""

import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from inspect import signature
from itertools import cycle, islice

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from semcom.base import precision
from semcom.base.distributed import ALONE, Processes
from semcom.data.batching import Batch, Encoded, by_length, collate, shuffled
from semcom.distillation.objectives import Terms
from semcom.distillation.optimizer import AdamW
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.layers import seed_dropout

VALIDATION_SEED = (
    0  # the same draws for every run, so that best losses compare across seeds, temperatures and losses
)
TIMED_STEPS = 12


@dataclass(frozen=True)
class Epoch:
    """What is logged of an epoch, over all processes. Losses are means over rows; lr is the last step's;
    seconds are training time alone; padding is its share of the target positions."""

    epoch: int
    steps: int
    loss: float
    parts: dict[str, float]
    validation: float
    lr: float
    target_tokens: int
    seconds: float
    padding: float

    def row(self) -> dict[str, float]:
        fields = asdict(self)
        parts = {f"train_{name}": value for name, value in fields.pop("parts").items()}
        return {**fields, **parts, "tokens_per_second": self.target_tokens / max(self.seconds, 1e-9)}


@dataclass
class Result:
    """history: an ``Epoch`` each. best_loss: lowest validation cross-entropy, at ``best_epoch``.

    stopped: where the user interrupted it. failed: where a loss was not finite. Both empty for a whole run.
    """

    history: list[Epoch]
    best_loss: float = math.inf
    best_epoch: int = 0
    steps: int = 0
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


def validate(
    objective: nn.Module,
    batches: Sequence[Batch],
    width: int,
    device: torch.device,
    processes: Processes = ALONE,
) -> float:
    """Mean validation cross-entropy in nats a target token, under draws that never change; each process takes
    its share of ``batches``."""
    objective.eval()
    total, rows = 0.0, 0
    with torch.inference_mode():
        for batch in processes.share(batches):
            batch = batch.to(device)
            value, count = objective(
                batch, batch.draw(objective.channel, width, seed=VALIDATION_SEED, number=0)
            )["ce"]
            total, rows = total + float(value), rows + count
    objective.train()
    total, rows = processes.sum([total, rows])
    return total / rows


def fit(
    objective: nn.Module,
    train: Sequence[Encoded],
    validation: Sequence[Encoded],
    config: TrainingConfig,
    *,
    width: int,
    device: torch.device,
    seed: int,
    quiet: bool,
    on_epoch: Callable[[Epoch, bool], None],
    processes: Processes = ALONE,
) -> Result:
    """Train what requires gradients in ``objective``.

    width: C. on_epoch(epoch, is_best) runs after each epoch's validation, on the main process, for saving.
    Draw number = epoch. A loss that is not finite and a keyboard interrupt end the run early; the result says
    so, on every process alike. Batches are formed once for all processes; each takes its share of every one.
    """
    objective.to(device).train()
    # Seeds end below 2^31: each process drops other units, the main one those of a process alone.
    dropout_seed = seed + 2**31 * processes.rank
    seed_dropout(objective, dropout_seed)
    loop = Loop(objective, config, width, device, seed, processes)
    total = config.steps or _steps_of_epochs(train, config, seed)
    held_out = by_length(validation, config.batch_size, config.batch_tokens)
    result = Result([])
    if config.minutes:
        try:
            seconds = sum(processes.gather(_seconds_a_step(loop, train))) / processes.count
            total = max(1, int(config.minutes * 60 / seconds))
        except NonFiniteLoss as error:
            result.failed = str(error)
            return result
        seed_dropout(objective, dropout_seed)
    quiet = quiet or not processes.is_main
    bar = tqdm(total=total, disable=quiet, unit="step", dynamic_ncols=True, mininterval=0.5)
    try:
        epoch = 0
        with processes.noted_interrupts() as loop.interrupted:
            while result.steps < total:
                epoch += 1
                loop.start_epoch()
                for encoded in shuffled(train, config.batch_size, seed, epoch, config.batch_tokens)[
                    : total - result.steps
                ]:
                    result.steps += 1
                    lr = learning_rate(result.steps, total, config.lr, config.warmup_steps)
                    objective.progress = result.steps / total
                    mine = processes.share(encoded)
                    loop.step(collate(mine or encoded[:1]), epoch, lr, result.steps, stands_in=not mine)
                    bar.update()
                    bar.set_postfix_str(loop.postfix(epoch), refresh=False)
                done = loop.end_epoch(
                    epoch, result.steps, lr, validate(objective, held_out, width, device, processes)
                )
                if not math.isfinite(done.validation):
                    raise NonFiniteLoss(f"the validation loss is {done.validation} in epoch {epoch}")
                is_best = done.validation < result.best_loss
                if is_best:
                    result.best_loss, result.best_epoch = done.validation, epoch
                result.history.append(done)
                if processes.is_main:
                    on_epoch(done, is_best)
                if not quiet:
                    parts = "  ".join(f"{name} {value:.4f}" for name, value in done.parts.items())
                    bar.write(
                        f"epoch {epoch:3d}  loss {done.loss:.4f}  {parts}  validation {done.validation:.4f}"
                        f"{' *' if is_best else '  '}  {done.target_tokens / done.seconds:,.0f} tokens/s, padding {done.padding:.1%}"
                    )
    except NonFiniteLoss as error:
        result.failed = str(error)
    except KeyboardInterrupt:
        result.stopped = f"interrupted in epoch {epoch}, step {result.steps} of {total}"
    finally:
        bar.close()
    return result


class NonFiniteLoss(Exception):
    """A training or validation loss is infinite or not a number."""


class Loop:
    """The state of a run: optimiser and running sums of the epoch, over all processes."""

    def __init__(
        self,
        objective: nn.Module,
        config: TrainingConfig,
        width: int,
        device: torch.device,
        seed: int,
        processes: Processes = ALONE,
    ):
        self.objective, self.config, self.width, self.device, self.seed = (
            objective,
            config,
            width,
            device,
            seed,
        )
        self.processes = processes
        self.interrupted: Callable[[], bool] = lambda: False
        self.forward: nn.Module = objective
        if processes.count > 1:
            # It starts all from the main process's weights and averages gradients; the buffers are constants.
            buffers = next(
                flag
                for flag in ("forward_sync_buffers", "broadcast_buffers")
                if flag in signature(DistributedDataParallel).parameters
            )
            self.forward = DistributedDataParallel(
                objective, gradient_as_bucket_view=True, **{buffers: False}
            )
        self.trained = [p for p in objective.parameters() if p.requires_grad]
        self.optimizer = AdamW(self.trained, config.weight_decay)
        self.start_epoch()

    def start_epoch(self) -> None:
        self.sums: dict[str, list[float]] = {}
        self.tokens = self.cells = 0
        self.seconds = 0.0

    def step(self, batch: Batch, epoch: int, lr: float, step: int, *, stands_in: bool = False) -> None:
        """One step on this process's share of a batch; ``stands_in``: it has none, and ``batch`` counts for
        nothing."""
        started = time.perf_counter()
        batch = batch.to(self.device)
        draw = batch.draw(self.objective.channel, self.width, seed=self.seed, number=epoch)
        with precision.products(self.config.precision, self.device):
            terms: Terms = self.forward(batch, draw)
        counted = 0 if stands_in else 1
        of_all = self.processes.sum(
            [
                self.interrupted(),
                counted * batch.target_tokens,
                counted * batch.target_mask.numel(),
                *(counted * float(value.detach()) for value, _ in terms.values()),
                *(counted * rows for _, rows in terms.values()),
            ]
        )
        interrupted, tokens, cells = of_all[:3]
        sums, rows = (
            dict(zip(terms, part)) for part in (of_all[3 : 3 + len(terms)], of_all[3 + len(terms) :])
        )
        if interrupted:
            raise KeyboardInterrupt
        loss = sum(
            weight * sums[name] / max(rows[name], 1) for name, weight in self.objective.weights.items()
        )
        if not math.isfinite(loss):
            raise NonFiniteLoss(f"the loss is {loss} in epoch {epoch}, step {step}")
        # Gradients are averaged over processes: their number makes sums over the rows of all into means.
        share = counted * self.processes.count
        mean = share * sum(
            weight * terms[name][0] / max(rows[name], 1) for name, weight in self.objective.weights.items()
        )
        mean.backward()
        nn.utils.clip_grad_norm_(self.trained, self.config.clip)
        self.optimizer.step(lr)
        self.optimizer.zero_grad()
        for name in terms:
            total = self.sums.setdefault(name, [0.0, 0])
            total[0] += sums[name]
            total[1] += rows[name]
        self.tokens += int(tokens)
        self.cells += int(cells)
        self.seconds += time.perf_counter() - started

    def means(self) -> dict[str, float]:
        return {name: total / max(rows, 1) for name, (total, rows) in self.sums.items()}

    def loss(self) -> float:
        means = self.means()
        return sum(weight * means[name] for name, weight in self.objective.weights.items())

    def postfix(self, epoch: int) -> str:
        parts = " ".join(f"{name} {value:.3f}" for name, value in self.means().items())
        return f"epoch {epoch} loss {self.loss():.3f} {parts} {self.tokens / self.seconds:,.0f} tokens/s"

    def end_epoch(self, epoch: int, steps: int, lr: float, validation: float) -> Epoch:
        return Epoch(
            epoch,
            steps,
            self.loss(),
            self.means(),
            validation,
            lr,
            self.tokens,
            self.seconds,
            1 - self.tokens / self.cells,
        )


def _steps_of_epochs(train: Sequence[Encoded], config: TrainingConfig, seed: int) -> int:
    if not config.batch_tokens:
        return config.epochs * math.ceil(len(train) / config.batch_size)
    # Under a token budget every epoch's order cuts into another number of batches.
    return sum(
        len(shuffled(train, config.batch_size, seed, epoch, config.batch_tokens))
        for epoch in range(1, config.epochs + 1)
    )


def _seconds_a_step(loop: Loop, train: Sequence[Encoded]) -> float:
    """Time a few steps on a copy, so that ``--minutes`` becomes a number of steps that ``--steps`` repeats
    exactly."""
    copy = Loop(deepcopy(loop.objective), loop.config, loop.width, loop.device, loop.seed, loop.processes)
    times = []
    batches = shuffled(train, loop.config.batch_size, loop.seed, 1, loop.config.batch_tokens)
    for number, encoded in enumerate(islice(cycle(batches), TIMED_STEPS)):
        started = time.perf_counter()
        mine = loop.processes.share(encoded)
        copy.step(collate(mine or encoded[:1]), 1, 0.0, 0, stands_in=not mine)
        if number >= 2:
            times.append(time.perf_counter() - started)
    return sum(times) / len(times)
