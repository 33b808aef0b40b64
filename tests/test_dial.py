"""``python -m semcom dial`` from one toy checkpoint to another: what it reaches, writes, refuses, and how it
goes on."""

import copy
import csv
import json
import math
import random
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cli_support import hidden, package, refused
from dials import between
from toy import CPU, bits, same_bits, size, through, transceiver, word_vocabulary

from semcom.base import json_files
from semcom.base.errors import SemcomError
from semcom.base.flags import as_record
from semcom.channel.channels import AWGN
from semcom.channel.settings import ChannelConfig
from semcom.commands import dial_files, dial_ladder
from semcom.commands.dial_state import UNFINISHED, resumed
from semcom.commands.ladders import found_under
from semcom.data import batching, corpus
from semcom.data.batching import collate
from semcom.evaluation import pair_matrix, path_search
from semcom.evaluation.measures import MEASURES, columns, of_sums
from semcom.evaluation.pairs import End, Pair
from semcom.evaluation.ruler import Ruler
from semcom.evaluation.scores import Meeting
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint, fingerprint_of
from semcom.models.settings import PARTS
from semcom.report import look

pytestmark = pytest.mark.usefixtures("inputs", "few_replicates")

WORDS = [f"word{chr(97 + k)}" for k in range(20)]
FILES = ("a.pt", "b.pt", "text.txt")
PATH = ["--from", "a.pt", "--to", "b.pt", "--corpus", "text.txt", "--device", "cpu"]
AT = ["--snr", "0", "12", "--quiet"]
TARGETS = (0.05, 0.2)
STATE = f"ladder/{UNFINISHED}"
TABLES = ["ladder.csv", "ladder.json", *look.with_print("dial_curve.png")]
LADDER = [*TABLES, "hybrid_0.05.pt", "hybrid_0.2.pt"]


def trained(sentences):
    """A transceiver that has learned the words and half of what stands where."""
    ends = size(1, 32, 2, 64), size(1, 32, 2, 64)
    model = transceiver(*ends, channel_dim=16, seed=1).train()
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


@pytest.fixture(scope="module")
def toys(made_once):
    """A teacher, a relative with noise on its weights, and sentences of words that tell nothing of one
    another."""

    def make(folder):
        vocabulary, rng = word_vocabulary(WORDS), random.Random(0)
        lines = [" ".join(rng.choices(WORDS, k=rng.randint(4, 8))) for _ in range(1600)]
        (folder / "text.txt").write_text("\n".join(lines))
        sentences = batching.encode([corpus.make_sentence(line) for line in lines], vocabulary)
        teacher, noise = trained(sentences), torch.Generator().manual_seed(0)
        relative = copy.deepcopy(teacher)
        with torch.no_grad():
            for weights in relative.parameters():
                weights += 0.4 * weights.abs().mean() * torch.randn(weights.shape, generator=noise)
        for name, model in (("a.pt", teacher), ("b.pt", relative)):
            made = Checkpoint(model, vocabulary, dict.fromkeys(PARTS, name), {}, {})
            checkpoint.save(made, folder / name)

    return made_once("dial_toys", make)


@pytest.fixture
def inputs(toys, here):
    """The toys in the working directory."""
    copy_inputs(toys, here)


def copy_inputs(toys, folder):
    for name in FILES:
        shutil.copy(toys / name, folder / name)


def lessen(patched):
    patched.setattr(dial_ladder, "REPLICATES", 300)
    patched.setattr(path_search, "REPLICATES", 50)


@pytest.fixture
def few_replicates(monkeypatch):
    lessen(monkeypatch)


def dial(*flags, targets=TARGETS, to="ladder", path=PATH, at=AT):
    """A list in ``flags`` takes the place of the usual one."""
    at = ["--quiet"] if "--snr" in flags else at
    path = path[:-4] + path[-2:] if "--corpus" in flags else path
    asked = [] if "--target" in flags else ["--target", *targets]
    return package("dial", *path, *at, *asked, *(["--output-path", to] if to else []), *flags)


@pytest.fixture(scope="module")
def made(made_once, toys):
    """A finished ladder, which tests must not write to."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patched:
            lessen(patched)
            copy_inputs(toys, folder)
            patched.chdir(folder)
            assert dial() == 0

    return made_once("dial_ladder", make, draws=True) / "ladder"


@pytest.fixture(scope="module")
def unfinished(made_once, toys):
    """A folder with a ladder whose search was interrupted."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patched:
            lessen(patched)
            interrupt(patched, 12)
            copy_inputs(toys, folder)
            patched.chdir(folder)
            assert dial() == 130

    return made_once("dial_unfinished", make)


