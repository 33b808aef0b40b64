"""Vocabulary projection, cross-entropy and distillation in one, over chunks of rows.

Logits are the largest tensors of a step by far: V numbers a row, for each model, and their gradient. Here
they exist for one chunk of rows at a time; the gradient of a chunk is formed beside its losses and carried at
once to states and projection, so that the backward pass has nothing to do but scale. For ``kd`` it is written
by hand, in torch and in ``rows``; other divergences leave it to autograd, chunk by chunk. ``losses`` has the
same values the plain way.

Letters: N rows (real target tokens), n rows of a chunk, V pieces, D model width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from semcom.base import precision
from semcom.distillation import losses
from semcom.models.kernels import native, row_losses

# Bytes of one model's logits: of a chunk, for which products are made (on CPUs its gradient is to be found
# again in the last cache), and of a block of it, on which the arithmetic of rows works (on CPUs it is to stay
# in the caches of cores).
CHUNK_BYTES = {"cpu": 12 << 20, "cuda": 256 << 20}
BLOCK_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}
ACROSS_BYTES = {"cpu": 26 << 20, "cuda": 256 << 20}
"""Of a chunk for ``rows``, which keeps to its own caches: the more rows, the faster the products."""

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
    """The mean of several teachers' logits, or of their probabilities at the temperature of the loss;
    ``shares`` sum to 1."""

    members: Sequence[Projected]
    shares: Sequence[float]
    of_probabilities: bool = False


class Sums(NamedTuple):
    """Over N rows: the weighted loss, which alone is differentiable (once), and its two terms, not
    weighted."""

    loss: Tensor
    ce: Tensor
    kd: Tensor


def cross_entropy(student: Projected, targets: Tensor, *, compiled: bool = False) -> Tensor:
    """``losses.cross_entropy`` summed over N rows; differentiable once. targets: [N] piece ids."""
    return _apply(student, None, targets, 1.0, (1.0, 0.0), None, compiled).loss


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
    """``losses.cross_entropy`` and a divergence from the teacher (``losses.kd``, or ``row_loss``),
    ``weights`` being theirs in the loss.

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
        found = [
            (soft.logits(slice(start, start + size)) + (0 if soft.bias is None else soft.bias)).argmax(-1)
            for start in range(0, len(state), size)
        ]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.long, device=state.device)


def rows_within(budget: dict[str, int], pieces: int, device: torch.device, width: int = 4) -> int:
    """Rows whose logits over ``pieces``, of ``width`` bytes each, fill the budget for ``device``, one at
    least."""
    return max(1, budget.get(device.type, budget["cuda"]) // (width * pieces))


def _apply(
    student: Projected,
    teacher: Mean | None,
    targets: Tensor,
    temperature: OfRows,
    weights: tuple[OfRows, OfRows],
    row_loss: RowLoss | None,
    compiled: bool,
) -> Sums:
    members = teacher.members if teacher else ()
    if {len(targets), *(len(m.state) for m in members)} != {len(student.state)}:
        raise ValueError(
            f"{len(student.state)} states, {len(targets)} targets and {[len(m.state) for m in members]} states of teachers: "
            "must be as many"
        )
    if {len(m.projection.weight) for m in members} - {len(student.projection.weight)}:
        raise ValueError(
            f"teachers of {[len(m.projection.weight) for m in members]} pieces, the student has {len(student.projection.weight)}"
        )
    return Sums(
        *_Chunked.apply(
            student.state,
            student.projection.weight,
            student.projection.bias,
            teacher,
            targets,
            temperature,
            weights,
            row_loss,
            compiled,
        )
    )


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, state, weight, bias, teacher, targets, temperature, weights, row_loss, compiled):
        device = state.device
        product = precision.product_dtype(device) or state.dtype
        exact = torch.float64 if state.dtype == torch.float64 else torch.float32
        factors = torch.stack(
            [
                torch.as_tensor(x, dtype=exact, device=device).expand(len(state))
                for x in (temperature, *weights)
            ],
            1,
        )
        compiled = compiled and row_loss is None
        across = (
            compiled
            and device.type == "cpu"
            and exact == torch.float32
            and product in native.SUFFIXES
            and not (teacher and teacher.of_probabilities)
        )
        with torch.autocast(device.type, enabled=False):
            given = _Projection.of(state, weight, bias, product, exact), teacher, targets, factors
            gradient = _Gradient(given[0], ctx.needs_input_grad[:3], exact)
            sums = (
                _across(*given, gradient)
                if across
                else _down(*given, gradient, row_loss, compiled and device.type != "cpu")
            )
            ctx.gradient = gradient.parts()
        loss, ce, kd = sums.to(exact)
        ctx.mark_non_differentiable(ce, kd)
        return loss, ce, kd

    @staticmethod
    @once_differentiable
    def backward(ctx, to_loss, *_):
        return *(g if g is None else g * to_loss for g in ctx.gradient), *[None] * 6


