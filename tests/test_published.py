"""SDD and LSKD as their public code and papers have them, against loops written from the formulas."""

import argparse
import math
import statistics
import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from semcom.base.errors import SemcomError, Unwise
from semcom.base.flags import add_flags, as_record
from semcom.distillation import kd_loss, losses
from semcom.distillation.kd_loss import UNLABELLED, DistillationLoss
from semcom.distillation.published import PUBLISHED, published
from semcom.distillation.settings import OF_GRIDS, DistillationConfig

B, V = 6, 7


def logits(seed, *shape):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT_GRID, TEACHER_GRID = logits(0, B, 4, 5, V), logits(1, B, 5, 4, V)
STUDENT, TEACHER = STUDENT_GRID.mean((1, 2)), TEACHER_GRID.mean((1, 2))
# Half of the images are right for the teacher as a whole.
LABELS = torch.where(torch.arange(B) % 2 == 0, TEACHER.argmax(-1), (TEACHER.argmax(-1) + 2) % V)
FIELDS = (*OF_GRIDS, "standardize_ddof")


def found_by(settings, progress=None, student=STUDENT_GRID, teacher=TEACHER_GRID, labels=LABELS, mask=None):
    loss = DistillationLoss(settings)
    loss.progress = progress
    whole = student.mean((1, 2)), teacher.mean((1, 2))
    return loss(*whole, labels, mask, student_grid=student, teacher_grid=teacher)


def plain(name, **given):
    """Without the line on its weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Unwise)
        return published(name, **given)


# The formulas, number by number


def softmax(row):
    shifted = [math.exp(x - max(row)) for x in row]
    return [x / sum(shifted) for x in shifted]


def divergence(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q))


def score(row):
    """As LSKD's code has it: by V - 1, and with 1e-7 added."""
    mean, deviation = statistics.fmean(row), statistics.stdev(row)
    return [(x - mean) / (deviation + 1e-7) for x in row]


def base_loss(name, student, teacher, label):
    """Of one row, and at its T."""
    if "lskd" in name:
        student, teacher = score(student), score(teacher)
    t = 2.0 if "lskd" in name else 4.0
    p, q = softmax([x / t for x in teacher]), softmax([x / t for x in student])
    if "dkd" not in name:
        return t**2 * divergence(p, q)
    target = divergence([p[label], 1 - p[label]], [q[label], 1 - q[label]])
    others = [[x / (1 - row[label]) for i, x in enumerate(row) if i != label] for row in (p, q)]
    return t**2 * (1.0 * target + 8.0 * divergence(*others))


