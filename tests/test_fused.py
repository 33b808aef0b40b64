"""The fused projection and losses against the plain ones of ``losses``, over whole logits and torch's
autograd."""

import copy
import itertools
from functools import partial

import formulas
import pytest
import torch
from torch import nn
from toy import CPU, C, encoded, size, transceiver

from semcom.base import precision
from semcom.channel.channels import AWGN
from semcom.distillation import chunk_losses, fused_linear_loss, losses, trainer
from semcom.distillation.kd_loss import row_loss
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.projected_logits import Mean, Projected
from semcom.distillation.settings import KD_LOSSES, DistillationConfig
from semcom.distillation.training_settings import TrainingConfig
from semcom.models.kernels import compiler, linear, projected_losses
from semcom.models.kernels import row_losses as native

N, D, V = 37, 6, 50
WAYS = {"in one": projected_losses, "by torch's products": native}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Both ways of the compiled losses, whatever the machine, and the calls of that one."""
    flags = request.node.callspec.params.get("machine", "-march=native")
    if request.param == "in one" and flags != "-march=native":
        pytest.skip("no run takes this way where no vectors multiply, and it takes long to compile")
    calls, module = [], WAYS[request.param]
    work = module.losses
    monkeypatch.setattr(module, "losses", lambda *given: calls.append(given) or work(*given))
    monkeypatch.setattr(linear, "pays", lambda product: request.param == "in one")
    return calls


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 10 rows in blocks of 4: several of each, the last ones not full."""
    monkeypatch.setattr(fused_linear_loss, "CHUNK_BYTES", {"cpu": 10 * 4 * V, "cuda": 10 * 4 * V})
    monkeypatch.setattr(fused_linear_loss, "ACROSS_BYTES", {"cpu": 16 * 4 * V, "cuda": 0})
    monkeypatch.setattr(fused_linear_loss, "BLOCK_BYTES", {"cpu": 4 * 4 * V, "cuda": 4 * 4 * V})


def rows(dtype=torch.float64, *, scale=1.0, seed=0, rows=N, width=D, pieces=V):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for teacher in (False, True):
        projection = nn.Linear(width, pieces, dtype=dtype)
        with torch.no_grad():
            projection.weight.normal_(generator=generator)
            projection.bias.normal_(generator=generator)
        state = scale * torch.randn(rows, width, dtype=dtype, generator=generator)
        made.append(Projected(state.requires_grad_(not teacher), projection))
    return *made, torch.randint(pieces, (rows,), generator=generator)


def plain(student, teacher, targets, temperature):
    logits = student.projection(student.state)
    ce = losses.cross_entropy(logits, targets).sum()
    return (
        (ce, formulas.kd(logits, teacher.projection(teacher.state), temperature).sum()) if teacher else (ce,)
    )


def gradients(student, value):
    leaves = [student.state, student.projection.weight, student.projection.bias]
    return torch.autograd.grad(value, leaves)


def in_double(side):
    return Projected(side.state.detach().double().requires_grad_(), copy.deepcopy(side.projection).double())


def relative(found, expected):
    return float((found - expected).detach().norm() / expected.detach().norm())


@pytest.mark.parametrize(
    "temperature, weights", [(4.0, (0.3, 0.7)), (1.0, (0.5, 0.5)), (0.5, (0.0, 1.0)), (2.5, (1.0, 0.0))]
)
def test_distillation_equals_the_plain_losses(temperature, weights, small_chunks):
    student, teacher, targets = rows()
    expected = plain(student, teacher, targets, temperature)
    found = fused_linear_loss.distillation(student, teacher, targets, temperature, weights)
    loss = sum(w * x for w, x in zip(weights, expected))
    assert [x.item() for x in found] == pytest.approx([x.item() for x in (loss, *expected)], rel=1e-12)
    ours, theirs = (gradients(student, value / N) for value in (found.loss, loss))
    for mine, right in zip(ours, theirs):
        assert relative(mine, right) < 1e-10


def test_cross_entropy_equals_the_plain_loss(small_chunks):
    student, _, targets = rows()
    expected, found = plain(student, None, targets, 1.0)[0], fused_linear_loss.cross_entropy(student, targets)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    for mine, right in zip(gradients(student, found * 3), gradients(student, expected * 3)):
        assert relative(mine, right) < 1e-10


def test_float32_gradients(small_chunks):
    student, teacher, targets = rows(torch.float32)
    ce, kd = plain(student, teacher, targets, 4.0)
    values = (
        fused_linear_loss.distillation(student, teacher, targets, 4.0, (0.3, 0.7)).loss,
        0.3 * ce + 0.7 * kd,
    )
    ours, theirs = (gradients(student, value) for value in values)
    for mine, right in zip(ours, theirs):
        assert mine.dtype == torch.float32 and relative(mine, right) < 1e-5


