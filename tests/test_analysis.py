"""Analysis: several models, the same sentences and draws, rows that a loop over single sentences repeats."""
import math

import pytest
import torch
import torch.nn.functional as F
from toy import CPU, Numbers, encoded, size, through, transceiver

from semcom import metrics
from semcom.analysis import Decoded, Entrant, Meeting, compare, decode, evaluate, floor, scores
from semcom.batching import collate
from semcom.channel import Channel
from semcom.corpus import Sentence
from semcom.decoding import greedy
from semcom.vocab import BOS, EOS

SNRS = (0.0, 12.0)
SENTENCES = encoded(30, 3, 9)
RAYLEIGH = Channel("rayleigh")


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
    return Decoded([e.sentence.text for e in sentences], pieces, [0.0] * len(sentences))


def test_decoding_is_that_of_each_sentence_alone(models):
    model = models[0]
    for snr, decoded in zip(SNRS, decode(Entrant("a", model), SENTENCES, Numbers(), meeting())):
        for place, sentence in enumerate(SENTENCES):
            batch = collate([sentence])
            with torch.no_grad():
                received = through(model, batch, RAYLEIGH, snr)
                logits = model.receiver.project(model.receiver(received, batch.source_mask, batch.target_in))[0]
            assert decoded.pieces[place] == greedy(model.receiver, received, batch.source_mask)[0]
            expected = F.cross_entropy(logits, batch.target_out[0], reduction="sum").item()
            assert decoded.cross_entropy[place] == pytest.approx(expected, rel=1e-4)
        assert decoded.texts == Numbers().decode(decoded.pieces)
        assert len(set(map(len, decoded.pieces))) > 2


@pytest.mark.parametrize("other", [meeting(1), meeting(30), meeting(8, SNRS[::-1]), meeting(8, (-6.0, *SNRS))])
def test_batch_size_and_other_snrs_change_nothing(models, other):
    entrant = Entrant("a", models[0])
    expected = dict(zip(SNRS, decode(entrant, SENTENCES, Numbers(), meeting())))
    found = dict(zip(other.snrs, decode(entrant, SENTENCES, Numbers(), other)))
    for snr in SNRS:
        assert found[snr].pieces == expected[snr].pieces
        assert found[snr].cross_entropy == pytest.approx(expected[snr].cross_entropy, rel=1e-4)
    assert decode(entrant, SENTENCES, Numbers(), meeting(seed=1))[0].cross_entropy != expected[0.0].cross_entropy


def test_scores_by_hand():
    sentences = encoded(3, 3, 3)
    decoded = perfect(sentences)
    assert scores(decoded, sentences) == {"bleu": pytest.approx(metrics.bleu(decoded.texts, decoded.texts)), "token_accuracy": 1.0, "exact": 1.0,
                                          "cross_entropy": 0.0, "sentences": 3}
    decoded.pieces[0] = [EOS + 1, *decoded.pieces[0][1:]]
    decoded.pieces[1] = []
    decoded.cross_entropy = [1.0, 2.0, 5.0]
    row = scores(decoded, sentences)
    assert row["token_accuracy"] == pytest.approx((3 + 0 + 4) / 12) and row["exact"] == pytest.approx(1 / 3)
    assert row["cross_entropy"] == pytest.approx(8 / 12)
    part = scores(decoded, sentences, [0, 1])
    assert part["exact"] == 0 and part["sentences"] == 2 and part["cross_entropy"] == pytest.approx(3 / 8)


def test_scores_take_hypotheses_and_references_the_right_way_round():
    sentences = [type(e)(Sentence(i, "one two three four five six seven"), e.source) for i, e in enumerate(encoded(2, 3, 3))]
    decoded = Decoded(["one two three four", "one two three four five"], [[5], [6]], [0.0, 0.0])
    assert scores(decoded, sentences)["bleu"] == pytest.approx(metrics.bleu(decoded.texts, [e.sentence.text for e in sentences]))


def test_rows_of_topics_and_of_seen_ones(models):
    topical = [type(e)(Sentence(e.sentence.id, e.sentence.text, ("trade", "energy", "health")[i % 3]), e.source)
               for i, e in enumerate(SENTENCES)]
    rows, decodings = evaluate([Entrant("a", models[0], frozenset({"trade"})), Entrant("b", models[1])], topical, Numbers(), meeting())
    found = {(r["model"], r["snr"], r["topic"]): r for r in rows}
    assert {t for m, s, t in found if m == "a"} == {"", "trade", "energy", "health", "(seen)", "(not seen)"}
    assert {t for m, s, t in found if m == "b"} == {t for m, s, t in found if m == "a"}  # one partition for all
    assert len(found) == len(rows) == 2 * (6 + 6) and set(decodings) == {"a", "b"}
    assert all(r["channel"] == "rayleigh zf" for r in rows)
    for snr in SNRS:
        whole = found["a", snr, ""]
        assert whole["sentences"] == 30 and found["a", snr, "(not seen)"]["sentences"] == 20
        assert found["a", snr, "(seen)"] | {"topic": ""} == found["a", snr, "trade"] | {"topic": ""}
        by_topic = sum(found["a", snr, t]["exact"] * 10 for t in ("trade", "energy", "health"))
        assert by_topic == pytest.approx(whole["exact"] * 30)


