"""A GPU computes what the CPU does, waits once a step at most, and goes on to the same bits.

``SEMCOM_TEST_DEVICE=cpu`` runs these tests on the CPU, to see that they themselves are in order.
"""

import math
import os
from copy import deepcopy
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import pytest
import test_api
import test_resume
import torch
from test_objective import RANGE
from test_resume import assert_same
from test_waiting import OBJECTIVES, Spoiled, distilling
from toy import CPU, C, bits, channel_of, encoded, same_bits, sharp, size, transceiver

from benchmarks import harness, textbook
from semcom import Distiller
from semcom.channel.channels import CHANNELS, make_channel
from semcom.channel.settings import ChannelConfig
from semcom.data.batching import collate
from semcom.distillation import trainer, training_loop
from semcom.distillation.fused_linear_loss import cannot_compile, cross_entropy, distillation
from semcom.distillation.objectives import TransceiverObjective
from semcom.distillation.projected_logits import Projected
from semcom.distillation.task import NonFiniteLoss
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import TrainingConfig
from semcom.models import causal_model
from semcom.models.decoding import beam, greedy
from semcom.models.exact_causal_model import ExactCausalModel, edges
from semcom.models.layers import Dropout, seed_dropout
from semcom.models.settings import PARTS
from semcom.models.transceiver import splice

DEVICE = torch.device(os.environ.get("SEMCOM_TEST_DEVICE", "cuda"))
ON_GPU = DEVICE.type == "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="there is no GPU here"),
]
real_gpu = pytest.mark.skipif(not ON_GPU, reason="asks something of a GPU alone")
LOSSES = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(autouse=True)
def late(monkeypatch):
    """The loop is that of a GPU, on whichever device."""
    monkeypatch.setattr(training_loop, "on_gpu", lambda trained: True)


def without_dropout(module):
    for part in module.modules():
        if isinstance(part, Dropout):
            part.rate = 0.0
    return module


def loop_of(objective, device=DEVICE, **choice):
    seed_dropout(objective.to(device).train(), 0)
    config = TrainingConfig(**choice)
    return Loop(trainer.LinkTask(objective, (), config, width=C, device=device, seed=0), config)


def batches(number, sentences=12):
    return [collate(encoded(sentences, 3, 9, seed=seed)) for seed in range(number)]


def take(loop, number, after=0):
    """Steps after ``after`` of them; returns the means of each, and of the last."""
    told = []
    loop.on_step = lambda step, means: told.append(dict(means))
    for step, batch in islice(enumerate(cycle(batches(3)), 1), after, after + number):
        loop.step(loop.task.step_of(batch, 1), 1, 3e-3, step)
    loop.settle()
    return told


def distilled(device, spoil=False):
    """History of a classifier by an optimizer and a scheduler of torch's, and its weights before and after
    the last step; the third batch may hold what is no number."""
    data = test_api.batches(4)
    if spoil:
        data[2][0][3] = torch.nan
    student, told = test_api.net(1).to(device), []
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        torch.optim.SGD(student.parameters(), 0.1), 0.1, total_steps=8
    )
    distiller = Distiller(student, test_api.net(0, width=16))
    try:
        choice = {"on_step": lambda *_: told.append(bits(student)), "keep": "last"}
        choice |= {"scheduler": scheduler, "quiet": True}
        history = distiller.fit(data, 2, test_api.batches(1, seed=9), **choice)
    except NonFiniteLoss as error:
        history = str(error)
    return history, told[-1], bits(student)


