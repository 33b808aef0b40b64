"""The coded baseline: on a toy link, so that no channel code is needed, and a small part of it on the real
one."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cli_support import package

from semcom.base.errors import SemcomError
from semcom.channel import bounds, sionna_code
from semcom.channel.channels import AWGN, Rayleigh
from semcom.channel.coded_link import Arrived
from semcom.channel.draws import sample
from semcom.commands import baseline as verb
from semcom.commands import baseline_record, beside_baselines, parsers
from semcom.data import batching, source_codes
from semcom.evaluation import baseline_bounds, channel_states, coded_baseline, measures, text_metrics
from semcom.evaluation.baseline_curves import Schemes, curves, shown_of, told_once
from semcom.evaluation.coded_baseline import BEST_EFFORT, EMPTY, CodedLink, Framing, Offered, understand
from semcom.evaluation.intervals import Interval
from semcom.evaluation.scheme_choice import H_KNOWN, ONE, SNR_KNOWN, Choice, carried, choose
from semcom.evaluation.text_scoring import TextScoring
from semcom.report import figures, look

SNRS = (0.0, 6.0, 12.0)
PLAIN = Framing()
NEEDED = {2: 1.0, 4: 7.0, 6: 13.0}
"""dB from which the toy link carries so many bits a symbol without error."""


class ToyLink:
    """Bits as they are, as many a symbol as the modulation has; below its SNR every third is wrong."""

    def __init__(self, offered, draws=None):
        self.offered, self.draws = offered, draws
        self.asked = []

    def __call__(self, sources, bits_per_symbol, framing, snr):
        self.asked.append((bits_per_symbol, framing, snr))
        found = []
        for place, (bits, symbols) in enumerate(zip(sources, self.offered.symbols)):
            if len(bits) > symbols * bits_per_symbol:
                found.append(Arrived(np.empty(0, np.uint8), False, 0))
                continue
            gain = 0.0 if self.draws is None else self.draws[place]
            whole = snr + gain >= NEEDED[bits_per_symbol]
            wrong = bits.copy()
            wrong[::3] ^= 1
            found.append(Arrived(bits if whole else wrong, whole, 1))
        return found


@pytest.fixture(scope="module")
def offered(sentences, vocabulary):
    return Offered(batching.encode(list(sentences)[:40], vocabulary), 16)


@pytest.fixture(scope="module")
def code(sentences, vocabulary):
    return source_codes.learned("huffman-pieces", [s.text for s in sentences], vocabulary)


def bleu(sums):
    return float(measures.of_sums(sums.sum(0), [measures.named("bleu")])["bleu"])


def test_a_link_without_errors_returns_the_texts(offered, code):
    found = understand(offered, code, 4, Framing(), ToyLink(offered), [20.0], TextScoring())
    assert found.fits.all() and found.whole.all() and (found.sent == 1).all()
    for failure in (EMPTY, BEST_EFFORT):
        assert bleu(found.by_failure[failure][0]) == pytest.approx(100)
        values = measures.of_sentences(found.by_failure[failure][0], measures.alone())
        assert values["exact"] == 1.0
        assert np.isnan(values["token_accuracy"]) and np.isnan(values["cross_entropy"])


def test_a_failing_crc_leaves_nothing_or_what_the_bits_say(offered, code):
    found = understand(offered, code, 4, Framing(), ToyLink(offered), [0.0], TextScoring())
    assert not found.whole.any() and found.fits.all()
    empty, best = found.by_failure[EMPTY][0], found.by_failure[BEST_EFFORT][0]
    column = measures.columns().index("sent_hypothesis_length")
    assert (empty[:, column] == 0).all() and (best[:, column] > 0).any()
    wrong = [bits.copy() for bits in code.encode_all(offered.texts)]
    for bits in wrong:
        bits[::3] ^= 1
    wanted = TextScoring().bleu_statistics(code.decode_all(wrong), offered.texts)
    np.testing.assert_array_equal(best[:, measures.slices()[measures.named("bleu").sums[0].columns]], wanted)


def test_what_does_not_fit_is_lost_and_counted(offered, sentences, vocabulary):
    characters = source_codes.learned("huffman-characters", [s.text for s in sentences], vocabulary)
    lengths = np.array([len(bits) for bits in characters.encode_all(offered.texts)])
    small = Offered(offered.encoded, 6)
    found = understand(small, characters, 2, Framing(), ToyLink(small), [20.0], TextScoring())
    np.testing.assert_array_equal(found.fits, lengths <= 2 * np.array(small.symbols))
    assert 0 < found.fits.sum() < len(lengths)
    rows = coded_baseline.shares(small, characters, {"qpsk": 2, "256qam": 8}, Framing())
    blocks = lengths + 16
    for row, bits in zip(rows, (2, 8)):
        rate = blocks / (bits * np.array(small.symbols))
        assert row["fits"] == pytest.approx(np.mean(rate <= 948 / 1024))
        assert row["rate"] == pytest.approx(np.mean(rate))
        assert row["symbols"] == np.mean([3 * len(e.source) for e in small.encoded])


def sums_of(scores):
    """[J, K, N, M] whose corpus BLEU is 100 times the share of matches asked for."""
    scores = np.asarray(scores, float)
    sums = np.zeros((*scores.shape, len(measures.columns())))
    place = measures.slices()[measures.named("bleu").sums[0].columns]
    names = text_metrics.BLEU_COLUMNS
    for column, name in enumerate(names, place.start):
        sums[..., column] = scores * 1000 if name.startswith("matches") else 1000
    return sums


def test_schemes_are_chosen_by_bleu_for_what_is_known():
    """Two schemes: the first is better below 5 dB, the second above, by more."""
    states = np.array([[0.0] * 100, [10.0] * 100])
    sums = sums_of([[[0.5] * 100, [0.6] * 100], [[0.3] * 100, [1.0] * 100]])
    assert choose(ONE, sums, states).schemes.tolist() == [1]
    known = choose(SNR_KNOWN, sums, states)
    assert known.of(states).tolist() == [[0] * 100, [1] * 100]
    assert known.borders.tolist() == [5.0]


def test_a_gain_that_is_known_chooses_for_each_sentence():
    """Of each SNR half of the sentences are 10 dB above it: there alone the second scheme arrives."""
    gains = np.tile([-5.0, 5.0], 300)
    states = np.array([snr + gains for snr in (0.0, 6.0)])
    first = np.full((2, 600), 0.5)
    second = (states >= 3).astype(float)
    sums = sums_of([first, second])
    choice = choose(H_KNOWN, sums, states)
    np.testing.assert_array_equal(choice.of(states), (states >= 3).astype(int))
    taken = choice.taken(sums, states)
    mean_known = choose(SNR_KNOWN, sums, np.broadcast_to([[0.0], [6.0]], states.shape))
    of_mean = mean_known.taken(sums, np.broadcast_to([[0.0], [6.0]], states.shape))
    assert bleu(taken[1]) == pytest.approx(75) and bleu(of_mean[1]) == pytest.approx(50)


def test_a_level_choice_takes_the_first_scheme():
    sums = sums_of(np.zeros((3, 2, 10)))
    assert choose(SNR_KNOWN, sums, np.zeros((2, 10))).schemes.tolist() == [0]
    assert Choice(np.empty(0), np.array([2])).of(np.zeros((2, 3))).tolist() == [[2, 2, 2]] * 2


def test_the_state_of_a_sentence_is_the_snr_of_equal_capacity(offered):
    encoded, draw_of = offered.encoded, channel_states.powers
    flat = draw_of(AWGN(), encoded, 16, 42)
    assert [len(power) for power in flat] == offered.symbols
    assert all((power == 1).all() for power in flat)
    faded = draw_of(Rayleigh(), encoded, 16, 42)
    ids, lengths = [e.sentence.id for e in encoded], [len(e.source) for e in encoded]
    scatter = sample(ids, lengths, 16, seed=42, number=0).scatter
    np.testing.assert_allclose([p[0] for p in faded], scatter.square().sum(-1).numpy(), rtol=1e-5)
    members = [[place] for place in range(len(encoded))]
    states = channel_states.states(faded, [6.0], members)
    np.testing.assert_allclose(states[0], 6 + 10 * np.log10([p[0] for p in faded]), atol=1e-4)
    mixed = channel_states.equivalent(np.array([0.5, 2.0]), 10.0)
    assert np.log2(1 + 10 ** (mixed / 10)) == pytest.approx((np.log2(6) + np.log2(21)) / 2)


def schemes_of(offered, code, draws=None, framing=PLAIN):
    link = ToyLink(offered, draws)
    understood = [understand(offered, code, bits, framing, link, SNRS, TextScoring()) for bits in NEEDED]
    gains = np.zeros(len(offered.encoded)) if draws is None else draws
    states = np.asarray(SNRS)[:, None] + gains
    return Schemes(code.name, ["qpsk", "16qam", "64qam"], framing, SNRS, understood, states)


def test_curves_are_named_and_choose_on_validation(offered, code):
    found = {
        c.label: c
        for c in curves(
            schemes_of(offered, code), schemes_of(offered, code), (ONE, SNR_KNOWN, H_KNOWN), "awgn"
        )
    }
    known = found["huffman-pieces + LDPC, SNR known"]
    assert [row["bleu"] for row in known.rows] == pytest.approx([0, 100, 100])
    assert [row["arrived"] for row in known.rows] == [0, 1, 1]
    assert [row["modulation"] for row in known.rows][1:] == ["qpsk", "qpsk"]
    assert "huffman-pieces + LDPC qpsk, one scheme" in found
    assert not any("h known" in label for label in found), "without fading it is the mean SNR"
    assert found["huffman-pieces + LDPC 64qam"].rows[2]["arrived"] == 0
    assert found["huffman-pieces + LDPC 64qam, best effort"].rows[2]["bleu"] < 20


def test_a_sentence_that_its_scheme_cannot_carry_goes_by_the_next_that_can(sentences, vocabulary):
    fits = np.array([[True, False, False, False], [True, True, False, False], [True, True, True, False]])
    assert carried(fits).tolist() == [[0, 1, 2, 0], [1, 1, 2, 1], [2, 2, 2, 2]]
    code = source_codes.learned("huffman-characters", [s.text for s in sentences], vocabulary)
    small = Offered(batching.encode(list(sentences)[:40], vocabulary), 6)
    schemes = schemes_of(small, code)
    of_qpsk, of_16qam, of_64qam = (each.fits for each in schemes.understood)
    assert of_qpsk.any() and not of_qpsk.all() and of_64qam.all()
    found = {c.label: c.rows[-1] for c in curves(schemes, schemes, (ONE, SNR_KNOWN), "awgn")}
    alone, known = found[f"{code.name} + LDPC qpsk"], found[f"{code.name} + LDPC, SNR known"]
    assert alone["fits"] == of_qpsk.mean() == alone["exact"] and alone["modulation"] == "qpsk"
    shares = [of_qpsk.mean(), (of_16qam & ~of_qpsk).mean(), (~of_16qam).mean()]
    told = zip(("qpsk", "16qam", "64qam"), shares)
    assert known["modulation"] == ", ".join(f"{name} {share:.0%}" for name, share in told if share)
    # At 12 dB the toy link carries 16-QAM without error and 64-QAM not.
    assert known["fits"] == 1.0 and known["arrived"] == known["exact"] == pytest.approx(1 - shares[2])


def test_of_curves_few_are_shown(offered, code):
    draws = np.random.default_rng(0).normal(0, 4, len(offered.encoded))
    plain = schemes_of(offered, code, draws)
    packed = schemes_of(offered, code, draws, Framing(packed=True))
    found = [c for each in (plain, packed) for c in curves(each, each, (ONE, SNR_KNOWN, H_KNOWN), "rayleigh")]
    shown = [curve.label.removesuffix(", best effort") for curve in shown_of(found)]
    assert len(shown) == 4 and sum(label.endswith("packed") for label in shown) == 1
    assert any("h known" in label for label in shown)


def test_curves_of_the_same_schemes_are_told_once(offered, code):
    schemes = schemes_of(offered, code)
    shown = shown_of(curves(schemes, schemes, (ONE, SNR_KNOWN), "awgn"))
    kept, alike = told_once(shown)
    assert len(shown) == 2 and kept == shown[:1] and alike == [(shown[1], shown[0])]
    apart = curves(schemes, schemes, (), "awgn")[:3]
    assert [curve.rows[0]["modulation"] for curve in apart] == ["qpsk", "16qam", "64qam"]
    assert told_once(apart) == (apart, [])


def table_at(folder, name, bleu, model="lm + LDPC, SNR known"):
    rows = {"model": model, "snr": [0.0, 6.0, 12.0], "bleu": bleu, "shown": True, "source_code": "lm"}
    pd.DataFrame(rows).assign(adaptation="snr").to_csv(folder / f"{name}.csv", index=False)
    (folder / f"{name}.json").write_text(json.dumps({"made_by": baseline_record.MADE_BY}))
    return f"{name}.csv"


def test_two_language_models_stand_beside_each_other(here):
    paths = [table_at(here, name, [1.0, 50.0, 99.0]) for name in ("small", "large")]
    small, large = beside_baselines.read(paths, ["teacher"])
    assert set(small.shown["model"]) == {"lm + LDPC, SNR known (small)"}
    assert set(large.shown["model"]) == {"lm + LDPC, SNR known (large)"}
    (alone,) = beside_baselines.read(paths[:1], ["teacher"])
    assert set(alone.shown["model"]) == {"lm + LDPC, SNR known"}
    with pytest.raises(SemcomError, match="--baseline small.csv: is given twice"):
        beside_baselines.read([paths[0]] * 2, ["teacher"])
    with pytest.raises(SemcomError, match="called as a model"):
        beside_baselines.read(paths[:1], ["lm + LDPC, SNR known"])


def test_a_picture_has_a_ring_where_curves_cross(here):
    baselines = beside_baselines.read([table_at(here, "b", [0.0, 80.0, 100.0])], ["teacher"])
    models = pd.DataFrame({"model": "teacher", "snr": SNRS, "bleu": [40.0, 60.0, 90.0]})
    points = beside_baselines.marks(models, baselines, SNRS, measures.named("bleu"))
    assert points == [(pytest.approx(4.0), pytest.approx(160 / 3))]
    curve = [(snr, Interval(50.0, 50.0, 50.0)) for snr in SNRS]
    picture = figures.marked(figures.curves({"BLEU": {"teacher": curve}}), points)(look.PAGE)
    rings = [line for line in picture.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert [tuple(ring.get_xydata()[0]) for ring in rings] == points


def test_a_closer_grid_has_both_ends():
    assert beside_baselines.closer_grid({(0.0, 2.5), (6.0, 8.0)}) == [0, 1, 2, 2.5, 6, 7, 8]


def test_bounds_lose_what_theory_says(offered, code):
    snrs = (-3.0, 0.0, 20.0)
    states = np.broadcast_to(np.array(snrs)[:, None], (3, len(offered.encoded)))
    of = baseline_bounds.Bounded(offered, AWGN(), snrs, states, 42)
    shannon, normal = baseline_bounds.curves(of, code, Framing(), TextScoring())
    lengths = np.array([len(bits) for bits in code.encode_all(offered.texts)])
    for k, snr in enumerate(snrs):
        wanted = lengths <= np.array(offered.symbols) * np.log2(1 + 10 ** (snr / 10))
        assert shannon.rows[k]["arrived"] == pytest.approx(wanted.mean())
        assert shannon.rows[k]["exact"] == pytest.approx(wanted.mean())
        error = bounds.normal_error(lengths, offered.symbols, snr)
        assert normal.rows[k]["arrived"] == pytest.approx(1 - error.mean())
        spread = np.sqrt((error * (1 - error)).sum()) / len(lengths)
        assert abs(normal.rows[k]["exact"] - (1 - error.mean())) <= 4 * spread + 1e-9
    names = [
        c.label
        for c in baseline_bounds.curves(
            baseline_bounds.Bounded(offered, Rayleigh(), snrs, states, 42), code, Framing(), TextScoring()
        )
    ]
    assert names[-1] == "huffman-pieces + Rayleigh outage"


@pytest.mark.parametrize("fading", ["block", "symbol", "jakes"])
def test_bounds_are_of_the_gain_that_is_and_not_of_its_estimate(offered, fading):
    known = Rayleigh(fading=fading, speed=30.0) if fading == "jakes" else Rayleigh(fading=fading)
    guessed = replace(known, csi="pilots", csi_pilots=1, csi_estimator="ls")
    wanted, found = (channel_states.powers(each, offered.encoded, 16, 42) for each in (known, guessed))
    for one, other in zip(wanted, found):
        np.testing.assert_array_equal(one, other)


def test_at_low_snr_the_shannon_bound_under_pilots_loses_what_outage_says(sentences, vocabulary, code):
    """Block fading: both are the same event, so their means differ by the draw alone."""
    many = Offered(batching.encode(list(sentences)[:400], vocabulary), 16)
    channel = Rayleigh(csi="pilots", csi_pilots=1, csi_estimator="ls")
    powers = channel_states.powers(channel, many.encoded, 16, 42)
    lengths = np.array([len(bits) for bits in code.encode_all(many.texts)])
    states = channel_states.states(powers, [-6.0], [[place] for place in range(len(lengths))])
    lost = bounds.shannon_error(lengths, many.symbols, states[0])
    outage = bounds.rayleigh_outage(lengths, many.symbols, -6.0)
    spread = np.sqrt((outage * (1 - outage)).sum()) / len(lengths)
    assert abs(lost.mean() - outage.mean()) <= 4 * spread


def test_packed_bounds_are_of_whole_blocks():
    found = baseline_bounds.of_blocks([100, 200, 300], Framing(packed=True), [4000, 4000, 4000])
    assert found.tolist() == [300, 300, 300]
    assert baseline_bounds.of_blocks([100, 200], Framing()).tolist() == [100, 200]


# --- the verb


RUN = ("--sentences", 12, "--corpus-size", 900, "--snr", 12, 0, 12, "--quiet", "--device", "cpu")
MORE = ("--header", "--resend", "--examples", 2)
CODES = ("--source-code", "huffman-pieces", "huffman-characters")


@pytest.fixture
def toy(monkeypatch):
    """The verb over the toy link."""
    monkeypatch.setattr(verb, "CodedLink", lambda offered, channel, seed: ToyLink(offered))
    monkeypatch.setattr(sionna_code, "require", lambda: None)
    monkeypatch.setitem(NEEDED, 8, 19.0)


def test_the_verb_writes_curves_that_evaluate_draws_beside_models(teacher, here, toy, capsys):
    made = package("baseline", "--like", teacher, *CODES, *RUN, *MORE, "--output", "b.csv")
    out = capsys.readouterr().out
    assert made == 0
    assert "share that fits" in out and "schemes by SNR" in out
    assert "knows neither the SNR nor the channel's gain" in out
    assert "--baseline b.csv" in out
    assert "header paid" in out and "how often a sentence's symbols are sent" in out
    assert "what was understood at 12 dB" in out
    rows, record = pd.read_csv("b.csv"), json.loads((here / "b.json").read_text())
    assert {"huffman-pieces + LDPC qpsk", "huffman-characters + normal approximation"} <= set(rows["model"])
    assert record["sentences_measured"] == 12 and len(record["symbols_by_sentence"]) == 12
    assert sum(record["symbols_by_sentence"].values()) == record["symbols"]
    assert all(symbols % 8 == 0 for symbols in record["symbols_by_sentence"].values())

    assert package("evaluate", teacher, *RUN, "--baseline", "b.csv", "--output", "e.csv") == 0
    out = capsys.readouterr().out
    assert "where curves of BLEU cross" in out
    assert ("next: baseline and evaluate again with --snr 0 1 2 3" in out) == ("ahead above" in out)
    assert "none: baseline ahead throughout" in out or "ahead above" in out
    assert "huffman-pieces + LDPC, SNR known" in out
    assert set(pd.read_csv("e.csv")["model"]) == {"tiny_teacher", "(floor)"}


def _without(words, flag):
    """Without that flag and its values."""
    if flag not in words:
        return words
    start = words.index(flag)
    end = next((i for i in range(start + 1, len(words)) if str(words[i]).startswith("--")), len(words))
    return (*words[:start], *words[end:])


def test_a_curve_has_its_colour_whatever_models_stand_beside_it():
    kinds = {"lm, one": "lm", "lm, h": "lm", "Shannon": "bound"}
    point = [(0.0, Interval(1.0, 1.0, 1.0))]
    alone = figures.styles_of({"BLEU": dict.fromkeys(kinds, point)}, ["", ""], look.PAGE, kinds)
    beside = {"BLEU": dict.fromkeys(["model", *kinds], point)}
    together = figures.styles_of(beside, ["", ""], look.PAGE, kinds | {"model": ("model",)})
    assert {name: together[name] for name in kinds} == alone
    assert together["model"]["color"] not in {style["color"] for style in alone.values()}


def test_bounds_and_source_codes_have_colours_of_their_own():
    rows = pd.DataFrame(
        {
            "model": ["lm + LDPC 16qam", "lm + LDPC, SNR known", "lm + Shannon bound"],
            "source_code": ["lm"] * 3,
            "adaptation": ["fixed", "snr", "Shannon bound"],
        }
    )
    assert list(baseline_record.kinds_of(rows).values()) == ["lm", "lm", "bound"]


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--seed", 7], ["seed 42", "here is 7", "--seed"]),
        (["--sentences", 5], ["sentences measured 12", "--sentences"]),
        (["--channel", "rayleigh"], ["channel", "--channel"]),
        (["--snr", 3], ["has no 3 dB", "--snr 0 12"]),
        (["--corpus-size", 800], ["corpus fingerprint", "--corpus"]),
    ],
)
def test_a_baseline_of_something_else_is_refused(made_once, teacher, here, toy, capsys, flags, words):
    folder = made_once(
        "baseline",
        lambda folder: package("baseline", "--like", teacher, *CODES[:2], *RUN, "--output", folder / "b.csv"),
    )
    capsys.readouterr()
    assert package("evaluate", teacher, *_without(RUN, flags[0]), *flags, "--baseline", folder / "b.csv") == 2
    line = capsys.readouterr().err
    assert len(line) <= 500 and line.count("\n") == 1
    assert all(word in line for word in words), line


def test_what_is_no_baseline_is_refused(teacher, here, capsys):
    for name, content, beside in (("a", None, None), ("b", "model,snr\n", "{}"), ("c", "x", "[")):
        if content is not None:
            (here / f"{name}.csv").write_text(content)
            (here / f"{name}.json").write_text(beside)
        assert package("evaluate", teacher, *RUN, "--baseline", f"{name}.csv") == 2
        line = capsys.readouterr().err
        assert "--baseline" in line and "python -m semcom baseline" in line and line.count("\n") == 1


@pytest.mark.parametrize("damage", ["no bleu", "none shown", "words", "twice", "a gap", "infinite"])
def test_a_damaged_table_is_no_baseline(here, damage):
    rows = pd.DataFrame(
        {
            "model": ["a", "a", "b", "b"],
            "snr": [0.0, 6.0] * 2,
            "bleu": [1.0, 2.0, 3.0, 4.0],
            "shown": True,
            "source_code": "lm",
            "adaptation": "snr",
        }
    )
    (here / "b.json").write_text(json.dumps({"made_by": baseline_record.MADE_BY}))
    rows.to_csv(here / "b.csv", index=False)
    assert len(baseline_record.read("b.csv").rows) == 4
    damaged = {
        "no bleu": lambda: rows.assign(bleu=np.nan),
        "none shown": lambda: rows.assign(shown=False),
        "words": lambda: rows.assign(shown="maybe"),
        "twice": lambda: pd.concat([rows, rows]),
        "a gap": lambda: rows.iloc[:3],
        "infinite": lambda: rows.assign(snr=np.inf),
    }[damage]()
    damaged.to_csv(here / "b.csv", index=False)
    with pytest.raises(SemcomError, match="is no table of a baseline"):
        baseline_record.read("b.csv")


def test_without_sionna_bounds_are_drawn_and_a_line_says_how_to_get_it(teacher, here, capsys, monkeypatch):
    monkeypatch.setattr(sionna_code, "find_spec", lambda name: None)
    assert package("baseline", "--like", teacher, *CODES[:2], *RUN, "--output", "b.csv") == 0
    out = capsys.readouterr().out
    assert out.count("pip install .[phy]") == 1
    rows = pd.read_csv("b.csv")
    assert set(rows["adaptation"]) == {"Shannon bound", "normal approximation"} and rows["shown"].any()
    assert package("evaluate", teacher, *RUN, "--baseline", "b.csv") == 0
    assert "huffman-pieces + Shannon bound" in capsys.readouterr().out


def test_a_language_model_is_kept_and_used_again(teacher, here, toy, capsys):
    lm = ("--like", teacher, "--source-code", "lm", "--adaptation", "snr", "--packing", "sentence")
    run = ("--sentences", 5, "--corpus-size", 300, "--snr", 20, "--quiet", "--device", "cpu")
    assert package("baseline", *lm, *run, "--lm-steps", 2, "--output", "b.csv") == 0
    assert "b.lm.pt" in capsys.readouterr().out
    assert package("baseline", *lm, *run, "--lm-code", "b.lm.pt", "--output", "again.csv") == 0
    assert (here / "b.csv").read_text() == (here / "again.csv").read_text()
    assert not (here / "again.lm.pt").exists()
    capsys.readouterr()
    assert package("baseline", *lm, *run, "--lm-code", "absent.pt") == 2
    assert "--lm-code absent.pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, told",
    [
        ("words", "not a language model of the source code lm"),
        ("folder", "is a folder, a file is wanted"),
        ("teacher", "not a language model of the source code lm; leave it out"),
    ],
)
def test_a_wrong_language_model_is_told_before_any_work(teacher, here, capsys, monkeypatch, content, told):
    def no_work(*given):
        raise AssertionError("sentences are read")

    monkeypatch.setattr(verb.baseline_inputs, "sentences_of", no_work)
    path = here / "lm.pt"
    if content == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"words" if content == "words" else teacher.read_bytes())
    assert package("baseline", "--like", teacher, "--source-code", "lm", *RUN, "--lm-code", "lm.pt") == 2
    line = capsys.readouterr().err
    assert told in line and "--lm-code lm.pt: " in line and "another version" not in line


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--channel", "ideal"], ["--channel ideal", "--channel awgn"]),
        (["--channel", "rayleigh", "--csi", "none"], ["--csi none", "--csi pilots"]),
        (["--like", "absent.pt"], ["--like absent.pt", "no such file"]),
        (["--vocab", "v", "--like", "a.pt"], ["--vocab v", "--like a.pt"]),
        (["--channel-dim", "8"], ["--channel-dim 8", "--vocab"]),
        (["--vocab", "v", "--channel-dim", "7"], ["--channel-dim 7", "even"]),
        (["--modulation", "8psk"], ["8psk", "qpsk"]),
        (["--crc", "24"], ["--crc", "16"]),
        (["--split", "all"], ["--split all", "test or validation"]),
        (["--source-code", "lm", "lm"], ["--source-code lm lm", "each once"]),
        (["--packing", "packed", "packed"], ["--packing", "each once"]),
        (["--lm-code", "x", "--lm-steps", "5"], ["--lm-steps", "--lm-code"]),
        (["--source-code", "zip"], ["zip", "huffman-characters"]),
        (["--source-code", "huffman-pieces", "--lm-code", "x"], ["--lm-code", "--source-code lm"]),
        (["--source-code", "huffman-pieces", "--lm-steps", "5"], ["--lm-steps", "--source-code lm"]),
        (["--vocab", "absent.model"], ["--vocab absent.model", "cannot be read"]),
    ],
)
def test_wrong_flags_are_one_line(here, capsys, flags, words):
    assert package("baseline", *flags) == 2
    line = capsys.readouterr().err
    assert len(line) <= 500 and line.count("\n") == 1
    assert all(word in line for word in words), line


def test_the_verb_is_in_its_table():
    assert parsers.VERBS["baseline"].load() is verb.baseline


def test_the_real_link_returns_texts_and_takes_no_other_symbols(sentences, vocabulary, code):
    pytest.importorskip("sionna")
    few = Offered(batching.encode(list(sentences)[:4], vocabulary), 16)
    link = CodedLink(few, AWGN(), 42)
    for framing in (Framing(crc=11), Framing(packed=True, header_bits=10)):
        high, low = (understand(few, code, 4, framing, link, [snr], TextScoring()) for snr in (20.0, -12.0))
        assert high.whole.all() and bleu(high.by_failure[EMPTY][0]) == pytest.approx(100)
        assert not low.whole.any()
    again = understand(few, code, 4, Framing(resend=True), link, [-12.0, 20.0], TextScoring())
    assert (again.sent[0] == 2).all() and (again.sent[1] == 1).all()