def test_floor_is_the_score_of_another_sentence_of_the_same_length():
    row = floor(encoded(400, 3, 5))
    # Of 20 kinds of piece one in 20 agrees by chance, and eos always does.
    tokens = [len(e.source) - 1 for e in encoded(400, 3, 5)]
    chance = (sum(tokens) - 400) / 20
    assert row["token_accuracy"] == pytest.approx((400 + chance) / sum(tokens), abs=5 * math.sqrt(2 * chance) / sum(tokens))
    assert row["exact"] < 0.02 and row["cross_entropy"] is None and row["sentences"] == 400


def test_a_model_does_not_diverge_from_itself(models):
    row = compare(Entrant("a", models[0]), [Entrant("b", models[0])], SENTENCES, Numbers(), meeting())["b"]["12"]
    for name in ("kl_divergence", "cross_entropy_gap", "semantic_difference_score", "representation_distance", "kl_reference_prefix"):
        assert row[name] == 0, name
    assert row["js_divergence"] == pytest.approx(0, abs=1e-6) and row["agreement_rate"] == 1 and row["bleu"] == row["reference_bleu"]
    assert row["bleu_to_reference"] == pytest.approx(100)


def test_divergence_against_a_loop_over_sentences(models):
    reference, other = models
    found = compare(Entrant("a", reference), [Entrant("b", other)], SENTENCES, Numbers(), meeting())["b"]
    assert list(found) == ["0", "12"]
    for snr in SNRS:
        sums = dict.fromkeys(("kl", "agree", "gap", "distance", "own"), 0.0)
        rows = own_rows = 0
        for sentence in SENTENCES:
            batch = collate([sentence])
            with torch.no_grad():
                received = [through(m, batch, RAYLEIGH, snr) for m in models]
                own = greedy(reference.receiver, received[0], batch.source_mask)[0]
                for prefix, gold in ((batch.target_in, True), (torch.tensor([[BOS, *own]]), False)):
                    states = [m.receiver(y, batch.source_mask, prefix)[0] for m, y in zip(models, received)]
                    p, q = (m.receiver.project(s).double().log_softmax(-1) for m, s in zip(models, states))
                    kl = F.kl_div(q, p, reduction="sum", log_target=True).item()
                    if not gold:
                        sums["own"] += kl
                        own_rows += len(p)
                        continue
                    rows += len(p)
                    sums["kl"] += kl
                    sums["agree"] += (p.argmax(-1) == q.argmax(-1)).sum().item()
                    sums["gap"] += (p - q).gather(-1, batch.target_out[0][:, None]).sum().item()
                    sums["distance"] += (states[0] - states[1]).square().mean(-1).sum().item()
        row = found[f"{snr:g}"]
        assert row["kl_divergence"] == pytest.approx(sums["kl"] / rows, rel=1e-4)
        assert row["agreement_rate"] == pytest.approx(sums["agree"] / rows)
        assert row["cross_entropy_gap"] == pytest.approx(sums["gap"] / rows, rel=1e-3, abs=1e-4)
        assert row["representation_distance"] == pytest.approx(sums["distance"] / rows, rel=1e-4)
        assert row["kl_reference_prefix"] == pytest.approx(sums["own"] / own_rows, rel=1e-4)
        assert row["semantic_difference_score"] == pytest.approx(row["kl_divergence"] * (1 - row["agreement_rate"]))


def test_states_of_unequal_width_have_no_distance(models):
    narrow = transceiver(size(1, 8, 2, 8), size(1, 8, 2, 8))
    row = compare(Entrant("a", models[0]), [Entrant("b", narrow)], SENTENCES, Numbers(), meeting(snrs=(6.0,)))["b"]["6"]
    assert row["representation_distance"] is None and row["kl_divergence"] > 0


def test_hybrids_fail_the_same_way_on_the_same_fades(models):
    """Draws belong to sentences: the losses of two runs of one model agree sentence by sentence, whatever runs beside it."""
    alone = evaluate([Entrant("a", models[0])], SENTENCES, Numbers(), meeting())[1]["a"]
    beside = evaluate([Entrant("b", models[1]), Entrant("a", models[0])], SENTENCES[::-1], Numbers(), meeting(5))[1]["a"]
    for first, second in zip(alone, beside):
        assert first.pieces == second.pieces[::-1]
        assert first.cross_entropy == pytest.approx(second.cross_entropy[::-1], rel=1e-4)


def test_the_longest_sentence_that_never_ends_is_compared_too():
    """Its decoding fills all positions, and is read again behind a bos."""
    model = transceiver(size(1), size(1))
    with torch.no_grad():
        model.receiver.decoder.projection.bias[EOS] = -1e4
    row = compare(Entrant("a", model), [Entrant("b", model)], encoded(2, 700, 700), Numbers(), meeting(snrs=(12.0,)))["b"]["12"]
    assert row["kl_reference_prefix"] == 0
