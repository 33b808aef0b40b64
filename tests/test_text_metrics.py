"""Measures against sacrebleu, its command line, and definitions."""

import random
import subprocess
import sys

import numpy as np
import pytest
import sacrebleu

from semcom.evaluation import text_metrics

REFERENCES = [
    "The council has adopted the report on fisheries.",
    "We agree with the commission, as you know.",
    "It is time to act.",
    "I should like to thank the rapporteur for her work.",
]
HYPOTHESES = [
    "The council has adopted a report on energy.",
    "We agree with the committee.",
    "It is time to act.",
    "I thank the rapporteur for the work that she has done.",
]


def test_bleu_is_sacrebleus_with_hypotheses_first():
    expected = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert text_metrics.bleu(HYPOTHESES, REFERENCES) == pytest.approx(expected, abs=1e-9)
    assert text_metrics.bleu(REFERENCES, HYPOTHESES) != pytest.approx(expected, abs=0.1)
    assert text_metrics.bleu(REFERENCES, REFERENCES) == pytest.approx(100)


def test_bleu_names_its_signature():
    assert all(
        part in text_metrics.bleu_signature()
        for part in ("tok:13a", "smooth:exp", f"version:{sacrebleu.__version__}")
    )


@pytest.mark.parametrize(
    "hypothesis, matches", [([5, 6, 7], 4), ([5, 6], 2), ([5, 6, 7, 8], 3), ([], 0), ([6, 5, 7], 2)]
)
def test_token_matches_count_positions_and_eos(hypothesis, matches):
    assert text_metrics.token_matches(hypothesis, [5, 6, 7]) == matches


def test_both_empty_agree_on_eos():
    assert text_metrics.token_matches([], []) == 1


def test_partners_have_the_same_length_and_are_never_oneself():
    lengths = [7, 5, 7, 9, 5, 7, 5, 12, 12]
    partner = text_metrics.shuffled_partners(lengths)
    assert all(there != here for here, there in enumerate(partner))
    assert [lengths[there] for here, there in enumerate(partner) if lengths[here] != 9] == [
        n for n in lengths if n != 9
    ]
    # A permutation within a length, so that no sentence weighs twice.
    assert sorted(there for here, there in enumerate(partner) if lengths[here] != 9) == [
        0,
        1,
        2,
        4,
        5,
        6,
        7,
        8,
    ]


def test_a_lone_length_takes_the_nearest():
    for lengths in ([5, 5, 6, 20, 20], [20, 20, 19, 5, 5], [4, 4, 30], [4, 30, 30]):
        partner = text_metrics.shuffled_partners(lengths)
        for here, there in enumerate(partner):
            others = [abs(n - lengths[here]) for place, n in enumerate(lengths) if place != here]
            assert there != here and abs(lengths[there] - lengths[here]) == min(others)


# BLEU from sums


def corpora():
    """Pairs of hypotheses and references: usual text, orders without a match, hypotheses too short for an
    order, and none at all."""
    rng = random.Random(0)
    vocabulary = 'the council , has adopted a report on energy . isn\'t it 2,5 % (EC) "no" -'.split()

    def text(longest):
        return " ".join(rng.choices(vocabulary, k=rng.randint(0, longest)))

    yield HYPOTHESES, REFERENCES
    yield REFERENCES, REFERENCES
    for longest in (1, 2, 3, 6, 15):
        yield from (([text(longest) for _ in range(8)], [text(longest) for _ in range(8)]) for _ in range(8))
    yield ["a b c d e f"], ["f e d c b a"]  # no bigram
    yield ["a b x d e f"], ["a b c d e f"]  # no fourgram
    yield ["a x c x e x"], ["a b c d e f"]  # no order but the first
    yield ["x y z w"], ["a b c d e f"]
    yield ["a b c"], ["a b c"]  # no fourgram there to be found
    yield ["a"], ["a b c d"]
    yield ["", ""], ["a b c", "d"]
    yield ["", "a b c d e"], ["a b c", "a b c d e"]
    yield ["a b c d e"], [""]
    yield ["a b c d e a b c d"], ["a b c d e"]


CORPORA = list(corpora())


def test_bleu_of_sums_is_corpus_bleu():
    found = [text_metrics.bleu_of(text_metrics.bleu_statistics(h, r).sum(0)) for h, r in CORPORA]
    expected = [sacrebleu.corpus_bleu(h, [r]).score for h, r in CORPORA]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert (
        sum(0 < score < 100 for score in expected) > 20
        and 0 in expected
        and max(expected) == pytest.approx(100)
    )


def test_bleu_of_many_sums_at_once_is_that_of_each():
    sums = np.stack([text_metrics.bleu_statistics(h, r).sum(0) for h, r in CORPORA])
    each = [float(text_metrics.bleu_of(row[None])[0]) for row in sums]
    assert text_metrics.bleu_of(sums).tolist() == each
    assert text_metrics.bleu_of(np.stack([sums, sums[::-1]])).tolist() == [each, each[::-1]]