def regions(grid, scales):
    """[B, H, W, V] -> of each cell of each scale in turn, of each image, the mean of its places."""
    height, width = grid.shape[1:3]
    for scale in scales:
        for i in range(scale):
            for j in range(scale):
                rows = range(i * height // scale, math.ceil((i + 1) * height / scale))
                columns = range(j * width // scale, math.ceil((j + 1) * width / scale))
                places = [grid[:, r, c] for r in rows for c in columns]
                yield (sum(places) / len(places)).tolist()


def argmax(row):
    return max(range(len(row)), key=row.__getitem__)


def public_sdd(name, scales=(1, 2, 4), student=STUDENT_GRID, teacher=TEACHER_GRID):
    """The code's: regions by label, a mean over regions and images."""
    ours, theirs = list(regions(student, scales)), list(regions(teacher, scales))
    total = 0.0
    for of_student, of_teacher in zip(ours, theirs):
        for b, label in enumerate(LABELS.tolist()):
            here, whole = argmax(of_teacher[b]) == label, argmax(theirs[0][b]) == label
            weight = 1.0 if here == whole else 2.0
            total += weight * base_loss(name, of_student[b], of_teacher[b], label)
    return total / (len(ours) * B)


def paper_sdd(name, scales=(1, 2, 4)):
    """The paper's: regions by the teacher alone, a sum over regions and a mean over images."""
    ours, theirs = list(regions(STUDENT_GRID, scales)), list(regions(TEACHER_GRID, scales))
    total = 0.0
    for b, label in enumerate(LABELS.tolist()):
        for of_student, of_teacher in zip(ours, theirs):
            same = argmax(of_teacher[b]) == argmax(theirs[0][b])
            weight = 1.0 if same else 2.0
            total += weight * base_loss(name, of_student[b], of_teacher[b], label)
    return total / B


def public_base(name):
    """Of the images' logits alone."""
    rows = zip(STUDENT.tolist(), TEACHER.tolist(), LABELS.tolist())
    return statistics.fmean(base_loss(name, *row) for row in rows)


CE = F.cross_entropy(STUDENT, LABELS).item()
WEIGHTS = {"kd": (0.1, 0.9), "dkd": (1, 1), "sdd_dkd": (1, 1)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_is_its_formula_over_the_sum_of_its_weights(name):
    ce, kd = WEIGHTS.get(name, (1, 9))
    term = public_sdd(name) if name.startswith("sdd") else public_base(name)
    found = found_by(plain(name))["loss"].item()
    assert (ce + kd) * found == pytest.approx(ce * CE + kd * term, rel=1e-9)
    for epoch in (0, 10, 20, 200):
        warm = min(epoch / 20, 1) if "dkd" in name else 1
        found = found_by(plain(name), progress=epoch / 240)["loss"].item()
        assert (ce + kd) * found == pytest.approx(ce * CE + warm * kd * term, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith("sdd")])
def test_of_the_whole_image_alone_it_is_the_base_loss_of_the_logits(name):
    settings = plain(name, scales=[1])
    assert settings.scales == ()
    ce, kd = WEIGHTS.get(name, (1, 9))
    loss = DistillationLoss(settings)(STUDENT, TEACHER, LABELS)["loss"].item()
    assert (ce + kd) * loss == pytest.approx(ce * CE + kd * public_base(name), rel=1e-9)


@pytest.mark.parametrize("name", ["sdd_kd", "sdd_kd_lskd", "sdd_dkd"])
def test_the_papers_rule_and_sum(name):
    settings = replace(plain(name), complementary="teacher", scale_reduction="sum")
    assert found_by(settings)["scales"].item() == pytest.approx(paper_sdd(name), rel=1e-9)
    means = replace(settings, scale_reduction="mean")
    assert found_by(means)["scales"].item() == pytest.approx(paper_sdd(name) / 21, rel=1e-9)
    assert paper_sdd(name) / 21 != pytest.approx(public_sdd(name), rel=1e-3), "the two rules differ here"


def test_the_whole_image_is_one_cell_and_is_not_added_once_more():
    scales = DistillationConfig(scales=(1, 2), distill_weight=1.0, global_term="scales")
    alone, both = found_by(scales), found_by(replace(scales, global_term="both"))
    assert alone["loss"].item() == pytest.approx(alone["scales"].item())
    assert both["loss"].item() == pytest.approx((both["kd"] + both["scales"]).item())
    assert alone["kd"] == both["kd"], "for the log"


@pytest.mark.parametrize("kd", ["kd", "dkd"])
@pytest.mark.parametrize("term", ["both", "scales"])
def test_all_of_the_cells_warm_up(kd, term):
    settings = DistillationConfig(kd_loss=kd, scales=(1, 2), scale_warmup=0.25, global_term=term)
    for progress, share in ((None, 1), (0.0, 0), (0.1, 0.4), (0.25, 1), (1.0, 1)):
        found = found_by(settings, progress)
        base = kd_loss.weights(settings, progress)[1] * found["kd"] if term == "both" else 0
        cells = kd_loss.weights(settings, progress)[1] * share * found["scales"]
        assert found["loss"].item() == pytest.approx((0.3 * found["ce"] + base + cells).item())


def test_cells_warm_up_twice_over_where_their_loss_warms_up_too():
    settings = DistillationConfig(
        kd_loss="dkd", dkd_warmup=0.5, scales=(1, 2), scale_warmup=0.25, global_term="scales"
    )
    for progress, share in ((0.1, 0.2 * 0.4), (0.25, 0.5), (0.5, 1)):
        found = found_by(settings, progress)
        cells = settings.distill_weight * share * found["scales"]
        assert found["loss"].item() == pytest.approx((0.3 * found["ce"] + cells).item())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rule", ["teacher", "label"])
@pytest.mark.parametrize("chooses", [True, False])
def test_masks_and_rows_without_labels(reduction, rule, chooses, monkeypatch):
    monkeypatch.setattr(kd_loss, "can_choose", lambda logits: chooses)
    settings = DistillationConfig(scales=(1, 2), complementary=rule, scale_reduction=reduction)
    mask, labels = torch.arange(B) > 1, LABELS.clone()
    labels[3] = UNLABELLED
    found = found_by(settings, labels=labels, mask=mask)
    guessed = torch.where(labels == UNLABELLED, TEACHER.argmax(-1), labels)
    expected = found_by(settings, None, STUDENT_GRID[mask], TEACHER_GRID[mask], guessed[mask])
    for name in ("scales", "complementary", "kd"):
        assert found[name].item() == pytest.approx(expected[name].item(), rel=1e-6)


def test_scores_by_one_class_less_are_a_higher_temperature():
    """(V - 1 classes) deviations are sqrt(V / (V - 1)) times as large."""
    longer = math.sqrt(V / (V - 1))
    torch.testing.assert_close(
        losses.standardize(STUDENT, 1) * longer, losses.standardize(STUDENT), rtol=1e-6, atol=0
    )
    constant = torch.full((2, V), 3.0, dtype=torch.float64).requires_grad_()
    losses.standardize(constant, 1).sum().backward()
    assert (losses.standardize(constant, 1) == 0).all() and constant.grad.isfinite().all()


# Weights


@pytest.mark.parametrize("given", [{}, {"ce_weight": 1, "kd_weight": 4}, {"ce_weight": 0.0, "kd_weight": 3}])
def test_sgd_learns_the_same_by_the_translation_that_is_told(given):
    with pytest.warns(Unwise, match=r"SGD needs the published learning rate times (\d+)") as told:
        settings = published("sdd_kd_lskd", **given)
    (line,) = (str(each.message) for each in told)
    total = given.get("ce_weight", 1) + given.get("kd_weight", 9)
    assert f"times {total:g} and the published weight decay divided by {total:g}" in line and len(line) < 500
    students = {}
    for whose in ("theirs", "ours"):
        weight = logits(5, V, V).requires_grad_()
        share = total if whose == "ours" else 1
        optimizer = torch.optim.SGD([weight], 0.01 * share, momentum=0.9, weight_decay=0.05 / share)
        for _ in range(4):
            loss = found_by(settings, student=STUDENT_GRID @ weight)["loss"]
            optimizer.zero_grad()
            (loss if whose == "ours" else total * loss).backward()
            optimizer.step()
        students[whose] = weight.detach()
    torch.testing.assert_close(students["ours"], students["theirs"], rtol=1e-9, atol=1e-12)


def test_weights_that_sum_to_one_need_no_line(recwarn):
    assert published("kd").distill_weight == 0.9
    assert published("sdd_kd", ce_weight=0.1, kd_weight=0.9).distill_weight == 0.9
    assert not recwarn.list


@pytest.mark.parametrize(
    "given, told",
    [
        (("sdd",), "published sdd: allowed are kd, dkd, lskd"),
        (("sdd_kd_lkd",), "did you mean sdd_kd_lskd"),
        (("lskd", (1, 2)), "published('sdd_kd_lskd', scales)"),
        ((["kd"],), "published ['kd']: allowed are kd"),
        (("sdd_kd", 4), "scales 4: must be a list of whole numbers; for example (1, 2, 4)"),
        (("sdd_kd", "124"), "scales 124: must be a list"),
        (("sdd_kd", ()), "scales (): must be a list"),
        (("sdd_kd", (1, 2.5)), "1 2.5: must be distinct whole numbers"),
        (("kd", None, -1), "ce_weight -1: must be a finite number of 0 or more"),
        (("kd", None, "1"), "ce_weight 1: must be a finite number"),
        (("kd", None, 1, 0), "kd_weight 0: nothing is distilled"),
        (("sdd_kd", (2, 4)), "global_term scales: the whole image is the cell of scale 1"),
    ],
)
def test_what_is_refused(given, told):
    with pytest.raises(SemcomError) as error:
        published(*given)
    assert told in str(error.value) and len(str(error.value)) <= 500


# Cells finer than a grid


def test_cells_finer_than_a_grid_repeat_its_places_and_say_so_once_for_each_model():
    student, teacher = logits(7, B, 2, 3, V), logits(8, B, 8, 8, V)
    settings = replace(plain("sdd_kd"), complementary="label")
    loss = DistillationLoss(settings)
    rows = student.mean((1, 2)), teacher.mean((1, 2)), LABELS
    with pytest.warns(Unwise) as told:
        for _ in range(3):
            found = loss(*rows, student_grid=student, teacher_grid=teacher)
    (line,) = (str(each.message) for each in told)
    assert line.startswith("scales 4: finer than the student's grid of 2 x 3 places")
    assert told[0].filename == __file__
    cells = list(regions(student, (4,)))
    assert cells[0] == student[:, 0, 0].tolist() and cells[4] == cells[0], "each place in several cells"
    whole = TEACHER.argmax(-1)
    assert found["scales"].item() == pytest.approx(sdd_of(student, teacher), rel=1e-9) and whole.shape == (B,)
    with pytest.warns(Unwise, match="the teacher's grid of 2 x 3 places"):
        loss(rows[1], rows[0], LABELS, student_grid=teacher, teacher_grid=student)


def sdd_of(student, teacher):
    return public_sdd("sdd_kd", student=student, teacher=teacher)


# Settings without flags


def test_they_have_no_flags_and_are_recorded_only_where_they_are_not_the_default():
    parser = argparse.ArgumentParser()
    add_flags(parser, DistillationConfig)
    assert not any(name in vars(parser.parse_args([])) for name in FIELDS)
    assert not as_record(DistillationConfig()).keys() & set(FIELDS)
    assert as_record(plain("sdd_kd_lskd")).keys() >= {"complementary", "global_term", "standardize_ddof"}
    assert "scale_warmup" not in as_record(plain("sdd_kd_lskd"))


def test_what_a_loss_is_says_nothing_of_settings_that_are_the_default():
    """A state of a training from before there were any is that of the same training."""
    names = {"ignore_index", "ignore_in", "class_axis", *FIELDS}
    usual = DistillationLoss(DistillationConfig(scales=(1, 2)))
    assert usual.record()["scales"] == (1, 2) and not usual.record().keys() & names
    other = DistillationLoss(plain("sdd_kd_lskd"), ignore_index=255, ignore_in="both", class_axis=1)
    assert other.record().keys() & names == names - {"scale_reduction", "scale_warmup"}


@pytest.mark.parametrize(
    "given, told",
    [
        ({"complementary": "label"}, "complementary label: is of the cells of grids"),
        ({"scale_reduction": "sum"}, "scale_reduction sum: is of the cells of grids"),
        ({"global_term": "scales"}, "global_term scales: is of the cells of grids"),
        ({"scale_warmup": 0.1}, "scale_warmup 0.1: is of the cells of grids"),
        ({"standardize_ddof": 1}, "standardize_ddof 1: is of standardised logits"),
        ({"complementary": "labels"}, "complementary labels: allowed are teacher, label"),
        ({"scale_warmup": 2.0}, "scale_warmup 2: must be a number from 0 to 1"),
        ({"standardize_ddof": 2, "standardize_logits": True}, "standardize_ddof 2: must be 0 or 1"),
        ({"global_term": "scales", "scales": (2, 4)}, "give scales=(1, 2, 4)"),
    ],
)
def test_settings_that_mean_nothing_or_are_none(given, told):
    with pytest.raises(SemcomError) as error:
        DistillationConfig(**given)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "given", [{"complementary": "label"}, {"scale_reduction": "sum"}, {"global_term": "scales"}]
)
def test_segments_of_a_sentence_do_not_know_them(given):
    DistillationConfig(scales=(1, 2)).check_of_segments()
    with pytest.raises(SemcomError, match="a link's segments do not know it"):
        DistillationConfig(scales=(1, 2), **given).check_of_segments()
