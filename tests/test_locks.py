"""Locks: one run to a place, whoever holds it and however it ends; a dead run's lock is nobody's."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semcom.base import locks
from semcom.base.errors import SemcomError
from semcom.base.locks import hold

ROOT = Path(__file__).resolve().parent.parent
HOLDER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from semcom.base.errors import SemcomError
from semcom.base.locks import hold
ready = sys.argv[3] if len(sys.argv) > 3 else None
while ready and not os.path.exists(ready):
    time.sleep(0.001)
try:
    with hold("--output-path", sys.argv[2]):
        if os.fork() == 0:
            time.sleep(1000)
        print("in", os.getpid(), flush=True)
        sys.stdin.read()
except SemcomError as error:
    print(error, flush=True)
"""


def holder(path, ready=None):
    """A process that holds the lock, and has a forked child that lives on."""
    words = [sys.executable, "-c", HOLDER, ROOT, path, *([ready] if ready else [])]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0)


@pytest.fixture
def started():
    processes = []
    yield processes
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def refused(path, flag="--output-path"):
    with pytest.raises(SemcomError) as error:
        with hold(flag, path):
            pass
    return str(error.value)


def test_a_second_run_is_kept_out_until_the_first_ends(tmp_path):
    folder = tmp_path / "runs" / "one"
    with hold("--output-path", folder):
        line = refused(folder)
        assert f"--output-path {folder}: another run (process {os.getpid()} on " in line
        assert "since 20" in line and line.endswith("wait for it, or name another path")
        with hold("--output-path", tmp_path / "runs" / "two"):
            pass
    with pytest.raises(RuntimeError), hold("--output-path", folder):
        raise RuntimeError
    with hold("--output-path", folder):
        pass


def test_two_names_of_one_place_are_one_place(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with hold("--output", tmp_path / "link"):
        assert "is writing there" in refused(tmp_path / "real")
        assert "is writing there" in refused(tmp_path / "x/../real")


def test_what_lies_in_a_folder_is_its_runs_too(tmp_path):
    inside = tmp_path / "run" / "deep" / "hybrid.pt"
    inside.parent.mkdir(parents=True)
    with hold("--output-path", tmp_path / "run"):
        assert "is writing there" in refused(inside, "--hybrid-output")
    with hold("--hybrid-output", inside):
        assert "is writing there" in refused(tmp_path / "run")
        with hold("--hybrid-output", inside.with_name("other.pt")):
            pass


def test_the_lock_of_a_killed_run_is_free_though_its_child_lives(tmp_path, started):
    process = holder(tmp_path / "run")
    started.append(process)
    assert process.stdout.readline().startswith("in ")
    assert f"process {process.pid} on" in refused(tmp_path / "run")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with hold("--output-path", tmp_path / "run"):
        assert json.loads((tmp_path / ".run.lock").read_text())["process"] == os.getpid()


@pytest.mark.parametrize(
    "text", ["1", json.dumps({"host": "here", "process": 1, "since": "ever"}), "", "{", "\x00", "[" * 10_000]
)
def test_what_a_dead_locks_file_says_blocks_nobody(tmp_path, text):
    (tmp_path / ".run.lock").write_text(text)
    with hold("--output-path", tmp_path / "run"):
        (tmp_path / ".run.lock").write_text(text)
        assert "another run" in refused(tmp_path / "run")
    with hold("--output-path", tmp_path / "run"):
        pass


def test_of_three_that_start_beside_a_dead_lock_one_gets_in(tmp_path, started):
    folder, rounds, processes = tmp_path / "run", 4, []
    for number in range(rounds):
        (tmp_path / ".run.lock").write_text(json.dumps({"host": "h", "process": 1, "since": "s"}))
        processes = [holder(folder, tmp_path / f"ready{number}") for _ in range(3)]
        started += processes
        (tmp_path / f"ready{number}").touch()
        said = [process.stdout.readline() for process in processes]
        assert sorted(line.startswith("in ") for line in said) == [False, False, True], said
        assert sum("is writing there" in line for line in said) == 2
        os.kill(int(next(line for line in said if line.startswith("in ")).split()[1]), signal.SIGKILL)


@pytest.mark.slow
def test_of_three_that_start_two_hundred_times_one_gets_in(tmp_path):
    for number in range(50):
        processes, folder = [], tmp_path / str(number)
        folder.mkdir()
        try:
            test_of_three_that_start_beside_a_dead_lock_one_gets_in(folder, processes)
        finally:
            for process in processes:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def test_a_filesystem_without_locks_is_told(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    line = refused(tmp_path / "run")
    assert "its filesystem has no locks" in line and line.endswith("name a path on another filesystem")


def test_a_place_that_cannot_be_locked_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    line = refused(tmp_path / "file" / "run")
    assert f"--output-path {tmp_path / 'file' / 'run'}: cannot be locked" in line and "name another" in line


@pytest.mark.parametrize("folder, file", [(0o777, 0o666), (0o775, 0o666), (0o755, 0o644)])
def test_who_may_write_in_a_folder_may_lock_there(tmp_path, folder, file):
    tmp_path.chmod(folder)
    (tmp_path / ".old.lock").touch(0o644)  # of a version that left it to the umask
    umask = os.umask(0o022)
    try:
        for name in ("new", "old"):
            with hold("--output-path", tmp_path / name):
                assert stat.S_IMODE((tmp_path / f".{name}.lock").stat().st_mode) == file
    finally:
        os.umask(umask)


def test_a_lock_that_may_not_be_asked_counts_as_held(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".within.lock").touch()
    real = os.open

    def of_another_user(path, *given, **more):
        if str(path).endswith(".within.lock"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, *given, **more)

    monkeypatch.setattr(os, "open", of_another_user)
    line = refused(tmp_path / "run")
    assert "cannot be told from" in line and ".within.lock (Permission denied)" in line


def test_the_second_who_wants_a_part_of_a_cache_waits(tmp_path):
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from semcom.base.locks import wait_for\n"
        "with wait_for(sys.argv[2]): print(1, flush=True); print(time.monotonic())"
    )
    words = [sys.executable, "-c", script, ROOT, tmp_path / "cache" / "part"]
    with locks.wait_for(tmp_path / "cache" / "part"):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        before = time.monotonic()
    output, _ = process.communicate()
    assert float(output.split()[1]) >= before


def test_a_cache_that_cannot_be_locked_is_no_reason_to_stop(tmp_path):
    (tmp_path / "file").write_text("")
    with locks.wait_for(tmp_path / "file" / "part"):
        pass


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a system without /proc")
def test_where_no_file_can_be_made_no_other_run_is_blamed():
    line = refused("/proc/run")
    assert line.startswith("--output-path /proc/run: cannot be ") and line.endswith("name another path")
    with locks.wait_for("/proc/part"):
        pass