class _Affine:
    """The two tensors of a linear map, which gradcheck moves."""

    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias


@pytest.mark.parametrize(
    "divergence",
    [
        None,
        row_loss(DistillationConfig(kd_loss="dkd")),
        row_loss(DistillationConfig(standardize_logits=True)),
    ],
)
@pytest.mark.parametrize(
    "temperature, weights",
    [(3.0, (0.4, 0.6)), (torch.tensor([0.5, 1.0, 4.0]), (torch.tensor([0.1, 1.0, 0.0]), 0.6))],
)
def test_gradcheck(divergence, temperature, weights):
    student, teacher, targets = rows(rows=3, width=2, pieces=5)
    leaves = student.state, student.projection.weight, student.projection.bias

    def loss(state, weight, bias):
        return fused_linear_loss.distillation(
            Projected(state, _Affine(weight, bias)),
            teacher,
            targets,
            temperature,
            weights,
            row_loss=divergence,
        ).loss

    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.native)])
def test_a_graph_kept_for_a_second_backward_gives_the_same_again(compiled):
    student, teacher, targets = rows(torch.float32 if compiled else torch.float64)
    loss = (
        fused_linear_loss.distillation(student, teacher, targets, 4.0, (0.3, 0.7), compiled=compiled).loss / N
    )
    leaves = [student.state, *student.projection.parameters()]
    first, second = (torch.autograd.grad(loss, leaves, retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, second))


def test_the_loss_alone_is_differentiable():
    student, teacher, targets = rows()
    loss, ce, kd = fused_linear_loss.distillation(student, teacher, targets, 4.0, (0.3, 0.7))
    assert loss.requires_grad and not ce.requires_grad and not kd.requires_grad


EVERY_LOSS = [
    *(DistillationConfig(kd_loss=name, standardize_logits=z) for name in KD_LOSSES for z in (False, True)),
    DistillationConfig(teacher_top_k=3),
]


@pytest.mark.parametrize(
    "settings",
    EVERY_LOSS,
    ids=lambda s: s.kd_loss + " standardised" * s.standardize_logits + " top" * bool(s.teacher_top_k),
)
@pytest.mark.parametrize(
    "temperature", [2.0, torch.linspace(0.5, 4, N, dtype=torch.float64)], ids=["one T", "T by row"]
)
def test_every_divergence_over_chunks_equals_the_plain_one(settings, temperature, small_chunks):
    student, teacher, targets = rows()
    weights = torch.linspace(0, 1, N, dtype=torch.float64), 0.7
    logits, divergence = student.projection(student.state), row_loss(settings)
    ce, kd = (
        losses.cross_entropy(logits, targets),
        divergence(logits, teacher.projection(teacher.state), targets, temperature),
    )
    expected = (weights[0] * ce + weights[1] * kd).sum()
    found = fused_linear_loss.distillation(
        student, teacher, targets, temperature, weights, row_loss=divergence
    )
    assert [x.item() for x in found] == pytest.approx(
        [expected.item(), ce.sum().item(), kd.sum().item()], rel=1e-10
    )
    for mine, right in zip(gradients(student, found.loss), gradients(student, expected)):
        assert relative(mine, right) < 1e-10


@pytest.mark.parametrize(
    "temperature", [2.0, torch.linspace(0.5, 4, N, dtype=torch.float64)], ids=["one T", "T by row"]
)
def test_kd_by_hand_with_temperatures_and_weights_by_row(temperature, small_chunks):
    student, teacher, targets = rows()
    weights = torch.linspace(0, 1, N, dtype=torch.float64), torch.linspace(1, 0.2, N, dtype=torch.float64)
    by_hand, by_autograd = (
        fused_linear_loss.distillation(student, teacher, targets, temperature, weights, row_loss=choice)
        for choice in (None, row_loss(DistillationConfig()))
    )
    assert [x.item() for x in by_hand] == pytest.approx([x.item() for x in by_autograd], rel=1e-11)
    for mine, right in zip(gradients(student, by_hand.loss), gradients(student, by_autograd.loss)):
        assert relative(mine, right) < 1e-10


@pytest.mark.parametrize("of_probabilities", [False, True])
@pytest.mark.parametrize("divergence", [None, row_loss(DistillationConfig(kd_loss="rkl"))], ids=["kd", "rkl"])
def test_several_teachers(of_probabilities, divergence, small_chunks):
    student, first, targets = rows()
    other, shares, temperature = rows(width=9, seed=5)[1], (0.25, 0.75), 3.0
    logits = [m.projection(m.state).detach() for m in (first, other)]
    mean = sum(share * z for share, z in zip(shares, logits))
    if of_probabilities:
        mean = (
            temperature * sum(share * (z / temperature).softmax(-1) for share, z in zip(shares, logits)).log()
        )
    ours = student.projection(student.state)
    expected = (divergence or row_loss(DistillationConfig()))(ours, mean, targets, temperature).sum()
    found = fused_linear_loss.distillation(
        student,
        Mean((first, other), shares, of_probabilities),
        targets,
        temperature,
        (0.0, 1.0),
        row_loss=divergence,
    )
    assert found.kd.item() == pytest.approx(expected.item(), rel=1e-10)
    for mine, right in zip(gradients(student, found.loss), gradients(student, expected)):
        assert relative(mine, right) < 1e-9


