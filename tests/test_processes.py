"""Several processes give what one gives, write once and refuse once."""

import csv
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cli_support import ROOT, UNDRAWN, distil, package, train_tiny_teacher
from toy import CPU, C, Numbers, encoded, size, transceiver

from semcom.base import distributed
from semcom.base.distributed import Processes
from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN, Rayleigh
from semcom.commands.inputs import encode_splits, load_corpus
from semcom.data.batching import by_length, shuffled
from semcom.data.settings import CorpusConfig
from semcom.distillation.objectives import TransceiverObjective
from semcom.distillation.trainer import validate
from semcom.evaluation import calibration, pair_matrix
from semcom.evaluation.pairs import End, Pair
from semcom.evaluation.scores import Entrant, Meeting, score_all
from semcom.models import checkpoint

STEPS, TOKENS = 20, 64
DISTILLATION = [
    "--batch-tokens",
    TOKENS,
    "--steps",
    STEPS,
    "--precision",
    "fp32",
    "--corpus-size",
    400,
    "--device",
    "cpu",
    "--feature-weight",
    0.5,
    "--encoder-weight",
    0.5,
    "--cross-weight",
    0.25,
    "--scales",
    1,
    2,
    "--kd-loss",
    "skl",
    "--sequence-level",
    1,
    "--quiet",
    "--create-hybrid",
]


TRACKED = ["--track", "tensorboard"] if importlib.util.find_spec("tensorboard") else []


ENDINGS = {0: "", 2: "raise SemcomError('no')", 143: "raise InterruptedRun('stopped', 15)"}
"""Exit codes, and what a verb does that ends by them."""


ENVIRONMENT = {**os.environ, "PYTHONPATH": UNDRAWN, "CUDA_VISIBLE_DEVICES": ""}


def torchrun(*argv: object) -> subprocess.CompletedProcess:
    """Two processes, as a person starts them."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *map(str, argv),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)


def started_by_hand(*argv: object, folder: Path | None = None) -> list[subprocess.Popen]:
    """The same two without the launcher, which takes as long to start as they do."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *map(str, argv)]
    started = []
    for rank in ("0", "1"):
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        told |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=folder, env=ENVIRONMENT | told, **pipes))
    return started


def two_processes(*argv: object, folder: Path | None = None) -> list[subprocess.CompletedProcess]:
    """The same two when they have ended."""
    started = started_by_hand(*argv, folder=folder)
    said = [process.communicate(timeout=300) for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *streams)
        for process, streams in zip(started, said)
    ]


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(made_once):
    """A folder with a teacher without dropout, and the same distillation by one process and by two; with what
    the two said."""

    def make(folder):
        flags = ["--teacher-checkpoint", train_tiny_teacher(folder, "--dropout", 0), *DISTILLATION, *TRACKED]
        one = ["--output-path", folder / "one", "--hybrid-output", folder / "one.pt"]
        assert distil(*flags, *one) == 0
        two = ["--output-path", folder / "two", "--hybrid-output", folder / "two.pt"]
        done = torchrun(ROOT / "distillation.py", *flags, *two)
        assert done.returncode == 0, done.stderr
        said = {"stdout": done.stdout, "stderr": done.stderr}
        folder.with_suffix(".json").write_text(json.dumps(said))

    folder = made_once("processes", make)
    return folder, SimpleNamespace(**json.loads(folder.with_suffix(".json").read_text()))


@pytest.mark.processes
def test_a_process_of_the_distillation_had_no_sentence_now_and_then(made):
    """So that the tests below say something about that case too."""
    vocabulary = checkpoint.load(made[0] / "tiny_teacher.pt").vocabulary
    data = encode_splits(load_corpus(CorpusConfig(corpus_size=400), vocabulary), vocabulary)
    sizes = [len(batch) for batch in shuffled(data.train, 128, 42, 1, TOKENS)[:STEPS]]
    assert min(sizes) == 1 and max(sizes) > 2


