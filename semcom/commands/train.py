"""The verb ``train``: a teacher, from nothing or on from a checkpoint."""

import glob
import logging
import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from semcom.base import distributed, json_files, output_files, places, replacing, signals
from semcom.base.advice import path_word
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.distributed import Processes
from semcom.base.errors import escape
from semcom.base.fastest import weights_multiplied
from semcom.base.flag_words import words_of
from semcom.base.flags import as_record
from semcom.base.places import Place
from semcom.base.tracking import Tracker, check_installed
from semcom.channel.channels import make_channel
from semcom.commands import chosen_way, completion, resuming
from semcom.commands.inputs import (
    Data,
    as_json,
    check_begun,
    check_whole,
    encode_splits,
    imported,
    load_corpus,
    load_vocabulary,
    record_of,
    shipped,
)
from semcom.commands.recorded_corpus import learned_elsewhere
from semcom.commands.recorded_flags import differences, recorded
from semcom.commands.resuming import as_begun, resolved
from semcom.commands.settings import SIZES, TrainSettings
from semcom.commands.vocabulary import tell_fit, vocabulary_of
from semcom.data.corpus import Corpus
from semcom.data.settings import DEFAULT_VOCABULARY
from semcom.data.vocabulary import Vocabulary
from semcom.distillation import objectives, run_state, trainer
from semcom.distillation.history import Epoch, Result
from semcom.distillation.run_state import Keeper
from semcom.distillation.training_settings import TrainingConfig
from semcom.models import checkpoint, transceiver
from semcom.models.architecture import Architecture, sized
from semcom.models.checkpoint import Checkpoint
from semcom.models.transceiver import Transceiver

log = logging.getLogger(__name__)

RECORD = "--output (its record)"
MADE = "checkpoint"
"""What the digests of the record call it."""


@dataclass(frozen=True)
class _Prepared:
    """training: with the precision and the compiling that the machine has, and ``way``, the line about them.
    model: before training. topics: that it will have seen; None where they are not known. keeper: of the
    training's state, which it has found where it goes on. places: of the checkpoint and of its record."""

    training: TrainingConfig
    way: str
    vocabulary: Vocabulary
    data: Data
    model: Transceiver
    topics: list[str] | None
    keeper: Keeper
    places: list[Place]


def train(settings: TrainSettings) -> Checkpoint:
    """Train a transceiver from nothing, or on from a checkpoint, and write the one of lowest validation
    cross-entropy."""
    with ExitStack() as held:
        return _train(settings, held)


def _train(settings: TrainSettings, held: ExitStack) -> Checkpoint:
    started = time.monotonic()
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    check_installed(settings.tracking)
    together = distributed.join(device)
    prepared = together.from_main(_prepare, settings, device, held)
    _announce(settings, prepared, device)
    keeper, record = prepared.keeper, _record(settings, prepared, device)
    for line in differences(settings.request, record):
        log.warning(line)
    if keeper.found:
        own = keeper.found["own"]
        record, started = own["record"], started - own["wall_seconds"]
    tracker = _tracker(settings, prepared)
    keeper.own = lambda: {
        "record": record,
        "trackers": tracker.ids,
        "resolved": resolved(prepared.training),
        "wall_seconds": time.monotonic() - started,
    }
    together.from_main(output_files.write_json, prepared.places[1].working, record)
    with tracker:
        result = _fit(settings, prepared, record, together, tracker)
    if not result.stopped and not result.failed:
        # Until now, the flags as given, with which a training that was stopped goes on.
        record["settings"] = recorded(replace(settings, training=prepared.training), result.total)
    with signals.noted():
        together.from_main(_finish, prepared, record, result, started)
    return checkpoint.load(settings.output)


def _tracker(settings: TrainSettings, prepared: _Prepared) -> Tracker:
    """Begun, or gone on with where the training goes on."""
    output = Path(settings.output)
    done, ids = prepared.keeper.tracked()
    tracker = Tracker(settings.tracking, output.stem, output.with_suffix(".tensorboard"), done=done, ids=ids)
    tracker.begin(recorded(replace(settings, training=prepared.training)))
    return tracker


def _announce(settings: TrainSettings, prepared: _Prepared, device: torch.device) -> None:
    low, high = settings.snr.snr_range
    log.info(
        f"teacher: {prepared.model.parameter_count():,} parameters, {prepared.vocabulary}; "
        f"{make_channel(settings.channel)}, {low:g} to {high:g} dB, {device}\n{prepared.way}"
    )