def test_classes_are_those_of_the_mean(small_chunks):
    _, first, _ = rows()
    other = rows(width=9, seed=5)[1]
    logits = [m.projection(m.state) for m in (first, other)]
    assert torch.equal(fused_linear_loss.classes(Mean((first,), (1.0,))), logits[0].argmax(-1))
    assert torch.equal(
        fused_linear_loss.classes(Mean((first, other), (0.5, 0.5))), (logits[0] + logits[1]).argmax(-1)
    )
    probable = sum(z.softmax(-1) for z in logits).argmax(-1)
    assert torch.equal(
        fused_linear_loss.classes(Mean((first, other), (0.5, 0.5), of_probabilities=True)), probable
    )


def test_nothing_reaches_the_teacher_nor_what_is_frozen():
    student, teacher, targets = rows()
    student.projection.requires_grad_(False)
    fused_linear_loss.distillation(student, teacher, targets, 2.0, (0.5, 0.5)).loss.backward()
    assert student.state.grad is not None
    assert all(
        x.grad is None
        for x in (teacher.state, *teacher.projection.parameters(), *student.projection.parameters())
    )


def test_finite_at_extreme_logits_and_for_constant_rows():
    student, teacher, targets = rows(torch.float32, scale=1e4)
    flat = Projected(torch.zeros(N, D), nn.Linear(D, V))
    with torch.no_grad():
        flat.projection.bias.zero_()
    for other in (teacher, flat):
        sums = fused_linear_loss.distillation(student, other, targets, 4.0, (0.3, 0.7))
        assert all(torch.isfinite(x) for x in sums)
        assert all(torch.isfinite(g).all() for g in gradients(student, sums.loss))


def test_a_student_that_is_the_teacher_diverges_by_nothing():
    student, _, targets = rows()
    assert abs(float(fused_linear_loss.distillation(student, student, targets, 4.0, (0.3, 0.7)).kd)) < 1e-10


def test_chunks_hold_fewer_rows_as_the_vocabulary_grows():
    for pieces in (100, 4000, 22_234, 44_468):
        rows = fused_linear_loss.rows_within(fused_linear_loss.CHUNK_BYTES, pieces, CPU)
        assert rows * pieces * 4 <= fused_linear_loss.CHUNK_BYTES["cpu"] < (rows + 1) * pieces * 4
    assert fused_linear_loss.rows_within(fused_linear_loss.CHUNK_BYTES, 44_468, CPU) == pytest.approx(
        fused_linear_loss.rows_within(fused_linear_loss.CHUNK_BYTES, 22_234, CPU) / 2, abs=1
    )
    assert fused_linear_loss.rows_within({"cpu": 1, "cuda": 1}, 10, CPU) == 1


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.native)])
def test_whole_logits_never_exist(compiled, monkeypatch):
    """No tensor of the step is as large as one model's logits."""
    student, teacher, targets = rows(torch.float32, rows=400, pieces=3000)
    monkeypatch.setattr(fused_linear_loss, "CHUNK_BYTES", {"cpu": 40 * 4 * 3000, "cuda": 40 * 4 * 3000})
    monkeypatch.setattr(fused_linear_loss, "ACROSS_BYTES", {"cpu": 40 * 4 * 3000, "cuda": 0})
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            largest = max(
                [
                    largest,
                    *(
                        x.numel()
                        for x in torch.utils._pytree.tree_leaves(made)
                        if isinstance(x, torch.Tensor)
                    ),
                ]
            )
            return made

    with Watch():
        fused_linear_loss.distillation(
            student, teacher, targets, 4.0, (0.3, 0.7), compiled=compiled
        ).loss.backward()
    assert largest <= 40 * 3000


def test_bf16_products_round_and_no_more():
    student, teacher, targets = rows(torch.float32, width=32)
    with precision.products("bf16", CPU):
        loss, ce, kd = fused_linear_loss.distillation(student, teacher, targets, 4.0, (0.3, 0.7))
    right_ce, right_kd = plain(student, teacher, targets, 4.0)
    assert relative(ce, right_ce) > 1e-6, "nothing was rounded"
    assert [ce.item(), kd.item()] == [
        pytest.approx(right_ce.item(), rel=1e-2),
        pytest.approx(right_kd.item(), rel=3e-2),
    ]
    for mine, right in zip(gradients(student, loss), gradients(student, 0.3 * right_ce + 0.7 * right_kd)):
        assert relative(mine, right) < 3e-2


