"""What the verbs read and check before their work: teachers, corpora and their splits, channels, and what
they say of a run."""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from semcom.base.advice import meant
from semcom.base.errors import InterruptedRun, SemcomError, escape
from semcom.base.progress import Progress
from semcom.base.provenance import PROJECT
from semcom.channel.channels import Channel
from semcom.data import batching, corpus, fit, kept_corpora, vocabulary_files
from semcom.data.encoded_corpus import EncodedCorpus, encode_corpus
from semcom.data.languages import contradiction
from semcom.data.parliament import TOPICS
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import Vocabulary
from semcom.data.vocabulary_files import read_vocabulary
from semcom.distillation.history import Result
from semcom.evaluation.channel_use import channel_use
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import DEFAULT_TEACHER

log = logging.getLogger(__name__)

VALIDATION_SENTENCES, TEST_SENTENCES = 2000, 300
SECONDS_UNSHOWN = 1.0
LOSS_SETTINGS = ("kd_loss", "standardize_logits", "teacher_top_k", "scales", "cross_weight", "sequence_level")


def shipped(path: str) -> str:
    """A default input: in the working directory if it is there, else beside the program."""
    return path if Path(path).exists() or not (PROJECT / path).exists() else str(PROJECT / path)


def read_corpus(
    settings: CorpusConfig,
    vocabulary: Vocabulary | None = None,
    *,
    quiet: bool = True,
    shared: Path | None = None,
) -> corpus.Corpus:
    """The built-in corpus or files, as the vocabulary's models are given it. shared: where the runs of a
    sweep keep it for each other."""
    settings.check_without_files()

    def make() -> corpus.Corpus:
        if not settings.corpus:
            return corpus.built_in(settings.corpus_size, settings.topics, settings.exclude_topics, vocabulary)
        return corpus.read(settings, vocabulary, quiet=quiet)

    return kept_corpora.corpus_of(settings, vocabulary, make, shared)


def load_corpus(
    settings: CorpusConfig, vocabulary: Vocabulary | None = None, warning: str = "", *, quiet: bool = True
) -> corpus.Corpus:
    """``read_corpus``, with one line about what was read and what ``fit`` says of the vocabulary, or in place
    of its warning another."""
    read = read_corpus(settings, vocabulary, quiet=quiet)
    tell(lines_about(read, settings, vocabulary), warning)
    return read


def tell(lines: Iterable[str], warning: str) -> None:
    """Lines about a corpus; those that warn give way to a ``warning`` that says how it came about."""
    for line in lines:
        if not (warning and line.startswith("warning")):
            log.info(line)
    if warning:
        log.warning(warning)


def lines_about(read: corpus.Corpus, settings: CorpusConfig, vocabulary: Vocabulary | None) -> list[str]:
    texts = read.sentences.texts
    unknown = partial(kept_corpora.unknown_words, read)
    of_fit = fit.lines_about(vocabulary, texts, settings.corpus, unknown) if vocabulary else []
    given = settings.corpus and settings.language != "auto"
    contradicted = contradiction(settings.language, texts) if given else ""
    of_cache = read.keeping.line if read.keeping else ""
    return [read.describe(), *filter(None, [of_cache, contradicted]), *of_fit]


def check_topics(topics: Iterable[str]) -> None:
    """Raise SemcomError for a topic of ``--target-topics`` that the built-in corpus does not have."""
    for topic in topics:
        if topic not in TOPICS:
            raise SemcomError(
                f"--target-topics {escape(topic)}: no such topic; allowed are {' '.join(TOPICS)}"
                f"{meant(topic, TOPICS)}"
            )


def load_teacher(path: str | None, flag: str = "--teacher-checkpoint") -> Checkpoint:
    """flag: by which the verb takes one."""
    return checkpoint.load(shipped(path or DEFAULT_TEACHER), flag)