def _record(settings: TrainSettings, prepared: _Prepared, device: torch.device) -> dict[str, object]:
    s = settings
    record = {
        "command": as_begun(
            s.request.command or shlex.join(["python", "-m", "semcom", "train", *words_of(s)])
        ),
        "settings": recorded(s),
        **as_record(s.corpus, s.model, s.channel, s.snr, prepared.training, s.run),
        chosen_way.RECORDED: prepared.way,
        **prepared.data.record_at(prepared.model.architecture.channel_dim, make_channel(s.channel)),
        "topics_seen": prepared.topics,
        "start_from": s.start_from,
        "start_fingerprint": checkpoint.fingerprint_of(prepared.model),
        **environment(device),
        **completion.UNFINISHED,
    }
    if s.start_from:
        # The flags of sizes were left out; what they would have meant is not what was trained.
        record |= {**dict.fromkeys(SIZES), "architecture": prepared.model.architecture.to_dict()}
    return record


def _fit(
    settings: TrainSettings,
    prepared: _Prepared,
    record: dict[str, object],
    together: Processes,
    tracker: Tracker,
) -> Result:
    """Train; the best model stands at the output after each epoch."""
    model, data = prepared.model, prepared.data
    begun = f"{settings.start_from}, " if settings.start_from else ""
    made = f"{begun}trained on {data.record['corpus_name']}, seed {settings.run.seed}"
    origin = dict.fromkeys(model.parts(), made)

    def on_epoch(epoch: Epoch, is_best: bool) -> None:
        tracker.log("epoch", epoch.row(), epoch.steps)
        if is_best:
            metrics = {
                "validation_cross_entropy": epoch.validation,
                "epoch": epoch.epoch,
                "steps": epoch.steps,
            }
            best = Checkpoint(model, prepared.vocabulary, origin, metrics, as_json(record))
            checkpoint.save(best, prepared.places[0].working)

    channel, compiled = make_channel(settings.channel), prepared.training.compile == "on"
    return trainer.fit(
        objectives.TransceiverObjective(model, channel, settings.snr.snr_range, compiled=compiled),
        data.train,
        data.validation,
        prepared.training,
        width=model.architecture.channel_dim,
        device=resolve_device(settings.run.device),
        seed=settings.run.seed,
        quiet=settings.run.quiet,
        on_epoch=on_epoch,
        processes=together,
        keeper=prepared.keeper,
        tracker=tracker,
    )


def _finish(prepared: _Prepared, record: dict[str, object], result: Result, started: float) -> None:
    """Record, mark of completion, and what replaces earlier files moved in."""
    keeper, (made, beside) = prepared.keeper, (place.working for place in prepared.places)
    whole = {**record, **record_of(result, started), "history": [epoch.row() for epoch in result.history]}
    output_files.write_json(beside, whole)
    check_begun(result, made, keeper.advice())
    check_whole(result, f"{escape(made)} is the best until then{keeper.advice()}")
    marked = {**completion.completion({MADE: made}), "state_saves": keeper.cost}
    output_files.write_json(beside, whole | marked)
    places.publish(prepared.places)
    output = prepared.places[0].path
    for state in (keeper.path, *_states(Path(output))):
        state.unlink(missing_ok=True)
    log.info(
        f"made {escape(output)}: best validation cross-entropy {result.best_loss:.4f} nats a token in epoch "
        f"{result.best_epoch}, {result.steps:,} steps, padding {result.padding:.1%}, "
        f"{time.monotonic() - started:,.0f} s{keeper.summary()}\n"
        f"next: python -m semcom evaluate {path_word(output)}"
    )


def _record_beside(output: str) -> Path:
    return output_files.companion("--output", output, ".json")


def _state_beside(output: str | Path) -> Path:
    return output_files.companion("--output", output, f".{run_state.FILE}")


def _states(output: Path) -> list[Path]:
    """Where a training keeps its state, that of one which replaces an earlier output too."""
    return [_state_beside(path) for path in (output, replacing.new_of(output))]