@pytest.mark.native
def test_the_compiled_losses_equal_the_plain_ones(machine, way, monkeypatch):
    """Against float64; with temperatures and weights by row, over several chunks of pieces that are no
    multiple of any block."""
    for distils, threads, (scale, number) in itertools.product(
        (True, False), (1, 2, 5), ((1.0, N), (30.0, 48), (1.0, 1))
    ):
        way.clear()
        equals_the_plain_ones(distils, threads, scale, number, monkeypatch)
        assert way, "the compiled losses did it"


def equals_the_plain_ones(distils, threads, scale, number, monkeypatch):
    monkeypatch.setattr(fused_linear_loss, "ACROSS_BYTES", {"cpu": 16 * 4 * 333, "cuda": 0})
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    student, teacher, targets = rows(torch.float32, scale=scale, rows=number, pieces=333)
    exact = [in_double(side) for side in (student, teacher)]
    temperature, weights = (
        torch.linspace(0.5, 8, number),
        (torch.linspace(0, 1, number), torch.linspace(1, 0.2, number)),
    )
    if distils:
        logits = exact[0].projection(exact[0].state)
        ce, kd = (
            losses.cross_entropy(logits, targets),
            formulas.kd(logits, exact[1].projection(exact[1].state), temperature.double()),
        )
        expected = (weights[0] * ce + weights[1] * kd).sum(), ce.sum(), kd.sum()
        found = fused_linear_loss.distillation(student, teacher, targets, temperature, weights, compiled=True)
    else:
        expected = plain(exact[0], None, targets, 1.0)
        found = [fused_linear_loss.cross_entropy(student, targets, compiled=True)]
    assert [x.item() for x in found] == pytest.approx([x.item() for x in expected], rel=2e-6)
    for mine, right in zip(gradients(student, found[0]), gradients(exact[0], expected[0])):
        assert relative(mine, right) < 1e-5


@pytest.mark.native
@pytest.mark.parametrize("precision_of, tolerance", [("fp32", 1e-5), ("bf16", 2e-2)])
def test_the_compiled_losses_at_any_temperature(precision_of, tolerance, machine, way):
    """At powers of two one exponential stands for two; logits over a range where the squares of some are
    below float32's."""
    for number, temperature in enumerate((0.5, 1.0, 2.0, 3.0, 4.0, 8.0, 16.0), 1):
        student, teacher, targets = rows(torch.float32, scale=8.0, pieces=333)
        exact = [in_double(side) for side in (student, teacher)]
        expected = plain(*exact, targets, temperature)
        with precision.products(precision_of, CPU):
            found = fused_linear_loss.distillation(
                student, teacher, targets, temperature, (0.3, 0.7), compiled=True
            )
        assert [float(found.ce), float(found.kd)] == pytest.approx(
            [x.item() for x in expected], rel=tolerance
        )
        for mine, right in zip(
            gradients(student, found.loss), gradients(exact[0], 0.3 * expected[0] + 0.7 * expected[1])
        ):
            assert relative(mine, right) < 2 * tolerance
        assert len(way) == number, "the compiled losses did it"


@pytest.mark.native
def test_a_weight_that_is_stored_turned(machine):
    student, teacher, targets = rows(torch.float32)
    turned = nn.Linear(D, V)
    turned.weight = nn.Parameter(student.projection.weight.detach().t().contiguous().t())
    turned.bias = student.projection.bias
    with precision.products("bf16", CPU):
        found, plain_one = (
            fused_linear_loss.distillation(
                Projected(student.state, p), teacher, targets, 4.0, (0.3, 0.7), compiled=True
            )
            for p in (turned, student.projection)
        )
        assert found.loss.item() == pytest.approx(plain_one.loss.item(), rel=1e-6)
        assert (
            relative(
                *(
                    torch.autograd.grad(sums.loss, p.weight)[0]
                    for sums, p in ((found, turned), (plain_one, student.projection))
                )
            )
            < 1e-3
        )


@pytest.mark.native
def test_adding_bfloat16_to_float32(machine, monkeypatch):
    for number, threads in itertools.product((1, 16, 331), (1, 3, 40)):
        monkeypatch.setattr(torch, "get_num_threads", partial(int, threads))
        to, summand = torch.randn(number), torch.randn(number).bfloat16()
        expected = to + summand.float()
        native.add(to, summand)
        assert torch.equal(to, expected)
    with pytest.raises(ValueError, match="summand: torch.float32"):
        native.add(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"to: torch.float32 \[4\]"):
        native.add(torch.zeros(4), torch.zeros(3).bfloat16())


