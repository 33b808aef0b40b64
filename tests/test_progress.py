"""What a console shows while a work is long: bars that fit, lines where there is no terminal, no colours."""

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
import threading

import pytest
from cli_support import ROOT, TINY_TRAINING, UNDRAWN, distil

from semcom.base import distributed, progress
from semcom.distillation.history import Epoch


def terminal_of(columns):
    """Descriptors of its two sides, ours and that of who writes to it."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, theirs


def on_a_terminal(words, folder, columns=80, **environment):
    """Exit code, what a command writes to standard error, a terminal of so many columns, and to standard
    output, no terminal."""
    ours, theirs = terminal_of(columns)
    started = subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": UNDRAWN, "TERM": "xterm", **environment},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    parts = []
    reader = threading.Thread(target=_read, args=(ours, parts))
    reader.start()
    printed, _ = started.communicate(timeout=120)
    reader.join()
    os.close(ours)
    return started.returncode, b"".join(parts).decode(), printed


def _read(terminal, parts):
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            return
        if not part:
            return
        parts.append(part)


def rows(shown):
    """What stands in a row of the terminal at some time."""
    return [row for row in re.split(r"[\r\n]+|\x1b\[A", shown) if row]


TRAINING = [word for word in TINY_TRAINING if word != "--quiet"]


def distillation(teacher, *flags):
    return [ROOT / "distillation.py", "--teacher-checkpoint", teacher, *TRAINING, *flags]


@pytest.mark.parametrize("columns", [80, *(pytest.param(n, marks=pytest.mark.slow) for n in (200, 60))])
def test_bars_fit_the_terminal(columns, teacher, tmp_path):
    flags = ["--epochs", "2", "--sequence-level", "1", "--distill-part", "decoder"]
    code, shown, printed = on_a_terminal(distillation(teacher, *flags), tmp_path, columns, NO_COLOR="1")
    assert code == 0
    bars = rows(shown)
    assert max(len(bar) for bar in bars) <= min(columns, 80) - 1
    epochs = [bar for bar in bars if bar.startswith("epoch 2: ")]
    assert re.search(r"epoch 2: \d/8 \|.*\| 00:0\d left, loss \d+\.\d{3}, [\d,]+ t", epochs[-1])
    if columns >= 80:
        assert epochs[-1].endswith(" tok/s"), "nothing is cut off"
    assert any(bar.startswith("teacher's decodings: ") for bar in bars)
    assert any(bar.startswith("the teacher's signals: ") for bar in bars)
    assert "\x1b" not in shown, "no bar stands below another; no colours"
    assert "\x1b" not in printed, "no colours"
    lines = [line for line in printed.splitlines() if line.startswith("epoch ")]
    of_training = printed[printed.index("epoch  1") :].split("\nBLEU")[0]
    assert len(lines) == 2 and all(len(line) < 80 for line in of_training.splitlines())


@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_shows_nothing(quiet, teacher, here, monkeypatch, capsys):
    ours, theirs = terminal_of(80)
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        flags = ["--steps", 3, *["--quiet"] * quiet]
        assert distil("--teacher-checkpoint", teacher, *TRAINING, *flags) == 0
        os.set_blocking(ours, False)
        parts = []
        _read(ours, parts)
    os.close(ours)
    shown = b"".join(parts).decode()
    assert ("epoch 1: " in shown) != quiet and (not shown) == quiet
    assert ("epoch" in capsys.readouterr().out.split("BLEU")[0]) != quiet


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""
    return Clock(monkeypatch)


def test_where_no_terminal_is_there_is_a_line_a_minute(clock, capsys):
    with progress.Progress(100, "epoch 1", quiet=False, done=10) as shown:
        for step in range(30):
            clock.now += 6
            shown.show(f"epoch {1 + step // 15}", 2.5 - step / 100, 12345.6 if step else None)
            shown.advance()
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1: 20/100, 08:00 left, loss 2.410, 12,346 tok/s",
        "epoch 2: 30/100, 07:00 left, loss 2.310, 12,346 tok/s",
        "epoch 2: 40/100, 06:00 left, loss 2.210, 12,346 tok/s",
    ]


def test_what_is_left_is_not_known_before_the_first(clock, capsys):
    with progress.Progress(3, "runs", quiet=False, done=1) as shown:
        clock.now += 60
        shown.advance(0)
    assert capsys.readouterr().err == "runs: 1/3, ? left\n"


def test_items_come_as_they_are(clock, capsys):
    def items():
        for item in progress.each(["a", "b", "c"], "reading", quiet=False):
            clock.now += 61
            yield item

    assert list(items()) == ["a", "b", "c"]
    assert capsys.readouterr().err.splitlines()[0] == "reading: 1/3, 02:02 left"


@pytest.mark.parametrize("quiet, rank", [(True, 0), (False, 1)])
def test_nothing_is_shown_quietly_or_by_another_process(quiet, rank, clock, capsys, monkeypatch):
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    for _ in progress.each(range(3), "reading", quiet=quiet):
        clock.now += 100
    assert capsys.readouterr().err == ""


def test_a_line_is_said_on_standard_output(capsys):
    progress.Progress(3, "reading", quiet=False).say("a line")
    assert capsys.readouterr() == ("a line\n", "")


def test_a_terminal_without_a_width_has_80_columns(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress._columns() == 79


def epoch(**parts):
    return Epoch(3, 60, 2.4348, parts, {"ce": 7.9139}, 0.001, 1000, 0.1, 0.117)


def test_the_parts_of_the_loss_stand_in_the_line_of_its_epoch():
    only = epoch(distillation=2.4348, ce=8.0351, kd=0.0347)
    line = "epoch  3  loss 2.4348  ce 8.0351  kd 0.0347  validation 7.9139 *  10,000 tok/s"
    assert only.lines(True) == line
    several = epoch(distillation=2.0, encoder=0.1, signal=0.2, decoder=0.13, ce=8.0351, kd=0.0347)
    lines = several.lines(False).splitlines()
    assert " ".join(" ".join(lines).split()) == (
        "epoch 3 loss 2.4348 distillation 2.0000 encoder 0.1000 signal 0.2000 decoder 0.1300 ce 8.0351 "
        "kd 0.0347 validation 7.9139 10,000 tok/s"
    )
    assert len(lines) == 2 and max(map(len, lines)) < 80 and lines[1].startswith(" " * 10)