@pytest.mark.processes
def test_losses_are_those_of_one_process(made):
    folder, _ = made
    one, two = rows(folder / "one/history.csv"), rows(folder / "two/history.csv")
    assert len(one) == len(two) and one[-1]["steps"] == two[-1]["steps"] == str(STEPS)
    for ours, theirs in zip(one, two):
        assert ours["target_tokens"] == theirs["target_tokens"]
        for column in (
            "loss",
            "train_ce",
            "train_kd",
            "train_encoder",
            "train_signal",
            "train_decoder",
            "train_scales",
            "train_cross_transmitter",
            "train_cross_receiver",
            "validation",
            "lr",
        ):
            assert float(theirs[column]) == pytest.approx(float(ours[column]), rel=1e-5), column


@pytest.mark.processes
@pytest.mark.parametrize("file", ["final_student_model.pt", "best_student_model.pt"])
def test_weights_are_those_of_one_process(made, file):
    folder, _ = made
    one, two = (checkpoint.load(folder / run / file).model.state_dict() for run in ("one", "two"))
    assert one.keys() == two.keys()
    everything = [torch.cat([w.flatten() for w in weights.values()]) for weights in (one, two)]
    assert (everything[1] - everything[0]).norm() <= 1e-5 * everything[0].norm()
    for name in one:
        # Softmax does not feel a bias of the keys: its gradient is rounding alone, which Adam blows up to
        # steps.
        if not name.endswith("key.bias"):
            assert (two[name] - one[name]).norm() <= 1e-5 * one[name].norm(), name


@pytest.mark.processes
def test_one_process_writes_and_speaks(made):
    folder, two = made
    assert sorted(p.name for p in (folder / "one").iterdir()) == sorted(
        p.name for p in (folder / "two").iterdir()
    )
    assert sorted(p.name for p in folder.glob("[!.]*")) == [
        "one",
        "one.pt",
        "tiny_teacher.json",
        "tiny_teacher.pt",
        "two",
        "two.pt",
    ]
    heads = ("model ", "----")  # a table for BLEU and one for chrF
    lines = [line for line in two.stdout.splitlines() if line and not line.startswith(heads)]
    assert len(set(lines)) == len(lines), "no line twice"
    assert (
        sum("made " in line for line in lines) == 2
        and "made " not in two.stderr
        and "warning" not in two.stderr.lower()
    )
    counts = [
        json.loads((folder / run / "distillation_config.json").read_text())["processes"]
        for run in ("one", "two")
    ]
    assert counts == [1, 2]


@pytest.mark.processes
@pytest.mark.skipif(not TRACKED, reason="needs tensorboard")
def test_one_process_logs(made):
    for run in ("one", "two"):
        files = list((made[0] / run / "tensorboard" / run).rglob("events.*"))
        assert len(files) == 2, "numbers, and settings apart"


@pytest.mark.processes
def test_evaluation_is_that_of_one_process(made, tmp_path):
    folder, _ = made
    flags = [
        "evaluate",
        folder / "tiny_teacher.pt",
        folder / "two.pt",
        "--corpus-size",
        800,
        "--snr",
        0,
        12,
        "--eval-batch-size",
        8,
        "--device",
        "cpu",
    ]
    assert package(*flags, "--quiet", "--output", tmp_path / "one.csv") == 0
    two, other = two_processes("-m", "semcom", *flags, "--output", tmp_path / "two.csv")
    assert two.returncode == other.returncode == 0, (two.stderr, other.stderr)
    assert not other.stdout + other.stderr, "the main one speaks alone"
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert two.stdout.count("made ") == 1 and sorted(p.name for p in tmp_path.glob("[!.]*")) == [
        f"{name}{ending}"
        for name in ("one", "two")
        for ending in ("-column.pdf", "-text.pdf", ".csv", ".png")
    ]


@pytest.mark.processes
def test_the_main_process_refuses_for_all_and_once(made):
    folder, _ = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = torchrun(
        ROOT / "distillation.py",
        "--teacher-checkpoint",
        folder / "tiny_teacher.pt",
        *DISTILLATION,
        "--output-path",
        folder / "one",
    )
    assert done.returncode != 0 and done.stdout.strip() == ""
    assert done.stderr.count("error: --output-path") == 1 and "exists already" in done.stderr
    assert done.stderr.count("exitcode  : 2 ") == 2, done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