@pytest.fixture
def begun(unfinished):
    """A copy of it at ladder; what its record holds."""
    shutil.copytree(unfinished / "ladder", "ladder")
    return json_files.undigested(strict(STATE))


@pytest.fixture(scope="module")
def record(made):
    return strict(made / "ladder.json")


def strict(path):
    """JSON without the numbers that it does not have."""

    def refuse(word):
        raise ValueError(word)

    return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)


def contents(folder):
    return {file.name: file.read_bytes() for file in Path(folder).iterdir() if file.suffix != ".lock"}


def without_picture(folder):
    """Pictures hold one pixel in most tests."""
    return {name: content for name, content in contents(folder).items() if "dial_curve" not in name}


def left():
    """What stands in the working directory beside the inputs, hidden files too, but none of locks."""
    files = [path for path in Path().rglob("*") if path.is_file() and path.suffix != ".lock"]
    found = {part for path in files for part in (path, *path.parents)} - {Path()}
    return sorted(str(path) for path in found if path.name not in FILES)


# --- what is reached


@pytest.fixture(scope="module")
def measured(toys):
    """A function of a file and a split: sums [S, N, K] of a hybrid and of the teacher at 0 and 12 dB, by the
    pair matrix, of sentences that are read and split here."""
    teacher = checkpoint.load(toys / "a.pt")
    lines = set((toys / "text.txt").read_text().splitlines())
    read = sorted(map(corpus.make_sentence, lines), key=lambda sentence: sentence.id)

    def measured(file, split):
        model = checkpoint.load(file).model
        ends = ((m.transmitter, m.receiver) for m in (teacher.model, model))
        theirs, ours = (Pair(*(End("", end, fingerprint_of(end)) for end in pair)) for pair in ends)
        of_split = batching.encode([s for s in read if s.split == split], teacher.vocabulary)
        meeting = Meeting(AWGN(), (0.0, 12.0), 42, CPU, 64, quiet=True)
        found = pair_matrix.measure(
            [theirs, ours], theirs, of_split, teacher.vocabulary, meeting, cka_snr=12.0, cache=None
        )
        return found.pairs[ours.key].sums, found.pairs[theirs.key].sums

    return measured


@pytest.mark.parametrize("target", TARGETS)
def test_a_hybrid_has_the_divergence_asked_for(made, record, measured, target):
    hybrid = next(hybrid for hybrid in record["hybrids"] if hybrid["target"] == target)
    values = {}
    for split in ("validation", "test"):
        ours, _ = measured(made / f"hybrid_{target:g}.pt", split)
        values[split] = of_sums(ours.sum(1))
        assert hybrid[f"{split}_sentences"] == ours.shape[1] > 50
        assert hybrid[split] == pytest.approx(values[split]["kl_divergence"][1], rel=1e-5)
    assert hybrid["within"] and values["validation"]["kl_divergence"][1] == pytest.approx(target, rel=0.01)
    for snr, k in (("0", 0), ("12", 1)):
        for name in ("kl_divergence", "kl_reference_prefix", "js_divergence", "bleu", "cross_entropy"):
            assert hybrid["by_snr"][snr][name] == pytest.approx(values["test"][name][k], rel=1e-4), (
                snr,
                name,
            )


def test_the_interval_is_that_of_a_bootstrap_over_test_sentences(made, record, measured):
    ours, _ = measured(made / "hybrid_0.2.pt", "test")
    by_column = ours[1].T
    kl, tokens = by_column[columns().index("kl")], by_column[columns().index("tokens")]
    drawn = np.random.default_rng(1).integers(0, len(kl), (2000, len(kl)))
    low, high = np.quantile(kl[drawn].sum(1) / tokens[drawn].sum(1), [0.025, 0.975])
    hybrid = record["hybrids"][1]
    assert [hybrid["test_low"], hybrid["test_high"]] == pytest.approx([low, high], abs=0.2 * (high - low))
    assert hybrid["test_low"] < hybrid["test"] < hybrid["test_high"]


