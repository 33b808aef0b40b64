"""What is trained and what is frozen; means over real tokens; one draw for teacher and student."""

import formulas
import pytest
import torch
import torch.nn.functional as F
from toy import CPU, C, V, bits, collated, encoded, same_bits, size, transceiver

from semcom.base import precision
from semcom.channel.channels import AWGN, Rayleigh
from semcom.data.batching import collate
from semcom.distillation.objectives import DistillationObjective, Frozen, TransceiverObjective
from semcom.distillation.settings import KD_LOSSES, DistillationConfig
from semcom.distillation.trainer import fit
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.models.layers import seed_dropout
from semcom.models.settings import PARTS, RECEIVER_PARTS, TRANSMITTER_PARTS
from semcom.models.transceiver import splice

TRAINED = {"full": PARTS, "encoder": TRANSMITTER_PARTS, "decoder": RECEIVER_PARTS}
LINK, RANGE = AWGN(), (-6.0, 18.0)


def pair(part, *, dropout=0.0, seed=2):
    """A teacher, and a shallower student whose untrained end is the teacher's."""
    teacher = transceiver(seed=1, dropout=dropout)
    student = splice(teacher, transceiver(size(1), size(1), seed=seed, dropout=dropout), TRAINED[part])
    return teacher, student


def distilling(part, teacher, student, *, channel=LINK, weight=0.7, temperature=4.0, feature=0.5):
    objective = DistillationObjective(
        [teacher],
        student,
        channel,
        RANGE,
        DistillationConfig(part, temperature, weight),
        TransferConfig(feature),
    )
    seed_dropout(objective, 0)
    return objective.train()


def means(objective, batch, number=0):
    with torch.no_grad():
        return {
            name: float(total.double()) / rows
            for name, (total, rows) in objective(batch, batch.draw(AWGN(), C, seed=0, number=number)).items()
        }


def loss(objective, batch):
    terms = objective(batch, batch.draw(AWGN(), C, seed=0, number=0))
    return sum(weight * terms[name][0] / terms[name][1] for name, weight in objective.weights.items())


def run(model, batch, number=0, snr_range=RANGE):
    """Signal, and state and logits at real target tokens, under the draw that an objective uses."""
    draw = batch.draw(AWGN(), C, seed=0, number=number)
    signal, _ = model.transmitter(batch.source, batch.source_mask)
    received = AWGN().apply(signal, draw, draw.snr_between(*snr_range))
    state = model.receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]
    return signal, state, model.receiver.project(state)


@pytest.mark.parametrize("part", TRAINED)
def test_training_moves_what_is_trained_and_no_frozen_bit(part):
    teacher, student = pair(part, dropout=0.1)
    before = {"teacher": bits(teacher), **{name: bits(student.part(name)) for name in PARTS}}
    fit(
        distilling(part, teacher, student),
        encoded(60),
        encoded(10, seed=1),
        TrainingConfig(batch_size=16, steps=4, lr=1e-2),
        width=C,
        device=CPU,
        seed=0,
        quiet=True,
        on_epoch=lambda *_: None,
    )
    assert same_bits(before["teacher"], bits(teacher))
    for name in PARTS:
        after = bits(student.part(name))
        if name in TRAINED[part]:
            moved = [key for key in after if not torch.equal(after[key], before[name][key])]
            assert set(after) - set(moved) <= {key for key in after if key.endswith("key.bias")}, (
                "softmax cancels a key's bias"
            )
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
        assert (
            all(g is not None for g in gradients)
            if name in TRAINED[part]
            else all(g is None for g in gradients)
        )
    optimised = {p for p in objective.parameters() if p.requires_grad}
    assert optimised == {p for name in TRAINED[part] for p in student.part(name).parameters()}


def test_transmitter_learns_through_the_frozen_receiver():
    teacher, student = pair("encoder")
    loss(distilling("encoder", teacher, student, weight=0.0, feature=0.0), collated(8)).backward()
    assert all(
        p.grad.abs().max() > 0
        for name, p in student.transmitter.named_parameters()
        if not name.endswith("key.bias")
    )


