"""Losses against library functions, loops, identities, bounds and degenerate cases."""

import math
import statistics

import formulas
import pytest
import torch
import torch.nn.functional as F

from semcom.distillation import losses


def logits(seed, *shape, scale=3.0, dtype=torch.float64):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


STUDENT, TEACHER = logits(0, 5, 7, 11), logits(1, 5, 7, 11)
TARGETS = torch.randint(11, (5, 7), generator=torch.Generator().manual_seed(2))
BETA, SKEW, DKD = 0.3, 0.1, (1.5, 8.0)
BASE = {
    "kd": lambda s, t, y, T: formulas.kd(s, t, T),
    "rkl": lambda s, t, y, T: formulas.rkl(s, t, T),
    "jsd": lambda s, t, y, T: formulas.jsd(s, t, T, BETA),
    "skl": lambda s, t, y, T: formulas.skl(s, t, T, SKEW),
    "dkd": lambda s, t, y, T: formulas.dkd(s, t, y, T, *DKD),
}


def of_scores(base):
    return lambda s, t, y, T: base(losses.standardize(s), losses.standardize(t), y, T)


TEMPERED = BASE | {f"z-{name}": of_scores(base) for name, base in BASE.items()}
EVERY = TEMPERED | {
    "kl": lambda s, t, y, T: formulas.kl_divergence(t, s),
    "js": lambda s, t, y, T: formulas.js_divergence(t, s),
}


def close(found, expected, tolerance=1e-12):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def softmax(row, temperature=1.0):
    exponentials = [math.exp(float(x) / temperature) for x in row]
    total = sum(exponentials)
    return [e / total for e in exponentials]


def kl_by_loop(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q))


def scores_by_loop(row):
    mean, deviation = statistics.fmean(row), statistics.pstdev(row)
    return [(x - mean) / deviation for x in row]


def by_loop(name, student, teacher, target, T):
    """One row of each loss as methods write it down, in python floats."""
    if name.startswith("z-"):
        student, teacher = scores_by_loop(student), scores_by_loop(teacher)
    p, q = softmax(teacher, T), softmax(student, T)
    kind = name.removeprefix("z-")
    if kind == "dkd":
        sides = [[row[target], 1 - row[target]] for row in (p, q)]
        others = [[x / (1 - row[target]) for i, x in enumerate(row) if i != target] for row in (p, q)]
        return T**2 * (DKD[0] * kl_by_loop(*sides) + DKD[1] * kl_by_loop(*others))
    if kind == "jsd":
        m = [BETA * a + (1 - BETA) * b for a, b in zip(p, q)]
        return BETA * kl_by_loop(p, m) + (1 - BETA) * kl_by_loop(q, m)
    if kind == "skl":
        return kl_by_loop(p, [SKEW * a + (1 - SKEW) * b for a, b in zip(p, q)])
    return T**2 * (kl_by_loop(p, q) if kind == "kd" else kl_by_loop(q, p))


def kl_by_torch(p_logits, q_logits, T=1.0):
    return F.kl_div((q_logits / T).log_softmax(-1), (p_logits / T).softmax(-1), reduction="none").sum(-1)


def without(rows, targets):
    """[..., V-1]: rows without their target's entry."""
    kept = torch.ones_like(rows).scatter(-1, targets[..., None], 0).bool()
    return rows[kept].view(*rows.shape[:-1], -1)


def test_cross_entropy_against_torch():
    expected = F.cross_entropy(STUDENT.flatten(0, 1), TARGETS.flatten(), reduction="none").view(5, 7)
    torch.testing.assert_close(losses.cross_entropy(STUDENT, TARGETS), expected)
    assert losses.cross_entropy(torch.zeros(1, 8), torch.tensor([3])).item() == pytest.approx(math.log(8))