def test_bleu_of_one_set_is_sacrebleus_to_the_bit():
    for hypotheses, references in CORPORA:
        sums = text_metrics.bleu_statistics(hypotheses, references).sum(0)
        assert float(text_metrics.bleu_of(sums)) == text_metrics.bleu(hypotheses, references)
        assert float(text_metrics.bleu_of(sums)) == pytest.approx(text_metrics.bleu_of(sums[None])[0])


def test_bleu_of_a_resample_is_that_of_its_sentences():
    statistics = text_metrics.bleu_statistics(HYPOTHESES, REFERENCES)
    expected = sacrebleu.corpus_bleu(
        [HYPOTHESES[i] for i in (0, 0, 3)], [[REFERENCES[i] for i in (0, 0, 3)]]
    ).score
    assert text_metrics.bleu_of(np.array([2, 0, 0, 1]) @ statistics) == pytest.approx(expected)


def test_bleu_of_sums_is_what_the_command_line_says(tmp_path):
    hypotheses, references = tmp_path / "hypotheses", tmp_path / "references"
    hypotheses.write_text("\n".join([*HYPOTHESES, ""]) + "\n")
    references.write_text("\n".join([*REFERENCES, "So be it."]) + "\n")
    said = subprocess.run(
        [sys.executable, "-m", "sacrebleu", references, "-i", hypotheses, "-m", "bleu", "-b", "-w", "8"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    sums = text_metrics.bleu_statistics([*HYPOTHESES, ""], [*REFERENCES, "So be it."]).sum(0)
    assert text_metrics.bleu_of(sums) == pytest.approx(float(said), abs=1e-7)


def test_statistics_by_hand():
    """Of "a b b d." two of "a", "b" and "." match, each b only as often as it was sent; of bigrams "a b"
    alone."""
    found = dict(zip(text_metrics.BLEU_COLUMNS, text_metrics.bleu_statistics(["a b b d."], ["a b c."])[0]))
    assert found == {
        "hypothesis_length": 5,
        "reference_length": 4,
        "matches_1": 3,
        "matches_2": 1,
        "matches_3": 0,
        "matches_4": 0,
        "ngrams_1": 5,
        "ngrams_2": 4,
        "ngrams_3": 3,
        "ngrams_4": 2,
    }
    assert text_metrics.bleu_statistics([], []).shape == (0, 10)


# Likeness of representations


def gram_cka(x, y):
    """By its definition: HSIC of centred Gram matrices over the root of each one's own."""
    count = len(x)
    centring = np.eye(count) - 1 / count

    def hsic(k, l):
        return np.trace(k @ centring @ l @ centring) / (count - 1) ** 2

    k, l = x @ x.T, y @ y.T
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


@pytest.fixture
def representations():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)) * np.arange(1, 7) + 3
    return x, x[:, :4] @ rng.normal(size=(4, 9)) + 2 * rng.normal(size=(40, 9))


def test_cka_is_that_of_gram_matrices(representations):
    x, y = representations
    assert text_metrics.cka(x, y) == pytest.approx(gram_cka(x, y), rel=1e-10) and 0.1 < gram_cka(x, y) < 0.9
    assert text_metrics.cka(y, x) == pytest.approx(text_metrics.cka(x, y), rel=1e-10)
    assert text_metrics.cka(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(
        text_metrics.cka(x, y), rel=1e-5
    )


def test_cka_does_not_see_rotation_scale_and_shift(representations):
    x, y = representations
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(9, 9)))[0]
    assert text_metrics.cka(x, 7 * y @ rotation - 11) == pytest.approx(text_metrics.cka(x, y), rel=1e-9)
    assert text_metrics.cka(y, 0.1 * y @ rotation + 5) == pytest.approx(1)
    assert text_metrics.cka(x, y @ np.diag([9, *[1] * 8])) != pytest.approx(
        text_metrics.cka(x, y), rel=0.01
    ), "a stretched axis is no rotation"


def test_cka_of_unlike_things_is_small():
    """Of independent x and y about (D1 D2 / N) / sqrt(D1 D2 (1 + D1 / N) (1 + D2 / N)), here 5 / 2000."""
    x, y = np.random.default_rng(2).normal(size=(2, 2000, 5))
    assert text_metrics.cka(x, y) < 3 * 5 / 2000


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -7e8])
def test_cka_of_a_constant_is_none(representations, value):
    """Also where the mean of equal numbers is not that number."""
    constant = np.full((40, 3), value)
    for first, second in (
        (constant, representations[0]),
        (representations[0], constant),
        (constant, constant),
    ):
        assert text_metrics.cka(first, second) is None


def test_what_was_not_decoded_has_no_chrf():
    sums = np.stack([np.full(24, np.nan), np.full(24, 5.0)])
    assert np.isnan(text_metrics.chrf_of(sums)).tolist() == [True, False]
    assert np.isnan(text_metrics.chrf_of(sums[0])) and text_metrics.chrf_of(sums[1:]) == [100.0]
