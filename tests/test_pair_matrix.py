"""Every transmitter into every receiver, against a loop over single sentences; what is encoded how often; and
the cache."""

import io
import math
import pickle
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import sacrebleu
import torch
import torch.nn.functional as F
from toy import CPU, C, Numbers, encoded, sharp, size, spoken, through, transceiver

from semcom.base import locks, output_files
from semcom.base.errors import SemcomError
from semcom.base.progress import Progress
from semcom.channel.channels import AWGN, Ideal, Rayleigh
from semcom.data.batching import collate
from semcom.data.vocabulary import BOS, EOS
from semcom.evaluation import pair_matrix, text_metrics
from semcom.evaluation.batch_sums import Measurement
from semcom.evaluation.cache import digest_of, part_key, read_parts
from semcom.evaluation.measures import columns
from semcom.evaluation.measures import of_sums as measures
from semcom.evaluation.pair_matrix import measure
from semcom.evaluation.pairs import DECIBEL, End, Pair
from semcom.evaluation.scores import Meeting
from semcom.models.checkpoint import fingerprint_of
from semcom.models.decoding import Search, greedy, length_limit

COLUMNS = columns()
PLACE = {name: place for place, name in enumerate(COLUMNS)}
SNRS = (0.0, 12.0)
SENTENCES = encoded(14, 3, 9)
RAYLEIGH, GREEDY = Rayleigh(), Search()
DIVERGENCES = (
    "kl_divergence",
    "js_divergence",
    "agreement_rate",
    "kl_reference_prefix",
    "representation_distance",
    "bleu_to_reference",
    "kl_calibrated",
)


def meeting(batch_size=8, snrs=SNRS, seed=0, channel=RAYLEIGH, search=GREEDY):
    return Meeting(channel, snrs, seed, CPU, batch_size, quiet=True, search=search)


class Model:
    """A transceiver's two ends."""

    def __init__(self, label, model):
        self.model = model
        self.transmitter = End(label, model.transmitter, fingerprint_of(model.transmitter))
        self.receiver = End(label, model.receiver, fingerprint_of(model.receiver))


T, S, N = (
    Model("teacher", sharp()),
    Model("student", sharp(noise=0.3)),
    Model("narrow", sharp(size(1, 8, 2, 8), size(1, 8, 2, 8), seed=3)),
)
TT, ST, TS, SS = (Pair(a.transmitter, b.receiver) for b in (T, S) for a in (T, S))
NOISE = Pair(T.transmitter, T.receiver, 1)
PAIRS = [TT, NOISE, ST, TS, SS, Pair(T.transmitter, N.receiver), Pair(N.transmitter, N.receiver)]
TEMPERATURES = dict(zip((pair.key for pair in PAIRS[:-1]), (1.0, 1.2, 0.7, 3.0, 0.2, 15.0)))
"""None of the last pair was fitted."""


def found_of(
    pairs=PAIRS,
    reference=TT,
    sentences=SENTENCES,
    given=None,
    kept_in=None,
    said=None,
    cka_snr=12.0,
    temperatures=TEMPERATURES,
):
    at = {"cka_snr": cka_snr, "cache": kept_in, "temperatures": temperatures}
    with spoken() as lines:
        found = measure(pairs, reference, sentences, Numbers(), given or meeting(), **at)
    if said is not None:
        said += lines
    return found


@pytest.fixture(scope="module")
def found():
    return found_of()


@pytest.fixture
def calls():
    """Sentences that went through each module, by fingerprint; of receivers those decoded and
    teacher-forced."""
    counted, hooks = Counter(), []
    for model in (T, S, N):
        for end, part in ((model.transmitter, "encoder"), (model.receiver, "channel_decoder")):

            def count(module, given, key=end.fingerprint):
                counted[key] += len(given[0])

            hooks.append(getattr(end.module, part).register_forward_pre_hook(count))
    yield counted
    for hook in hooks:
        hook.remove()


def column(sums, name):
    return sums[..., PLACE[name]]


def same(one, other, exactly=True):
    """Whether two ``Measured`` hold the same."""
    assert one.pairs.keys() == other.pairs.keys() and one.sent.keys() == other.sent.keys()
    close = (
        np.testing.assert_array_equal
        if exactly
        else lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    )
    for key, heard in one.pairs.items():
        assert heard.pieces == other.pairs[key].pieces
        assert heard.temperature == other.pairs[key].temperature
        close(heard.sums, other.pairs[key].sums)
        assert heard.cka == (
            other.pairs[key].cka if exactly else pytest.approx(other.pairs[key].cka, rel=1e-3)
        )
    for key, sent in one.sent.items():
        close(sent.distance, other.sent[key].distance)
        assert sent.cka == (other.sent[key].cka if exactly else pytest.approx(other.sent[key].cka, rel=1e-3))
        close(np.sort(sent.symbols, axis=0), np.sort(other.sent[key].symbols, axis=0))


# Against a loop


@cache
def heard(pair, number, snr):
    """What arrives of one sentence, and its decoding."""
    batch = collate([SENTENCES[number]])
    with torch.no_grad():
        received = through(Spliced(pair), batch, RAYLEIGH, snr, number=pair.draw)
    return received, greedy(pair.receiver.module, received, batch.source_mask)[0]