def test_frozen_cannot_leave_eval_nor_learn():
    teacher, student = pair("encoder", dropout=0.5)
    objective = distilling("encoder", teacher, student)
    for module in (teacher, student.receiver):
        assert not any(m.training for m in module.modules()) and not any(
            p.requires_grad for p in module.parameters()
        )
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
        (signal, state, logits), (their_signal, their_state, their_logits) = (
            run(m, batch) for m in (student, teacher)
        )
    targets, sent = batch.target_out[batch.target_mask], batch.source_mask
    expected = {
        "ce": F.cross_entropy(logits, targets),
        "kd": temperature**2
        * F.kl_div(
            (logits / temperature).log_softmax(-1),
            (their_logits / temperature).softmax(-1),
            reduction="batchmean",
        ),
    }
    if part != "decoder":
        expected["signal"] = F.mse_loss(signal[sent], their_signal[sent])
    if part != "encoder":
        expected["decoder"] = F.mse_loss(state, their_state)
    expected["distillation"] = 0.3 * expected["ce"] + 0.7 * expected["kd"]
    assert found == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-4)


@pytest.mark.parametrize("channel", [AWGN(), Rayleigh()], ids=str)
def test_teacher_and_student_meet_the_same_draw(channel):
    teacher = transceiver(seed=1)
    student = splice(teacher, teacher, PARTS)
    batch = collated(16)
    found = means(distilling("full", teacher, student, channel=channel), batch)
    assert found["kd"] == found["signal"] == found["decoder"] == 0
    assert found["ce"] != means(distilling("full", teacher, student, channel=channel), batch, number=1)["ce"]


def test_each_sentence_has_its_own_snr_within_the_range():
    model, batch = transceiver(), collated(16)
    objective = TransceiverObjective(model, AWGN(), (-20.0, 40.0))
    with torch.no_grad():
        expected = F.cross_entropy(
            run(model, batch, snr_range=(-20.0, 40.0))[2], batch.target_out[batch.target_mask]
        ).item()
    assert means(objective, batch)["ce"] == pytest.approx(expected, rel=1e-5)
    assert means(TransceiverObjective(model, AWGN(), (0.0, 0.0)), batch)["ce"] != pytest.approx(
        expected, rel=1e-5
    )


def distilling_by(settings, transfer=None, *, teachers=None, student=None, channel=LINK):
    """An objective of full mode with any settings; two teachers of unequal widths, a student of another
    width."""
    teachers = teachers or [transceiver(seed=1)]
    objective = DistillationObjective(
        teachers, student or transceiver(size(1), size(1), seed=2), channel, RANGE, settings, transfer
    )
    return objective.train()


def everything():
    yield pytest.param(lambda: TransceiverObjective(transceiver(), AWGN(), RANGE).train(), id="transceiver")
    for part in TRAINED:
        yield pytest.param(lambda part=part: distilling(part, *pair(part)), id=part)
    narrow = lambda: transceiver(size(1, 8), size(1, 8), seed=2)  # noqa: E731
    yield pytest.param(lambda: distilling_by(DistillationConfig(scales=(1, 2, 4))), id="scales")
    yield pytest.param(
        lambda: distilling_by(DistillationConfig(scales=(2, 3), kd_loss="skl", standardize_logits=True)),
        id="standardised scales",
    )
    yield pytest.param(
        lambda: distilling_by(DistillationConfig(), TransferConfig(cross_weight=0.5)), id="crossed"
    )
    yield pytest.param(
        lambda: distilling_by(DistillationConfig(), TransferConfig(0.5, 0.3), student=narrow()),
        id="mapped features",
    )
    yield pytest.param(
        lambda: distilling_by(DistillationConfig(), TransferConfig(0.5, 0.3, feature_loss="cosine")),
        id="cosine",
    )
    yield pytest.param(
        lambda: distilling_by(
            DistillationConfig(
                temperature_schedule="snr", final_temperature=1.0, weight_schedule="snr", final_weight=0.1
            )
        ),
        id="by SNR",
    )
    yield pytest.param(
        lambda: distilling_by(DistillationConfig(), teachers=[transceiver(seed=1), narrow()]),
        id="two teachers",
    )
    yield pytest.param(
        lambda: distilling_by(
            DistillationConfig(scales=(1, 3), temperature_schedule="snr", final_temperature=1.0),
            teachers=[transceiver(seed=1), narrow()],
        ),
        id="scales by SNR of two teachers",
    )


