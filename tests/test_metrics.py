"""Measures against sacrebleu and loops."""
import math

import pytest
import sacrebleu
import torch

from semcom import metrics

REFERENCES = ["The council has adopted the report on fisheries.", "We agree with the commission, as you know.",
              "It is time to act.", "I should like to thank the rapporteur for her work."]
HYPOTHESES = ["The council has adopted a report on energy.", "We agree with the committee.",
              "It is time to act.", "I thank the rapporteur for the work that she has done."]


def test_bleu_is_sacrebleus_with_hypotheses_first():
    expected = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert metrics.bleu(HYPOTHESES, REFERENCES) == pytest.approx(expected, abs=1e-9)
    assert metrics.bleu(REFERENCES, HYPOTHESES) != pytest.approx(expected, abs=0.1)
    assert metrics.bleu(REFERENCES, REFERENCES) == pytest.approx(100)


def test_bleu_names_its_signature():
    assert all(part in metrics.bleu_signature() for part in ("tok:13a", "smooth:exp", f"version:{sacrebleu.__version__}"))


@pytest.mark.parametrize("hypothesis, matches", [([5, 6, 7], 4), ([5, 6], 2), ([5, 6, 7, 8], 3), ([], 0), ([6, 5, 7], 2)])
def test_token_matches_count_positions_and_eos(hypothesis, matches):
    assert metrics.token_matches(hypothesis, [5, 6, 7]) == matches


def test_both_empty_agree_on_eos():
    assert metrics.token_matches([], []) == 1


def test_partners_have_the_same_length_and_are_never_oneself():
    lengths = [7, 5, 7, 9, 5, 7, 5, 12, 12]
    partner = metrics.shuffled_partners(lengths)
    assert all(there != here for here, there in enumerate(partner))
    assert [lengths[there] for here, there in enumerate(partner) if lengths[here] != 9] == [n for n in lengths if n != 9]
    # A permutation within a length, so that no sentence weighs twice.
    assert sorted(there for here, there in enumerate(partner) if lengths[here] != 9) == [0, 1, 2, 4, 5, 6, 7, 8]


def test_a_lone_length_takes_the_nearest():
    for lengths in ([5, 5, 6, 20, 20], [20, 20, 19, 5, 5], [4, 4, 30], [4, 30, 30]):
        partner = metrics.shuffled_partners(lengths)
        for here, there in enumerate(partner):
            others = [abs(n - lengths[here]) for place, n in enumerate(lengths) if place != here]
            assert there != here and abs(lengths[there] - lengths[here]) == min(others)


def softmax(row):
    largest = max(row)
    exponentials = [math.exp(x - largest) for x in row]
    return [e / sum(exponentials) for e in exponentials]


def test_divergence_means_against_loops():
    generator = torch.Generator().manual_seed(0)
    reference, other = (3 * torch.randn(50, 9, generator=generator, dtype=torch.float64) for _ in range(2))
    other = (reference + other) / 2
    targets = torch.randint(9, (50,), generator=generator)
    divergence = metrics.Divergence()
    for part in (slice(0, 20), slice(20, 21), slice(21, 50)):
        divergence.add(reference[part], other[part], targets[part])
    sums = dict.fromkeys(("kl", "js", "agree", "ce_reference", "ce"), 0.0)
    for r, o, y in zip(reference.tolist(), other.tolist(), targets.tolist()):
        p, q = softmax(r), softmax(o)
        m = [(a + b) / 2 for a, b in zip(p, q)]
        sums["kl"] += sum(a * math.log(a / b) for a, b in zip(p, q))
        sums["js"] += sum(a * math.log(a / c) + b * math.log(b / c) for a, b, c in zip(p, q, m)) / 2
        sums["agree"] += r.index(max(r)) == o.index(max(o))
        sums["ce_reference"] -= math.log(p[y])
        sums["ce"] -= math.log(q[y])
    kl, js, agree, ce_reference, ce = (value / 50 for value in sums.values())
    assert 0 < agree < 1
    assert divergence.means() == pytest.approx({
        "kl_divergence": kl, "js_divergence": js, "agreement_rate": agree, "reference_cross_entropy": ce_reference, "cross_entropy": ce,
        "cross_entropy_gap": ce - ce_reference, "semantic_difference_score": kl * (1 - agree)})


def test_divergence_from_oneself_is_nothing():
    rows = torch.randn(30, 9, generator=torch.Generator().manual_seed(1))
    divergence = metrics.Divergence()
    divergence.add(rows, rows.clone(), torch.zeros(30, dtype=torch.long))
    means = divergence.means()
    assert means["agreement_rate"] == 1 and means["kl_divergence"] == means["cross_entropy_gap"] == means["semantic_difference_score"] == 0
    assert abs(means["js_divergence"]) < 1e-6