def test_a_hybrid_is_what_stands_at_its_place(made, toys):
    start, end = (checkpoint.load(toys / name) for name in FILES[:2])
    for target in TARGETS:
        hybrid = checkpoint.load(made / f"hybrid_{target:g}.pt")
        place = hybrid.config["dial"]["place"]
        assert 0 < place < 1
        wanted = bits(between(start.model, end.model, place))
        assert all(np.allclose(wanted[name], found, atol=1e-6) for name, found in bits(hybrid.model).items())
        assert hybrid.vocabulary.fingerprint == start.vocabulary.fingerprint


@pytest.mark.parametrize("path, place", [(("a.pt", "b.pt"), 1), (("b.pt", "a.pt"), 0)])
def test_at_the_ends_a_hybrid_is_the_end_to_the_bit(toys, measured, path, place):
    target = float(f"{of_sums(measured(toys / 'b.pt', 'validation')[0].sum(1))['kl_divergence'][1]:.5g}")
    ends = ["--from", path[0], "--to", path[1], "--teacher-checkpoint", "a.pt"]
    assert dial(path=[*ends, *PATH[4:]], targets=[target]) == 0
    hybrid = checkpoint.load(f"ladder/hybrid_{target:g}.pt")
    assert hybrid.config["dial"]["place"] == place and hybrid.config["dial"]["evaluations"] == 0
    assert same_bits(bits(hybrid.model), bits(checkpoint.load("b.pt").model))


def test_targets_that_one_place_satisfies_have_one_hybrid_each(toys, measured):
    end = of_sums(measured(toys / "b.pt", "validation")[0].sum(1))["kl_divergence"][1]
    targets = [float(f"{share * end:.5g}") for share in (0.997, 1.0, 1.003)]
    assert dial(targets=targets) == 0
    hybrids = strict("ladder/ladder.json")["hybrids"]
    assert [hybrid["target"] for hybrid in hybrids] == targets
    assert [hybrid["place"] for hybrid in hybrids] == [1, 1, 1]
    first, *others = hybrids
    for hybrid in others:
        assert hybrid["by_snr"] == first["by_snr"] and hybrid["price"] == first["price"]


@pytest.mark.parametrize(
    "measure",
    [
        # Their values are held by the tests of the ruler too.
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("kl_reference_prefix", "js_divergence")),
        "cross_entropy_gap",
        "bleu_drop",
    ],
)
def test_other_measures_are_dialled_too(measure, toys, measured, capsys):
    of = {"cross_entropy_gap": ("cross_entropy", 1), "bleu_drop": ("bleu", -1)}
    name, sign = of.get(measure, (measure, 1))

    def difference(file, split):
        ours, theirs = (of_sums(sums.sum(1))[name][1] for sums in measured(file, split))
        return sign * (ours - theirs) if measure in of else ours

    target = float(f"{0.5 * difference('b.pt', 'validation'):.4g}")
    assert dial("--target-measure", measure, targets=[target]) == 0
    (hybrid,) = strict("ladder/ladder.json")["hybrids"]
    tolerance = max(0.2, hybrid["validation_error"]) if measure == "bleu_drop" else 0.01 * target
    file = f"ladder/hybrid_{target:g}.pt"
    assert hybrid["within"] and abs(difference(file, "validation") - target) <= tolerance * 1.001
    assert hybrid["test"] == pytest.approx(difference(file, "test"), rel=1e-4, abs=1e-4)
    assert measure in capsys.readouterr().out


def test_a_drop_within_the_tolerance_is_the_teachers_own(capsys):
    assert dial("--target-measure", "bleu_drop", targets=[0.1]) == 0
    (hybrid,) = strict("ladder/ladder.json")["hybrids"]
    assert hybrid["test"] == hybrid["place"] == 0 == hybrid["price"]["gap"]["value"]
    assert hybrid["by_snr"]["12"]["kl_divergence"] == pytest.approx(0, abs=1e-9)


# --- what is written


def test_the_files_of_a_ladder(made, record):
    assert sorted(contents(made)) == sorted(LADDER)
    assert record["finished"] is True and record["targets"] == list(TARGETS)
    assert not hidden(made.parent)


def test_a_price_that_the_grid_does_not_hold_is_written_too():
    """That of each hybrid: a table of them has other types of cells."""
    assert dial(at=["--snr", "-20", "-18"]) == 0
    price = strict("ladder/ladder.json")["hybrids"][0]["price"]
    assert price["gap"] is None and price["why"] and isinstance(price["replicates"], int)