@cache
def alone(pair, number, snr, reference=TT):
    """All columns of one sentence, in float64 behind the decoder's states."""
    sentence = SENTENCES[number]
    batch = collate([sentence])
    (y, its), (z, own) = heard(reference, number, snr), heard(pair, number, snr)
    with torch.no_grad():
        rows = {}
        for on, prefix in (("gold", batch.target_in), ("own", torch.tensor([[BOS, *its]]))):
            states = [
                p.receiver.module(received, batch.source_mask, prefix)[0]
                for p, received in ((reference, y), (pair, z))
            ]
            rows[on] = (
                states,
                [
                    p.receiver.module.project(s).double().softmax(-1)
                    for p, s in zip((reference, pair), states)
                ],
            )
    (ours, theirs), (p, q) = rows["gold"]
    m, said = (p + q) / 2, sentence.source[1:-1]
    texts = [Numbers().decode([pieces])[0] for pieces in (own, its)]
    values = {
        "tokens": len(said) + 1,
        "targets": len(said) + 1,
        "sentences": 1,
        "matches": sum(own[i] == said[i] for i in range(min(len(own), len(said)))) + (len(own) == len(said)),
        "nats": -q.gather(-1, batch.target_out[0][:, None]).log().sum().item(),
        "kl": (p * (p / q).log()).sum().item(),
        "js": ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()).item() / 2,
        "agree": (p.argmax(-1) == q.argmax(-1)).sum().item(),
        "distance": (ours - theirs).square().mean(-1).sum().item()
        if ours.shape == theirs.shape
        else math.nan,
        "calibrated_kl": calibrated(p, q, TEMPERATURES.get(pair.key, math.nan)),
        "own_tokens": len(its) + 1,
        "own_kl": (rows["own"][1][0] * (rows["own"][1][0] / rows["own"][1][1]).log()).sum().item(),
    }
    for to, against in (("sent", sentence.sentence.text), ("reference", texts[1])):
        values |= {
            f"{to}_{name}": value
            for name, value in zip(
                text_metrics.BLEU_COLUMNS, text_metrics.bleu_statistics([texts[0]], [against])[0]
            )
        }
    counts = text_metrics.chrf_statistics([texts[0]], [sentence.sentence.text])[0]
    values |= {f"sent_{name}": count for name, count in zip(text_metrics.CHRF_COLUMNS, counts)}
    # Texts of toys are their pieces.
    values |= dict.fromkeys(("sent_exact", "sent_exact_as_written"), float(own == said))
    return values, own


def calibrated(p, q, temperature):
    """KL(p || q^(1/T) / its sum), summed over rows."""
    flattened = q ** (1 / temperature)
    return (p * (p * flattened.sum(-1, keepdim=True) / flattened).log()).sum().item()


class Spliced:
    """What ``toy.through`` asks of a model."""

    def __init__(self, pair):
        self.transmitter, self.architecture = pair.transmitter.module, T.model.architecture


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p.transmitter.label}-{p.receiver.label}-{p.draw}")
def test_sums_are_those_of_each_sentence_alone(found, pair):
    heard = found.pairs[pair.key]
    assert heard.sums.shape == (2, 14, len(COLUMNS)) and len(set(map(len, heard.pieces[0]))) > 2
    for k, snr in enumerate(SNRS):
        for i in range(len(SENTENCES)):
            values, pieces = alone(pair, i, snr)
            assert heard.pieces[k][i] == pieces
            assert set(values) == set(COLUMNS)
            assert dict(zip(COLUMNS, heard.sums[k, i].tolist())) == pytest.approx(
                values, rel=1e-3, abs=1e-4, nan_ok=True
            ), (snr, i)


def test_progress_is_of_pairs_by_snrs_by_sentences(tmp_path, monkeypatch):
    done = []

    class Counted(Progress):
        def __init__(self, total, doing, **other):
            super().__init__(total, doing, **other)
            done.append((total, []))

        def advance(self, number=1):
            done[-1][1].append(number)

    monkeypatch.setattr(pair_matrix, "Progress", Counted)
    for pairs in ([TT], [TT, TS]):  # the former's is in the cache by then
        found_of(pairs, kept_in=tmp_path)
    assert [total for total, _ in done] == [1 * 2 * 14, 2 * 2 * 14] == [sum(each) for _, each in done]
    assert done[0][1] == [0, 8, 8, 6, 6, 0], "at each SNR of each batch"


def test_what_is_said_as_it_was_sent_is_neither_decoded_nor_foretold_again(found, calls):
    """Of decodings and what is foretold after them it makes no difference what was to be said."""
    wanted = [
        replace(sentence, target=said) if place % 2 else sentence
        for place, (sentence, said) in enumerate(zip(SENTENCES, found.pairs[TT.key].pieces[1]))
    ]
    again = found_of(pairs=[TT, TS], sentences=wanted)
    right = {}
    for pair in (TT, TS):
        ours, before = again.pairs[pair.key], found.pairs[pair.key]
        assert ours.pieces == before.pieces
        for name in ("own_tokens", "own_kl"):
            of_both = [column(of.sums, name) for of in (ours, before)]
            np.testing.assert_allclose(*of_both, rtol=1e-4, atol=1e-5)
        each = [(pieces, e) for by_snr in ours.pieces for pieces, e in zip(by_snr, wanted)]
        right[pair] = [e for pieces, e in each if pieces == e.said[1:-1]]
    # Who is cut off at the limit has not foretold the end.
    ended = {p: [e for e in of if len(e.said) - 2 < length_limit(len(e.source))] for p, of in right.items()}
    assert len(right[TT]) >= 7 and ended[TT]
    assert calls[T.receiver.fingerprint] == 28 + (28 - len(ended[TT])) + (28 - len(right[TT]))
    assert calls[S.receiver.fingerprint] == 28 + (28 - len(ended[TS])) + (28 - len(right[TT]))


