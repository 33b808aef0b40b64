"""Signals of frozen transmitters that are made once for all epochs: steps have the values and gradients of
steps that make their own; when they are made, and when not."""

import os
import signal

import numpy as np
import pytest
import torch
from toy import CPU, C, bits, channel_of, encoded, same_bits, size, transceiver

from semcom.distillation import kept_signals, trainer
from semcom.distillation.kept_signals import KeptSignals
from semcom.distillation.objectives import DistillationObjective
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig

SENTENCES = encoded(60, 3, 14)
CROSSED = TransferConfig(feature_weight=0.5, encoder_weight=0.0, cross_weight=0.5)


def distils(part, transfer=None, *, teachers=1, compiled=False, **settings):
    theirs = [transceiver(seed=seed) for seed in range(2, 2 + teachers)]
    config = DistillationConfig(distill_part=part, **settings)
    ours = transceiver(size(1), size(1), seed=1)
    made = DistillationObjective(
        theirs, ours, channel_of("rayleigh"), (-6.0, 18.0), config, transfer, compiled=compiled
    )
    return made.train()


def kept_by(objective, sentences=SENTENCES):
    kept = KeptSignals.room_for(sentences, objective.unchanging, C)
    kept.fill(objective.signals, sentences, device=CPU, go_on=lambda: None, quiet=True)
    return kept


def step_of(objective, kept):
    """Terms and gradients of one step on sentences of mixed lengths."""
    task = trainer.LinkTask(objective, (), TrainingConfig(precision="fp32"), width=C, device=CPU, seed=0)
    task.kept = kept
    data = task.step_at(SENTENCES, np.array([5, 40, 2, 31, 17]), 3).data
    assert bool(data.signals) == (kept is not None)
    terms = task.terms(data, 3)
    sum(weight * terms[name][0] for name, weight in objective.weights.items()).backward()
    gradients = {name: p.grad.clone() for name, p in objective.named_parameters() if p.requires_grad}
    objective.zero_grad()
    return {name: float(total.detach()) / rows for name, (total, rows) in terms.items()}, gradients


CASES = {
    "decoder": lambda compiled: distils("decoder", compiled=compiled),
    "decoder, three teachers": lambda compiled: distils("decoder", teachers=3, compiled=compiled),
    "encoder": lambda compiled: distils("encoder", TransferConfig(signal_weight=0.5), compiled=compiled),
    "full, crossed": lambda compiled: distils("full", CROSSED, teachers=2, compiled=compiled),
    "labels": lambda compiled: distils("decoder", distill_weight=0.0, compiled=compiled),
}


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.native)])
@pytest.mark.parametrize("case", CASES)
def test_a_step_has_the_values_of_one_that_makes_its_own(case, compiled):
    objective = CASES[case](compiled)
    own, own_gradients = step_of(objective, None)
    kept, gradients = step_of(objective, kept_by(objective))
    assert kept == pytest.approx(own, rel=1e-6) and gradients.keys() == own_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, own_gradients[name], rtol=1e-5, atol=1e-6, msg=name)


def test_they_are_those_of_each_sentence_by_itself_and_the_same_bits_each_time():
    objective = distils("decoder", teachers=2)
    kept, again = kept_by(objective), kept_by(objective)
    assert all(torch.equal(*both) for both in zip(kept.signals, again.signals))
    for place in (0, 17, 59):
        source = torch.tensor([SENTENCES[place].source])
        mask = torch.ones_like(source).bool()
        padded = torch.nn.functional.pad(mask, (0, 4))
        for transmitter, signal_ in zip(objective.unchanging, kept.of(np.array([place]), padded)):
            alone = transmitter(source, mask)[0]
            torch.testing.assert_close(signal_[:, :-4], alone, rtol=1e-5, atol=1e-6)
            assert not signal_[:, -4:].any() and signal_.dtype == torch.float32


def fitted(objective, counted, **config):
    """The result of a training, whose sentences went through the transmitter this often."""
    went = []
    hook = objective.unchanging[0].register_forward_hook(lambda _, args, __: went.append(args[0]))
    settings = {"batch_size": 16, "precision": "fp32", "warmup_steps": 5, **config}
    result = trainer.fit(
        objective,
        SENTENCES,
        encoded(4, seed=9),
        TrainingConfig(**settings),
        width=C,
        device=CPU,
        seed=0,
        quiet=True,
        on_epoch=lambda *_: None,
    )
    hook.remove()
    assert sum(len(source) for source in went) == counted
    return result


def test_the_transmitter_runs_once_a_run_where_that_pays(monkeypatch):
    kept = fitted(distils("full"), 60, epochs=3)
    own = fitted(distils("full"), 60, epochs=1), fitted(distils("full"), 100, batch_size=20, steps=5)
    assert not any(result.failed for result in own)
    monkeypatch.setattr(kept_signals, "LIMIT", 0)
    made = fitted(distils("full"), 180, epochs=3)
    assert [e.loss for e in kept.history] == pytest.approx([e.loss for e in made.history], rel=1e-5)
    assert [e.steps for e in kept.history] == [e.steps for e in made.history] == [4, 8, 12]


def test_memory_is_bounded(monkeypatch):
    objective = distils("full", teachers=2)
    rows = sum(len(e.source) for e in SENTENCES) + 1
    assert [len(s) for s in kept_by(objective).signals] == [rows, rows]
    monkeypatch.setattr(kept_signals, "LIMIT", 2 * rows * C * 4)
    assert KeptSignals.room_for(SENTENCES, objective.unchanging, C)
    monkeypatch.setattr(kept_signals, "LIMIT", 2 * rows * C * 4 - 1)
    assert KeptSignals.room_for(SENTENCES, objective.unchanging, C) is None


@pytest.mark.parametrize(
    "part, transfer, settings, number",
    [
        ("decoder", None, {}, 1),
        ("full", None, {}, 1),
        ("full", TransferConfig(encoder_weight=0.5), {}, 0),
        ("full", None, {"distill_weight": 0.0}, 0),
        ("decoder", None, {"distill_weight": 0.0}, 1),
    ],
)
def test_what_does_not_change(part, transfer, settings, number):
    assert len(distils(part, transfer, **settings).unchanging) == number


def test_a_signal_meanwhile_ends_the_run_before_its_first_step(monkeypatch):
    objective = distils("decoder")
    made, before = objective.signals, bits(objective)

    def asked(batch):
        os.kill(os.getpid(), signal.SIGINT)
        return made(batch)

    monkeypatch.setattr(objective, "signals", asked)
    monkeypatch.setattr(kept_signals, "TOGETHER", 16)
    result = fitted(objective, 16, epochs=3)
    assert result.stopped == "interrupted in epoch 1, step 0 of 12" and result.signal == signal.SIGINT
    assert same_bits(bits(objective), before)
