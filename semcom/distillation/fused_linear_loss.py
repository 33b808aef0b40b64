"""Vocabulary projection, cross-entropy and distillation in one, over chunks of rows.

Logits are the largest tensors of a step by far: V numbers a row, for each model, and their gradient. Here
they exist for one chunk of rows at a time; the gradient of a chunk is formed beside its losses and carried at
once to states and projection, so that the backward pass has nothing to do but scale. For ``kd`` it is written
by hand, in torch and in C++; other divergences leave it to autograd, chunk by chunk. ``losses`` has the same
values the plain way.

Letters: N rows (real target tokens), n rows of a chunk, V pieces, D width of the states.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from semcom.base import precision
from semcom.distillation import chunk_losses
from semcom.distillation.chunk_losses import ChunkLoss, RowLoss
from semcom.distillation.projected_logits import Factors, Mean, Projected, Softened
from semcom.models.kernels import linear, native, projected_losses, row_losses

# Bytes of one model's logits: of a chunk, for which products are made (on CPUs its gradient is to be found
# again in the last cache), and of a block of it, on which the arithmetic of rows works (on CPUs it is to stay
# in the caches of cores).
CHUNK_BYTES = {"cpu": 12 << 20, "cuda": 256 << 20}
BLOCK_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}
ACROSS_BYTES = {"cpu": 26 << 20, "cuda": 256 << 20}
"""Of a chunk for the C++, which keeps to its own caches: the more rows, the faster the products."""
KEPT_BYTES = 17 << 20
"""Of a chunk for the C++ that makes the products too: what it keeps of each logit between its two passes."""

OfRows = float | Tensor
"""A number for all rows, or [N] with one for each."""


class Sums(NamedTuple):
    """Over N rows: the weighted loss, which alone is differentiable (once), and its two terms, not
    weighted."""

    loss: Tensor
    ce: Tensor
    kd: Tensor


def cross_entropy(student: Projected, targets: Tensor, *, compiled: bool = False) -> Tensor:
    """``losses.cross_entropy`` summed over N rows; differentiable once. targets: [N] piece ids."""
    return _chunked(student, _Loss(None, targets, 1.0, (1.0, 0.0), None, compiled)).loss


# Seven arguments: the four of a divergence, the weights, and which loss, by what.
def distillation(
    student: Projected,
    teacher: Projected | Mean,
    targets: Tensor,
    temperature: OfRows,
    weights: tuple[OfRows, OfRows],
    *,
    row_loss: RowLoss | None = None,
    compiled: bool = False,
) -> Sums:
    """``losses.cross_entropy`` and a divergence from the teacher (``logit_losses.kd``, or ``row_loss``),
    ``weights`` being theirs in the loss.

    No gradient reaches the teacher. ``compiled`` is for ``logit_losses.kd`` alone.
    """
    teacher = teacher if isinstance(teacher, Mean) else Mean((teacher,), (1.0,))
    return _chunked(student, _Loss(teacher, targets, temperature, weights, row_loss, compiled))


def classes(teacher: Mean) -> Tensor:
    """[N] the likeliest piece of each row at temperature 1."""
    state = teacher.members[0].state
    found = [torch.zeros(0, dtype=torch.long, device=state.device)]
    with torch.no_grad(), torch.autocast(state.device.type, enabled=False):
        soft = Softened(teacher, torch.ones_like(state[:, 0]), state.dtype)
        size = rows_within(CHUNK_BYTES, len(teacher.members[0].projection.weight), state.device)
        for part in _parts(len(state), size):
            logits = soft.logits(part)
            found.append((logits if soft.bias is None else logits + soft.bias).argmax(-1))
    return torch.cat(found)


def rows_within(budget: dict[str, int], pieces: int, device: torch.device, width: int = 4) -> int:
    """Rows whose logits over ``pieces``, of ``width`` bytes each, fill the budget for ``device``, one at
    least."""
    return max(1, budget.get(device.type, budget["cuda"]) // (width * pieces))


def _parts(rows: int, size: int) -> Iterator[slice]:
    """Chunks of N rows."""
    return (slice(start, start + size) for start in range(0, rows, size))


@dataclass(frozen=True)
class _Loss:
    """What the loss of N rows is made of, beside the student. weights: of cross-entropy and divergence, which
    is kd where there is no ``row_loss``."""

    teacher: Mean | None
    targets: Tensor
    temperature: OfRows
    weights: tuple[OfRows, OfRows]
    row_loss: RowLoss | None
    compiled: bool

    def factors(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """[N, 3], T and the weights of CE and KD."""
        each = [
            x.to(device, dtype) if isinstance(x, Tensor) else torch.full((), x, dtype=dtype, device=device)
            for x in (self.temperature, *self.weights)
        ]
        return torch.stack([x.expand(len(self.targets)) for x in each], 1)

    def is_for_rows(self, device: torch.device, product: torch.dtype, exact: torch.dtype) -> bool:
        """Whether the C++ is asked for and can do it."""
        plain = self.row_loss is None and not (self.teacher and self.teacher.of_probabilities)
        kinds = exact == torch.float32 and product in native.SUFFIXES
        return self.compiled and plain and kinds and device.type == "cpu"

    def of_chunk(self, device: torch.device) -> ChunkLoss:
        if self.row_loss is not None:
            return chunk_losses.by_autograd(self.row_loss)
        return chunk_losses.compiled() if self.compiles_torch(device) else chunk_losses.by_hand

    def compiles_torch(self, device: torch.device) -> bool:
        return self.compiled and self.row_loss is None and device.type != "cpu"


def _chunked(student: Projected, loss: _Loss) -> Sums:
    _check(student, loss)
    projection = student.projection
    return Sums(*_Chunked.apply(student.state, projection.weight, projection.bias, loss))


def _check(student: Projected, loss: _Loss) -> None:
    """Raise ValueError unless all have as many rows, and as many pieces."""
    members = loss.teacher.members if loss.teacher else ()
    states, pieces = [len(m.state) for m in members], [len(m.projection.weight) for m in members]
    if {len(loss.targets), *states} != {len(student.state)}:
        raise ValueError(
            f"{len(student.state)} states, {len(loss.targets)} targets and {states} states of teachers: "
            "must be as many"
        )
    if set(pieces) - {len(student.projection.weight)}:
        raise ValueError(f"teachers of {pieces} pieces, the student has {len(student.projection.weight)}")


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, state, weight, bias, loss):
        device = state.device
        product = precision.product_dtype(device) or state.dtype
        exact = torch.float64 if state.dtype == torch.float64 else torch.float32
        factors = loss.factors(exact, device)
        with torch.autocast(device.type, enabled=False):
            if loss.is_for_rows(device, product, exact) and linear.pays(product):
                ours = projected_losses.Projection(state, weight, bias)
                sums, ctx.gradient = _at_once(ours, loss, factors, ctx.needs_input_grad[:3], product)
            else:
                sums, ctx.gradient = _by_products(
                    Factors.of(state, weight, bias, product, exact),
                    loss,
                    factors,
                    ctx.needs_input_grad[:3],
                    across=loss.is_for_rows(device, product, exact),
                )
        total, ce, kd = sums.to(exact)
        ctx.mark_non_differentiable(ce, kd)
        return total, ce, kd

    @staticmethod
    @once_differentiable
    def backward(ctx, to_loss, *_):
        return *(g if g is None else g * to_loss for g in ctx.gradient), None


_Parts = tuple[Tensor | None, Tensor | None, Tensor | None]
"""The gradients of state, weight and bias that are wanted."""
_Wanted = tuple[bool, bool, bool]


def _at_once(
    ours: projected_losses.Projection, loss: _Loss, factors: Tensor, wanted: _Wanted, product: torch.dtype
) -> tuple[Tensor, _Parts]:
    """The three sums and the gradient, by C++ that makes products and losses in one. factors: [N, 3]."""
    ours, pieces = ours.contiguous(), len(ours.weight)
    theirs = projected_losses.Projection(*loss.teacher.joined()).contiguous() if loss.teacher else None
    to_state = torch.empty_like(ours.state) if wanted[0] else None
    to_weight = torch.empty_like(ours.weight) if wanted[1] else None
    to_bias = torch.zeros_like(ours.bias)
    sums = projected_losses.losses(
        ours,
        theirs,
        loss.targets,
        factors.t().contiguous(),
        (to_state, to_weight, to_bias),
        (product, _of_teacher(loss, product)),
        projected_losses.chunk(KEPT_BYTES // (product.itemsize * pieces)),
    )
    return sums, (to_state, to_weight, to_bias if wanted[2] else None)


def _of_teacher(loss: _Loss, product: torch.dtype) -> torch.dtype:
    """Of its products: what was asked for where this machine has vectors for it, else the student's."""
    asked = loss.teacher.product if loss.teacher else None
    return asked if asked in native.SUFFIXES and linear.pays(asked) else product