SHAPES = [  # rows, pieces, width, the teacher's width: whole tiles and blocks, one less, one more
    (1, 2, 16, 16),
    (16, 64, 32, 32),
    (15, 63, 48, 40),
    (17, 65, 48, 9),
    (33, 333, 80, 128),
    (100, 128, 16, 1),
    (96, 1000, 128, 96),
    (150, 400, 33, 31),  # chunks of 48 and of 144 rows, several blocks of 192 pieces
]


@pytest.mark.native
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_compiled_losses_of_every_shape(shape, threads, way, monkeypatch):
    number, pieces, width, teacher_width = shape
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(fused_linear_loss, "ACROSS_BYTES", {"cpu": 48 * 4 * pieces, "cuda": 0})
    monkeypatch.setattr(fused_linear_loss, "KEPT_BYTES", threads * 48 * 4 * pieces)
    student, _, targets = rows(torch.float32, rows=number, width=width, pieces=pieces)
    _, teacher, _ = rows(torch.float32, rows=number, width=teacher_width, pieces=pieces, seed=1)
    for side in (student, teacher):
        with torch.no_grad():
            side.projection.weight.mul_(3 / side.state.shape[1] ** 0.5)
    mine, theirs = map(in_double, (student, teacher))
    logits, taught = mine.projection(mine.state), theirs.projection(theirs.state)
    ce = losses.cross_entropy(logits, targets)
    by_row = (
        torch.linspace(0.5, 8, number),
        (torch.linspace(0.1, 1, number), torch.linspace(1, 0.2, number)),
    )
    for temperature, weights in ((4.0, (0.3, 0.7)), by_row):
        kd = formulas.kd(logits, taught, torch.as_tensor(temperature).double())
        expected = (weights[0] * ce + weights[1] * kd).sum()
        found = fused_linear_loss.distillation(student, teacher, targets, temperature, weights, compiled=True)
        assert [x.item() for x in found] == pytest.approx(
            [expected.item(), ce.sum().item(), kd.sum().item()], rel=3e-6, abs=1e-6
        )
        right = torch.autograd.grad(expected, [mine.state, *mine.projection.parameters()], retain_graph=True)
        for ours, exact in zip(gradients(student, found.loss), right):
            assert relative(ours, exact) < 3e-6
    alone = fused_linear_loss.cross_entropy(student, targets, compiled=True)
    assert alone.item() == pytest.approx(ce.sum().item(), rel=3e-6)
    for ours, exact in zip(gradients(student, alone), gradients(mine, ce.sum())):
        assert relative(ours, exact) < 3e-6


@pytest.mark.native
def test_compiled_gradients_of_weights_stay_exact_over_many_rows(way):
    """Summed row by row in one float they would lose 1e-6."""
    student, _, targets = rows(torch.float32, rows=30_000, width=16, pieces=48)
    with torch.no_grad():
        student.projection.weight.mul_(0.25)
        student.state.add_(3)
    exact = in_double(student)
    right = gradients(exact, plain(exact, None, targets, 1.0)[0])
    ours = gradients(student, fused_linear_loss.cross_entropy(student, targets, compiled=True))
    assert relative(ours[1], right[1]) < 3e-7


@pytest.mark.native
def test_compiled_losses_of_small_and_large_numbers(way):
    """States of 1e-12 beside weights of 1e12."""
    student, _, targets = rows(torch.float32, width=32)
    expected = gradients(student, fused_linear_loss.cross_entropy(student, targets, compiled=True))
    state = (student.state.detach() * 2.0**-40).requires_grad_()
    scaled = Projected(state, copy.deepcopy(student.projection))
    with torch.no_grad():
        scaled.projection.weight.mul_(2.0**40)
    found = gradients(scaled, fused_linear_loss.cross_entropy(scaled, targets, compiled=True))
    for ours, right, scale in zip(found, expected, (2.0**-40, 2.0**40, 1.0)):
        assert relative(ours * scale, right) < 1e-6


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.native)])
@pytest.mark.parametrize("wanted", list(itertools.product((True, False), repeat=3)), ids=str)
def test_what_is_not_wanted_is_not_made(wanted, compiled):
    student, _, targets = rows(torch.float32)
    expected = gradients(student, fused_linear_loss.cross_entropy(student, targets))
    state = student.state.detach().requires_grad_(wanted[0])
    projection = copy.deepcopy(student.projection)
    projection.weight.requires_grad_(wanted[1])
    projection.bias.requires_grad_(wanted[2])
    loss = fused_linear_loss.cross_entropy(Projected(state, projection), targets, compiled=compiled)
    if not any(wanted):
        assert not loss.requires_grad
        return
    assert tuple(made is not None for made in loss.grad_fn.gradient) == wanted
    given = [x for x in (state, projection.weight, projection.bias) if x.requires_grad]
    found = torch.autograd.grad(loss, given)
    for ours, right in zip(found, itertools.compress(expected, wanted)):
        assert torch.allclose(ours, right, atol=1e-6)


