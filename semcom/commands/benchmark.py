"""The verb ``benchmark``: entries scored on a frozen task, and ``semcom.benchmark``, the same from Python."""

import logging
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from semcom.base import output_files, places, signals
from semcom.base.advice import meant
from semcom.base.device import keep_freed_memory, resolve_device
from semcom.base.errors import InterruptedRun, SemcomError, escape, shown
from semcom.base.flag_words import words_of
from semcom.base.progress import Progress
from semcom.base.settings import OutputConfig, RunConfig
from semcom.commands import benchmark_results
from semcom.commands.benchmark_results import Outcome
from semcom.commands.benchmark_settings import VERSION, BenchmarkSettings
from semcom.commands.inputs import load_teacher, read_corpus
from semcom.commands.measuring import RECEIVER_KNOWS, labels
from semcom.data.settings import CorpusConfig
from semcom.distillation.aligner_settings import GENIE, TUNED, WAYS
from semcom.evaluation import benchmark_scores
from semcom.evaluation.benchmark_entries import Entry, Fit, Join, Joiner, by_map, by_way, paired
from semcom.evaluation.benchmark_scores import Board, Hall, Scores, Sums
from semcom.evaluation.benchmark_task import CHANNEL, SCORING, TASKS, Stage, stage_of
from semcom.models import checkpoint
from semcom.models.architecture import ENDS
from semcom.models.checkpoint import Checkpoint, check_same_vocabulary, fingerprint_of
from semcom.models.protocols import Receiver
from semcom.models.transceiver import Transceiver
from semcom.report import plots

log = logging.getLogger(__name__)

TEACHER = "teacher"


# Many arguments: what enters, by name, and how it is run; callers name one or two.
def benchmark(
    aligner: str | Fit | Joiner | None = None,
    receiver: "str | Path | Transceiver | Receiver | None" = None,
    *,
    name: str | None = None,
    pilots: Sequence[int] = (),
    quick: bool = False,
    output: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    quiet: bool = False,
) -> Outcome:
    """``python -m semcom benchmark`` of one entry.

    aligner: a way by name, or any ``fit(pilots) -> map``: ``pilots.arrived`` [N, C_a] is what arrived of N
    tokens, ``pilots.wanted`` [N, C_b] what the receiver was trained to read, both float64; the map takes
    float32 [..., C_a] to [..., C_b]. One that learns more than a map is a ``benchmark_entries.Joiner``. None:
    the receiver as it is. receiver: a checkpoint's file, a ``Transceiver``, whose transmitter sends what is
    wanted, or a ``Receiver``, for which the shipped teacher's does; None: the shipped teacher's. Raises
    SemcomError with the line that the command would print.
    """
    settings = BenchmarkSettings(
        pilots=tuple(pilots),
        quick=quick,
        output=output,
        outputs=OutputConfig(overwrite=overwrite),
        run=RunConfig(device=device, quiet=quiet),
    )

    def entries(teacher: Checkpoint) -> list[Entry]:
        return [_entry(aligner, _listener(receiver, teacher), name)]

    asked = f"semcom.benchmark({_told(aligner)}, {_told(receiver)}, pilots={tuple(pilots)}, quick={quick})"
    return _scored(settings, entries, [str(receiver)] if isinstance(receiver, (str, Path)) else [], asked)


def run(settings: BenchmarkSettings) -> Outcome:
    """Score each checkpoint's receiver by each way."""
    paths = settings.checkpoints

    def entries(teacher: Checkpoint) -> list[Entry]:
        named = zip(paths, labels(paths)) if paths else [(None, TEACHER)]
        listeners = [_listener(path, teacher, label) for path, label in named]
        return [_entry(way, listener) for listener in listeners for way in settings.by]

    asked = shlex.join(["python", "-m", "semcom", "benchmark", *words_of(settings)])
    return _scored(settings, entries, paths, asked)


# --- what enters


@dataclass(frozen=True)
class Listener:
    """label: for people. told: of the record."""

    label: str
    model: Transceiver
    told: dict[str, object]


def _listener(given: object, teacher: Checkpoint, label: str = "") -> Listener:
    """Of a receiver as ``benchmark`` takes it. Raises SemcomError for one that cannot read the task's
    pieces."""
    if given is None:
        return _told_listener(TEACHER, teacher.model, teacher.path)
    if isinstance(given, (str, Path)):
        loaded = checkpoint.load(given)
        check_same_vocabulary(teacher, loaded)
        return _told_listener(label or labels([str(given)])[0], loaded.model, loaded.path)
    if isinstance(given, Receiver):
        model = paired(teacher.model, given)
    elif isinstance(given, Transceiver):
        model = given
    else:
        raise SemcomError(
            f"benchmark: receiver is {shown(type(given).__name__)}; give a checkpoint's file, a Transceiver "
            "or a Receiver (semcom.models.protocols)"
        )
    found, wanted = model.receiver.projection.out_features, len(teacher.vocabulary)
    if found != wanted:
        raise SemcomError(
            f"benchmark: the receiver tells {found} pieces apart, the task has {wanted}; give one of the "
            "shipped teacher's vocabulary"
        )
    return _told_listener(_told(given), model, "")


def _told_listener(label: str, model: Transceiver, path: str) -> Listener:
    fingerprints = {end: fingerprint_of(model.end(end)) for end in ENDS}
    told = {
        "receiver": path or label,
        "fingerprints": fingerprints,
        "parameters": _parameters(model.receiver),
    }
    return Listener(label, model, told)