# Five arguments: the loss and its factors, what is wanted, and which of two ways.
def _by_products(
    ours: Factors, loss: _Loss, factors: Tensor, wanted: _Wanted, *, across: bool
) -> tuple[Tensor, _Parts]:
    """The same by torch's products, a chunk of logits at a time."""
    gradient = _Gradient(ours, wanted, factors.dtype)
    sums = (_across if across else _down)(ours, loss, factors, gradient)
    return sums, gradient.parts()


class _Gradient:
    """Gradients of the weighted loss with respect to state [N, D], weight [V, D] and bias [V]; what is not
    wanted is not made."""

    def __init__(self, projection: Factors, wanted: _Wanted, dtype: torch.dtype):
        self.projection, self.wanted = projection, wanted
        self.state = torch.empty_like(projection.state, dtype=dtype) if wanted[0] else None
        self.weight = (
            torch.zeros(projection.weight.shape, dtype=dtype, device=projection.weight.device)
            if wanted[1]
            else None
        )
        self.bias = torch.zeros_like(projection.bias)
        self.summand: Tensor | None = None  # of the weight's; ``add_across`` writes it again and again

    def add(self, part: slice, to_logits: Tensor) -> None:
        """What the chunk ``part`` adds to those of state and weight; to_logits: [n, V]."""
        if self.state is not None:
            self.state[part] = to_logits @ self.projection.weight
        if self.weight is None:
            return
        if self.weight.dtype == to_logits.dtype:
            self.weight.addmm_(to_logits.t(), self.projection.state[part])
        else:
            self.weight += to_logits.t() @ self.projection.state[part]

    def add_across(self, part: slice, to_logits: Tensor, turned: Tensor) -> None:
        """The same, by ``row_losses`` where products are bfloat16; to_logits: [V, n]; turned: weight as [D,
        V], contiguous."""
        if self.state is not None:
            self.state[part] = (turned @ to_logits).t()
        if self.weight is None:
            return
        if self.weight.dtype == to_logits.dtype:
            self.weight.addmm_(to_logits, self.projection.state[part])
        else:
            if self.summand is None:
                self.summand = torch.empty(self.weight.shape, dtype=to_logits.dtype)
            row_losses.add(self.weight, torch.mm(to_logits, self.projection.state[part], out=self.summand))

    def parts(self) -> _Parts:
        return self.state, self.weight, self.bias if self.wanted[2] else None