COMMON = {
    "path": "between",
    "measure": "kl_divergence",
    "prefix": "gold",
    "snr": 12.0,
    "channel": "awgn",
    "topics": None,
    "run": "a.pt to b.pt",
    "segments": 1,
    "points": ["start", "end"],
}
OWN = {
    "place": float,
    "target": float,
    "validation": float,
    "validation_error": float,
    "validation_sentences": int,
    "test": float,
    "test_low": float,
    "test_high": float,
    "test_sentences": int,
    "evaluations": int,
    "teacher_checkpoint": str,
    "teacher_fingerprint": str,
    "bleu_signature": str,
    "chrf_signature": str,
    "text_normalization": str,
}


def test_a_hybrid_says_how_it_was_dialled(made, record):
    for target, row in zip(TARGETS, record["hybrids"]):
        hybrid = checkpoint.load(made / f"hybrid_{target:g}.pt")
        dial = hybrid.config["dial"]
        assert dial == {name: row[name] for name in dial} and dial.keys() == COMMON.keys() | OWN.keys()
        assert {name: dial[name] for name in COMMON} == COMMON and dial["target"] == target
        assert {name: type(dial[name]) for name in OWN} == OWN
        assert 1 <= dial["evaluations"] <= 12
        assert all("dialled to place" in said and "a.pt to b.pt" in said for said in hybrid.origin.values())
        assert hybrid.metrics == {"kl_divergence": dial["test"], "bleu": row["by_snr"]["12"]["bleu"]}


def test_the_record_of_a_ladder_is_whole(record):
    assert {name: record[name] for name in COMMON} == COMMON
    assert [reading["place"] for reading in record["scan"]] == [k / 8 for k in range(9)]
    assert all(
        reading.keys() == {"place", "value", "error", "blocks", "sentences"} for reading in record["scan"]
    )
    settings = record["settings"]
    assert settings["seed"] == 42 and settings["from"] == "a.pt" and settings["corpus"] == ["text.txt"]
    assert settings["snr"] == [0, 12] and settings["target"] == list(TARGETS)
    assert {"torch", "threads", "device", "semcom"} <= record["environment"].keys()
    assert record["teacher_checkpoint"] == "a.pt" and len(record["teacher_fingerprint"]) == 16
    assert len(record["corpus_fingerprint"]) == 16
    for row in record["hybrids"]:
        assert list(row["by_snr"]) == ["0", "12"]
        assert all(set(values) == {measure.name for measure in MEASURES} for values in row["by_snr"].values())
        assert row["file"] == f"ladder/hybrid_{row['target']:g}.pt"
        assert {"gap", "level", "why", "at_least", "at_most"} <= row["price"].keys()


def test_the_table_opens_as_one(made, record):
    rows = list(csv.DictReader((made / "ladder.csv").open(encoding="utf-8")))
    assert [float(row["target"]) for row in rows] == list(TARGETS)
    for row, hybrid in zip(rows, record["hybrids"]):
        assert float(row["test"]) == hybrid["test"] and float(row["place"]) == hybrid["place"]
        assert float(row["kl_divergence_0dB"]) == hybrid["by_snr"]["0"]["kl_divergence"]
        assert float(row["kl_reference_prefix_12dB"]) == hybrid["by_snr"]["12"]["kl_reference_prefix"]
        assert {"price_dB", "price_dB_low", "price_dB_high", "bleu_12dB", "file"} <= row.keys()
        assert not any("[" in cell or "{" in cell for cell in row.values())


def test_the_report_finds_its_hybrids(made):
    found = found_under(str(made))
    assert [one.label.split("/")[-1] for one in found] == ["0.05", "0.2"]


@pytest.mark.draws
def test_two_calls_leave_the_same_files_to_the_bit(made):
    assert contents(made)["dial_curve.png"].startswith(b"\x89PNG")
    assert dial() == 0
    assert contents("ladder") == contents(made)
    assert strict("ladder/ladder.json")["way"].startswith("float32 products, plain kernels: ")


def test_the_console_quotes_the_target_whole(capsys):
    assert dial() == 0
    out, err = capsys.readouterr()
    assert err == "" and "kl_divergence, nats a token, gold prefixes, 12 dB, awgn" in out
    assert "they are not independent" in out and re.search(r"asked +validation +test \[95 %\] +place", out)
    for target in TARGETS:
        assert re.search(rf"^{target:g} +0\.\d+ +0\.\d+ \[0\.\d+, 0\.\d+\] +0\.\d{{4}}", out, re.M)
        assert f"made ladder/hybrid_{target:g}.pt" in out
    assert "next: python semantic_analysis.py --runs ladder" in out
    assert re.search(
        r"note: 0\.05: the standard error is 0\.00\d+ on all 69 validation sentences, 0\.001 is", out
    )


