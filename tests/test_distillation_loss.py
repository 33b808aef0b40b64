"""``DistillationLoss`` in a loop of one's own: without a progress, summed over batches, targets of every
kind, and what does not fit refused in one line."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from semcom.base.errors import SemcomError
from semcom.distillation import kd_loss
from semcom.distillation.kd_loss import UNLABELLED, DistillationLoss
from semcom.distillation.settings import DistillationConfig

V = 5


def logits(seed, *shape):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = logits(0, 8, V), logits(1, 8, V)
TARGETS = torch.randint(V, (8,), generator=torch.Generator().manual_seed(2))


def close(found, expected):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), rtol=1e-12, atol=1e-12)


def kl(student, teacher, t):
    """T^2 * KL, a mean over rows, by torch."""
    given = (student / t).log_softmax(-1), (teacher / t).softmax(-1)
    return t**2 * F.kl_div(*given, reduction="none").sum(-1).mean()


# Outside of a loop that drives it


def test_a_loss_that_warms_up_distils_in_a_loop_of_ones_own():
    loss = DistillationLoss(DistillationConfig(kd_loss="dkd"))
    found = loss(STUDENT, TEACHER, TARGETS)
    assert loss.progress is None and found["kd"] > 0
    close(found["loss"], 0.3 * found["ce"] + 0.7 * found["kd"])
    loss.progress = 0.0
    begun = loss(STUDENT, TEACHER, TARGETS)
    close(begun["loss"], 0.3 * begun["ce"])


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize("of, end", [("temperature", 1.0), ("weight", 0.2)])
def test_a_schedule_says_that_it_needs_a_progress(shape, of, end):
    loss = DistillationLoss(DistillationConfig(**{f"{of}_schedule": shape, f"final_{of}": end}))
    with pytest.raises(
        SemcomError, match=rf"a {shape} schedule .* to {end:g}: .* set loss\.progress, from 0 to 1"
    ):
        loss(STUDENT, TEACHER, TARGETS)
    loss.progress = 0.5
    assert loss(STUDENT, TEACHER, TARGETS)["loss"].isfinite()


def test_sums_of_unlike_batches_make_the_means_of_all():
    loss = DistillationLoss(DistillationConfig(scales=(1, 2)))
    targets = TARGETS.masked_fill(torch.arange(8) < 5, UNLABELLED)
    grids = {"student_grid": logits(3, 8, 2, 2, V), "teacher_grid": logits(4, 8, 2, 2, V)}
    whole = loss(STUDENT, TEACHER, targets, **grids)
    totals = {}
    for part in (slice(0, 6), slice(6, 8)):
        of_part = {name: grid[part] for name, grid in grids.items()}
        for name, (total, rows) in loss.sums(STUDENT[part], TEACHER[part], targets[part], **of_part).items():
            before = totals.get(name, (0, 0))
            totals[name] = before[0] + total, before[1] + rows
    assert {name: rows for name, (_, rows) in totals.items()} == {
        "ce": 3,
        "kd": 8,
        "loss": 2,
        "scales": 8 * 5,
        "complementary": 8 * 5,
    }
    for name in ("ce", "kd", "scales", "complementary"):
        assert float(totals[name][0] / totals[name][1]) == pytest.approx(float(whole[name]), rel=1e-6)


# What is given to it


@pytest.mark.parametrize(
    "given, told",
    [
        ({"temperature": 3.0}, "type DistillationLoss(DistillationConfig(temperature=3))"),
        (
            {"temperature": 3.0, "alpha": 0.7},
            "type DistillationLoss(DistillationConfig(temperature=3, distill_weight=0.7)) if alpha weighs "
            "the teacher's part of the loss, as here, or distill_weight=0.3 if it weighs the labels' part",
        ),
        ({"reduction": "mean"}, "reduction= is not known"),
    ],
)
def test_settings_under_other_names_are_answered(given, told):
    with pytest.raises(SemcomError) as error:
        DistillationLoss(**given)
    assert told in str(error.value) and len(str(error.value)) <= 500


def test_settings_refuse_names_that_they_do_not_have():
    with pytest.raises(
        SemcomError, match=r"\(temperature=3, distill_weight=0\.7\) if alpha weighs .*=0\.3 if"
    ):
        DistillationConfig(temperature=3.0, alpha=0.7)
    with pytest.raises(SemcomError, match="did you mean kd_loss"):
        DistillationConfig(kd_los="kd")
    with pytest.raises(SemcomError, match="type DistillationLoss"):
        DistillationLoss(4.0)
    with pytest.raises(SemcomError, match="must be a DistillationConfig, and cross-entropy is part of it"):
        DistillationLoss(torch.nn.CrossEntropyLoss())
    with pytest.raises(SemcomError, match="ignore_in label: allowed are labels, both"):
        DistillationLoss(ignore_in="label")


@pytest.mark.parametrize("index", [UNLABELLED, -1, 255, 2])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_rows_without_a_label_leave_one_loss_or_both(index, dtype):
    if dtype == torch.uint8 and index < 0:
        return
    bare = torch.tensor([True, False, False, True, False, False, True, False])
    targets = torch.tensor([0, 1, 4, 3, 3, 1, 0, 4]).masked_fill(bare, index).to(dtype)
    ce = F.cross_entropy(STUDENT[~bare], targets[~bare].long())
    for where, rows in (("labels", slice(None)), ("both", ~bare)):
        found = DistillationLoss(ignore_index=index, ignore_in=where)(STUDENT, TEACHER, targets)
        close(found["ce"], ce)
        close(found["kd"], kl(STUDENT[rows], TEACHER[rows], 4.0))
        close(found["loss"], 0.3 * found["ce"] + 0.7 * found["kd"])


def test_targets_may_be_probabilities_as_mixup_makes_them():
    mixed = 0.3 * F.one_hot(TARGETS, V) + 0.7 * F.one_hot(TARGETS.flip(0), V)
    mask = torch.arange(8) < 6
    found = DistillationLoss()(STUDENT, TEACHER, mixed.double(), mask)
    close(found["ce"], F.cross_entropy(STUDENT[mask], mixed.double()[mask]))
    close(found["kd"], kl(STUDENT[mask], TEACHER[mask], 4.0))
    hard = DistillationLoss()(STUDENT, TEACHER, F.one_hot(TARGETS, V).double())
    close(hard["ce"], F.cross_entropy(STUDENT, TARGETS))
    with pytest.raises(SemcomError, match="probabilities: kd_loss dkd sets the one right class apart"):
        DistillationLoss(DistillationConfig(kd_loss="dkd"))(STUDENT, TEACHER, mixed.double())
    with pytest.raises(SemcomError, match="rows sum to 2 to 2; must be 0 or more and sum to 1"):
        DistillationLoss()(STUDENT, TEACHER, 2 * mixed.double())


@pytest.mark.parametrize("soft", [False, True])
def test_classes_may_lie_along_another_axis(soft):
    student, teacher = logits(5, 2, V, 3, 4), logits(6, 2, V, 3, 4)
    targets = torch.randint(V, (2, 3, 4), generator=torch.Generator().manual_seed(7))
    targets[0, 1] = 255
    if soft:
        targets = logits(8, 2, V, 3, 4).softmax(1)
    loss = DistillationLoss(DistillationConfig(standardize_logits=True), ignore_index=255, class_axis=1)
    found = loss(student, teacher, targets)
    close(found["ce"], F.cross_entropy(student, targets, **({} if soft else {"ignore_index": 255})))
    scores = [(x - x.mean(1, True)) / x.std(1, correction=0, keepdim=True) for x in (student, teacher)]
    close(found["kd"], kl(*(x.movedim(1, -1).flatten(0, -2) for x in scores), 1.0))


def test_classes_of_grids_lie_along_the_same_axis():
    grids = logits(9, 8, 2, 3, V), logits(10, 8, 2, 3, V)
    given = dict(zip(("student_grid", "teacher_grid"), grids))
    expected = DistillationLoss(DistillationConfig(scales=(1, 2)))(STUDENT, TEACHER, TARGETS, **given)
    given = {name: grid.movedim(-1, 1) for name, grid in given.items()}
    second = DistillationLoss(DistillationConfig(scales=(1, 2)), class_axis=1)
    found = second(STUDENT, TEACHER, TARGETS, **given)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("chooses", [True, False])
@pytest.mark.parametrize("where", ["labels", "both"])
def test_scores_are_of_labelled_rows_that_count(where, chooses, monkeypatch):
    monkeypatch.setattr(kd_loss, "can_choose", lambda logits: chooses)
    student, mask = logits(11, 4, V, 3), torch.arange(3).expand(4, 3) < 2
    targets = student.argmax(1)
    targets[0], targets[1, 1], targets[2] = 255, 255, (targets[2] + 1) % V
    rows = mask & (targets != 255)
    kept = student.movedim(1, -1)[rows], targets[rows]
    found = DistillationLoss(ignore_index=255, ignore_in=where, class_axis=1).scores(student, targets, mask)
    assert found["ce"][1] == found["accuracy"][1] == 5 and found["accuracy"][0] == 3
    close(found["ce"][0], F.cross_entropy(*kept, reduction="sum"))
    last = student.movedim(1, -1)
    scores = DistillationLoss().scores(last, last.softmax(-1))
    assert scores["accuracy"][0] == scores["accuracy"][1] == 12


# What does not fit: one line, with both shapes


def refused(told, student=STUDENT, teacher=TEACHER, targets=TARGETS, mask=None, loss=None, **grids):
    with pytest.raises(SemcomError) as error:
        (loss or DistillationLoss(DistillationConfig(scales=(1, 2))))(
            student, teacher, targets, mask, **grids
        )
    message = str(error.value)
    assert "\n" not in message and len(message) <= 500
    assert all(part in message for part in told), message


def test_logits_of_unlike_shapes():
    refused(("[8, 5]", "[8, 7]", "5 classes and 7"), teacher=logits(1, 8, 7))
    refused(("[8, 5]", "[6, 5]", "other rows"), teacher=logits(1, 6, V))
    refused(("[8, 5]", "[8, 2, 5]", "other rows"), teacher=logits(1, 8, 2, V))
    refused(("class_axis 2", "[8, 5]"), loss=DistillationLoss(class_axis=2))
    refused(
        ("teacher logits [8] of torch.int64", "loss(student_logits, teacher_logits, targets)"),
        teacher=TARGETS,
        targets=TEACHER,
    )


@pytest.mark.parametrize(
    "targets, told",
    [
        (TARGETS[:, None], ("[8, 1]", "[8, 5]", "must be [8]", "targets.squeeze(-1)")),
        (TARGETS[:4], ("[4]", "[8, 5]", "must be [8]")),
        (F.one_hot(TARGETS, V), ("[8, 5]", "argmax(-1)")),
        (TARGETS.float(), ("[8] of torch.float32", "targets.long()")),
        (TARGETS + 1, ("1 to 5", "0 to 4", "count classes from 0", "ignore_index=5")),
        (TARGETS.masked_fill(TARGETS == TARGETS[0], -1), ("-1 to ", "0 to 4", "ignore_index=-1")),
    ],
)
def test_targets_that_do_not_fit(targets, told):
    refused(told, targets=targets, loss=DistillationLoss())


def test_targets_of_places_beside_logits_with_the_classes_second():
    targets = torch.zeros(2, 3, 4, dtype=torch.long)
    pair = logits(1, 2, V, 3, 4), logits(2, 2, V, 3, 4)
    refused(("[2, 3, 4]", "[2, 5, 3, 4]", "class_axis=1"), *pair, targets, loss=DistillationLoss())


def test_masks_that_are_none():
    refused(("mask [8] of torch.int64", "torch.bool"), mask=torch.arange(8), loss=DistillationLoss())
    refused(("mask 4.0: must be a tensor", "temperature=…"), mask=4.0, loss=DistillationLoss())
    refused(("mask [4] of torch.bool", "must be [8]"), mask=torch.ones(4).bool(), loss=DistillationLoss())


@pytest.mark.parametrize(
    "shape, told",
    [
        ((8, V, 2, 2), ("[8, 5, 2, 2]", "must be [B, H, W, V]", "movedim(1, -1)", "class_axis=1")),
        ((8, 4, V), ("[8, 4, 5]", "must be [B, H, W, V]")),
        ((8, 2, 2, 3), ("[8, 2, 2, 3]", "8 images and 5 classes")),
        ((4, 2, 2, V), ("[4, 2, 2, 5]", "8 images and 5 classes")),
    ],
)
@pytest.mark.parametrize("whose", ["student_grid", "teacher_grid"])
def test_grids_that_do_not_fit(shape, told, whose):
    grids = {name: logits(3, 8, 2, 2, V) for name in ("student_grid", "teacher_grid")}
    refused((whose, *told), **{**grids, whose: logits(3, *shape)})


def test_without_scales_grids_are_not_looked_at():
    found = DistillationLoss()(STUDENT, TEACHER, TARGETS, student_grid=TARGETS, teacher_grid=None)
    assert found.keys() == {"ce", "kd", "loss"}


def test_grids_are_of_images():
    rows = logits(1, 2, 4, V), logits(2, 2, 4, V), TARGETS.view(2, 4)
    grids = {name: logits(3, 2, 2, 2, V) for name in ("student_grid", "teacher_grid")}
    refused(("student_grid", "logits are [B, V], not [2, 4, 5]"), *rows, **grids)


def test_what_a_mask_leaves_out_is_not_looked_at():
    mask, targets = torch.arange(8) < 6, TARGETS.clone()
    targets[6:] = 10**6
    assert math.isfinite(DistillationLoss()(STUDENT, TEACHER, targets, mask)["loss"])


# What it cannot take


@pytest.mark.parametrize(
    "given, words",
    [
        ((STUDENT, None, TARGETS), "teacher logits: a NoneType, .*give them, or .*distill_weight=0"),
        ((STUDENT.numpy(), TEACHER, TARGETS), r"student logits: a ndarray, .*torch.as_tensor"),
        ((STUDENT, TEACHER, TARGETS.tolist()), "targets: a list, must be a tensor.*the order is"),
        ((SimpleNamespace(logits=STUDENT), TEACHER, TARGETS), "give its .logits"),
    ],
)
def test_what_is_no_tensor_is_one_line(given, words):
    with pytest.raises(SemcomError, match=words):
        DistillationLoss()(*given)


def test_names_of_rows_and_axes_are_whole_numbers():
    for name in ("ignore_index", "class_axis"):
        with pytest.raises(SemcomError, match=f"{name} None: must be a whole number"):
            DistillationLoss(**{name: None})


@pytest.mark.parametrize("device", ["cpu", "elsewhere"])
def test_labels_alone_need_no_teacher(device, monkeypatch):
    monkeypatch.setattr(kd_loss, "can_choose", lambda logits: device == "cpu")
    loss = DistillationLoss(DistillationConfig(distill_weight=0.0))
    targets = TARGETS.clone()
    targets[:3] = UNLABELLED
    alone, beside = (loss(STUDENT, teacher, targets) for teacher in (None, TEACHER))
    assert {*alone} == {"ce", "loss"} and torch.equal(alone["loss"], beside["loss"])
    close(alone["loss"], F.cross_entropy(STUDENT[3:], targets[3:]))
