"""What the dial moves along: paths of finished runs and between checkpoints, and what has none."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from cli_support import TINY_TRAINING, distil
from dials import RUNS, distil_runs
from toy import architecture, bits, same_bits, size, spoken, word_vocabulary

from semcom.base.errors import SemcomError
from semcom.commands.dial_path import path_between, path_of_run
from semcom.distillation import training_loop
from semcom.models import checkpoint, state_dicts
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import PARTS
from semcom.models.transceiver import build

pytestmark = pytest.mark.usefixtures("no_scores")

RECORD = "distillation_config.json"


@pytest.fixture(scope="module")
def runs(made_once, teacher):
    """Folders of finished runs by name."""
    return made_once("dialled_runs", lambda folder: distil_runs(folder, teacher))


@pytest.fixture
def copied(runs, tmp_path):
    """A function that copies the run of a name, to be changed, its record by ``changes``; a change to ... is
    left out."""

    def copied(name, **changes):
        folder = tmp_path / name
        shutil.copytree(runs / name, folder)
        made = json.loads((folder / RECORD).read_text()) | changes
        kept = {key: value for key, value in made.items() if value is not ...}
        (folder / RECORD).write_text(json.dumps(kept))
        return folder

    return copied


def refused(words, *arguments, find=path_of_run):
    with pytest.raises(SemcomError) as error:
        find(*map(str, arguments))
    line = str(error.value)
    assert "\n" not in line and len(line) <= 500 and "\x1b" not in line, line
    for word in words:
        assert word in line, f"{word!r} not in {line!r}"
    return line


def best_of(folder):
    return checkpoint.load(folder / "best_student_model.pt")


# --- learning


@pytest.mark.parametrize("name", ["decoder", "encoder", "full", "from"])
def test_a_learning_path_goes_from_start_through_snapshots_to_best(runs, teacher, name):
    dialled = path_of_run(str(runs / name))
    record, path = json.loads((runs / name / RECORD).read_text()), dialled.path
    rows = record["snapshots"]
    assert path.kind == "learning" and dialled.made == record
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    assert len(rows) <= 3 and rows[-1]["step"] < record["steps_done"]
    assert path.labels == ("start", *(f"step {row['step']}" for row in rows[1:]), "best")
    assert same_bits(bits(path.at(1)), bits(best_of(runs / name).model))
    file = torch.load(runs / name / "snapshots.pt")
    ends = {"decoder": ["receiver"], "encoder": ["transmitter"], "from": ["receiver"]}.get(
        name, ["transmitter", "receiver"]
    )
    for k, place in enumerate(path.places[:-1]):
        found = bits(path.at(place))
        stored = {key.partition(".")[2]: w for key, w in file.items() if key.startswith(f"{k}.")}
        assert {key.split(".")[0] for key in stored} == set(ends)
        assert all(torch.equal(found[key], weights) for key, weights in stored.items())
    assert dialled.teacher.fingerprint == checkpoint.load(teacher).fingerprint
    assert dialled.best.fingerprint == best_of(runs / name).fingerprint


@pytest.mark.parametrize("name, end", [("decoder", "transmitter"), ("encoder", "receiver")])
def test_in_part_modes_the_other_end_is_the_teachers_to_the_bit(runs, teacher, name, end):
    theirs = bits(checkpoint.load(teacher).model.end(end))
    path = path_of_run(str(runs / name)).path
    assert all(same_bits(bits(path.at(place).end(end)), theirs) for place in (0, 0.1, 0.5, 0.77, 1))


def test_a_full_path_moves_both_ends(runs):
    path = path_of_run(str(runs / "full")).path
    ends = [(bits(path.at(place).transmitter), bits(path.at(place).receiver)) for place in (0, 0.3, 1)]
    for first, second in zip(ends, ends[1:]):
        assert not any(same_bits(a, b) for a, b in zip(first, second))


@pytest.mark.parametrize("name", ["decoder", "encoder", "full", "further", "from"])
def test_without_snapshots_the_start_is_rebuilt_to_the_bit(runs, copied, name):
    stored = path_of_run(str(runs / name), "learning").path
    folder = copied(name, snapshots=...)
    (folder / "snapshots.pt").unlink()
    with spoken() as lines:
        path = path_of_run(str(folder), "learning").path
    assert path.labels == ("start", "best") and "rebuilt from its record" in " ".join(lines)
    assert same_bits(bits(path.at(0)), bits(stored.at(0)))
    assert not same_bits(bits(path.at(0)), bits(path.at(1)))


def test_a_start_whose_checkpoint_is_gone_cannot_be_rebuilt(copied):
    folder = copied("from", student_checkpoint="gone.pt")
    assert path_of_run(str(folder)).path.labels[0] == "start", "it stands in the snapshots"
    (folder / "snapshots.pt").unlink()
    refused(["start cannot be rebuilt", "gone.pt", "distil again"], folder)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"student_layers": 1}, ["cannot be rebuilt", "receiver layers 1 beside 2"]),
        ({"student_layers": "2"}, ["its student_layers is 2", "a whole number"]),
        ({"student_layers": True}, ["its student_layers is True"]),
        ({"student_layers": 10**6}, ["--student-layers 1000000"]),
        ({"seed": -1}, ["--seed -1"]),
        ({"seed": 1.5}, ["its seed is 1.5", "a whole number"]),
        ({"student_init": "\x1b[31m"}, ["--student-init", r"\x1b"]),
        ({"student_d_model": 9}, ["--student-d-model 9"]),
        ({"student_receiver_type": "gru"}, ["gru"]),
    ],
)
def test_a_record_that_does_not_rebuild_the_start_is_refused(copied, changes, words):
    folder = copied("decoder", **changes)
    (folder / "snapshots.pt").unlink()
    refused(words, folder)


def test_records_of_before_there_were_kinds_of_ends_still_do(copied):
    folder = copied("decoder", student_receiver_type=..., student_transmitter_type=..., snapshots=...)
    (folder / "snapshots.pt").unlink()
    assert path_of_run(str(folder)).path.labels == ("start", "best")


# --- knowledge


def test_a_knowledge_path_goes_from_the_teacher_to_the_teacher_trained_further(runs, teacher):
    with spoken() as lines:
        dialled = path_of_run(str(runs / "further"))
    assert dialled.path.kind == "knowledge" and dialled.path.labels == ("teacher", "best") and not lines
    assert same_bits(bits(dialled.path.at(0)), bits(checkpoint.load(teacher).model))
    assert same_bits(bits(dialled.path.at(1)), bits(best_of(runs / "further").model))
    assert path_of_run(str(runs / "further"), "knowledge").path.kind == "knowledge"


def test_a_student_that_was_given_the_teacher_as_its_checkpoint_is_the_teacher_trained_further(
    copied, teacher
):
    folder = copied("further", student_checkpoint=str(teacher), student_init="random")
    assert path_of_run(str(folder)).path.kind == "knowledge"


def test_what_was_pulled_towards_the_teacher_is_said(copied):
    folder = copied("further", distill_weight=0.7)
    with spoken() as lines:
        path_of_run(str(folder))
    assert len(lines) == 1 and "warning" in lines[0] and "--distill-weight 0.7" in lines[0]


@pytest.mark.parametrize(
    "name, changes, words",
    [
        ("random", {}, ["random weights", "barrier", "--student-layers 3", "--distill-part decoder"]),
        ("decoder", {}, ["receiver layers 3 beside 2", "--student-layers 3"]),
        ("encoder", {}, ["barrier", "--distill-part encoder"]),
        ("from", {}, ["receiver layers 3 beside 2"]),
        ("random", {"student_init": "teacher", "student_checkpoint": "x.pt"}, ["started from x.pt"]),
    ],
)
def test_other_students_have_no_knowledge_path_and_auto_takes_learning(runs, copied, name, changes, words):
    folder = copied(name, **changes)
    line = refused(["--path knowledge", *words], folder, "knowledge")
    assert "--student-init teacher --distill-weight 0" in line and "--topics" in line
    assert path_of_run(str(folder)).path.kind == "learning"


def test_a_knowledge_path_needs_no_snapshots(copied):
    folder = copied("further", snapshots=...)
    (folder / "snapshots.pt").unlink()
    assert path_of_run(str(folder)).path.kind == "knowledge"


# --- runs that have no path


def test_what_is_no_finished_run_is_refused(runs, copied, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(["empty: no run there", "python distillation.py"], tmp_path / "empty")
    refused(["nowhere: no run there"], tmp_path / "nowhere")
    file = runs / "decoder/best_student_model.pt"
    refused(["is a file", f"folder of its run: {runs / 'decoder'}"], file)
    refused(["--path sideways", "auto, learning, knowledge"], runs / "decoder", "sideways")
    folder = copied("decoder")
    (folder / "best_student_model.pt").unlink()
    refused(["no best_student_model.pt", "first validation"], folder)
    (copied("full") / RECORD).unlink()
    refused(["unfinished"], tmp_path / "full")


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "\xff", "[" * 100_000])
def test_a_record_that_cannot_be_read_is_refused(copied, text):
    folder = copied("decoder")
    (folder / RECORD).write_bytes(text.encode("latin-1"))
    refused([RECORD, "distil again"], folder)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"teacher_checkpoint": "gone.pt"}, ["gone.pt is not there", "--teacher-checkpoint"]),
        ({"teacher_checkpoint": "x" * 5000}, ["is not there", "--teacher-checkpoint"]),
        ({"teacher_checkpoint": "\x00\x1b"}, [r"\x00\x1b is not there"]),
        ({"teacher_checkpoint": ["a.pt"]}, ["its teacher_checkpoint is ['a.pt']", "a text"]),
        ({"teacher_checkpoint": ...}, ["its teacher_checkpoint is not there"]),
        ({"teacher_fingerprint": "0" * 16}, ["0" * 16, "not of this run"]),
        ({"teacher_fingerprint": 5}, ["its teacher_fingerprint is 5"]),
        ({"distill_part": "both"}, ["its distill_part is both", "full, encoder, decoder"]),
        ({"distill_part": "encoder"}, ["its receiver is not the teacher's"]),
        ({"snapshots": ...}, ["its snapshots is not there"]),
        ({"snapshots": []}, ["rising steps from 0"]),
        ({"snapshots": [{"step": 0}, {"step": "2"}]}, ["rising steps from 0"]),
        ({"snapshots": [{"step": 0}, 3]}, ["rising steps from 0"]),
        ({"snapshots": [{"step": 0}, {"step": 8}, {"step": 4}]}, ["rising steps from 0"]),
        ({"snapshots": [{"step": k} for k in range(9)]}, ["the record names 9"]),
    ],
)
def test_a_record_with_wrong_values_is_refused(copied, changes, words):
    refused(words, copied("decoder", **changes))


def test_a_teacher_of_other_weights_is_refused(runs, copied, teacher, tmp_path):
    other, found = best_of(runs / "random"), str(tmp_path / "other.pt")
    checkpoint.save(other, found)
    recorded = checkpoint.load(teacher).fingerprint
    words = [recorded, other.fingerprint, "--teacher-checkpoint"]
    refused(words, copied("decoder", teacher_checkpoint=found))
    with pytest.raises(SemcomError, match=other.fingerprint):
        path_of_run(str(runs / "decoder"), teacher=found)
    moved = copied("full", teacher_checkpoint="gone.pt")
    assert path_of_run(str(moved), teacher=str(teacher)).path.kind == "learning"


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda state: {n.removeprefix("0."): w for n, w in state.items()}, ["names without a number"]),
        (lambda state: {n: w for n, w in state.items() if n[0] == "0"}, ["it holds 1 snapshots"]),
        (lambda state: {n: w[:1] if n == list(state)[3] else w for n, w in state.items()}, ["in the best"]),
        (lambda state: dict(list(state.items())[1:]), ["is absent"]),
        (lambda state: state | {"0.receiver.\x1b": torch.zeros(1)}, [r"\x1b is (1,)", "absent"]),
        (lambda state: {n: w / 0 for n, w in state.items()}, ["no finite numbers"]),
    ],
)
def test_snapshots_that_are_not_of_this_run_are_refused(copied, spoil, words):
    folder = copied("decoder", digests={})
    file = folder / "snapshots.pt"
    state_dicts.save(spoil(torch.load(file)), file)
    refused(["snapshots", "again", *words], folder)


def test_snapshots_that_the_record_does_not_speak_of_are_refused(copied):
    folder = copied("decoder")
    file = folder / "snapshots.pt"
    state_dicts.save({name: w * 1.01 for name, w in torch.load(file).items()}, file)
    refused(["snapshots", "another digest", "again"], folder)


def test_damaged_snapshots_and_those_of_another_run_are_refused(runs, copied):
    folder = copied("decoder")
    file = folder / "snapshots.pt"
    whole = file.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\x00" * 300):
        file.write_bytes(content)
        refused(["snapshots"], folder)
    shutil.copy(runs / "encoder/snapshots.pt", file)
    refused(["not of this run"], folder)


# --- the files of a run


def test_an_interrupted_run_with_a_best_student_has_its_snapshots(teacher, here, monkeypatch):
    plain, calls = training_loop.Loop.step, []

    def interrupted(*given, **choice):
        calls.append(1)
        if len(calls) > 10:
            raise KeyboardInterrupt
        return plain(*given, **choice)

    monkeypatch.setattr(training_loop.Loop, "step", interrupted)
    flags = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--epochs", 20, "--output-path", "run"]
    assert distil(*flags) == 130
    dialled = path_of_run("run")
    assert dialled.path.labels[0] == "start" and dialled.best.config["snapshots"] == dialled.made["snapshots"]


def test_overwritten_runs_leave_no_snapshots_behind(copied, teacher, monkeypatch):
    folder = copied("full")
    before = (folder / "snapshots.pt").read_bytes()

    def interrupted(*given, **choice):
        raise KeyboardInterrupt

    flags = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", 4]
    assert distil(*flags, "--output-path", folder, "--overwrite") == 0
    after = (folder / "snapshots.pt").read_bytes()
    assert after != before
    monkeypatch.setattr(training_loop.Loop, "step", interrupted)
    distil(*flags, "--output-path", folder, "--overwrite")
    assert (folder / "snapshots.pt").read_bytes() == after, "until another is whole"


def test_two_runs_leave_the_same_snapshots(runs, teacher, here):
    flags = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--steps", 14, *RUNS["decoder"]]
    assert distil(*flags, "--output-path", "again") == 0
    assert Path("again/snapshots.pt").read_bytes() == (runs / "decoder/snapshots.pt").read_bytes()


# --- between two checkpoints


def file(folder, name, seed=0, words="a b c d e f", **config):
    vocabulary = word_vocabulary(words.split())
    ends = config.pop("ends", ())
    model = build(architecture(*ends, vocab_size=len(vocabulary), **config.pop("choice", {})), seed)
    made = Checkpoint(model.eval(), vocabulary, dict.fromkeys(PARTS, name), {}, config)
    checkpoint.save(made, folder / name)
    return str(folder / name)


def between(*files):
    return refused([], *files, find=path_between)


def test_between_two_checkpoints_the_path_is_straight(tmp_path):
    start, end = file(tmp_path, "a.pt"), file(tmp_path, "b.pt", seed=1, note="x")
    dialled = path_between(start, end)
    assert dialled.path.kind == "between" and dialled.path.labels == ("start", "end")
    assert dialled.teacher.path == start, "no teacher is known"
    assert dialled.best.path == end and dialled.made == {"note": "x"}
    for place, name in ((0, start), (1, end)):
        assert same_bits(bits(dialled.path.at(place)), bits(checkpoint.load(name).model))
    assert path_between(start, end, teacher=end).teacher.path == end


def test_the_reference_is_the_teacher_that_both_name(tmp_path):
    teacher = file(tmp_path, "t.pt", seed=5)
    fingerprint = checkpoint.load(teacher).fingerprint
    of = {"teacher_checkpoint": teacher, "teacher_fingerprint": fingerprint}
    start, end = file(tmp_path, "a.pt", **of), file(tmp_path, "b.pt", seed=1, **of)
    assert path_between(start, end).teacher.path == teacher
    moved = file(tmp_path, "c.pt", seed=2, **{**of, "teacher_checkpoint": "gone.pt"})
    assert path_between(start, moved).teacher.path == teacher, "the other still finds it"
    stranger = file(tmp_path, "d.pt", seed=2, teacher_checkpoint=teacher, teacher_fingerprint="0" * 16)
    assert path_between(start, stranger).teacher.path == start
    file(tmp_path, "t.pt", seed=6)
    with spoken() as lines:
        assert path_between(start, end).teacher.path == start, "other weights stand there by now"
    assert fingerprint in lines[0] and "--from is the reference" in lines[0]
    assert path_between(file(tmp_path, "e.pt", seed=3, teacher_fingerprint=7), end).teacher.path.endswith(
        "e.pt"
    )


def test_checkpoints_that_are_not_to_be_joined_are_refused(tmp_path):
    start = file(tmp_path, "a.pt")
    smaller = file(tmp_path, "b.pt", ends=(size(), size(layers=1)))
    line = between(start, smaller)
    assert "--from" in line and "--to" in line and "receiver layers 2 beside 1" in line
    assert "vocabularies differ" in between(start, file(tmp_path, "c.pt", words="a b c d e g"))
    assert "the same weights" in between(start, file(tmp_path, "d.pt"))
    assert "--to" in between(start, tmp_path / "gone.pt") and "--from" in between(tmp_path, start)
    end = file(tmp_path, "e.pt", seed=1)
    assert "--teacher-checkpoint" in between(start, end, tmp_path / "gone.pt")
    assert "vocabularies differ" in between(start, end, tmp_path / "c.pt")
    wider = file(tmp_path, "f.pt", choice={"channel_dim": 4})
    assert "signal width C=4" in between(start, end, wider)