# --- going on


def interrupt(monkeypatch, after):
    """Ctrl-C at the reading of so many blocks."""
    plain, calls = Ruler.sums, []

    def sums(*given):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(Ruler, "sums", sums)
    return calls


def test_an_interrupted_search_goes_on_and_leaves_the_same_files(
    made, unfinished, begun, monkeypatch, capsys
):
    found = {path.relative_to(unfinished).as_posix() for path in unfinished.rglob("*")} - {".ladder.lock"}
    assert found == {*FILES, "ladder", STATE}
    known = len(begun["readings"])
    calls = interrupt(monkeypatch, 10_000)
    assert dial() == 0
    assert f"going on with {known} readings" in capsys.readouterr().out
    hybrids = strict("ladder/ladder.json")["hybrids"]
    assert len(calls) == 9 + sum(h["evaluations"] for h in hybrids) + 2 - known, "nothing was read twice"
    assert without_picture("ladder") == without_picture(made)


def test_interrupted_in_the_scan_nothing_is_left(monkeypatch, capsys):
    with monkeypatch.context() as patched:
        interrupt(patched, 4)
        assert dial() == 130
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "interrupted" in error and left() == []


def test_interrupted_while_it_measures_on_test_sentences_it_goes_on(made, monkeypatch):
    plain, calls = pair_matrix._measure_chunk, []
    monkeypatch.setattr(pair_matrix, "CHUNK", 32)

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*given)

    with monkeypatch.context() as patched:
        patched.setattr(pair_matrix, "_measure_chunk", interrupted)
        assert dial() == 130
    assert strict(STATE)["readings"] and not Path("ladder/ladder.json").exists()
    with monkeypatch.context() as patched:
        calls = interrupt(patched, 10_000)
        assert dial() == 0
    assert len(calls) == 2, "the search is done"
    found = strict("ladder/ladder.json")
    assert sorted(contents("ladder")) == sorted(LADDER) and found["hybrids"][0]["within"]
    wanted = strict(made / "ladder.json")
    for ours, theirs in zip(found["hybrids"], wanted["hybrids"]):
        assert {name: ours[name] for name in OWN} == {name: theirs[name] for name in OWN}


@pytest.mark.parametrize(
    "flags, word",
    [
        ({"targets": (0.05, 0.1)}, "target"),
        ({"at": ["--snr", "6", "--quiet"]}, "snr"),
        ({"at": [*AT, "--seed", "3"]}, "seed"),
        ({"at": [*AT, "--reference-snr", "6"]}, "reference_snr"),
        ({"at": [*AT, "--channel", "rayleigh"]}, "channel"),
        ({"at": [*AT, "--beam-width", "2"]}, "beam_width"),
        ({"at": [*AT, "--corpus-size", "900"]}, "corpus"),
        ({"at": [*AT, "--teacher-checkpoint", "b.pt"]}, "teacher"),
    ],
)
def test_another_ladder_is_not_mixed_in(begun, capsys, flags, word):
    before = contents("ladder")
    refused(capsys, dial(**flags), "--output-path ladder", f"another {word};", "--overwrite")
    assert contents("ladder") == before and not hidden(Path())


# --- where it writes


def test_a_finished_ladder_is_not_written_over(made, capsys):
    shutil.copytree(made, "ladder")
    before = contents("ladder")
    refused(capsys, dial(), "--output-path ladder", "exists already", "--overwrite")
    assert contents("ladder") == before
    Path("ladder/hybrid_model.pt").write_text("another's")
    Path("ladder/notes.txt").write_text("mine")
    assert dial("--overwrite", targets=[0.1]) == 0
    kept = ["hybrid_model.pt", "notes.txt"]
    assert sorted(contents("ladder")) == sorted(["hybrid_0.1.pt", *TABLES, *kept])


def test_an_earlier_ladder_stays_whole_until_its_successor_is(made, monkeypatch, capsys):
    shutil.copytree(made, "ladder")
    before = contents("ladder")
    with monkeypatch.context() as patched:
        interrupt(patched, 11)
        assert dial("--overwrite", targets=[0.1]) == 130
    assert contents("ladder") == before and list(contents("ladder.new")) == [UNFINISHED]
    assert dial("--overwrite", targets=[0.1]) == 0
    assert "going on with" in capsys.readouterr().out
    assert sorted(contents("ladder")) == sorted(["hybrid_0.1.pt", *TABLES])
    assert not Path("ladder.new").exists() and not hidden(Path())


