"""A tiny teacher and the commands that the CLI tests share. Everything runs in process, through
``main(argv)``."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import distillation
import distillation_examples
import semantic_analysis
from semcom.commands import cli, distil_summary, sweep_child, sweep_runner

ROOT = Path(__file__).resolve().parent.parent
UNDRAWN = f"{ROOT / 'tests/undrawn'}{os.pathsep}{ROOT}"
"""PYTHONPATH of programs that need no pictures."""
TINY_TEACHER = "tiny_teacher.pt"
TINY_TRAINING = ["--corpus-size", "120", "--batch-size", "32", "--quiet", "--device", "cpu"]


def package(*argv: object) -> int:
    return cli.run(cli.package, [str(word) for word in argv])


def distil(*argv: object) -> int:
    return distillation.main([str(word) for word in argv])


def analyse(*argv: object) -> int:
    return semantic_analysis.main([str(word) for word in argv])


def examples(*argv: object) -> int:
    return distillation_examples.main([str(word) for word in argv])


def leave_out_scores(patched: pytest.MonkeyPatch) -> None:
    """Distillations end without their closing scores, which are much of what a short one does."""
    none = distil_summary.TestScores(None, None, ())
    patched.setattr(distil_summary, "score", lambda run, hybrids: none)


def script(name: str, *argv: object, **options) -> subprocess.CompletedProcess:
    """One of the scripts as a person starts it."""
    return subprocess.run(
        [sys.executable, str(ROOT / name), *map(str, argv)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def train_tiny_teacher(folder: Path, *flags: object) -> Path:
    """3 layers, D=16, a few steps: enough to load, distil and measure."""
    path = folder / TINY_TEACHER
    code = package(
        "train",
        "--output",
        path,
        "--layers",
        3,
        "--model-width",
        16,
        "--heads",
        2,
        "--feed-forward",
        32,
        "--steps",
        12,
        "--lr",
        0.003,
        *TINY_TRAINING,
        *flags,
    )
    assert code == 0
    return path


def refused(capsys: pytest.CaptureFixture, code: int, *words: str) -> str:
    """Assert exit code 2 and one line on stderr that holds every one of ``words``; return it."""
    error = capsys.readouterr().err
    assert code == 2, error
    assert error.count("\n") == 1 and "Traceback" not in error, error
    for word in words:
        assert word in error, f"{word!r} not in {error!r}"
    return error


def wait_until(holds: Callable[[], bool], process: subprocess.Popen) -> None:
    """Until something holds while the process runs, for a minute or two at most."""
    for _ in range(2000):
        if holds():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it did not come")


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until the process has made the file."""
    wait_until(path.exists, process)


def hidden(folder: Path, pattern: str = ".*") -> list[Path]:
    """Hidden files in it that nobody should have left; those of locks may stay."""
    return [path for path in folder.glob(pattern) if path.is_file() and path.suffix != ".lock"]


class _InThisProcess:
    """Stands in for ``subprocess.Popen``: the run is over when it has begun."""

    def __init__(self, command: list[str], **options):
        self.returncode = sweep_child.run(command[3], command[4:])

    def poll(self) -> int:
        return self.returncode


def runs_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of sweeps are made one after another and here, which saves the start of a process for each."""
    monkeypatch.setattr(sweep_runner.subprocess, "Popen", _InThisProcess)
    monkeypatch.setattr(sweep_runner, "LOOKS_EVERY", 0)
