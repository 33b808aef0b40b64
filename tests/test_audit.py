"""The audit: its public rows against a second derivation of the public script, and each row against what it
says it changes."""

import csv
import math
import pickle
import random

import pytest
import torch
from cli_support import package, refused
from public_deepsc import WORDS, Public, random_state, scale_power, vocabulary
from toy import CPU, Numbers, channel_of, collated

from semcom.channel import deepsc_link
from semcom.channel.channels import AWGN
from semcom.channel.deepsc_link import PublicRayleigh, PublicRician
from semcom.channel.draws import sample
from semcom.commands import audit
from semcom.commands.audit import long_rows
from semcom.data import batching
from semcom.data.batching import Encoded
from semcom.data.corpus import Sentence, make_sentence
from semcom.data.piece_vocabulary import PieceVocabulary
from semcom.data.vocabulary import BOS, EOS
from semcom.data.word_vocabulary import WordVocabulary
from semcom.evaluation import text_metrics
from semcom.evaluation.deepsc_scoring import (
    BLEU_4,
    CORPUS,
    FADES,
    FORCED,
    HABITS,
    LIMIT,
    MASKED,
    PER_COMPLEX,
    POWER,
    PUBLIC,
    RIGHT_WAY_ROUND,
    UNIT_FADES,
    Link,
    arrivals,
    changes,
    excess_db,
    link_scores,
    mean_unigram_bleu,
    over_public_link,
    power_line,
    public_draw,
    public_words,
    scores,
    unigram_bleu,
    without_blanks,
)
from semcom.evaluation.scores import Decoded, Entrant, Meeting, decode, score
from semcom.evaluation.text_scoring import TextScoring
from semcom.models import deepsc_weights
from semcom.models.decoding import greedy, length_limit

V, C, HEADS, SEED = 4 + len(WORDS), 8, 2, 7
WORDS_OF_PUBLIC = WordVocabulary(vocabulary().encode())
KINDS = ["awgn", "rayleigh", "rician"]


# --- the public script, a second time


def nltk_bleu_1(reference, hypothesis):
    """sentence_bleu([reference], hypothesis, weights=(1, 0, 0, 0)), from nltk's description."""
    matches, left = 0, list(reference)
    for word in hypothesis:
        if word in left:
            left.remove(word)
            matches += 1
    if matches == 0:
        return 0.0
    penalty = 1.0 if len(hypothesis) > len(reference) else math.exp(1 - len(reference) / len(hypothesis))
    return penalty * matches / len(hypothesis)


def complex_of(pairs):
    return torch.complex(pairs[..., 0::2].double(), pairs[..., 1::2].double())


def public_script(state, encoded, kind, snr, k=1.0):
    """Tokens decoded greedily without source mask, and argmax on gold prefixes, of each sentence: the whole
    decoder run again for each token."""
    public, said, forced = Public(state, HEADS), [], []
    for start in range(0, len(encoded), 64):
        part = encoded[start : start + 64]
        size = max(len(e.source) for e in part)
        source = torch.tensor([e.source + [0] * (size - len(e.source)) for e in part])
        ids, lengths = [e.sentence.id for e in part], [len(e.source) for e in part]
        own, pads = (
            sample(ids, lengths, C, seed=SEED, number=0),
            sample(ids, [size] * len(part), C, seed=SEED, number=1),
        )
        noise = torch.where((source != 0)[..., None], own.noise, pads.noise).double() / math.sqrt(
            2 * 10 ** (snr / 10)
        )
        signal = scale_power(public.symbols(source))
        scatter = complex(*own.scatter[0].tolist())
        h = {
            "awgn": 1.0,
            "rayleigh": scatter,
            "rician": math.sqrt(2) * (math.sqrt(k / (k + 1)) + scatter / math.sqrt(k + 1)),
        }[kind]
        received = torch.view_as_real((h * complex_of(signal) + complex_of(noise)) / h).flatten(-2)
        tokens = torch.ones(len(part), 1, dtype=torch.long)
        for _ in range(29):
            tokens = torch.cat([tokens, public.logits(received, tokens)[:, -1:].argmax(-1)], 1)
        gold = public.logits(received, source[:, :-1], source).argmax(-1)
        said += [cut(row[1:]) for row in tokens.tolist()]
        forced += [cut(row[: n - 1]) for row, n in zip(gold.tolist(), lengths)]
    return said, forced


