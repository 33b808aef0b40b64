"""Losses of a chunk of logits and their gradient, in torch: ``kd`` by hand, other divergences by autograd.

Letters: n rows of a chunk, V pieces.
"""

import logging
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from semcom.distillation import losses

log = logging.getLogger(__name__)

RowLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Student and teacher logits [n, V], targets [n], temperatures [n] -> divergences [n]."""
ChunkLoss = Callable[[Tensor, Tensor | None, Tensor, Tensor, Tensor, Tensor | None, Tensor], Tensor]
"""As ``by_hand``."""


# Seven arguments: one formula in place, which torch compiles as a whole for GPUs.
def by_hand(
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
    if teacher is not None and soft is not None:
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


# Eight arguments: those of ``by_hand``, whose place it takes.
def _by_autograd(
    row_loss: RowLoss,
    logits: Tensor,
    teacher: Tensor | None,
    targets: Tensor,
    factors: Tensor,
    bias: Tensor,
    teacher_bias: Tensor | None,
    to_bias: Tensor,
) -> Tensor:
    """As ``by_hand``, with any divergence in the place of kd."""
    assert teacher is not None
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


def by_autograd(row_loss: RowLoss) -> ChunkLoss:
    """``by_hand`` with any divergence in the place of kd."""
    return partial(_by_autograd, row_loss)


@cache
def compiled() -> ChunkLoss:
    """``by_hand``, compiled for GPUs when it is first called."""
    log.info("compiling the losses for this GPU by Triton; the first step takes half a minute or more")
    return torch.compile(by_hand, dynamic=True)
