"""What the benchmarks share: the shape, the sentences, alternating timings, processes of their own for
memory, tables and records.

Every benchmark prints Markdown tables that name the command and the commit, and with ``--json FILE`` writes
records: measure, ratio, the two raw figures ``baseline`` and ``ours``, their unit, and what the baseline is.
``ratio`` says how many times as fast ours is; for ``peak_memory`` it is our share of the baseline's memory.
"""

import argparse
import json
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from benchmarks import textbook
from semcom.base import fastest
from semcom.channel.channels import AWGN
from semcom.channel.draws import Draw
from semcom.data.batching import Batch, Encoded, collate
from semcom.data.corpus import make_sentence
from semcom.data.vocabulary import BOS, EOS, PAD
from semcom.distillation import trainer
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_loop import Loop
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.models import decoding
from semcom.models.architecture import Architecture
from semcom.models.layers import seed_dropout
from semcom.models.link import heard_by
from semcom.models.transceiver import Transceiver, build
from semcom.models.transformer import TransformerSize

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
SNR_RANGE = (-6.0, 18.0)
TEMPERATURE, DISTILL_WEIGHT = 4.0, 0.7
STEPS, DECODING_SNR = 29, 12.0
TOLERANCE = 1e-4
TEACHER_IN_BF16 = "teacher bf16"
SPINNING = 0.25  # seconds after which threads that wait for work have gone to sleep


@dataclass(frozen=True)
class Shape:
    """What is measured. Sentences have ``shortest`` to ``longest`` source tokens and are padded to
    ``longest`` by the textbook."""

    vocab_size: int = 22_234
    teacher_layers: int = 4
    student_layers: int = 2
    d_model: int = 128
    heads: int = 8
    dff: int = 512
    channel_dim: int = 16
    batch_size: int = 128
    shortest: int = 7
    longest: int = 32

    def architecture(self, layers: int, dropout: float = 0.1) -> Architecture:
        end = TransformerSize(layers, self.d_model, self.heads, self.dff)
        return Architecture(self.vocab_size, end, end, self.channel_dim, dropout)

    def __str__(self) -> str:
        return (
            f"V={self.vocab_size:,}, layers: teacher {self.teacher_layers}+{self.teacher_layers}, student "
            f"{self.student_layers}+{self.student_layers}, D={self.d_model}, {self.heads} heads, "
            f"feed-forward {self.dff}, "
            f"C={self.channel_dim}, batch {self.batch_size}, {self.shortest}-{self.longest} source tokens"
        )


QUICK = Shape(300, 2, 1, 16, 2, 32, 8, 8, 4, 10)


def sentences(shape: Shape, number: int, seed: int = 0) -> list[Encoded]:
    """Sentences of a mean length of 0.56 of the way from the shortest to the longest (21 of 7 to 32), pieces
    by Zipf's law."""
    rng = random.Random(seed)
    pieces = range(4, shape.vocab_size)
    zipf = list(accumulate(1 / (rank + 2.7) for rank in range(len(pieces))))
    made = []
    for _ in range(number):
        length = shape.shortest + round((shape.longest - shape.shortest) * rng.betavariate(1.9, 1.5))
        ids = rng.choices(pieces, cum_weights=zipf, k=length - 2)
        made.append(Encoded(make_sentence(" ".join(map(str, ids))), [BOS, *ids, EOS]))
    return made


def batch_of(shape: Shape, seed: int = 0) -> Batch:
    """A batch, padded to its longest sentence."""
    return collate(sentences(shape, shape.batch_size, seed))


def padded_source(batch: Batch, length: int) -> Tensor:
    """[B, length] source ids, as the textbook takes them."""
    return torch.nn.functional.pad(batch.source, (0, length - batch.source.shape[1]))


def pair(shape: Shape, dropout: float = 0.1) -> tuple[Transceiver, Transceiver]:
    """A teacher and a student with fresh weights."""
    return build(shape.architecture(shape.teacher_layers, dropout), 0), build(
        shape.architecture(shape.student_layers, dropout), 1
    )


def objective_of(teacher: Transceiver, student: Transceiver, **choice) -> DistillationObjective:
    """A student of both ends. choice: ``compiled``, ``transfer``."""
    objective = DistillationObjective(
        [teacher],
        student,
        AWGN(),
        SNR_RANGE,
        DistillationConfig(temperature=TEMPERATURE, distill_weight=DISTILL_WEIGHT),
        **choice,
    )
    return objective.train()


def loss_of(objective: torch.nn.Module, batch: Batch, channel_dim: int) -> Tensor:
    """The loss that the training loop takes the gradient of."""
    terms = objective(batch, batch.draw(AWGN(), channel_dim, seed=0, number=1))
    return sum(weight * terms[name][0] / terms[name][1] for name, weight in objective.weights.items())


