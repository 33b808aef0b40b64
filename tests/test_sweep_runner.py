"""The processes of a sweep: how many at a time, what they are given, what is told of those that fail, and how
they end with the sweep. Short programs stand in for distillations."""

import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy

from semcom.base import locks
from semcom.base.varied_flags import Variant
from semcom.commands import sweep as sweep_command
from semcom.commands import sweep_runner
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.sweep_plan import sweep_of
from semcom.commands.sweep_runner import Runner, Share, command_of, environment_of, gpus_of
from semcom.commands.sweep_settings import SlurmConfig, SweepSettings

ROOT = Path(__file__).resolve().parent.parent


def sweep_in(folder, *names):
    settings = [DistilSettings(keep_earlier=number % 2 == 0) for number in range(2)]
    variants = [Variant({"number": n}, settings[n % 2]) for n in range(len(names))]
    # Two settings that differ, in turn, so that none is another's double.
    return sweep_of(folder, list(zip(names, variants)))


@pytest.fixture
def program(monkeypatch):
    """What stands in for a run; in it NAME is that of its folder."""

    def stand_in(text):
        def command(sweep, point):
            return [sys.executable, "-S", "-c", f"NAME = {point.name!r}\n{text}"]

        monkeypatch.setattr(sweep_runner, "command_of", command)

    monkeypatch.setattr(sweep_runner, "LOOKS_EVERY", 0.01)
    return stand_in


def last_lines(root):
    return [log.read_text().splitlines()[-1] for log in sorted((root / "logs").iterdir())]


def test_so_many_at_a_time_and_each_is_told_when_it_ends(program, here, tmp_path):
    program(
        "import os, time\n"
        "open(f'{NAME}.begun', 'x').close(); time.sleep(0.2)\n"
        "print(len([f for f in os.listdir() if f.endswith('.begun')]), os.environ['OMP_NUM_THREADS'])\n"
        "os.remove(f'{NAME}.begun')"
    )
    sweep, told = sweep_in(tmp_path, "a", "b"), []
    runner = Runner(sweep, Share(1, 3), lambda point: told.append(point.name))
    assert runner.run(sweep.points, 0, True) == {}
    alone = last_lines(tmp_path)
    Runner(sweep, Share(2, 1), lambda point: None).run(sweep.points, 0, True)
    both = last_lines(tmp_path)
    assert told == ["a", "b"] and alone == ["1 3", "1 3"] and "2 1" in both


def test_a_failed_run_is_named_with_its_last_line_and_the_others_go_on(program, tmp_path):
    program(
        "import os, sys\n"
        "if NAME == 'a': print('fine so far'); sys.exit('error: the disk \\x1b is full')\n"
        "if NAME == 'b': os.kill(os.getpid(), 9)"
    )
    sweep = sweep_in(tmp_path, "a", "b")
    with toy.spoken() as lines:
        failed = Runner(sweep, Share(2, 1), lambda point: None).run(sweep.points, 0, True)
    assert failed == {"a": r"the disk \x1b is full", "b": "ended by SIGKILL, perhaps for want of memory"}
    assert any("a failed: the disk" in line and "logs/a.log" in line for line in lines)
    log = (tmp_path / "logs/a.log").read_text().splitlines()
    assert log[0] == f"$ python distillation.py --output-path {tmp_path}/a" and log[1] == "fine so far"


def test_what_is_interrupted_ends_its_runs_and_waits_for_them(program, tmp_path):
    program(
        "import signal, sys, time\n"
        "def end(*_): time.sleep(0.2); open(NAME + '.saved', 'x').close(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end); open(NAME + '.begun', 'x').close(); time.sleep(30)"
    )
    sweep = sweep_in(tmp_path, str(tmp_path / "a"), str(tmp_path / "b"))
    runner = Runner(sweep, Share(2, 1), lambda point: None)
    gather = runner._gather

    def interrupted():
        if len(list(tmp_path.glob("*.begun"))) == 2:
            raise KeyboardInterrupt
        return gather()

    runner._gather = interrupted
    with pytest.raises(KeyboardInterrupt):
        runner.run(sweep.points, 0, True)
    assert len(list(tmp_path.glob("*.saved"))) == 2