@pytest.mark.native
def test_what_the_compiled_losses_do(way):
    """All of float32 or bfloat16, at any width; other losses and dtypes go the plain way."""
    student, teacher, targets = rows(torch.float32)
    settings = targets, 3.0, (0.3, 0.7)
    rkl = row_loss(DistillationConfig(kd_loss="rkl"))
    probabilities = Mean((teacher, teacher), (0.5, 0.5), of_probabilities=True)
    fused_linear_loss.distillation(student, teacher, *settings, row_loss=rkl, compiled=True)
    fused_linear_loss.distillation(student, probabilities, *settings, compiled=True)
    fused_linear_loss.distillation(student, teacher, *settings)
    fused_linear_loss.distillation(*map(in_double, (student, teacher)), *settings, compiled=True)
    assert not way
    for width in (6, 24, 144):
        fused_linear_loss.cross_entropy(rows(torch.float32, width=width)[0], targets, compiled=True)
    with precision.products("bf16", CPU):
        fused_linear_loss.cross_entropy(student, targets, compiled=True)
    assert len(way) == 4


def test_chunks_are_an_odd_number_of_cache_lines():
    for dtype, line in ((torch.float32, 16), (torch.bfloat16, 32)):
        for most in range(1, 700):
            chunk = native.chunk(most, dtype)
            assert chunk % 16 == 0 and chunk <= max(most, 16)
            if most >= line:
                assert chunk // line % 2 == 1 and most - chunk < 2 * line


@pytest.mark.native
@pytest.mark.parametrize("of_probabilities", [False, True])
def test_the_compiled_losses_of_several_teachers_and_divergences_are_the_plain_ones(of_probabilities, way):
    student, first, targets = rows(torch.float32)
    teachers = Mean((first, rows(torch.float32, width=9, seed=5)[1]), (0.25, 0.75), of_probabilities)
    for divergence in (None, row_loss(DistillationConfig(kd_loss="rkl"))):
        values = [
            fused_linear_loss.distillation(
                student, teachers, targets, 3.0, (0.3, 0.7), row_loss=divergence, compiled=compiled
            )
            for compiled in (True, False)
        ]
        assert [x.item() for x in values[0]] == pytest.approx([x.item() for x in values[1]], rel=1e-6)
        for mine, right in zip(*(gradients(student, sums.loss) for sums in values)):
            assert relative(mine, right) < 1e-5


@pytest.mark.native
def test_the_compiled_losses_round_to_bfloat16_as_the_plain_ones_do(machine, way):
    student, teacher, targets = rows(torch.float32, width=64, pieces=500)
    exact = plain(student, teacher, targets, 4.0)
    with precision.products("bf16", CPU):
        found, eager = (
            fused_linear_loss.distillation(student, teacher, targets, 4.0, (0.3, 0.7), compiled=compiled)
            for compiled in (True, False)
        )
    for value, right in zip((found.ce, found.kd), exact):
        assert float(value) == pytest.approx(float(right), rel=1e-2)
    right = gradients(student, 0.3 * exact[0] + 0.7 * exact[1])
    for mine, theirs, exactly in zip(gradients(student, found.loss), gradients(student, eager.loss), right):
        assert relative(mine, exactly) < 1.2 * relative(theirs, exactly) + 1e-3 < 3e-2


@pytest.mark.native
def test_the_compiled_gradient_of_the_bias_is_not_rounded_to_bfloat16(monkeypatch):
    monkeypatch.setattr(linear, "pays", lambda product: False)
    student, teacher, targets = rows(torch.float32)
    with precision.products("bf16", CPU):
        loss = fused_linear_loss.cross_entropy(student, targets, compiled=True)
        logits = (
            student.state.bfloat16() @ student.projection.weight.bfloat16().t()
        ).detach().double() + student.projection.bias.detach().double()
    right = (logits.softmax(-1) - torch.nn.functional.one_hot(targets, V)).sum(0)
    assert relative(torch.autograd.grad(loss, student.projection.bias)[0], right) < 1e-6