def check_loss(shape: Shape, batch: Batch, *, distil: bool = True, compiled: bool = False) -> None:
    """Stop unless the textbook's loss is ours, with the same weights, sentences and draw and without dropout;
    ``compiled``: ours compiled too."""
    teacher, student = pair(shape, dropout=0.0)
    plain = textbook.Distillation(
        textbook.like(student),
        textbook.like(teacher) if distil else None,
        temperature=TEMPERATURE,
        weight=DISTILL_WEIGHT,
    )
    theirs = textbook_loss(plain, shape, batch).item()
    for compile_it in (False, True)[: 1 + compiled]:
        objective = (
            objective_of(teacher, student, compiled=compile_it)
            if distil
            else TransceiverObjective(student, AWGN(), SNR_RANGE, compiled=compile_it)
        )
        ours = loss_of(objective, batch, shape.channel_dim).item()
        difference = abs(theirs - ours) / abs(theirs)
        print(
            f"same weights, sentences and noise, no dropout: textbook's loss {theirs:.6f}, "
            f"ours{', compiled' * compile_it} {ours:.6f}, "
            f"relative difference {difference:.1e}\n"
        )
        if not difference <= TOLERANCE:
            raise SystemExit(
                f"the two do not compute the same loss: relative difference {difference:.1e} is above "
                f"{TOLERANCE:.0e}"
            )


def textbook_loss(plain: textbook.Distillation, shape: Shape, batch: Batch) -> Tensor:
    """The textbook's loss under the draw of ``loss_of``."""
    draw = batch.draw(AWGN(), shape.channel_dim, seed=0, number=1)
    source = padded_source(batch, max(shape.longest, batch.source.shape[1]))
    noise = torch.nn.functional.pad(draw.noise, (0, 0, 0, source.shape[1] - draw.noise.shape[1]))
    return plain.loss(source, noise, draw.snr_between(*SNR_RANGE))


def loop_of(objective: torch.nn.Module, channel_dim: int, precision: str = "fp32") -> Loop:
    """Our training loop."""
    seed_dropout(objective, 0)
    config = TrainingConfig(precision=precision)
    return Loop(trainer.LinkTask(objective, (), config, width=channel_dim, device=CPU, seed=0), config)


def step_of(side: str, shape: Shape, batch: Batch) -> Callable[[], object]:
    """A distillation step from fresh weights. side: textbook, in float32, or as "textbook, bf16" with its
    forward pass under torch's autocast; or ours: fp32 or bf16, alone or followed by ", compiled", and by
    ", teacher bf16"."""
    teacher, student = pair(shape)
    if side.startswith("textbook"):
        plain = textbook.Distillation(
            textbook.like(student),
            textbook.like(teacher),
            temperature=TEMPERATURE,
            weight=DISTILL_WEIGHT,
            snr_range=SNR_RANGE,
        )
        source = padded_source(batch, shape.longest)
        plain.products = "bf16" if side.endswith("bf16") else "fp32"
        return lambda: plain.step(source, shape.channel_dim)
    precision, *choices = side.split(", ")
    transfer = TransferConfig(teacher_precision="bf16" if TEACHER_IN_BF16 in choices else "auto")
    objective = objective_of(teacher, student, compiled="compiled" in choices, transfer=transfer)
    loop = loop_of(objective, shape.channel_dim, precision)
    return lambda: loop.step(loop.task.step_of(batch, 1), 1, 1e-3, 1)


def received_of(model: torch.nn.Module, batch: Batch, together: int = 64) -> Tensor:
    """What a receiver hears of a batch at ``DECODING_SNR``: [B, S, C]; of one that is told the SNR,
    [B, S, C+1]. As in our evaluation, sentences of like length are sent together."""
    drawn = batch.draw(AWGN(), model.architecture.channel_dim, seed=0, number=0)
    received = torch.zeros_like(drawn.noise)
    with torch.inference_mode():
        for places in torch.tensor(batch.lengths).argsort().split(together):
            real = batch.source_mask[places]
            longest = int(real.sum(1).max())
            signal, _ = model.transmitter(batch.source[places, :longest], real[:, :longest])
            part = Draw(drawn.level[places], drawn.scatter[places], drawn.noise[places, :longest])
            received[places, :longest] = AWGN().apply(signal, part, DECODING_SNR)
    return heard_by(model.receiver, received, DECODING_SNR)


@contextmanager
def forced(steps: int) -> Iterator[None]:
    """Our decoder may decode this many tokens of every sentence, whatever its length."""
    kept = decoding.length_limit
    decoding.length_limit = lambda source_length: steps
    try:
        yield
    finally:
        decoding.length_limit = kept


