"""Vocabulary projection, cross-entropy and distillation in one, over chunks of rows.

Logits are the largest tensors of a step by far: V numbers a row, for each model, and their gradient. Here they exist for
one chunk of rows at a time; the gradient of a chunk is formed beside its losses and carried at once to states and
projection, so that the backward pass has nothing to do but scale. For ``kd`` it is written by hand, in torch and in ``rows``;
other divergences leave it to autograd, chunk by chunk. ``losses`` has the same values the plain way.

Letters: N rows (real target tokens), n rows of a chunk, V pieces, D model width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from semcom import losses, precision, rows

# Bytes of one model's logits: of a chunk, for which products are made (on CPUs its gradient is to be found again in the
# last cache), and of a block of it, on which the arithmetic of rows works (on CPUs it is to stay in the caches of cores).
CHUNK_BYTES = {"cpu": 12 << 20, "cuda": 256 << 20}
BLOCK_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}

OfRows = float | Tensor
"""A number for all rows, or [N] with one for each."""
RowLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Student and teacher logits [n, V], targets [n], temperatures [n] -> divergences [n]."""


@dataclass(frozen=True)
class Projected:
    """Logits that are not formed as a whole: state [N, D], and the projection from D to V."""

    state: Tensor
    projection: nn.Linear


@dataclass(frozen=True)
class Mean:
    """The mean of several teachers' logits, or of their probabilities at the temperature of the loss; ``shares`` sum to 1."""

    members: Sequence[Projected]
    shares: Sequence[float]
    of_probabilities: bool = False


class Sums(NamedTuple):
    """Over N rows: the weighted loss, which alone is differentiable (once), and its two terms, not weighted."""

    loss: Tensor
    ce: Tensor
    kd: Tensor


def cross_entropy(student: Projected, targets: Tensor, *, compiled: bool = False) -> Tensor:
    """``losses.cross_entropy`` summed over N rows; differentiable once. targets: [N] piece ids."""
    return _apply(student, None, targets, 1.0, (1.0, 0.0), None, compiled).loss


def distillation(student: Projected, teacher: Projected | Mean, targets: Tensor, temperature: OfRows, weights: tuple[OfRows, OfRows], *,
                 row_loss: RowLoss | None = None, compiled: bool = False) -> Sums:
    """``losses.cross_entropy`` and a divergence from the teacher (``losses.kd``, or ``row_loss``), ``weights`` being theirs in the loss.

    No gradient reaches the teacher. ``compiled`` is for ``losses.kd`` alone.
    """
    teacher = teacher if isinstance(teacher, Mean) else Mean((teacher,), (1.0,))
    return _apply(student, teacher, targets, temperature, weights, row_loss, compiled)


def classes(teacher: Mean) -> Tensor:
    """[N] the likeliest piece of each row at temperature 1."""
    state = teacher.members[0].state
    with torch.no_grad(), torch.autocast(state.device.type, enabled=False):
        soft = _Softened(teacher, torch.ones(len(state), dtype=state.dtype, device=state.device), state.dtype)
        size = rows_within(CHUNK_BYTES, len(teacher.members[0].projection.weight), state.device)
        found = [soft.logits(slice(start, start + size)).argmax(-1) for start in range(0, len(state), size)]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.long, device=state.device)


def rows_within(budget: dict[str, int], pieces: int, device: torch.device, width: int = 4) -> int:
    """Rows whose logits over ``pieces``, of ``width`` bytes each, fill the budget for ``device``, one at least."""
    return max(1, budget.get(device.type, budget["cuda"]) // (width * pieces))


def _apply(student: Projected, teacher: Mean | None, targets: Tensor, temperature: OfRows, weights: tuple[OfRows, OfRows],
           row_loss: RowLoss | None, compiled: bool) -> Sums:
    return Sums(*_Chunked.apply(student.state, student.projection.weight, student.projection.bias, teacher, targets, temperature, weights,
                                row_loss, compiled))


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, state, weight, bias, teacher, targets, temperature, weights, row_loss, compiled):
        device = state.device
        product = precision.product_dtype(device) or state.dtype
        exact = torch.float64 if state.dtype == torch.float64 else torch.float32
        factors = torch.stack([torch.as_tensor(x, dtype=exact, device=device).expand(len(state)) for x in (temperature, *weights)], 1)
        compiled = compiled and row_loss is None
        across = (compiled and device.type == "cpu" and exact == torch.float32 and product in rows.DTYPES
                  and not (teacher and teacher.of_probabilities))
        with torch.autocast(device.type, enabled=False):
            given = state, weight, bias, teacher, targets, factors, product, ctx.needs_input_grad[:3]
            sums, ctx.gradient = _across(*given) if across else _down(*given, row_loss, compiled and device.type != "cpu")
        loss, ce, kd = sums.to(exact)
        ctx.mark_non_differentiable(ce, kd)
        return loss, ce, kd

    @staticmethod
    @once_differentiable
    def backward(ctx, to_loss, *_):
        return *(g if g is None else g * to_loss for g in ctx.gradient), *[None] * 6


_Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""With respect to state [N, D], weight [V, D] and bias [V], as far as they are wanted."""


def _down(state: Tensor, weight: Tensor, bias: Tensor, teacher: Mean | None, targets: Tensor, factors: Tensor, product: torch.dtype,
          wanted: tuple[bool, bool, bool], row_loss: RowLoss | None, compiled: bool) -> tuple[Tensor, _Gradients]:
    """The three sums and the gradients, over chunks of logits [n, V]. factors: [N, 3], T and the weights of CE and KD."""
    device = state.device
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    chunk = rows_within(CHUNK_BYTES, len(weight), device)
    block = chunk if compiled else rows_within(BLOCK_BYTES, len(weight), device)
    ours = _Affine.of(state, weight, bias, product)
    # Dividing the teacher's state by the temperature saves dividing its logits, which are V/D times as many.
    soft = teacher and _Softened(teacher, factors[:, 0], product)
    gradient = _Gradient(ours, state.shape[1], wanted, factors.dtype)
    for start in range(0, len(state), chunk):
        part = slice(start, start + chunk)
        logits = ours.logits(part)
        theirs = soft.logits(part).split(block) if teacher else [None] * -(-len(logits) // block)
        for piece in zip(logits.split(block), theirs, targets[part].split(block), factors[part].split(block)):
            if row_loss is None:
                sums += (_compiled() if compiled else _row_losses)(*piece)
            else:
                sums += _differentiated(row_loss, *piece)
        gradient.add(part, logits)
    return sums, gradient.parts()


def _across(state: Tensor, weight: Tensor, bias: Tensor, teacher: Mean | None, targets: Tensor, factors: Tensor, product: torch.dtype,
            wanted: tuple[bool, bool, bool]) -> tuple[Tensor, _Gradients]:
    """As ``_down``, by ``rows``, over chunks of logits [V, n]; products with the large factor first are the faster ones in bfloat16."""
    count, pieces = len(state), len(weight)
    room = -(-count // rows.LANES) * rows.LANES
    targets = F.pad(targets, (0, room - count))
    factors = F.pad(factors.t(), (0, room - count)).contiguous()
    factors[0, count:] = 1

    def padded(rows_of: Tensor) -> Tensor:
        return F.pad(rows_of.to(product), (0, 0, 0, room - count))

    ours, matrix = padded(state), weight.to(product)
    if teacher:
        soft, soft_matrix, soft_bias = _joined(teacher)
        soft, soft_matrix = padded(soft), soft_matrix.to(product)
    turned = matrix.t().contiguous()
    to_state, to_weight, to_bias = torch.empty(room, state.shape[1]), torch.zeros_like(weight), torch.zeros_like(bias)
    sums = torch.zeros(3, dtype=torch.float64)
    chunk = max(1, rows_within(CHUNK_BYTES, pieces, state.device, product.itemsize) // rows.LANES) * rows.LANES
    for start in range(0, room, chunk):
        part = slice(start, min(start + chunk, room))
        logits = matrix @ ours[part].t()
        sums += rows.losses(logits, soft_matrix @ soft[part].t() if teacher else None, bias, soft_bias if teacher else None,
                            targets[part], factors[:, part], min(count - start, chunk), to_bias)
        if wanted[0]:
            to_state[part] = (turned @ logits).t()
        if wanted[1]:
            _add_product(to_weight, logits, ours[part])
    return sums, tuple(g if want else None for g, want in zip((to_state[:count], to_weight, to_bias), wanted))


def _joined(teacher: Mean) -> tuple[Tensor, Tensor, Tensor]:
    """State, weight and bias of the one projection that gives the mean of several teachers' logits."""
    if len(teacher.members) == 1:
        (only,) = teacher.members
        return only.state, only.projection.weight, only.projection.bias
    states, weights, biases = zip(*((m.state, m.projection.weight, m.projection.bias) for m in teacher.members))
    return (torch.cat([share * state for share, state in zip(teacher.shares, states)], 1), torch.cat(weights, 1),
            sum(share * bias for share, bias in zip(teacher.shares, biases)))


def _add_product(to: Tensor, a: Tensor, b: Tensor) -> None:
    """to += a @ b, the product in the dtype of its factors."""
    if to.dtype == a.dtype:
        to.addmm_(a, b)
    else:
        to += a @ b


