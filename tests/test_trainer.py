"""The training loop: schedule, repeatability, endings; and that it learns what a channel lets through, no
more."""

import math

import pytest
import torch
from toy import CPU, C, Numbers, bits, channel_of, encoded, same_bits, size, transceiver

from semcom.base.errors import InterruptedRun, SemcomError
from semcom.channel.channels import AWGN
from semcom.commands.inputs import check_begun, check_whole
from semcom.data.batching import by_length, shuffled
from semcom.distillation import trainer
from semcom.distillation.history import Result
from semcom.distillation.objectives import TransceiverObjective
from semcom.distillation.optimizer import AdamW
from semcom.distillation.trainer import fit, validate
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.updates import learning_rate
from semcom.evaluation.scores import Entrant, Meeting, decode, score


def objective_of(model, low=6.0, high=6.0, channel="awgn"):
    return TransceiverObjective(model, channel_of(channel), (low, high))


def train(
    objective, sentences=None, *, seed=0, on_epoch=lambda *_: None, validation=None, **config
) -> Result:
    sentences = encoded(90) if sentences is None else sentences
    settings = TrainingConfig(**{"batch_size": 16, "lr": 3e-3, "warmup_steps": 5, **config})
    return fit(
        objective,
        sentences,
        validation or encoded(20, seed=9),
        settings,
        width=C,
        device=CPU,
        seed=seed,
        quiet=True,
        on_epoch=on_epoch,
    )


def numbers(result):
    return [
        (e.epoch, e.steps, e.loss, e.parts, e.validation, e.lr, e.target_tokens, e.padding)
        for e in result.history
    ]


def test_learning_rate_warms_up_and_falls():
    rates = [learning_rate(step, 1000, 2.0, 100) for step in range(1, 1001)]
    assert (
        rates[0] == pytest.approx(0.02) and rates[49] == pytest.approx(1.0) and rates[99] == 2.0 == max(rates)
    )
    assert rates[549] == pytest.approx(1.0, rel=0.01) and 0 < rates[999] < 0.005
    assert rates[:100] == sorted(rates[:100]) and rates[99:] == sorted(rates[99:], reverse=True)
    falls = [a - b for a, b in zip(rates[99:], rates[100:])]
    assert min(falls) == pytest.approx(max(falls))


@pytest.mark.parametrize("total, warmup, peak_at", [(10, 300, 2), (1, 300, 1), (3, 0, 1), (100, 300, 20)])
def test_warm_up_takes_a_fifth_at_most(total, warmup, peak_at):
    rates = [learning_rate(step, total, 1.0, warmup) for step in range(1, total + 1)]
    assert rates.index(1.0) == peak_at - 1 and all(0 < rate <= 1 for rate in rates)


def test_same_seed_same_numbers():
    runs = []
    for seed in (0, 0, 1):
        model = transceiver(dropout=0.1)
        torch.manual_seed(len(runs))
        runs.append(
            (numbers(train(objective_of(model, -6, 18, "rayleigh"), epochs=2, seed=seed)), bits(model))
        )
    assert runs[0][0] == runs[1][0] and same_bits(runs[0][1], runs[1][1])
    assert runs[0][0] != runs[2][0]


def test_history_and_best():
    seen = []
    result = train(
        objective_of(transceiver()), steps=14, on_epoch=lambda epoch, best: seen.append((epoch, best))
    )
    assert [e.steps for e in result.history] == [
        6,
        12,
        14,
    ] and result.steps == 14  # 90 sentences are 6 batches of 16
    assert [epoch for epoch, _ in seen] == result.history
    losses = [e.validation for e in result.history]
    assert result.best_loss == min(losses) and result.best_epoch == losses.index(min(losses)) + 1
    assert [best for _, best in seen] == [loss == min(losses[: i + 1]) for i, loss in enumerate(losses)]
    assert result.history[0].target_tokens == sum(len(e.source) - 1 for e in encoded(90))
    assert result.history[2].lr == learning_rate(14, 14, 3e-3, 5)


def test_epochs_give_as_many_passes():
    assert train(objective_of(transceiver()), epochs=3).steps == 18


