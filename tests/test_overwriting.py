"""Runs and teachers that replace earlier ones, at the end; the mark of completion; two that want one
place."""

import json
import shutil
from pathlib import Path

import pytest
from cli_support import TINY_TRAINING, distil, hidden, package, refused

from semcom.base import locks
from semcom.commands import completion, distil_summary
from semcom.commands.run_record import is_finished
from semcom.distillation import trainer, training_loop
from semcom.models import checkpoint

pytestmark = pytest.mark.usefixtures("here", "no_scores")
PLACES = ["--output-path", "run", "--create-hybrid", "--hybrid-output", "hybrid.pt"]
TRAINED = ["--layers", 1, "--model-width", 8, "--heads", 1, "--feed-forward", 8, "--steps", 3, *TINY_TRAINING]


def run(teacher, *flags):
    words = ["--distill-part", "decoder", "--student-layers", 1, "--steps", 3, *TINY_TRAINING, *flags]
    return distil("--teacher-checkpoint", teacher, *words)


def tree():
    files = (path for path in Path().rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path): path.read_bytes() for path in files}


def record(path="run/distillation_config.json"):
    return json.loads(Path(path).read_text())


def in_folder(folder, make):
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert make() == 0


@pytest.fixture
def before(here, made_once, teacher):
    """A run that has finished, with a file of its user."""
    made = made_once("finished_run", lambda folder: in_folder(folder, lambda: run(teacher, *PLACES)))
    shutil.copytree(made, here, dirs_exist_ok=True)
    Path("run/notes.txt").write_text("mine")
    return tree()


def stop(monkeypatch, where, name):
    def interrupt(*given, **choice):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, name, interrupt)


# --- distillations


def test_a_finished_run_carries_its_mark_and_digests(before):
    made = record()
    wanted = {"best_student_model.pt": "run/best_student_model.pt", "hybrid": "hybrid.pt"}
    wanted |= {"snapshots.pt": "run/snapshots.pt"}
    assert made["finished"] is True
    assert made["digests"] == {name: completion.digest_of(Path(file)) for name, file in wanted.items()}
    assert is_finished("run") and not hidden(Path(), "**/.*")
    Path("run/best_student_model.pt").write_bytes(before["hybrid.pt"][:-1])
    assert not is_finished("run")
    Path("run/best_student_model.pt").unlink()
    assert not is_finished("run") and not is_finished("absent")


def test_a_run_of_versions_without_a_mark_has_finished(before):
    older = {name: value for name, value in record().items() if name not in ("finished", "digests")}
    Path("run/distillation_config.json").write_text(json.dumps(older))
    assert is_finished("run")


@pytest.mark.parametrize(
    "where, name", [(training_loop.Loop, "step"), (distil_summary, "score")], ids=["trains", "scores"]
)
def test_what_is_overwritten_stands_until_the_new_run_is_whole(before, teacher, monkeypatch, where, name):
    again = [*PLACES, "--seed", 7]
    with monkeypatch.context() as patched:
        stop(patched, where, name)
        assert run(teacher, *again, "--overwrite") == 130
    assert (
        before.items() <= tree().items() and record("run.new/distillation_config.json")["finished"] is False
    )
    assert run(teacher, *again, "--overwrite") == 0
    after = tree()
    assert after.keys() == before.keys() and after["run/notes.txt"] == b"mine"
    assert record()["seed"] == 7 and record()["output_path"] == "run" and is_finished("run")
    for name in ("run/best_student_model.pt", "hybrid.pt"):
        assert after[name] != before[name] and "seed 7" not in checkpoint.load(name).origin
    assert "run.new" not in json.dumps(record()), "records name the final paths"


