"""A disk that is full at a save, whichever: one line; what was whole stays so, nothing half written stays."""

import errno
import itertools
import json
import os
import resource
import stat
from pathlib import Path

import pytest
from cli_support import TINY_TRAINING, analyse, distil, hidden, package

from semcom.commands.run_record import is_finished
from semcom.models import checkpoint, state_dicts, state_file

pytestmark = pytest.mark.usefixtures("here")
PLACES = ["--output-path", "run", "--create-hybrid", "--hybrid-output", "hybrid.pt"]
TRAINED = ["train", "--output", "t.pt", "--layers", 1, "--model-width", 8, "--heads", 1, "--feed-forward", 8]
TRAINED += ["--steps", 3, *TINY_TRAINING]
CODES = {"full": errno.ENOSPC, "broken": errno.EIO}


def run(teacher, *flags):
    words = ["--distill-part", "decoder", "--student-layers", 1, "--steps", 3, *TINY_TRAINING, *PLACES]
    return distil("--teacher-checkpoint", teacher, *words, *flags)


def tree():
    """But for what is kept of measurements."""
    files = (path for path in Path().rglob("[!.]*") if path.is_file() and path.suffix != ".npz")
    return {str(path): path.read_bytes() for path in files}


def fails_from(monkeypatch, save, code):
    """Let every save from this one on fail when it is to be on the disk, the first being 0."""
    sync, count = os.fsync, itertools.count()

    def fsync(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and next(count) >= save:
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def check_all_load():
    for path in map(Path, tree()):
        if path.name.endswith("resume.pt"):
            state_file.read(path, "")
        elif path.name == "snapshots.pt":
            state_dicts.load(path, "snapshots")
        elif path.suffix == ".pt":
            checkpoint.load(path)
        if path.suffix == ".json":
            json.loads(path.read_text())


def check_refused(capsys, code):
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and "cannot be written" in error, error
    assert not [path for path in hidden(Path(), "**/.*") if path.suffix == ".tmp"]
    check_all_load()


def each_save_of_a_replacing_run(teacher, monkeypatch, capsys, saves, code):
    assert run(teacher) == 0
    before = tree()
    capsys.readouterr()
    for save in saves:
        with monkeypatch.context() as patched:
            fails_from(patched, save, code)
            done = run(teacher, "--seed", 7, "--overwrite")
        if done == 0:
            break
        check_refused(capsys, done)
        assert before.items() <= tree().items(), save
        assert is_finished("run")
    assert run(teacher, "--seed", 7, "--overwrite") == 0
    assert tree().keys() == before.keys() and is_finished("run")
    return save


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_at_some_saves_of_a_run_that_replaces_another(teacher, monkeypatch, capsys, code):
    each_save_of_a_replacing_run(teacher, monkeypatch, capsys, (0, 4, 9), code)


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_at_every_save_of_a_run_that_replaces_another(teacher, monkeypatch, capsys, code):
    saves = itertools.count()
    assert each_save_of_a_replacing_run(teacher, monkeypatch, capsys, saves, code) > 10


def each_save_of_a_run_that_goes_on(teacher, monkeypatch, capsys, saves):
    for save in saves:
        with monkeypatch.context() as patched:
            fails_from(patched, save, errno.ENOSPC)
            done = run(teacher, "--resume")
        if done == 0:
            break
        check_refused(capsys, done)
    assert run(teacher, "--resume") == 0
    assert is_finished("run")
    check_all_load()
    return save


def test_at_some_saves_of_a_run_that_goes_on(teacher, monkeypatch, capsys):
    each_save_of_a_run_that_goes_on(teacher, monkeypatch, capsys, (0, 3, 6))


@pytest.mark.slow
def test_at_every_save_of_a_run_that_goes_on(teacher, monkeypatch, capsys):
    assert each_save_of_a_run_that_goes_on(teacher, monkeypatch, capsys, itertools.count()) > 3


def each_save_of_a_training(monkeypatch, capsys, saves):
    assert package(*TRAINED) == 0
    before = tree()
    capsys.readouterr()
    for save in saves:
        with monkeypatch.context() as patched:
            fails_from(patched, save, errno.ENOSPC)
            done = package(*TRAINED, "--seed", 7, "--overwrite")
        if done == 0:
            break
        check_refused(capsys, done)
        assert before.items() <= tree().items(), save
    assert package(*TRAINED, "--seed", 7, "--overwrite") == 0
    assert tree().keys() == before.keys()


def test_at_every_save_of_a_training_that_replaces_another(monkeypatch, capsys):
    each_save_of_a_training(monkeypatch, capsys, itertools.count())


QUICK = ["--corpus-size", 240, "--sentences", 12, "--snr", 12, "--replicates", 100, "--quiet"]


def each_save_of_a_report(teacher, monkeypatch, capsys, saves):
    flags = [*QUICK, teacher, "--teacher-checkpoint", teacher, "--report-dir", "report", "--output", "r.json"]
    assert analyse(*flags) == 0
    before = tree()
    capsys.readouterr()
    for save in saves:
        with monkeypatch.context() as patched:
            fails_from(patched, save, errno.ENOSPC)
            done = analyse(*flags, "--seed", 7, "--overwrite")
        if done == 0:
            break
        check_refused(capsys, done)
        assert before.items() <= tree().items(), save
    assert analyse(*flags, "--seed", 7, "--overwrite") == 0
    assert tree().keys() == before.keys()


@pytest.mark.slow
def test_at_some_saves_of_a_report_that_replaces_another(teacher, monkeypatch, capsys):
    each_save_of_a_report(teacher, monkeypatch, capsys, (0, 5))


@pytest.mark.slow
def test_at_every_save_of_a_report_that_replaces_another(teacher, monkeypatch, capsys):
    each_save_of_a_report(teacher, monkeypatch, capsys, itertools.count())


@pytest.mark.parametrize("most", [1000, 40_000])
def test_a_limit_on_the_size_of_files(teacher, capsys, most):
    """The operating system's own: the checkpoints, or even the records, do not fit."""
    assert run(teacher) == 0
    before = tree()
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        done = run(teacher, "--seed", 7, "--overwrite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_refused(capsys, done)
    assert before.items() <= tree().items()
