"""One small pure function per loss and divergence.

Logits are [..., V] with the classes last; what is returned is [...], one value a row, so that the caller gathers real
rows, sums and divides. KL terms are computed in float32 at least, in nats.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def _log_softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.log_softmax(wide if temperature == 1 else wide / temperature, dim=-1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """[...] nats: -log softmax(logits)[target]. logits: [..., V]; targets: [...] piece ids."""
    return -_log_softmax(logits).gather(-1, targets[..., None]).squeeze(-1)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """[...] nats: KL(p || q) of the two next-piece distributions at temperature 1."""
    return _kl(_log_softmax(p_logits), _log_softmax(q_logits))


def js_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """[...] nats: Jensen-Shannon divergence, between 0 and log 2."""
    log_p, log_q = _log_softmax(p_logits), _log_softmax(q_logits)
    log_m = torch.logaddexp(log_p, log_q) - torch.log(torch.tensor(2.0, dtype=log_p.dtype))
    return (_kl(log_p, log_m) + _kl(log_q, log_m)) / 2


def kd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """[...] T^2 * KL(softmax(teacher/T) || softmax(student/T)): Hinton, Vinyals and Dean 2015, arXiv 1503.02531.

    T^2 keeps the size of the gradient as T grows.
    """
    return temperature**2 * _kl(_log_softmax(teacher, temperature), _log_softmax(student, temperature))


def feature_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """[...] mean squared difference over the last dimension of two feature tensors of the same shape."""
    return (student - teacher).square().mean(-1)
