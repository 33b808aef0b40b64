"""Whatever goes wrong is told in one line of at most 500 characters, with the exit code of its kind."""

import errno
import os
import subprocess
import sys

import pytest
from cli_support import ROOT

from semcom.base.errors import LONGEST_LINE, ChecksFailed, SemcomError, one_line
from semcom.base.failures import BAD_INPUT, FAILED, code_and_message
from semcom.commands import cli


def of_system(code, *names):
    return OSError(code, os.strerror(code), *names)


def made(function, *arguments):
    """The error that Python itself makes."""
    try:
        function(*arguments)
    except Exception as error:
        return error
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (of_system(errno.ENOENT, "a.pt"), BAD_INPUT, ["a.pt", "No such file", "check the path"]),
        (of_system(errno.ENOTDIR, "a.pt/b"), BAD_INPUT, ["a.pt/b", "is a file, not a folder"]),
        (of_system(errno.ENAMETOOLONG, "n" * 300), BAD_INPUT, ["nnn", "shorter path"]),
        (of_system(errno.EROFS, "x/y"), FAILED, ["x/y", "read-only", "another place"]),
        (of_system(errno.EIO, "x"), FAILED, ["x", "disk"]),
        (of_system(errno.EMFILE), FAILED, ["ulimit -n"]),
        (made("\udcff.pt".encode, "utf-8"), BAD_INPUT, [r"\udcff.pt", "utf-8"]),
        (made(b"\xff".decode, "utf-8"), BAD_INPUT, ["not utf-8 from byte 0"]),
        (made(open, "a\0b"), BAD_INPUT, ["NUL"]),
        (made(float, 10**400), BAD_INPUT, ["too large"]),
        (made(int, "9" * 5000), BAD_INPUT, ["too large"]),
        (made(range(3).index, 7), FAILED, ["ValueError", "fault of the program"]),
        (ModuleNotFoundError("No module named 'jieba'", name="jieba"), FAILED, ["jieba", "pip install"]),
        (RuntimeError("PytorchStreamWriter failed writing file"), FAILED, ["cannot be written"]),
        (MemoryError(), BAD_INPUT, ["out of memory", "--batch-size"]),
        (ChecksFailed("two checks failed"), FAILED, ["two checks failed"]),
    ],
)
def test_a_failure_has_a_code_and_a_line(error, code, words):
    found, line = code_and_message(error)
    assert found == code
    assert all(word in line for word in words), line
    assert ("fault of the program" in line) == ("fault of the program" in words)


@pytest.mark.parametrize(
    "given", ["x" * 5000, "a sentence " * 500, "漢" * 5000, "a\nb\r\n" * 900, "\x1b[31m" * 99]
)
@pytest.mark.parametrize("kind", [SemcomError, ValueError, RuntimeError, OSError])
def test_a_line_is_one_and_short_whatever_is_given(given, kind):
    _, line = code_and_message(kind(f"--output {given}: exists already; name another path"))
    assert len(line) <= LONGEST_LINE and line.isprintable()
    assert line.startswith("error: ")
    if kind is SemcomError:
        assert line.startswith("error: --output ") and line.endswith("; name another path")


def test_a_short_line_stays_as_it_is():
    line = "error: --corpus C:\\text\\漢字.txt: " + "p" * 200
    assert one_line(line) == line
    assert one_line("a\nb\x1b") == "a b\\x1b"


def test_a_long_path_in_a_message_keeps_both_its_ends():
    line = one_line(f"--output /first/{'x' * 600}/last.pt: exists already")
    assert "--output /first/x" in line and "…" in line and "/last.pt: exists already" in line


FULL = "error: output: cannot be written (No space left on device); free some space"
CLOSED = "error: standard output is closed; give it a place, such as > run.log or > /dev/null"
REDIRECTED = {
    "--help > /dev/full": FULL,
    "transmit --help > /dev/full": FULL,
    "vocab --output v.model >&-": CLOSED,
    "vocab 2>&-": None,
    "vocab 2> /dev/full": None,
}
"""What follows `python -m semcom`, and what stderr says."""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_standard_streams_that_are_closed_or_full(tmp_path):
    """One shell for all of them."""
    python = f"{sys.executable} -m semcom"
    lines = [f"{python} {words}\necho $? >> codes" for words in REDIRECTED]
    lines += [f"{python} --help | true; echo ${{PIPESTATUS[0]}} >> codes"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr.splitlines() == [line for line in REDIRECTED.values() if line]
    *codes, of_no_reader = map(int, (tmp_path / "codes").read_text().split())
    assert codes == [BAD_INPUT] * len(REDIRECTED) and of_no_reader in (0, FAILED)
    assert not (tmp_path / "v.model").exists()


class Full:
    def write(self, text):
        raise of_system(errno.ENOSPC)

    flush = write


def test_a_line_that_cannot_be_told_changes_no_exit_code(monkeypatch):
    def verb(argv):
        raise SemcomError("no such thing")

    monkeypatch.setattr(sys, "stderr", Full())
    assert cli.run(verb, []) == BAD_INPUT


def test_closed_standard_input_is_empty(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    read = []
    assert cli.run(lambda argv: read.append(sys.stdin.read()), []) == 0
    assert read == [""]