def test_kl_is_of_the_first_from_the_second():
    close(formulas.kl_divergence(TEACHER, STUDENT), kl_by_torch(TEACHER, STUDENT))
    assert not torch.allclose(formulas.kl_divergence(STUDENT, TEACHER), kl_by_torch(TEACHER, STUDENT))


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("name", TEMPERED)
def test_each_row_is_its_formula(name, T):
    found = TEMPERED[name](STUDENT, TEACHER, TARGETS, T)
    expected = [
        [
            by_loop(name, STUDENT[i, j].tolist(), TEACHER[i, j].tolist(), int(TARGETS[i, j]), T)
            for j in range(7)
        ]
        for i in range(5)
    ]
    close(found, torch.tensor(expected, dtype=torch.float64), 1e-10)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("kd", 0.59178090),  # 5/4 log 2 - 1/4 log 3
        ("rkl", 0.56402902),  # 3/4 log 3 - 3/8 log 2
        ("jsd", 0.11634591),  # the mixture is 0.2375, 0.1625, 0.6
        ("skl", 0.45401944),  # the mixture is 0.1625, 0.1375, 0.7
        ("dkd", 3.47507480),  # 3/2 * 1/2 log(16/7) + 8 * 1/2 log(49/24)
    ],
)
def test_fixed_numbers(name, expected):
    """Teacher 1/2, 1/4, 1/4 and student 1/8, 1/8, 3/4, at T=2 of logits twice as large; the target is the
    first."""
    teacher, student = (
        2 * torch.tensor(p, dtype=torch.float64).log() for p in ((0.5, 0.25, 0.25), (0.125, 0.125, 0.75))
    )
    squared = 4 if name in ("kd", "rkl", "dkd") else 1
    assert BASE[name](student, teacher, torch.tensor(0), 2.0).item() == pytest.approx(
        squared * expected, abs=5e-8
    )


@pytest.mark.parametrize("T", [0.5, 4.0])
def test_divergences_against_torch_and_scipy(T):
    special, distance = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.spatial.distance")
    p, q = ((x / T).softmax(-1).numpy() for x in (TEACHER, STUDENT))
    close(formulas.kd(STUDENT, TEACHER, T), T**2 * kl_by_torch(TEACHER, STUDENT, T))
    close(formulas.rkl(STUDENT, TEACHER, T), T**2 * kl_by_torch(STUDENT, TEACHER, T))
    close(
        formulas.skl(STUDENT, TEACHER, T, 0.25),
        torch.from_numpy(special.rel_entr(p, 0.25 * p + 0.75 * q).sum(-1)),
    )
    close(
        formulas.jsd(STUDENT, TEACHER, T, 0.5), torch.from_numpy(distance.jensenshannon(p, q, axis=-1) ** 2)
    )


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0])
def test_gradient_of_kd_is_t_times_the_difference_of_the_softened(T):
    student = STUDENT.clone().requires_grad_()
    formulas.kd(student, TEACHER, T).sum().backward()
    close(student.grad, T * ((STUDENT / T).softmax(-1) - (TEACHER / T).softmax(-1)))


def test_kd_at_a_high_temperature_is_half_the_centred_square_error_over_v():
    """The T^2 factor: Hinton et al. 2015, section 2.1, the limit that does not fade as T grows."""
    difference = (STUDENT - STUDENT.mean(-1, keepdim=True)) - (TEACHER - TEACHER.mean(-1, keepdim=True))
    torch.testing.assert_close(
        formulas.kd(STUDENT, TEACHER, 1e4), difference.square().mean(-1) / 2, rtol=1e-3, atol=1e-6
    )


def test_js_by_loop_and_within_its_bounds():
    found = formulas.js_divergence(STUDENT, TEACHER)
    p, q = softmax(STUDENT[4, 6]), softmax(TEACHER[4, 6])
    m = [(a + b) / 2 for a, b in zip(p, q)]
    assert found[4, 6].item() == pytest.approx((kl_by_loop(p, m) + kl_by_loop(q, m)) / 2)
    torch.testing.assert_close(found, formulas.js_divergence(TEACHER, STUDENT))
    assert (found > 0).all() and (found < math.log(2)).all()
    apart = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert formulas.js_divergence(*apart).item() == pytest.approx(math.log(2), rel=1e-6)


# Of every loss


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("name", EVERY)
def test_zero_for_equals_and_for_shifted_logits(name, T):
    loss = EVERY[name]
    assert loss(TEACHER.clone(), TEACHER, TARGETS, T).abs().max() < 1e-14
    assert loss(TEACHER + 5, TEACHER, TARGETS, T).abs().max() < 1e-12
    assert (loss(STUDENT, TEACHER, TARGETS, T) > 1e-3).all()


@pytest.mark.parametrize("name", EVERY)
def test_the_gradient_is_zero_at_the_teacher_and_sums_to_zero_elsewhere(name):
    student = torch.stack((TEACHER, STUDENT)).requires_grad_()
    EVERY[name](
        student, torch.stack((TEACHER, TEACHER)), torch.stack((TARGETS, TARGETS)), 2.0
    ).sum().backward()
    at_teacher, elsewhere = student.grad
    assert at_teacher.abs().max() < 1e-14
    assert elsewhere.sum(-1).abs().max() < 1e-14 and (elsewhere.abs().amax(-1) > 1e-4).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_step_down_the_gradient_brings_the_student_nearer(name):
    student = STUDENT.clone().requires_grad_()
    before = EVERY[name](student, TEACHER, TARGETS, 2.0)
    before.sum().backward()
    assert (EVERY[name](STUDENT - 0.01 * student.grad, TEACHER, TARGETS, 2.0) < before).all()