ROWS_OF = {"signal": "source", "encoder": "source", "scales": "segments", "complementary": "segments"}


def segment_count(batch, scales):
    return sum(scale for tokens in (n - 1 for n in batch.lengths) for scale in scales if scale <= tokens)


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
    terms = objective(wide, wide.draw(AWGN(), C, seed=0, number=0))
    sizes = {
        "source": sum(batch.lengths),
        "segments": segment_count(batch, getattr(getattr(objective, "settings", None), "scales", ())),
    }
    rows = {name: sizes.get(ROWS_OF.get(name), batch.target_tokens) for name in terms}
    assert {name: count for name, (_, count) in terms.items()} == rows


@pytest.mark.parametrize("make", list(everything()))
def test_a_batch_is_the_sum_of_its_sentences(make):
    objective, sentences = make(), encoded(6, 3, 9)
    whole = collate(sentences)
    terms = objective(whole, whole.draw(AWGN(), C, seed=0, number=0))
    alone = [collate([s]) for s in sentences]
    parts = [objective(b, b.draw(AWGN(), C, seed=0, number=0)) for b in alone]
    for name, (total, rows) in terms.items():
        assert total.item() == pytest.approx(sum(p[name][0].item() for p in parts), rel=1e-5)
        assert rows == sum(p[name][1] for p in parts)


@pytest.mark.parametrize(
    "part, weight, feature, expected",
    [
        ("full", 0.7, 0.5, {"distillation": 1, "signal": 0.5, "decoder": 0.5}),
        ("encoder", 0.7, 0.5, {"distillation": 1, "signal": 0.5}),
        ("decoder", 0.7, 0.5, {"distillation": 1, "decoder": 0.5}),
        ("full", 1.0, 0.0, {"distillation": 1}),
        ("decoder", 0.0, 0.0, {"ce": 1}),
    ],
)
def test_weights(part, weight, feature, expected):
    objective = distilling(part, *pair(part), weight=weight, feature=feature)
    assert objective.weights == pytest.approx(expected)
    assert means(objective, collated(4)).keys() == expected.keys() | ({"ce", "kd"} if weight else set())


def logits_of(teachers, batch):
    with torch.no_grad():
        return [run(teacher, batch)[2] for teacher in teachers]