class Thread(Processes):
    """Stands for a process: what it gathers goes through ``shared``."""

    def __init__(self, rank, shared, barrier):
        super().__init__(rank, len(shared))
        self.shared, self.barrier = shared, barrier

    def gather(self, value):
        self.shared[self.rank] = value
        self.barrier.wait(60)
        found = list(self.shared)
        self.barrier.wait(60)
        return found

    def sum(self, values):
        return [sum(column) for column in zip(*self.gather(values))]


def by_threads(count, act):
    """What ``act(processes)`` returns in each of ``count`` threads."""
    shared, barrier, results = [None] * count, threading.Barrier(count), [None] * count

    def work(rank):
        results[rank] = act(Thread(rank, shared, barrier))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("count", [2, 5])
def test_divergence_and_scores_are_those_of_one_process(count):
    """Of 5 processes, one has no batch."""
    sentences = encoded(28, 3, 9)
    teacher, student = transceiver(), transceiver(seed=1)
    ends = [
        End(name, module, name)
        for name, module in (("t", teacher.transmitter), ("r", teacher.receiver), ("s", student.receiver))
    ]
    pairs, other = [Pair(ends[0], ends[1]), Pair(ends[0], ends[2])], Entrant("other", student)

    def measure(together):
        meeting = Meeting(Rayleigh(), (0.0, 12.0), 3, CPU, 7, True, together)
        at = {"cka_snr": 12.0, "cache": None}
        at["temperatures"] = calibration.fit(pairs, pairs[0], encoded(9, 3, 9, seed=1), meeting, 12.0)
        measured = pair_matrix.measure(pairs, pairs[0], sentences, Numbers(), meeting, **at)
        return measured, score_all([other], sentences, Numbers(), meeting)[0]

    alone, scores = measure(distributed.ALONE)
    for measured, their_scores in by_threads(count, measure):
        assert their_scores.equals(scores)
        for pair in pairs:
            ours, theirs = alone.pairs[pair.key], measured.pairs[pair.key]
            assert theirs.temperature == ours.temperature > 0
            assert theirs.pieces == ours.pieces and theirs.cka == pytest.approx(ours.cka, rel=1e-6)
            np.testing.assert_allclose(theirs.sums, ours.sums, rtol=1e-6, atol=1e-9)


def test_validation_is_that_of_one_process():
    objective = TransceiverObjective(transceiver(size(1), size(1)), AWGN(), (-6.0, 18.0))
    batches = by_length(encoded(23, 3, 9), 6)
    alone = validate(objective, batches, C, CPU)
    assert by_threads(3, lambda together: validate(objective, batches, C, CPU, together)) == pytest.approx(
        [alone] * 3, rel=1e-12
    )


def test_a_process_started_by_hand_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (distributed.count(), distributed.rank(), distributed.local_rank(), distributed.local_count()) == (
        1,
        0,
        0,
        1,
    )
    monkeypatch.setenv("WORLD_SIZE", "4")  # as batch systems leave it behind, without a rank
    assert distributed.count() == 1 and distributed.join(CPU) is distributed.ALONE
    assert (
        distributed.ALONE.from_main(lambda x: x + 1, 2) == 3
        and distributed.ALONE.gather("a") == ["a"]
        and distributed.ALONE.share([1, 2]) == [1, 2]
    )


def test_without_accelerate_one_line_says_so(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(SemcomError, match="pip install accelerate"):
        distributed.join(CPU)


@pytest.mark.parametrize("code", [0, 2, 143])
def test_one_of_several_processes_ends_without_pythons_own_end(code):
    """Which waits for threads, and in which those of gloo abort."""
    program = f"""
import atexit, sys, threading, time
from semcom.base.failures import InterruptedRun, SemcomError
from semcom.commands import cli

def verb(argv):
    atexit.register(print, "tracked", end="")
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("said", end=" ")
    {ENDINGS[code]}

sys.exit(cli.run(verb, None))
"""
    several = {**os.environ, "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=several, cwd=ROOT)
    assert (done.returncode, done.stdout) == (code, "said tracked"), done.stderr


def test_only_the_main_process_prints(monkeypatch, capsys):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "let_another_tell", lambda code: None)
    assert package("evaluate", "nowhere.pt", "--sentences", 0) == 2
    assert package("splice", "--transmitter", "a", "--receiver", "b", "--output", "c") == 0, (
        "no work for several processes"
    )
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
