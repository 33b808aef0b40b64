"""What messages advise: names and paths that are near, and commands that paste."""

import subprocess

import pytest

from semcom.base import advice
from semcom.base.errors import escape

ODD = [
    "a b",
    "it's",
    '"q"',
    "$HOME",
    "`ls`",
    "-rf",
    "漢字.pt",
    "a\nb",
    "a\tb",
    "\x1b[31m",
    "a\\b'",
    "é\u202e",
    "\udcff",
    "*",
    "",
]


def test_a_command_is_read_by_a_shell_as_it_was_meant():
    """One shell for all."""
    line = "printf '%s\\0' " + advice.command(*ODD)
    assert escape(line) == line
    done = subprocess.run(["bash", "-c", line], capture_output=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1] == ODD


def test_a_path_is_never_read_as_a_flag():
    assert advice.path_word("-rf") == "./-rf"
    assert advice.path_word("a b") == "'a b'"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("teacher.pt", "teacher.pt"),
        ("Teacher.PT", "teacher.pt"),
        ("techer.pt", "teacher.pt"),
        ("“teacher.pt”", "teacher.pt"),
        (" teacher.pt ", "teacher.pt"),
        ("runs/T2/best.pt", "runs/T2.0/best.pt"),
        ("run/T2.0/best.pt", "runs/T2.0/best.pt"),
        ("新闻.txt", "新聞.txt"),
        ("runs/T2/other.pt", None),
        ("nothing like it", None),
        ("x" * 5000, None),
        ("teacher.pt/x", None),
        ("a\0b", None),
        ("", None),
    ],
)
def test_a_near_path(given, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("teacher.pt", "runs/T2.0/best.pt", "新聞.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    if found != given:
        assert advice.nearest_path(given) == found
    assert advice.meant_path(given) == (f"; did you mean {found}?" if found not in (None, given) else "")


@pytest.mark.parametrize(
    ("given", "found"),
    [("AWNG", "awgn"), ("ＡＷＧＮ", "awgn"), ("raleigh", "rayleigh"), ("x", None), ("", None)],
)
def test_a_near_name(given, found):
    assert advice.nearest(given, ["awgn", "rayleigh", "rician"]) == found
