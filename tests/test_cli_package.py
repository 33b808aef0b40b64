"""``python -m semcom`` by running it: vocab, train, splice, evaluate, transmit."""

import csv
import dataclasses
import errno
import io
import json
import pickle

import pytest
import torch
from cli_support import TINY_TRAINING, distil, package, refused, script

from semcom.base.errors import SemcomError
from semcom.base.flags import settings_of
from semcom.commands import cli, parsers
from semcom.data import corpus
from semcom.data.vocabulary_files import read_vocabulary
from semcom.models import checkpoint
from semcom.models.settings import PARTS


@pytest.mark.draws("png")
def test_vocab_train_evaluate_transmit_on_own_text(here, capsys, monkeypatch):
    sentences = [
        f"the {a} {b} was adopted by {n} votes in the plenary."
        for a in ("long", "short", "new")
        for b in ("report", "motion")
        for n in range(100)
    ]
    (here / "own.en").write_text("\n".join(sentences))
    assert package("vocab", "--corpus", "own.en", "--size", 300, "--output", "own.model") == 0
    tiny = ["--layers", 1, "--model-width", 16, "--heads", 2, "--feed-forward", 32, "--steps", 2, "--quiet"]
    assert package("train", "--corpus", "own.en", "--vocab", "own.model", "--output", "own.pt", *tiny) == 0
    record = json.loads((here / "own.json").read_text())
    assert (
        record["vocab_size"] == 300
        and record["steps_done"]
        and record["seed"] == 42
        and len(record["history"]) == 1
    )
    assert (
        package(
            "evaluate",
            "own.pt",
            "--corpus",
            "own.en",
            "--snr",
            0,
            12,
            "--output",
            "own.csv",
            "--quiet",
            "--examples",
            2,
        )
        == 0
    )
    out = capsys.readouterr().out
    for word in (
        "BLEU (nrefs:1|",
        "token accuracy",
        "exact sentences",
        "floor",
        "what was understood at 12 dB",
        "knows how many symbols",
        "channel uses: 8 a token, ",
    ):
        assert word in out
    assert (here / "own.png").is_file()
    rows = list(csv.DictReader((here / "own.csv").open()))
    assert [row["snr"] for row in rows] == ["0.0", "12.0", ""] and rows[-1]["model"] == "(floor)"
    assert f"channel uses: 8 a token, {float(rows[0]['channel_uses_per_character']):.2f} a character" in out
    typed = io.BytesIO(b"the report was adopted.\nthe motion was adopted.\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(typed))
    assert package("transmit", "--checkpoints", "own.pt", "--snr", 12) == 0
    assert capsys.readouterr().out.count("sent: the ") == 2


@pytest.mark.slow
def test_train_by_minutes_equals_its_steps(here, capsys):
    tiny = ["--layers", 1, "--model-width", 8, "--heads", 1, "--feed-forward", 8, *TINY_TRAINING]
    assert package("train", "--output", "minutes.pt", *tiny, "--minutes", 0.02) == 0
    steps = json.loads((here / "minutes.json").read_text())["steps_done"]
    assert package("train", "--output", "steps.pt", *tiny, "--steps", steps) == 0
    a, b = (checkpoint.load(here / name).model.state_dict() for name in ("minutes.pt", "steps.pt"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_evaluate_meets_the_same_draws_side_by_side(teacher, here, capsys):
    copy = here / "copy.pt"
    copy.write_bytes(teacher.read_bytes())
    assert (
        package(
            "evaluate",
            teacher,
            copy,
            "--corpus-size",
            1000,
            "--sentences",
            20,
            "--snr",
            6,
            "--output",
            "both.csv",
            "--quiet",
        )
        == 0
    )
    rows = [row for row in csv.DictReader(open("both.csv")) if row["topic"] == "" and row["snr"]]
    assert len(rows) == 2 and rows[0]["model"] != rows[1]["model"]
    assert [row | {"model": ""} for row in rows][0] == [row | {"model": ""} for row in rows][1]
    topics = {row["topic"] for row in csv.DictReader(open("both.csv"))}
    assert "(seen)" in topics and "(not seen)" not in topics and topics & set(corpus.parliament.TOPICS)


def test_training_goes_on_from_a_checkpoint(teacher, here, capsys):
    again = ["train", "--start-from", teacher, "--steps", 3, "--lr", 1e-4, "--dropout", 0, *TINY_TRAINING]
    assert package(*again, "--output", "on.pt") == 0
    before, after = checkpoint.load(teacher), checkpoint.load("on.pt")
    assert after.model.architecture == dataclasses.replace(before.model.architecture, dropout=0.0)
    assert (
        after.vocabulary.fingerprint == before.vocabulary.fingerprint
        and str(teacher) in after.origin["decoder"]
    )
    assert before.config["topics_seen"] == after.config["topics_seen"]
    assert after.config["architecture"]["receiver"]["d_model"] == 16 and after.config["model_width"] is None
    moved = [
        (a - b).detach().abs().max().item()
        for a, b in zip(before.model.parameters(), after.model.parameters())
    ]
    assert 0 < max(moved) < 1e-3, "three steps of 1e-4 from the teacher's weights"
    refused(
        capsys, package(*again, "--output", "wide.pt", "--model-width", 64), "--model-width", "--start-from"
    )
    refused(capsys, package(*again, "--output", teacher, "--overwrite"), "--output")


def test_splice_joins_a_transmitter_and_a_receiver(teacher, here, capsys):
    tiny = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", 2]
    assert (
        distil(*tiny, "--distill-part", "encoder") == 0
        and distil(*tiny, "--distill-part", "decoder", "--student-layers", 1) == 0
    )
    encoder_run, decoder_run = (
        f"checkpoints/distillation_{part}/best_student_model.pt" for part in ("encoder", "decoder")
    )
    assert (
        package("splice", "--transmitter", encoder_run, "--receiver", decoder_run, "--output", "pair.pt") == 0
    )
    pair, sender, listener = (checkpoint.load(p) for p in ("pair.pt", encoder_run, decoder_run))
    for part in PARTS:
        source = sender if part in PARTS[:2] else listener
        ours, theirs = pair.model.part(part).state_dict(), source.model.part(part).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert source.path in pair.origin[part]
    assert package("evaluate", "pair.pt", "--corpus-size", 1000, "--sentences", 5, "--snr", 6, "--quiet") == 0
    capsys.readouterr()
    refused(
        capsys,
        package(
            "splice", "--transmitter", "pair.pt", "--receiver", teacher, "--output", "pair.pt", "--overwrite"
        ),
        "is an input",
    )
    refused(
        capsys,
        package("splice", "--transmitter", encoder_run, "--receiver", teacher, "--output", "pair.pt"),
        "--overwrite",
    )


def test_vocabularies_that_differ_are_both_named(teacher, here, capsys):
    (here / "own.en").write_text("\n".join(f"the report number {n} was adopted today." for n in range(300)))
    assert package("vocab", "--corpus", "own.en", "--size", 289, "--output", "own.model") == 0
    assert (
        package(
            "train",
            "--corpus",
            "own.en",
            "--vocab",
            "own.model",
            "--output",
            "other.pt",
            "--layers",
            1,
            "--model-width",
            16,
            "--heads",
            2,
            "--feed-forward",
            32,
            "--steps",
            1,
            "--quiet",
        )
        == 0
    )
    capsys.readouterr()
    error = refused(
        capsys,
        package("splice", "--transmitter", teacher, "--receiver", "other.pt", "--output", "x.pt"),
        "vocabularies differ",
    )
    assert "4000 pieces" in error and "289 pieces" in error
    refused(capsys, package("evaluate", teacher, "other.pt"), "vocabularies differ")


def test_transmit_prints_what_each_checkpoint_understood(teacher, here, capsys):
    assert (
        package("transmit", "We support the \x1b[31mreport\u202e.", "--checkpoints", teacher, "--snr", 0, 12)
        == 0
    )
    out = capsys.readouterr().out
    assert "0 dB" in out and "12 dB" in out and "\x1b" not in out and "\u202e" not in out


def test_transmit_shows_what_was_typed_where_it_sends_something_else(teacher, here, capsys):
    for typed, sent in (("We ﬁnd ½ of  it", "We find 1⁄2 of it"), ("We find it.", "We find it.")):
        assert package("transmit", typed, "--checkpoints", teacher, "--snr", 12) == 0
        out = capsys.readouterr().out
        assert f"sent: {sent}\n" in out and (f"typed: {typed}\n" in out) == (typed != sent)
        assert "warning" not in out
    assert package("transmit", "我们支持这份报告。", "--checkpoints", teacher, "--snr", 12) == 0
    out = capsys.readouterr().out
    assert out.count("warning: ") == 1 and "--corpus YOUR_TEXT --vocab-size 8000" in out


def test_beam_search_is_taken_and_told(teacher, here, capsys):
    assert (
        package(
            "evaluate",
            teacher,
            "--corpus-size",
            1000,
            "--sentences",
            8,
            "--snr",
            6,
            "--beam-width",
            4,
            "--length-penalty",
            0.6,
            "--output",
            "beam.csv",
            "--quiet",
        )
        == 0
    )
    told = "beam search of width 4, length penalty 0.6"
    assert told in capsys.readouterr().out
    assert {row["decoding"] for row in csv.DictReader(open("beam.csv"))} == {told}
    assert (
        package(
            "transmit", "We support this report.", "--checkpoints", teacher, "--beam-width", 3, "--snr", 6
        )
        == 0
    )
    assert "beam search of width 3, length penalty 1" in capsys.readouterr().out
    assert package("transmit", "We support this report.", "--checkpoints", teacher, "--snr", 6) == 0
    assert "greedy decoding" in capsys.readouterr().out


class Vandal:
    def __reduce__(self):
        return open, ("vandalised.txt", "w")


def vandal(path):
    path.write_bytes(pickle.dumps(Vandal()))


def vandal_in_torch_file(path):
    torch.save({"format": 1, "weights": Vandal()}, path)


def changed(key, value):
    def write(path):
        payload = torch.load(path, weights_only=True)
        payload.pop("digest")
        payload[key] = value if key == "format" else {**payload[key], **value}
        torch.save(payload, path)

    return write


def truncated(path):
    path.write_bytes(path.read_bytes()[:-2000])


BROKEN = {
    "empty": (lambda path: path.write_bytes(b""), ["is empty"]),
    "truncated": (truncated, ["truncated"]),
    "text": (lambda path: path.write_text("not a checkpoint"), ["not a semcom checkpoint"]),
    "code in a pickle": (vandal, ["not a semcom checkpoint"]),
    "code in a torch file": (vandal_in_torch_file, ["refused", "open"]),
    "state dict": (lambda path: torch.save({"weight": torch.zeros(3)}, path), ["not a semcom checkpoint"]),
    "newer format": (changed("format", 99), ["format 99", "newer", "update"]),
    "huge": (changed("architecture", {"vocab_size": 10**12}), ["vocab_size", "allowed"]),
    "other sizes": (changed("architecture", {"channel_dim": 8}), ["disagree"]),
    "other vocabulary": (changed("vocabulary", {"fingerprint": "0" * 16}), ["vocabulary", "0000"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_and_malicious_checkpoints(teacher, here, capsys, name):
    path = here / "given.pt"
    path.write_bytes(teacher.read_bytes())
    spoil, words = BROKEN[name]
    spoil(path)
    refused(capsys, package("evaluate", "given.pt"), "given.pt", *words)
    refused(capsys, distil("--teacher-checkpoint", "given.pt"), "--teacher-checkpoint given.pt", *words)
    assert [p.name for p in here.iterdir()] == ["given.pt"]


WRONG = [
    (["evaluate", "absent.pt"], ["absent.pt", "no such file"]),
    (["evaluate"], ["CHECKPOINT"]),
    (["evaluate", "TEACHER", "--snr", "inf"], ["--snr inf"]),
    (["evaluate", "TEACHER", "--output", "TEACHER"], ["--output", "is an input"]),
    (["evaluate", "TEACHER", "--output", "."], ["--output", "is a folder"]),
    (["transmit", "--checkpoints", "TEACHER", "We support this report."], ["give it first"]),
    (["transmit", ""], ["sentence is empty"]),
    (["transmit", "  \t "], ["sentence is empty"]),
    (["transmit", "word " * 2000, "--checkpoints", "TEACHER"], ["pieces", "at most"]),
    (
        ["train", "--output", "x.pt", "--vocab", "absent.model"],
        ["--vocab absent.model", "python -m semcom vocab"],
    ),
    (["train", "--output", "x.pt", "--vocab", "TEACHER"], ["not a sentencepiece model"]),
    (["vocab", "--size", "4000", "--corpus-size", "30", "--output", "v.model"], ["largest size it allows"]),
    (["sing"], ["sing", "--help"]),
]
# What the settings refuse; ``WRONG`` takes one of each kind through the command.
WRONG_SETTINGS = [
    (["evaluate"], ["CHECKPOINT"]),
    (["evaluate", "TEACHER", "--snr", "loud"], ["--snr", "loud"]),
    (["evaluate", "TEACHER", "--snr", "inf"], ["--snr inf"]),
    (["evaluate", "TEACHER", "--sentences", "0"], ["--sentences 0"]),
    (["evaluate", "TEACHER", "--examples", "-1"], ["--examples -1"]),
    (["evaluate", "TEACHER", "--beam-width", "0"], ["--beam-width 0", "--beam-width 4"]),
    (
        ["evaluate", "TEACHER", "--beam-width", "4", "--length-penalty", "nan"],
        ["--length-penalty nan", "--length-penalty 1"],
    ),
    (["evaluate", "TEACHER", "--beam-width", "4", "--length-penalty", "-1"], ["--length-penalty -1"]),
    (["transmit", "word", "--length-penalty", "0.5"], ["--length-penalty 0.5", "--beam-width"]),
    (["train", "--output", "x.pt", "--model-width", "10", "--heads", "4"], ["--heads 4", "--heads 2"]),
    (["train", "--output", "x.pt", "--channel-dim", "3"], ["--channel-dim 3", "even"]),
    (["train"], ["--output"]),
    (["vocab", "--size", "0", "--output", "v.model"], ["--size 0"]),
    (["sing"], ["sing", "--help"]),
]


@pytest.mark.parametrize(
    ("flags", "words"), WRONG_SETTINGS, ids=[" ".join(flags)[:60] for flags, _ in WRONG_SETTINGS]
)
def test_wrong_settings_are_refused_in_one_line(flags, words):
    with pytest.raises(SemcomError) as error:
        given = parsers.package_parser().parse_args(flags)
        settings_of(parsers.VERBS[given.verb].settings, given)
    message = str(error.value)
    assert "\n" not in message and [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(("flags", "words"), WRONG, ids=[" ".join(flags)[:60] for flags, _ in WRONG])
def test_wrong_input_is_one_line_and_leaves_nothing(teacher, here, capsys, flags, words):
    before = teacher.read_bytes()
    refused(capsys, package(*(str(teacher) if flag == "TEACHER" else flag for flag in flags)), *words)
    assert not [path for path in here.iterdir() if path.suffix != ".lock"]
    assert teacher.read_bytes() == before


def test_module_runs_as_a_person_starts_it(here):
    from cli_support import ROOT

    done = script(
        "semcom/__main__.py", "evaluate", "--no-such-flag", env={"PYTHONPATH": str(ROOT), "PATH": ""}
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_train_refuses_to_replace_its_record_too(here, capsys):
    (here / "foo.json").write_text("mine")
    words = ["train", "--output", "foo.pt", "--steps", 1, *TINY_TRAINING]
    refused(capsys, package(*words), "foo.json", "--overwrite")
    assert (here / "foo.json").read_text() == "mine"


def test_a_console_of_few_characters_and_strange_input(teacher, here):
    from cli_support import ROOT

    env = {"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONIOENCODING": "ascii:strict", "OMP_NUM_THREADS": "1"}
    done = script(
        "semcom/__main__.py", "transmit", "caf\u00e9 society", "--checkpoints", teacher, "--snr", 6, env=env
    )
    assert done.returncode == 0 and "caf\\xe9" in done.stdout


def test_strings_in_a_checkpoint_are_data(teacher, here, capsys):
    for value in (5, [1, 2], {"transmitter": 3}, "x" * 10):
        payload = torch.load(teacher, weights_only=True)
        payload.pop("digest")
        payload["config"] |= {"topics_seen": value, "topics_by_end": value}
        torch.save(payload, "odd.pt")
        assert (
            package("evaluate", "odd.pt", "--corpus-size", 1000, "--sentences", 3, "--snr", 6, "--quiet") == 0
        )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(("names", "told"), [(["some/file"], "some/file"), ([], "output")])
def test_a_full_disk_is_told_in_a_line(code, names, told, capsys):
    reason = "No space left on device"

    def fill(argv):
        raise OSError(code, reason, *names)

    assert cli.run(fill, []) == 2
    line = f"error: {told}: cannot be written ({reason}); free some space\n"
    assert capsys.readouterr().err == line


def test_train_trains_its_own_vocabulary(here, capsys):
    made = here / "own.pt"
    tiny = ["--layers", 1, "--model-width", 16, "--heads", 2, "--feed-forward", 32, "--steps", 2]
    assert package("train", "--vocab-size", 400, "--output", made, *tiny, *TINY_TRAINING) == 0
    assert package("vocab", "--size", 400, *TINY_TRAINING[:2], "--output", "own.model") == 0
    vocabulary = read_vocabulary((here / "own.model").read_bytes())
    assert checkpoint.load(made).vocabulary.fingerprint == vocabulary.fingerprint
    assert "held-out sentences: " in capsys.readouterr().out


def test_train_says_what_size_of_vocabulary_the_corpus_allows(here, capsys):
    assert package("train", "--vocab-size", 100_000, "--output", "own.pt", *TINY_TRAINING) == 2
    largest = int(refused(capsys, 2, "--vocab-size 100000: ", "too small").rpartition(" ")[2])
    assert 300 < largest < 10_000


@pytest.mark.parametrize("beside", [["--vocab", "its.model"], ["--start-from", "its.pt"]])
def test_train_refuses_a_second_source_of_the_vocabulary(here, capsys, beside):
    assert package("train", "--vocab-size", 400, "--output", "own.pt", *beside) == 2
    refused(capsys, 2, "--vocab-size", beside[0], "leave")