def test_an_overwriting_ladder_goes_on_without_the_flag(made, monkeypatch, capsys):
    shutil.copytree(made, "ladder")
    with monkeypatch.context() as patched:
        interrupt(patched, 11)
        assert dial("--overwrite", targets=[0.1]) == 130
    assert dial(targets=[0.1]) == 0
    assert "ladder: an unfinished ladder, going on with" in capsys.readouterr().out
    record = strict("ladder/ladder.json")
    assert record["targets"] == [0.1] and record["hybrids"][0]["file"] == "ladder/hybrid_0.1.pt"
    assert sorted(contents("ladder")) == sorted(["hybrid_0.1.pt", *TABLES])


def test_an_earlier_ladder_stays_whole_where_the_new_one_cannot_be_written(made, monkeypatch):
    shutil.copytree(made, "ladder")
    before = contents("ladder")
    with monkeypatch.context() as patched:

        def full(*_):
            raise KeyboardInterrupt

        patched.setattr(dial_files.checkpoint, "save", full)
        assert dial("--overwrite", targets=[0.1]) == 130
    assert {name: (Path("ladder") / name).read_bytes() for name in before} == before


def test_an_input_in_the_folder_is_refused(made, capsys):
    shutil.copytree(made, "ladder")
    before = contents("ladder")
    path = ["--from", "a.pt", "--to", "ladder/hybrid_0.2.pt", *PATH[4:]]
    line = refused(capsys, dial("--overwrite", path=path), "an input")
    assert "hybrid_0.2.pt" in line and contents("ladder") == before


def test_out_of_reach_leaves_the_unfinished_ladder_of_others(begun, capsys):
    before = contents("ladder")
    refused(capsys, dial("--overwrite", targets=[50]), "out of reach")
    assert contents("ladder") == before


def test_what_is_measured_by_snr_says_on_how_many_sentences(monkeypatch):
    monkeypatch.setattr(dial_ladder, "BY_SNR_SENTENCES", 7)
    assert dial(targets=[0.1]) == 0
    (row,) = strict("ladder/ladder.json")["hybrids"]
    assert row["by_snr_sentences"] == 7 < row["test_sentences"]
    assert ",by_snr_sentences," in Path("ladder/ladder.csv").read_text().splitlines()[0]


def test_at_the_default_path_an_earlier_ladder_is_set_aside(made, capsys):
    shutil.copytree(made, "checkpoints/ladder")
    assert dial(to=None, targets=[0.1]) == 0
    assert "kept the earlier checkpoints/ladder as checkpoints/ladder.before-1" in capsys.readouterr().out
    assert contents("checkpoints/ladder.before-1") == contents(made)
    assert "hybrid_0.1.pt" in contents("checkpoints/ladder")


def test_files_are_no_folders(capsys):
    Path("file").write_text("x")
    refused(capsys, dial(to="file"), "--output-path file")
    refused(capsys, dial(to="b.pt"), "--output-path b.pt")
    refused(capsys, dial(to="file/ladder"), "--output-path")
    assert left() == ["file"]


# --- out of reach


@pytest.mark.parametrize("to", ["ladder", "some/where/ladder"])
@pytest.mark.parametrize("targets", [[50], [0.1, 50], [0.05, 50, 60]])
def test_out_of_reach_is_one_line_and_nothing_is_written(capsys, to, targets):
    line = refused(
        capsys,
        dial(to=to, targets=targets),
        "--target 50: out of reach",
        "goes from 0 to ",
        "kl_divergence, nats a token, gold prefixes, 12 dB, awgn",
        "random start",
        "fewer layers",
    )
    assert len(line) <= 500 and left() == []


@pytest.mark.parametrize("flags, to", [(["--overwrite"], "ladder"), ([], None)])
def test_out_of_reach_an_earlier_ladder_stays_where_it_is(made, capsys, flags, to):
    folder = to or "checkpoints/ladder"
    shutil.copytree(made, folder)
    refused(capsys, dial(*flags, targets=[0.1, 50], to=to), "out of reach")
    assert contents(folder) == contents(made)
    assert not hidden(Path(), "**/.*") and not Path(f"{folder}.before-1").exists()


