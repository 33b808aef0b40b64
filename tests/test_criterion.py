"""The distillation loss as its settings describe it, against torch's own losses and loops, under masks,
schedules and scales."""

import math

import formulas
import pytest
import torch
import torch.nn.functional as F

from semcom.base.errors import SemcomError
from semcom.distillation import losses
from semcom.distillation.kd_loss import (
    UNLABELLED,
    DistillationLoss,
    row_loss,
    scheduled,
    temperature,
    weights,
)
from semcom.distillation.settings import KD_LOSSES, DistillationConfig

V = 7


def logits(seed, *shape, scale=3.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = logits(0, 4, 6, V), logits(1, 4, 6, V)
TARGETS = torch.randint(V, (4, 6), generator=torch.Generator().manual_seed(2))
LENGTHS = (6, 2, 5, 1)
MASK = torch.arange(6) < torch.tensor(LENGTHS)[:, None]
DIVERGENCES = {  # by settings that differ from the defaults, of student, teacher, targets
    "kd": ({}, lambda s, t, y, T: formulas.kd(s, t, T)),
    "rkl": ({}, lambda s, t, y, T: formulas.rkl(s, t, T)),
    "jsd": ({"jsd_beta": 0.3}, lambda s, t, y, T: formulas.jsd(s, t, T, 0.3)),
    "skl": ({"skew": 0.25}, lambda s, t, y, T: formulas.skl(s, t, T, 0.25)),
    "dkd": (
        {"dkd_alpha": 2.0, "dkd_beta": 3.0, "dkd_warmup": 0.0},
        lambda s, t, y, T: formulas.dkd(s, t, y, T, 2.0, 3.0),
    ),
}
EVERY = pytest.mark.parametrize("standardize", [False, True])


def settings_of(name, standardize=False, **others):
    return DistillationConfig(kd_loss=name, standardize_logits=standardize, **DIVERGENCES[name][0], **others)


def close(found, expected, tolerance=1e-12):
    torch.testing.assert_close(
        found, torch.as_tensor(expected, dtype=found.dtype), rtol=tolerance, atol=tolerance
    )


def test_every_divergence_of_the_command_line_is_tried_here():
    assert set(DIVERGENCES) == set(KD_LOSSES)


@EVERY
@pytest.mark.parametrize("name", KD_LOSSES)
def test_row_loss_is_the_divergence_that_the_settings_name(name, standardize):
    found = row_loss(settings_of(name, standardize))(STUDENT, TEACHER, TARGETS, 3.0)
    pair = [losses.standardize(x) if standardize else x for x in (STUDENT, TEACHER)]
    close(found, DIVERGENCES[name][1](*pair, TARGETS, 3.0))
    others = [
        row_loss(settings_of(other, standardize))(STUDENT, TEACHER, TARGETS, 3.0)
        for other in KD_LOSSES
        if other != name
    ]
    others.append(row_loss(settings_of(name, not standardize))(STUDENT, TEACHER, TARGETS, 3.0))
    assert not any(torch.allclose(found, other) for other in others)


# Schedules


@pytest.mark.parametrize(
    "progress, linear, cosine",
    [
        (0, 8.0, 8.0),
        (0.25, 6.5, 8 - 6 * (1 - 0.5**0.5) / 2),
        (0.5, 5.0, 5.0),
        (0.75, 3.5, 8 - 6 * (1 + 0.5**0.5) / 2),
        (1, 2.0, 2.0),
    ],
)
def test_schedules_at_their_quarters(progress, linear, cosine):
    assert scheduled(8.0, 2.0, "constant", progress) == 8.0
    assert scheduled(8.0, None, "linear", progress) == 8.0
    assert scheduled(8.0, 2.0, "linear", progress) == pytest.approx(linear)
    assert scheduled(8.0, 2.0, "cosine", progress) == pytest.approx(cosine)
    assert scheduled(
        8.0, 2.0, "snr", 0.3, torch.tensor([progress], dtype=torch.float64)
    ).tolist() == pytest.approx([linear])


@pytest.mark.parametrize("start, end", [(8.0, 2.0), (0.1, 0.9)])
@pytest.mark.parametrize("shape", ["linear", "cosine", "snr"])
def test_schedules_are_monotone_and_reach_their_ends_exactly(shape, start, end):
    places = torch.linspace(0, 1, 101, dtype=torch.float64)
    if shape == "snr":
        values = scheduled(start, end, shape, 0.0, places)
    else:
        values = torch.tensor([scheduled(start, end, shape, float(p)) for p in places], dtype=torch.float64)
    close(values[[0, -1]], [start, end], 1e-15)
    assert (values.diff() * (end - start) > 0).all()
    close(values + values.flip(0), torch.full((101,), start + end))


def test_a_schedule_by_snr_takes_each_rows_level_and_cannot_do_without():
    found = scheduled(1.0, 3.0, "snr", 1.0, torch.tensor([[0.0, 0.5], [1.0, 0.25]]))
    assert found.tolist() == [[1.0, 2.0], [3.0, 1.5]]
    with pytest.raises(ValueError, match="level of each row"):
        scheduled(1.0, 3.0, "snr", 0.5)


def test_temperature_and_weights_follow_their_own_schedules():
    settings = DistillationConfig(
        temperature=8.0,
        final_temperature=2.0,
        temperature_schedule="linear",
        distill_weight=0.9,
        final_weight=0.1,
        weight_schedule="cosine",
    )
    assert temperature(settings, 0.25) == pytest.approx(6.5)
    assert weights(settings, 0.0) == pytest.approx((0.1, 0.9))
    assert weights(settings, 0.25) == pytest.approx((1 - 0.5 - 0.4 * 0.5**0.5, 0.5 + 0.4 * 0.5**0.5))
    assert weights(settings, 1.0) == pytest.approx((0.9, 0.1))
    level = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    by_snr = DistillationConfig(
        temperature=1.0,
        final_temperature=4.0,
        temperature_schedule="snr",
        distill_weight=0.2,
        final_weight=0.8,
        weight_schedule="snr",
    )
    close(temperature(by_snr, 0.9, level), [1.0, 2.5, 4.0])
    ce, kd = weights(by_snr, 0.9, level)
    close(kd, [0.2, 0.5, 0.8])
    close(ce, [0.8, 0.5, 0.2])


def test_without_schedules_nothing_moves():
    for progress in (0.0, 0.01, 0.5, 1.0):
        assert temperature(DistillationConfig(), progress) == 4.0
        assert weights(DistillationConfig(), progress) == pytest.approx((0.3, 0.7))


@pytest.mark.parametrize(
    "progress, share", [(0.0, 0.0), (0.05, 0.25), (0.1, 0.5), (0.2, 1.0), (0.6, 1.0), (1.0, 1.0)]
)
def test_dkd_warms_up_and_cross_entropy_does_not_wait(progress, share):
    settings = DistillationConfig(kd_loss="dkd", dkd_warmup=0.2, distill_weight=0.6)
    assert weights(settings, progress) == pytest.approx((0.4, 0.6 * share))
    assert weights(DistillationConfig(kd_loss="dkd", dkd_warmup=0.0), progress) == pytest.approx((0.3, 0.7))
    assert weights(DistillationConfig(kd_loss="rkl"), progress) == pytest.approx((0.3, 0.7))


def test_dkd_warms_up_beneath_a_schedule():
    settings = DistillationConfig(
        kd_loss="dkd", dkd_warmup=0.5, distill_weight=1.0, final_weight=0.0, weight_schedule="linear"
    )
    assert weights(settings, 0.25) == pytest.approx((0.25, 0.75 * 0.5))
    close(
        weights(
            DistillationConfig(kd_loss="dkd", dkd_warmup=0.5, final_weight=0.1, weight_schedule="snr"),
            0.25,
            torch.tensor([0.0, 1.0]),
        )[1],
        [0.35, 0.05],
        1e-6,
    )


# The loss


def test_the_default_loss_against_torch():
    found = DistillationLoss()(STUDENT, TEACHER, TARGETS)
    ce = F.cross_entropy(STUDENT.flatten(0, 1), TARGETS.flatten())
    kd = 16 * F.kl_div(
        (STUDENT / 4).log_softmax(-1).flatten(0, 1),
        (TEACHER / 4).softmax(-1).flatten(0, 1),
        reduction="batchmean",
    )
    assert found.keys() == {"loss", "ce", "kd"}
    close(found["ce"], ce)
    close(found["kd"], kd)
    close(found["loss"], 0.3 * ce + 0.7 * kd)


def test_a_fixed_number():
    """A student that knows nothing, a teacher of 1/2, 1/4, 1/4 at T=4: CE = log 3, KD = 16 (log 3 - 3/2 log
    2) = 0.94226."""
    teacher = 4 * torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    found = DistillationLoss()(torch.zeros(1, 3, dtype=torch.float64), teacher, torch.tensor([2]))
    assert found["ce"].item() == pytest.approx(1.0986123)
    assert found["kd"].item() == pytest.approx(0.9422648)
    assert found["loss"].item() == pytest.approx(0.9891691)


@EVERY
@pytest.mark.parametrize("name", KD_LOSSES)
def test_no_gradient_reaches_the_teacher_and_teacher_is_student_gives_zero(name, standardize):
    criterion = DistillationLoss(settings_of(name, standardize))
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    criterion(student, teacher, TARGETS)["loss"].backward()
    assert teacher.grad is None and (student.grad.abs().amax(-1) > 0).all()
    assert (
        criterion(TEACHER, TEACHER, TARGETS)["kd"].abs() < 1e-14 < criterion(STUDENT, TEACHER, TARGETS)["kd"]
    )


@EVERY
@pytest.mark.parametrize("name", KD_LOSSES)
def test_gradcheck_under_a_mask_with_unlabelled_rows(name, standardize):
    criterion = DistillationLoss(settings_of(name, standardize))
    targets = TARGETS[:2, :3].clone()
    targets[0, 1] = UNLABELLED
    assert torch.autograd.gradcheck(
        lambda s: criterion(s, TEACHER[:2, :3], targets, MASK[:2, :3])["loss"],
        STUDENT[:2, :3].clone().requires_grad_(),
    )


def padded(rows, width, filling):
    """[B, T, ...] with places that do not count and ``width`` more behind them, all ``filling``."""
    more = rows.new_full((len(rows), width, *rows.shape[2:]), filling)
    return torch.cat((rows.masked_fill(~MASK.view(*MASK.shape, *[1] * (rows.dim() - 2)), filling), more), 1)


@EVERY
@pytest.mark.parametrize("name", KD_LOSSES)
@pytest.mark.parametrize("filling, target", [(0.0, 0), (1e30, UNLABELLED), (math.inf, 3), (math.nan, 10**6)])
def test_what_stands_in_masked_places_is_never_looked_at(name, standardize, filling, target):
    criterion = DistillationLoss(settings_of(name, standardize))
    alone = STUDENT[MASK].requires_grad_()
    expected = criterion(alone, TEACHER[MASK], TARGETS[MASK])
    expected["loss"].backward()
    student = padded(STUDENT, 5, filling).requires_grad_()
    mask = torch.cat((MASK, torch.zeros(4, 5, dtype=torch.bool)), 1)
    found = criterion(student, padded(TEACHER, 5, filling), padded(TARGETS, 5, target), mask)
    found["loss"].backward()
    assert all(torch.equal(found[part], expected[part]) for part in expected)
    assert (student.grad[~mask] == 0).all()
    assert torch.equal(student.grad[mask], alone.grad)


def test_a_mask_of_all_changes_nothing_and_a_mask_of_none_gives_zero():
    criterion = DistillationLoss()
    everything = torch.ones_like(MASK)
    close(
        criterion(STUDENT, TEACHER, TARGETS, everything)["loss"], criterion(STUDENT, TEACHER, TARGETS)["loss"]
    )
    student = STUDENT.clone().requires_grad_()
    nothing = criterion(student, TEACHER, TARGETS, ~everything)
    nothing["loss"].backward()
    assert nothing["loss"] == 0 and (student.grad == 0).all()


@pytest.mark.parametrize("name", ["kd", "dkd"])
def test_sentences_permuted_repeated_and_alone(name):
    criterion = DistillationLoss(settings_of(name))
    expected = criterion(STUDENT, TEACHER, TARGETS, MASK)
    for order in ([3, 1, 0, 2], [0, 1, 2, 3] * 3):
        found = criterion(STUDENT[order], TEACHER[order], TARGETS[order], MASK[order])
        assert all(abs(found[part] - expected[part]) < 1e-12 for part in expected)
    alone = [criterion(STUDENT[b, :n], TEACHER[b, :n], TARGETS[b, :n]) for b, n in enumerate(LENGTHS)]
    for part in expected:
        close(expected[part], sum(n * found[part] for n, found in zip(LENGTHS, alone)) / sum(LENGTHS))


@pytest.mark.parametrize("name", KD_LOSSES)
def test_unlabelled_rows_count_for_distillation_alone(name):
    criterion = DistillationLoss(settings_of(name))
    unlabelled = torch.rand(4, 6, generator=torch.Generator().manual_seed(3)) < 0.4
    targets = TARGETS.masked_fill(unlabelled, UNLABELLED)
    student = STUDENT.clone().requires_grad_()
    found = criterion(student, TEACHER, targets)
    close(found["ce"], F.cross_entropy(STUDENT.flatten(0, 1), targets.flatten(), ignore_index=-100))
    known = torch.where(unlabelled, TEACHER.argmax(-1), TARGETS)
    close(found["kd"], DIVERGENCES[name][1](STUDENT, TEACHER, known, criterion.settings.temperature).mean())
    found["ce"].backward()
    assert (student.grad[unlabelled] == 0).all() and (student.grad[~unlabelled] != 0).any(-1).all()


def test_without_any_label_distillation_stands_alone():
    student = STUDENT.clone().requires_grad_()
    found = DistillationLoss()(student, TEACHER, torch.full_like(TARGETS, UNLABELLED))
    found["loss"].backward()
    assert found["ce"] == 0 and student.grad.isfinite().all()
    close(found["loss"], 0.7 * DistillationLoss()(STUDENT, TEACHER, TARGETS)["kd"])


def test_progress_drives_temperature_weight_and_warm_up():
    criterion = DistillationLoss(
        DistillationConfig(
            kd_loss="dkd",
            dkd_warmup=0.5,
            temperature=8.0,
            final_temperature=2.0,
            temperature_schedule="linear",
            distill_weight=0.8,
            final_weight=0.4,
            weight_schedule="cosine",
        )
    )
    ce = F.cross_entropy(STUDENT.flatten(0, 1), TARGETS.flatten())
    for progress, T, a, warm in (
        (0.0, 8.0, 0.8, 0.0),
        (0.25, 6.5, 0.6 + 0.2 * 0.5**0.5, 0.5),
        (0.5, 5.0, 0.6, 1.0),
        (1.0, 2.0, 0.4, 1.0),
    ):
        criterion.progress = progress
        found = criterion(STUDENT, TEACHER, TARGETS)
        kd = formulas.dkd(STUDENT, TEACHER, TARGETS, T, 1.0, 8.0).mean()
        close(found["kd"], kd)
        close(found["loss"], (1 - a) * ce + a * warm * kd)


@pytest.mark.parametrize("weight, part", [(0.0, "ce"), (1.0, "kd")])
def test_the_weight_at_its_ends(weight, part):
    found = DistillationLoss(DistillationConfig(distill_weight=weight))(STUDENT, TEACHER, TARGETS)
    assert found["loss"] == found[part] != 0


def test_a_schedule_by_snr_has_no_meaning_here():
    with pytest.raises(SemcomError, match="a schedule by snr: .* give linear or cosine"):
        DistillationLoss(DistillationConfig(temperature_schedule="snr", final_temperature=1.0))


@EVERY
@pytest.mark.parametrize("name", KD_LOSSES)
def test_finite_at_huge_and_constant_logits_in_float32(name, standardize):
    student = torch.cat((logits(5, 3, V, scale=1e4), torch.zeros(2, V))).float().requires_grad_()
    teacher = torch.cat(
        (logits(6, 2, V, scale=1e4), torch.full((2, V), 1e4), logits(7, 1, V, scale=1e4))
    ).float()
    found = DistillationLoss(settings_of(name, standardize))(student, teacher, torch.arange(5))
    found["loss"].backward()
    assert all(value.isfinite() for value in found.values()) and student.grad.isfinite().all()


# Scales, on grids


HEIGHT, WIDTH = 4, 6
STUDENT_GRID, TEACHER_GRID = logits(8, 4, HEIGHT, WIDTH, V), logits(9, 4, HEIGHT, WIDTH, V)
IMAGES = STUDENT_GRID.mean((1, 2)), TEACHER_GRID.mean((1, 2)), torch.tensor([0, UNLABELLED, 5, 2])


def on_grids(criterion, student_grid=STUDENT_GRID, teacher_grid=TEACHER_GRID, images=IMAGES, mask=None):
    return criterion(*images, mask, student_grid=student_grid, teacher_grid=teacher_grid)


def cells(size, scale):
    """First and past-the-last place of each cell along one side."""
    return [(math.floor(k * size / scale), math.ceil((k + 1) * size / scale)) for k in range(scale)]


def scales_by_loop(settings):
    """The mean over the cells of all scales and images, and the share of complementary ones."""
    values, apart, divergence = [], [], DIVERGENCES[settings.kd_loss][1]
    for ours, theirs, target in zip(STUDENT_GRID, TEACHER_GRID, IMAGES[2]):
        whole = theirs.flatten(0, 1).mean(0).argmax()
        target = whole if target == UNLABELLED else target
        for scale in settings.scales:
            for top, bottom in cells(HEIGHT, scale):
                for left, right in cells(WIDTH, scale):
                    s, t = (grid[top:bottom, left:right].flatten(0, 1).mean(0) for grid in (ours, theirs))
                    apart.append(float(t.argmax() != whole))
                    pair = [losses.standardize(x) if settings.standardize_logits else x for x in (s, t)]
                    values.append(
                        (settings.complementary_weight if apart[-1] else 1)
                        * divergence(*pair, target, settings.temperature)
                    )
    return sum(values) / len(values), sum(apart) / len(apart)


@EVERY
@pytest.mark.parametrize("name", KD_LOSSES)
@pytest.mark.parametrize("scales", [(1,), (2,), (1, 2), (1, 2, 4)])
def test_scales_against_a_loop_over_cells(name, standardize, scales):
    settings = settings_of(name, standardize, scales=scales, complementary_weight=2.5, scale_weight=0.75)
    found = on_grids(DistillationLoss(settings))
    expected, share = scales_by_loop(settings)
    close(found["scales"], expected)
    assert found["complementary"].item() == pytest.approx(share) and (share > 0) == (scales != (1,))
    plain = DistillationLoss(settings_of(name, standardize))(*IMAGES)
    close(found["kd"], plain["kd"])
    close(found["loss"], plain["loss"] + 0.7 * 0.75 * expected)


@pytest.mark.parametrize("weight", [0.0, 1.0, 7.0])
@pytest.mark.parametrize("name", KD_LOSSES)
def test_the_whole_image_alone_is_the_base_loss_whatever_the_complementary_weight(name, weight):
    """Where the logits of an image are the mean of its grid."""
    found = on_grids(DistillationLoss(settings_of(name, scales=(1,), complementary_weight=weight)))
    close(found["scales"], found["kd"])
    assert found["complementary"] == 0


@pytest.mark.parametrize("name", KD_LOSSES)
def test_one_cell_a_place_with_weight_one_is_the_base_loss_of_places(name):
    ours, theirs = STUDENT_GRID[:, :, :HEIGHT], TEACHER_GRID[:, :, :HEIGHT]
    images = (*IMAGES[:2], torch.tensor([0, 1, 5, 2]))
    found = on_grids(
        DistillationLoss(settings_of(name, scales=(HEIGHT,), complementary_weight=1.0)), ours, theirs, images
    )
    places = row_loss(settings_of(name))(
        ours, theirs, images[2][:, None, None].expand(4, HEIGHT, HEIGHT), settings_of(name).temperature
    )
    close(found["scales"], places.mean())


@pytest.mark.parametrize("name", KD_LOSSES)
def test_scales_are_affine_in_the_complementary_weight_which_carries_no_gradient(name):
    values, grads = {}, {}
    for weight in (0.0, 1.0, 4.0):
        ours, theirs = STUDENT_GRID.clone().requires_grad_(), TEACHER_GRID.clone().requires_grad_()
        found = on_grids(
            DistillationLoss(settings_of(name, scales=(1, 2), complementary_weight=weight)), ours, theirs
        )
        found["scales"].backward()
        assert theirs.grad is None and not found["complementary"].requires_grad
        values[weight], grads[weight] = found["scales"].detach(), ours.grad
    assert values[1.0] > values[0.0] + 1e-4
    for at in (values, grads):
        close(at[4.0], at[0.0] + 4 * (at[1.0] - at[0.0]))


def test_scales_follow_the_weight_of_distillation():
    criterion = DistillationLoss(
        DistillationConfig(kd_loss="dkd", dkd_warmup=0.4, scales=(1, 2), scale_weight=0.5)
    )
    for progress, warm in ((0.0, 0.0), (0.1, 0.25), (1.0, 1.0)):
        criterion.progress = progress
        found = on_grids(criterion)
        close(found["loss"], 0.3 * found["ce"] + 0.7 * warm * (found["kd"] + 0.5 * found["scales"]))


@pytest.mark.parametrize("filling", [0.0, math.nan])
@pytest.mark.parametrize("name", ["kd", "dkd"])
def test_a_mask_of_images_chooses_among_grids_too(name, filling):
    criterion = DistillationLoss(settings_of(name, scales=(1, 2)))
    for kept in ([True, False, True, True], [False, False, True, False]):
        mask = torch.tensor(kept)
        expected = on_grids(criterion, STUDENT_GRID[mask], TEACHER_GRID[mask], [x[mask] for x in IMAGES])
        ours, theirs = (grid.clone() for grid in (STUDENT_GRID, TEACHER_GRID))
        ours[~mask], theirs[~mask] = filling, filling
        found = on_grids(criterion, ours.requires_grad_(), theirs, mask=mask)
        found["loss"].backward()
        assert all(torch.equal(found[part], expected[part]) for part in expected)
        assert (ours.grad[~mask] == 0).all() and (ours.grad[mask] != 0).any()
    nothing = on_grids(criterion, mask=torch.zeros(4, dtype=torch.bool))
    assert nothing["loss"] == 0 and nothing["scales"] == 0


def test_images_permuted_and_repeated():
    criterion = DistillationLoss(settings_of("dkd", scales=(1, 2, 4)))
    expected = on_grids(criterion)
    for order in ([3, 1, 0, 2], [0, 1, 2, 3] * 2):
        found = on_grids(criterion, STUDENT_GRID[order], TEACHER_GRID[order], [x[order] for x in IMAGES])
        assert all(abs(found[part] - expected[part]) < 1e-12 for part in expected)


def test_scales_need_grids():
    criterion = DistillationLoss(settings_of("kd", scales=(1, 8)))
    for one in ({}, {"student_grid": STUDENT_GRID}, {"teacher_grid": TEACHER_GRID}):
        with pytest.raises(SemcomError, match="need student_grid and teacher_grid"):
            criterion(*IMAGES, **one)


def test_settings_are_checked_before_there_is_a_loss():
    with pytest.raises(SemcomError, match="--temperature 0"):
        DistillationLoss(DistillationConfig(temperature=0.0))
