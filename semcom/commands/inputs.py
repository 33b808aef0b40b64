"""The verbs that make things: a vocabulary, a teacher, a splice; and what they share with distillation."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from semcom import config
from semcom.base import distributed, output_files, precision
from semcom.base.device import environment, resolve_device
from semcom.base.errors import InterruptedRun, SemcomError, escape
from semcom.base.flags import as_record, flag_of
from semcom.channel.channels import Channel
from semcom.data import batching, corpus
from semcom.data.vocabulary import UNKNOWN, Vocabulary, WordVocabulary, read_vocabulary, train_vocabulary
from semcom.distillation import fused_linear_loss, objectives, trainer
from semcom.models import checkpoint, transceiver
from semcom.models.checkpoint import Checkpoint
from semcom.models.transceiver import PARTS, RECEIVER_PARTS, Architecture, EndSize

PROJECT = Path(__file__).resolve().parents[2]
VALIDATION_SENTENCES = 2000
MUCH_UNKNOWN = 0.1
FREQUENT_SHOWN = 5
LOSS_SETTINGS = ("kd_loss", "standardize_logits", "scales", "cross_weight", "sequence_level")
SIZES = ("layers", "model_width", "heads", "feed_forward", "channel_dim")
Say = Callable[[str], None]


def shipped(path: str) -> str:
    """A default input: in the working directory if it is there, else beside the program."""
    return path if Path(path).exists() or not (PROJECT / path).exists() else str(PROJECT / path)


def load_corpus(settings: config.CorpusConfig, say: Say, vocabulary: Vocabulary | None = None) -> corpus.Corpus:
    """The built-in corpus or files, as the vocabulary's models are given it, with one line about what was read; of a word vocabulary
    another about the words it lacks."""
    if settings.corpus:
        read = corpus.read(settings.corpus, settings.corpus_size, min_length=settings.min_length, max_length=settings.max_length,
                           max_sentences=settings.max_sentences, vocabulary=vocabulary)
    else:
        read = corpus.built_in(settings.corpus_size, settings.topics, settings.exclude_topics, vocabulary)
    say(read.describe())
    if isinstance(vocabulary, WordVocabulary):
        say(_unknown_words(vocabulary, read))
    return read


def _unknown_words(vocabulary: WordVocabulary, read: corpus.Corpus) -> str:
    words, unknown = vocabulary.unknown(sentence.text for sentence in read.sentences)
    share = unknown.total() / max(1, words)
    if not share:
        return "the vocabulary knows every word"
    details = []
    if shown := unknown.pop(UNKNOWN, 0):
        details.append(f"{shown:,} are {UNKNOWN} already")
    if unknown:
        # Of words equally frequent the first by alphabet, not by file.
        most = sorted(unknown, key=lambda word: (-unknown[word], word))[:FREQUENT_SHOWN]
        details.append(f"{len(unknown):,} kinds; most often: {', '.join(escape(word[:40]) for word in most)}")
    line = (f"the vocabulary does not know {f'{100 * share:.1f}' if share >= 0.0005 else 'under 0.1'} % of the words ({'; '.join(details)})")
    return line if share <= MUCH_UNKNOWN else f"warning: {line}; is it the vocabulary of this text? No receiver can name what it lacks"


def load_teacher(path: str | None) -> Checkpoint:
    return checkpoint.load(shipped(path or config.DEFAULT_TEACHER), "--teacher-checkpoint")


def make_channel(settings: config.ChannelConfig) -> Channel:
    return Channel(settings.channel, settings.rician_k, settings.equalizer)


def resolve_training(settings: config.TrainingConfig, device: torch.device, width: int, say: Say) -> config.TrainingConfig:
    """What ``auto`` and ``--compile`` come to on this machine, for models of ``width`` D."""
    missing = fused_linear_loss.cannot_compile(device) if settings.compile else None
    if missing:
        say(f"warning: --compile: {missing}; going on without")
    return replace(settings, precision=precision.resolve(settings.precision, device, width), compile=settings.compile and not missing)


def make_vocabulary(settings: config.VocabularyConfig, corpus_settings: config.CorpusConfig, output: str, overwrite: bool,
                    say: Say) -> Vocabulary:
    """Train a sentencepiece model on the training split and write it."""
    output_files.check_outputs({"--output": output}, corpus_settings.corpus)
    output_files.check_room("--output", output, named=True, overwrite=overwrite, folder=False)
    source = load_corpus(corpus_settings, say)
    made = train_vocabulary((s.text for s in split_of(source, "train")), settings.size)
    output_files.write_atomically(output, made.serialized)
    say(f"made {escape(output)}: {made}\nnext: python -m semcom train --vocab {escape(output)} --output FILE, with the same --corpus")
    return made


def split_of(source: corpus.Corpus, name: str) -> list[corpus.Sentence]:
    sentences = source.split(name)
    if not sentences:
        raise SemcomError(f"--corpus: {len(source)} sentences of {escape(source.name)} leave none for {name} "
                          "(90/5/5 by hash); give some hundreds at least")
    return sentences


@dataclass(frozen=True)
class Data:
    """Encoded training and validation sentences, and what the record of a run says of them."""

    train: list[batching.Encoded]
    validation: list[batching.Encoded]
    record: dict[str, object]


def encode_splits(source: corpus.Corpus, vocabulary: Vocabulary) -> Data:
    topics = sorted({s.topic for s in source.sentences if s.topic})
    split_of(source, "test")  # what is needed at the end of a run is asked for at its start
    validation = sorted(split_of(source, "validation"), key=lambda s: s.id)[:VALIDATION_SENTENCES]
    record = {"corpus_name": source.name, "corpus_fingerprint": source.fingerprint, "split_sizes": source.split_sizes(),
              "topics_seen": topics or None, "vocabulary_fingerprint": vocabulary.fingerprint, "vocab_size": len(vocabulary)}
    return Data(batching.encode(split_of(source, "train"), vocabulary, leave_out_long=True),
                batching.encode(validation, vocabulary, leave_out_long=True), record)


def record_of(result: trainer.Result, started: float) -> dict[str, object]:
    return {"best_loss": result.best_loss, "best_epoch": result.best_epoch, "steps_done": result.steps,
            "epochs_done": len(result.history), "target_tokens": sum(e.target_tokens for e in result.history),
            "padding": result.padding,
            "training_seconds": round(sum(e.seconds for e in result.history), 1),
            "wall_seconds": round(time.monotonic() - started, 1), "stopped": result.stopped or result.failed or None}


@dataclass(frozen=True)
class TeacherSettings:
    corpus: config.CorpusConfig
    model: config.ModelConfig
    channel: config.ChannelConfig
    snr: config.TrainingSNRConfig
    training: config.TrainingConfig
    run: config.RunConfig
    vocabulary: str | None
    output: str
    overwrite: bool
    start_from: str | None = None

    def __post_init__(self) -> None:
        if not self.start_from:
            return
        unlike = [name for name in SIZES if getattr(self.model, name) != getattr(config.ModelConfig(), name)]
        for flag in [flag_of(name) for name in unlike] + ["--vocab"] * bool(self.vocabulary):
            raise SemcomError(f"{flag}: sizes and vocabulary are those of --start-from {escape(self.start_from)}; leave it out")


def train_teacher(settings: TeacherSettings, say: Say) -> Checkpoint:
    """Train a transceiver from nothing, or on from a checkpoint, and write the one of lowest validation cross-entropy."""
    started = time.monotonic()
    device = resolve_device(settings.run.device)
    together = distributed.join(device)
    training, vocabulary, data, model, topics = together.from_main(_prepare_teacher, settings, device, say)
    say(f"teacher: {model.parameter_count():,} parameters, {vocabulary}; {make_channel(settings.channel)}, "
        f"{settings.snr.snr_range[0]:g} to {settings.snr.snr_range[1]:g} dB, {device}, {training.precision}")
    record = {**as_record(settings.corpus, settings.model, settings.channel, settings.snr, training, settings.run),
              **data.record, "topics_seen": topics, "start_from": settings.start_from, **environment(device)}
    if settings.start_from:
        # The flags of sizes were left out; what they would have meant is not what was trained.
        record |= {**dict.fromkeys(SIZES), "architecture": model.architecture.to_dict()}
    begun = f"{settings.start_from}, " if settings.start_from else ""
    origin = dict.fromkeys(PARTS, f"{begun}trained on {data.record['corpus_name']}, seed {settings.run.seed}")

    def on_epoch(epoch: trainer.Epoch, is_best: bool) -> None:
        if is_best:
            metrics = {"validation_cross_entropy": epoch.validation, "epoch": epoch.epoch, "steps": epoch.steps}
            checkpoint.save(Checkpoint(model, vocabulary, origin, metrics, record), settings.output)

    result = trainer.fit(
        objectives.TransceiverObjective(model, make_channel(settings.channel), settings.snr.snr_range, compiled=training.compile),
        data.train, data.validation, training,
        width=model.architecture.channel_dim, device=device, seed=settings.run.seed, quiet=settings.run.quiet, on_epoch=on_epoch, processes=together)

    def finish() -> Checkpoint:
        check_begun(result, settings.output)
        output_files.write_json(_record_beside(settings.output),
                         {**record, **record_of(result, started), "history": [e.row() for e in result.history]})
        say(f"made {escape(settings.output)}: best validation cross-entropy {result.best_loss:.4f} nats a token in epoch "
            f"{result.best_epoch}, {result.steps:,} steps, padding {result.padding:.1%}, {time.monotonic() - started:,.0f} s\n"
            f"next: python -m semcom evaluate {escape(settings.output)}")
        check_whole(result, f"{escape(settings.output)} is the best until then")
        return checkpoint.load(settings.output)

    return together.from_main(finish)


def _record_beside(output: str) -> Path:
    return output_files.companion("--output", output, ".json")


def _prepare_teacher(settings: TeacherSettings, device: torch.device, say: Say) -> tuple[
        config.TrainingConfig, Vocabulary, Data, transceiver.Transceiver, list[str] | None]:
    """Outputs checked, inputs read, the transceiver before training, and the topics it will have seen."""
    inputs = [settings.start_from or shipped(settings.vocabulary or config.DEFAULT_VOCABULARY), *settings.corpus.corpus]
    outputs = {"--output": settings.output, "--output (its record)": _record_beside(settings.output)}
    output_files.check_outputs(outputs, inputs)
    for flag, path in outputs.items():
        output_files.check_room(flag, path, named=True, overwrite=settings.overwrite, folder=False)
    before = checkpoint.load(settings.start_from, "--start-from") if settings.start_from else None
    vocabulary = before.vocabulary if before else _load_vocabulary(inputs[0])
    data = encode_splits(load_corpus(settings.corpus, say, vocabulary), vocabulary)
    m, topics = settings.model, data.record["topics_seen"]
    if before:
        data = replace(data, record=data.record | imported(before))
        model = transceiver.Transceiver(replace(before.model.architecture, dropout=m.dropout))
        model.load_state_dict(before.model.state_dict())
        earlier = before.seen_topics()
        topics = sorted({*topics, *earlier}) if topics and earlier else None
    else:
        size = EndSize(m.layers, m.model_width, m.heads, m.feed_forward)
        model = transceiver.build(Architecture(len(vocabulary), size, size, m.channel_dim, m.dropout), settings.run.seed)
    training = resolve_training(settings.training, device, model.architecture.receiver.d_model, say)
    return training, vocabulary, data, model, topics


def _load_vocabulary(path: str) -> Vocabulary:
    try:
        return read_vocabulary(Path(path).read_bytes(), f"--vocab {path}")
    except OSError as error:
        raise SemcomError(f"--vocab {escape(path)}: cannot be read ({error.strerror}); "
                          "make one with: python -m semcom vocab --size 4000 --output FILE") from None


def check_begun(result: trainer.Result, output: object) -> None:
    if not result.history:
        check_whole(result, f"{escape(output)} was not written, it was before the first validation")


def check_whole(result: trainer.Result, what_is_left: str) -> None:
    """Raise for a run that ended early, once what it has is written."""
    if result.failed:
        raise SemcomError(f"{result.failed}; {what_is_left}; try a smaller --lr")
    if result.stopped:
        raise InterruptedRun(f"{result.stopped}; {what_is_left}")


def write_splice(base: Checkpoint, other: Checkpoint, parts: tuple[str, ...], output: str | Path) -> Path:
    """``base`` with ``parts`` taken from ``other``, written as a checkpoint that says where each part came from."""
    checkpoint.check_same_vocabulary(base, other)
    model = transceiver.splice(base.model, other.model, parts)
    origin = {p: f"{(other if p in parts else base).name}: {(other if p in parts else base).origin[p]}" for p in PARTS}
    taken = {"transmitter": other if "encoder" in parts else base, "receiver": other if "decoder" in parts else base}
    topics = {end: source.topics_by_end()[end] for end, source in taken.items()}
    made_of = {"base": base.path, "other": other.path, "parts_of_other": list(parts), "other_fingerprint": other.fingerprint,
               "topics_by_end": {end: sorted(seen) if seen else None for end, seen in topics.items()},
               **_lineage(base, other), **imported(other), **imported(base)}
    checkpoint.save(Checkpoint(model, base.vocabulary, origin, {}, made_of), output)
    return Path(output)


def imported(source: Checkpoint) -> dict[str, object]:
    """What a checkpoint, and all that is made from it, has to say of the public model it was imported from."""
    return {name: source.config[name] for name in ("imported_from", "imported_positions") if name in source.config}


def _lineage(base: Checkpoint, other: Checkpoint) -> dict[str, object]:
    """Settings of the distillations that the spliced ends come from; None where the two contradict each other."""
    lineage = {}
    for name in ("teacher_checkpoint", "teacher_fingerprint", "temperature", "distill_weight", "distill_part", *LOSS_SETTINGS):
        given = [c.config[name] for c in (base, other) if c.config.get(name) is not None]
        lineage[name] = given[0] if given and all(value == given[0] for value in given) else None
    return lineage


def splice(transmitter: str, receiver: str, output: str, overwrite: bool, say: Say) -> Path:
    """The transmitter of one checkpoint and the receiver of another, as a third."""
    sender, listener = checkpoint.load(transmitter, "--transmitter"), checkpoint.load(receiver, "--receiver")
    output_files.check_outputs({"--output": output}, [transmitter, receiver])
    output_files.check_room("--output", output, named=True, overwrite=overwrite, folder=False)
    made = write_splice(sender, listener, RECEIVER_PARTS, output)
    say(f"made {escape(made)}: transmitter of {sender.name}, receiver of {listener.name}\n"
        f"next: python -m semcom evaluate {escape(made)}")
    return made
