"""Teacher training on the same sentences: the textbook's step over random-order batches in float32, against
our trainer's batches in the precision that ``auto`` chooses, without and with --compile.

    python benchmarks/training_step.py --corpus captions.en --json training.json

Both sides pad a batch to its longest sentence; ours holds sentences of similar length together. Steps
alternate, times add up.
"""

import random
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from benchmarks import harness, textbook  # noqa: E402
from semcom.base import fastest
from semcom.base.device import keep_freed_memory
from semcom.base.fastest import Work
from semcom.channel.channels import AWGN  # noqa: E402
from semcom.commands import chosen_way
from semcom.commands.inputs import shipped
from semcom.data import batching, corpus
from semcom.data.piece_vocabulary import train_vocabulary  # noqa: E402
from semcom.data.settings import CorpusConfig  # noqa: E402
from semcom.data.vocabulary_files import read_vocabulary  # noqa: E402
from semcom.distillation.fused_linear_loss import cannot_compile  # noqa: E402
from semcom.distillation.objectives import TransceiverObjective  # noqa: E402
from semcom.models.transceiver import build  # noqa: E402

SCRIPT = "training_step.py"
WARM = 2
VOCABULARY_SENTENCES = 20_000


def main(argv: list[str] | None = None) -> None:
    parser = harness.parser_of(SCRIPT, __doc__)
    parser.add_argument(
        "--corpus",
        nargs="+",
        metavar="PATH",
        help="text files, one sentence a line (default: the built-in corpus)",
    )
    parser.add_argument(
        "--vocab",
        metavar="FILE",
        help="the vocabulary (default: one trained on --corpus; the shipped one for the built-in corpus)",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        default=4000,
        metavar="V",
        help="pieces of the vocabulary that is trained on --corpus",
    )
    parser.add_argument("--batches", type=int, default=100)
    given = parser.parse_args(argv)
    if given.quick:
        given.batches, given.vocab_size = min(given.batches, 3), min(given.vocab_size, 400)
    keep_freed_memory()
    torch.manual_seed(0)
    report = harness.Report(SCRIPT, argv)
    encoded, shape = read(given)
    machine = chosen_way.machine_of(harness.CPU)
    chosen = fastest.choose("auto", "auto", machine, Work(shape.d_model)).way.precision
    print(
        f"{len(encoded):,} sentences, V={shape.vocab_size:,}, {shape.teacher_layers}+{shape.teacher_layers} "
        "layers, "
        f"batches of {shape.batch_size}; auto chooses {chosen}\n"
    )

    if missing := cannot_compile(harness.CPU):
        print(f"no compiled step: {missing}\n")
    harness.check_loss(
        shape, batching.collate(encoded[: shape.batch_size]), distil=False, compiled=not missing
    )
    steps = sides(shape, chosen, compiled=not missing)
    batches = {
        name: (by_length if name.startswith("ours") else random_order)(encoded, shape.batch_size)
        for name in steps
    }
    seconds = race(steps, batches)
    rows = {name: figures(made, seconds[name]) for name, made in batches.items()}
    speeds = [tokens / seconds for tokens, _, seconds in rows.values()]
    report.table(
        "Teacher training",
        ("step", "batches", "padding", "seconds", "target tokens/s", "times as fast"),
        [
            (
                name,
                len(batches[name]),
                f"{padding:.1%}",
                f"{s:.2f}",
                f"{tokens / s:,.0f}",
                f"{tokens / s / speeds[0]:.2f}",
            )
            for name, (tokens, padding, s) in rows.items()
        ],
    )
    report.record("training_step", speeds[0], max(speeds[1:]), "target tokens/s")
    report.write(given.json)


def read(given) -> tuple[list[batching.Encoded], harness.Shape]:
    """As many sentences as fill the batches, and the shape with the vocabulary's size."""
    shape = harness.QUICK if given.quick else harness.Shape()
    wanted = given.batches * shape.batch_size
    if given.corpus:
        size = max(wanted, VOCABULARY_SENTENCES)
        chosen = corpus.read(CorpusConfig(corpus=tuple(given.corpus), corpus_size=size))
    else:
        chosen = corpus.built_in(max(wanted, 600))
    if given.corpus and not given.vocab:
        vocabulary = train_vocabulary((s.text for s in chosen.sentences), given.vocab_size)
    else:
        vocabulary = read_vocabulary(Path(given.vocab or shipped("vocab/parliament.model")).read_bytes())
    return batching.encode(chosen.sentences[:wanted], vocabulary, leave_out_long=True), replace(
        shape, vocab_size=len(vocabulary)
    )


def random_order(encoded: list[batching.Encoded], batch_size: int) -> list[batching.Batch]:
    order = random.Random(0).sample(encoded, len(encoded))
    return [batching.collate(order[start : start + batch_size]) for start in range(0, len(order), batch_size)]


def by_length(encoded: list[batching.Encoded], batch_size: int) -> list[batching.Batch]:
    return [batching.collate(chosen) for chosen in batching.shuffled(encoded, batch_size, 0, 1)]


def sides(shape: harness.Shape, kind: str, compiled: bool) -> dict[str, Callable[[batching.Batch], None]]:
    """The textbook's step and ours, from the same weights."""
    model = build(shape.architecture(shape.teacher_layers), 0)
    plain = textbook.Distillation(textbook.like(model), None)
    made = {"textbook, random order, fp32": lambda batch: plain.step(batch.source, shape.channel_dim)}
    for compile_it in (False, True)[: 1 + compiled]:
        objective = TransceiverObjective(
            deepcopy(model), AWGN(), harness.SNR_RANGE, compiled=compile_it
        ).train()
        loop = harness.loop_of(objective, shape.channel_dim, precision=kind)
        made[f"ours, by length, {kind}" + ", compiled" * compile_it] = lambda batch, loop=loop: loop.step(
            loop.task.step_of(batch, 1), 1, 1e-3, 1
        )
    return made


def race(
    steps: dict[str, Callable[[batching.Batch], None]], batches: dict[str, list[batching.Batch]]
) -> dict[str, float]:
    """Seconds of each side over all its batches, the sides in turn."""
    for name, step in steps.items():
        for batch in batches[name][:WARM]:
            step(batch)
    seconds = dict.fromkeys(steps, 0.0)
    with harness.watching():
        for round_of in zip(*batches.values()):
            for (name, step), batch in zip(steps.items(), round_of):
                started = time.perf_counter()
                step(batch)
                seconds[name] += time.perf_counter() - started
    return seconds


def figures(batches: list[batching.Batch], seconds: float) -> tuple[int, float, float]:
    """Real target tokens, share of padding, seconds."""
    tokens = sum(batch.target_tokens for batch in batches)
    return tokens, 1 - tokens / sum(batch.target_mask.numel() for batch in batches), seconds


if __name__ == "__main__":
    main()
