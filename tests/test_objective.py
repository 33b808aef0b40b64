"""What is trained and what is frozen; means over real tokens; one draw for teacher and student."""
import pytest
import torch
import torch.nn.functional as F
from toy import CPU, C, V, bits, collated, encoded, same_bits, size, transceiver

from semcom.batching import collate
from semcom.channel import Channel, apply
from semcom.config import TrainingConfig
from semcom.errors import SemcomError
from semcom.layers import seed_dropout
from semcom.objective import DistillationObjective, Frozen, TransceiverObjective
from semcom.trainer import fit
from semcom.transceiver import PARTS, RECEIVER_PARTS, TRANSMITTER_PARTS, splice

TRAINED = {"full": PARTS, "encoder": TRANSMITTER_PARTS, "decoder": RECEIVER_PARTS}
AWGN, RANGE = Channel("awgn"), (-6.0, 18.0)


def pair(part, *, dropout=0.0, seed=2):
    """A teacher, and a shallower student whose untrained end is the teacher's."""
    teacher = transceiver(seed=1, dropout=dropout)
    student = splice(teacher, transceiver(size(1), size(1), seed=seed, dropout=dropout), TRAINED[part])
    return teacher, student


def distilling(part, teacher, student, *, channel=AWGN, weight=0.7, temperature=4.0, feature=0.5):
    objective = DistillationObjective(part, teacher, student, channel, RANGE, temperature=temperature,
                                      distill_weight=weight, feature_weight=feature)
    seed_dropout(objective, 0)
    return objective.train()


def means(objective, batch, number=0):
    with torch.no_grad():
        return {name: float(total.double()) / rows for name, (total, rows) in objective(batch, batch.draw(C, seed=0, number=number)).items()}


def loss(objective, batch):
    terms = objective(batch, batch.draw(C, seed=0, number=0))
    return sum(weight * terms[name][0] / terms[name][1] for name, weight in objective.weights.items())


def run(model, batch, number=0, snr_range=RANGE):
    """Signal, and state and logits at real target tokens, under the draw that an objective uses."""
    draw = batch.draw(C, seed=0, number=number)
    signal, _ = model.transmitter(batch.source, batch.source_mask)
    received = apply(AWGN, signal, draw, draw.snr_between(*snr_range))
    state = model.receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]
    return signal, state, model.receiver.project(state)


@pytest.mark.parametrize("part", TRAINED)
def test_training_moves_what_is_trained_and_no_frozen_bit(part):
    teacher, student = pair(part, dropout=0.1)
    before = {"teacher": bits(teacher), **{name: bits(student.part(name)) for name in PARTS}}
    fit(distilling(part, teacher, student), encoded(60), encoded(10, seed=1), TrainingConfig(batch_size=16, steps=4, lr=1e-2), width=C,
        device=CPU, seed=0, quiet=True, on_epoch=lambda *_: None)
    assert same_bits(before["teacher"], bits(teacher))
    for name in PARTS:
        after = bits(student.part(name))
        if name in TRAINED[part]:
            moved = [key for key in after if not torch.equal(after[key], before[name][key])]
            assert set(after) - set(moved) <= {key for key in after if key.endswith("key.bias")}, "softmax cancels a key's bias"
        else:
            assert same_bits(before[name], after)


@pytest.mark.parametrize("part", TRAINED)
def test_gradient_reaches_what_is_trained_and_nothing_else(part):
    teacher, student = pair(part)
    objective = distilling(part, teacher, student)
    loss(objective, collated(8)).backward()
    assert all(p.grad is None for p in teacher.parameters())
    for name in PARTS:
        gradients = [p.grad for p in student.part(name).parameters()]
        assert all(g is not None for g in gradients) if name in TRAINED[part] else all(g is None for g in gradients)
    optimised = {p for p in objective.parameters() if p.requires_grad}
    assert optimised == {p for name in TRAINED[part] for p in student.part(name).parameters()}


def test_transmitter_learns_through_the_frozen_receiver():
    teacher, student = pair("encoder")
    loss(distilling("encoder", teacher, student, weight=0.0, feature=0.0), collated(8)).backward()
    assert all(p.grad.abs().max() > 0 for name, p in student.transmitter.named_parameters() if not name.endswith("key.bias"))


def test_frozen_cannot_leave_eval_nor_learn():
    teacher, student = pair("encoder", dropout=0.5)
    objective = distilling("encoder", teacher, student)
    for module in (teacher, student.receiver):
        assert not any(m.training for m in module.modules()) and not any(p.requires_grad for p in module.parameters())
    assert student.transmitter.training
    frozen = Frozen(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5))).train(True)
    assert not frozen.training or not any(m.training for m in frozen.module.modules())
    x = torch.ones(1, 2, requires_grad=True)
    assert torch.equal(frozen(x), frozen(x))
    frozen(x).sum().backward()
    assert x.grad.abs().sum() > 0 and all(p.grad is None for p in frozen.parameters())
    objective.eval()
    assert not student.transmitter.training


