"""Sums over a sentence, of which measures are functions, and how each is found: of decoded pieces, of text,
or of the distributions over the next piece. Those that ``compares`` is true of need a reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from semcom.distillation import losses
from semcom.evaluation import text_metrics
from semcom.evaluation.text_scoring import TextScoring

Prefixes = Literal["gold", "own"]
"""After which the next piece is foretold: those of the sentence sent, or of what the reference decoded."""


@dataclass(frozen=True)
class PieceSum:
    """of: pieces decoded and pieces sent of one sentence -> its value. of_sent: whether what was decoded does
    not count."""

    name: str
    of: Callable[[Sequence[int], Sequence[int]], float]
    of_sent: bool = False
    compares: ClassVar[bool] = False

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,)


@dataclass(frozen=True)
class TextSums:
    """Several sums at once of N texts understood. against: what they are compared with, the sentences sent or
    what the reference understood. of: how texts are scored, texts and those -> [N, len(statistics)]."""

    against: Literal["sent", "reference"]
    statistics: tuple[str, ...]
    of: Callable[[TextScoring, Sequence[str], Sequence[str]], np.ndarray]

    @property
    def compares(self) -> bool:
        return self.against == "reference"

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.against}_{name}" for name in self.statistics)


@dataclass(frozen=True)
class Distributions:
    """What a receiver expects at some target tokens. logs: [rows, V] log-probabilities of the next piece.
    states: [rows, D] of its decoder."""

    logs: Tensor
    states: Tensor

    @cached_property
    def choice(self) -> Tensor:
        """[rows] the most probable piece."""
        return self.logs.argmax(-1)

    @cached_property
    def probabilities(self) -> Tensor:
        """[rows, V]."""
        return self.logs.exp()

    @cached_property
    def negative_entropy(self) -> Tensor:
        """[rows] in nats."""
        return (self.probabilities * self.logs).sum(-1)

    def log_partition(self, inverse_temperature: float) -> Tensor:
        """[rows] logsumexp of the log-probabilities times ``inverse_temperature``."""
        largest = self.logs.gather(-1, self.choice[:, None])
        scaled = (self.logs - largest).mul_(inverse_temperature)
        return scaled.exp_().sum(-1).log() + inverse_temperature * largest.squeeze(-1)


@dataclass(frozen=True)
class TokenRows:
    """Some target tokens, teacher-forced. targets: [rows] pieces. ours: of the pair measured. reference: of
    what it is compared with; None where there is nothing, and then asked for by no sum. temperature: by which
    the pair's logits are divided where confidence is not to count; None where none was fitted."""

    targets: Tensor
    ours: Distributions
    reference: Distributions | None
    temperature: float | None = None

    @property
    def theirs(self) -> Distributions:
        """Those of the reference."""
        if self.reference is None:
            raise ValueError("nothing to compare with")
        return self.reference

    @cached_property
    def kl(self) -> Tensor:
        """[rows] nats, from the reference."""
        return losses.kl_of_logs(self.theirs.logs, self.ours.logs, self.theirs.probabilities)

    @cached_property
    def js(self) -> Tensor:
        """[rows] nats."""
        one, other = self.theirs, self.ours
        mixture = losses.mix(one.logs, other.logs, 0.5)
        from_one = losses.kl_of_logs(one.logs, mixture, one.probabilities)
        return (from_one + losses.kl_of_logs(other.logs, mixture, other.probabilities)) / 2


@dataclass(frozen=True)
class TokenSum:
    """A sum over target tokens. of: rows of tokens -> [rows]; None where the pair has no such value.

    compares: whether it needs a reference; after the reference's own prefixes it always does.
    """

    name: str
    of: Callable[[TokenRows], Tensor | None]
    prefixes: Prefixes = "gold"
    compares: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,)


Sum = PieceSum | TokenSum | TextSums


def _cross_entropy(rows: TokenRows) -> Tensor:
    return -rows.ours.logs.gather(-1, rows.targets[:, None]).squeeze(-1)


def _distance(rows: TokenRows) -> Tensor | None:
    """None of states of two widths."""
    ours, theirs = rows.ours.states, rows.theirs.states
    return losses.feature_mse(theirs, ours) if ours.shape == theirs.shape else None


def _calibrated_kl(rows: TokenRows) -> Tensor | None:
    """KL(p || softmax(log q / T)) of reference p and pair q. None where no T was fitted."""
    if rows.temperature is None:
        return None
    kl = rows.kl
    if rows.temperature == 1:
        return kl
    # With b = 1 / T and the sum of p log q known from the KL:
    # KL(p || softmax(b log q)) = sum of p log p - b * sum of p log q + logsumexp(b log q).
    certain, inverse = rows.theirs.negative_entropy, 1 / rows.temperature
    return certain - inverse * (certain - kl) + rows.ours.log_partition(inverse)


TOKENS = PieceSum("tokens", lambda decoded, sent: len(sent) + 1, of_sent=True)
MATCHES = PieceSum("matches", text_metrics.token_matches)
SENTENCES = PieceSum("sentences", lambda decoded, sent: 1, of_sent=True)

TARGETS = TokenSum("targets", lambda rows: torch.ones_like(rows.targets), compares=False)
NATS = TokenSum("nats", _cross_entropy, compares=False)
KL = TokenSum("kl", lambda rows: rows.kl)
CALIBRATED_KL = TokenSum("calibrated_kl", _calibrated_kl)
JS = TokenSum("js", lambda rows: rows.js)
AGREEMENTS = TokenSum("agree", lambda rows: rows.theirs.choice == rows.ours.choice)
DISTANCE = TokenSum("distance", _distance)

OWN_TOKENS = TokenSum("own_tokens", lambda rows: torch.ones_like(rows.targets), "own")
OWN_KL = TokenSum("own_kl", lambda rows: rows.kl, "own")

TO_SENT = TextSums("sent", text_metrics.BLEU_COLUMNS, TextScoring.bleu_statistics)
TO_REFERENCE = TextSums("reference", text_metrics.BLEU_COLUMNS, TextScoring.bleu_statistics)
CHRF = TextSums("sent", text_metrics.CHRF_COLUMNS, TextScoring.chrf_statistics)
EXACT = TextSums("sent", ("exact",), TextScoring.exact)
EXACT_AS_WRITTEN = TextSums("sent", ("exact_as_written",), TextScoring.exact_as_written)