def cut(tokens):
    return tokens[: tokens.index(2)] if 2 in tokens else tokens


def words_of(tokens):
    """The public text of tokens, cut at white space once its tags are gone."""
    names = ["<PAD>", "<START>", "<END>", "<UNK>", *WORDS]
    return [names[token] for token in tokens if token > 3 and names[token]]


def public_state(loud=8.0):
    """Untrained, but one that hears what is sent, ends or does not, and never says a pad."""
    state = random_state(V, c=C, encoder_layers=1, decoder_layers=1, seed=8)
    for name, weights in state.items():
        if name.endswith(".bias"):
            weights *= (
                2 if name == "channel_decoder.linear1.bias" else 0
            )  # without it the strength of a signal would not matter
        elif weights.dim() == 2 and "embedding" not in name:
            weights *= 3 if "src_mha" in name else 2
    state["channel_encoder.2.weight"] *= loud
    state["dense.weight"] *= 2
    state["dense.bias"][0], state["dense.bias"][EOS] = -1e4, 5.0
    return state


def sentences(number, shortest=3, longest=9, seed=0):
    rng = random.Random(seed)
    made = []
    for _ in range(number):
        pieces = [rng.randrange(3, V) for _ in range(rng.randint(shortest, longest))]
        made.append(
            Encoded(Sentence(rng.getrandbits(64), WORDS_OF_PUBLIC.decode([pieces])[0]), [BOS, *pieces, EOS])
        )
    return made


def imported(state):
    return deepsc_weights.from_state(state, HEADS, 0.1, "their.pth").model


def at(kind, *snrs, k=1.0):
    return Meeting(channel_of(kind, k), snrs, SEED, CPU, 16, quiet=True)


@pytest.mark.parametrize(
    ("kind", "loud"),
    [
        *zip(KINDS, (8.0, 0.3, 8.0)),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in zip(KINDS, (0.3, 8.0, 0.3))),
    ],
)
def test_the_public_rows_are_the_public_script(kind, loud):
    state, encoded = public_state(loud), sentences(70)
    meeting = at(kind, -3.0, 12.0, k=2.0)
    link = over_public_link(imported(state), encoded, meeting)
    scores = link_scores(link, encoded, WORDS_OF_PUBLIC, TextScoring())
    assert len(link.roots) == 2 and all((root > 1) == (loud == 8.0) for root in link.roots)
    for i, snr in enumerate(meeting.snrs):
        said, forced = public_script(state, encoded, kind, snr, k=2.0)
        assert link.public[i] == said and link.forced[i] == forced
        for row, understood in ((PUBLIC, said), (FORCED, forced)):
            wanted = [
                nltk_bleu_1(reference=words_of(h), hypothesis=words_of(e.source))
                for h, e in zip(understood, encoded)
            ]
            assert scores[row][i] == pytest.approx(100 * sum(wanted) / 70, abs=1e-9)
        assert len(set(map(tuple, said))) > 10 and said != forced and len({len(h) for h in said}) > 1, (
            "a toy that says something"
        )
    assert link.public[0] != link.public[1]


def test_a_native_receiver_hears_the_public_link_at_its_own_strength():
    meeting, encoded = at("awgn", 3.0), sentences(20)
    batch = batching.collate(encoded)
    signal = deepsc_link.scale_power(
        10 * torch.randn(20, batch.source.shape[1], C, generator=torch.Generator().manual_seed(0))
    )
    (arrived,) = arrivals(signal, public_draw(batch, AWGN(), C, SEED), at("awgn", 100.0))
    assert arrived.square().mean() == pytest.approx(0.5, abs=1e-3), (
        "per real dimension, what a receiver of this tool is trained on"
    )
    theirs, native = imported(public_state()), imported(public_state())
    assert native.receiver.channel_decoder.amplitude == pytest.approx(math.sqrt(2))
    native.receiver.channel_decoder.amplitude = 1.0
    assert (
        over_public_link(native, encoded, meeting).public != over_public_link(theirs, encoded, meeting).public
    )
    native.receiver.channel_decoder.linear1.weight.data *= math.sqrt(2)
    assert over_public_link(native, encoded, meeting) == over_public_link(theirs, encoded, meeting)


# --- BLEU-1