def test_a_classifier_learns_by_torchs_optimizer_as_on_the_cpu():
    (ours, _, weights), (theirs, _, same) = distilled(DEVICE), distilled(CPU)
    for row, other in zip(ours, theirs, strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    for name in weights:
        torch.testing.assert_close(weights[name].cpu(), same[name], rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_no_number_leaves_a_classifier_as_it_was():
    message, before, after = distilled(DEVICE, spoil=True)
    assert "nan in epoch 1, step 3" in message and same_bits(before, after)


@pytest.mark.parametrize("kind", CHANNELS)
def test_draws_are_those_of_the_cpu(kind):
    batch, channel = collate(encoded(9, 2, 12)), channel_of(kind)
    ours = batch.draw(channel, C, seed=1, number=2)
    theirs = batch.to(DEVICE).draw(channel, C, seed=1, number=2)
    assert theirs.noise.device.type == DEVICE.type
    for name in ("level", "scatter", "noise"):
        assert torch.equal(getattr(theirs, name).cpu(), getattr(ours, name))
    assert ours.own.keys() == theirs.own.keys()
    assert all(torch.equal(theirs.own[name].cpu(), drawn) for name, drawn in ours.own.items())


def test_real_tokens_are_chosen_as_by_the_masks():
    batch = collate(encoded(9, 2, 12)).to(DEVICE)
    states = torch.randn(*batch.source.shape, 5, device=DEVICE)
    assert torch.equal(batch.of_sources(states), states[batch.source_mask])
    assert torch.equal(batch.of_targets(batch.target_out), batch.target_out[batch.target_mask])


def of_one_step(objective, device):
    """Terms, and the gradient of each trained weight."""
    loop = loop_of(objective, device)
    terms = loop.task.terms(loop.task.step_of(batches(1)[0], 1).data, 1)
    weights = loop.task.objective.weights
    sum(weight * terms[name][0] / terms[name][1] for name, weight in weights.items()).backward()
    gradients = [p.grad.cpu() for p in loop.task.trained if p.grad is not None]
    return {name: (value.detach().cpu().double(), rows) for name, (value, rows) in terms.items()}, gradients


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_losses_and_gradients_are_those_of_the_cpu(objective):
    made = without_dropout(objective())
    terms, gradients = of_one_step(deepcopy(made), CPU)
    on_device, there = of_one_step(made, DEVICE)
    assert terms.keys() == on_device.keys() and len(gradients) == len(there)
    for name, (value, rows) in terms.items():
        torch.testing.assert_close(on_device[name][0], value, **LOSSES)
        assert on_device[name][1] == rows
    whole = torch.cat([g.flatten() for g in gradients])
    apart = torch.cat([g.flatten() for g in there]) - whole
    assert apart.norm() < 1e-4 * whole.norm()


def test_training_goes_as_on_the_cpu():
    made = without_dropout(distilling())
    ours, theirs = take(loop_of(deepcopy(made), CPU), 8), take(loop_of(made), 8)
    for one, other in zip(ours, theirs, strict=True):
        assert other == pytest.approx(one, rel=2e-4)
    assert ours[-1]["distillation"] < ours[0]["distillation"]


def test_products_in_bfloat16_come_near():
    made = without_dropout(distilling())
    exact, rounded = take(loop_of(deepcopy(made)), 3), take(loop_of(made, precision="bf16"), 3)
    for one, other in zip(exact, rounded, strict=True):
        assert other == pytest.approx(one, rel=0.02) and other != one


def test_a_source_code_sees_the_same_probabilities_to_the_bit():
    model = causal_model.built(500, size(2, 96, 6, 200), seed=1)
    tokens = torch.randint(500, (70, 40), generator=torch.Generator().manual_seed(0))
    here, there = (ExactCausalModel(model, device) for device in (CPU, DEVICE))
    expected = here.start().advance(tokens)
    state = there.start()
    found = torch.cat([state.advance(tokens[:7, :13]), state.advance(tokens[:7, 13:])], 1).cpu()
    assert torch.equal(found, expected[:7])
    assert torch.equal(edges(found.to(DEVICE)).cpu(), edges(expected[:7]))


@pytest.mark.parametrize("decode", [greedy, lambda *a: beam(*a, 4, 0.6)], ids=["greedy", "beam"])
def test_tokens_are_those_of_the_cpu(decode):
    model, batch = sharp(), collate(encoded(70, 2, 14))
    received = harness.received_of(model, batch)
    ours = decode(model.receiver, received, batch.source_mask)
    there = deepcopy(model).to(DEVICE)
    theirs = decode(there.receiver, received.to(DEVICE), batch.source_mask.to(DEVICE))
    assert theirs == ours and len({len(pieces) for pieces in ours}) > 2


@pytest.mark.parametrize("part", PARTS)
def test_hybrids_are_those_of_the_cpu(part):
    teacher, student, batch = sharp(seed=1), sharp(seed=1, noise=0.3), collate(encoded(20, 2, 9))
    ours = splice(teacher, student, [part])
    theirs = splice(deepcopy(teacher).to(DEVICE), deepcopy(student).to(DEVICE), [part])
    assert all(p.device.type == DEVICE.type for p in theirs.parameters())
    assert same_bits(bits(ours), bits(deepcopy(theirs).cpu()))
    said = [
        greedy(model.receiver, harness.received_of(model, batch.to(device)), batch.source_mask.to(device))
        for model, device in ((ours, CPU), (theirs, DEVICE))
    ]
    assert said[0] == said[1]


# What a step waits for


@pytest.fixture
def nothing_waits():
    """Within, what waits for the GPU raises, but for an event; torch.cuda's own check."""
    if not ON_GPU:
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode(before)


@real_gpu
def test_what_waits_raises(nothing_waits):
    with pytest.raises(RuntimeError, match="synchroniz"):
        float(torch.ones(1, device=DEVICE))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_a_step_waits_for_the_one_before_alone(objective, precision, request):
    loop = loop_of(objective(), precision=precision)
    take(loop, 2)
    request.getfixturevalue("nothing_waits")
    for number, batch in enumerate(batches(3), 1):
        loop.step(loop.task.step_of(batch, 1), 1, 1e-3, number)
    loop.settle()
    assert math.isfinite(loop.loss())


def test_steps_made_ahead_are_those_made_at_once():
    sentences = encoded(60, 3, 9)
    runs = []
    for device in (CPU, DEVICE):
        objective = without_dropout(distilling("decoder"))
        config = TrainingConfig(batch_size=16, warmup_steps=5, epochs=3)
        seed_dropout(objective, 0)
        common = {"width": C, "device": device, "seed": 0, "quiet": True, "on_epoch": lambda *_: None}
        runs.append(trainer.fit(objective, sentences, encoded(20, seed=9), config, **common))
    for ours, theirs in zip(*(run.history for run in runs), strict=True):
        assert theirs.parts == pytest.approx(ours.parts, rel=5e-4)
        assert theirs.validation == pytest.approx(ours.validation, rel=5e-4)
        assert (theirs.steps, theirs.target_tokens) == (ours.steps, ours.target_tokens)


def test_a_loss_that_is_no_number_leaves_the_weights_before_it():
    objective = Spoiled(transceiver(), channel_of("awgn"), RANGE)
    config = TrainingConfig(batch_size=16, epochs=2)
    common = {"width": C, "device": DEVICE, "seed": 0, "quiet": True, "on_epoch": lambda *_: None}
    seed_dropout(objective, 0)
    result = trainer.fit(objective, encoded(60), encoded(20, seed=9), config, **common)
    assert result.failed == "the loss is nan in epoch 1, step 3"
    assert same_bits(bits(objective), objective.before)


# The same bits


def test_a_training_repeats_to_the_bit():
    runs = [loop_of(distilling()) for _ in "ab"]
    assert take(runs[0], 12) == take(runs[1], 12)
    assert same_bits(bits(runs[0].task.objective), bits(runs[1].task.objective))


@pytest.mark.parametrize("case", ["labels", "decoder", "teachers, segments"])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(case, tmp_path, monkeypatch):
    monkeypatch.setattr(test_resume, "CPU", DEVICE)
    whole = test_resume.Run(case, tmp_path / "whole.pt")
    broken = test_resume.Run(case, tmp_path / "broken.pt", ends=(3,))
    assert broken.result.stopped and 3 <= broken.result.steps < whole.result.steps
    assert_same(test_resume.Run(case, tmp_path / "broken.pt"), whole)


# Losses that form few logits


def rows(number, pieces, width=64):
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Linear(width, pieces) for _ in "st")
    with torch.no_grad():
        for layer in (ours, theirs):
            for weights in layer.parameters():
                weights.normal_(std=0.2, generator=generator)
    states = torch.randn(2, number, width, generator=generator).to(DEVICE)
    # No padding, which the textbook leaves out.
    targets = torch.randint(1, pieces, (number,), generator=generator).to(DEVICE)
    state = states[0].clone().requires_grad_()
    return Projected(state, ours.to(DEVICE)), Projected(states[1], theirs.to(DEVICE)), targets


def fused(student, teacher, targets, compiled=False):
    sums = distillation(student, teacher, targets, 4.0, (0.3, 0.7), compiled=compiled)
    sums.loss.backward()
    made = (*sums, student.state.grad, student.projection.weight.grad, student.projection.bias.grad)
    return [each.detach() for each in made]


@real_gpu
def test_losses_that_torch_compiles_are_the_same():
    if reason := cannot_compile(DEVICE):
        pytest.skip(reason)
    plain, compiled = fused(*rows(700, 3001)), fused(*rows(700, 3001), compiled=True)
    for ours, theirs in zip(plain, compiled, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    student, _, targets = rows(700, 3001)
    both = [cross_entropy(student, targets, compiled=by) for by in (False, True)]
    torch.testing.assert_close(*both, **LOSSES)


@real_gpu
def test_few_logits_are_there_at_a_time():
    student, teacher, targets = rows(16_384, 32_000)
    logits = 4 * 16_384 * 32_000
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    fused(student, teacher, targets)
    assert torch.cuda.max_memory_allocated() - before < 0.9 * logits


def test_the_loss_of_few_logits_is_that_of_all():
    student, teacher, targets = rows(600, 3001)
    with torch.no_grad():
        theirs = teacher.projection(teacher.state)
    ours = student.projection(student.state)
    loss = textbook.distillation_loss(ours[None], theirs[None], targets[None], 4.0, 0.7)
    few = distillation(student, teacher, targets, 4.0, (0.3, 0.7))
    torch.testing.assert_close(few.loss / len(targets), loss, **LOSSES)


def test_the_textbook_computes_what_it_does_on_the_cpu():
    model = transceiver(size(), size())
    plain, batch = textbook.like(model), collate(encoded(12, 3, 9))
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(*batch.source.shape, C))).float()
    snr = torch.full((12,), 6.0)
    losses = [
        textbook.Distillation(deepcopy(plain).to(device), deepcopy(plain).to(device)).loss(
            batch.source.to(device), noise.to(device), snr.to(device)
        )
        for device in (CPU, DEVICE)
    ]
    torch.testing.assert_close(losses[1].cpu(), losses[0], **LOSSES)


