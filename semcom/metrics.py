"""Measures of decoded text and divergences of two models' outputs, all as exact sums over rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from semcom import losses
from semcom.vocab import EOS


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """sacrebleu's corpus BLEU of detokenised text, 0 to 100."""
    return _sacrebleu().corpus_score(list(hypotheses), [list(references)]).score


def bleu_signature() -> str:
    """sacrebleu's signature of ``bleu``, to be printed beside every score."""
    metric = _sacrebleu()
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


def _sacrebleu():
    from sacrebleu.metrics import BLEU
    return BLEU()


def token_matches(hypothesis: Sequence[int], reference: Sequence[int]) -> int:
    """Positions, eos included, at which a free-running decoding has the reference's piece."""
    return sum(h == r for h, r in zip([*hypothesis, EOS], [*reference, EOS]))


def shuffled_partners(lengths: Sequence[int]) -> list[int]:
    """For each sentence the index of another of the same length (the nearest where there is none): the floor of a measure."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    groups: dict[int, list[int]] = {}
    for index in order:
        groups.setdefault(lengths[index], []).append(index)
    partner = list(range(len(lengths)))
    for group in groups.values():
        for here, there in zip(group, group[1:] + group[:1]):
            partner[here] = there
    for rank, index in enumerate(order):
        if partner[index] == index and len(order) > 1:
            beside = order[max(rank - 1, 0) : rank] + order[rank + 1 : rank + 2]
            partner[index] = min(beside, key=lambda i, length=lengths[index]: abs(lengths[i] - length))
    return partner


@dataclass
class Divergence:
    """Sums over target tokens (eos included) of what parts two models' next-piece distributions at temperature 1."""

    sums: dict[str, float] = field(default_factory=dict)
    rows: int = 0

    def add(self, reference: Tensor, other: Tensor, targets: Tensor) -> None:
        """reference, other: [N, V] logits of the same N rows; targets: [N] right pieces."""
        values = {
            "kl_divergence": losses.kl_divergence(reference, other),
            "js_divergence": losses.js_divergence(reference, other),
            "agreement_rate": reference.argmax(-1) == other.argmax(-1),
            "reference_cross_entropy": losses.cross_entropy(reference, targets),
            "cross_entropy": losses.cross_entropy(other, targets),
        }
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.double().sum())
        self.rows += len(targets)

    @classmethod
    def total(cls, parts: Sequence["Divergence"]) -> "Divergence":
        """The sums of all ``parts``; one without rows has none."""
        names = next((part.sums for part in parts if part.rows), {})
        return cls({name: sum(part.sums.get(name, 0.0) for part in parts) for name in names}, sum(part.rows for part in parts))

    def means(self) -> dict[str, float]:
        """Means a token; and the score of earlier scripts, KL * (1 - agreement)."""
        means = {name: total / self.rows for name, total in self.sums.items()}
        return {**means, "cross_entropy_gap": means["cross_entropy"] - means["reference_cross_entropy"],
                "semantic_difference_score": means["kl_divergence"] * (1 - means["agreement_rate"])}