@pytest.mark.native
@pytest.mark.parametrize("whose", ["student", "teacher"])
@pytest.mark.parametrize("where", ["bias", "weight", "state"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_the_compiled_losses_do_not_hide_what_is_not_finite(whose, where, poison, way):
    student, teacher, targets = rows(torch.float32)
    side = student if whose == "student" else teacher
    poisoned = {"bias": side.projection.bias, "weight": side.projection.weight, "state": side.state}[where]
    with torch.no_grad():
        # Another piece than the first row's target.
        poisoned[(int(targets[0]) + 1) % V if where != "state" else 0] = poison
    sums = fused_linear_loss.distillation(student, teacher, targets, 4.0, (0.3, 0.7), compiled=True)
    assert not torch.isfinite(sums.loss) and not torch.isfinite(sums.kd)


@pytest.mark.native
def test_compiled_losses_of_no_row_and_of_a_piece_that_there_is_not(way):
    student, teacher, targets = rows(torch.float32)
    none = fused_linear_loss.distillation(
        Projected(student.state[:0], student.projection),
        Projected(teacher.state[:0], teacher.projection),
        targets[:0],
        4.0,
        (0.3, 0.7),
        compiled=True,
    )
    assert [float(x) for x in none] == [0, 0, 0]
    assert not torch.autograd.grad(none.loss, student.projection.weight)[0].any()
    for wrong in (targets + V, targets - V):
        with pytest.raises(IndexError, match="0 to 49"):
            fused_linear_loss.cross_entropy(student, wrong, compiled=True)


@pytest.mark.native
def test_the_compiled_exponential(way):
    """Of every logit that is not vanishing beside the largest, by the gradient of a softmax over two
    pieces."""
    below = torch.linspace(0, 55, 4001)
    pair = nn.Linear(1, 2)
    with torch.no_grad():
        pair.weight.copy_(torch.tensor([[0.0], [-1.0]]))
        pair.bias.zero_()
    state = below[:, None].requires_grad_()
    (gradient,) = torch.autograd.grad(
        fused_linear_loss.cross_entropy(
            Projected(state, pair), torch.zeros(4001, dtype=torch.long), compiled=True
        ),
        state,
    )
    right = -torch.sigmoid(-below.double())
    assert (gradient[:, 0] / right - 1).abs().max() < 5e-6


@pytest.mark.native
@pytest.mark.parametrize("whose", ["student", "teacher"])
@pytest.mark.parametrize("low", [-torch.inf, -1e30, -1e5])
@pytest.mark.parametrize("masked", [slice(0, 64), slice(3, 5)], ids=["a whole tile", "two pieces"])
def test_pieces_that_cannot_be(whose, low, masked, way):
    """Masked by the bias of either side. A teacher's -inf is no case: 0 times infinity, in ``losses.kd`` as
    here."""
    if whose == "teacher" and low == -torch.inf:
        return
    student, teacher, _ = rows(torch.float32, pieces=200)
    targets = torch.full((N,), 150)
    with torch.no_grad():
        (student if whose == "student" else teacher).projection.bias[masked] = low
    distils = (
        low != -torch.inf
    )  # of which the divergence is without bound where the teacher's probability is not
    values = []
    for exact in (False, True):
        mine, theirs = (in_double(side) if exact else side for side in (student, teacher))
        if exact:
            terms = plain(mine, theirs if distils else None, targets, 2.0)
            loss = 0.3 * terms[0] + 0.7 * terms[1] if distils else terms[0]
        elif distils:
            loss = fused_linear_loss.distillation(mine, theirs, targets, 2.0, (0.3, 0.7), compiled=True).loss
        else:
            loss = fused_linear_loss.cross_entropy(mine, targets, compiled=True)
        values.append((loss.item(), gradients(mine, loss)))
    (found, ours), (expected, right) = values
    assert found == pytest.approx(expected, rel=1e-5)
    assert all(relative(mine, theirs) < 1e-5 for mine, theirs in zip(ours, right))


@pytest.mark.native
def test_the_compiled_losses_of_models_of_other_kinds_are_the_plain_ones():
    """What is written in C++ takes a tensor for what it was told."""
    student, teacher, targets = rows(torch.float32)
    expected = fused_linear_loss.distillation(student, teacher, targets, 4.0, (0.3, 0.7)).loss.item()
    for kinds in (
        (torch.float32, torch.float64),
        (torch.float32, torch.float16),
        (torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.bfloat16),
    ):
        sides = [
            Projected(side.state.detach().to(kind), copy.deepcopy(side.projection).to(kind))
            for side, kind in zip((student, teacher), kinds)
        ]
        assert fused_linear_loss.distillation(
            *sides, targets, 4.0, (0.3, 0.7), compiled=True
        ).loss.item() == pytest.approx(expected, rel=2e-2)
    strided = nn.Linear(D, V)
    strided.weight, strided.bias = (
        nn.Parameter(torch.stack([x.detach()] * 2, -1)[..., 0]) for x in student.projection.parameters()
    )
    found = fused_linear_loss.distillation(
        Projected(student.state, strided), teacher, targets, 4.0, (0.3, 0.7), compiled=True
    )
    assert found.loss.item() == pytest.approx(expected)


@pytest.mark.native
@pytest.mark.parametrize(
    "given, message",
    [
        (lambda s, t, y: (s, t, y.int()), "targets: torch.int32"),
        (lambda s, t, y: (s, t, y[:15]), "37 states, 15 targets and"),
        (lambda s, t, y: (s, t, torch.cat([y, y])), "74 targets"),
        (lambda s, t, y: (s, Projected(t.state[:9], t.projection), y), "9"),
        (lambda s, t, y: (s, Projected(t.state, nn.Linear(D, V + 1)), y), "51.* pieces, the student has 50"),
        (
            lambda s, t, y: (Projected(s.state, _Affine(s.projection.weight, s.projection.bias[:9])), t, y),
            "bias: ",
        ),
    ],
)
def test_the_compiled_losses_refuse_tensors_that_do_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        fused_linear_loss.distillation(*given(*rows(torch.float32)), 4.0, (0.3, 0.7), compiled=True)


@pytest.mark.parametrize("vectors, products", [("AVX512", True), ("AVX2", False), ("DEFAULT", False)])
def test_products_are_compiled_only_for_vectors_that_run_them(vectors, products, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
    monkeypatch.setattr(linear.native, "_library", lambda source, flags: compiled.append(source))
    assert fused_linear_loss.cannot_compile(CPU) is None
    of_all = {"rows.cpp", "layers.cpp"}
    assert set(compiled) == of_all | ({"linear.cpp", "projected.cpp"} if products else set())
    monkeypatch.setattr(linear.native, "compiled", lambda name: lambda: 1)
    assert linear.pays(torch.float32) == products


def test_what_triton_takes_half_a_minute_for_is_said_once(caplog, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    caplog.set_level("INFO")
    chunk_losses.compiled.cache_clear()
    assert chunk_losses.compiled() is chunk_losses.compiled() is chunk_losses.by_hand
    chunk_losses.compiled.cache_clear()
    assert [line[:39] for line in caplog.messages] == ["compiling the losses for this GPU by Tr"]


@pytest.mark.parametrize("named", ["", "nowhere/c++ -O1", "a 'quotation that does not end"])
def test_no_compiler_is_found_out(named, no_library, monkeypatch):
    monkeypatch.setenv("CXX", named)
    monkeypatch.setenv("PATH", "")
    assert fused_linear_loss.cannot_compile(CPU).startswith("no C++ compiler was found")


@pytest.mark.parametrize(
    "does, reason",
    [
        ("#!/bin/sh\necho this machine is too old >&2\nexit 1\n", "{} -m64 failed (this machine is too old)"),
        ("#!/bin/sh\nprintf '\\033[31mred\\377' >&2\nexit 1\n", "{} -m64 failed (\\x1b[31mred\ufffd)"),
        ("#!/bin/sh\nsleep 5\n", "{} -m64 has not ended after 1 s"),
        ("#!/bin/sh\nexit 0\n", "what {} -m64 made cannot be used"),
        ("#!/nowhere/sh\n", "what {} -m64 made cannot be used"),
        (
            '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ncp $(ls /lib*/*/libm.so.6 | head -1) $2\n',
            "what {} -m64 made cannot be used",
        ),
    ],
    ids=["fails", "unprintable", "hangs", "makes nothing", "cannot be run", "makes another library"],
)
def test_a_compiler_that_does_not_compile_is_found_out(does, reason, no_library, tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "PATIENCE", 1)
    broken = tmp_path / "c++"
    broken.write_text(does)
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", f"{broken} -m64")
    assert fused_linear_loss.cannot_compile(CPU).startswith(reason.format(broken))


def curve(kind):
    """Losses of 200 steps, and the weights after them."""
    teacher, student = transceiver(seed=1), transceiver(size(1), size(1), seed=2)
    objective = (
        TransceiverObjective(student, AWGN(), (-6.0, 18.0))
        if kind == "teacher"
        else DistillationObjective([teacher], student, AWGN(), (-6.0, 18.0), DistillationConfig())
    )
    result = trainer.fit(
        objective,
        encoded(400),
        encoded(20, seed=1),
        TrainingConfig(batch_size=8, steps=200, lr=5e-4, precision="fp32"),
        width=C,
        device=CPU,
        seed=0,
        quiet=True,
        on_epoch=lambda *_: None,
    )
    return [epoch.loss for epoch in result.history] + [result.best_loss]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_the_curve_of_200_steps_is_the_plain_one(kind, monkeypatch):
    ours = curve(kind)
    monkeypatch.setattr(
        fused_linear_loss,
        "cross_entropy",
        lambda student, targets, **_: plain(student, None, targets, 1.0)[0],
    )

    def by_whole_logits(student, teacher, targets, temperature, weights, **_):
        ce, kd = plain(student, *teacher.members, targets, temperature)
        return fused_linear_loss.Sums(weights[0] * ce + weights[1] * kd, ce.detach(), kd.detach())

    monkeypatch.setattr(fused_linear_loss, "distillation", by_whole_logits)
    assert ours == pytest.approx(curve(kind), rel=5e-4)