def test_labels_alone_of_a_teacher_learn():
    objective = TransceiverObjective(transceiver(), channel_of("awgn"), (6.0, 18.0))
    told = take(loop_of(objective), 30)
    assert told[-1]["ce"] < 0.9 * told[0]["ce"]


FADED = [
    replace(make_channel(ChannelConfig(channel=kind)), csi="pilots", csi_estimator=estimator)
    for kind in ("rayleigh", "rician", "tdl-a", "tdl-d")
    for estimator in ("ls", "lmmse")
]
FADED += [replace(FADED[1], fading=fading) for fading in ("symbol", "jakes")]


@pytest.mark.parametrize("channel", FADED, ids=str)
def test_gains_and_their_estimates_are_those_of_the_cpu(channel):
    batch = collate(encoded(5, 3, 9))
    draw = batch.draw(channel, C, seed=0, number=0)
    signal = torch.randn(draw.noise.shape, generator=torch.Generator().manual_seed(0)) * (draw.noise != 0)
    here, there = channel.observe(signal, draw, 6.0), channel.observe(signal.to(DEVICE), draw.to(DEVICE), 6.0)
    for name in ("y", "gain", "error", "n0"):
        moved = getattr(there, name)
        assert moved.device.type == DEVICE.type, name
        torch.testing.assert_close(moved.cpu(), getattr(here, name), rtol=1e-4, atol=1e-5)
    arrived = channel.apply(signal.to(DEVICE), draw.to(DEVICE), 6.0)
    torch.testing.assert_close(arrived.cpu(), channel.apply(signal, draw, 6.0), rtol=1e-3, atol=1e-3)
