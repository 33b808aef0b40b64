"""Paths that flags are given: what no system could hold is refused before the work, also of an output."""

import os

import pytest
from cli_support import distil, package, refused

from semcom.base import paths
from semcom.base.errors import LONGEST_LINE, SemcomError
from semcom.commands.measuring import labels
from semcom.commands.parsers import VERBS

LONG_NAME, LONG_PATH = "x" * 300, "folder/" * 700
OUTPUT = ["vocab", "--output"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("a\0b", "NUL"),
        ("\ud800", "no path can"),
        (LONG_NAME, "a name of 300 bytes"),
        ("漢" * 100, "a name of 300 bytes"),
        (LONG_PATH, "is of 4,900 bytes"),
        ("no/such.pt/", "leave the last / out"),
    ],
)
def test_what_is_no_path_is_refused_of_every_flag(path, told, here, capsys):
    for words in (OUTPUT, ["train", "--output", "t.pt", "--corpus"], ["evaluate"], ["doctor", "--output"]):
        if path.endswith("/") and words[-1] == "--corpus":
            continue
        line = refused(capsys, package(*words, path), told)
        assert len(line) <= LONGEST_LINE + 1
    assert not list(here.iterdir())


@pytest.mark.parametrize("path", [".", "..", "/", "./", "//"])
def test_a_folder_of_no_name_in_the_place_of_a_checkpoint(path, here, capsys):
    for words in (["evaluate", path], ["transmit", "x", "--checkpoints", path]):
        refused(capsys, package(*words), "is a folder, give the .pt file inside")


@pytest.mark.parametrize("path", ["a b", "a\nb", "-rf", "漢字", "\udcff", "x" * 190, "./a", "../a", "~"])
def test_odd_paths_are_paths(path):
    for metavar in paths.METAVARS:
        paths.check("--output", path, metavar)
        paths.check_output("--output", path)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("x" * 200, "a name of 200 bytes"),
        ("/", "name another path"),
        ("taken/below", "is a file, not a folder"),
        ("pipe", "a device or a pipe"),
        (os.devnull, "a device or a pipe"),
        ("folder", "folder"),
    ],
)
def test_outputs_that_could_not_be_written_are_refused(path, told, here, capsys):
    (here / "taken").touch()
    (here / "folder").mkdir()
    os.mkfifo(here / "pipe")
    for words in ([*OUTPUT, path], ["train", "--output", path]):
        refused(capsys, package(*words, "--overwrite", "--corpus-size", 100), told)
    assert sorted(found.name for found in here.iterdir() if found.suffix != ".lock") == [
        "folder",
        "pipe",
        "taken",
    ]


def test_settings_made_in_python_are_checked_too():
    with pytest.raises(SemcomError, match="--output : is empty|--output '': is empty"):
        VERBS["vocab"].settings(output="")


@pytest.mark.parametrize(
    ("program", "words", "near"),
    [
        (package, ["evaluate", "techer.pt"], "teacher.pt"),
        (package, ["evaluate", "“teacher.pt”"], "teacher.pt"),
        (package, ["transmit", "--checkpoints", "Teacher.pt"], "teacher.pt"),
        (package, ["train", "--output", "t.pt", "--corpus", "texts/new.zh"], "texts/news.zh"),
        (package, ["train", "--output", "t.pt", "--corpus", "text/news.zh"], "texts/news.zh"),
        (package, ["dial", "text", "--target", "0.2"], "texts"),
        (package, ["doctor", "--config", "run.yml"], "run.yaml"),
        (distil, ["--teacher-checkpoint", "teacher.pth"], "teacher.pt"),
        (distil, ["--student-checkpoint", "techer.pt", "--teacher-checkpoint", "TEACHER"], "teacher.pt"),
    ],
)
def test_a_path_that_is_not_there_may_be_a_near_one(program, words, near, here, capsys):
    for name in ("teacher.pt", "texts/news.zh", "run.yaml"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).touch()
    refused(capsys, program(*words), f"did you mean {near}?")


def test_labels_of_paths():
    assert labels(["a/x.pt", "b/x.pt", "y.pt"]) == ["a/x", "b/x", "y"]
    best = "best_student_model.pt"
    assert labels([f"a/T4/{best}", f"T8/{best}", "teacher.pt"]) == ["T4", "T8", "teacher"]
    assert labels([f"a/T4/{best}", f"b/T4/{best}", best]) == ["a/T4", "b/T4", "best_student_model"]
    assert labels(["x.y.pt", ".", "/"]) == ["x.y", ".", "/"]