def test_unigram_bleu_is_nltks_of_one_sentence():
    rng = random.Random(0)
    seen = set()
    for _ in range(2000):
        hypothesis, reference = ([rng.choice("abcd") for _ in range(rng.randint(0, 6))] for _ in range(2))
        assert unigram_bleu([hypothesis], [reference]) == pytest.approx(
            nltk_bleu_1(reference, hypothesis), abs=1e-12
        )
        seen.add((len(hypothesis) < len(reference)) + 2 * (not hypothesis))
    assert seen == {0, 1, 2, 3}


def test_unigram_bleu_by_hand():
    hypotheses, references = [["the", "the", "cat"], ["a"]], [["the", "cat", "sat"], ["a", "dog", "b", "c"]]
    first, second = 2 / 3, math.exp(1 - 4)
    assert unigram_bleu(hypotheses[:1], references[:1]) == pytest.approx(first)
    assert mean_unigram_bleu(hypotheses, references) == pytest.approx((first + second) / 2)
    assert unigram_bleu(hypotheses, references) == pytest.approx(3 / 4 * math.exp(1 - 7 / 4))
    assert unigram_bleu([[]], [[]]) == 0 and unigram_bleu([["a"]], [[]]) == 0


def test_corpus_bleu_1_is_sacrebleus_of_that_order():
    from sacrebleu.metrics import BLEU

    rng = random.Random(1)
    pairs = [[[rng.choice("abcde") for _ in range(rng.randint(1, 9))] for _ in range(2)] for _ in range(30)]
    hypotheses, references = zip(*pairs)
    wanted = (
        BLEU(max_ngram_order=1, tokenize="none")
        .corpus_score([" ".join(h) for h in hypotheses], [[" ".join(r) for r in references]])
        .score
    )
    assert 100 * unigram_bleu(hypotheses, references) == pytest.approx(wanted, abs=1e-9)


def test_words_that_the_public_score_sees(vocabulary):
    text = "we vote. session . UNK of UNK."
    assert public_words(text, WORDS_OF_PUBLIC) == ["we", "vote", "session", "of"]
    assert public_words(". .", WORDS_OF_PUBLIC) == []
    assert isinstance(vocabulary, PieceVocabulary)
    assert public_words("We vote, <UNK> today. UNK", vocabulary) == ["We", "vote,", "today.", "UNK"]


# --- each row changes what it says


def numbered(*sources):
    return [
        Encoded(Sentence(i, " ".join(map(str, pieces))), [BOS, *pieces, EOS])
        for i, pieces in enumerate(sources)
    ]


def test_scores_of_given_decodings():
    encoded = numbered([5, 6, 7, 8, 9], [5, 6, 7, 8], [10, 11, 12, 13, 14, 15])
    long = [5, 6, 7, 8, 9, *range(30, 60)]
    public = [[5, 6, 7, 8, 9, 9], [5, 6], [10, 11, 12, 13]]
    link = Link(
        [[[5], [6], [10]]],
        [public],
        [[long, [5, 6, 7, 8], [10, 11, 12, 13, 14, 15]]],
        [[e.source[1:-1] for e in encoded]],
        [2.0],
    )
    found = link_scores(link, encoded, Numbers(), TextScoring())
    sent = [list(map(str, e.source[1:-1])) for e in encoded]
    understood = [list(map(str, h)) for h in public]
    both = list(zip(understood, sent))
    assert found[FORCED] == [pytest.approx(100 * (1 / 5 + 1 / 4 + 1 / 6) / 3)], (
        "gold as hypothesis: its precision, and no brevity penalty"
    )
    assert found[PUBLIC] == [pytest.approx(100 * sum(nltk_bleu_1(h, s) for h, s in both) / 3)]
    assert found[RIGHT_WAY_ROUND] == [pytest.approx(100 * sum(nltk_bleu_1(s, h) for h, s in both) / 3)]
    assert found[CORPUS] == [pytest.approx(100 * 11 / 12 * math.exp(1 - 15 / 12))]
    hypotheses, references = ([" ".join(words) for words in side] for side in (understood, sent))
    assert found[BLEU_4] == [text_metrics.bleu(hypotheses, references)]
    for row, length in ((MASKED, 29), (LIMIT, length_limit(7))):
        texts = [" ".join(map(str, long[:length])), *(" ".join(s) for s in sent[1:])]
        assert found[row] == [text_metrics.bleu(texts, [" ".join(s) for s in sent])], HABITS[row]
    assert found[POWER] == [pytest.approx(100)]
    assert found[MASKED] != found[LIMIT] and list(found) == list(range(POWER + 1))