def _parameters(module: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


def _entry(aligner: str | Fit | Joiner | None, listener: Listener, name: str | None = None) -> Entry:
    way = "none" if aligner is None else aligner
    if isinstance(way, str) and way not in WAYS:
        raise SemcomError(
            f"benchmark: aligner {shown(way)}: no such way{meant(way, WAYS)}; allowed are {', '.join(WAYS)}, "
            "or fit(pilots) -> map"
        )
    if not isinstance(way, (str, Joiner)) and not callable(way):
        raise SemcomError(
            f"benchmark: aligner is {shown(type(way).__name__)}; give a way by name or fit(pilots) -> map"
        )
    called = _told(way)
    name = name or (listener.label if way == "none" else f"{listener.label}, {called}")
    join = _join(way, called)
    told = {"aligner": called, **_source(way), "genie": way in GENIE}
    return Entry(name, listener.model, join, {**listener.told, **told})


def _join(way: str | Fit | Joiner, called: str) -> Join | None:
    if isinstance(way, str):
        return by_way(way)
    return way.join if isinstance(way, Joiner) else by_map(way, called)


def _told(given: object) -> str:
    """A word on an object of Python, or what a string says."""
    if given is None or isinstance(given, (str, Path)):
        return str(given)
    return str(getattr(given, "__qualname__", type(given).__name__))


def _source(way: str | Fit | Joiner) -> dict[str, object]:
    """Of an object of Python, where its code stands, for the record."""
    return {} if isinstance(way, str) else {"aligner_module": getattr(way, "__module__", None)}


# --- the work


def _scored(
    settings: BenchmarkSettings,
    entries: Callable[[Checkpoint], list[Entry]],
    inputs: Sequence[str],
    asked: str,
) -> Outcome:
    """asked: how it was asked for, for the record."""
    started = time.monotonic()
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    with ExitStack() as held:
        picture = _reserved(settings, inputs, held)
        teacher = load_teacher(None)
        entered = entries(teacher)
        _check(entered)
        stage = _stage(settings, teacher)
        _announce(stage, entered)
        try:
            scores = _measured(stage, entered, settings, device)
        except KeyboardInterrupt as interrupt:
            left = "interrupted; nothing of this benchmark is kept"
            raise InterruptedRun(left, signals.number_of(interrupt)) from None
        outcome = benchmark_results.outcome_of(scores, device, asked, started)
        benchmark_results.show(scores)
        if picture is not None:
            benchmark_results.write(str(settings.output), picture, outcome, scores)
    return outcome


def _reserved(settings: BenchmarkSettings, inputs: Sequence[str], held: ExitStack) -> Path | None:
    """The picture beside the output, where there is one; locks go to ``held``."""
    if settings.output is None:
        return None
    picture = output_files.companion("--output", settings.output, ".png")
    outputs = plots.outputs(settings.output, picture)
    places.reserve_files(outputs, inputs, overwrite=settings.outputs.overwrite, held=held)
    return picture


def _check(entered: Sequence[Entry]) -> None:
    names = [entry.name for entry in entered]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SemcomError(f"benchmark: two entries are called {shown(twice)}; give each checkpoint once")
    if any(entry.told["genie"] for entry in entered):
        log.warning("encoder: a genie, which tunes the transmitter by gradients fed back; no entry may do so")
    if any(entry.told["aligner"] in TUNED for entry in entered):
        log.warning(f"{', '.join(TUNED)}: a training for each rung, SNR, number and draw of pilots; hours")


def _stage(settings: BenchmarkSettings, teacher: Checkpoint) -> Stage:
    whole = read_corpus(CorpusConfig(corpus_size=None), teacher.vocabulary, quiet=settings.run.quiet)
    return stage_of(TASKS[VERSION], teacher, whole, pilots=settings.pilots, quick=settings.quick)


def _announce(stage: Stage, entered: Sequence[Entry]) -> None:
    task = stage.task
    names = ", ".join(escape(entry.name) for entry in entered)
    snrs, counts = (" ".join(f"{value:g}" for value in values) for values in (task.snrs, task.pilot_counts))
    drawn = f", drawn {len(task.pilot_draws)} times" if len(task.pilot_draws) > 1 else ""
    log.info(
        f"benchmark version {task.version}, digest {TASKS[task.version].digest}\n"
        f"{len(task.rungs)} rungs, {CHANNEL}, SNR {snrs} dB, {task.sentences} test sentences, "
        f"{counts} pilots{drawn}; {SCORING}; {RECEIVER_KNOWS}\n"
        f"entries: {names}"
    )


def _measured(
    stage: Stage, entered: Sequence[Entry], settings: BenchmarkSettings, device: torch.device
) -> list[Scores]:
    teacher = Entry(TEACHER, stage.teacher.model, None, {})
    total = benchmark_scores.decodings(stage, [teacher, *entered])
    with Progress(total, "benchmark", quiet=settings.run.quiet) as bar:
        hall = Hall(stage, device, settings.eval_batch_size, bar)
        board = Board(stage, benchmark_scores.measure(teacher, hall))
        return [board.of(entry, _sums(entry, board, hall)) for entry in entered]


def _sums(entry: Entry, board: Board, hall: Hall) -> Sums:
    """Of the teacher as it is there are those of the board."""
    is_reference = entry.join is None and entry.listener is hall.stage.teacher.model
    return board.references if is_reference else benchmark_scores.measure(entry, hall)