def test_a_token_budget_counts_the_batches_of_every_epoch():
    sentences = encoded(90, 3, 12)
    result = train(objective_of(transceiver()), sentences, epochs=3, batch_size=128, batch_tokens=70)
    counts = [len(shuffled(sentences, 128, 0, epoch, 70)) for epoch in (1, 2, 3)]
    assert [e.steps for e in result.history] == [
        sum(counts[: k + 1]) for k in range(3)
    ] and result.steps == sum(counts)
    assert result.history[-1].lr == learning_rate(result.steps, result.steps, 3e-3, 5)
    cells = sum(
        max(len(e.source) - 1 for e in batch) * len(batch)
        for epoch in (1, 2, 3)
        for batch in shuffled(sentences, 128, 0, epoch, 70)
    )
    assert result.padding == pytest.approx(1 - 3 * sum(len(e.source) - 1 for e in sentences) / cells)


def test_minutes_and_a_token_budget():
    result = train(objective_of(transceiver()), minutes=0.003, batch_size=128, batch_tokens=70)
    assert result.steps >= 1 and result.history and not result.failed


def test_validation_is_a_mean_over_tokens_under_fixed_draws():
    model, held = transceiver(dropout=0.3), encoded(23, 3, 9)
    objective = objective_of(model, -6, 18).train()
    found = [validate(objective, by_length(held, together), C, CPU) for together in (23, 4, 1)]
    assert found == pytest.approx([found[0]] * 3, rel=1e-5) and found[0] == validate(
        objective, by_length(held, 23), C, CPU
    )
    assert objective.training, "training goes on after validation"
    with torch.no_grad():
        total = rows = 0
        for batch in by_length(held, 7):
            value, count = objective.eval()(batch, batch.draw(AWGN(), C, seed=0, number=0))["ce"]
            total, rows = total + float(value), rows + count
    assert found[0] == pytest.approx(total / rows, rel=1e-5) and rows == sum(len(e.source) - 1 for e in held)


def test_each_epoch_meets_new_noise_and_each_step_its_own_sentences():
    drawn = []

    class Watched(TransceiverObjective):
        def forward(self, batch, draw):
            if self.training:
                drawn.extend(zip((s.id for s in batch.sentences), draw.level.tolist()))
            return super().forward(batch, draw)

    train(Watched(transceiver(), AWGN(), (0.0, 0.0)), epochs=2)
    first, second = dict(drawn[:90]), dict(drawn[90:])
    assert len(first) == 90 and first.keys() == second.keys()
    assert all(first[i] != second[i] for i in first)


class Spoiled(TransceiverObjective):
    """Does ``spoil`` at one of the training steps."""

    def __init__(self, at, spoil):
        super().__init__(transceiver(), AWGN(), (6.0, 6.0))
        self.step, self.at, self.spoil = 0, at, spoil

    def forward(self, batch, draw):
        terms = super().forward(batch, draw)
        if self.training:
            self.step += 1
            if self.step == self.at:
                return self.spoil(terms)
        return terms