def test_the_mask_matters_to_padded_sentences_alone():
    model, meeting = imported(public_state()), at("awgn", 6.0)
    even = over_public_link(model, sentences(30, 6, 6), meeting)
    assert [pieces[:29] for pieces in even.masked[0]] == even.public[0]
    encoded = sentences(30, 3, 12)
    uneven = over_public_link(model, encoded, meeting)
    longest = max(len(e.source) for e in encoded)
    for e, masked, public in zip(encoded, uneven.masked[0], uneven.public[0]):
        assert masked[:29] == public or len(e.source) < longest
    assert [pieces[:29] for pieces in uneven.masked[0]] != uneven.public[0]


def never_ending():
    state = public_state()
    state["dense.bias"][EOS] = -1e4
    return imported(state)


def test_length_limits():
    encoded = sentences(3, 3, 3) + sentences(3, 20, 20, seed=1)
    link = over_public_link(never_ending(), encoded, at("awgn", 6.0))
    assert [len(pieces) for pieces in link.public[0]] == [29] * 6
    assert [len(pieces) for pieces in link.masked[0]] == [29] * 3 + [43] * 3
    assert [len(pieces) for pieces in link.scaled[0]] == [17] * 3 + [43] * 3


def test_greedy_with_limits_says_the_beginning_of_what_it_says():
    model, batch = never_ending(), collated(6, 3, 9)
    received = torch.randn(6, batch.source.shape[1], C, generator=torch.Generator().manual_seed(0))
    whole = greedy(model.receiver, received, batch.source_mask, [30] * 6)
    assert greedy(model.receiver, received, batch.source_mask, [1, 30, 7, 2, 5, 3]) == [
        w[:n] for w, n in zip(whole, [1, 30, 7, 2, 5, 3])
    ]
    assert greedy(model.receiver, received, batch.source_mask) == [
        w[: length_limit(n)] for w, n in zip(whole, batch.lengths)
    ]


def test_one_sentence_has_its_own_power_and_fade_already():
    # Alone in its batch nothing of the batch can change it: only the limit stands between these rows, and
    # nothing between the last ones.
    for kind in ("rayleigh", "rician"):
        for sentence in sentences(4):
            meeting, model = at(kind, 3.0, k=3.0), imported(public_state())
            link = over_public_link(model, [sentence], meeting)
            assert link.scaled[0][0] == link.masked[0][0][: length_limit(len(sentence.source))]
            found = scores(model, [sentence], WORDS_OF_PUBLIC, meeting)
            assert found[FADES] == found[POWER]


def test_power_of_a_quiet_transmitter():
    encoded = sentences(8)
    quiet, loud = (
        over_public_link(imported(public_state(strength)), encoded, at("awgn", 3.0))
        for strength in (0.3, 8.0)
    )
    # The same weights but for a factor: scaled per sentence the same words arrive, by the public rule weaker
    # ones.
    assert quiet.scaled == loud.scaled and quiet.public != loud.public
    assert quiet.roots == [pytest.approx(loud.roots[0] * 0.3 / 8, rel=1e-4)]
    assert "scaled down 1 of 1 batches" in power_line(loud.roots) and "weaker" not in power_line(loud.roots)
    assert "scaled down 1 of 2 batches (root mean square 0.5 to 2" in power_line([2.0, 0.5])
    assert "up to 6.0 dB weaker" in power_line([2.0, 0.5])


def test_the_batch_shares_a_fade_and_its_pads_have_noise():
    batch = collated(5, 3, 9)
    own, draw = batch.draw(AWGN(), C, seed=SEED, number=0), public_draw(batch, AWGN(), C, SEED)
    assert torch.equal(draw.scatter, own.scatter[:1].expand(5, 2))
    assert torch.equal(draw.noise[batch.source_mask], own.noise[batch.source_mask])
    pads = draw.noise[~batch.source_mask]
    assert pads.numel() and (pads != 0).all() and pads.std() == pytest.approx(1, abs=0.3)
    longer = sample([s.id for s in batch.sentences], [batch.source.shape[1]] * 5, C, seed=SEED, number=0)
    assert not torch.equal(pads, longer.noise[~batch.source_mask])