@pytest.mark.parametrize("name", KD_LOSSES)
def test_the_named_divergence_is_what_is_measured(name):
    settings = DistillationConfig(kd_loss=name, temperature=2.0)
    objective, batch = distilling_by(settings), collated(8)
    objective.progress = 1.0
    teacher, student = logits_of([transceiver(seed=1), transceiver(size(1), size(1), seed=2)], batch)
    targets = batch.target_out[batch.target_mask]
    divergence = (
        {
            "kd": formulas.kd(student, teacher, 2.0),
            "rkl": formulas.rkl(student, teacher, 2.0),
            "jsd": formulas.jsd(student, teacher, 2.0, 0.5),
            "skl": formulas.skl(student, teacher, 2.0, 0.1),
            "dkd": formulas.dkd(student, teacher, targets, 2.0, 1.0, 8.0),
        }[name]
        .mean()
        .item()
    )
    found = means(objective, batch)
    assert found["kd"] == pytest.approx(divergence, rel=1e-4)
    assert found["distillation"] == pytest.approx(0.3 * found["ce"] + 0.7 * divergence, rel=1e-4)


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {
            "temperature_schedule": "snr",
            "final_temperature": 5.0,
            "weight_schedule": "snr",
            "final_weight": 0.2,
        },
    ],
    ids=["constant", "by SNR"],
)
def test_scales_against_a_loop_over_segments(schedule):
    settings = DistillationConfig(scales=(1, 2, 4), temperature=2.0, complementary_weight=3.0, **schedule)
    teacher, student = transceiver(seed=1), transceiver(size(1), size(1), seed=2)
    batch = collate(encoded(6, 1, 7))
    with torch.no_grad():
        teacher.receiver.decoder.embedding.table.weight *= (
            20  # so that what is said last decides what comes next
        )
        ours, theirs = (run(model, batch)[1] for model in (student, teacher))
    total, apart, count, start = 0.0, 0, 0, 0
    for level, tokens in zip(
        batch.draw(AWGN(), C, seed=0, number=0).level.tolist(), (n - 1 for n in batch.lengths)
    ):
        t, weight = (2 + 3 * level, 0.7 - 0.5 * level) if schedule else (2.0, 0.7)
        whole = teacher.receiver.project(theirs[start : start + tokens].mean(0)).argmax()
        for scale in (m for m in (1, 2, 4) if m <= tokens):
            for k in range(scale):
                part = slice(start + k * tokens // scale, start + (k + 1) * tokens // scale)
                heard, said = (
                    model.receiver.project(state[part].mean(0))
                    for model, state in ((student, ours), (teacher, theirs))
                )
                other = bool(said.argmax() != whole)
                total += weight * (3.0 if other else 1.0) * formulas.kd(heard, said, t).item()
                apart, count = apart + other, count + 1
        start += tokens
    found = means(distilling_by(settings, teachers=[teacher], student=student), batch)
    assert 0 < apart < count and found["complementary"] == pytest.approx(apart / count)
    assert found["scales"] == pytest.approx(total / count, rel=1e-4)


def test_crossed_pairs_are_the_two_splices():
    teacher, student, batch = transceiver(seed=1), transceiver(size(1), size(1), seed=2), collated(8)
    found = means(
        distilling_by(
            DistillationConfig(distill_weight=0.0),
            TransferConfig(cross_weight=0.5),
            teachers=[teacher],
            student=student,
        ),
        batch,
    )
    targets = batch.target_out[batch.target_mask]
    for name, parts in (("cross_transmitter", TRANSMITTER_PARTS), ("cross_receiver", RECEIVER_PARTS)):
        with torch.no_grad():
            expected = F.cross_entropy(run(splice(teacher, student, parts), batch)[2], targets).item()
        assert found[name] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("mean", ["logits", "probabilities"])
def test_two_teachers_each_through_its_own_pair(mean):
    teachers, student, batch = (
        [transceiver(seed=1), transceiver(size(1, 8), size(1, 24), seed=3)],
        transceiver(size(1), size(1), seed=2),
        collated(8),
    )
    found = means(
        distilling_by(
            DistillationConfig(temperature=2.0),
            TransferConfig(teacher_mean=mean, teacher_weights=(3.0, 1.0)),
            teachers=teachers,
            student=student,
        ),
        batch,
    )
    first, other, ours = logits_of([*teachers, student], batch)
    expected = 0.75 * first + 0.25 * other
    if mean == "probabilities":
        expected = 2 * (0.75 * (first / 2).softmax(-1) + 0.25 * (other / 2).softmax(-1)).log()
    assert found["kd"] == pytest.approx(formulas.kd(ours, expected, 2.0).mean().item(), rel=1e-4)


def test_in_a_part_mode_the_first_teacher_lends_the_frozen_end():
    teachers = [transceiver(seed=1), transceiver(seed=3)]
    student = splice(teachers[0], transceiver(size(1), size(1), seed=2), RECEIVER_PARTS)
    objective, batch = (
        distilling_by(DistillationConfig("decoder", temperature=2.0), teachers=teachers, student=student),
        collated(8),
    )
    first, other, ours = logits_of([*teachers, student], batch)
    assert means(objective, batch)["kd"] == pytest.approx(
        formulas.kd(ours, (first + other) / 2, 2.0).mean().item(), rel=1e-4
    )


def test_encoder_states_signals_and_decoder_states_in_widths_of_their_own():
    teacher, student, batch = transceiver(seed=1), transceiver(size(1, 8), size(1, 24), seed=2), collated(8)
    objective = distilling_by(
        DistillationConfig(), TransferConfig(0.5, 0.3), teachers=[teacher], student=student
    )
    assert {name: tuple(m.weight.shape) for name, m in objective.maps.items()} == {
        "encoder": (16, 8),
        "decoder": (16, 24),
    }
    assert objective.weights == {"distillation": 1.0, "encoder": 0.3, "signal": 0.5, "decoder": 0.5}
    found, sent = means(objective, batch), batch.source_mask
    with torch.no_grad():
        ours, theirs = (m.transmitter(batch.source, batch.source_mask) for m in (student, teacher))
        states = [run(m, batch)[1] for m in (student, teacher)]
        assert found["encoder"] == pytest.approx(
            F.mse_loss(objective.maps["encoder"](ours[1][sent]), theirs[1][sent]).item(), rel=1e-4
        )
        assert found["decoder"] == pytest.approx(
            F.mse_loss(objective.maps["decoder"](states[0]), states[1]).item(), rel=1e-4
        )
        assert found["signal"] == pytest.approx(F.mse_loss(ours[0][sent], theirs[0][sent]).item(), rel=1e-4)
    loss(objective, batch).backward()
    assert all(m.weight.grad.abs().max() > 0 for m in objective.maps.values())
    assert all(p.grad is None for p in teacher.parameters())


def test_schedules_follow_the_run_and_the_snr():
    over_run = distilling_by(
        DistillationConfig(temperature=8.0, temperature_schedule="linear", final_temperature=2.0)
    )
    batch = collated(8)
    for progress, temperature in ((0.0, 8.0), (0.5, 5.0), (1.0, 2.0)):
        over_run.progress = progress
        constant = means(distilling_by(DistillationConfig(temperature=temperature)), batch)
        assert means(over_run, batch) == pytest.approx(constant, rel=1e-5)
    by_snr = distilling_by(
        DistillationConfig(
            temperature=8.0,
            temperature_schedule="snr",
            final_temperature=2.0,
            weight_schedule="snr",
            final_weight=0.1,
        )
    )
    student, teacher = logits_of([transceiver(size(1), size(1), seed=2), transceiver(seed=1)], batch)
    level = batch.draw(AWGN(), C, seed=0, number=0).level.repeat_interleave(batch.target_mask.sum(1))
    kd = torch.stack([formulas.kd(s, t, float(8 - 6 * x)) for s, t, x in zip(student, teacher, level)])
    ce = F.cross_entropy(student, batch.target_out[batch.target_mask], reduction="none")
    weight = 0.7 - 0.6 * level
    assert means(by_snr, batch)["distillation"] == pytest.approx(
        ((1 - weight) * ce + weight * kd).mean().item(), rel=1e-4
    )


def test_validation_asks_for_cross_entropy_alone():
    teacher, student = pair("full")
    objective, batch = distilling("full", teacher, student), collated(8)
    training = means(objective, batch)["ce"]
    assert means(objective.eval(), batch) == pytest.approx({"ce": training})


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.native)])
@pytest.mark.parametrize("students, teachers", [("fp32", "bf16"), ("bf16", "fp32")])
def test_a_teacher_of_another_precision(students, teachers, compiled):
    teacher, student = pair("full")
    batch, by = collated(8), {"compiled": compiled}

    def found(of_teachers):
        settings, transfer = (
            DistillationConfig("full", 2.0, 0.7),
            TransferConfig(teacher_precision=of_teachers),
        )
        objective = DistillationObjective([teacher], student, LINK, RANGE, settings, transfer, **by)
        with precision.products(students, CPU):
            return means(objective.train(), batch)

    with precision.products(students, CPU), torch.no_grad():
        ours = run(student, batch)[-1].float()
    with precision.products(teachers, CPU), torch.no_grad():
        theirs = run(teacher, batch)[-1].float()
    mixed, alike = found(teachers), found("auto")
    assert mixed["ce"] == alike["ce"] and mixed["kd"] != alike["kd"]
    assert mixed["kd"] == pytest.approx(float(formulas.kd(ours, theirs, 2.0).mean()), rel=2e-2)
    assert found(students) == alike
