"""Decodings and scores: several models, the same sentences and draws, rows that a loop over single sentences
repeats."""

import math

import pytest
import torch
import torch.nn.functional as F
from toy import CPU, Numbers, encoded, through, transceiver

from semcom.channel.channels import Rayleigh
from semcom.data.batching import collate
from semcom.data.corpus import Sentence
from semcom.data.vocabulary import EOS
from semcom.evaluation import text_metrics
from semcom.evaluation.scores import Decoded, Entrant, Meeting, decode, decoded, floor_score, score, score_all
from semcom.evaluation.text_scoring import TextScoring
from semcom.models.decoding import Search, greedy

SCORING = TextScoring()
SNRS = (0.0, 12.0)
SENTENCES = encoded(30, 3, 9)
RAYLEIGH = Rayleigh()


def meeting(batch_size=8, snrs=SNRS, seed=0, channel=RAYLEIGH):
    return Meeting(channel, snrs, seed, CPU, batch_size, quiet=True)


@pytest.fixture(scope="module")
def models():
    """Untrained, but sharp and of about the sentences' lengths."""
    made = [transceiver(seed=seed) for seed in (1, 2)]
    for model in made:
        with torch.no_grad():
            model.receiver.decoder.projection.weight.mul_(3)
            model.receiver.decoder.projection.bias[EOS] = 4
    return made


def perfect(sentences):
    pieces = [e.source[1:-1] for e in sentences]
    token_sums = {"targets": [float(e.target_tokens) for e in sentences], "nats": [0.0] * len(sentences)}
    return Decoded([e.sentence.text for e in sentences], pieces, token_sums)


def test_decoding_is_that_of_each_sentence_alone(models):
    model = models[0]
    for snr, read in zip(SNRS, decode(Entrant("a", model), SENTENCES, Numbers(), meeting())):
        for place, sentence in enumerate(SENTENCES):
            batch = collate([sentence])
            with torch.no_grad():
                received = through(model, batch, RAYLEIGH, snr)
                logits = model.receiver.project(model.receiver(received, batch.source_mask, batch.target_in))[
                    0
                ]
            assert read.pieces[place] == greedy(model.receiver, received, batch.source_mask)[0]
            expected = F.cross_entropy(logits, batch.target_out[0], reduction="sum").item()
            assert read.token_sums["nats"][place] == pytest.approx(expected, rel=1e-4)
        assert read.texts == Numbers().decode(read.pieces)
        assert len(set(map(len, read.pieces))) > 2


@pytest.mark.parametrize(
    "other", [meeting(1), meeting(30), meeting(8, SNRS[::-1]), meeting(8, (-6.0, *SNRS))]
)
def test_batch_size_and_other_snrs_change_nothing(models, other):
    entrant = Entrant("a", models[0])
    expected = dict(zip(SNRS, decode(entrant, SENTENCES, Numbers(), meeting())))
    found = dict(zip(other.snrs, decode(entrant, SENTENCES, Numbers(), other)))
    for snr in SNRS:
        assert found[snr].pieces == expected[snr].pieces
        assert found[snr].token_sums["nats"] == pytest.approx(expected[snr].token_sums["nats"], rel=1e-4)
    assert (
        decode(entrant, SENTENCES, Numbers(), meeting(seed=1))[0].token_sums["nats"]
        != expected[0.0].token_sums["nats"]
    )


def test_scores_by_hand():
    sentences = encoded(3, 3, 3)
    decoded = perfect(sentences)
    assert score(decoded, sentences, SCORING) == {
        "bleu": pytest.approx(text_metrics.bleu(decoded.texts, decoded.texts)),
        "chrf": 100.0,
        "token_accuracy": 1.0,
        "exact": 1.0,
        "exact_as_written": 1.0,
        "cross_entropy": 0.0,
        "sentences": 3,
    }
    decoded.pieces[0] = [EOS + 1, *decoded.pieces[0][1:]]
    decoded.pieces[1] = []
    decoded.texts[:2] = Numbers().decode(decoded.pieces[:2])
    decoded.token_sums = {"targets": [4.0] * 3, "nats": [1.0, 2.0, 5.0]}
    row = score(decoded, sentences, SCORING)
    assert row["token_accuracy"] == pytest.approx((3 + 0 + 4) / 12) and row["exact"] == pytest.approx(1 / 3)
    assert row["cross_entropy"] == pytest.approx(8 / 12)
    two = Decoded(decoded.texts[:2], decoded.pieces[:2], {"targets": [4.0] * 2, "nats": [1.0, 2.0]})
    part = score(two, sentences[:2], SCORING)
    assert part["exact"] == 0 and part["sentences"] == 2 and part["cross_entropy"] == pytest.approx(3 / 8)


