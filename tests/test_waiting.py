"""A training step does not wait for a GPU, which can be told without one: on a device whose tensors have no
values. And the loop that reads numbers a step late does what the one does that reads them at once."""

import math
import traceback
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import test_resume
import torch
import torch.nn.functional as F
from test_objective import RANGE
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toy import CPU, C, bits, channel_of, collated, encoded, same_bits, size, transceiver

from semcom.base.device import copied
from semcom.channel.channels import AWGN
from semcom.data.batching import Batch
from semcom.distillation import kd_loss, step_sums, trainer, training_loop
from semcom.distillation.kd_loss import UNLABELLED, DistillationLoss
from semcom.distillation.link_data import LinkData
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.optimizer import AdamW
from semcom.distillation.published import published
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.models import layers
from semcom.models.layers import seed_dropout

META = torch.device("meta")


class Copies(TorchDispatchMode):
    """Notes copies between devices that do not go by way of ``copied``."""

    def __init__(self, found: list[str]):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, operation, types, arguments=(), words=None):
        made = operation(*arguments, **(words or {}))
        tensors = [x for x in tree_leaves((arguments, words, made)) if isinstance(x, torch.Tensor)]
        # A number as a tensor on the CPU is handed over with the kernel that takes it.
        kinds = {x.device.type for x in tensors if x.dim() > 0 or x.device != CPU}
        if len(kinds) > 1 and not _within("copied"):
            self.found.append(str(operation))
        return made


def _within(name):
    return any(frame.f_code.co_name == name for frame, _ in traceback.walk_stack(None))


@pytest.fixture
def copies(monkeypatch):
    """On the meta device, whose tensors have no values, what asks for one raises: ``float(x)``, ``x[mask]``,
    ``x.nonzero()``, all for which a GPU would have to be waited for. Returns the copies to it, of numbers and
    tensors, for which it would have to be waited for, too."""
    found: list[str] = []

    def watched(make):
        def made(*arguments, **words):
            tensor = make(*arguments, **words)
            if tensor.device == META and tensor is not arguments[0]:
                found.append(make.__name__)
            return tensor

        return made

    for owner, name in ((torch, "tensor"), (torch, "as_tensor"), (torch.Tensor, "new_tensor")):
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    autocast, autocasts = torch.autocast, torch.is_autocast_enabled
    monkeypatch.setattr(
        torch,
        "autocast",
        lambda kind, *rest, **words: nullcontext() if kind == "meta" else autocast(kind, *rest, **words),
    )
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind != "meta" and autocasts(kind))
    monkeypatch.setattr(layers.Dropout, "forward", lambda self, x: F.dropout(x, self.rate, self.training))
    with Copies(found):
        yield found


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


def loop_of(objective, device):
    config = TrainingConfig()
    return Loop(trainer.LinkTask(objective.train(), (), config, width=C, device=device, seed=0), config)


OBJECTIVES = {
    "crossed": lambda: distilling(channel="rician", transfer=TransferConfig(0.5, 0.5, cross_weight=0.5)),
    "segments": lambda: distilling("decoder", scales=(1, 2), weight_schedule="snr", final_weight=0.2),
    "teachers": lambda: distilling(teachers=2, transfer=TransferConfig(teacher_mean="probabilities")),
    "labels": lambda: TransceiverObjective(transceiver(dropout=0.1), channel_of("rayleigh"), RANGE),
    "cosine": lambda: distilling(
        "encoder", transfer=TransferConfig(feature_loss="cosine", encoder_weight=1.0)
    ),
    "dkd": lambda: distilling(kd_loss="dkd", standardize_logits=True),
}
FAST = ("crossed", "segments", "teachers")


@pytest.mark.parametrize(
    "objective",
    [pytest.param(o, id=n, marks=() if n in FAST else pytest.mark.slow) for n, o in OBJECTIVES.items()],
)
def test_a_step_waits_once(objective, late, copies, monkeypatch):
    """For the numbers of the step before."""
    read = []

    def nothing(sums):
        read.append(sums)
        return step_sums.StepSums.of(sums.names, [0.0] * len(sums.numbers))

    monkeypatch.setattr(step_sums.LateSums, "send", lambda sums: None)
    monkeypatch.setattr(step_sums.LateSums, "read", nothing)
    loop = loop_of(objective().to(META), META)
    copies.clear()
    for number in (1, 2):
        loop.step(loop.task.step_of(collated(6, seed=number), 1), 1, 1e-3, number)
    assert copies == [] and len(read) == 1


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x[x > 0],
        lambda x: float(x.sum()),
        lambda x: x.repeat_interleave(x.long()),
        lambda x: x.tolist(),
    ],
)
def test_what_asks_for_values_raises(waits, copies):
    with pytest.raises((RuntimeError, NotImplementedError), match="meta|data"):
        waits(torch.ones(3, device=META))