def test_what_turns_out_to_be_out_of_reach_leaves_nothing(monkeypatch, capsys):
    """The scan could not tell."""
    monkeypatch.setattr(path_search, "PLAUSIBLE_ERRORS", 10_000)
    refused(capsys, dial(targets=[0.1, 50]), "--target 50: out of reach")
    assert left() == []


# --- what is refused


@pytest.mark.parametrize(
    "targets, words",
    [
        ([0], ["--target 0:", "above 0"]),
        ([-0.1], ["--target -0.1:", "above 0"]),
        (["nan"], ["--target nan:", "finite"]),
        ([0.1, "inf"], ["--target inf:", "finite"]),
        ([0.1, 0.2, 0.1], ["--target 0.1:", "twice"]),
        ([0.1, "0.10000001"], ["--target 0.1:", "twice"]),
        (["x"], ["--target", "x"]),
    ],
)
def test_targets_that_are_none_are_refused(capsys, targets, words):
    refused_or_usage(capsys, lambda: dial(targets=targets), *words)
    assert left() == []


def refused_or_usage(capsys, call, *words):
    """Also of flags that the parser itself refuses."""
    try:
        code = call()
    except SystemExit as stop:
        code = stop.code
        error = capsys.readouterr().err.splitlines()[-1]
        assert code == 2 and all(word in error for word in words), error
        return
    line = refused(capsys, code, *words)
    assert len(line) <= 500


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--target-measure", "js_divergence", "--target", "0.7"], ["--target 0.7", "below 0.693"]),
        (["--target-measure", "bleu_drop", "--target", "100"], ["--target 100", "below 100"]),
        (["--target-measure", "temperature", "--target", "1"], ["--target-measure", "temperature"]),
        (["--target-topics", "cookery"], ["--target-topics cookery", "no such topic", "health"]),
        (["--target-topics", "health"], ["--target-topics health", "text.txt"]),
        (["--path", "learning"], ["--path learning", "--from and --to"]),
        (["--snr", "300"], ["--snr 300"]),
        (["--sentences", "1"], ["1 test sentences", "at least 2", "--sentences"]),
        (["--sentences", "0"], ["--sentences 0"]),
        (["--corpus-size", "3"], ["--corpus"]),
        (["--corpus", "gone.txt"], ["gone.txt"]),
        (["--to", "gone.pt"], ["--to", "gone.pt"]),
        (["--to", "text.txt"], ["text.txt"]),
        (["--from", "b.pt"], ["the same weights"]),
        (["--teacher-checkpoint", "gone.pt"], ["--teacher-checkpoint", "gone.pt"]),
        (["run"], ["--from a.pt", "the run run"]),
    ],
)
def test_flags_that_do_not_go_together_are_refused(capsys, flags, words):
    refused_or_usage(capsys, lambda: dial(*flags), *words)
    assert left() == []


@pytest.mark.parametrize(
    "path, words",
    [
        ([], ["nothing to dial", "--from FILE --to FILE", "distillation.py"]),
        (["--from", "a.pt"], ["nothing to dial"]),
        (["run", "--to", "a.pt"], ["--to a.pt", "the run run"]),
        (["gone"], ["gone: no run there"]),
        (["a.pt"], ["a.pt: is a file", "folder of its run"]),
        ([""], ["RUN '': is empty"]),
        (["\x1b[31m"], ["\\x1b[31m: no run there"]),
    ],
)
def test_without_a_path_nothing_is_dialled(capsys, path, words):
    refused_or_usage(capsys, lambda: dial(path=path), *words)
    assert left() == []


def test_no_target_is_asked_for(capsys):
    refused_or_usage(capsys, lambda: package("dial", *PATH, *AT), "--target")


def test_end_points_of_unlike_architecture_are_refused(toys, capsys):
    other = Checkpoint(
        transceiver(size(1, 32, 2, 64), size(2, 32, 2, 64), channel_dim=16),
        word_vocabulary(WORDS),
        dict.fromkeys(PARTS, "c"),
        {},
        {},
    )
    checkpoint.save(other, "c.pt")
    refused(capsys, dial("--to", "c.pt"), "--from a.pt --to c.pt", "receiver layers 1 beside 2")


def test_weights_that_overflow_are_told(capsys):
    wild = checkpoint.load("b.pt")
    for weights in wild.model.receiver.parameters():
        weights.data.mul_(1e30)
    checkpoint.save(wild, "b.pt")
    line = refused(capsys, dial(), "of the path", "no finite number")
    assert len(line) <= 500 and left() == []