@pytest.mark.parametrize("k", [0.0, 1.0, 4.0])
def test_public_fades_are_those_of_the_public_code_in_law(k):
    scatter = torch.randn(5000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.5**0.5
    turned = torch.view_as_real(torch.view_as_complex(scatter) * complex(1, 1) / math.sqrt(2))
    link = PublicRician(k)
    theirs = link.fades(turned).square().sum(1)
    ours = link.fades_as_ours(scatter).square().sum(1)
    torch.testing.assert_close(ours, theirs)
    assert ours.mean() == pytest.approx(2, rel=0.1)
    ours, theirs = (by(scatter) for by in (PublicRayleigh().fades_as_ours, PublicRayleigh().fades))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("kind", "row"), [("rayleigh", FADES), ("rician", FADES), ("rician", UNIT_FADES)])
def test_decibels_stand_for_the_public_link(kind, row):
    """Rows that our own link makes at another SNR are what the public link makes of our signal, to
    rounding."""
    batch, channel, snr = collated(5), channel_of(kind, 2.0), 4.0
    draw = batch.draw(AWGN(), C, seed=SEED, number=0)
    signal = (
        torch.randn(draw.noise.shape, generator=torch.Generator().manual_seed(0))
        * batch.source_mask[..., None]
    )
    h = channel.gain(draw, torch.float32) * (math.sqrt(2) if (kind, row) == ("rician", FADES) else 1)
    link = channel.public_link
    theirs = link.receive(math.sqrt(2) * signal, h, draw.noise, snr) / math.sqrt(2)
    torch.testing.assert_close(
        channel.apply(signal, draw, snr + excess_db(link)[row]), theirs, atol=1e-5, rtol=1e-4
    )


def test_rows_of_each_channel_and_their_order():
    encoded, model = sentences(3), imported(public_state())
    for kind, absent in (("awgn", {FADES, UNIT_FADES}), ("rayleigh", {UNIT_FADES}), ("rician", set())):
        found = scores(model, encoded, WORDS_OF_PUBLIC, at(kind, 0.0, 12.0))
        assert list(found) == [row for row in HABITS if row not in absent] and all(
            len(by_snr) == 2 for by_snr in found.values()
        )


def test_three_decibels_and_nothing_else_stand_before_the_last_row():
    encoded, model = sentences(40), imported(public_state())
    low = scores(model, encoded, WORDS_OF_PUBLIC, at("rician", 2.0))
    high = scores(model, encoded, WORDS_OF_PUBLIC, at("rician", 2.0 + 10 * math.log10(2)))
    assert high[PER_COMPLEX] == low[UNIT_FADES] and high[UNIT_FADES] == low[FADES] != low[UNIT_FADES]
    awgn = [
        scores(model, encoded, WORDS_OF_PUBLIC, at("awgn", snr)) for snr in (2.0, 2.0 + 10 * math.log10(2))
    ]
    assert awgn[1][PER_COMPLEX] == awgn[0][POWER] != awgn[1][POWER]


def test_the_last_row_is_what_this_tool_measures():
    encoded, model, meeting = sentences(40), imported(public_state()), at("rayleigh", -3.0, 9.0)
    decoded = decode(Entrant("model", model), encoded, WORDS_OF_PUBLIC, meeting)
    wanted = [score(d, encoded, TextScoring())["bleu"] for d in decoded]
    assert scores(model, encoded, WORDS_OF_PUBLIC, meeting)[PER_COMPLEX] == wanted and wanted[0] != wanted[1]
    assert isinstance(decoded[0], Decoded)


def test_changes_are_against_the_row_above():
    found = {FORCED: [9.0, 9.0], PUBLIC: [1.0, 2.0], CORPUS: [4.0, 1.0], PER_COMPLEX: [2.0, 1.5]}
    assert changes(found) == {CORPUS: [3.0, -1.0], PER_COMPLEX: [-2.0, 0.5]}
    rows = long_rows(found, [0, 12])
    assert len(rows) == 8 and rows[-1] == {
        "row": PER_COMPLEX,
        "habit": HABITS[PER_COMPLEX],
        "snr": 12.0,
        "score": 1.5,
        "change": 0.5,
    }
    assert [row["change"] for row in rows[:4]] == [None] * 4


