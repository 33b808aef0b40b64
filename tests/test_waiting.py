"""A training step does not wait for a GPU: what would is counted on the CPU. And the loop that reads numbers
a step late does what the one does that reads them at once."""

import math

import pytest
import torch
from test_objective import RANGE
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from toy import CPU, C, bits, channel_of, collated, encoded, same_bits, size, transceiver

from semcom.data.batching import Batch
from semcom.distillation import losses, step_sums, trainer, training_loop
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.optimizer import AdamW
from semcom.distillation.settings import DistillationConfig, TransferConfig
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.layers import seed_dropout

aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense.default,
    aten.bincount.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.nonzero.default,
}
CHOOSING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class Waits(TorchDispatchMode):
    """The operations within for which the CPU would wait, were their tensors on a GPU."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, operation, types, arguments=(), words=None):
        words = words or {}
        if operation in CHOOSING:
            waits = any(index is not None and index.dtype == torch.bool for index in arguments[1])
        elif operation is aten.repeat_interleave.Tensor:
            waits = words.get("output_size") is None
        else:
            waits = operation in WAITING
        if waits:
            self.found.append(str(operation))
        return operation(*arguments, **words)


@pytest.fixture
def late(monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(training_loop, "on_gpu", lambda trained: True)


def distilling(part="full", *, teachers=1, channel="awgn", transfer=None, **settings):
    """An objective with dropout."""
    ends = [transceiver(seed=seed, dropout=0.1) for seed in range(teachers)]
    student = transceiver(size(1), size(1), seed=9, dropout=0.1)
    config = DistillationConfig(part, 4.0, 0.7, **settings)
    return DistillationObjective(ends, student, channel_of(channel, 2.0), RANGE, config, transfer)


def loop_of(objective, **choice):
    seed_dropout(objective.train(), 0)
    config = TrainingConfig(**choice)
    return Loop(trainer.LinkTask(objective, (), config, width=C, device=CPU, seed=0), config)


@pytest.mark.parametrize(
    "objective",
    [
        lambda: TransceiverObjective(transceiver(dropout=0.1), channel_of("rayleigh"), RANGE),
        lambda: distilling(channel="rician", transfer=TransferConfig(0.5, 0.5, cross_weight=0.5)),
        lambda: distilling("encoder", transfer=TransferConfig(feature_loss="cosine", encoder_weight=1.0)),
        lambda: distilling("decoder", scales=(1, 2), weight_schedule="snr", final_weight=0.2),
        lambda: distilling(kd_loss="dkd", standardize_logits=True),
        lambda: distilling(teachers=2, transfer=TransferConfig(teacher_mean="probabilities")),
    ],
    ids=["labels", "crossed", "encoder", "segments", "dkd", "teachers"],
)
def test_a_step_waits_once(objective, late, monkeypatch):
    cut = losses.segments

    def on_the_cpu(*arguments):
        with _disable_current_modes():
            return cut(*arguments)

    monkeypatch.setattr(losses, "segments", on_the_cpu)
    loop, read = loop_of(objective()), []
    plain = step_sums.LateSums.read
    monkeypatch.setattr(step_sums.LateSums, "read", lambda sums: read.append(1) or plain(sums))
    steps = [loop.task.step_of(collated(6, seed=seed), 1) for seed in range(3)]
    loop.step(steps[0], 1, 1e-3, 1)
    with Waits() as waits:
        for number, step in enumerate(steps[1:], 2):
            loop.step(step, 1, 1e-3, number)
    assert waits.found == [] and len(read) == 2


def test_what_waits_is_seen():
    x, real = torch.arange(4.0), torch.tensor([True, False, True, True])
    with Waits() as waits:
        x[real], float(x.sum()), x.repeat_interleave(torch.tensor([1, 2, 0, 1])), bool(real.any())
        x[torch.tensor([0, 1])], x[1:], x.repeat_interleave(2)
    assert [name.split(".")[1] for name in waits.found] == [
        "index",
        "_local_scalar_dense",
        "repeat_interleave",
        "_local_scalar_dense",
    ]


def fit(objective, told=None, **config):
    settings = TrainingConfig(**{"batch_size": 16, "warmup_steps": 5, "epochs": 2, **config})
    seed_dropout(objective, 0)
    return trainer.fit(
        objective,
        encoded(60),
        encoded(20, seed=9),
        settings,
        width=C,
        device=CPU,
        seed=0,
        quiet=True,
        on_epoch=lambda *_: None,
        on_step=None if told is None else lambda *step: told.append((*step, bits(objective))),
    )


def rows(result):
    return [(e.epoch, e.steps, e.loss, e.parts, e.validation, e.lr, e.target_tokens) for e in result.history]


def test_a_step_late_all_is_as_at_once(monkeypatch):
    """Numbers, weights, and what is told after each step, with the weights that it left."""
    runs = []
    for reads_late in (False, True):
        monkeypatch.setattr(training_loop, "on_gpu", lambda trained, late=reads_late: late)
        objective, told = distilling("decoder"), []
        runs.append((rows(fit(objective, told)), told, bits(objective)))
    (numbers, told, weights), (same_numbers, same_told, same_weights) = runs
    assert numbers == same_numbers and same_bits(weights, same_weights)
    assert [each[:2] for each in told] == [each[:2] for each in same_told] and len(told) == 8
    assert all(same_bits(one[2], other[2]) for one, other in zip(told, same_told))


class Spoiled(TransceiverObjective):
    """Its loss is no number in the third step, after which its weights were ``before``."""

    step = 0

    def forward(self, batch: Batch, draw):
        terms = super().forward(batch, draw)
        if self.training:
            self.step += 1
            if self.step == 3:
                self.before = bits(self)
                terms["ce"] = terms["ce"][0] * math.nan, terms["ce"][1]
        return terms


@pytest.mark.parametrize("epochs, steps", [(2, 4), (1, 3)], ids=["in the next step", "at the end"])
def test_a_loss_that_is_no_number_is_found_a_step_late_and_its_update_not_made(late, epochs, steps):
    objective = Spoiled(transceiver(), channel_of("awgn"), RANGE)
    result = fit(objective, epochs=epochs, batch_size=16 if steps == 4 else 20)
    assert result.failed == "the loss is nan in epoch 1, step 3" and result.steps == 3
    assert objective.step == steps and same_bits(bits(objective), objective.before)


def test_a_step_that_is_skipped_leaves_weights_and_moments():
    weights = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))]
    optimizer = AdamW(weights, 0.1)

    def step(gradient, skip):
        for p in weights:
            p.grad = torch.full_like(p, gradient)
        optimizer.step(0.1, torch.tensor(skip))
        state = optimizer.state_dict()["state"]
        return [p.detach().clone() for p in weights], {
            n: {k: v.clone() for k, v in s.items()} for n, s in state.items()
        }

    after, state = step(0.5, 0.0)
    assert after[0][0] < 1 and state[0]["step"] == 1
    skipped, kept = step(math.nan, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(after, skipped))
    assert all(torch.equal(state[n][k], kept[n][k]) for n in state for k in state[n])
