"""Snapshots taken while a student trains: when, which are kept, which are chosen; training is the same."""

import math

import pytest
import torch
from test_trainer import numbers, objective_of, train
from toy import CPU, C, bits, channel_of, encoded, same_bits, size, transceiver

from semcom.distillation import trainer
from semcom.distillation.objectives import DistillationObjective
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.snapshots import KEPT, Snapshots, from_state_dict, is_candidate, to_state_dict
from semcom.distillation.training_settings import TrainingConfig


def taken(losses):
    """After a step for each of these losses; the student's first weight counts the steps."""
    student = transceiver(size(1), size(1))
    made = Snapshots(student, ["receiver"])
    counter = next(student.receiver.parameters())
    for step, loss in enumerate(losses, start=1):
        with torch.no_grad():
            counter.view(-1)[0] = step
        made.after_step(step, {"ce": loss, "kd": -1.0})
    return made


def curve(steps, seed=0):
    """Like a loss in training: a plateau, a fall, a long tail, and noise."""
    noise = torch.randn(steps, generator=torch.Generator().manual_seed(seed)).mul(0.05).tolist()
    return [0.5 + 5 / (1 + (k / 60) ** 1.5) + e for k, e in enumerate(noise)]


def by_hand(losses, until):
    """Steps and losses of the start and of all candidates before ``until``, none dropped."""
    steps = sorted({m * 2**k for m in (1, 3) for k in range(20) if m * 2**k < until})
    edges = zip([0, *steps], steps)
    return [(0, losses[0])] + [
        (after, sum(losses[before:after]) / (after - before)) for before, after in edges
    ]


def test_candidates_come_at_geometric_steps():
    found = [step for step in range(1, 200) if is_candidate(step)]
    assert found == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192]


def test_a_candidate_has_its_steps_weights_and_the_mean_loss_since_the_last():
    losses = curve(13)
    made = taken(losses)
    assert [c.step for c in made.candidates] == [0, 1, 2, 3, 4, 6, 8, 12]
    for snapshot, (step, loss) in zip(made.candidates, by_hand(losses, 13)):
        assert snapshot.step == step and snapshot.loss == pytest.approx(loss)
        counter = next(iter(snapshot.weights.values())).view(-1)[0]
        assert step == 0 or counter == step
    assert made.start is made.candidates[0].weights


@pytest.mark.parametrize("steps", [40, 130, 700, 5000])
def test_the_chosen_are_nearest_to_a_third_and_two_thirds_by_brute_force(steps):
    losses = curve(steps)
    made = taken(losses)
    start, *inner = made.chosen(steps)
    assert start.step == 0 and len(inner) <= 2
    assert [s.step for s in inner] == sorted({s.step for s in inner})
    candidates = by_hand(losses, steps)
    kept = [c.step for c in made.candidates]
    assert len(kept) <= KEPT + 1
    last = candidates[-1][0]
    best = sum(losses[last:]) / (steps - last)
    if steps < 64:  # nothing was dropped yet
        assert kept == [step for step, _ in candidates]
    ways = {step: (losses[0] - loss) / (losses[0] - best) for step, loss in candidates}
    for place, snapshot in zip((1 / 3, 2 / 3), inner):
        nearest = min(candidates[1:], key=lambda c: abs(ways[c[0]] - place))
        assert abs(ways[snapshot.step] - place) <= abs(ways[nearest[0]] - place) + 0.05
        if nearest[0] in kept:
            assert snapshot.step == nearest[0]
    assert len(inner) == 2


def test_of_many_candidates_those_stay_that_are_spaced_in_loss():
    made = taken([1.0] * 600 + [1.0 - k / 5000 for k in range(4500)])
    assert len(made.candidates) == KEPT + 1
    kept = [c.step for c in made.candidates]
    assert kept[0] == 0 and kept[-1] == 4096, "start and last stay"
    assert {1024, 1536, 2048, 3072} < set(kept), "the plateau thins out, not the fall"