@pytest.mark.parametrize("pair", [TT, NOISE, TS, SS], ids=["TT", "noise", "TS", "SS"])
def test_measures_are_means_over_tokens_and_corpus_bleu(found, pair):
    for k, snr in enumerate(SNRS):
        rows = [alone(pair, i, snr)[0] for i in range(len(SENTENCES))]
        of_all = {name: sum(row[name] for row in rows) for name in COLUMNS}
        texts, theirs = (Numbers().decode(found.pairs[p.key].pieces[k]) for p in (pair, TT))
        row = {name: float(value[k]) for name, value in measures(found.pairs[pair.key].sums.sum(1)).items()}
        by_token = {
            "token_accuracy": "matches",
            "cross_entropy": "nats",
            "kl_divergence": "kl",
            "js_divergence": "js",
            "agreement_rate": "agree",
            "representation_distance": "distance",
        }
        expected = {
            **{measure: of_all[name] / of_all["tokens"] for measure, name in by_token.items()},
            "exact": of_all["sent_exact"] / 14,
            "exact_as_written": of_all["sent_exact"] / 14,
            "chrf": sacrebleu.CHRF(word_order=2)
            .corpus_score(texts, [[e.sentence.text for e in SENTENCES]])
            .score,
            "kl_reference_prefix": of_all["own_kl"] / of_all["own_tokens"],
            "kl_calibrated": of_all["calibrated_kl"] / of_all["tokens"],
            "bleu": sacrebleu.corpus_bleu(texts, [[e.sentence.text for e in SENTENCES]]).score,
            "bleu_to_reference": sacrebleu.corpus_bleu(texts, [theirs]).score,
        }
        assert (
            row == pytest.approx(expected, rel=1e-4, abs=1e-6)
            and row["bleu"] > 0
            and row["bleu_to_reference"] > 1
        )
    # Any set of sentences, and many at once.
    sums = found.pairs[pair.key].sums
    halves = measures(np.stack([sums[:, :7].sum(1), sums[:, 7:].sum(1)]))
    assert halves["kl_divergence"].shape == (2, 2)
    assert halves["bleu"][1, 0] == pytest.approx(
        sacrebleu.corpus_bleu(
            Numbers().decode(found.pairs[pair.key].pieces[0][7:]), [[e.sentence.text for e in SENTENCES[7:]]]
        ).score
    )


def test_a_pair_does_not_diverge_from_itself(found):
    row = measures(found.pairs[TT.key].sums.sum(1))
    for name in ("kl_divergence", "representation_distance", "kl_reference_prefix", "kl_calibrated"):
        assert (row[name] == 0).all(), name
    assert (row["agreement_rate"] == 1).all() and row["bleu_to_reference"] == pytest.approx([100, 100])
    assert row["js_divergence"] == pytest.approx([0, 0], abs=1e-6)
    assert (
        found.pairs[TT.key].cka == pytest.approx(1)
        and (found.sent[T.transmitter.fingerprint].distance == 0).all()
    )


def test_equal_weights_in_another_end_do_not_diverge_either():
    """Not by being recognised as the reference: it is measured like any other."""
    copy = Pair(replace(T.transmitter, fingerprint="copy"), replace(T.receiver, fingerprint="copy"))
    found = found_of([TT, copy], temperatures={TT.key: 1.0, copy.key: 1.0})
    np.testing.assert_array_equal(column(found.pairs[copy.key].sums, "kl"), 0)
    np.testing.assert_array_equal(found.pairs[copy.key].sums, found.pairs[TT.key].sums)
    assert found.sent["copy"].cka == pytest.approx(1) and (found.sent["copy"].distance == 0).all()


def test_another_draw_is_another_channel(found):
    ours, noise = (found.pairs[pair.key].sums for pair in (TT, NOISE))
    assert (column(noise, "kl")[0] > 0).all() and (column(noise, "nats") != column(ours, "nats")).all()
    at_low, at_high = measures(noise.sum(1))["kl_divergence"]
    assert at_low > at_high > 0, "the more noise, the more two draws differ"


def test_over_an_ideal_channel_draws_and_snrs_are_nothing():
    at_one = {pair.key: 1.0 for pair in (TT, NOISE, SS)}
    found = found_of([TT, NOISE, SS], given=meeting(channel=Ideal()), temperatures=at_one)
    np.testing.assert_array_equal(found.pairs[TT.key].sums, found.pairs[NOISE.key].sums)
    np.testing.assert_array_equal(found.pairs[SS.key].sums[0], found.pairs[SS.key].sums[1])


