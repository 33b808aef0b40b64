"""AdamW: bits against torch's own class, a formula in float64, and what the first step of a run imports."""

import io
import os
import subprocess
import sys

import pytest
import torch
from cli_support import ROOT, TINY_TRAINING

from semcom.distillation.optimizer import AdamW

LRS = [1e-3, 7e-4, 0.0, 2e-3, 5e-4]


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype))
        for shape in ((5, 7), (3,), (17, 2))
    ]


def give_gradients(params, step):
    generator = torch.Generator().manual_seed(step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_bits_of_torchs_own_class(weight_decay):
    ours, theirs = parameters(), parameters()
    mine = AdamW(ours, weight_decay)
    reference = torch.optim.AdamW(theirs, lr=1e-3, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True)
    for step, lr in enumerate(LRS):
        for params in (ours, theirs):
            give_gradients(params, step)
        theirs[1].grad = ours[1].grad = None if step < 2 else theirs[1].grad
        reference.param_groups[0]["lr"] = lr
        reference.step()
        mine.step(lr)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs)) and not torch.equal(ours[0], parameters()[0])


def test_formula():
    params, decay = parameters(torch.float64), 0.1
    by_hand = [p.detach().clone() for p in params]
    means, squares = [torch.zeros_like(p) for p in by_hand], [torch.zeros_like(p) for p in by_hand]
    optimizer = AdamW(params, decay)
    for t, lr in enumerate(LRS, 1):
        give_gradients(params, t)
        for p, m, v, given in zip(by_hand, means, squares, params):
            p *= 1 - lr * decay
            m.mul_(0.9).add_(0.1 * given.grad)
            v.mul_(0.98).add_(0.02 * given.grad**2)
            p -= lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.98**t)).sqrt() + 1e-8)
        optimizer.step(lr)
    for p, wanted in zip(params, by_hand):
        torch.testing.assert_close(p.detach(), wanted, atol=1e-12, rtol=1e-10)


def test_gradients_are_forgotten():
    params = parameters()
    optimizer = AdamW(params, 0.1)
    give_gradients(params, 0)
    optimizer.zero_grad()
    before = [p.detach().clone() for p in params]
    optimizer.step(1e-2)
    assert (
        all(p.grad is None and torch.equal(p, b) for p, b in zip(params, before))
        and params[0].isfinite().all()
    )


def advance(optimizer, params, steps):
    """Steps whose gradients and learning rates are those of their numbers; the second parameter has none at
    first."""
    for step in steps:
        give_gradients(params, step)
        if step < 2:
            params[1].grad = None
        optimizer.step(LRS[step])


def through_a_file(state):
    """As a checkpoint would keep it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kept", range(len(LRS) + 1))
def test_a_run_that_is_taken_up_again_goes_on_to_the_bit(kept):
    unbroken, params = parameters(), parameters()
    advance(AdamW(unbroken, 0.1), unbroken, range(len(LRS)))
    first = AdamW(params, 0.1)
    advance(first, params, range(kept))
    again = [torch.nn.Parameter(p.detach().clone()) for p in params]
    second = AdamW(again, 0.1)
    second.load_state_dict(through_a_file(first.state_dict()))
    advance(second, again, range(kept, len(LRS)))
    assert all(torch.equal(a, b) for a, b in zip(unbroken, again))


def test_torchs_own_class_goes_on_from_our_state_to_the_bit():
    ours = parameters()
    mine = AdamW(ours, 0.1)
    advance(mine, ours, range(3))
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    reference = torch.optim.AdamW(theirs, betas=(0.9, 0.98), weight_decay=0.1, fused=True)
    state = through_a_file(mine.state_dict())["state"]
    reference.load_state_dict({**reference.state_dict(), "state": state})
    advance(mine, ours, range(3, len(LRS)))
    for step in range(3, len(LRS)):
        give_gradients(theirs, step)
        reference.param_groups[0]["lr"] = LRS[step]
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))


def test_a_loaded_state_is_a_copy():
    params, others = parameters(), parameters()
    first, second = AdamW(params, 0.1), AdamW(others, 0.1)
    advance(first, params, range(3))
    second.load_state_dict(first.state_dict())
    before = through_a_file(first.state_dict())
    advance(second, others, range(3, 5))
    after = first.state_dict()
    assert all(
        torch.equal(after["state"][number][name], tensor)
        for number, state in before["state"].items()
        for name, tensor in state.items()
    )


def test_the_state_of_other_parameters_is_refused():
    params = parameters()
    optimizer = AdamW(params, 0.1)
    advance(optimizer, params, range(3))
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match="a state of 3 parameters: this optimiser has 2"):
        AdamW(params[:2], 0.1).load_state_dict(state)
    with pytest.raises(ValueError, match=r"parameter 0: its state is .*\(5, 7\).*, it is \(17, 2\) itself"):
        AdamW(params[::-1], 0.1).load_state_dict(state)


def test_training_does_not_import_torchs_compiler(teacher, tmp_path):
    """It would double the time until the first step."""
    flags = [*TINY_TRAINING, "--steps", "1", "--teacher-checkpoint", str(teacher), "--student-layers", "1"]
    run = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from semcom.commands import cli
from semcom.report import look
look.pictures = lambda draw, place, *kinds: [b"" for _ in kinds]  # they are most of so short a run
cli.distil({flags!r})
assert "torch" in sys.modules
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", run],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr
