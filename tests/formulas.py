"""The logit losses with their own settings as plain arguments, also beyond what the command line allows, and
the divergences of logits."""

from types import SimpleNamespace

from semcom.distillation.logit_losses import LOGIT_LOSSES, LossSettings
from semcom.distillation.losses import log_softmax
from semcom.evaluation.sums import Distributions, TokenRows


def _of(name, student, teacher, targets, temperature, **own):
    return LOGIT_LOSSES[name](student, teacher, targets, LossSettings(temperature, SimpleNamespace(**own)))


def kd(student, teacher, temperature):
    return _of("kd", student, teacher, None, temperature)


def rkl(student, teacher, temperature):
    return _of("rkl", student, teacher, None, temperature)


def jsd(student, teacher, temperature, beta):
    return _of("jsd", student, teacher, None, temperature, jsd_beta=beta)


def skl(student, teacher, temperature, skew):
    return _of("skl", student, teacher, None, temperature, skew=skew)


def dkd(student, teacher, targets, temperature, alpha, beta):
    return _of("dkd", student, teacher, targets, temperature, dkd_alpha=alpha, dkd_beta=beta)


def _rows(p_logits, q_logits):
    p, q = (Distributions(log_softmax(logits), logits) for logits in (p_logits, q_logits))
    return TokenRows(None, q, p)


def kl_divergence(p_logits, q_logits):
    return _rows(p_logits, q_logits).kl


def js_divergence(p_logits, q_logits):
    return _rows(p_logits, q_logits).js
