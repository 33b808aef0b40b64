"""Linear maps of rows in C++ against torch's in float64."""

import pytest
import torch
import torch.nn.functional as F
from toy import CPU

from semcom.base import precision
from semcom.models.kernels import linear, native

pytestmark = pytest.mark.native
SHAPES = [
    (0, 5, 7),
    (1, 1, 1),
    (7, 33, 65),
    (193, 16, 64),
    (400, 130, 24),
]  # rows, inputs, outputs


def relative(found, expected):
    found, expected = found.detach().double(), expected.detach()
    return float((found - expected).norm() / expected.norm())


def run(function, given, to_y):
    y = function(*given)
    return [y, *torch.autograd.grad(y, given, to_y.to(y.dtype))]


@pytest.mark.parametrize(
    "kind, of_x, tolerance", [("fp32", "", 3e-6), ("bf16", "", 6e-3), ("bf16", "bfloat16", 6e-3)]
)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_map_and_its_gradient(kind, of_x, tolerance, relu, threads, machine, monkeypatch):
    """Where the ReLU is of a sum that rounding takes over zero its gradient may be another, so those sums are
    kept away from it."""
    calls = []
    work = native.call
    monkeypatch.setattr(
        native, "call", lambda name, *given, **by: calls.append(name) or work(name, *given, **by)
    )
    monkeypatch.setattr(linear, "pays", lambda product: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for rows, inputs, outputs in SHAPES:
        generator = torch.Generator().manual_seed(rows)
        x, weight = (
            torch.randn(rows, inputs, generator=generator),
            torch.randn(outputs, inputs, generator=generator),
        )
        bias = 40.0 * inputs**0.5 * (torch.arange(outputs) % 2 - 0.4)
        to_y = torch.randn(rows, outputs, generator=generator)
        x = x.bfloat16() if of_x else x
        given = [t.requires_grad_() for t in (x, weight, bias)]
        exact = [t.detach().double().requires_grad_() for t in given]
        with precision.products(kind, CPU):
            found = run(lambda *t: linear.linear(*t, relu=relu), given, to_y)
        right = run(lambda *t: F.relu(F.linear(*t)) if relu else F.linear(*t), exact, to_y.double())
        assert [t.dtype for t in found[1:]] == [x.dtype, torch.float32, torch.float32]
        assert all(relative(mine, true) < tolerance for mine, true in zip(found, right) if true.any())
    assert calls == ["linear"] * 2 * len(SHAPES)


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_what_is_frozen_has_no_gradient_and_costs_none(wanted, kind, monkeypatch):
    """What is not wanted is not written, nor what only it is made of kept; the rest stays to the bit."""
    calls, work = [], native.call
    monkeypatch.setattr(native, "call", lambda *given, **by: calls.append(by) or work(*given, **by))
    monkeypatch.setattr(linear, "pays", lambda product: True)
    leaves = [torch.randn(70, 33), torch.randn(65, 33), torch.randn(65)]
    to_y = torch.randn(70, 65)

    def gradients(wanted):
        given = [x.clone().requires_grad_(place in wanted) for place, x in enumerate(leaves)]
        with precision.products(kind, CPU):
            linear.linear(*given, relu=True).backward(to_y.to(torch.bfloat16 if kind == "bf16" else None))
        return [x.grad for x in given]

    everything, found = gradients((0, 1, 2)), gradients(wanted)
    for place, (one, all_of_them) in enumerate(zip(found, everything)):
        assert torch.equal(one, all_of_them) if place in wanted else one is None
    last = calls[-1]
    assert [last[name] is not None for name in ("to_x", "to_weight", "to_bias")] == [
        p in wanted for p in range(3)
    ]
    assert [last["x"] is not None, last["weight"] is not None] == [1 in wanted, 0 in wanted]


def test_a_gradient_is_checked_as_everything_read_is(monkeypatch):
    checked = []
    monkeypatch.setattr(native, "check", lambda wanted: checked.append(wanted))
    monkeypatch.setattr(linear, "pays", lambda product: True)
    y = linear.linear(torch.randn(4, 3), torch.randn(2, 3), torch.randn(2).requires_grad_())
    y.backward(torch.ones(4, 2))
    assert checked[-1]["to_y"][1:] == ((4, 2), torch.float32)


def test_what_is_not_finite_is_not_hidden(monkeypatch):
    monkeypatch.setattr(linear, "pays", lambda product: True)
    x = torch.randn(9, 20)
    x[4, 3] = float("nan")
    y = linear.linear(x, torch.randn(5, 20), torch.zeros(5), relu=True)
    assert y[4].isnan().all() and y.isfinite().all(1).sum() == 8


def test_other_kinds_go_torchs_way_or_are_refused(monkeypatch):
    monkeypatch.setattr(linear, "pays", lambda product: product == torch.float32)
    x, weight, bias = torch.randn(4, 3), torch.randn(2, 3), torch.randn(2)
    with precision.products("bf16", CPU):
        assert torch.equal(linear.linear(x, weight, bias), F.linear(x, weight, bias))
    with pytest.raises(ValueError, match="weight: torch.float64"):
        linear.linear(x, weight.double(), bias)
    with pytest.raises(ValueError, match="bias: "):
        linear.linear(x, weight, bias[:1])
