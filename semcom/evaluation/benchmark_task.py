"""The frozen task of the benchmark: which transmitters, sentences, draws, SNRs and pilots, and the checks
that they are those of the day on which it was frozen.

A version never changes. For another task, give ``TASKS`` a further one with a number of its own; its
fingerprints are what ``fingerprints_of`` says of it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np

from semcom.base.errors import SemcomError
from semcom.channel import draws
from semcom.channel.channels import AWGN, Channel
from semcom.data.batching import Encoded, encode
from semcom.data.corpus import Corpus
from semcom.data.sentences import Sentences
from semcom.evaluation import benchmark_ladder
from semcom.evaluation.benchmark_ladder import Rung
from semcom.evaluation.pilots import drawn_pilots
from semcom.evaluation.text_scoring import TextScoring
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.transceiver import Transceiver

CHANNEL: Channel = AWGN()
SEARCH, SCORING = Search(), TextScoring()
QUICK_SNRS, QUICK_SENTENCES = (6.0, 12.0), 40


# Many fields: all that a version freezes.
@dataclass(frozen=True)
class Task:
    """What is scored, and by what.

    teacher, vocabulary, corpus, test, pilots, draws: fingerprints, of the transceiver whose receiver hears
    the rungs, of its vocabulary, of the built-in corpus, of the test sentences, of the pilots of all draws,
    and of what the test sentences meet on their way. sentences: of the test split, those of the lowest ids.
    pilot_counts: how many pilots of the training split are sent, once at each SNR; pilot_draws: numbers of
    the draws of them. headline_pilots: how many the score stands for. seed: of the draws of the channel and
    of pilots. replicates: of the bootstrap over the test sentences.
    """

    version: int
    teacher: str
    vocabulary: str
    corpus: str
    test: str
    pilots: str
    draws: str
    rungs: tuple[Rung, ...]
    snrs: tuple[float, ...] = (0.0, 6.0, 12.0)
    sentences: int = 200
    pilot_counts: tuple[int, ...] = (10, 100, 1000)
    headline_pilots: int = 100
    pilot_draws: tuple[int, ...] = (1, 2, 3)
    seed: int = 2026
    replicates: int = 1000
    channel: str = str(CHANNEL)
    decoding: str = str(SEARCH)
    scoring: str = f"BLEU {SCORING.tokenizer}, {SCORING.normalization}"

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over all of it."""
        return _hash([json.dumps(asdict(self), sort_keys=True).encode()])

    @property
    def quick(self) -> "Task":
        """A part of it, to try an entry: its scores are no scores of the task."""
        return replace(
            self,
            snrs=QUICK_SNRS,
            sentences=QUICK_SENTENCES,
            pilot_counts=(self.headline_pilots,),
            pilot_draws=self.pilot_draws[:1],
        )


VERSION_1 = Task(
    version=1,
    teacher="b37c84a937503e65",
    vocabulary="d4e341e673f8744c",
    corpus="97cd1d41323bc09a",
    test="b98c1f1d836afa8b",
    pilots="ba33dfad3786c809",
    draws="45c762549e9c7d17",
    rungs=(
        Rung("rotation", 0.25, 0.78, 1, "b5b8a70140164a74"),
        Rung("rotation", 0.75, 1.06, 2, "94e6a4ecf16db82a"),
        Rung("channel encoder", 0.25, 0.602, 3, "dc1327b605b80576"),
        Rung("channel encoder", 0.75, 0.646, 4, "374d1702838f3be2"),
        Rung("encoder", 0.25, 0.557, 5, "47c00e2587a91983"),
        Rung("encoder", 0.75, 0.891, 6, "32a3e521305ed9b9"),
    ),
)
TASKS = {VERSION_1.version: VERSION_1}


