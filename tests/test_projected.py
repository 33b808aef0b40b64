"""Projection, losses and gradients by matrix units, against the plain losses in float64."""

import copy
import itertools

import pytest
import torch
from native_support import NO_COMPILER
from torch import nn
from toy import CPU

from semcom.base import precision
from semcom.distillation import fused_linear_loss, losses
from semcom.distillation.fused_linear_loss import Mean, Projected
from semcom.distillation.kd_loss import row_loss
from semcom.distillation.settings import DistillationConfig
from semcom.models.kernels import native, row_losses

HAS_UNITS = bool(getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16"))  # as torch found out
pytestmark = pytest.mark.skipif(
    NO_COMPILER is not None or not HAS_UNITS, reason=NO_COMPILER or "no matrix units (AMX)"
)
WORK = row_losses.projected


@pytest.fixture
def calls(monkeypatch):
    """Of the function that is tested: what it was given."""
    made = []
    monkeypatch.setattr(row_losses, "projected", lambda *given: made.append(given) or WORK(*given))
    return made


def side(n, width, pieces, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    projection = nn.Linear(width, pieces)
    with torch.no_grad():
        projection.weight.normal_(generator=generator).mul_(scale / width**0.5)
        projection.bias.normal_(generator=generator)
    return Projected(torch.randn(n, width, generator=generator).requires_grad_(), projection)


def in_double(given):
    return Projected(given.state.detach().double().requires_grad_(), copy.deepcopy(given.projection).double())


def relative(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


def leaves(given):
    return [given.state, given.projection.weight, given.projection.bias]


def plain(student, teacher, targets, temperature, weights):
    """[loss, CE, KD], summed, and the gradients of the loss, in float64."""
    student = in_double(student)
    wanted = leaves(student)
    logits = student.projection(student.state)
    ce = losses.cross_entropy(logits, targets)
    if teacher is None:
        return [ce.sum()] * 2, torch.autograd.grad(ce.sum(), wanted)
    teacher = in_double(teacher)
    kd = losses.kd(logits, teacher.projection(teacher.state), torch.as_tensor(temperature).double())
    loss = (weights[0] * ce + weights[1] * kd).sum()
    return [loss, ce.sum(), kd.sum()], torch.autograd.grad(loss, wanted)


SHAPES = [  # rows, pieces, width, the teacher's width: whole tiles and blocks, one less, one more, and odd pairs of tiles
    (1, 2, 16, 16),
    (16, 64, 32, 32),
    (15, 63, 48, 40),
    (17, 65, 48, 9),
    (33, 333, 80, 128),
    (100, 128, 16, 1),
    (96, 1000, 128, 96),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_values_and_gradients(shape, threads, calls, monkeypatch):
    n, pieces, width, teacher_width = shape
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(fused_linear_loss, "ACROSS_BYTES", {"cpu": 48 * 4 * pieces, "cuda": 0})
    student, teacher = side(n, width, pieces, 0, 3.0), side(n, teacher_width, pieces, 1, 3.0)
    targets = torch.randint(pieces, (n,), generator=torch.Generator().manual_seed(2))
    by_row = torch.linspace(0.5, 8, n), (torch.linspace(0.1, 1, n), torch.linspace(1, 0.2, n))
    for temperature, weights in ((4.0, (0.3, 0.7)), by_row):
        found = fused_linear_loss.distillation(student, teacher, targets, temperature, weights, compiled=True)
        mine = torch.autograd.grad(found.loss, leaves(student))
        expected, right = plain(student, teacher, targets, temperature, weights)
        assert [x.item() for x in found] == pytest.approx([x.item() for x in expected], rel=3e-6)
        assert all(relative(a, b) < 3e-6 for a, b in zip(mine, right))
    found = fused_linear_loss.cross_entropy(student, targets, compiled=True)
    (expected, _), right = plain(student, None, targets, 1.0, None)
    assert found.item() == pytest.approx(expected.item(), rel=3e-6)
    assert all(relative(a, b) < 3e-6 for a, b in zip(torch.autograd.grad(found, leaves(student)), right))
    assert len(calls) == 3


def test_products_are_as_exact_as_those_of_floats(monkeypatch):
    """Two parts of a float alone, or rounding to bfloat16, would be 20 and 10,000 times less exact."""
    student, teacher = side(600, 128, 3000, 0), side(600, 128, 3000, 1)
    targets = torch.randint(3000, (600,), generator=torch.Generator().manual_seed(2))
    _, right = plain(student, teacher, targets, 4.0, (0.3, 0.7))
    errors = {}
    for units in (True, False):
        with monkeypatch.context() as patched:
            if not units:
                patched.setattr(row_losses, "projects", lambda width: False)
            loss = fused_linear_loss.distillation(
                student, teacher, targets, 4.0, (0.3, 0.7), compiled=True
            ).loss
            errors[units] = [
                relative(a, b) for a, b in zip(torch.autograd.grad(loss, leaves(student)), right)
            ]
    assert all(mine < 1.5 * theirs for mine, theirs in zip(errors[True], errors[False])), errors


def test_matrix_units_are_found():
    assert native.matrix_units()


def test_gradients_of_weights_stay_exact_over_many_rows():
    """Summed row by row in one float they would lose 1e-6."""
    student = side(30_000, 16, 48, 0)
    with torch.no_grad():
        student.state.add_(3)
    targets = torch.randint(48, (30_000,), generator=torch.Generator().manual_seed(2))
    _, right = plain(student, None, targets, 1.0, None)
    mine = torch.autograd.grad(
        fused_linear_loss.cross_entropy(student, targets, compiled=True), leaves(student)
    )
    assert relative(mine[1], right[1]) < 3e-7


def test_memory_holds_the_logits_of_a_chunk_and_of_no_idle_thread(monkeypatch):
    asked, call = [], native.call
    monkeypatch.setattr(
        native,
        "call",
        lambda *given, **members: asked.append((given[0], call(*given, **members))) or asked[-1][1],
    )

    def space(n, pieces, threads=2):
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        student = side(n, 16, pieces, 0)
        fused_linear_loss.cross_entropy(student, torch.arange(n) % pieces, compiled=True)
        return {name: found for name, found in asked if name == "projected_space"}["projected_space"]

    assert space(600, 1000) == space(4000, 1000) < 4000 * 1000 * 4
    assert space(600, 100, threads=40) == space(600, 100, threads=1)


def test_small_and_large_numbers():
    """Parts keep a float's range: states of 1e-12 beside weights of 1e12."""
    student = side(40, 32, 100, 0)
    targets = torch.arange(40)
    expected = torch.autograd.grad(
        fused_linear_loss.cross_entropy(student, targets, compiled=True), leaves(student)
    )
    scaled = Projected(
        (student.state.detach() * 2.0**-40).requires_grad_(), copy.deepcopy(student.projection)
    )
    with torch.no_grad():
        scaled.projection.weight.mul_(2.0**40)
    found = torch.autograd.grad(
        fused_linear_loss.cross_entropy(scaled, targets, compiled=True), leaves(scaled)
    )
    for mine, right, scale in zip(found, expected, (2.0**-40, 2.0**40, 1.0)):
        assert relative(mine * scale, right.double()) < 1e-6


@pytest.mark.parametrize("wanted", list(itertools.product((True, False), repeat=3)), ids=str)
def test_what_is_not_wanted_is_not_made(wanted, calls):
    student = side(40, 32, 100, 0)
    targets = torch.arange(40)
    expected = torch.autograd.grad(fused_linear_loss.cross_entropy(student, targets), leaves(student))
    state, (weight, bias) = (
        student.state.detach().requires_grad_(wanted[0]),
        (p.detach() for p in student.projection.parameters()),
    )
    projection = nn.Linear(32, 100)
    projection.weight, projection.bias = nn.Parameter(weight, wanted[1]), nn.Parameter(bias, wanted[2])
    loss = fused_linear_loss.cross_entropy(Projected(state, projection), targets, compiled=True)
    given = [x for x in (state, projection.weight, projection.bias) if x.requires_grad]
    found = iter(torch.autograd.grad(loss, given) if given else ())
    assert all(torch.allclose(next(found), right, atol=1e-6) for right, want in zip(expected, wanted) if want)
    assert calls[0][-1] == wanted[:2]


def test_a_graph_kept_for_a_second_backward_gives_the_same_again():
    student, targets = side(40, 32, 100, 0), torch.arange(40)
    loss = fused_linear_loss.cross_entropy(student, targets, compiled=True)
    first, again = (torch.autograd.grad(2 * loss, leaves(student)[1:], retain_graph=True) for _ in "12")
    assert all(map(torch.equal, first, again))


def test_several_teachers(calls):
    student, first, second = side(40, 32, 100, 0), side(40, 16, 100, 1), side(40, 9, 100, 2)
    targets = torch.arange(40)
    teachers = Mean((first, second), (0.25, 0.75))
    values = [
        fused_linear_loss.distillation(student, teachers, targets, 3.0, (0.3, 0.7), compiled=compiled)
        for compiled in (True, False)
    ]
    assert [x.item() for x in values[0]] == pytest.approx([x.item() for x in values[1]], rel=1e-6)
    for mine, right in zip(*(torch.autograd.grad(sums.loss, leaves(student)) for sums in values)):
        assert relative(mine, right.double()) < 1e-5
    assert len(calls) == 1


def test_other_losses_dtypes_and_widths_go_their_own_ways(calls):
    student, teacher, targets = side(40, 32, 100, 0), side(40, 32, 100, 1), torch.arange(40)
    fused_linear_loss.distillation(
        student,
        teacher,
        targets,
        3.0,
        (0.3, 0.7),
        row_loss=row_loss(DistillationConfig(kd_loss="rkl")),
        compiled=True,
    )
    fused_linear_loss.distillation(
        student,
        Mean((teacher, teacher), (0.5, 0.5), of_probabilities=True),
        targets,
        3.0,
        (0.3, 0.7),
        compiled=True,
    )
    fused_linear_loss.distillation(student, teacher, targets, 3.0, (0.3, 0.7))
    fused_linear_loss.distillation(
        *map(in_double, (student, teacher)), targets, 3.0, (0.3, 0.7), compiled=True
    )
    for width in (24, 144):
        fused_linear_loss.cross_entropy(side(40, width, 100, 0), targets, compiled=True)
    with precision.products("bf16", CPU):
        fused_linear_loss.cross_entropy(student, targets, compiled=True)
    assert not calls


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(poison):
    for where in ("state", "weight", "bias", "teacher"):
        student, teacher, targets = side(40, 32, 100, 0), side(40, 32, 100, 1), torch.arange(40)
        of = teacher if where == "teacher" else student
        with torch.no_grad():
            {
                "state": of.state,
                "weight": of.projection.weight,
                "bias": of.projection.bias,
                "teacher": of.state,
            }[where].view(-1)[33] = poison
        assert not torch.isfinite(
            fused_linear_loss.distillation(student, teacher, targets, 4.0, (0.3, 0.7), compiled=True).loss
        ), where


def test_no_row_and_a_piece_that_there_is_not():
    student, teacher, targets = side(40, 32, 100, 0), side(40, 32, 100, 1), torch.arange(40)
    nothing = [Projected(given.state[:0], given.projection) for given in (student, teacher)]
    none = fused_linear_loss.distillation(*nothing, targets[:0], 4.0, (0.3, 0.7), compiled=True)
    assert [x.item() for x in none] == [0, 0, 0]
    assert not torch.autograd.grad(none.loss, student.projection.weight)[0].any()
    for wrong in (targets + 61, targets - 1):
        with pytest.raises(IndexError, match="0 to 99"):
            fused_linear_loss.cross_entropy(student, wrong, compiled=True)


def test_tensors_that_do_not_fit_are_refused():
    (state, weight, bias), teacher = (
        [x.detach() for x in leaves(side(40, 32, 100, seed))] for seed in (0, 1)
    )
    right = {
        "state": state,
        "weight": weight,
        "bias": bias,
        "teacher": teacher,
        "targets": torch.arange(40),
        "factors": torch.ones(3, 40),
        "most": 32,
        "wanted": (True, True),
    }
    WORK(**right)
    for wrong, message in (
        ({"state": state[:, :24].contiguous()}, "weight"),
        ({"state": state.double()}, "state: torch.float64"),
        ({"weight": weight[:, :16]}, "weight"),
        ({"teacher": (teacher[0][:39], *teacher[1:])}, "teacher's state"),
        ({"targets": torch.arange(39)}, "targets"),
        ({"factors": torch.ones(40, 3)}, "factors"),
        (
            {"state": state[:, :24].contiguous(), "weight": weight[:, :24].contiguous()},
            "width 24: must be a multiple of 16",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            WORK(**right | wrong)


def test_where_there_are_no_units_the_products_are_torch_s(calls, monkeypatch):
    class Without:
        def __getitem__(self, name):
            return (lambda: 0) if name == "matrix_units" else made[name]

    made = native.library()
    monkeypatch.setattr(native, "library", Without)
    student, targets = side(40, 32, 100, 0), torch.arange(40)
    expected = fused_linear_loss.cross_entropy(student, targets).item()
    assert fused_linear_loss.cross_entropy(student, targets, compiled=True).item() == pytest.approx(
        expected, rel=1e-6
    )
    assert not calls
