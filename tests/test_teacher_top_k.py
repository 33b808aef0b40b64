"""The teacher's most probable pieces and all others as one: sums written out, limits, refusals."""

import math
from types import SimpleNamespace

import pytest
import torch
from test_losses import BETA, SKEW, STUDENT, TARGETS, TEACHER, close, kl_by_loop, scores_by_loop, softmax

from semcom.base.errors import SemcomError
from semcom.commands.distil import _check_top_k
from semcom.distillation import losses
from semcom.distillation.kd_loss import row_loss
from semcom.distillation.settings import DistillationConfig

V = 11
OWN = {"jsd": {"jsd_beta": BETA}, "skl": {"skew": SKEW}}


def settings_of(kind, number, z=False):
    return DistillationConfig(
        kd_loss=kind, teacher_top_k=number, standardize_logits=z, temperature=4.0, **OWN.get(kind, {})
    )


def by_loop(kind, student, teacher, number, T, z):
    """In python floats, over K + 1 probabilities of each side."""
    if z:
        student, teacher = scores_by_loop(student), scores_by_loop(teacher)
    p, q = softmax(teacher, T), softmax(student, T)
    top = sorted(range(V), key=lambda i: -p[i])[:number]
    p, q = ([row[i] for i in top] + [sum(row[i] for i in range(V) if i not in top)] for row in (p, q))
    if kind == "jsd":
        m = [BETA * a + (1 - BETA) * b for a, b in zip(p, q)]
        return BETA * kl_by_loop(p, m) + (1 - BETA) * kl_by_loop(q, m)
    if kind == "skl":
        return kl_by_loop(p, [SKEW * a + (1 - SKEW) * b for a, b in zip(p, q)])
    return T**2 * (kl_by_loop(p, q) if kind == "kd" else kl_by_loop(q, p))


@pytest.mark.parametrize("z", [False, True])
@pytest.mark.parametrize("number", [1, 4, V - 1])
@pytest.mark.parametrize("kind", ["kd", "rkl", "jsd", "skl"])
def test_each_row_is_its_formula(kind, number, z):
    temperatures = torch.linspace(0.5, 4, 35, dtype=torch.float64).view(5, 7)
    found = row_loss(settings_of(kind, number, z))(STUDENT, TEACHER, TARGETS, temperatures)
    expected = [
        [
            by_loop(
                kind, STUDENT[i, j].tolist(), TEACHER[i, j].tolist(), number, float(temperatures[i, j]), z
            )
            for j in range(7)
        ]
        for i in range(5)
    ]
    close(found, torch.tensor(expected, dtype=torch.float64), 1e-10)


def test_all_pieces_but_one_are_all_and_fewer_tell_less():
    whole = row_loss(DistillationConfig())(STUDENT, TEACHER, TARGETS, 4.0)
    by_number = [row_loss(settings_of("kd", k))(STUDENT, TEACHER, TARGETS, 4.0) for k in range(1, V)]
    close(by_number[-1], whole)
    for fewer, more in zip(by_number, by_number[1:]):
        assert (fewer <= more + 1e-12).all()  # what is merged can only lose divergence
    assert (by_number[3] < whole - 1e-6).any()


def test_gradients_and_a_rest_of_next_to_nothing():
    divergence = row_loss(settings_of("kd", 3))
    student = STUDENT[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: divergence(s, TEACHER[0], TARGETS[0], 2.0), student)
    sure = torch.full((1, V), -200.0)
    sure[0, 2] = 200.0
    ours = torch.randn(1, V, requires_grad=True)
    row = divergence(ours, sure, torch.tensor([2]), 1.0)
    assert row.item() == pytest.approx(-float(losses.log_softmax(ours)[0, 2].detach()), rel=1e-5)
    assert torch.autograd.grad(row.sum(), ours)[0].isfinite().all()


def test_what_is_refused():
    with pytest.raises(SemcomError) as error:
        DistillationConfig(kd_loss="dkd", teacher_top_k=50)
    assert str(error.value) == (
        "--teacher-top-k 50: --kd-loss dkd sets the right piece apart, which may be among the others; "
        "leave it out, or give --kd-loss kd"
    )
    teacher = SimpleNamespace(name="teacher.pt", vocabulary=range(4000))
    _check_top_k(SimpleNamespace(distillation=settings_of("kd", 3999)), teacher)
    with pytest.raises(SemcomError, match=r"^--teacher-top-k 4000: teacher.pt has 4,000 pieces; .* 3999$"):
        _check_top_k(SimpleNamespace(distillation=settings_of("kd", 4000)), teacher)
    with pytest.raises(ValueError, match="the top 11 of 11 classes"):
        losses.top_and_rest(STUDENT, TEACHER, V, 1.0)


def test_how_it_is_called():
    assert settings_of("kd", 50).describe() == "kd over the teacher's top 50 and the rest, T=4, weight 0.7"
    assert not settings_of("kd", 50).by_hand and math.isclose(settings_of("rkl", 50).temperature, 4.0)