# --- the command

FEW = ["--corpus-size", 1000, "--sentences", 12, "--quiet", "--device", "cpu"]


@pytest.mark.draws("png")
@pytest.mark.parametrize("kind", ["awgn", pytest.param("rician", marks=pytest.mark.slow)])
def test_audit_beside_evaluate(teacher, here, capsys, kind):
    flags = [*FEW, "--snr", 0, 12, "--channel", kind, "--seed", 5]
    assert package("audit", teacher, *flags, "--output", "a.csv") == 0
    out = capsys.readouterr().out
    assert package("evaluate", teacher, *flags, "--output", "e.csv") == 0
    rows = list(csv.DictReader((here / "a.csv").open()))
    absent = {FADES, UNIT_FADES} if kind == "awgn" else set()
    assert [(int(row["row"]), float(row["snr"])) for row in rows] == [
        (r, snr) for r in HABITS if r not in absent for snr in (0, 12)
    ]
    wanted = [
        row["bleu"]
        for row in csv.DictReader((here / "e.csv").open())
        if row["topic"] == "" and row["model"] != "(floor)"
    ]
    assert [row["score"] for row in rows[-2:]] == wanted
    assert all(
        row["seed"] == "5" and row["channel"].startswith(kind) and row["sentences"] == "12" for row in rows
    )
    assert all(
        row["checkpoint"] == teacher.name and len(row["fingerprint"]) == 16 and row["torch"] and row["semcom"]
        for row in rows
    )
    scores = {(row["row"], row["snr"]): float(row["score"]) for row in rows}
    assert float(rows[-1]["change"]) == pytest.approx(
        scores[rows[-1]["row"], "12.0"] - scores[rows[-3]["row"], "12.0"]
    )
    assert (here / "a.png").read_bytes().startswith(b"\x89PNG")
    for word in (
        "12 test sentences",
        "0 to 100",
        "in another order",
        "moves the score most at 12 dB",
        "the public script would print",
        "measured rightly it is",
        "public power rule",
        *(HABITS[r] for r in HABITS if r not in absent),
    ):
        assert word in out, word
    assert ("not on this channel" in out) == bool(absent) and ("rest on 1 of them" in out) == (
        kind == "rician"
    )
    assert f"{scores['1', '12.0'] / 100:.4f} at 12 dB" in out and f"{float(wanted[1]):.2f} (BLEU-4)" in out


def test_an_imported_model_on_its_own_pickle(here, capsys):
    state, rng = public_state(), random.Random(0)
    torch.save(state, "their.pth")
    (here / "vocab.json").write_text(vocabulary())
    ids = [[BOS, *(rng.randrange(6, V) for _ in range(rng.randint(4, 9))), 4, EOS] for _ in range(70)]
    (here / "test_data.pkl").write_bytes(pickle.dumps(ids))
    assert (
        package(
            "import", "their.pth", "--vocab-file", "vocab.json", "--heads", HEADS, "--output", "teacher.pt"
        )
        == 0
    )
    flags = [
        "teacher.pt",
        "--corpus",
        "test_data.pkl",
        "--split",
        "all",
        "--snr",
        12,
        "--seed",
        SEED,
        "--channel",
        "rayleigh",
        "--quiet",
        "--device",
        "cpu",
    ]
    assert package("audit", *flags, "--output", "a.csv") == 0
    rows = {int(row["row"]): row for row in csv.DictReader((here / "a.csv").open())}
    encoded = [Encoded(make_sentence(WORDS_OF_PUBLIC.decode([row[1:-1]])[0]), row) for row in ids]
    said, _ = public_script(state, encoded, "rayleigh", 12.0)
    wanted = [nltk_bleu_1(reference=words_of(h), hypothesis=words_of(row)) for h, row in zip(said, ids)]
    assert float(rows[PUBLIC]["score"]) == pytest.approx(100 * sum(wanted) / 70, abs=1e-9) and 0 < sum(wanted)
    assert (
        rows[PUBLIC]["split"] == "all"
        and rows[PUBLIC]["sentences"] == "70"
        and "whole corpus (--split all)" in capsys.readouterr().out
    )
    assert package("evaluate", *flags, "--output", "e.csv") == 0
    assert rows[PER_COMPLEX]["score"] == next(csv.DictReader((here / "e.csv").open()))["bleu"]
    capsys.readouterr()
    assert package("audit", *(flag for flag in flags if flag not in ("--split", "all")), "--snr", 12) == 0
    assert "warning: teacher.pt was imported" in capsys.readouterr().out