def test_nothing_after_the_best_epoch_is_chosen():
    made = taken(curve(700))
    assert all(s.step < 64 for s in made.chosen(64))
    assert [s.step for s in made.chosen(1)] == [0]


@pytest.mark.parametrize("losses", [[1.0] * 40, [2.0] + [1.0] * 40, [1.0] * 39 + [0.0]])
def test_where_no_candidate_lies_on_the_way_there_is_the_start_alone(losses):
    assert [s.step for s in taken(losses).chosen(len(losses))] == [0]


def test_a_loss_that_rises_is_spaced_too():
    rising = [2 - loss / 5 for loss in curve(300)]
    assert len(taken(rising).chosen(300)) == 3


def test_the_file_holds_each_snapshots_parameters_by_name():
    chosen = taken(curve(300)).chosen(300)
    state = to_state_dict(chosen)
    names = {f"receiver.{n}" for n, _ in transceiver(size(1), size(1)).receiver.named_parameters()}
    assert state.keys() == {f"{k}.{name}" for k in range(3) for name in names}
    for snapshot, weights in zip(chosen, from_state_dict(state)):
        assert same_bits(snapshot.weights, weights)
    with pytest.raises(ValueError):
        from_state_dict({"receiver.x": torch.zeros(1)})


@pytest.mark.parametrize("part", ["decoder", "encoder", "full"])
def test_training_is_the_same_to_the_bit_and_snapshots_are_its_weights(part):
    ends = {"decoder": ["receiver"], "encoder": ["transmitter"], "full": ["transmitter", "receiver"]}[part]

    def distil(steps, watch):
        teacher, student = transceiver(seed=1), transceiver(seed=2, dropout=0.1)
        objective = DistillationObjective(
            [teacher], student, channel_of("awgn"), (0.0, 12.0), DistillationConfig(distill_part=part)
        )
        watched = Snapshots(student, ends)
        config = TrainingConfig(batch_size=16, steps=steps, lr=3e-3)
        result = trainer.fit(
            objective, encoded(90), encoded(20, seed=9), config, width=C, device=CPU, seed=0, quiet=True,
            on_epoch=lambda *_: None, on_step=watched.after_step if watch else None,
        )  # fmt: skip
        return numbers(result), bits(student), watched

    plain, watched = distil(14, False), distil(14, True)
    assert plain[0] == watched[0] and same_bits(plain[1], watched[1])
    found = watched[2].candidates
    assert [c.step for c in found] == [0, 1, 2, 3, 4, 6, 8, 12]
    fresh = transceiver(seed=2, dropout=0.1)
    start = {f"{end}.{n}": w.data for end in ends for n, w in fresh.end(end).named_parameters()}
    assert same_bits(found[0].weights, start)
    assert not any(torch.equal(a, b) for a, b in zip(found[1].weights.values(), found[2].weights.values()))
    assert found[0].loss == found[1].loss


def test_on_step_tells_the_steps_and_means_of_an_epoch():
    told = []
    model = transceiver()
    result = trainer.fit(
        objective_of(model), encoded(90), encoded(20, seed=9), TrainingConfig(batch_size=30, epochs=2),
        width=C, device=CPU, seed=0, quiet=True, on_epoch=lambda *_: None,
        on_step=lambda step, means: told.append((step, means["ce"], next(model.parameters()).sum().item())),
    )  # fmt: skip
    assert [step for step, *_ in told] == [1, 2, 3, 4, 5, 6]
    assert len({weights for *_, weights in told}) == 6, "after each step its own weights"
    for k, epoch in enumerate(result.history):
        ours = [ce for _, ce, _ in told[3 * k : 3 * k + 3]]
        assert min(ours) < epoch.loss < max(ours)
        assert math.isclose(sum(ours) / 3, epoch.loss, rel_tol=0.02), "batches have about as many tokens"


def test_without_the_hook_nothing_is_called():
    assert train(objective_of(transceiver()), steps=2).steps == 2