def never_ending(model: Transceiver) -> Transceiver:
    """``model``, in eval mode, with biases under which neither eos nor padding is ever the most probable
    piece."""
    with torch.no_grad():
        model.receiver.decoder.projection.bias[[PAD, EOS]] = -1e9
    return model.eval()


def alternate(sides: dict[str, Callable[[], object]], rounds: int, warm: int = 1) -> dict[str, float]:
    """Median seconds of each side, all sides in turn ``rounds`` times, after ``warm`` rounds that do not
    count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(warm):
        for side in sides.values():
            side()
    with watching():
        for _ in range(rounds):
            for name, side in sides.items():
                time.sleep(SPINNING)
                started = time.perf_counter()
                side()
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


@contextmanager
def watching() -> Iterator[None]:
    """Say what share of the cores other processes took meanwhile, and the machine's host: over a few percent,
    time again."""

    def others() -> float:
        ticks = (
            Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
            if Path("/proc/stat").exists()
            else []
        )
        busy = sum(int(t) for place, t in enumerate(ticks) if place not in (3, 4)) / os.sysconf(
            "SC_CLK_TCK"
        )  # not idle, not waiting for a disk
        return busy - time.process_time()

    started, before = time.perf_counter(), others()
    yield
    share = (others() - before) / (time.perf_counter() - started) / (os.cpu_count() or 1)
    print(f"meanwhile others took {max(0.0, share):.0%} of the {os.cpu_count()} cores\n")


def status_bytes(field: str) -> int:
    """VmRSS or VmHWM (its peak) of this process, from /proc."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}: memory is measured on Linux only")


def apart(script: str, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> Any:
    """What a benchmark prints as JSON on its last line in a process of its own; with these variables in its
    environment."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    if done.returncode:
        raise SystemExit(f"{script} {shlex.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def trained_parser(doc: str | None, *, folder: str, steps: str) -> argparse.ArgumentParser:
    """Flags of the scripts that train students of a teacher on text of the user's own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--folder", default=folder)
    parser.add_argument("--steps", default=steps)
    parser.add_argument("--sentences", default="1000", help="test sentences of the measurement")
    return parser


def parser_of(script: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(
        prog=f"python benchmarks/{script}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", metavar="FILE", help="write the records there")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a toy shape, to see that the script runs; its figures mean nothing",
    )
    parser.add_argument("--threads", type=int, action=_Threads, help="threads (default: torch's)")
    return parser


class _Threads(argparse.Action):
    """Has torch use so many threads."""

    def __call__(self, parser, namespace, values, option_string=None):
        torch.set_num_threads(values)
        setattr(namespace, self.dest, values)


class Report:
    """Prints tables and collects records, all under one command and commit."""

    def __init__(self, script: str, argv: Sequence[str] | None):
        self.command = (
            f"python benchmarks/{script} {shlex.join(sys.argv[1:] if argv is None else argv)}".strip()
        )
        self.commit = commit()
        self.records: list[dict] = []
        print(
            f"`{self.command}` at {self.commit}, torch {torch.__version__}, {torch.get_num_threads()} "
            f"threads, {processor()}\n"
        )

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A Markdown table."""
        print(f"{title}\n\n| {' | '.join(head)} |\n{'| --- ' * len(head)}|")
        for row in rows:
            print("| " + " | ".join(map(str, row)) + " |")
        print(flush=True)

    def record(
        self, measure: str, baseline: float, ours: float, unit: str, against: str = "textbook"
    ) -> float:
        """Add a record; the ratio of speeds, or of bytes ours over the baseline's. Returns the ratio."""
        ratio = baseline / ours if unit == "s" else ours / baseline
        self.records.append(
            {
                "measure": measure,
                "ratio": ratio,
                "baseline": baseline,
                "ours": ours,
                "unit": unit,
                "against": against,
                "command": self.command,
                "commit": self.commit,
            }
        )
        return ratio

    def write(self, path: str | None) -> None:
        if path:
            Path(path).write_text(json.dumps(self.records, indent=1) + "\n")


def commit() -> str:
    """The commit this tree is at, and whether it differs."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "no commit") + (
        " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    )


def processor() -> str:
    """The processor's name, and the instructions by which it multiplies."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
    return f"{name} with {fastest.KINDS[fastest.kind_of(CPU)].title}"


def label(side: str) -> str:
    """How a table calls a side of ``step_of``."""
    return side if side.startswith("textbook") else f"ours, {side}"


def shape_json(shape: Shape) -> str:
    return json.dumps(asdict(shape))