@dataclass(frozen=True)
class Stage:
    """A task made ready. task: what of it is played; quick: whether only its quick part. teacher: the
    transceiver whose transmitter the rungs are made of. test: its sentences. pilots: of each draw, in their
    order. rungs: by rung, the teacher with its transmitter. train: the training split."""

    task: Task
    quick: bool
    teacher: Checkpoint
    test: list[Encoded]
    pilots: Mapping[int, list[Encoded]]
    rungs: Mapping[Rung, Transceiver]
    train: Sentences

    @cached_property
    def texts(self) -> list[Encoded]:
        """The training split."""
        return encode(self.train, self.teacher.vocabulary, leave_out_long=True)


def stage_of(
    task: Task, teacher: Checkpoint, corpus: Corpus, *, pilots: Sequence[int] = (), quick: bool = False
) -> Stage:
    """The task made ready, whole or its quick part. pilots: numbers of them, where not all of the task's.
    Raises SemcomError where teacher, corpus, draws or rungs are not those that were frozen."""
    test, drawn = test_of(task, teacher, corpus), pilots_of(task, teacher, corpus)
    rungs = {rung: benchmark_ladder.transceiver_of(teacher.model, rung) for rung in task.rungs}
    made = [benchmark_ladder.fingerprint(rung) for rung in rungs.values()]
    check(task, fingerprints_of(task, teacher, corpus), made)
    played = task.quick if quick else task
    played = replace(played, pilot_counts=tuple(sorted(pilots)) or played.pilot_counts)
    most = max(played.pilot_counts)
    shown = {number: drawn[number][:most] for number in played.pilot_draws}
    return Stage(played, quick, teacher, test[: played.sentences], shown, rungs, corpus.split("train"))


def test_of(task: Task, teacher: Checkpoint, corpus: Corpus) -> list[Encoded]:
    return encode(corpus.split("test").lowest(task.sentences), teacher.vocabulary)


def pilots_of(task: Task, teacher: Checkpoint, corpus: Corpus) -> dict[int, list[Encoded]]:
    """Of each draw as many as are ever sent, in their order."""
    train, most = corpus.split("train"), max(task.pilot_counts)
    return {
        number: drawn_pilots(train, teacher.vocabulary, most, seed=task.seed, number=number)
        for number in task.pilot_draws
    }


def fingerprints_of(task: Task, teacher: Checkpoint, corpus: Corpus) -> dict[str, str]:
    """What a task freezes of all but its rungs, by the names of its fields."""
    test, pilots = test_of(task, teacher, corpus), pilots_of(task, teacher, corpus)
    return {
        "teacher": teacher.fingerprint,
        "vocabulary": teacher.vocabulary.fingerprint,
        "corpus": corpus.fingerprint,
        "test": _hash(map(_told, test)),
        "pilots": _hash(_told(pilot) for of_draw in pilots.values() for pilot in of_draw),
        "draws": _draws_of(test, teacher.model.architecture.channel_dim, task.seed),
    }


def check(task: Task, found: Mapping[str, str], rungs: Sequence[str]) -> None:
    """Raise SemcomError unless these are the fingerprints that the task froze. rungs: in the task's order."""
    wanted = {name: getattr(task, name) for name in found} | {
        rung.name: rung.fingerprint for rung in task.rungs
    }
    there = {**found, **dict(zip((rung.name for rung in task.rungs), rungs))}
    for name, fingerprint in wanted.items():
        if there[name] != fingerprint:
            raise SemcomError(
                f"benchmark version {task.version}: {name} is {there[name]}, {fingerprint} was frozen; it is "
                "scored with the shipped teacher and an unchanged program alone: git checkout "
                "checkpoints/teacher.pt semcom"
            )


def _told(encoded: Encoded) -> bytes:
    return f"{encoded.sentence.id} {encoded.source}\n".encode()


def _draws_of(test: Sequence[Encoded], width: int, seed: int) -> str:
    """Of the levels of sentences and of the signs of their scatter and noise: what all machines agree on to
    the bit."""
    ids, lengths = [e.sentence.id for e in test], [len(e.source) for e in test]
    drawn = draws.sample(ids, lengths, width, seed=seed, number=0, channel=CHANNEL)
    signs = [np.packbits((values > 0).numpy()).tobytes() for values in (drawn.scatter, drawn.noise)]
    return _hash([drawn.level.numpy().tobytes(), *signs])


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