def test_sentences_are_taken_in_reading_order(teacher, here, monkeypatch):
    seen = []
    monkeypatch.setattr(
        audit,
        "over_public_link",
        lambda model, encoded, meeting: (
            seen.append([e.sentence.text for e in encoded])
            or Link(*([[e.source[1:-1] for e in encoded] for _ in meeting.snrs] for _ in range(4)), [1.5])
        ),
    )
    lines = [
        f"the {word} report number {n} was adopted by the {word} house."
        for n in range(300)
        for word in ("long", "short")
    ]
    (here / "own.en").write_text("\n".join(lines))
    assert (
        package(
            "audit",
            teacher,
            "--corpus",
            "own.en",
            "--sentences",
            10,
            "--snr",
            12,
            "--quiet",
            "--device",
            "cpu",
        )
        == 0
    )
    (order,) = seen
    chosen = sorted((s for s in map(make_sentence, lines) if s.split == "test"), key=lambda s: s.id)[:10]
    assert order == [line for line in lines if line in {s.text for s in chosen}] != [s.text for s in chosen]


WRONG = [
    (["audit"], ["CHECKPOINT"]),
    (["audit", "absent.pt"], ["absent.pt", "no such file"]),
    (["audit", "TEACHER", "--channel", "ideal"], ["--channel ideal", "awgn, rayleigh, rician"]),
    (
        ["audit", "TEACHER", "--channel", "rayleigh", "--equalizer", "mmse"],
        ["--equalizer mmse", "leave it out"],
    ),
    (["audit", "TEACHER", "--snr", "nan"], ["--snr nan"]),
    (["audit", "TEACHER", "--sentences", "0"], ["--sentences 0"]),
    (["audit", "TEACHER", "--beam-width", "4"], ["--beam-width"]),
    (["audit", "TEACHER", "--output", "TEACHER"], ["--output", "is an input"]),
    (["audit", "TEACHER", "--output", "."], ["--output", "is a folder"]),
    (["audit", "TEACHER", "--corpus", "absent.en"], ["--corpus absent.en"]),
    (["audit", "TEACHER", "--device", "tpu"], ["--device tpu"]),
]


@pytest.mark.parametrize(("flags", "words"), WRONG, ids=[" ".join(flags)[:60] for flags, _ in WRONG])
def test_wrong_input_is_one_line_and_leaves_nothing(teacher, here, capsys, flags, words):
    refused(capsys, package(*(str(teacher) if flag == "TEACHER" else flag for flag in flags)), *words)
    assert not list(here.iterdir())


def test_an_output_that_exists_is_kept(teacher, here, capsys):
    (here / "a.png").write_text("mine")
    refused(capsys, package("audit", teacher, *FEW, "--output", "a.csv"), "a.png", "--overwrite")
    assert [p.name for p in here.iterdir()] == ["a.png"] and (here / "a.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("texts", "undivided"),
    [
        (["We support this report."], False),
        (["我们支持这份报告，但是反对新的预算。", "我们支持 2015 年的计划。"], True),
        (["我们 支持 这份 报告 ， 但是 反对 新的 预算 。"], False),
        (["この報告書を支持します。"], True),
        (["우리는 이 보고서를 지지합니다."], False),
    ],
)
def test_texts_without_blanks_are_told(texts, undivided):
    assert without_blanks(texts) == undivided


@pytest.mark.parametrize("divided", [True, False])
def test_no_habit_is_named_across_a_change_of_words(divided):
    found = {FORCED: [0.0], PUBLIC: [1.0], RIGHT_WAY_ROUND: [1.0], CORPUS: [1.0], BLEU_4: [60.0]}
    found |= {MASKED: [61.0], LIMIT: [61.0], POWER: [63.5], PER_COMPLEX: [64.0]}
    told = audit._Account(found, [6.0], 6.0, [1.0], TextScoring(), divided).text()
    assert ("moves the score most at 6 dB: BLEU-4" in told) == divided
    assert ("a sentence is one word" in told) != divided
    assert "scored alike at 6 dB: power per sentence" in told