def test_an_overwriting_run_goes_on(before, teacher, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        stop(patched, distil_summary, "score")
        assert run(teacher, *PLACES, "--seed", 7, "--overwrite") == 130
    assert "run.new" in capsys.readouterr().err
    assert run(teacher, *PLACES, "--seed", 7, "--resume") == 0
    assert "made run/best_student_model.pt" in capsys.readouterr().out
    assert tree().keys() == before.keys() and record()["seed"] == 7 and is_finished("run")


def test_a_named_path_with_an_unfinished_run_says_how_to_go_on(teacher, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        stop(patched, training_loop.Loop, "step")
        assert run(teacher, *PLACES) == 130
    left = tree()
    capsys.readouterr()
    refused(capsys, run(teacher, *PLACES), "--output-path run", "unfinished", "--resume", "--overwrite")
    assert tree() == left


def test_a_default_path_with_an_unfinished_run_is_set_aside(teacher, monkeypatch):
    with monkeypatch.context() as patched:
        stop(patched, training_loop.Loop, "step")
        assert run(teacher) == 130
    assert run(teacher) == 0
    assert is_finished("checkpoints/distillation_decoder")
    assert not is_finished("checkpoints/distillation_decoder.before-1")


def test_resuming_what_has_finished_is_one_line(before, teacher, capsys):
    capsys.readouterr()
    assert run(teacher, *PLACES, "--resume") == 0
    said = capsys.readouterr()
    assert said.out == "--resume: run holds a run that has finished; nothing is left to do\n" and not said.err
    assert tree() == before


def test_a_run_that_died_before_its_new_outputs_came_in_is_finished_by_resume(before, teacher, monkeypatch):
    class Death(BaseException):
        pass

    def die(*_):
        raise Death

    from semcom.base import places

    with monkeypatch.context() as patched, pytest.raises(Death):
        patched.setattr(places.replacing, "publish", die)
        run(teacher, *PLACES, "--seed", 7, "--overwrite")
    assert before.items() <= tree().items() and is_finished("run.new")
    with monkeypatch.context() as patched:
        stop(patched, training_loop.Loop, "step")
        assert run(teacher, *PLACES, "--seed", 7, "--resume") == 0
    assert record()["seed"] == 7 and is_finished("run") and not Path("run.new").exists()
    assert record()["digests"]["hybrid"] == completion.digest_of(Path("hybrid.pt"))


def test_two_runs_with_one_hybrid_do_not_both_make_it(teacher, capsys):
    with locks.hold("--hybrid-output", "hybrid.pt"):
        code = run(teacher, *PLACES)
        refused(capsys, code, "--hybrid-output hybrid.pt", "another run", "is writing there")
    assert not tree()


def test_a_run_whose_hybrid_alone_replaces_another_goes_on_where_it_was(teacher, monkeypatch):
    Path("hybrid.pt").write_bytes(b"an earlier one")
    with monkeypatch.context() as patched:
        stop(patched, distil_summary, "score")
        assert run(teacher, *PLACES, "--overwrite") == 130
    assert Path("run/resume.pt").exists() and Path("hybrid.pt").read_bytes() == b"an earlier one"
    with monkeypatch.context() as patched:
        stop(patched, training_loop.Loop, "step")
        assert run(teacher, *PLACES, "--overwrite", "--resume") == 0
    assert tree().keys() >= {"run/final_student_model.pt", "hybrid.pt"}
    assert not [name for name in tree() if ".new" in name or "before" in name or "resume" in name]


# --- teachers


@pytest.fixture
def trained(here, made_once):
    def make():
        return package("train", "--output", "t.pt", *TRAINED)

    shutil.copytree(made_once("trained", lambda folder: in_folder(folder, make)), here, dirs_exist_ok=True)
    return tree()


def test_a_trained_teacher_carries_its_mark(trained):
    made = record("t.json")
    assert made["finished"] is True and made["digests"] == {"checkpoint": completion.digest_of(Path("t.pt"))}
    assert trained.keys() == {"t.pt", "t.json"}


def test_a_teacher_is_replaced_when_the_new_one_is_whole(trained, monkeypatch, capsys):
    again = ["train", "--output", "t.pt", *TRAINED, "--seed", 7]
    with monkeypatch.context() as patched:
        stop(patched, completion, "completion")
        assert package(*again, "--overwrite") == 130
    assert trained.items() <= tree().items() and "t.pt.new" in tree()
    assert package(*again, "--overwrite") == 0
    assert tree().keys() == trained.keys() and tree()["t.pt"] != trained["t.pt"]
    assert record("t.json")["seed"] == 7
    whole = tree()
    for state in ("t.resume.pt", "t.pt.resume.pt"):
        Path(state).touch()  # left by one that was killed before it removed it
    assert package(*again, "--resume") == 0
    assert "t.pt holds a run that has finished" in capsys.readouterr().out
    assert tree() == whole


def test_a_training_that_died_before_its_first_epoch_ended_leaves_the_earlier_teacher(trained, monkeypatch):
    again = ["train", "--output", "t.pt", *TRAINED, "--seed", 7, "--overwrite"]
    with monkeypatch.context() as patched:
        stop(patched, trainer, "validate")
        assert package(*again) == 130
    assert trained.items() <= tree().items() and "t.json.new" in tree() and "t.pt.new" not in tree()
    with monkeypatch.context() as patched:
        stop(patched, completion, "completion")
        assert package(*again, "--resume") == 130
    assert trained.items() <= tree().items() and "t.pt.new" in tree()
    assert package(*again, "--resume") == 0
    assert tree().keys() == trained.keys() and record("t.json")["seed"] == 7


def test_a_teacher_that_is_unfinished_says_how_to_go_on(monkeypatch, capsys):
    with monkeypatch.context() as patched:
        stop(patched, completion, "completion")
        assert package("train", "--output", "t.pt", *TRAINED) == 130
    capsys.readouterr()
    refused(capsys, package("train", "--output", "t.pt", *TRAINED), "--output t.pt", "--resume")
    assert package("train", "--output", "t.pt", *TRAINED, "--resume") == 0
    assert record("t.json")["finished"] is True and tree().keys() == {"t.pt", "t.json"}


def test_two_trainings_of_one_output_do_not_both_make_it(capsys):
    Path("link.pt").symlink_to("t.pt")
    with locks.hold("--output", "t.pt"):
        code = package("train", "--output", "link.pt", *TRAINED)
        refused(capsys, code, "--output link.pt", "another run", "is writing there")


@pytest.mark.parametrize("text", ["mine", '{"a": 1}'])
def test_resume_is_no_leave_to_overwrite_what_is_no_run(text, capsys, teacher):
    Path("t.json").write_text(text)
    refused(capsys, package("train", "--output", "t.pt", *TRAINED, "--resume"), "t.json", "exists already")
    Path("run").mkdir()
    Path("run/notes.txt").write_text("mine")
    refused(capsys, run(teacher, *PLACES, "--resume"), "--output-path run", "exists already")
    assert tree() == {"t.json": text.encode(), "run/notes.txt": b"mine"}


def test_an_unfinished_run_is_dialled_with_a_warning(before, capsys):
    Path("run/distillation_config.json").write_text(json.dumps(record() | {"finished": False}))
    at = ["--snr", 12, "--sentences", 10, "--corpus-size", 240, "--quiet"]
    assert package("dial", "run", "--target", 1e9, *at, "--output-path", "ladder") == 2
    said = capsys.readouterr()
    assert "run: the run is unfinished; it is dialled as it is" in said.out and "out of reach" in said.err
