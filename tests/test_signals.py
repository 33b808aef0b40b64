"""Signals that ask for the end: what they raise, what notes them, which exit code they end in."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest
from cli_support import ROOT, TINY_TRAINING, wait_for

from semcom.base import signals
from semcom.base.errors import InterruptedRun
from semcom.commands import cli

OTHERS = [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]
EACH = pytest.mark.parametrize("number", [signal.SIGINT, *OTHERS], ids=lambda number: number.name)


@pytest.fixture
def two_signals(monkeypatch):
    """Time passes between the signals of a test."""
    monkeypatch.setattr(signals, "SAME_SECONDS", -1.0)


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, *OTHERS)]


@EACH
def test_a_signal_ends_any_verb_with_its_exit_code(number, capsys):
    before = handlers()
    assert cli.run(lambda argv: send(number), []) == 128 + number
    assert "interrupted" in capsys.readouterr().err
    assert handlers() == before


@EACH
def test_an_interrupted_run_says_by_which_signal(number, capsys):
    def verb(argv):
        with signals.noted() as asked:
            send(number)
            assert asked() == number
        raise InterruptedRun("half done", asked())

    assert cli.run(verb, []) == 128 + number
    assert capsys.readouterr().err == "half done\n"


def test_an_interrupted_run_is_the_same_in_another_process():
    sent = pickle.loads(pickle.dumps(InterruptedRun("half done", signal.SIGTERM)))
    assert str(sent) == "half done" and sent.signal == signal.SIGTERM
    assert InterruptedRun("by Ctrl-C").signal == signal.SIGINT


def test_what_was_ignored_from_the_start_stays_ignored():
    """nohup ignores SIGHUP; what a shell starts in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert cli.run(lambda argv: send(signal.SIGHUP), []) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_the_process_at_once(monkeypatch, two_signals):
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)

    def verb(argv):
        with signals.noted() as asked:
            send(signal.SIGTERM)
            send(signal.SIGUSR1)
            assert asked() == signal.SIGTERM

    assert cli.run(verb, []) == 0
    assert ends == [128 + signal.SIGUSR1]


def test_the_same_signal_from_two_senders_is_one(monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("ended"))

    def verb(argv):
        with signals.noted() as asked:
            send(signal.SIGTERM)
            send(signal.SIGTERM)
            assert asked() == signal.SIGTERM

    assert cli.run(verb, []) == 0


def test_in_a_program_of_others_their_own_handlers_stay():
    got = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    try:
        with signals.noted() as asked:
            send(signal.SIGUSR1)
            assert got == [signal.SIGUSR1] and not asked()
            send(signal.SIGTERM)
            assert asked() == signal.SIGTERM
        with signals.noted(signals.CTRL_C) as asked:
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            send(signal.SIGINT)
            assert asked() == signal.SIGINT
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_in_a_program_of_others_a_second_ctrl_c_is_raised(two_signals):
    with signals.noted() as asked:
        send(signal.SIGINT)
        assert asked() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_another_thread_asks_for_nothing():
    found = []

    def work():
        with signals.raised(), signals.noted() as asked:
            found.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [0]


def test_a_forked_child_is_asked_as_if_nobody_watched():
    with signals.raised():
        child = os.fork()
        if not child:
            time.sleep(10)
            os._exit(0)
        time.sleep(0.05)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM


# --- a run as a process


def distillation(teacher, folder, *flags, first=()):
    """A long distillation as a person starts it, but without kernels, which would be compiled for it."""
    words = ["--teacher-checkpoint", teacher, "--distill-part", "decoder", "--epochs", 500]
    words += ["--compile", "off"]
    words += [*TINY_TRAINING, "--output-path", folder, *flags]
    return subprocess.Popen(
        [*first, sys.executable, str(ROOT / "distillation.py"), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)],
    ids=lambda number: number.name,
)
def test_a_run_that_is_stopped_leaves_its_state_and_record(teacher, tmp_path, number):
    run = distillation(teacher, tmp_path / "run")
    wait_for(tmp_path / "run/resume.pt", run)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 128 + number, said
    assert "interrupted in epoch" in said and "--resume" in said and said.count("\n") == 1
    record = json.loads((tmp_path / "run/distillation_config.json").read_text())
    assert record["finished"] is False and "interrupted" in record["stopped"]
    assert (tmp_path / "run/resume.pt").is_file() and (tmp_path / "run/best_student_model.pt").is_file()


@pytest.mark.slow
def test_nohup_goes_on_when_the_terminal_closes(teacher, tmp_path):
    run = distillation(teacher, tmp_path / "run", first=["nohup"])
    wait_for(tmp_path / "run/resume.pt", run)
    run.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGTERM
