"""Training of the causal language model under which the source code `lm` codes: cross-entropy of the next
piece on the training split, the best by that on validation sentences."""

import math
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import count, cycle, islice

import torch
from torch import Tensor, nn

from semcom.base import precision, signals
from semcom.base.errors import SemcomError
from semcom.base.fastest import Way
from semcom.data.batching import Batch, Encoded, by_length, collate, shuffled
from semcom.data.source_code_settings import SourceCodeConfig
from semcom.data.vocabulary import Vocabulary
from semcom.distillation import fused_linear_loss, training_loop
from semcom.distillation.history import Epoch, Result
from semcom.distillation.projected_logits import Projected
from semcom.distillation.run_state import load_weights
from semcom.distillation.task import AskedToEnd, NonFiniteLoss, Step, Terms
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.architecture import Architecture
from semcom.models.causal_model import CausalModel, built, size_like
from semcom.models.language_model_code import LanguageModelCode
from semcom.models.layers import dropout_state, load_dropout_state, seed_dropout
from semcom.models.spans import Spans
from semcom.models.state_file import State

TIMED_STEPS = 8
PLAIN = Way("fp32", False)


class NextPieces(nn.Module):
    """Cross-entropy of a causal model. compiled: by the compiled kernels, on CPUs."""

    weights = {"ce": 1.0}
    progress: float | None = 0.0

    def __init__(self, model: CausalModel, *, compiled: bool):
        super().__init__()
        self.model, self.compiled = model, compiled

    def forward(self, batch: Batch) -> Terms:
        targets = batch.of_targets(batch.target_out)
        rows = Projected(self._states(batch), self.model.projection)
        return {"ce": (fused_linear_loss.cross_entropy(rows, targets, compiled=self.compiled), len(targets))}

    def _states(self, batch: Batch) -> Tensor:
        """[N, D]."""
        if self.compiled and batch.target_in.device.type == "cpu":
            return self.model.rows(batch.target_in, Spans.of(batch.target_mask))
        return batch.of_targets(self.model(batch.target_in))


class LanguageModelTask:
    """What the training loop sees. held_out: validation batches."""

    def __init__(self, model: CausalModel, held_out: Sequence[Batch], device: torch.device, way: Way):
        self.objective = NextPieces(model, compiled=way.compiled).to(device)
        self.held_out, self.device, self.way = held_out, device, way
        self.trained = [*model.parameters()]

    def train(self) -> None:
        self.objective.train()

    def terms(self, data: Batch, epoch: int) -> Terms:
        with precision.products(self.way.precision, self.device):
            return self.objective(data.to(self.device))

    @torch.no_grad()
    def measure(self, epoch: int, asked: signals.Asked) -> dict[str, float]:
        """Raises NonFiniteLoss, and AskedToEnd."""
        self.objective.eval()
        total, rows = 0.0, 0
        for batch in self.held_out:
            if asked():
                raise AskedToEnd(asked())
            value, number = self.objective(batch.to(self.device))["ce"]
            total, rows = total + float(value), rows + int(number)
        self.objective.train()
        if not math.isfinite(total):
            raise NonFiniteLoss(f"the validation loss is {total} in epoch {epoch}")
        return {"ce": total / rows}

    def state(self) -> State:
        return {
            "weights": self._named(),
            "dropout": dropout_state(self.objective, self.device),
        }

    def load_state(self, state: State) -> None:
        load_weights(self._named(), state["weights"])
        load_dropout_state(self.objective, self.device, state["dropout"])

    def _named(self) -> dict[str, Tensor]:
        return dict(self.objective.named_parameters())


# Many arguments: what a run is made of; callers name each.
def learned(
    train: Sequence[Encoded],
    validation: Sequence[Encoded],
    vocabulary: Vocabulary,
    like: Architecture,
    config: SourceCodeConfig,
    *,
    seed: int,
    device: torch.device,
    quiet: bool,
    way: Way = PLAIN,
) -> LanguageModelCode:
    """The code `lm` of a model as large as the receiver of ``like``, less what hears. The same seed, steps
    and way on one machine give the same model. way: of the training's steps.

    Raises SemcomError where the loss is no number, and ``signals.Interrupt`` where a signal ended it.
    """
    model = built(len(vocabulary), size_like(like), seed)
    seed_dropout(model, seed)
    task = LanguageModelTask(model, by_length(validation, config.lm_batch_size), device, way)
    of_loop = TrainingConfig(batch_size=config.lm_batch_size, lr=config.lm_lr)
    total = config.lm_steps or _steps_within(config.lm_minutes, task, train, of_loop, seed)
    seed_dropout(model, seed)
    best: dict[str, Tensor] = {}

    def on_epoch(epoch: Epoch, is_best: bool) -> None:
        if is_best:
            best.update({name: each.detach().clone() for name, each in model.state_dict().items()})

    loop = Loop(task, of_loop, total=total)
    passes = _passes(train, config.lm_batch_size, seed, total)
    result = training_loop.run(loop, passes, on_epoch=on_epoch, quiet=quiet)
    _check_ended(result)
    model.load_state_dict(best)
    made = {
        "steps": total,
        "batch_size": config.lm_batch_size,
        "lr": config.lm_lr,
        "seed": seed,
        "way": str(way),
    }
    metrics = {"validation_cross_entropy": result.best_loss, "parameters": parameters(model)}
    return LanguageModelCode(model.cpu(), vocabulary, device, made, metrics)


def parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def _check_ended(result: Result) -> None:
    if result.failed:
        raise SemcomError(f"--lm-lr: the language model did not learn, {result.failed}; give a smaller one")
    if result.stopped:
        raise signals.Interrupt(result.signal)


def _passes(
    train: Sequence[Encoded], batch_size: int, seed: int, total: int
) -> Iterator[Iterator[Step[Batch]]]:
    """Passes over the sentences until there are ``total`` steps."""
    left = total
    for epoch in count(1):
        if not left:
            return
        batches = shuffled(train, batch_size, seed, epoch)[:left]
        yield (_step_of(collate(batch)) for batch in batches)
        left -= len(batches)


def _step_of(batch: Batch) -> Step[Batch]:
    return Step(batch, batch.target_tokens, batch.target_mask.numel())


def _steps_within(
    minutes: float, task: LanguageModelTask, train: Sequence[Encoded], config: TrainingConfig, seed: int
) -> int:
    """By the time that a few steps of a copy take."""
    copy = LanguageModelTask(deepcopy(task.objective.model), (), task.device, task.way)
    loop = Loop(copy, config)
    batches = shuffled(train, config.batch_size, seed, 1)
    started = time.perf_counter()
    for number, batch in enumerate(islice(cycle(batches), TIMED_STEPS)):
        loop.step(_step_of(collate(batch)), 1, 0.0, 0)
        if number == 1:
            started = time.perf_counter()  # the first ones take longer
    loop.settle()
    seconds = (time.perf_counter() - started) / (TIMED_STEPS - 2)
    return max(1, int(minutes * 60 / seconds))