@pytest.mark.parametrize("part", TRAINED)
def test_terms_against_two_models_run_apart(part):
    teacher, student = pair(part)
    batch, temperature = collated(8), 3.0
    found = means(distilling(part, teacher, student, temperature=temperature), batch)
    with torch.no_grad():
        (signal, state, logits), (their_signal, their_state, their_logits) = (run(m, batch) for m in (student, teacher))
    targets, sent = batch.target_out[batch.target_mask], batch.source_mask
    expected = {"ce": F.cross_entropy(logits, targets), "kd": temperature**2 * F.kl_div(
        (logits / temperature).log_softmax(-1), (their_logits / temperature).softmax(-1), reduction="batchmean")}
    if part != "decoder":
        expected["signal"] = F.mse_loss(signal[sent], their_signal[sent])
    if part != "encoder":
        expected["state"] = F.mse_loss(state, their_state)
    assert found == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-4)


@pytest.mark.parametrize("channel", [Channel("awgn"), Channel("rayleigh")], ids=str)
def test_teacher_and_student_meet_the_same_draw(channel):
    teacher = transceiver(seed=1)
    student = splice(teacher, teacher, PARTS)
    batch = collated(16)
    found = means(distilling("full", teacher, student, channel=channel), batch)
    assert found["kd"] == found["signal"] == found["state"] == 0
    assert found["ce"] != means(distilling("full", teacher, student, channel=channel), batch, number=1)["ce"]


def test_each_sentence_has_its_own_snr_within_the_range():
    model, batch = transceiver(), collated(16)
    objective = TransceiverObjective(model, AWGN, (-20.0, 40.0))
    with torch.no_grad():
        expected = F.cross_entropy(run(model, batch, snr_range=(-20.0, 40.0))[2], batch.target_out[batch.target_mask]).item()
    assert means(objective, batch)["ce"] == pytest.approx(expected, rel=1e-5)
    assert means(TransceiverObjective(model, AWGN, (0.0, 0.0)), batch)["ce"] != pytest.approx(expected, rel=1e-5)


def everything():
    yield pytest.param(lambda: TransceiverObjective(transceiver(), AWGN, RANGE).train(), id="transceiver")
    for part in TRAINED:
        yield pytest.param(lambda part=part: distilling(part, *pair(part)), id=part)


@pytest.mark.parametrize("make", list(everything()))
def test_means_are_over_real_tokens(make):
    objective, sentences = make(), encoded(12, 3, 9)
    batch = collate(sentences)
    expected = means(objective, batch)
    wide = collate(sentences, pad_to=30)
    garbled = collate(sentences, pad_to=30)
    garbled.source[~garbled.source_mask] = V - 1
    garbled.target_in[~garbled.target_mask] = V - 2
    garbled.target_out[~garbled.target_mask] = V - 3
    for other in (wide, garbled, collate(sentences[::-1]), collate(sentences + sentences)):
        assert means(objective, other) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    terms = objective(wide, wide.draw(C, seed=0, number=0))
    rows = {name: sum(batch.lengths) if name == "signal" else batch.target_tokens for name in terms}
    assert {name: count for name, (_, count) in terms.items()} == rows


@pytest.mark.parametrize("make", list(everything()))
def test_a_batch_is_the_sum_of_its_sentences(make):
    objective, sentences = make(), encoded(6, 3, 9)
    whole = collate(sentences)
    terms = objective(whole, whole.draw(C, seed=0, number=0))
    alone = [collate([s]) for s in sentences]
    parts = [objective(b, b.draw(C, seed=0, number=0)) for b in alone]
    for name, (total, rows) in terms.items():
        assert total.item() == pytest.approx(sum(p[name][0].item() for p in parts), rel=1e-5)
        assert rows == sum(p[name][1] for p in parts)


@pytest.mark.parametrize("part, weight, feature, expected", [
    ("full", 0.7, 0.5, {"ce": 0.3, "kd": 0.7, "signal": 0.5, "state": 0.5}), ("encoder", 0.7, 0.5, {"ce": 0.3, "kd": 0.7, "signal": 0.5}),
    ("decoder", 0.7, 0.5, {"ce": 0.3, "kd": 0.7, "state": 0.5}), ("full", 1.0, 0.0, {"ce": 0.0, "kd": 1.0}), ("decoder", 0.0, 0.0, {"ce": 1.0})])
def test_weights(part, weight, feature, expected):
    objective = distilling(part, *pair(part), weight=weight, feature=feature)
    assert objective.weights == pytest.approx(expected)
    assert means(objective, collated(4)).keys() == expected.keys()


def test_states_of_unequal_width_are_refused():
    teacher, student = transceiver(), transceiver(size(1, 24, 2, 8), size(1, 24, 2, 8))
    with pytest.raises(SemcomError, match="--feature-weight 0.5: .*24 wide.*16 in the teacher; give --feature-weight 0"):
        distilling("full", teacher, student)
    assert "state" not in distilling("encoder", teacher, splice(teacher, student, TRANSMITTER_PARTS)).weights
    assert "kd" in means(distilling("full", teacher, student, feature=0.0), collated(4))


def test_validation_asks_for_cross_entropy_alone():
    teacher, student = pair("full")
    objective, batch = distilling("full", teacher, student), collated(8)
    training = means(objective, batch)["ce"]
    assert means(objective.eval(), batch) == pytest.approx({"ce": training})
