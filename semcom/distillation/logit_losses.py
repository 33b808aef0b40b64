"""The logit losses of ``--kd-loss``: one function each, all of one signature, and the table that names them.

Student and teacher logits are [..., V], targets [...] the right classes, what is returned [...], one value a
row in nats. p and q are the teacher's and the student's distribution at the temperature T.

A new loss is a function here with its entry in ``LOGIT_LOSSES``, and its row in ``settings.KD_LOSSES``, with
a field of ``DistillationConfig`` for each setting of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from semcom.distillation.losses import Temperature, kl_of_logs, log_softmax, mix
from semcom.distillation.settings import DistillationConfig


@dataclass(frozen=True)
class LossSettings:
    """temperature: T now, a number or [...] with one for each row. options: the settings of the run, among
    them a loss's own."""

    temperature: Temperature
    options: DistillationConfig


LogitLoss = Callable[[Tensor, Tensor, Tensor, LossSettings], Tensor]
"""Student and teacher logits [..., V], targets [...] and settings -> [...]."""


def kd(student: Tensor, teacher: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """T^2 * KL(p || q): Hinton, Vinyals and Dean 2015, arXiv 1503.02531.

    T^2 keeps the size of the gradient as T grows.
    """
    t = settings.temperature
    return t**2 * kl_of_logs(log_softmax(teacher, t), log_softmax(student, t))


def rkl(student: Tensor, teacher: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """T^2 * KL(q || p), the reverse of ``kd``: MiniLLM, arXiv 2306.08543."""
    return kd(teacher, student, targets, settings)


def jsd(student: Tensor, teacher: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """beta * KL(p || m) + (1 - beta) * KL(q || m) with m = beta * p + (1 - beta) * q: generalised
    Jensen-Shannon, GKD, arXiv 2306.13649. No T^2."""
    t, beta = settings.temperature, settings.options.jsd_beta
    p, q = log_softmax(teacher, t), log_softmax(student, t)
    m = mix(p, q, beta)
    return beta * kl_of_logs(p, m) + (1 - beta) * kl_of_logs(q, m)


def skl(student: Tensor, teacher: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """KL(p || skew * p + (1 - skew) * q): DistiLLM, arXiv 2402.03898. No T^2."""
    t = settings.temperature
    p, q = log_softmax(teacher, t), log_softmax(student, t)
    return kl_of_logs(p, mix(p, q, settings.options.skew))


def dkd(student: Tensor, teacher: Tensor, targets: Tensor, settings: LossSettings) -> Tensor:
    """alpha * TCKD + beta * NCKD: Decoupled Knowledge Distillation, Zhao et al., CVPR 2022, arXiv 2203.08679.

    TCKD = T^2 * KL of (target, all others); NCKD = T^2 * KL of the distributions renormalised over the other
    classes. ``kd`` is TCKD + (1 - p[target]) * NCKD.
    """
    t, options = settings.temperature, settings.options
    hit_p, miss_p, others_p = _decouple(log_softmax(teacher, t), targets)
    hit_q, miss_q, others_q = _decouple(log_softmax(student, t), targets)
    target_class = hit_p.exp() * (hit_p - hit_q) + miss_p.exp() * (miss_p - miss_q)
    # The target's own entries are -inf on both sides: they have no difference, and no weight.
    apart = torch.zeros_like(others_p).scatter(-1, targets[..., None], 1).bool()
    others = (others_p.exp() * (others_p - others_q).masked_fill(apart, 0)).sum(-1)
    return t**2 * (options.dkd_alpha * target_class + options.dkd_beta * others)


def _decouple(log_p: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p[target] [...], log(1 - p[target]) [...] and log-probabilities given another class [..., V], -inf
    at the target."""
    column = targets[..., None]
    others = log_p.scatter(-1, column, -torch.inf)
    # By logsumexp: 1 - p[target] underflows where the target is nearly certain.
    miss = others.logsumexp(-1)
    return log_p.gather(-1, column).squeeze(-1), miss, others - miss[..., None]


LOGIT_LOSSES: dict[str, LogitLoss] = {
    "kd": kd,
    "rkl": rkl,
    "jsd": jsd,
    "skl": skl,
    "dkd": dkd,
}