def test_beam_search_is_used_where_it_is_asked_for(found):
    wide = found_of([TT], given=meeting(search=Search(3, 0.6)))
    assert wide.pairs[TT.key].pieces != found.pairs[TT.key].pieces
    batch = collate(SENTENCES[:1])
    received = through(T.model, batch, RAYLEIGH, 0.0)
    assert wide.pairs[TT.key].pieces[0][0] == Search(3, 0.6)(T.model.receiver, received, batch.source_mask)[0]
    assert (
        column(wide.pairs[TT.key].sums, "own_tokens")[0] == [len(p) + 1 for p in wide.pairs[TT.key].pieces[0]]
    ).all()


@dataclass(frozen=True)
class Oracle(Search):
    """Knows what was sent by its number of tokens, and loses the last piece of the longest sentence."""

    def __call__(self, receiver, received, mask):
        said = {len(e.source): e.source[1:-1] for e in LADDER}
        return [said[n][: 8 if n == 11 else None] for n in mask.sum(1).tolist()]


LADDER = [encoded(1, n, n)[0] for n in range(3, 10)]


def test_perfect_decodings_and_one_that_is_not():
    """Of 42 pieces and 7 ends, two tokens go with a piece that is missing: it and the end in its place."""
    row = {
        name: float(value[0])
        for name, value in measures(
            found_of([TT], sentences=LADDER, given=meeting(search=Oracle())).pairs[TT.key].sums[:, :7].sum(1)
        ).items()
    }
    assert (
        row["exact"] == 6 / 7
        and row["token_accuracy"] == 47 / 49
        and 90 < row["bleu"] < 100
        and row["bleu_to_reference"] == pytest.approx(100)
    )


# Signals and states


def test_distance_of_signals_and_constellation(found):
    ours, theirs = (
        [
            end.module(batch.source, batch.source_mask)[0][0].detach()
            for batch in (collate([e]) for e in SENTENCES)
        ]
        for end in (T.transmitter, S.transmitter)
    )
    sent = found.sent[S.transmitter.fingerprint]
    expected = [(a - b).square().sum().item() / (len(a) * C / 2) for a, b in zip(ours, theirs)]
    assert sent.distance == pytest.approx(expected, rel=1e-4) and 0.1 < min(expected)
    symbols = torch.cat([signal.reshape(-1, 2) for signal in theirs])
    assert sent.symbols.shape == symbols.shape and (sent.symbols**2).sum(1).mean() == pytest.approx(
        1, rel=1e-5
    )
    np.testing.assert_allclose(sorted(sent.symbols.tolist()), sorted(symbols.tolist()), rtol=0, atol=1e-4)