def test_a_run_has_its_share_of_the_machine(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    first, third = (environment_of(Share(4, 3, gpus=2), slot) for slot in (0, 2))
    assert first["OMP_NUM_THREADS"] == first["MKL_NUM_THREADS"] == "3" and "RANK" not in first
    assert first["CUDA_VISIBLE_DEVICES"] == third["CUDA_VISIBLE_DEVICES"] == "0"
    assert environment_of(Share(4, 3, gpus=2), 3)["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert environment_of(Share(4, 3, gpus=2), 3)["CUDA_VISIBLE_DEVICES"] == "7"
    assert environment_of(Share(4, 3, gpus=1), 3)["CUDA_VISIBLE_DEVICES"] == "5,7"


def test_gpus_are_dealt_out_unless_a_run_says_which_it_takes(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert gpus_of(["auto", "cuda"]) == 2 and gpus_of(["cuda:1", "auto"]) == 0 == gpus_of(["cpu"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_of(["auto"]) == 0


def test_the_command_of_a_run_goes_on_with_it_unless_it_is_to_begin_anew(tmp_path):
    point = sweep_in(tmp_path, "a").points[0]
    command = command_of(sweep_in(tmp_path, "a"), point)
    assert command[1:4] == ["-m", "semcom.commands.sweep_child", str(tmp_path / ".shared")]
    assert command[4:] == ["--output-path", str(tmp_path / "a"), "--resume"]


def test_a_run_ends_when_its_parent_is_gone():
    watched = (
        "import time, threading\nfrom semcom.base import signals\nfrom semcom.commands import sweep_child\n"
        "with signals.raised():\n"
        "    threading.Thread(target=sweep_child._end_with_parent, daemon=True).start()\n"
        "    print('up', flush=True)\n"
        "    try: time.sleep(30)\n"
        "    except KeyboardInterrupt as end: print(signals.number_of(end))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", watched], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout.readline() == "up\n"
    time.sleep(0.1)
    assert child.poll() is None
    out, _ = child.communicate(timeout=10)  # closes its standard input
    assert out.strip() == str(signal.SIGTERM.value) and child.returncode == 0


def test_a_run_that_another_process_is_at_work_on_is_left_for_later(program, tmp_path):
    """As one that a killed sweep has left, while it saves its state."""
    program("pass")
    sweep, told = sweep_in(tmp_path, "a", "b"), []
    other = ExitStack()
    other.enter_context(locks.hold("--output-path", tmp_path / "a"))

    def finished(point):
        told.append(point.name)
        other.close()

    assert Runner(sweep, Share(1, 1), finished).run(sweep.points, 0, True) == {} and told == ["b", "a"]


def test_where_others_hold_all_that_is_left_one_line_says_so(program, tmp_path, monkeypatch):
    program("pass")
    sweep, other, looks = sweep_in(tmp_path, "a", "b"), ExitStack(), []
    for name in ("a", "b"):
        other.enter_context(locks.hold("--output-path", tmp_path / name))

    def look(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            other.close()

    monkeypatch.setattr(sweep_runner, "time", SimpleNamespace(sleep=look))
    with toy.spoken() as lines:
        Runner(sweep, Share(2, 1), lambda point: None).run(sweep.points, 0, True)
    assert [line for line in lines if "waiting" in line] == [
        "waiting for other processes, which are at work on a, b"
    ]


@pytest.mark.parametrize(
    ("variable", "flags", "jobs", "threads"),
    [
        (None, {}, 2, 4),
        (None, {"jobs": 1}, 1, 8),
        ("1", {"jobs": 1}, 1, 1),
        ("3,2", {"jobs": 1}, 1, 3),
        ("8", {}, 1, 8),
        ("2", {"threads": 5}, 1, 5),
        ("0", {"jobs": 1}, 1, 8),
        ("all", {"jobs": 1}, 1, 8),
        ("1", {"slurm": SlurmConfig(slurm=True)}, 2, 1),
    ],
)
def test_the_callers_threads_are_those_of_a_run(tmp_path, monkeypatch, variable, flags, jobs, threads):
    monkeypatch.setattr(sweep_command, "cores", lambda: 8)
    monkeypatch.setattr(sweep_command, "gpus_of", lambda devices: 0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    share = sweep_command.share_of(sweep_in(tmp_path, "a", "b"), SweepSettings(**flags))
    assert (share.jobs, share.threads) == (jobs, threads)