def _down(ours: Factors, loss: _Loss, factors: Tensor, gradient: _Gradient) -> Tensor:
    """The three sums, and what they add to ``gradient``, over chunks of logits [n, V]. factors: [N, 3], T and
    the weights of CE and KD."""
    pieces, device = len(ours.weight), ours.state.device
    chunk = rows_within(CHUNK_BYTES, pieces, device, ours.state.dtype.itemsize)
    block = chunk if loss.compiles_torch(device) else rows_within(BLOCK_BYTES, pieces, device)
    asked = loss.teacher.product if loss.teacher else None
    soft = Softened(loss.teacher, factors[:, 0], asked or ours.state.dtype) if loss.teacher else None
    of_chunk = loss.of_chunk(device)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for part in _parts(len(loss.targets), chunk):
        logits, taught = ours.logits(part), soft.logits(part) if soft else None
        targets, settings = loss.targets[part], factors[part]
        for rows in _parts(len(logits), block):
            theirs = None if taught is None else taught[rows]
            their_bias = soft.bias if soft else None
            sums += of_chunk(
                logits[rows], theirs, targets[rows], settings[rows], ours.bias, their_bias, gradient.bias
            )
        gradient.add(part, logits)
    return sums


def _across(ours: Factors, loss: _Loss, factors: Tensor, gradient: _Gradient) -> Tensor:
    """As ``_down``, in C++, over chunks of logits [V, n]; products with the large factor first are the faster
    ones in bfloat16."""
    pieces, product, targets = len(ours.weight), ours.state.dtype, loss.targets
    theirs = Factors.of(*loss.teacher.joined(), product, factors.dtype) if loss.teacher else None
    turned = ours.weight.t().contiguous()
    sums = torch.zeros(3, dtype=torch.float64)
    chunk = row_losses.chunk(rows_within(ACROSS_BYTES, pieces, ours.state.device, product.itemsize), product)
    # Written again and again, memory stays in the caches.
    ground = torch.empty(2, pieces * min(chunk, len(targets) + row_losses.LANES), dtype=product)
    for part in _parts(len(targets), chunk):
        real = len(targets[part])
        missing = -real % row_losses.LANES
        target, settings = F.pad(targets[part], (0, missing)), F.pad(factors[part], (0, 0, 0, missing))
        settings[real:, 0] = 1  # a temperature for the rows that do not count
        logits = ours.logits_across(part, missing, ground[0])
        taught = theirs.logits_across(part, missing, ground[1]) if theirs else None
        their_bias = theirs.bias if theirs else None
        of_rows = settings.t().contiguous()
        sums += row_losses.losses(logits, taught, ours.bias, their_bias, target, of_rows, real, gradient.bias)
        gradient.add_across(part, logits[:, :real], turned)
    return sums


def cannot_compile(device: torch.device) -> str | None:
    """Why what ``compiled`` needs is not there, or None: a C++ compiler, on GPUs Triton."""
    if device.type == "cuda":
        return None if find_spec("triton") else "Triton was not found"
    return native.cannot_compile()