@dataclass(frozen=True)
class _Projection:
    """The factors of products, in the dtype that they are made in, and in that of the losses the bias [V],
    which is added to a block at a time.

    state: [N, D]; weight: [V, D].
    """

    state: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(
        cls, state: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype, exact: torch.dtype
    ) -> "_Projection":
        return cls(state.to(dtype), weight.to(dtype), bias.detach().to(exact).contiguous())

    def logits(self, part: slice) -> Tensor:
        """[n, V], without the bias."""
        return self.state[part] @ self.weight.t()

    def logits_across(self, part: slice, missing: int, ground: Tensor) -> Tensor:
        """[V, n], with ``missing`` rows of zeros behind those of ``part``, at the beginning of ``ground``."""
        state = F.pad(self.state[part], (0, 0, 0, missing))
        return torch.mm(
            self.weight, state.t(), out=ground[: len(self.weight) * len(state)].view(-1, len(state))
        )


class _Gradient:
    """Gradients of the weighted loss with respect to state [N, D], weight [V, D] and bias [V]; what is not
    wanted is not made."""

    def __init__(self, projection: _Projection, wanted: tuple[bool, bool, bool], dtype: torch.dtype):
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
        """The same, by ``rows`` where products are bfloat16; to_logits: [V, n]; turned: weight as [D, V],
        contiguous."""
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

    def parts(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.state, self.weight, self.bias if self.wanted[2] else None


def _down(
    ours: _Projection,
    teacher: Mean | None,
    targets: Tensor,
    factors: Tensor,
    gradient: _Gradient,
    row_loss: RowLoss | None,
    compiled: bool,
) -> Tensor:
    """The three sums, and what they add to ``gradient``, over chunks of logits [n, V]. factors: [N, 3], T and
    the weights of CE and KD."""
    pieces, device = len(ours.weight), ours.state.device
    chunk = rows_within(CHUNK_BYTES, pieces, device, ours.state.dtype.itemsize)
    block = chunk if compiled else rows_within(BLOCK_BYTES, pieces, device)
    soft = teacher and _Softened(teacher, factors[:, 0], ours.state.dtype)
    work = partial(_differentiated, row_loss) if row_loss else _compiled() if compiled else _row_losses
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        logits = ours.logits(part)
        theirs = soft.logits(part).split(block) if soft else [None] * -(-len(logits) // block)
        for piece in zip(logits.split(block), theirs, targets[part].split(block), factors[part].split(block)):
            sums += work(*piece, ours.bias, soft.bias if soft else None, gradient.bias)
        gradient.add(part, logits)
    return sums


def _across(
    ours: _Projection, teacher: Mean | None, targets: Tensor, factors: Tensor, gradient: _Gradient
) -> Tensor:
    """As ``_down``, by ``rows``, over chunks of logits [V, n]; products with the large factor first are the
    faster ones in bfloat16."""
    pieces, product = len(ours.weight), ours.state.dtype
    theirs = _Projection.of(*_joined(teacher), product, factors.dtype) if teacher else None
    turned = ours.weight.t().contiguous()
    sums = torch.zeros(3, dtype=torch.float64)
    chunk = row_losses.chunk(rows_within(ACROSS_BYTES, pieces, ours.state.device, product.itemsize), product)
    # Written again and again, memory stays in the caches.
    ground = torch.empty(2, pieces * min(chunk, len(targets) + row_losses.LANES), dtype=product)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        missing = -len(targets[part]) % row_losses.LANES
        target, factor = (F.pad(x[part], (0, 0) * (x.ndim - 1) + (0, missing)) for x in (targets, factors))
        factor[len(factor) - missing :, 0] = 1
        logits = ours.logits_across(part, missing, ground[0])
        soft = theirs.logits_across(part, missing, ground[1]) if theirs else None
        sums += row_losses.losses(
            logits,
            soft,
            ours.bias,
            theirs.bias if theirs else None,
            target,
            factor.t().contiguous(),
            len(target) - missing,
            gradient.bias,
        )
        gradient.add_across(part, logits[:, : len(target) - missing], turned)
    return sums


def _joined(teacher: Mean) -> tuple[Tensor, Tensor, Tensor]:
    """State, weight and bias of the one projection that gives the mean of several teachers' logits."""
    if len(teacher.members) == 1:
        (only,) = teacher.members
        return only.state, only.projection.weight, only.projection.bias
    states, weights, biases = zip(
        *((m.state, m.projection.weight, m.projection.bias) for m in teacher.members)
    )
    return (
        torch.cat([share * state for share, state in zip(teacher.shares, states)], 1),
        torch.cat(weights, 1),
        sum(share * bias for share, bias in zip(teacher.shares, biases)),
    )


class _Softened:
    """Logits of the mean of several teachers, already divided by the temperature [N]; the mean of logits is
    one projection of all states.

    bias: [V], not in these logits yet nor divided; None where it is in them.
    """

    def __init__(self, teacher: Mean, temperature: Tensor, dtype: torch.dtype):
        members, self.log_shares = [_joined(teacher)], None
        if teacher.of_probabilities:
            members = [(m.state, m.projection.weight, m.projection.bias) for m in teacher.members]
            self.log_shares = torch.tensor(
                teacher.shares, dtype=temperature.dtype, device=temperature.device
            ).log()
        # Dividing the states saves dividing the logits, which are V/D times as many.
        self.members = [
            _Projection.of(state / temperature[:, None], weight, bias, dtype, temperature.dtype)
            for state, weight, bias in members
        ]
        self.temperature = temperature
        self.bias = None if teacher.of_probabilities else self.members[0].bias

    def logits(self, part: slice) -> Tensor:
        """[n, V]; of a mean of probabilities, its logarithm."""
        if self.log_shares is None:
            return self.members[0].logits(part)
        cold = self.temperature[part, None].reciprocal()
        each = [
            share + F.log_softmax(torch.addcmul(member.logits(part).to(cold.dtype), cold, member.bias), -1)
            for share, member in zip(self.log_shares, self.members)
        ]
        return torch.stack(each).logsumexp(0)


def _row_losses(
    logits: Tensor,
    teacher: Tensor | None,
    targets: Tensor,
    factors: Tensor,
    bias: Tensor,
    teacher_bias: Tensor | None,
    to_bias: Tensor,
) -> Tensor:
    """Sums over n rows of the loss, cross-entropy and kd, [3]; ``logits`` become the gradient of the loss.

    logits: [n, V]; teacher: its logits, already divided by the temperature, [n, V], overwritten; factors: [n,
    3], T and the weights of CE and KD; bias, teacher_bias: [V], not in the logits yet; to_bias: [V], to which
    the gradient's sum over rows is added. With p = softmax(logits), q and r the softened student and teacher:
    CE' = p - onehot, KD' = T (q - r).
    """
    temperature, ce_weight, kd_weight = factors.split(1, 1)
    column = targets[:, None]
    ours = logits.to(factors.dtype)
    ours += bias
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
        if teacher_bias is not None:
            theirs.addcmul_(temperature.reciprocal(), teacher_bias)
        theirs -= theirs.amax(-1, keepdim=True)
        r = theirs.exp()
        r_total = r.sum(-1, keepdim=True)
        apart = theirs.sub_(soft).mul_(r).sum(-1, keepdim=True) / r_total
        q = soft.exp_()
        q_total = q.sum(-1, keepdim=True)
        kd = (apart + q_total.log() - r_total.log()) * temperature**2
        gradient.addcmul_(q, kd_weight * temperature / q_total)
        gradient.addcmul_(r, kd_weight * temperature / r_total, value=-1)
    to_bias += gradient.sum(0)
    if gradient is not logits:
        logits.copy_(gradient)
    return torch.stack(((ce_weight * ce + kd_weight * kd).sum(), ce.sum(), kd.sum()))


def _differentiated(
    row_loss: RowLoss,
    logits: Tensor,
    teacher: Tensor,
    targets: Tensor,
    factors: Tensor,
    bias: Tensor,
    teacher_bias: Tensor | None,
    to_bias: Tensor,
) -> Tensor:
    """As ``_row_losses``, with any divergence in the place of kd."""
    temperature, ce_weight, kd_weight = factors.unbind(1)
    with torch.enable_grad():
        ours = (logits.detach().to(factors.dtype) + bias).requires_grad_()
        ce = losses.cross_entropy(ours, targets)
        theirs = teacher.to(factors.dtype) * temperature[:, None]
        divergence = row_loss(
            ours, theirs if teacher_bias is None else theirs + teacher_bias, targets, temperature
        )
        loss = (ce_weight * ce + kd_weight * divergence).sum()
        (gradient,) = torch.autograd.grad(loss, ours)
    to_bias += gradient.sum(0)
    logits.copy_(gradient)
    return torch.stack((loss, ce.sum(), divergence.sum())).detach()


@cache
def _compiled() -> Callable:
    return torch.compile(_row_losses, dynamic=True)


def cannot_compile(device: torch.device) -> str | None:
    """Why what ``compiled`` needs is not there, or None: a C++ compiler, on GPUs Triton."""
    if device.type == "cuda":
        return None if find_spec("triton") else "Triton was not found"
    return native.cannot_compile()