def test_scores_take_hypotheses_and_references_the_right_way_round():
    sentences = [
        type(e)(Sentence(i, "one two three four five six seven"), e.source)
        for i, e in enumerate(encoded(2, 3, 3))
    ]
    decoded = Decoded(["one two three four", "one two three four five"], [[5], [6]])
    assert score(decoded, sentences, SCORING)["bleu"] == pytest.approx(
        text_metrics.bleu(decoded.texts, [e.sentence.text for e in sentences])
    )


def test_rows_of_topics_and_of_seen_ones(models):
    topical = [
        type(e)(Sentence(e.sentence.id, e.sentence.text, ("trade", "energy", "health")[i % 3]), e.source)
        for i, e in enumerate(SENTENCES)
    ]
    rows, decodings = score_all(
        [Entrant("a", models[0], frozenset({"trade"})), Entrant("b", models[1])],
        topical,
        Numbers(),
        meeting(),
    )
    rows = rows.to_dict("records")
    found = {(r["model"], r["snr"], r["topic"]): r for r in rows}
    assert {t for m, s, t in found if m == "a"} == {"", "trade", "energy", "health", "(seen)", "(not seen)"}
    assert {t for m, s, t in found if m == "b"} == {
        t for m, s, t in found if m == "a"
    }  # one partition for all
    assert len(found) == len(rows) == 2 * (6 + 6) and set(decodings) == {"a", "b"}
    assert all(r["channel"] == "rayleigh zf" for r in rows)
    for snr in SNRS:
        whole = found["a", snr, ""]
        assert whole["sentences"] == 30 and found["a", snr, "(not seen)"]["sentences"] == 20
        assert found["a", snr, "(seen)"] | {"topic": ""} == found["a", snr, "trade"] | {"topic": ""}
        by_topic = sum(found["a", snr, t]["exact"] * 10 for t in ("trade", "energy", "health"))
        assert by_topic == pytest.approx(whole["exact"] * 30)


def test_floor_is_the_score_of_another_sentence_of_the_same_length():
    row = floor_score(encoded(400, 3, 5), SCORING)
    # Of 20 kinds of piece one in 20 agrees by chance, and eos always does.
    tokens = [len(e.source) - 1 for e in encoded(400, 3, 5)]
    chance = (sum(tokens) - 400) / 20
    assert row["token_accuracy"] == pytest.approx(
        (400 + chance) / sum(tokens), abs=5 * math.sqrt(2 * chance) / sum(tokens)
    )
    assert row["exact"] < 0.02 and row["cross_entropy"] is None and row["sentences"] == 400


@pytest.mark.parametrize("search, asked", [(Search(), [[0], [1]]), (Search(2), [[0, 1], [0, 1]])])
def test_greedy_decoding_is_asked_of_what_is_not_known_alone(search, asked, models):
    batch, made = collate(SENTENCES[:2]), []

    class Counting(Search):
        def __call__(self, receiver, received, mask):
            made.append(received[:, 0, 0].tolist())
            return super().__call__(receiver, received, mask)

    received = [torch.rand(2, batch.source.shape[1], 8) for _ in SNRS]
    known = torch.tensor([[False, True], [True, False]])
    found = decoded(models[0].receiver, batch, received, known, Counting(search.width))
    assert made == [[float(received[k][i, 0, 0]) for k in range(2) for i in asked[k]]]
    for k, i in ((0, 1), (1, 0)) if search.width == 1 else ():
        assert found[k][i] == SENTENCES[i].source[1:-1]


def test_hybrids_fail_the_same_way_on_the_same_fades(models):
    """Draws belong to sentences: the losses of two runs of one model agree sentence by sentence, whatever
    runs beside it."""
    alone = score_all([Entrant("a", models[0])], SENTENCES, Numbers(), meeting())[1]["a"]
    beside = score_all(
        [Entrant("b", models[1]), Entrant("a", models[0])], SENTENCES[::-1], Numbers(), meeting(5)
    )[1]["a"]
    for first, second in zip(alone, beside):
        assert first.pieces == second.pieces[::-1]
        assert first.token_sums["nats"] == pytest.approx(second.token_sums["nats"][::-1], rel=1e-4)