# --- damaged state


READING = {"place": 0.5, "value": 0.1, "error": 0.01, "blocks": 1, "sentences": 80}


DAMAGED = [
    {"readings": None},
    {"readings": {}},
    {"readings": [[]]},
    {"readings": [None]},
    {"readings": [READING | {"place": "0.5"}]},
    {"readings": [READING | {"place": 1.5}]},
    {"readings": [READING | {"value": None}]},
    {"readings": [READING | {"value": True}]},
    {"readings": [READING | {"value": 10**400}]},
    {"readings": [READING | {"value": math.inf}]},
    {"readings": [READING | {"error": -1.0}]},
    {"readings": [READING | {"blocks": 0}]},
    {"readings": [READING | {"blocks": [1]}]},
    {"readings": [READING | {"sentences": "many"}]},
    {"readings": [READING | {"more": 1}]},
    {"readings": [{"place": 0.5}]},
    {"key": []},
    {"key": None},
]


@pytest.mark.parametrize("damage", DAMAGED, ids=str)
def test_damaged_readings_are_refused(here, damage):
    state = {"key": {"seed": 1}, "readings": [READING]} | damage
    Path(UNFINISHED).write_text(json.dumps(json_files.digested(state)))
    with pytest.raises(SemcomError, match="--overwrite to begin anew"):
        resumed(Path(), {"seed": 1}, overwrite=False)
    assert resumed(Path(), {"seed": 1}, overwrite=True) is None


def test_a_ladder_of_an_earlier_version_knows_no_fading(here):
    key = {"seed": 1, **as_record(ChannelConfig())}
    theirs = {"seed": 1, "channel": "awgn", "rician_k": 1.0, "equalizer": "zf"}
    Path(UNFINISHED).write_text(json.dumps(json_files.digested({"key": theirs, "readings": []})))
    assert resumed(Path(), key, overwrite=False) is not None
    with pytest.raises(SemcomError, match="another fading"):
        resumed(Path(), {**key, "fading": "symbol"}, overwrite=False)


def test_a_damaged_state_is_one_line(begun, capsys):
    for damage in ({"readings": [3]}, {"key": 4}):
        Path(STATE).write_text(json.dumps(json_files.digested(begun | damage)))
        line = refused(capsys, dial(), "ladder", "--overwrite")
        assert len(line) <= 500
    # A reading of a place that is no longer looked at does no harm.
    more = begun["readings"] + [READING | {"place": 0.123456789}]
    Path(STATE).write_text(json.dumps(json_files.digested(begun | {"readings": more})))
    assert dial() == 0


def test_a_reading_changed_behind_the_digest_is_never_used(begun, capsys):
    state = strict(STATE)
    state["readings"][-1]["value"] *= 1.5
    Path(STATE).write_text(json.dumps(state))
    refused(capsys, dial(), "damaged", "digest", "--overwrite")


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", '"x"', "7", "null", "[" * 100_000, "\xff", "NaN", "1" * 5000]
)
def test_what_is_no_state_is_refused(capsys, text):
    Path("ladder").mkdir()
    Path(STATE).write_bytes(text.encode("latin-1"))
    line = refused(capsys, dial(), "ladder")
    assert len(line) <= 500 and left() == ["ladder", STATE]


# --- what is said


def test_a_target_within_the_noise_is_a_warning_that_names_sentences(capsys):
    measure = ["--target-measure", "cross_entropy_gap"]
    assert dial("--sentences", 5, *measure, targets=[0.01]) == 0
    out = capsys.readouterr().out
    assert "warning: 0.01: lies within the noise of 5 test sentences" in out and "--sentences" in out


def test_of_several_processes_the_main_one_dials(monkeypatch, capsys):
    for name, value in (("RANK", 1), ("WORLD_SIZE", 2), ("LOCAL_RANK", 1)):
        monkeypatch.setenv(name, str(value))
    assert dial() == 0
    assert left() == [] and capsys.readouterr().out == ""


def test_progress_fits_a_narrow_console(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    Path("ladder").mkdir()
    Path(STATE).write_text("{")  # --overwrite begins anew
    assert dial("--overwrite", at=["--snr", "12"]) == 0
    shown = re.split(r"[\r\n]", capsys.readouterr().err)
    assert any("scanning the path" in line for line in shown)
    assert max(map(len, shown)) < 80
