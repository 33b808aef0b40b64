"""``python -m semcom align`` on toys: a teacher and one whose signal is rotated, so that a map repairs all
and what it should gain is known."""

import copy
import csv
import json
import random
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cli_support import analyse, package, refused
from toy import CPU, Numbers, encoded, size, spoken, through, transceiver, word_vocabulary

from semcom.base import signals
from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN, Rayleigh
from semcom.commands import alignment_files
from semcom.data import batching, corpus
from semcom.data.batching import collate
from semcom.data.sentences import Sentences
from semcom.distillation.aligners import Pilots
from semcom.evaluation import alignment
from semcom.evaluation.alignment import OWN, SENDERS, UNALIGNED, Case, Found, Plan, received, repetitions
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pilots import (
    Air,
    Ends,
    chosen_pilots,
    covered_text,
    covering,
    drawn_pilots,
    pilot_rows,
    symbols_of,
)
from semcom.evaluation.scores import Meeting
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import PARTS, RECEIVER_PARTS
from semcom.models.transceiver import splice
from semcom.report import document
from semcom.report.catalogue import translation
from semcom.report.sections import alignment as section

WORDS = [f"word{chr(97 + k)}" for k in range(20)]
C = 16
FILES = ("a.pt", "b.pt", "text.txt")
ENDS = ["--transmitter", "a.pt", "--receiver", "b.pt", "--corpus", "text.txt", "--device", "cpu", "--quiet"]
SMALL = ["--sentences", "30"]
AT = ["--snr", "12", "--draws", "2"]