def extreme_rows(dtype):
    """Student and teacher logits of six rows: huge apart, against a constant row, both constant, opposite,
    right target nearly certain, wrong one."""
    certain = torch.zeros(9).double()
    certain[4] = 1e4
    student = torch.stack(
        (
            logits(3, 9, scale=1e4),
            torch.zeros(9).double(),
            torch.full((9,), -1e4 / 3).double(),
            logits(4, 9, scale=1e4),
            certain,
            -certain,
        )
    )
    teacher = torch.stack(
        (
            logits(5, 9, scale=1e4),
            logits(6, 9, scale=1e4),
            torch.full((9,), 0.1).double(),
            -logits(4, 9, scale=1e4),
            -certain,
            certain + logits(7, 9),
        )
    )
    return student.to(dtype), teacher.to(dtype), torch.tensor([0, 1, 2, 3, 4, 4])


@pytest.mark.parametrize("name", [*EVERY, "ce"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("T", [0.5, 1.0, 4.0])
def test_finite_with_finite_gradients_at_huge_and_constant_logits(name, dtype, T):
    student, teacher, targets = extreme_rows(dtype)
    student.requires_grad_()
    value = (
        losses.cross_entropy(student, targets) if name == "ce" else EVERY[name](student, teacher, targets, T)
    )
    value.sum().backward()
    assert value.isfinite().all() and (value > -1e-6).all() and student.grad.isfinite().all()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value.max() > 0.01


@pytest.mark.parametrize("name", TEMPERED)
def test_float32_has_the_values_of_float64_at_extremes(name):
    student, teacher, targets = extreme_rows(torch.float32)
    exact = TEMPERED[name](student.double(), teacher.double(), targets, 1.0)
    torch.testing.assert_close(
        TEMPERED[name](student, teacher, targets, 1.0).double(), exact, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", EVERY)
def test_each_row_is_on_its_own(name):
    """So permuting or repeating a batch permutes or repeats its rows."""
    whole = EVERY[name](STUDENT, TEACHER, TARGETS, 2.0)
    assert whole.shape == (5, 7)
    close(whole[1, 2], EVERY[name](STUDENT[1, 2], TEACHER[1, 2], TARGETS[1, 2], 2.0))
    order = torch.tensor([4, 0, 2, 2, 1, 3, 3])
    close(EVERY[name](STUDENT[:, order], TEACHER[:, order], TARGETS[:, order], 2.0), whole[:, order])


@pytest.mark.parametrize("name", TEMPERED)
def test_a_temperature_for_each_row(name):
    T = torch.rand(5, 7, generator=torch.Generator().manual_seed(8), dtype=torch.float64) * 6 + 0.3
    together = TEMPERED[name](STUDENT, TEACHER, TARGETS, T)
    alone = [
        [TEMPERED[name](STUDENT[i, j], TEACHER[i, j], TARGETS[i, j], float(T[i, j])) for j in range(7)]
        for i in range(5)
    ]
    close(together, torch.stack([torch.stack(row) for row in alone]))


@pytest.mark.parametrize("name", EVERY)
def test_gradcheck(name):
    student = STUDENT[0, :3].clone().requires_grad_()
    T = torch.tensor([0.7, 1.0, 3.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: EVERY[name](s, TEACHER[0, :3], TARGETS[0, :3], T), student)


def test_gradcheck_of_cross_entropy():
    assert torch.autograd.gradcheck(
        lambda s: losses.cross_entropy(s, TARGETS[0]), STUDENT[0].clone().requires_grad_()
    )


# Jensen-Shannon and skewed


def test_generalised_jensen_shannon_vanishes_at_both_ends_with_the_slopes_of_the_two_kls():
    forward, reverse = kl_by_torch(TEACHER, STUDENT), kl_by_torch(STUDENT, TEACHER)
    small = 1e-7
    torch.testing.assert_close(
        formulas.jsd(STUDENT, TEACHER, 1.0, small) / small, forward, rtol=1e-3, atol=1e-5
    )
    torch.testing.assert_close(
        formulas.jsd(STUDENT, TEACHER, 1.0, 1 - small) / small, reverse, rtol=1e-3, atol=1e-5
    )
    for beta in (0.0, 1.0):
        student = STUDENT.clone().requires_grad_()
        value = formulas.jsd(student, TEACHER, 1.0, beta)
        value.sum().backward()
        assert (value == 0).all() and student.grad.abs().max() < 1e-14


@pytest.mark.parametrize("beta", [0.1, 0.3, 0.5, 0.9])
def test_generalised_jensen_shannon_lies_below_the_entropy_of_its_shares(beta):
    bound = -beta * math.log(beta) - (1 - beta) * math.log(1 - beta)
    found = formulas.jsd(STUDENT, TEACHER, 0.2, beta)
    assert (found > 0).all() and (found <= bound).all()
    apart = torch.tensor([1e4, 0.0]).double(), torch.tensor([0.0, 1e4]).double()
    assert formulas.jsd(*apart, 1.0, beta).item() == pytest.approx(bound)


def test_generalised_jensen_shannon_exchanged():
    close(formulas.jsd(STUDENT, TEACHER, 2.0, 0.3), formulas.jsd(TEACHER, STUDENT, 2.0, 0.7))
    assert not torch.allclose(
        formulas.jsd(STUDENT, TEACHER, 2.0, 0.3), formulas.jsd(TEACHER, STUDENT, 2.0, 0.3)
    )


def test_rkl_is_kd_with_arguments_exchanged():
    close(formulas.rkl(STUDENT, TEACHER, 2.0), formulas.kd(TEACHER, STUDENT, 2.0))
    assert not torch.allclose(formulas.rkl(STUDENT, TEACHER, 2.0), formulas.kd(STUDENT, TEACHER, 2.0))


def test_skewed_kl_falls_from_kl_to_zero_below_its_bound():
    skews = (0.0, 0.01, 0.1, 0.5, 0.9, 1.0)
    values = [formulas.skl(STUDENT, TEACHER, 1.0, skew) for skew in skews]
    close(values[0], kl_by_torch(TEACHER, STUDENT))
    assert (values[-1] == 0).all()
    assert all((b < a).all() for a, b in zip(values, values[1:]))
    assert all((value <= -math.log(skew)).all() for value, skew in zip(values[1:], skews[1:]))


# Decoupled


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0])
def test_dkd_with_the_teachers_doubt_as_beta_is_kd(T):
    doubt = 1 - (TEACHER / T).softmax(-1).gather(-1, TARGETS[..., None]).squeeze(-1)
    close(formulas.dkd(STUDENT, TEACHER, TARGETS, T, 1.0, doubt), formulas.kd(STUDENT, TEACHER, T))


@pytest.mark.parametrize("T", [0.5, 1.0, 4.0])
def test_the_two_parts_of_dkd(T):
    """NCKD is kd without the target's class; TCKD is kd of two classes, the target and all others
    together."""

    def two(rows):
        return torch.stack(
            (rows.gather(-1, TARGETS[..., None]).squeeze(-1) / T, (without(rows, TARGETS) / T).logsumexp(-1)),
            -1,
        )

    close(
        formulas.dkd(STUDENT, TEACHER, TARGETS, T, 0.0, 1.0),
        T**2 * kl_by_torch(without(TEACHER, TARGETS), without(STUDENT, TARGETS), T),
    )
    close(
        formulas.dkd(STUDENT, TEACHER, TARGETS, T, 1.0, 0.0), T**2 * kl_by_torch(two(TEACHER), two(STUDENT))
    )


def test_nckd_ignores_the_target_logits():
    column = TARGETS[..., None]
    plain = STUDENT.clone().requires_grad_()
    expected = formulas.dkd(plain, TEACHER, TARGETS, 2.0, 0.0, 1.0)
    expected.sum().backward()
    for student_logit, teacher_logit in ((1e4, -1e4), (-1e4, 1e4), (0.0, 30.0)):
        student = STUDENT.scatter(-1, column, student_logit).requires_grad_()
        found = formulas.dkd(student, TEACHER.scatter(-1, column, teacher_logit), TARGETS, 2.0, 0.0, 1.0)
        close(found, expected, 1e-9)
        found.sum().backward()
        assert student.grad.gather(-1, column).abs().max() < 1e-12
        close(without(student.grad, TARGETS), without(plain.grad, TARGETS), 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dkd_where_the_target_is_so_likely_that_the_rest_underflows(dtype):
    """Both sure of the target, by 1,000 nats: TCKD vanishes, NCKD is what it is without the target."""
    column = TARGETS[..., None]
    student, teacher = (x.to(dtype).scatter(-1, column, 1000.0) for x in (STUDENT, TEACHER))
    assert ((1 - teacher.softmax(-1).gather(-1, column)) == 0).all()
    student.requires_grad_()
    value = formulas.dkd(student, teacher, TARGETS, 1.0, 1.0, 1.0)
    expected = kl_by_torch(without(TEACHER, TARGETS), without(STUDENT, TARGETS))
    close(value.double(), expected, 1e-3 if dtype == torch.float32 else 1e-10)
    value.sum().backward()
    assert student.grad.isfinite().all() and without(student.grad, TARGETS).abs().amax(-1).min() > 1e-3


# Logit standardisation


def test_z_scores_against_loops_and_a_fixed_number():
    found = losses.standardize(STUDENT)
    assert found[2, 3].tolist() == pytest.approx(scores_by_loop(STUDENT[2, 3].tolist()), rel=1e-12)
    close(found.mean(-1), torch.zeros(5, 7).double())
    close(found.square().mean(-1), torch.ones(5, 7).double())
    assert losses.standardize(torch.tensor([1.0, 2.0, 3.0])).tolist() == pytest.approx(
        [-math.sqrt(1.5), 0, math.sqrt(1.5)]
    )
    assert losses.standardize(torch.ones(3, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("value", [0.0, 0.1, -1e4 / 3, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_row_stands_for_the_uniform_distribution(value, dtype):
    constant = torch.full((2, 1000), value, dtype=dtype)
    scores = losses.standardize(constant)
    close(scores, scores[:, :1].expand_as(scores), 1e-6)
    teacher = logits(9, 2, 1000, dtype=dtype)
    found = formulas.kd(scores, losses.standardize(teacher), 1.0)
    torch.testing.assert_close(
        found, formulas.kd(torch.zeros_like(constant), losses.standardize(teacher), 1.0), rtol=1e-5, atol=1e-6
    )


Z_NAMES = [name for name in TEMPERED if name.startswith("z-")]


def affine(rows, seed, sign=1):
    """a x + b with |a| between 0.1 and 8 and another b for each row."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        torch.rand(*rows.shape[:-1], 1, generator=generator, dtype=torch.float64) * 7.9 + 0.1,
        logits(seed + 1, *rows.shape[:-1], 1, scale=20.0),
    )
    return sign * a * rows + b


def mostly_apart(first, second):
    assert ((first - second).abs() > 1e-3).double().mean() > 0.9


@pytest.mark.parametrize("name", Z_NAMES)
def test_standardised_losses_see_the_shape_of_the_logits_alone(name):
    loss, plain = TEMPERED[name], TEMPERED[name.removeprefix("z-")]
    expected = loss(STUDENT, TEACHER, TARGETS, 1.0)
    close(loss(affine(STUDENT, 10), affine(TEACHER, 20), TARGETS, 1.0), expected, 1e-10)
    mostly_apart(
        plain(affine(STUDENT, 10), affine(TEACHER, 20), TARGETS, 1.0), plain(STUDENT, TEACHER, TARGETS, 1.0)
    )
    mostly_apart(loss(affine(STUDENT, 10, -1), TEACHER, TARGETS, 1.0), expected)
    mostly_apart(loss(STUDENT, affine(TEACHER, 10, -1), TARGETS, 1.0), expected)
    assert loss(affine(TEACHER, 30), TEACHER, TARGETS, 1.0).abs().max() < 1e-12
    assert (loss(affine(TEACHER, 30, -1), TEACHER, TARGETS, 1.0) > 1e-2).all()


@pytest.mark.parametrize("name", Z_NAMES)
def test_a_standardised_gradient_neither_shifts_nor_scales_the_student(name):
    student = STUDENT.clone().requires_grad_()
    TEMPERED[name](student, TEACHER, TARGETS, 1.0).sum().backward()
    assert student.grad.sum(-1).abs().max() < 1e-14
    assert (student.grad * STUDENT).sum(-1).abs().max() < 1e-13
    plain = STUDENT.clone().requires_grad_()
    TEMPERED[name.removeprefix("z-")](plain, TEACHER, TARGETS, 1.0).sum().backward()
    mostly_apart((plain.grad * STUDENT).sum(-1), 0)


def test_gradcheck_of_z_scores():
    assert torch.autograd.gradcheck(losses.standardize, STUDENT[0].clone().requires_grad_())


# Segments


LENGTHS = torch.tensor([5, 0, 1, 17, 2, 3, 12, 4, 7, 6, 1, 16])


def cuts(length, scale):
    """Places of a sentence of ``length`` rows in each of its segments."""
    return (
        [list(range(k * length // scale, (k + 1) * length // scale)) for k in range(scale)]
        if scale <= length
        else []
    )


def cuts_of_batch(lengths, scale):
    """(sentence, its row numbers in the batch) of each segment."""
    starts = [sum(lengths[:b]) for b in range(len(lengths))]
    return [
        (b, [starts[b] + i for i in places])
        for b, length in enumerate(lengths)
        for places in cuts(length, scale)
    ]


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 7, 16, 17, 18])
def test_segments_against_brute_force(scale):
    segment, sentence = losses.segments(LENGTHS, scale)
    expected = cuts_of_batch(LENGTHS.tolist(), scale)
    assert sentence.tolist() == [b for b, _ in expected]
    assert len(segment) == LENGTHS.sum()
    assert [segment.eq(k).nonzero().squeeze(1).tolist() for k in range(len(expected))] == [
        rows for _, rows in expected
    ]
    short = torch.cat([torch.full((int(n),), bool(n < scale)) for n in LENGTHS])
    assert torch.equal(segment < 0, short)


@pytest.mark.parametrize("length", [1, 2, 3, 10, 31, 100])
def test_segments_partition_the_span_in_order(length):
    for scale in range(1, length + 1):
        segment, sentence = losses.segments(torch.tensor([length]), scale)
        sizes = torch.bincount(segment, minlength=scale)
        assert len(sizes) == scale == len(sentence) and sizes.sum() == length
        assert sizes.max() - sizes.min() <= 1 and (segment.diff() >= 0).all()
        assert torch.equal(sizes.cumsum(0), torch.tensor([(k + 1) * length // scale for k in range(scale)]))


def test_segments_fixed():
    segment, sentence = losses.segments(torch.tensor([5, 1, 3]), 2)
    assert segment.tolist() == [0, 0, 1, 1, 1, -1, 2, 3, 3] and sentence.tolist() == [0, 0, 2, 2]


def test_no_sentence_is_long_enough():
    segment, sentence = losses.segments(torch.tensor([2, 1, 0]), 3)
    assert segment.tolist() == [-1, -1, -1] and len(sentence) == 0
    assert losses.pool(torch.ones(3, 4), segment, 0).shape == (0, 4)


ROWS = logits(40, int(LENGTHS.sum()), 6, scale=1.0)
TEACHER_ROWS = logits(41, int(LENGTHS.sum()), 8, scale=1.0)


def projection(seed, width):
    linear = torch.nn.Linear(width, 11).double()
    with torch.no_grad():
        linear.weight.copy_(logits(seed, 11, width, scale=2.0))
        linear.bias.copy_(logits(seed + 1, 11))
    return linear


OURS, THEIRS = projection(50, 6), projection(60, 8)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_pool_against_a_loop(scale):
    segment, sentence = losses.segments(LENGTHS, scale)
    found = losses.pool(ROWS, segment, len(sentence))
    expected = torch.stack(
        [torch.stack([ROWS[i] for i in rows]).mean(0) for _, rows in cuts_of_batch(LENGTHS.tolist(), scale)]
    )
    close(found, expected)


def test_gradcheck_of_pool():
    segment, sentence = losses.segments(torch.tensor([3, 1, 2]), 2)
    assert torch.autograd.gradcheck(
        lambda rows: losses.pool(rows, segment, len(sentence)), ROWS[:6, :2].clone().requires_grad_()
    )


def test_rows_of_no_segment_are_not_looked_at():
    segment, sentence = losses.segments(LENGTHS, 4)
    rows = ROWS.clone()
    rows[segment < 0] = torch.nan
    rows.requires_grad_()
    pooled = losses.pool(rows, segment, len(sentence))
    assert torch.equal(pooled, losses.pool(ROWS, segment, len(sentence)))
    pooled.square().sum().backward()
    assert (rows.grad[segment < 0] == 0).all() and (rows.grad[segment >= 0] != 0).all()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_pool_then_project_is_project_then_pool_but_for_z_scores(scale):
    segment, sentence = losses.segments(LENGTHS, scale)
    count = len(sentence)
    first, after = OURS(losses.pool(ROWS, segment, count)), losses.pool(OURS(ROWS), segment, count)
    close(first, after)
    assert not torch.allclose(
        losses.standardize(first), losses.pool(losses.standardize(OURS(ROWS)), segment, count), atol=1e-2
    )


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_pooled_grids_project_alike(scale):
    grid = logits(43, 3, 6, 6, 6)
    close(OURS(losses.pool_grid(grid, scale)), losses.pool_grid(OURS(grid), scale))


@pytest.mark.parametrize(
    "height, width, scale", [(4, 4, 1), (4, 4, 2), (4, 4, 4), (6, 9, 3), (5, 7, 2), (5, 7, 4)]
)
def test_pool_grid_against_a_loop_over_cells(height, width, scale):
    grid = logits(44, 2, height, width, 3)
    found = losses.pool_grid(grid, scale)
    assert found.shape == (2, scale**2, 3)
    for row in range(scale):
        for column in range(scale):
            rows = slice(row * height // scale, math.ceil((row + 1) * height / scale))
            columns = slice(column * width // scale, math.ceil((column + 1) * width / scale))
            close(found[:, row * scale + column], grid[:, rows, columns].flatten(1, 2).mean(1))
    assert torch.autograd.gradcheck(
        lambda g: losses.pool_grid(g, scale), grid[:1, ..., :1].clone().requires_grad_()
    )


def test_a_sentence_pools_like_a_grid_whose_rows_are_its_tokens():
    tokens = logits(45, 12, 3)
    for scale in (1, 2, 4):
        segment, sentence = losses.segments(torch.tensor([12]), scale)
        on_grid = losses.pool_grid(tokens[None, :, None].expand(1, 12, 4, 3), scale)
        close(on_grid.view(scale, scale, 3)[:, 0], losses.pool(tokens, segment, len(sentence)))


def test_complementary_segments_weigh_more():
    found = losses.complementary(torch.tensor([3, 1, 3, 0]), torch.tensor([3, 3, 3, 3]), 2.0)
    assert found.tolist() == [1, 2, 1, 2] and not found.requires_grad
    assert losses.complementary(torch.tensor([3, 1]), torch.tensor([3, 3]), 1.0).tolist() == [1, 1]


def sdd(base, ours, theirs, lengths, scales, weight):
    """Scale Decoupled Distillation of decoder states [N, D]: the mean over the segments of all scales, and
    the share of complementary ones."""
    segment, whole_sentence = losses.segments(lengths, 1)
    whole = torch.full((len(lengths),), -1)
    whole[whole_sentence] = THEIRS(losses.pool(theirs, segment, len(whole_sentence))).argmax(-1)
    values, apart = [], []
    for scale in scales:
        segment, sentence = losses.segments(lengths, scale)
        student, teacher = (
            project(losses.pool(rows, segment, len(sentence)))
            for project, rows in ((OURS, ours), (THEIRS, theirs))
        )
        seen = teacher.argmax(-1)
        values.append(
            losses.complementary(seen, whole[sentence], weight) * base(student, teacher.detach(), seen, 2.0)
        )
        apart.append(seen != whole[sentence])
    return torch.cat(values).mean(), torch.cat(apart).double().mean()


def sdd_by_loop(base, lengths, scales, weight):
    """The same, sentence by sentence, from means of logits."""
    values = []
    start = 0
    for length in lengths:
        student, teacher = OURS(ROWS[start : start + length]), THEIRS(TEACHER_ROWS[start : start + length])
        start += length
        for places in [places for scale in scales for places in cuts(length, scale)]:
            ours, theirs = student[places].mean(0), teacher[places].mean(0)
            same = int(theirs.argmax()) == int(teacher.mean(0).argmax())
            values.append((1 if same else weight) * base(ours, theirs, theirs.argmax(), 2.0))
    return torch.stack(values).mean()


@pytest.mark.parametrize("scales", [(1,), (1, 2), (1, 2, 4), (3,)])
@pytest.mark.parametrize("name", TEMPERED)
def test_segments_distilled_against_a_loop_over_sentences(name, scales):
    found, _ = sdd(TEMPERED[name], ROWS, TEACHER_ROWS, LENGTHS, scales, 2.0)
    close(found, sdd_by_loop(TEMPERED[name], LENGTHS.tolist(), scales, 2.0), 1e-10)


@pytest.mark.parametrize("name", TEMPERED)
@pytest.mark.parametrize("weight", [0.0, 1.0, 7.0])
def test_one_scale_of_whole_sentences_is_the_base_loss_whatever_the_weight(name, weight):
    found, share = sdd(TEMPERED[name], ROWS, TEACHER_ROWS, LENGTHS, (1,), weight)
    means = [
        (OURS(ROWS[i]).mean(0), THEIRS(TEACHER_ROWS[i]).mean(0))
        for _, i in cuts_of_batch(LENGTHS.tolist(), 1)
    ]
    close(found, torch.stack([TEMPERED[name](s, t, t.argmax(), 2.0) for s, t in means]).mean(), 1e-10)
    assert share == 0


@pytest.mark.parametrize("name", TEMPERED)
def test_one_segment_a_token_is_the_token_level_loss(name):
    length = 6
    rows, theirs = ROWS[: 3 * length], TEACHER_ROWS[: 3 * length]
    found, share = sdd(TEMPERED[name], rows, theirs, torch.tensor([length] * 3), (length,), 1.0)
    student, teacher = OURS(rows), THEIRS(theirs)
    close(found, TEMPERED[name](student, teacher, teacher.argmax(-1), 2.0).mean(), 1e-10)
    assert share > 0


@pytest.mark.parametrize("name", TEMPERED)
def test_segments_are_affine_in_the_complementary_weight(name):
    at = {w: sdd(TEMPERED[name], ROWS, TEACHER_ROWS, LENGTHS, (1, 2, 4), w)[0] for w in (0.0, 1.0, 2.0, 5.0)}
    assert at[1.0] > at[0.0] + 1e-3
    for weight in (2.0, 5.0):
        close(at[weight], at[0.0] + weight * (at[1.0] - at[0.0]), 1e-10)


@pytest.mark.parametrize("name", ["kd", "z-kd", "dkd"])
def test_segments_do_not_depend_on_the_order_or_number_of_sentences(name):
    expected, share = sdd(TEMPERED[name], ROWS, TEACHER_ROWS, LENGTHS, (1, 2, 4), 2.0)
    places = torch.arange(len(ROWS)).split(LENGTHS.tolist())
    for order in (
        torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(3)),
        torch.arange(len(LENGTHS)).repeat(3),
    ):
        chosen = torch.cat([places[b] for b in order])
        found, same = sdd(TEMPERED[name], ROWS[chosen], TEACHER_ROWS[chosen], LENGTHS[order], (1, 2, 4), 2.0)
        close(found, expected), close(same, share)


@pytest.mark.parametrize("name", ["kd", "z-rkl", "dkd"])
def test_weights_of_segments_carry_no_gradient(name):
    """Nothing reaches the teacher's states, and the student's gradient is affine in the weight as its loss
    is."""
    grads = {}
    for weight in (0.0, 1.0, 3.0):
        rows, theirs = ROWS.clone().requires_grad_(), TEACHER_ROWS.clone().requires_grad_()
        sdd(TEMPERED[name], rows, theirs, LENGTHS, (1, 2), weight)[0].backward()
        assert theirs.grad is None
        grads[weight] = rows.grad
    close(grads[3.0], grads[0.0] + 3 * (grads[1.0] - grads[0.0]), 1e-10)
    assert (grads[1.0] - grads[0.0]).abs().max() > 1e-4


# Features


def test_feature_mse_by_formula():
    a, b = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, 2.0], [1.0, -1.0]])
    assert losses.feature_mse(a, b).tolist() == [2.0, 1.0]
    close(losses.feature_mse(STUDENT, TEACHER), F.mse_loss(STUDENT, TEACHER, reduction="none").mean(-1))


def test_feature_cosine_by_formula():
    a, b = (
        torch.tensor([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0], [2.0, 0.0]]),
        torch.tensor([[0.0, 5.0], [6.0, 8.0], [-2.0, -2.0], [3.0, 4.0]]),
    )
    assert losses.feature_cosine(a, b).tolist() == pytest.approx([1, 0, 2, 0.4], abs=1e-6)
    expected = (
        1 - (STUDENT * TEACHER).sum(-1) / STUDENT.square().sum(-1).sqrt() / TEACHER.square().sum(-1).sqrt()
    )
    close(losses.feature_cosine(STUDENT, TEACHER), expected)
    close(losses.feature_cosine(7 * STUDENT, TEACHER / 3), expected)


@pytest.mark.parametrize("loss", [losses.feature_mse, losses.feature_cosine])
def test_features(loss):
    assert loss(TEACHER, TEACHER).abs().max() < 1e-14
    assert (loss(STUDENT, TEACHER) > 1e-3).all()
    assert torch.autograd.gradcheck(lambda s: loss(s, TEACHER[0]), STUDENT[0].clone().requires_grad_())
    student = torch.stack((torch.zeros(11), torch.full((11,), 1e4))).requires_grad_()
    value = loss(student, torch.stack((torch.full((11,), -1e4), torch.zeros(11))))
    value.sum().backward()
    assert value.isfinite().all() and student.grad.isfinite().all()