def test_what_is_copied_is_seen(copies):
    there = torch.ones(3, device=META)
    torch.ones(3).to(META), there.new_tensor([1.0]), torch.tensor(2.0, device=META)
    there * 2 + there[1:2], copied(torch.ones(3), META), torch.tensor(2.0)
    assert copies == ["aten._to_copy.default", "new_tensor", "tensor"]


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


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(late, tmp_path):
    whole = test_resume.Run("decoder", tmp_path / "whole.pt")
    broken = test_resume.Run("decoder", tmp_path / "broken.pt", ends=(3,))
    assert broken.result.steps == 4, "the third step's numbers are told in the course of the fourth"
    test_resume.assert_same(test_resume.Run("decoder", tmp_path / "broken.pt"), whole)


def test_the_stream_that_computes_waits_for_what_is_on_its_way_and_keeps_its_memory(monkeypatch):
    kept, waited = [], []
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda tensor, stream: kept.append(tensor), raising=False
    )
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda device: SimpleNamespace(wait_event=waited.append)
    )
    batch = collated(3)
    data = LinkData(batch, batch.draw(Fades(), C, seed=0, number=0), [torch.ones(3, 5, C)], arrival="event")
    there = data.to(CPU)
    assert waited == ["event"] and there.arrival is None and there.batch is batch
    own = [*vars(batch).values(), *vars(data.draw).values(), *data.draw.own.values(), *data.signals]
    tensors = [value for value in own if isinstance(value, torch.Tensor)]
    assert {id(tensor) for tensor in tensors} == {id(tensor) for tensor in kept} and len(tensors) == 10


class Fades(AWGN):
    """Draws something of its own."""

    def draw(self, generator, length, width):
        return {"gain": torch.rand(length, generator=generator)}


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


def of_any_model(device, masked):
    """Logits, targets and what else a ``DistillationLoss`` takes."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 5, generator=generator).to(device)
    grids = torch.randn(2, 6, 2, 2, 5, generator=generator).to(device)
    targets = torch.tensor([0, 3, UNLABELLED, 4, 2, UNLABELLED]).to(device)
    counts = torch.tensor([True, True, True, False, True, False]).to(device)
    student.requires_grad_()
    grids = {"student_grid": grids[0], "teacher_grid": grids[1]}
    return (student, teacher, targets, counts if masked else None), grids


@pytest.mark.parametrize("masked", [False, True])
def test_rows_of_any_model_are_weighed_as_they_are_chosen(masked, monkeypatch):
    loss, found = DistillationLoss(DistillationConfig(scales=(1, 2))), []
    for chooses in (True, False):
        monkeypatch.setattr(kd_loss, "can_choose", lambda logits, chooses=chooses: chooses)
        rows, grids = of_any_model(CPU, masked)
        terms = loss(*rows, **grids)
        terms["loss"].backward()
        found.append({**{name: term.detach() for name, term in terms.items()}, "gradient": rows[0].grad})
    for name, chosen in found[0].items():
        torch.testing.assert_close(found[1][name], chosen, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "loss",
    [
        lambda: DistillationLoss(DistillationConfig(scales=(1, 2))),
        lambda: DistillationLoss(published("sdd_dkd", (1, 2), 0.5, 0.5), ignore_in="both"),
        lambda: DistillationLoss(DistillationConfig(scales=(1, 2), scale_reduction="sum")),
    ],
)
def test_the_loss_of_any_model_waits_for_nothing(masked, loss, copies):
    (student, teacher, targets, mask), grids = of_any_model(META, masked)
    loss = loss()
    copies.clear()
    loss(student, teacher, targets, mask, **grids)["loss"].backward()
    if loss.settings.complementary == "teacher":
        loss(student, teacher, teacher.softmax(-1), mask, **grids)["loss"].backward()
    loss.scores(student, targets, mask)
    assert copies == []