def load_vocabulary(path: str) -> Vocabulary:
    """That of ``--vocab``."""
    try:
        return read_vocabulary(vocabulary_files.bytes_of(path, "--vocab"), f"--vocab {path}")
    except OSError as error:
        raise SemcomError(
            f"--vocab {escape(path)}: cannot be read ({error.strerror}); "
            "make one with: python -m semcom vocab --size 4000 --output FILE"
        ) from None


def split_of(source: corpus.Corpus, name: str) -> corpus.Sentences:
    sentences = source.split(name)
    if not sentences:
        raise SemcomError(
            f"--corpus: {len(source)} sentences of {escape(source.name)} leave none for {name} "
            "(90/5/5 by hash); give some hundreds at least"
        )
    return sentences


@dataclass(frozen=True)
class Data:
    """Encoded training and validation sentences, and what the record of a run says of them. topics_seen: None
    where the corpus has no topics. test: those that the run is scored on in the end."""

    train: Sequence[batching.Encoded]
    validation: list[batching.Encoded]
    topics_seen: list[str] | None
    record: dict[str, object]
    test: list[corpus.Sentence]

    def record_at(self, channel_dim: int, channel: Channel) -> dict[str, object]:
        """With what the validation sentences take of a channel, at C dimensions a token, pilots and prefixes
        with them."""
        return {**self.record, **channel_use(self.validation, channel_dim, channel.uses).record()}


def encode_splits(source: corpus.Corpus, vocabulary: Vocabulary, *, quiet: bool = True) -> Data:
    topics = source.sentences.topics or None
    # What is needed at the end of a run is asked for at its start.
    test = list(split_of(source, "test").lowest(TEST_SENTENCES))
    validation = split_of(source, "validation").lowest(VALIDATION_SENTENCES)
    record: dict[str, object] = {
        "corpus_name": source.name,
        "corpus_fingerprint": source.fingerprint,
        "split_sizes": source.split_sizes(),
        "language": source.language,
        "topics_seen": topics,
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "vocab_size": len(vocabulary),
    }

    def encoded() -> EncodedCorpus:
        train = split_of(source, "train")
        with Progress(len(train), "encoding", quiet=quiet, delay=SECONDS_UNSHOWN) as bar:
            return encode_corpus(train, vocabulary, bar.advance)

    return Data(
        kept_corpora.encoding_of(source, vocabulary, encoded),
        batching.encode(validation, vocabulary, leave_out_long=True),
        topics,
        record,
        test,
    )


def record_of(result: Result, started: float) -> dict[str, object]:
    return {
        "best_loss": result.best_loss if result.history else None,
        "best_epoch": result.best_epoch,
        "steps_done": result.steps,
        "epochs_done": len(result.history),
        "target_tokens": sum(e.target_tokens for e in result.history),
        "padding": result.padding,
        "training_seconds": round(sum(e.seconds for e in result.history), 1),
        "wall_seconds": round(time.monotonic() - started, 1),
        "stopped": result.stopped or result.failed or None,
    }


def as_json(record: Mapping[str, object]) -> dict[str, object]:
    """The record as its JSON gives it back, but for the mark of completion, which is that file's alone. Which
    of equal strings are one object would otherwise tell a checkpoint of a run that goes on from one of a run
    that was never stopped."""
    again: dict[str, object] = json.loads(json.dumps(record))
    again.pop("finished", None)
    return again


def check_begun(result: Result, output: object, advice: str = "") -> None:
    """advice: what may be done with what is left."""
    if not result.history:
        check_whole(result, f"{escape(output)} was not written, it was before the first validation{advice}")


def check_whole(result: Result, what_is_left: str) -> None:
    """Raise for a run that ended early, once what it has is written."""
    if result.failed:
        raise SemcomError(f"{result.failed}; {what_is_left}; try a smaller --lr")
    if result.stopped:
        raise InterruptedRun(f"{result.stopped}; {what_is_left}", result.signal)


def imported(source: Checkpoint) -> dict[str, object]:
    """What a checkpoint, and all that is made from it, has to say of the public model it was imported
    from."""
    return {
        name: source.config[name] for name in ("imported_from", "imported_positions") if name in source.config
    }