def trained(sentences):
    """A transceiver that has learned the words and half of what stands where."""
    model = transceiver(size(1, 32, 2, 64), size(1, 32, 2, 64), channel_dim=C, seed=1).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(220):
        batch = collate(random.Random(step).sample(sentences, 32))
        received = through(model, batch, AWGN(), 12.0, seed=step)
        states = model.receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]
        loss = F.cross_entropy(model.receiver.project(states), batch.target_out[batch.target_mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def rotated(model):
    """The same, but that a random orthogonal matrix stands between it and the channel, at both ends."""
    q, _ = torch.linalg.qr(torch.randn(C, C, generator=torch.Generator().manual_seed(3)))
    other = copy.deepcopy(model)
    last, first = other.transmitter.channel_encoder[-1], other.receiver.channel_decoder.linear1
    with torch.no_grad():
        last.weight.copy_(q @ last.weight)
        last.bias.copy_(q @ last.bias)
        first.weight.copy_(first.weight @ q.T)
    return other


@pytest.fixture(scope="module")
def toys(made_once):
    def make(folder):
        vocabulary, rng = word_vocabulary(WORDS), random.Random(0)
        lines = [" ".join(rng.choices(WORDS, k=rng.randint(4, 8))) for _ in range(1600)]
        (folder / "text.txt").write_text("\n".join(lines))
        sentences = batching.encode([corpus.make_sentence(line) for line in lines], vocabulary)
        teacher = trained(sentences)
        for name, model in (("a.pt", teacher), ("b.pt", rotated(teacher))):
            checkpoint.save(Checkpoint(model, vocabulary, dict.fromkeys(PARTS, f"of {name}")), folder / name)

    return made_once("align_toys", make)


@pytest.fixture
def inputs(toys, here):
    for name in FILES:
        shutil.copy(toys / name, here / name)
    return here


def align(*flags):
    return package("align", *ENDS, *flags)


@pytest.fixture(scope="module")
def made(toys, made_once):
    """Ways with and without a closed form, and the record of what they gain."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patched:
            patched.chdir(folder)
            for name in FILES:
                shutil.copy(toys / name, folder / name)
            ways = ["--by", "none", "scale", "orthogonal", "linear", "--pilots", 40, 4]
            assert align(*ways, *SMALL, "--snr", "0", "12", "--draws", "2", "--output-path", "made") == 0

    return made_once("aligned_toys", make)


def table_of(folder):
    with open(folder / "made/alignment.csv", encoding="utf-8-sig") as file:
        return {(row["way"], int(row["pilots"]), float(row["snr"])): row for row in csv.DictReader(file)}


def number(row, name):
    return float(row[name])


def test_a_map_repairs_a_rotation_and_nothing_else(made):
    rows = table_of(made)
    for way in ("orthogonal", "linear"):
        row = rows[way, 40, 12.0]
        assert number(row, "unaligned") < number(row, "own") / 2, "a rotation is a mismatch"
        assert number(row, "bleu") == pytest.approx(number(row, "own"), abs=6)
        assert number(row, "gain") == pytest.approx(number(row, "bleu") - number(row, "unaligned"))
        assert number(row, "recovery") > 0.85
        assert abs(number(row, "own_gain")) < 6
    assert number(rows["scale", 40, 12.0], "recovery") < 0.5
    none = rows["none", 40, 12.0]
    assert number(none, "gain") == 0 and number(none, "bleu") == number(none, "unaligned")
    assert number(none, "own_aligned") == number(none, "own")


def test_rows_come_by_way_number_and_snr_with_their_symbols(made):
    rows = table_of(made)
    assert list(rows) == [
        (way, count, snr)
        for way in ("none", "scale", "orthogonal", "linear")
        for count in (4, 40)
        for snr in (0.0, 12.0)
    ]
    assert number(rows["linear", 4, 0.0], "symbols") < number(rows["linear", 40, 0.0], "symbols") / 8
    assert number(rows["linear", 40, 0.0], "bleu") < number(rows["linear", 40, 12.0], "bleu")
    first = rows["linear", 40, 0.0]
    for name in ("gain", "recovery", "bleu"):
        assert number(first, f"{name} low") <= number(first, name) <= number(first, f"{name} high")
    assert first["bleu_signature"].startswith("nrefs:1") and first["genie"] == "False"


def test_what_is_made_is_an_ordinary_checkpoint(made):
    both = [checkpoint.load(made / name) for name in FILES[:2]]
    joined = checkpoint.load(made / "made/aligned_linear.pt")
    assert not (made / "made/aligned_none.pt").exists()
    assert joined.model.parts() == (*PARTS, "aligner")
    assert joined.model.parameter_count() == both[0].model.parameter_count() + C * C
    assert joined.origin["encoder"] == f"{FILES[0]}: of a.pt" and joined.origin["decoder"] == "b.pt: of b.pt"
    assert joined.origin["aligner"] == "linear, 40 pilots received at 12 dB, awgn"
    record = json.loads((made / "made/alignment.json").read_text())
    wanted = {"way": "linear", "pilots": 40, "draw": 0, "snr": 12.0}
    (of_draw,) = [row for row in record["by_draw"] if wanted.items() <= row.items()]
    assert joined.metrics["bleu"] == of_draw["bleu"]


def test_the_saved_pair_scores_as_it_was_told(made, monkeypatch):
    monkeypatch.chdir(made)
    told = checkpoint.load("made/aligned_linear.pt").metrics["bleu"]
    with spoken() as lines:
        flags = ["--snr", 12, "--sentences", 30, "--corpus", "text.txt", "--quiet"]
        assert package("evaluate", "made/aligned_linear.pt", *flags, "--device", "cpu") == 0
    (table,) = [line for line in lines if line.strip().startswith("BLEU (")]
    assert float(table.split()[-1]) == pytest.approx(told, abs=0.01)


def test_identical_ends_gain_nothing_and_have_nothing_to_recover(inputs):
    flags = ["--pilots", 40, *SMALL, *AT, "--by", "linear", "--output-path", "made"]
    shutil.copy("a.pt", "b.pt")
    assert align(*flags) == 0
    row = table_of(inputs)["linear", 40, 12.0]
    assert abs(number(row, "gain")) < 5 and row["recovery"] == ""
    assert number(row, "gain") == pytest.approx(number(row, "own_gain"))


def test_one_map_may_serve_a_range(inputs):
    flags = ["--pilots", 30, *SMALL, "--snr", "6", "18", "--map-snr", "range", "--draws", "1"]
    with spoken() as lines:
        assert align(*flags) == 0
    folder = inputs / "checkpoints/alignment"
    joined = checkpoint.load(folder / "aligned_linear.pt")
    assert joined.origin["aligner"] == "linear, 30 pilots received at 6 to 18 dB, awgn"
    record = json.loads((folder / "alignment.json").read_text())
    assert record["of_range"] and len(record["rows"]) == 2
    # The console has every SNR.
    (told,) = [line for line in "\n".join(lines).splitlines() if line.startswith("linear, 30 pilots")]
    for row in record["rows"]:
        assert f"{row['bleu']['value']:.2f} ({row['gain']['value']:+.2f})" in told
    assert any("fewer than 3 draws" in line for line in lines)
    # A second one sets the first aside; one draw has the interval of the sentences.
    assert align(*flags) == 0
    assert (inputs / "checkpoints/alignment.before-1").is_dir()
    assert record["rows"][0]["gain"] == record["rows"][0]["gain_over_sentences"]


@pytest.mark.parametrize("way, texts", [("decoder", False), ("surrogate", True)])
def test_trainings_get_what_they_need_and_a_control_of_one_draw(inputs, monkeypatch, way, texts):
    asked = []

    def tuned(way, sender, listener, pilots, **given):
        asked.append((way, sender is listener, len(pilots), len(given["texts"]) > 1000, given["snr"]))
        return splice(sender, listener, RECEIVER_PARTS)

    monkeypatch.setattr(alignment, "tuned", tuned)
    assert align("--by", way, "--pilots", 5, *SMALL, *AT, "--output-path", "made") == 0
    foreign, own = (way, False, 5, texts, 12.0), (way, True, 5, texts, 12.0)
    assert asked == [foreign, own, foreign]
    row = table_of(inputs)[way, 5, 12.0]
    assert number(row, "gain") == number(row, "own_gain") == 0
    origin = checkpoint.load(f"made/aligned_{way}.pt").origin
    assert origin["decoder"] == f"b.pt: of b.pt; {way}, 5 pilots received at 12 dB, awgn"
    assert origin["encoder"] == "a.pt: of a.pt"


@pytest.mark.parametrize(
    "flags, warned",
    [
        ([], False),
        (["--channel", "rayleigh"], True),
        (["--channel", "rayleigh", "--equalizer", "mmse"], False),
    ],
)
def test_a_fit_to_what_zero_forcing_leaves_is_warned_of(inputs, flags, warned):
    with spoken() as lines:
        assert align("--pilots", 5, *SMALL, *AT, *flags) == 0
    assert any("--equalizer mmse" in line for line in lines if line.startswith("warning")) == warned


# --- what is refused


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--split", "all"], "--split all: pilots come from the training split"),
        (["--by", "linear", "linear"], "--by linear linear: name each way once"),
        (["--by", "magic"], "--by 'magic': allowed are none, scale,"),
        (["--pilots", "10", "10"], "--pilots 10 10: must be whole numbers of 1 or more"),
        (["--pilots", "0"], "--pilots 0: must be"),
        (["--pilots", "5000"], "--pilots 5000: the training split has 1,"),
        (["--transmitter", "nowhere.pt"], "--transmitter nowhere.pt: no such file"),
        (["--output-path", "."], "--output-path .: "),
    ],
)
def test_wrong_input_is_one_line(inputs, capsys, flags, told):
    ends = ENDS[2:] if flags[0] == "--transmitter" else ENDS
    line = refused(capsys, package("align", *ends, *flags))
    assert told in line


def stopped_after(monkeypatch, number):
    """Of what is decoded, so many are read, and then a signal comes."""
    decode, calls = alignment.decode, iter(range(number))

    def some(*given):
        if next(calls, None) is None:
            raise signals.Interrupt(signal.SIGTERM)
        return decode(*given)

    monkeypatch.setattr(alignment, "decode", some)


def results(folder):
    """Of all that it says, what no clock and no path changes."""
    record = json.loads((folder / "alignment.json").read_text())
    joined = {path.name: checkpoint.load(path).fingerprint for path in folder.glob("*.pt")}
    return record["rows"], record["by_draw"], joined, (folder / "alignment.csv").read_bytes()


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(inputs, capsys, monkeypatch):
    flags = ["--by", "linear", "scale", "--pilots", 4, 9, *SMALL, *AT, "--output-path"]
    assert align(*flags, "whole") == 0
    for number in (1, 8, 6):
        with monkeypatch.context() as patched:
            stopped_after(patched, number)
            assert align(*flags, "made") == 128 + signal.SIGTERM
        assert "finished parts are kept" in capsys.readouterr().err and not (inputs / "made").exists()
    left = inputs / ".made.measured"
    assert len(list(left.glob("*.npz"))) == 15, "what one run has finished the next one does not do again"
    damaged = sorted(left.glob("*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    shutil.copytree(left, "kept")
    with spoken() as lines:
        assert align(*flags, "made") == 0
    assert any("going on with 15 finished parts" in line for line in lines)
    assert any("not to be trusted" in line for line in lines)
    assert results(inputs / "made") == results(inputs / "whole")
    assert not left.exists(), "at the end nothing of it is left"
    # Another alignment has none of these parts, and leaves them where they are.
    shutil.copytree("kept", left)
    with spoken() as lines:
        assert align(*flags, "made", "--overwrite", "--seed", 8) == 0
    assert not any("going on" in line for line in lines)
    assert results(inputs / "made") != results(inputs / "whole") and len(list(left.glob("*.npz"))) == 15


def test_parts_that_cannot_be_kept_end_no_alignment(inputs):
    (inputs / ".made.measured").write_text("a file, where the folder of the parts would be")
    with spoken() as lines:
        assert align("--pilots", 4, *SMALL, *AT, "--output-path", "made") == 0
    assert any("an interrupted one will begin anew" in line for line in lines)


def test_ends_of_two_vocabularies_or_widths_are_refused(inputs, capsys):
    joined = checkpoint.load("a.pt")
    other = word_vocabulary([*WORDS[:-1], "other"])
    checkpoint.save(Checkpoint(joined.model, other, joined.origin), "b.pt")
    assert "vocabularies differ" in refused(capsys, align("--by", "linear"))
    narrow = transceiver(size(1), size(1), channel_dim=8)
    checkpoint.save(Checkpoint(narrow, joined.vocabulary, joined.origin), "b.pt")
    line = refused(capsys, align("--by", "scale"))
    assert "--by scale: needs one signal width C" in line and "linear" in line


def test_two_widths_have_no_gain(inputs):
    known = checkpoint.load("a.pt")
    checkpoint.save(
        Checkpoint(transceiver(size(1), size(1), channel_dim=8), known.vocabulary, known.origin), "b.pt"
    )
    assert align("--by", "linear", "--pilots", 20, *SMALL, *AT, "--output-path", "made") == 0
    row = table_of(inputs)["linear", 20, 12.0]
    assert row["bleu"] != "" and row["gain"] == row["recovery"] == row["repeated"] == ""
    assert row["gain low"] == row["recovery_over_sentences high"] == "", "the same columns, whatever is known"


# --- pilots


def test_pilots_are_chosen_as_asked_and_what_they_cover_is_told(inputs):
    flags = ["--pilots", 1, "--sentences", "5", "--snr", "12", "--draws", "1", "--by", "scale"]
    covered = {}
    for choice in ("random", "covering"):
        with spoken() as lines:
            assert align(*flags, "--pilot-choice", choice, "--output-path", choice) == 0
        record = json.loads((inputs / choice / "alignment.json").read_text())
        assert record["settings"]["pilot_choice"] == choice
        covered[choice] = record["covered_text"]["1"]
        told = f"pieces of the pilots make up {100 * covered[choice]:.1f} % of the text"
        assert any(told in line for line in lines)
    assert covered["random"] < covered["covering"]


def test_fewer_pilots_are_the_first_of_more_whatever_the_order(made):
    lines = (made / "text.txt").read_text().splitlines()
    vocabulary = word_vocabulary(WORDS)
    train = Sentences.of(corpus.make_sentence(line) for line in dict.fromkeys(lines)).split("train")
    backwards = train.where(np.arange(len(train))[::-1])

    def texts(of, count, number=0, seed=7):
        drawn = drawn_pilots(of, vocabulary, count, seed=seed, number=number)
        return [e.sentence.text for e in drawn]

    more = texts(train, 50)
    assert len(set(more)) == 50 and texts(train, 20) == more[:20] and texts(backwards, 50) == more
    for other in (texts(train, 50, number=1), texts(train, 50, seed=8)):
        assert len(set(other) & set(more)) < 15
    assert len(texts(train, 10**6)) == len(train)


@pytest.mark.parametrize("per_symbol", [False, True])
def test_pilots_that_cover_the_text_are_the_greedy_choice(per_symbol):
    pool = encoded(60, 3, 9)
    chosen = covering(pool, 8, per_symbol=per_symbol)
    running = [piece for e in pool for piece in e.source]
    seen: set[int] = set()
    left = list(pool)
    for sentence in chosen:
        new = {id(e): sum(map(running.count, set(e.source) - seen)) for e in left}
        brought = [new[id(e)] / (len(e.source) if per_symbol else 1) for e in left]
        assert brought[left.index(sentence)] == max(brought)
        seen |= set(sentence.source)
        left.remove(sentence)
    assert covering(pool, 3, per_symbol=per_symbol) == chosen[:3]
    assert len(covering(pool, 100, per_symbol=per_symbol)) == 60
    share = sum(piece in seen for piece in running) / len(running)
    assert covered_text(chosen, pool) == pytest.approx(share)


def test_chosen_pilots_differ_by_draw_and_hold_more_of_the_text(made):
    vocabulary = word_vocabulary(WORDS)
    train = Sentences.of(corpus.make_sentence(line) for line in (made / "text.txt").read_text().splitlines())

    def chosen(choice, number=0):
        return chosen_pilots(choice, train, vocabulary, 2, seed=7, number=number)

    whole = drawn_pilots(train, vocabulary, len(train), seed=7, number=0)
    assert chosen("random") == whole[:2] and chosen("random") != chosen("random", 1)
    assert covered_text(chosen("covering"), whole) > covered_text(chosen("random"), whole)
    symbols = [symbols_of(chosen(choice), 8) for choice in ("covering-per-symbol", "covering")]
    assert symbols[0] <= symbols[1]


def test_rows_of_pilots_are_those_of_each_sentence_alone():
    sender, listener = (transceiver(channel_dim=c, seed=c) for c in (8, 4))
    pilots, channel = encoded(70, 3, 9), Rayleigh()
    _, rows = pilot_rows(Ends(sender, listener), pilots, [0.0, 6.0], Air(channel, 5, CPU))
    arrived, wanted = [], []
    for one in pilots:
        batch = collate([one])
        with torch.no_grad():
            arrived.append(through(sender, batch, channel, 6.0, seed=5)[0])
            wanted.append(listener.transmitter(batch.source, batch.source_mask)[0][0])
    for count in (70, 3):
        part = rows.first(count)
        torch.testing.assert_close(part.arrived, torch.cat(arrived[:count]).double(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(part.wanted, torch.cat(wanted[:count]).double(), rtol=1e-4, atol=1e-5)
        assert part.sentence.bincount().tolist() == [len(e.source) for e in pilots[:count]]
        assert isinstance(part, Pilots)
    assert symbols_of(pilots, 8) == sum(len(e.source) * 4 for e in pilots)


# --- rows


def plan_of(test, *, counts=(10,), ways=("linear",), draws=3):
    model = transceiver()
    meeting = Meeting(AWGN(), (12.0,), 0, CPU, 8, quiet=True)
    pilots = [encoded(max(counts), seed=draw) for draw in range(draws)]
    return Plan(Ends(model, model), ways, counts, pilots, (), test, Numbers(), meeting, 12.0, replicates=300)


def statistics(rights, sentences=40, words=8):
    """[N, 10] of sentences of which the first ``rights`` of the words are right."""
    counts = [max(rights - n, 0) for n in range(4)]
    ngrams = [words - n for n in range(4)]
    return np.tile(np.array([words, words, *counts, *ngrams], dtype=float), (sentences, 1))


def found_of(plan, unaligned, own, aligned):
    found = Found(plan, symbols={10: [plan.meeting.seed + 400] * len(plan.pilots)})
    for name, rights in ((UNALIGNED, unaligned), (OWN, own), (SENDERS, own), (received(2), own)):
        found.fixed[name, 12.0] = statistics(rights)
    for draw, rights in enumerate(aligned):
        found.aligned[Case("linear", 10, draw, 12.0)] = statistics(rights)
        found.own_aligned[Case("linear", 10, draw, 12.0)] = statistics(own)
    return found


TEST = encoded(40, 6, 6)


def test_a_share_is_told_only_where_there_is_something_to_recover():
    plan = plan_of(TEST)
    (clear,) = alignment.rows(found_of(plan, 4, 8, [6, 8, 7]))
    assert clear["unaligned"].value < clear["bleu"].value < clear["own"].value
    of_draws = [alignment.text_metrics.bleu_of(statistics(n).sum(0)) for n in (6, 8, 7)]
    low = alignment.text_metrics.bleu_of(statistics(4).sum(0))
    assert clear["gain"].value == pytest.approx(np.mean(of_draws) - low)
    assert clear["recovery"].value == pytest.approx((np.mean(of_draws) - low) / (100 - low))
    spread = np.std(of_draws, ddof=1) * 4.302653 / 3**0.5
    assert clear["gain"].high - clear["gain"].value == pytest.approx(spread, rel=1e-4)
    (same,) = alignment.rows(found_of(plan, 8, 8, [8, 8, 7]))
    assert same["recovery"] is None and same["recovery_over_sentences"] is None
    assert same["gain"].value < 0


def test_fewer_than_three_draws_have_the_intervals_of_sentences():
    plan = plan_of(TEST, draws=2)
    (few,) = alignment.rows(found_of(plan, 4, 8, [5, 7]))
    assert few["gain"] == few["gain_over_sentences"] and few["recovery"] == few["recovery_over_sentences"]
    # All sentences of a pair are alike, so that these resamples are too: not 13 times the draws' distance.
    assert few["bleu"].low == pytest.approx(few["bleu"].value) == pytest.approx(few["bleu"].high)
    (one,) = alignment.rows(found_of(plan_of(TEST, draws=1), 4, 8, [5]))
    assert one["gain"] == one["gain_over_sentences"]


def test_symbols_buy_repetitions_of_the_first_sentences():
    plan = plan_of(TEST)
    cost = symbols_of(TEST[:1], plan.ends.sender.architecture.channel_dim)
    bought = [repetitions(plan, symbols) for symbols in (0, cost - 1, cost, 3.5 * cost, 83 * cost)]
    assert bought == [(0, 0), (0, 0), (0, 1), (0, 3), (2, 3)]
    assert replace(plan, counts=(1, 10)).receptions == [2], "of 40 sentences, by 10 pilots at most"
    assert replace(plan, test=TEST[:4], counts=(10,)).receptions
    (row,) = alignment.rows(found_of(plan, 4, 8, [6, 6, 6]))
    share = 400 // cost / len(TEST)
    assert share < 1
    assert row["repeated_share"] == share
    mixed = [*[statistics(8)[0]] * round(share * 40), *[statistics(4)[0]] * (40 - round(share * 40))]
    assert row["repeated"].value == pytest.approx(alignment.text_metrics.bleu_of(np.sum(mixed, 0)))


def test_repetition_is_both_receptions_by_maximum_ratio(made):
    rows = table_of(made)
    row = rows["linear", 40, 0.0]
    assert number(row, "repeated_gain") == pytest.approx(number(row, "repeated") - number(row, "unaligned"))
    assert number(row, "repeated_share") > number(rows["linear", 4, 0.0], "repeated_share") > 0


# --- the report


def test_the_record_is_read_again_as_it_was_told(made):
    read = alignment_files.read(str(made / "made"))
    rows = table_of(made)
    assert (read.transmitter, read.receiver, read.at, read.draws) == ("a", "b", 12.0, 2)
    for row in read.rows.to_dict("records"):
        written = rows[row["way"], row["pilots"], row["snr"]]
        assert isinstance(row["gain"], Interval) and row["gain"].value == number(written, "gain")


@pytest.mark.parametrize(
    "content, told",
    [
        (None, "No such file"),
        ("[]", "it is no record of a finished alignment"),
        ('{"finished": true}', "it is no record of an alignment"),
        ('{"finished": tru', "it is no JSON"),
    ],
)
def test_a_folder_without_a_whole_record_is_named(tmp_path, content, told):
    if content is not None:
        (tmp_path / "alignment.json").write_text(content)
    with pytest.raises(SemcomError, match="--alignment .*alignment.json there cannot be read") as raised:
        alignment_files.read(str(tmp_path))
    assert told in str(raised.value) and len(str(raised.value)) <= 500


def test_a_damaged_value_is_named(made, tmp_path):
    record = json.loads((made / "made/alignment.json").read_text())
    record["rows"][0]["gain"]["value"] = "high"
    (tmp_path / "alignment.json").write_text(json.dumps(record))
    with pytest.raises(SemcomError, match="high stands where a float is wanted"):
        alignment_files.read(str(tmp_path))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_section_has_a_table_and_curves(made, language):
    _ = translation(language).gettext
    read = alignment_files.read(str(made / "made"))
    table, figure = section.blocks([read], _, _)
    page = document.Document("t", language, [], [document.Section("s", "t", [table, figure])], [])
    document.check(page)
    assert table.frame["way"].tolist()[-1] == _("linear map") and len(table.frame) == 8
    assert all(isinstance(gain, Interval) for gain in table.frame["gain"])
    panels = section.panels_of(read.rows, _)
    assert list(panels) == ["0 dB", "12 dB"]
    assert [len(points) for points in panels["12 dB"].values()] == [2] * 6
    assert _("linear map") in panels["12 dB"] and _("no map") not in panels["12 dB"]


@pytest.mark.draws
def test_curves_are_drawn_over_a_logarithm_of_symbols(made):
    from semcom.report.look import PAGE

    read = alignment_files.read(str(made / "made"))
    picture = section.drawn(section.panels_of(read.rows, str), section.kinds_of(read.rows, str), str)(PAGE)
    scales = {axis.get_xscale() for axis in picture.axes if axis.lines}
    assert scales == {"log"}


@pytest.mark.draws
def test_of_one_number_of_pilots_all_pairs_are_drawn_and_each_name_is_led_to_its_curve(made):
    from semcom.report.look import PAGE, lay_out

    rows = alignment_files.read(str(made / "made")).rows
    few = rows[(rows["pilots"] == 40) & (rows["snr"] == 12)]
    picture = section.drawn(section.panels_of(few, str), section.kinds_of(few, str), str)(PAGE)
    lay_out(picture)
    (axis,) = picture.axes
    levels = [line for line in axis.lines if line.get_marker() == "None"]
    assert len(levels) == 3 and all(tuple(line.get_xdata()) == axis.get_xlim() for line in levels)
    (tick,) = axis.get_xticklabels()
    assert float(tick.get_text().replace(",", "")) == pytest.approx(few["symbols"].iloc[0], rel=5e-3)
    # A leader begins where a curve ends, on the scale that is drawn.
    ends = [axis.transData.transform(line.get_xydata()[-1]) for line in axis.lines]
    starts = [line.get_transform().transform(line.get_xydata()[0]) for line in picture.artists]
    assert len(starts) == len(axis.lines)
    for start in starts:
        assert min(np.abs(start - end).max() for end in ends) < 1


def test_bands_end_where_scores_do(made):
    rows = alignment_files.read(str(made / "made")).rows.copy()
    rows["bleu"] = [Interval(50.0, -20.0, 130.0)] * len(rows)
    curves = section.panels_of(rows, str)["12 dB"]
    assert {(i.low, i.high) for _, i in curves["linear map"]} == {(0.0, 100.0)}


def test_the_divergence_report_takes_it_in(inputs, made, capsys):
    shutil.copytree(made / "made", "made")
    flags = ["b.pt", "--teacher-checkpoint", "a.pt", "--alignment", "made", "--corpus", "text.txt"]
    at = ["--snr", 6, 12, "--sentences", 20, "--device", "cpu", "--quiet", "--report-dir", "report"]
    assert analyse(*flags, *at, "--verbose") == 0
    assert "joined by pilots that both sides" in " ".join(capsys.readouterr().out.split())
    page = (inputs / "report/report.md").read_text()
    assert "## Ends joined by pilots" in page and "orthogonal map" in page
    assert {"alignment_1.csv", "alignment_1.tex"} <= {
        path.name for path in (inputs / "report/tables").iterdir()
    }
    assert (inputs / "report/figures/alignment_curves_1.png").exists()


def test_an_alignment_that_is_not_there_ends_an_analysis_before_it_begins(inputs, capsys):
    code = analyse("b.pt", "--teacher-checkpoint", "a.pt", "--alignment", "nowhere", "--quiet")
    assert "--alignment nowhere: alignment.json there cannot be read" in refused(capsys, code)