def _prepare(settings: TrainSettings, device: torch.device, held: ExitStack) -> _Prepared:
    """Outputs reserved, inputs read; locks go to ``held``."""
    vocabulary_file = None if settings.vocab_size else shipped(settings.vocab or DEFAULT_VOCABULARY)
    inputs = [path for path in (settings.start_from or vocabulary_file, *settings.corpus.corpus) if path]
    before = checkpoint.load(settings.start_from, "--start-from") if settings.start_from else None
    known = before.vocabulary if before else None
    if vocabulary_file and not before:
        known = load_vocabulary(vocabulary_file)
    elsewhere = learned_elsewhere("--start-from", before.config, settings.corpus) if before else ""
    quiet = settings.run.quiet
    corpus = load_corpus(settings.corpus, known, elsewhere, quiet=quiet)
    reserved = _reserve(settings, inputs, held)
    vocabulary = known or _new_vocabulary(corpus, settings)
    data = encode_splits(corpus, vocabulary, quiet=quiet)
    topics = data.topics_seen
    if before:
        data = replace(data, record=data.record | imported(before))
        earlier = before.seen_topics()
        topics = sorted({*topics, *earlier}) if topics and earlier else None
    model = _model_of(before, settings) if before else _new_model(settings, vocabulary)
    keeper = _keeper(settings, reserved[0].working, device, data, model)
    width, weights = model.architecture.receiver.d_model, weights_multiplied(model)
    work = chosen_way.work_of_training(settings.training, data.train, width, trained=weights)
    training, told = chosen_way.of_training(settings.training, work, device, keeper)
    places.make_room(reserved)
    return _Prepared(training, told, vocabulary, data, model, topics, keeper, reserved)


def _reserve(settings: TrainSettings, inputs: Sequence[str], held: ExitStack) -> list[Place]:
    """The checkpoint's place and its record's."""
    output, record = Path(settings.output), _record_beside(settings.output)
    output_files.check_outputs({"--output": output, RECORD: record}, inputs)
    begun = bool(_values(record)) or replacing.is_noted(output)
    resume = settings.resuming.resume and begun
    if resume and _is_finished(output, record) and not replacing.is_noted(output):
        resuming.check_replaced(output, _states(output), settings, _values(record))
    overwrite = settings.outputs.overwrite
    states = tuple(glob.escape(state.name) for state in _states(output))
    wanted = [
        Place("--output", output, True, overwrite, folder=False, resume=resume, own=states),
        Place(RECORD, record, True, overwrite, folder=False, resume=resume),
    ]
    try:
        reserved = places.reserve(wanted, held)
    except places.Taken:
        if _values(record).get("finished") is False:
            raise resuming.unfinished("--output", output) from None
        raise
    if resume and _is_finished(*(place.working for place in reserved)):
        # It may have died between its mark and its coming to its place.
        places.publish(reserved)
        resuming.check_replaced(output, _states(output), settings, _values(record))
        return places.replacing_finished(wanted)
    return reserved


def _is_finished(output: Path, record: Path) -> bool:
    values = _values(record)
    return bool(values) and not completion.why_unfinished(values, MADE, output, output)


def _values(record: Path) -> dict[str, Any]:
    """Empty where it is none of a training."""
    try:
        values = json_files.read(record)
    except (OSError, json_files.NotJSON):
        return {}
    is_one = isinstance(values, dict) and not values.keys().isdisjoint(("finished", "history"))
    return values if is_one else {}


def _keeper(
    settings: TrainSettings, output: Path, device: torch.device, data: Data, model: Transceiver
) -> Keeper:
    """Of the training's state; with ``--resume``, it has found the one to go on from."""
    inputs = {
        "the model before training:": checkpoint.fingerprint_of(model),
        "the corpus:": data.record["corpus_fingerprint"],
        "the vocabulary:": data.record["vocabulary_fingerprint"],
    }
    run = resuming.identity(settings, device, inputs)
    defaults = resuming.defaults_of(settings)
    kept = resuming.keeper(_state_beside(output), output, settings.resuming, run, defaults)
    if not kept.found:
        kept.remove()  # of a run that is begun anew
    return kept


def _model_of(before: Checkpoint, settings: TrainSettings) -> Transceiver:
    model = Transceiver(replace(before.model.architecture, dropout=settings.model.dropout))
    model.load_state_dict(before.model.state_dict())
    return model


def _new_model(settings: TrainSettings, vocabulary: Vocabulary) -> Transceiver:
    m = settings.model
    sizes = {"layers": m.layers, "d_model": m.model_width, "num_heads": m.heads, "dff": m.feed_forward}
    transmitter = sized("transmitter", m.transmitter_type, sizes)
    receiver = sized("receiver", m.receiver_type, sizes)
    kinds = len(vocabulary), transmitter, receiver
    architecture = Architecture(*kinds, m.channel_dim, m.dropout, snr_aware=m.snr_aware)
    return transceiver.build(architecture, settings.run.seed)


def _new_vocabulary(corpus: Corpus, settings: TrainSettings) -> Vocabulary:
    assert settings.vocab_size
    made = vocabulary_of(corpus, settings.vocab_size, flag="--vocab-size")
    tell_fit(made, corpus)
    return made
