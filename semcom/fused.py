"""Vocabulary projection, cross-entropy and distillation in one, over chunks of rows.

Logits are the largest tensors of a step by far: V numbers a row, for two models, and their gradient. Here they exist for
one chunk of rows at a time; the gradient of a chunk is formed beside its losses and carried at once to states and
projection, so that the backward pass has nothing to do but scale. ``losses`` has the same values the plain way.

Letters: N rows (real target tokens), n rows of a chunk, V pieces, D model width.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from semcom import precision

# Bytes of one model's logits: of a chunk, for which products are made (on CPUs its gradient is to be found again in the
# last cache), and of a block of it, on which the arithmetic of rows works (on CPUs it is to stay in the caches of cores).
CHUNK_BYTES = {"cpu": 12 << 20, "cuda": 256 << 20}
BLOCK_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}

Weights = tuple[float, float]
"""Of cross-entropy and of distillation in the loss."""


@dataclass(frozen=True)
class Projected:
    """Logits that are not formed as a whole: state [N, D], and the projection from D to V."""

    state: Tensor
    projection: nn.Linear


def cross_entropy(student: Projected, targets: Tensor, *, compiled: bool = False) -> Tensor:
    """``losses.cross_entropy`` summed over N rows; differentiable once. targets: [N] piece ids."""
    return _Chunked.apply(student.state, student.projection.weight, student.projection.bias, None, targets, 1.0, (1.0, 0.0), compiled)[0]


def distillation(student: Projected, teacher: Projected, targets: Tensor, temperature: float, weights: Weights, *,
                 compiled: bool = False) -> tuple[Tensor, Tensor]:
    """``losses.cross_entropy`` and ``losses.kd``, each summed over N rows; differentiable once, never to the teacher.

    weights: with which the two enter the loss. The gradient is formed in the forward pass, for this proportion alone;
    RuntimeError if the backward pass asks for another.
    """
    return _Chunked.apply(student.state, student.projection.weight, student.projection.bias, teacher, targets, temperature, weights, compiled)


def rows_within(budget: dict[str, int], pieces: int, device: torch.device) -> int:
    """Rows whose logits over ``pieces`` fill the budget for ``device``, one at least."""
    return max(1, budget.get(device.type, budget["cuda"]) // (4 * pieces))


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, state, weight, bias, teacher, targets, temperature, weights, compiled):
        device = state.device
        product = precision.product_dtype(device) or state.dtype
        exact = torch.float64 if state.dtype == torch.float64 else torch.float32
        factors = torch.tensor([1 / temperature, *weights], dtype=exact, device=device)
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        chunk = rows_within(CHUNK_BYTES, len(weight), device)
        block = chunk if compiled else rows_within(BLOCK_BYTES, len(weight), device)
        row_losses = _compiled() if compiled else _row_losses
        with torch.autocast(device.type, enabled=False):
            ours = _Affine.of(state, weight, bias, product)
            # Dividing the teacher's state by the temperature saves dividing its logits, which are V/D times as many.
            theirs = teacher and _Affine.of(teacher.state / temperature, teacher.projection.weight, teacher.projection.bias / temperature, product)
            gradient = _Gradient(ours, state.shape[1], ctx.needs_input_grad[:3], exact)
            for start in range(0, len(state), chunk):
                part = slice(start, start + chunk)
                logits, soft = ours.logits(part), theirs and theirs.logits(part)
                for piece in zip(logits.split(block), soft.split(block) if theirs else repeat(None), targets[part].split(block)):
                    sums += row_losses(*piece, factors)
                gradient.add(part, logits)
        ctx.weights, ctx.gradient = weights, gradient
        return tuple(sums.to(exact))

    @staticmethod
    @once_differentiable
    def backward(ctx, to_ce, to_kd):
        (ce_weight, kd_weight), gradient = ctx.weights, ctx.gradient
        size = ce_weight**2 + kd_weight**2
        scale = (to_ce * ce_weight + to_kd * kd_weight) / size
        aside = (to_ce * kd_weight - to_kd * ce_weight).abs() / size
        if aside > 1e-4 * scale.abs():
            raise RuntimeError(f"the gradient was formed for the weights {ctx.weights}, not for {float(to_ce):g} and {float(to_kd):g}")
        return *(g if g is None else g * scale for g in gradient.parts()), *[None] * 5


@dataclass(frozen=True)
class _Affine:
    """An affine projection as a linear one: a one stands behind each state [N, D'], the bias behind weight [V, D'].

    So neither adding the bias nor summing its gradient costs a pass over logits. D' is D+1 and zeros up to a multiple of
    16, for products of odd width are slow. In the dtype that products are made in.
    """

    state: Tensor
    weight: Tensor

    @classmethod
    def of(cls, state: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> "_Affine":
        width = state.shape[1]
        padded = -(-(width + 1) // 16) * 16
        with_ones, with_bias = (x.new_zeros(len(x), padded, dtype=dtype) for x in (state, weight))
        with_ones[:, :width], with_ones[:, width] = state, 1
        with_bias[:, :width], with_bias[:, width] = weight, bias
        return cls(with_ones, with_bias)

    def logits(self, part: slice) -> Tensor:
        return self.state[part] @ self.weight.t()


class _Gradient:
    """Gradients of the weighted loss with respect to state [N, D], weight [V, D] and bias [V], as far as they are wanted."""

    def __init__(self, affine: _Affine, width: int, wanted: tuple[bool, bool, bool], dtype: torch.dtype):
        self.affine, self.width, self.wanted = affine, width, wanted
        self.state = torch.empty_like(affine.state, dtype=dtype) if wanted[0] else None
        self.weight = torch.zeros_like(affine.weight, dtype=dtype) if any(wanted[1:]) else None

    def add(self, part: slice, to_logits: Tensor) -> None:
        """What the chunk ``part`` adds; to_logits: [n, V]."""
        if self.state is not None:
            self.state[part] = to_logits @ self.affine.weight
        if self.weight is not None:
            if self.weight.dtype == to_logits.dtype:
                self.weight.addmm_(to_logits.t(), self.affine.state[part])
            else:
                self.weight += to_logits.t() @ self.affine.state[part]

    def parts(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        columns = slice(self.width), slice(self.width), self.width
        return tuple(g[:, c] if want else None for g, c, want in zip((self.state, self.weight, self.weight), columns, self.wanted))


def _row_losses(logits: Tensor, teacher: Tensor | None, targets: Tensor, factors: Tensor) -> Tensor:
    """Sums of cross-entropy and kd over n rows, [2]; ``logits`` become the gradient of their weighted sum.

    logits: [n, V]; teacher: its logits, already divided by the temperature, [n, V], overwritten; factors: 1/T, weights
    of CE and KD. With p = softmax(logits), q and r the softened student and teacher: CE' = p - onehot, KD' = T (q - r).
    """
    cooling, ce_weight, kd_weight = factors.unbind()
    column = targets[:, None]
    ours = logits.to(factors.dtype)
    ours -= ours.amax(-1, keepdim=True)
    ce = -ours.gather(-1, column)
    soft = ours * cooling
    p = ours.exp_()
    total = p.sum(-1, keepdim=True)
    ce += total.log()
    gradient = p.mul_(ce_weight / total)
    gradient.scatter_add_(-1, column, -ce_weight.expand_as(column))
    kd = torch.zeros_like(ce)
    if teacher is not None:
        theirs = teacher.to(factors.dtype)
        theirs -= theirs.amax(-1, keepdim=True)
        r = theirs.exp()
        r_total = r.sum(-1, keepdim=True)
        apart = theirs.sub_(soft).mul_(r).sum(-1, keepdim=True) / r_total
        q = soft.exp_()
        q_total = q.sum(-1, keepdim=True)
        kd = (apart + q_total.log() - r_total.log()) / cooling**2
        gradient.addcmul_(q, kd_weight / cooling / q_total)
        gradient.addcmul_(r, kd_weight / cooling / r_total, value=-1)
    if gradient is not logits:
        logits.copy_(gradient)
    return torch.stack((ce.sum(), kd.sum()))


@cache
def _compiled() -> Callable:
    return torch.compile(_row_losses, dynamic=True)


def can_compile(device: torch.device) -> bool:
    """Whether what ``compiled`` needs is there: a C++ compiler, on GPUs Triton."""
    if device.type == "cuda":
        return find_spec("triton") is not None
    return any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "cl"))))
