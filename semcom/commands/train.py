"""The verb ``train``: a teacher, from nothing or on from a checkpoint."""

import logging
import time
from dataclasses import replace
from pathlib import Path

import torch

from semcom.base import distributed, output_files
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import as_record
from semcom.channel.channels import make_channel
from semcom.commands.inputs import (
    Data,
    check_begun,
    check_whole,
    encode_splits,
    imported,
    load_corpus,
    record_of,
    resolve_training,
    shipped,
)
from semcom.commands.settings import SIZES, TrainSettings
from semcom.data.settings import DEFAULT_VOCABULARY
from semcom.data.vocabulary import Vocabulary, read_vocabulary
from semcom.distillation import objectives, trainer
from semcom.distillation.training_loop import Epoch
from semcom.distillation.training_settings import TrainingConfig
from semcom.models import checkpoint, transceiver
from semcom.models.architecture import Architecture, sized
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import PARTS

log = logging.getLogger(__name__)


def train(settings: TrainSettings) -> Checkpoint:
    """Train a transceiver from nothing, or on from a checkpoint, and write the one of lowest validation
    cross-entropy."""
    started = time.monotonic()
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    together = distributed.join(device)
    training, vocabulary, data, model, topics = together.from_main(_prepare_teacher, settings, device)
    log.info(
        f"teacher: {model.parameter_count():,} parameters, {vocabulary}; {make_channel(settings.channel)}, "
        f"{settings.snr.snr_range[0]:g} to {settings.snr.snr_range[1]:g} dB, {device}, {training.precision}"
    )
    record = {
        **as_record(settings.corpus, settings.model, settings.channel, settings.snr, training, settings.run),
        **data.record,
        "topics_seen": topics,
        "start_from": settings.start_from,
        **environment(device),
    }
    if settings.start_from:
        # The flags of sizes were left out; what they would have meant is not what was trained.
        record |= {**dict.fromkeys(SIZES), "architecture": model.architecture.to_dict()}
    begun = f"{settings.start_from}, " if settings.start_from else ""
    origin = dict.fromkeys(PARTS, f"{begun}trained on {data.record['corpus_name']}, seed {settings.run.seed}")

    def on_epoch(epoch: Epoch, is_best: bool) -> None:
        if is_best:
            metrics = {
                "validation_cross_entropy": epoch.validation,
                "epoch": epoch.epoch,
                "steps": epoch.steps,
            }
            checkpoint.save(Checkpoint(model, vocabulary, origin, metrics, record), settings.output)

    result = trainer.fit(
        objectives.TransceiverObjective(
            model, make_channel(settings.channel), settings.snr.snr_range, compiled=training.compile
        ),
        data.train,
        data.validation,
        training,
        width=model.architecture.channel_dim,
        device=device,
        seed=settings.run.seed,
        quiet=settings.run.quiet,
        on_epoch=on_epoch,
        processes=together,
    )

    def finish() -> Checkpoint:
        check_begun(result, settings.output)
        output_files.write_json(
            _record_beside(settings.output),
            {**record, **record_of(result, started), "history": [e.row() for e in result.history]},
        )
        log.info(
            f"made {escape(settings.output)}: best validation cross-entropy {result.best_loss:.4f} nats a token in epoch "
            f"{result.best_epoch}, {result.steps:,} steps, padding {result.padding:.1%}, {time.monotonic() - started:,.0f} s\n"
            f"next: python -m semcom evaluate {escape(settings.output)}"
        )
        check_whole(result, f"{escape(settings.output)} is the best until then")
        return checkpoint.load(settings.output)

    return together.from_main(finish)


def _record_beside(output: str) -> Path:
    return output_files.companion("--output", output, ".json")


def _prepare_teacher(
    settings: TrainSettings, device: torch.device
) -> tuple[TrainingConfig, Vocabulary, Data, transceiver.Transceiver, list[str] | None]:
    """Outputs checked, inputs read, the transceiver before training, and the topics it will have seen."""
    inputs = [
        settings.start_from or shipped(settings.vocab or DEFAULT_VOCABULARY),
        *settings.corpus.corpus,
    ]
    outputs: dict[str, str | Path] = {
        "--output": settings.output,
        "--output (its record)": _record_beside(settings.output),
    }
    output_files.check_files(outputs, inputs, overwrite=settings.outputs.overwrite)
    before = checkpoint.load(settings.start_from, "--start-from") if settings.start_from else None
    vocabulary = before.vocabulary if before else _load_vocabulary(inputs[0])
    data = encode_splits(load_corpus(settings.corpus, vocabulary), vocabulary)
    m, topics = settings.model, data.topics_seen
    if before:
        data = replace(data, record=data.record | imported(before))
        model = transceiver.Transceiver(replace(before.model.architecture, dropout=m.dropout))
        model.load_state_dict(before.model.state_dict())
        earlier = before.seen_topics()
        topics = sorted({*topics, *earlier}) if topics and earlier else None
    else:
        wanted = {"layers": m.layers, "d_model": m.model_width, "num_heads": m.heads, "dff": m.feed_forward}
        sender = sized("transmitter", m.transmitter_type, wanted)
        listener = sized("receiver", m.receiver_type, wanted)
        architecture = Architecture(len(vocabulary), sender, listener, m.channel_dim, m.dropout)
        model = transceiver.build(architecture, settings.run.seed)
    training = resolve_training(settings.training, device, model.architecture.receiver.d_model)
    return training, vocabulary, data, model, topics


def _load_vocabulary(path: str) -> Vocabulary:
    try:
        return read_vocabulary(Path(path).read_bytes(), f"--vocab {path}")
    except OSError as error:
        raise SemcomError(
            f"--vocab {escape(path)}: cannot be read ({error.strerror}); "
            "make one with: python -m semcom vocab --size 4000 --output FILE"
        ) from None