@dataclass(frozen=True)
class _Affine:
    """An affine projection as a linear one: a one stands behind each state [N, D'], the bias behind weight [V, D'].

    So neither adding the bias nor summing its gradient costs a pass over logits. D' is D+1 and zeros up to a multiple of
    16, for products of odd width are slow. In the dtype that products are made in.
    """

    state: Tensor
    weight: Tensor

    @classmethod
    def of(cls, state: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype, factor: Tensor | None = None) -> "_Affine":
        """factor: [N], by which each row's logits are multiplied."""
        width = state.shape[1]
        padded = -(-(width + 1) // 16) * 16
        with_ones, with_bias = (x.new_zeros(len(x), padded, dtype=dtype) for x in (state, weight))
        with_ones[:, :width], with_ones[:, width] = (state, 1) if factor is None else (state * factor[:, None], factor)
        with_bias[:, :width], with_bias[:, width] = weight, bias
        return cls(with_ones, with_bias)

    def logits(self, part: slice) -> Tensor:
        return self.state[part] @ self.weight.t()


class _Softened:
    """Logits of the mean of several teachers, already divided by the temperature; the mean of logits is one projection of all states."""

    def __init__(self, teacher: Mean, temperature: Tensor, dtype: torch.dtype):
        members, self.log_shares = [_joined(teacher)], None
        if teacher.of_probabilities:
            members = [(m.state, m.projection.weight, m.projection.bias) for m in teacher.members]
            self.log_shares = torch.tensor(teacher.shares, dtype=temperature.dtype, device=temperature.device).log()
        self.members = [_Affine.of(*member, dtype, 1 / temperature) for member in members]
        self.dtype = temperature.dtype

    def logits(self, part: slice) -> Tensor:
        """[n, V]; of a mean of probabilities, its logarithm."""
        if self.log_shares is None:
            return self.members[0].logits(part)
        each = [share + F.log_softmax(member.logits(part).to(self.dtype), -1) for share, member in zip(self.log_shares, self.members)]
        return torch.stack(each).logsumexp(0)


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
            _add_product(self.weight, to_logits.t(), self.affine.state[part])

    def parts(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        columns = slice(self.width), slice(self.width), self.width
        return tuple(g[:, c] if want else None for g, c, want in zip((self.state, self.weight, self.weight), columns, self.wanted))


def _row_losses(logits: Tensor, teacher: Tensor | None, targets: Tensor, factors: Tensor) -> Tensor:
    """Sums over n rows of the loss, cross-entropy and kd, [3]; ``logits`` become the gradient of the loss.

    logits: [n, V]; teacher: its logits, already divided by the temperature, [n, V], overwritten; factors: [n, 3], T and the weights
    of CE and KD. With p = softmax(logits), q and r the softened student and teacher: CE' = p - onehot, KD' = T (q - r).
    """
    temperature, ce_weight, kd_weight = factors.split(1, 1)
    column = targets[:, None]
    ours = logits.to(factors.dtype)
    ours -= ours.amax(-1, keepdim=True)
    ce = -ours.gather(-1, column)
    soft = ours * temperature.reciprocal() if teacher is not None else None
    p = ours.exp_()
    total = p.sum(-1, keepdim=True)
    ce += total.log()
    gradient = p.mul_(ce_weight / total)
    gradient.scatter_add_(-1, column, -ce_weight)
    kd = torch.zeros_like(ce)
    if teacher is not None:
        theirs = teacher.to(factors.dtype)
        theirs -= theirs.amax(-1, keepdim=True)
        r = theirs.exp()
        r_total = r.sum(-1, keepdim=True)
        apart = theirs.sub_(soft).mul_(r).sum(-1, keepdim=True) / r_total
        q = soft.exp_()
        q_total = q.sum(-1, keepdim=True)
        kd = (apart + q_total.log() - r_total.log()) * temperature**2
        gradient.addcmul_(q, kd_weight * temperature / q_total)
        gradient.addcmul_(r, kd_weight * temperature / r_total, value=-1)
    if gradient is not logits:
        logits.copy_(gradient)
    return torch.stack(((ce_weight * ce + kd_weight * kd).sum(), ce.sum(), kd.sum()))


def _differentiated(row_loss: RowLoss, logits: Tensor, teacher: Tensor, targets: Tensor, factors: Tensor) -> Tensor:
    """As ``_row_losses``, with any divergence in the place of kd."""
    temperature, ce_weight, kd_weight = factors.unbind(1)
    with torch.enable_grad():
        ours = logits.detach().to(factors.dtype).requires_grad_()
        ce = losses.cross_entropy(ours, targets)
        divergence = row_loss(ours, teacher.to(factors.dtype) * temperature[:, None], targets, temperature)
        loss = (ce_weight * ce + kd_weight * divergence).sum()
        (gradient,) = torch.autograd.grad(loss, ours)
    logits.copy_(gradient)
    return torch.stack((loss, ce.sum(), divergence.sum())).detach()


@cache
def _compiled() -> Callable:
    return torch.compile(_row_losses, dynamic=True)


def cannot_compile(device: torch.device) -> str | None:
    """Why what ``compiled`` needs is not there, or None: a C++ compiler, on GPUs Triton."""
    if device.type == "cuda":
        return None if find_spec("triton") else "Triton was not found"
    try:
        rows.library()
    except rows.Unavailable as error:
        return str(error)
    return None
