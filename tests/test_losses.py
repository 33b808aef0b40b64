"""Losses against library functions, loops, bounds and degenerate cases."""
import math

import pytest
import torch
import torch.nn.functional as F

from semcom import losses


def logits(seed, *shape, scale=3.0, dtype=torch.float64):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


STUDENT, TEACHER = logits(0, 5, 7, 11), logits(1, 5, 7, 11)
TARGETS = torch.randint(11, (5, 7), generator=torch.Generator().manual_seed(2))
PAIRWISE = {"kl": losses.kl_divergence, "js": losses.js_divergence, "kd": lambda s, t: losses.kd(s, t, 4.0)}


def softmax(row, temperature=1.0):
    exponentials = [math.exp(float(x) / temperature) for x in row]
    return [e / sum(exponentials) for e in exponentials]


def kl_by_loop(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q))


def test_cross_entropy_against_torch():
    expected = F.cross_entropy(STUDENT.flatten(0, 1), TARGETS.flatten(), reduction="none").view(5, 7)
    torch.testing.assert_close(losses.cross_entropy(STUDENT, TARGETS), expected)
    assert losses.cross_entropy(torch.zeros(1, 8), torch.tensor([3])).item() == pytest.approx(math.log(8))


def test_kl_is_of_the_first_from_the_second():
    expected = F.kl_div(STUDENT.log_softmax(-1), TEACHER.softmax(-1), reduction="none").sum(-1)
    torch.testing.assert_close(losses.kl_divergence(TEACHER, STUDENT), expected)
    assert not torch.allclose(losses.kl_divergence(STUDENT, TEACHER), expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kd_is_t_squared_kl_from_teacher_to_student(temperature):
    found = losses.kd(STUDENT, TEACHER, temperature)
    expected = F.kl_div((STUDENT / temperature).log_softmax(-1), (TEACHER / temperature).softmax(-1), reduction="none").sum(-1)
    torch.testing.assert_close(found, temperature**2 * expected)
    row = temperature**2 * kl_by_loop(softmax(TEACHER[2, 3], temperature), softmax(STUDENT[2, 3], temperature))
    assert found[2, 3].item() == pytest.approx(row)


def test_kd_at_a_high_temperature_is_half_the_centred_square_error_over_v():
    """The T^2 factor: Hinton et al. 2015, section 2.1, the limit that does not fade as T grows."""
    difference = (STUDENT - STUDENT.mean(-1, keepdim=True)) - (TEACHER - TEACHER.mean(-1, keepdim=True))
    torch.testing.assert_close(losses.kd(STUDENT, TEACHER, 1e4), difference.square().mean(-1) / 2, rtol=1e-3, atol=1e-6)


def test_js_by_loop_and_within_its_bounds():
    found = losses.js_divergence(STUDENT, TEACHER)
    p, q = softmax(STUDENT[4, 6]), softmax(TEACHER[4, 6])
    m = [(a + b) / 2 for a, b in zip(p, q)]
    assert found[4, 6].item() == pytest.approx((kl_by_loop(p, m) + kl_by_loop(q, m)) / 2)
    torch.testing.assert_close(found, losses.js_divergence(TEACHER, STUDENT))
    assert (found > 0).all() and (found < math.log(2)).all()
    apart = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert losses.js_divergence(*apart).item() == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("name", PAIRWISE)
def test_zero_for_equals_and_for_shifted_logits(name):
    loss = PAIRWISE[name]
    assert (loss(STUDENT, STUDENT.clone()) == 0).all() if name != "js" else loss(STUDENT, STUDENT.clone()).abs().max() < 1e-15
    assert loss(STUDENT, STUDENT + 5).abs().max() < 1e-12
    assert (loss(STUDENT, TEACHER) > 1e-3).all()


@pytest.mark.parametrize("name", [*PAIRWISE, "ce"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_with_finite_gradients_at_huge_and_constant_logits(name, dtype):
    student = torch.stack((logits(3, 9, scale=1e4), torch.zeros(9).double(), torch.full((9,), -1e4).double(), logits(4, 9, scale=1e4)))
    student = student.to(dtype).requires_grad_()
    teacher = torch.stack((logits(5, 9, scale=1e4), logits(6, 9, scale=1e4), torch.zeros(9).double(), -student[3].detach().double())).to(dtype)
    value = losses.cross_entropy(student, torch.tensor([0, 1, 2, 3])) if name == "ce" else PAIRWISE[name](student, teacher)
    value.sum().backward()
    assert value.isfinite().all() and (value >= 0).all() and student.grad.isfinite().all()
    assert value.dtype == torch.float32


@pytest.mark.parametrize("name", PAIRWISE)
def test_each_row_is_on_its_own(name):
    whole = PAIRWISE[name](STUDENT, TEACHER)
    assert whole.shape == (5, 7)
    torch.testing.assert_close(whole[1, 2], PAIRWISE[name](STUDENT[1, 2], TEACHER[1, 2]))


def test_gradients():
    student = STUDENT[0].clone().requires_grad_()
    for loss in (lambda s: losses.kd(s, TEACHER[0], 2.0), lambda s: losses.kl_divergence(s, TEACHER[0]),
                 lambda s: losses.js_divergence(s, TEACHER[0]), lambda s: losses.cross_entropy(s, TARGETS[0])):
        assert torch.autograd.gradcheck(loss, student)


def test_feature_mse_by_formula():
    a, b = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, 2.0], [1.0, -1.0]])
    assert losses.feature_mse(a, b).tolist() == [2.0, 1.0]