def test_independent_signals_are_two_apart():
    """Each of power 1: E|a - b|^2 = 2 - 2 Re E[a b*]. The sign of a random code of 16 independent noise
    tokens."""

    class Noise(torch.nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.generator = torch.Generator().manual_seed(seed)

        def forward(self, source, mask):
            signal = torch.randn(*source.shape, C, generator=self.generator) * mask[..., None] / 2**0.5
            return signal, signal

    ends = [End(str(seed), Noise(seed), str(seed)) for seed in (1, 2)]
    sentences = encoded(200, 16, 16)
    found = found_of(
        [Pair(ends[0], T.receiver), Pair(ends[1], T.receiver)],
        Pair(ends[0], T.receiver),
        sentences,
        meeting(50, (12.0,)),
    )
    # 200 sentences of 18 tokens and 4 symbols, each |a - b|^2 of mean and deviation 2.
    assert found.sent["2"].distance.mean() == pytest.approx(2, abs=3 * 2 / math.sqrt(200 * 18 * 4))
    assert (
        pair_matrix.SHOWN_SYMBOLS / 2 < len(found.sent["2"].symbols) <= pair_matrix.SHOWN_SYMBOLS
        and abs(found.sent["2"].cka) < 0.1
    )


def test_likeness_of_states(found):
    def states(pair, of):
        rows = []
        for batch in (collate([e]) for e in SENTENCES):
            with torch.no_grad():
                if of == "encoder":
                    rows.append(pair.transmitter.module(batch.source, batch.source_mask)[1][0])
                else:
                    received = through(Spliced(pair), batch, RAYLEIGH, 12.0, number=pair.draw)
                    rows.append(pair.receiver.module(received, batch.source_mask, batch.target_in)[0])
        return torch.cat(rows).numpy()

    for pair in PAIRS:
        assert found.pairs[pair.key].cka == pytest.approx(
            text_metrics.cka(states(TT, "decoder"), states(pair, "decoder")), rel=1e-3
        )
        assert found.sent[pair.transmitter.fingerprint].cka == pytest.approx(
            text_metrics.cka(states(TT, "encoder"), states(pair, "encoder")), rel=1e-3
        )
    low = found_of([TT, SS], cka_snr=0.0)
    assert low.pairs[SS.key].cka != pytest.approx(found.pairs[SS.key].cka, rel=1e-3)


# What must not matter


def test_each_transmitter_encodes_each_sentence_once(calls, monkeypatch):
    monkeypatch.setattr(pair_matrix, "CHUNK", 5)
    found_of([TT, NOISE, ST, TS, SS], given=meeting(snrs=(0.0, 6.0, 12.0, 18.0)))
    assert {
        fingerprint: calls[fingerprint]
        for fingerprint in (T.transmitter.fingerprint, S.transmitter.fingerprint)
    } == {T.transmitter.fingerprint: 14, S.transmitter.fingerprint: 14}
    assert calls[N.transmitter.fingerprint] == calls[N.receiver.fingerprint] == 0


@pytest.mark.parametrize("batch_size", [3, 14])
def test_batch_size_changes_nothing(found, batch_size):
    same(found, found_of(given=meeting(batch_size)), exactly=False)


def test_chunks_change_no_sums(found, monkeypatch):
    monkeypatch.setattr(pair_matrix, "CHUNK", 6)
    cut = found_of()
    first = found_of(sentences=SENTENCES[:6])
    for pair in PAIRS:
        heard, expected = cut.pairs[pair.key], found.pairs[pair.key]
        assert heard.pieces == expected.pieces
        np.testing.assert_allclose(heard.sums, expected.sums, rtol=1e-3, atol=1e-4)
        assert heard.cka == first.pairs[pair.key].cka, "of the first chunk alone"
    for end, sent in cut.sent.items():
        np.testing.assert_allclose(sent.distance, found.sent[end].distance, rtol=1e-4)
        np.testing.assert_array_equal(sent.symbols, first.sent[end].symbols)


def test_order_of_sentences_and_pairs_changes_nothing(found):
    turned = found_of(PAIRS[::-1], sentences=SENTENCES[::-1])
    for heard in turned.pairs.values():
        heard.sums, heard.pieces = heard.sums[:, ::-1], [by_snr[::-1] for by_snr in heard.pieces]
    for sent in turned.sent.values():
        sent.distance = sent.distance[::-1]
    same(found, turned, exactly=False)


@pytest.mark.parametrize(
    "pairs", [[SS], [TT, NOISE, TS], [NOISE, SS]], ids=["one", "with reference", "with noise"]
)
def test_other_pairs_and_the_reference_beside_a_pair_change_nothing(found, pairs):
    """The reference need not be measured itself to be compared with."""
    few = found_of(pairs)
    assert list(few.pairs) == [pair.key for pair in pairs]
    for pair in pairs:
        np.testing.assert_allclose(few.pairs[pair.key].sums, found.pairs[pair.key].sums, rtol=1e-3, atol=1e-4)
        assert few.pairs[pair.key].pieces == found.pairs[pair.key].pieces and few.pairs[
            pair.key
        ].cka == pytest.approx(found.pairs[pair.key].cka)


def test_snrs_share_their_draw_and_do_not_touch_each_other(found):
    more = found_of(given=meeting(snrs=(12.0, -6.0, 0.0)))
    for pair in PAIRS:
        np.testing.assert_allclose(
            more.pairs[pair.key].sums[[2, 0]], found.pairs[pair.key].sums, rtol=1e-3, atol=1e-4
        )
        assert more.pairs[pair.key].cka == pytest.approx(found.pairs[pair.key].cka, rel=1e-3)


# Where there is nothing to compare


def test_without_a_reference_there_are_text_measures_alone(found):
    lone = found_of([TT, SS], None)
    for pair in (TT, SS):
        row, expected = (measures(f.pairs[pair.key].sums.sum(1)) for f in (lone, found))
        for name, value in row.items():
            assert (
                np.isnan(value).all()
                if name in DIVERGENCES
                else value == pytest.approx(expected[name], rel=1e-4)
            ), name
        assert lone.pairs[pair.key].cka is None and lone.sent[pair.transmitter.fingerprint].cka is None
        assert np.isnan(lone.sent[pair.transmitter.fingerprint].distance).all() and len(
            lone.sent[pair.transmitter.fingerprint].symbols
        )


def test_states_of_unequal_width_have_no_distance(found):
    row = measures(found.pairs[Pair(T.transmitter, N.receiver).key].sums.sum(1))
    assert np.isnan(row["representation_distance"]).all()
    assert (
        all(np.isfinite(value).all() for name, value in row.items() if name != "representation_distance")
        and (row["kl_divergence"] > 0).all()
    )


def test_the_longest_sentence_that_never_ends_is_compared_too():
    """Its decoding fills all positions, and is read again behind a bos."""
    model = transceiver(size(1), size(1))
    with torch.no_grad():
        model.receiver.decoder.projection.bias[EOS] = -1e4
    endless = Model("endless", model)
    pair = Pair(endless.transmitter, endless.receiver)
    found = found_of([pair], pair, encoded(1, 700, 700), meeting(snrs=(12.0,)))
    assert measures(found.pairs[pair.key].sums.sum(1))["kl_reference_prefix"] == [0]


def test_topics_that_both_ends_have_seen():
    one, other = (
        replace(T.transmitter, seen_topics=frozenset("ab")),
        replace(T.receiver, seen_topics=frozenset("bc")),
    )
    assert (
        Pair(one, other).seen_topics == {"b"}
        and Pair(one, T.receiver).seen_topics is None
        and Pair(T.transmitter, other).seen_topics is None
    )


# The cache


@pytest.fixture
def chunked(monkeypatch):
    monkeypatch.setattr(pair_matrix, "CHUNK", 3)


FEW = [TT, NOISE, SS]
LITTLE = SENTENCES[:9]


def little(pairs=FEW, reference=TT, sentences=LITTLE, **given):
    return found_of(pairs, reference, sentences, **given)


def kept(folder):
    return sorted(folder.glob("*.npz"))


@pytest.fixture(scope="module")
def little_kept(tmp_path_factory):
    """What ``little`` measures, and a folder in which it is kept."""
    folder = tmp_path_factory.mktemp("little")
    return little(kept_in=folder), folder


@pytest.fixture
def measured(little_kept, tmp_path):
    """What ``little`` measures, kept in ``tmp_path``."""
    found, folder = little_kept
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return found


def test_a_second_call_reads_everything(tmp_path, calls, chunked):
    said = []
    first = little(PAIRS, kept_in=tmp_path, said=said)
    assert len(kept(tmp_path)) == 3 * len(PAIRS)
    same(first, little(PAIRS))
    calls.clear()
    same(first, little(PAIRS, kept_in=str(tmp_path), said=said))
    assert not calls and not said


def test_another_process_waits_while_a_chunk_is_measured(tmp_path, calls, chunked, monkeypatch):
    plain, seen = pair_matrix._measure_chunk, []

    def watched(*given):
        held = [path for path in tmp_path.glob(".measured_*.lock") if is_held(path)]
        seen.append(len(held))
        return plain(*given)

    def is_held(path):
        try:
            with locks.hold("cache", tmp_path / path.name.removeprefix(".").removesuffix(".lock")):
                return False
        except SemcomError:
            return True

    monkeypatch.setattr(pair_matrix, "_measure_chunk", watched)
    little(kept_in=tmp_path)
    assert seen == [1, 1, 1] and not any(map(is_held, tmp_path.glob(".measured_*.lock")))
    dead = tmp_path / f".{kept(tmp_path)[0].name}.abcdefgh.tmp"
    dead.write_text("")
    little(kept_in=tmp_path)
    assert not dead.exists() and len(seen) == 3


def test_without_a_cache_nothing_is_kept(here):
    little()
    assert not list(here.iterdir())


def test_without_a_reference_it_is_kept_too(tmp_path, calls):
    first = little(reference=None, kept_in=tmp_path)
    calls.clear()
    again = little(reference=None, kept_in=tmp_path)
    same(first, again)
    assert not calls
    little(kept_in=tmp_path)
    assert calls, "beside a reference it is another measurement"


def test_an_interrupted_run_goes_on(tmp_path, calls, chunked, monkeypatch):
    expected, measure_chunk, begun = little(), pair_matrix._measure_chunk, []

    def interrupted(*given, **named):
        begun.append(1)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return measure_chunk(*given, **named)

    monkeypatch.setattr(pair_matrix, "_measure_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        little(kept_in=tmp_path)
    assert len(kept(tmp_path)) == 3
    calls.clear()
    same(expected, little(kept_in=tmp_path))
    assert calls[T.transmitter.fingerprint] == calls[S.transmitter.fingerprint] == 6


def test_one_more_pair_is_measured_alone(tmp_path, calls):
    little([TT, NOISE, SS], kept_in=tmp_path)
    calls.clear()
    more = little([TT, NOISE, SS, TS], kept_in=tmp_path)
    assert calls[T.transmitter.fingerprint] == 9 and calls[S.transmitter.fingerprint] == 0
    once = calls[S.receiver.fingerprint]
    assert calls[T.receiver.fingerprint] == once, "the reference is heard once more to compare with"
    calls.clear()
    little([TS], kept_in=None)
    assert calls[S.receiver.fingerprint] == once
    np.testing.assert_allclose(more.pairs[TS.key].sums, little([TS]).pairs[TS.key].sums, rtol=1e-3, atol=1e-4)


class Bomb:
    """Would create a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def arrays(path):
    with np.load(path) as stored:
        return dict(stored)


def packed(**content):
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    return buffer.getvalue()


def redigested(**content):
    """As ``packed``, with the digest of what it now holds."""
    content.pop("digest", None)
    return packed(**content, digest=np.array(digest_of(content)))


def npy(value):
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def bomb(path):
    return np.array([Bomb(path.with_name("owned"))], dtype=object)


SPOILED = {
    "empty": lambda path, other: b"",
    "text": lambda path, other: b"not a measurement\n" * 9,
    "cut": lambda path, other: path.read_bytes()[:-30],
    "halved": lambda path, other: path.read_bytes()[: path.stat().st_size // 2],
    "of another pair": lambda path, other: other.read_bytes(),
    "pickle": lambda path, other: pickle.dumps(Bomb(path.with_name("owned"))),
    "npy of objects": lambda path, other: npy(bomb(path)),
    "npy": lambda path, other: npy(np.zeros(3)),
    "npz of objects": lambda path, other: packed(**arrays(path) | {"sums": bomb(path)}),
    "pieces as objects": lambda path, other: packed(**arrays(path) | {"pieces": bomb(path)}),
    "key as objects": lambda path, other: packed(**arrays(path) | {"key": bomb(path)}),
    "an array missing": lambda path, other: packed(
        **{name: value for name, value in arrays(path).items() if name != "cka"}
    ),
    "other sums": lambda path, other: packed(**arrays(path) | {"sums": arrays(path)["sums"] * 1.5}),
    "other pieces": lambda path, other: packed(**arrays(path) | {"pieces": arrays(path)["pieces"] + 1}),
    "other symbols": lambda path, other: packed(**arrays(path) | {"symbols": arrays(path)["symbols"] * 2}),
    "no digest": lambda path, other: packed(**arrays(path) | {"digest": np.array("")}),
    "fewer sentences": lambda path, other: redigested(
        **arrays(path) | {"sums": arrays(path)["sums"][:, :-1]}
    ),
    "another key": lambda path, other: redigested(**arrays(path) | {"key": arrays(other)["key"]}),
    "key no JSON": lambda path, other: redigested(**arrays(path) | {"key": np.array("{")}),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_part_is_measured_again_and_never_run(measured, tmp_path, calls, kind):
    path, other = kept(tmp_path)[:2]
    path.write_bytes(SPOILED[kind](path, other))
    calls.clear()
    said = []
    same(measured, little(kept_in=tmp_path, said=said), exactly=False)
    assert calls[T.transmitter.fingerprint] == 9 and not (tmp_path / "owned").exists()
    assert len(said) == 1 and path.name in said[0] and "measured again" in said[0] and "\n" not in said[0]
    calls.clear()
    same(measured, little(kept_in=tmp_path, said=said), exactly=False)
    assert not calls and len(said) == 1, "what was measured again stands in its place"


def test_a_flipped_bit_never_changes_what_is_read(tmp_path, calls):
    """One at a time: it is noticed, or nothing hangs on it (a date)."""
    found = little([SS], sentences=SENTENCES[:4], given=meeting(snrs=(12.0,)), kept_in=tmp_path)
    [path] = kept(tmp_path)
    whole, noticed = path.read_bytes(), 0
    places = np.random.default_rng(0).choice(len(whole), 150, replace=False)
    for place in places:
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << int(place) % 8
        path.write_bytes(spoiled)
        with spoken() as said:
            read = read_parts(tmp_path, *keyed(SENTENCES[:4], meeting(snrs=(12.0,))))
        noticed += not read
        if read:
            [(heard, sent)] = read.values()
            np.testing.assert_array_equal(heard.sums, found.pairs[SS.key].sums)
            assert heard.pieces == found.pairs[SS.key].pieces and said == []
    assert noticed > 100


def keyed(sentences, given):
    whole = Measurement([SS], TT, Numbers(), given, TEMPERATURES)
    return {SS.key: part_key(SS, whole, sentences, 12.0)}, sentences, given


class Others(Numbers):
    fingerprint = "other pieces"


CHANGES = {
    "seed": dict(given=meeting(seed=1)),
    "SNRs": dict(given=meeting(snrs=(1.0, 12.0))),
    "channel": dict(given=meeting(channel=AWGN())),
    "equalizer": dict(given=meeting(channel=Rayleigh("mmse"))),
    "search": dict(given=meeting(search=Search(2))),
    "length penalty": dict(given=meeting(search=Search(2, 0.5))),
    "one SNR less": dict(given=meeting(snrs=(12.0,))),
    "sentences": dict(sentences=encoded(9, 3, 9, seed=1)),
    "one sentence less": dict(sentences=LITTLE[:-1]),
    "reference": dict(reference=TS),
    "SNR of the states": dict(cka_snr=0.0),
    "order": dict(sentences=LITTLE[::-1]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_measured_under_other_conditions_is_not_reused(measured, tmp_path, calls, change):
    if change == "length penalty":
        little(given=meeting(search=Search(2)), kept_in=tmp_path)
    calls.clear()
    said = []
    changed = little(**CHANGES[change], kept_in=tmp_path, said=said)
    assert (
        calls[T.transmitter.fingerprint]
        == calls[S.transmitter.fingerprint]
        == len(CHANGES[change].get("sentences", LITTLE))
        and not said
    )
    same(changed, little(**CHANGES[change]))


def test_other_weights_are_not_taken_for_those_measured(tmp_path):
    """One number of one weight."""
    first = little(kept_in=tmp_path)
    model = sharp(noise=0.3)
    with torch.no_grad():
        model.receiver.decoder.projection.bias[5] += 1
    changed = Model("student", model)
    pair = Pair(changed.transmitter, changed.receiver)
    assert pair.key[0] == SS.key[0] and pair.key[1] != SS.key[1]
    again = little([TT, NOISE, pair], kept_in=tmp_path)
    assert (column(again.pairs[pair.key].sums, "kl") != column(first.pairs[SS.key].sums, "kl")).all()
    np.testing.assert_array_equal(again.pairs[TT.key].sums, first.pairs[TT.key].sums)


def test_another_temperature_costs_its_pair_alone(tmp_path, calls):
    little(kept_in=tmp_path)
    calls.clear()
    changed = {**TEMPERATURES, SS.key: 0.3}
    again = little(kept_in=tmp_path, temperatures=changed)
    assert calls[S.transmitter.fingerprint] == 9, "the student's own pair; the teacher's for comparison"
    same(again, little(temperatures=changed))
    assert [again.pairs[pair.key].temperature for pair in (TT, SS)] == [1.0, 0.3]
    del changed[SS.key]
    assert np.isnan(
        column(little(kept_in=tmp_path, temperatures=changed).pairs[SS.key].sums, "calibrated_kl")
    ).all()


def test_another_vocabulary_is_not_taken_for_this_one(tmp_path, calls):
    little(kept_in=tmp_path)
    calls.clear()
    measure(FEW, TT, LITTLE, Others(), meeting(), cka_snr=12.0, cache=tmp_path)
    assert calls[T.transmitter.fingerprint] == 9


def test_batch_size_and_labels_do_not_make_another_measurement(tmp_path, calls):
    little(kept_in=tmp_path)
    calls.clear()
    renamed = [
        Pair(replace(p.transmitter, label="x", seen_topics=frozenset("a")), p.receiver, p.draw) for p in FEW
    ]
    little(renamed, kept_in=tmp_path, given=meeting(3))
    assert not calls


def test_a_cache_that_cannot_be_written_does_not_stop_the_measurement(tmp_path, monkeypatch):
    expected, said = little(), []
    (tmp_path / "file").write_text("in the way")
    same(expected, little(kept_in=tmp_path / "file", said=said))
    assert len(said) == 1 and "cannot be written" in said[0] and "goes on" in said[0]

    def full(*_):
        raise SemcomError("disk: full")

    monkeypatch.setattr(output_files, "write_atomically", full)
    same(expected, little(kept_in=tmp_path / "new", said=said))
    assert len(said) == 2 and "disk: full" in said[1]


def test_pieces_of_empty_decodings_are_kept(tmp_path):
    """A receiver that says nothing, beside one that does."""
    model = sharp(noise=0.3)
    with torch.no_grad():
        model.receiver.decoder.projection.bias[EOS] = 1e4
    silent = Pair(T.transmitter, End("silent", model.receiver, "silent"))
    for pairs in ([TT, silent], [silent]):
        first, again = (little(pairs, kept_in=tmp_path) for _ in range(2))
        same(first, again)
    assert again.pairs[silent.key].pieces == [[[]] * 9] * 2
    row = measures(again.pairs[silent.key].sums.sum(1))
    assert (row["bleu"] == 0).all() and (row["bleu_to_reference"] == 0).all() and (row["exact"] == 0).all()


def test_a_loss_of_gold_pieces_is_cross_entropy():
    """Of F.cross_entropy, in one batch: what ``nats`` sums."""
    batch = collate(SENTENCES)
    with torch.no_grad():
        state = T.model.receiver(through(T.model, batch, RAYLEIGH, 12.0), batch.source_mask, batch.target_in)
        expected = F.cross_entropy(
            T.model.receiver.project(state[batch.target_mask]), batch.target_out[batch.target_mask]
        ).item()
    assert measures(found_of([TT]).pairs[TT.key].sums.sum(1))["cross_entropy"][1] == pytest.approx(
        expected, rel=1e-4
    )


# Yardsticks


DECIBEL_LESS = Pair(T.transmitter, T.receiver, DECIBEL, forced=True)


def test_a_decibel_less_under_the_same_draw(tmp_path, calls):
    """Against the teacher's own receiver on what arrives at 1 dB less; it decodes nothing, and is kept."""
    found = found_of([TT, DECIBEL_LESS], kept_in=tmp_path).pairs[DECIBEL_LESS.key]
    batch, model = collate(SENTENCES), T.model

    @torch.no_grad()
    def logs_at(snr):
        received = through(model, batch, RAYLEIGH, snr)
        states = model.receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]
        return model.receiver.project(states).log_softmax(-1)

    for k, snr in enumerate(SNRS):
        logs = [logs_at(snr), logs_at(snr - 1)]
        kl = F.kl_div(logs[1], logs[0], reduction="sum", log_target=True) / batch.target_mask.sum()
        values = measures(found.sums[k].sum(0))
        assert values["kl_divergence"] == pytest.approx(float(kl), rel=1e-4) and kl > 1e-4
        assert np.isnan(values["bleu"]) and np.isfinite(values["js_divergence"])
    assert found.pieces == [[[]] * len(SENTENCES)] * len(SNRS)
    before = dict(calls)
    again = found_of([TT, DECIBEL_LESS], kept_in=tmp_path).pairs[DECIBEL_LESS.key]
    np.testing.assert_array_equal(again.sums, found.sums)
    assert calls == before


def test_what_only_foretells_costs_the_others_nothing(found):
    """Nor does it change them; the same pair is not taken for one that speaks."""
    forced = replace(ST, forced=True)
    alone = found_of([TT, DECIBEL_LESS, forced])
    np.testing.assert_array_equal(alone.pairs[TT.key].sums, found.pairs[TT.key].sums)
    kl = PLACE["kl"]
    np.testing.assert_array_equal(alone.pairs[ST.key].sums[..., kl], found.pairs[ST.key].sums[..., kl])
    assert forced.key == ST.key and np.isnan(alone.pairs[ST.key].sums[..., PLACE["sent_ngrams_1"]]).all()