def interrupt(_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_step(value):
    result = train(Spoiled(9, lambda terms: {"ce": (terms["ce"][0] * value, terms["ce"][1])}), epochs=3)
    assert "epoch 2" in result.failed and "step 9" in result.failed
    assert len(result.history) == 1 and math.isfinite(result.best_loss)
    with pytest.raises(SemcomError, match="step 9.*is what is left.*smaller --lr"):
        check_whole(result, "this is what is left")


def test_weights_that_explode_in_the_last_step_are_noticed():
    result = train(objective_of(transceiver()), steps=1, lr=1e30)
    assert result.failed and not result.history and result.best_epoch == 0
    with pytest.raises(SemcomError, match="validation"):
        check_begun(result, "teacher.pt")


def test_no_weight_changes_by_a_step_that_is_not_finite():
    objective = Spoiled(1, lambda terms: {"ce": (terms["ce"][0] * math.nan, terms["ce"][1])})
    before = bits(objective)
    train(objective, epochs=1)
    assert same_bits(before, bits(objective))


def test_an_interrupt_keeps_what_is_finished():
    result = train(Spoiled(9, interrupt), epochs=3)
    assert result.stopped == "interrupted in epoch 2, step 9 of 18" and not result.failed
    assert len(result.history) == 1 and result.best_epoch == 1
    with pytest.raises(InterruptedRun, match="step 9 of 18"):
        check_whole(result, "nothing")
    assert not train(Spoiled(99, interrupt), epochs=1).stopped


def test_minutes_become_steps_that_repeat_exactly():
    """The calibration leaves weights, dropout's generator and the optimiser as they were."""
    timed, model = transceiver(dropout=0.2), transceiver(dropout=0.2)
    result = train(objective_of(timed, -6, 18, "rayleigh"), minutes=0.008)
    assert 2 < result.steps < 2000
    again = train(objective_of(model, -6, 18, "rayleigh"), steps=result.steps)
    assert numbers(result) == numbers(again) and same_bits(bits(timed), bits(model))


def test_gradient_is_clipped(monkeypatch):
    norms = []
    step = AdamW.step

    def watched(optimizer, lr, skip=None):
        norms.append(torch.stack([p.grad.norm() for p in optimizer.parameters]).norm().item())
        return step(optimizer, lr, skip)

    monkeypatch.setattr(AdamW, "step", watched)
    train(objective_of(transceiver()), steps=3, clip=0.01)
    assert norms == pytest.approx([0.01] * 3, rel=1e-3)


# Learning: random sentences of 8 kinds of piece, so that nothing but the channel can tell them.

KINDS = 8


def learn(snr, steps):
    model = transceiver(size(1, 32, 4, 64), size(1, 32, 4, 64), vocab_size=4 + KINDS)
    sentences = encoded(32 * steps, vocab_size=4 + KINDS)  # none is seen twice
    result = train(
        objective_of(model, snr, snr),
        sentences,
        validation=encoded(400, seed=5, vocab_size=4 + KINDS),
        batch_size=32,
        steps=steps,
        warmup_steps=30,
        lr=4e-3,
    )
    return model, result.history[-1].validation


def understood(model, *snrs):
    held = encoded(400, seed=5, vocab_size=4 + KINDS)
    meeting = Meeting(AWGN(), snrs, 0, CPU, 100, quiet=True)
    at_snrs = decode(Entrant("toy", model), held, Numbers(), meeting)
    return [score(decoded, held, meeting.scoring) for decoded in at_snrs]


def test_learns_to_copy_at_high_snr_and_fails_at_minus_twenty_db():
    model, loss = learn(18.0, 400)
    clean, drowned = understood(model, 18.0, -20.0)
    assert clean["exact"] > 0.9 and clean["token_accuracy"] > 0.97 and loss < 0.15
    assert drowned["exact"] < 0.05 and drowned["token_accuracy"] < 0.45


def test_nothing_learns_more_than_the_channel_carries():
    """At -20 dB a complex symbol carries ln(1.01) nats (Shannon): a loss under the rest would be a leak
    around the channel."""
    model, loss = learn(-20.0, 120)
    held = encoded(400, seed=5, vocab_size=4 + KINDS)
    tokens = sum(len(e.source) - 1 for e in held)
    entropy = sum((len(e.source) - 2) * math.log(KINDS) for e in held)
    carried = sum(len(e.source) for e in held) * C / 2 * math.log(1.01)
    # The bound holds in the mean; 400 sentences may be a little easier.
    assert loss > 0.97 * (entropy - carried) / tokens
    assert loss < 1.3 * entropy / tokens + 0.2, "it should at least learn what pieces there are"
    assert understood(model, -20.0)[0]["exact"] < 0.05


def test_a_large_corpus_under_a_token_budget_is_counted_in_its_first_epochs(monkeypatch):
    sentences = encoded(30, 3, 12)
    counts = [len(shuffled(sentences, 128, 0, epoch, 70)) for epoch in (1, 2)]
    for most, mean in ((10, counts[0]), (60, sum(counts) / 2), (89, sum(counts) / 2)):
        monkeypatch.setattr(trainer, "COUNTED_SENTENCES", most)
        config = TrainingConfig(epochs=1000, batch_tokens=70)
        assert trainer._steps_of_epochs(sentences, config, 0) == round(1000 * mean)


def test_ten_million_epochs_under_a_token_budget_are_counted_at_once():
    sentences = encoded(30, 3, 12)
    config = TrainingConfig(epochs=10**7, batch_tokens=70)
    counts = [len(shuffled(sentences, 128, 0, epoch, 70)) for epoch in range(1, trainer.COUNTED_EPOCHS + 1)]
    assert trainer._steps_of_epochs(sentences, config, 0) == sum(counts) * 10**7 // trainer.COUNTED_EPOCHS
