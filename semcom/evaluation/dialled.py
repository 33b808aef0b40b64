"""What a dialled hybrid says of itself: which divergence was asked for, and what was reached.

The record comes from a file, a stranger's until proved otherwise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

from semcom.evaluation.intervals import Interval
from semcom.evaluation.targets import BLEU_DROP
from semcom.evaluation.text_scoring import way_of

DIAL = "dial"
"""Name of the record in what a checkpoint was made with."""
TARGET, AXIS = "dial_target", "dial_axis"
"""Settings of a dialled run: the value asked for, and of what it is a value."""
FINGERPRINT = "teacher_fingerprint"
"""Of the reference, in a dial's record and in what a checkpoint was made with."""
LEARNING, KNOWLEDGE_PATH, BETWEEN = "learning", "knowledge", "between"
"""Kinds of paths: from the student's start to its best; from the teacher to what it became on other text;
between two checkpoints."""


@dataclass(frozen=True)
class Dial:
    """How a hybrid was dialled.

    path: the kind of path. place: on it, 0 to 1. target: the value asked for, of ``measure`` after prefixes
    of this kind, at ``snr`` in dB on ``channel``, of sentences of ``topics`` (None: of all). test: what the
    hybrid had on the dial's own test sentences, if it was recorded. run: the folder of what was dialled.
    teacher: fingerprint of the reference that the target is a distance from, empty where it is not known.
    teacher_file: where it was, empty where that is not recorded.
    way: by which texts were scored, of a drop in BLEU; empty of other measures and where it is not recorded.
    """

    path: str
    place: float
    measure: str
    prefix: str
    target: float
    snr: float
    channel: str
    topics: tuple[str, ...] | None = None
    test: Interval | None = None
    run: str = ""
    teacher: str = ""
    teacher_file: str = ""
    way: str = ""

    @property
    def axis(self) -> str:
        """What the target is a value of, and on which kind of path: targets of one axis are comparable."""
        text = f"{self.path} path, {self.measure} ({self.prefix}) at {self.snr:g} dB, {self.channel}"
        return text if self.topics is None else f"{text}, topics {' '.join(self.topics)}"

    @property
    def scale(self) -> tuple[object, ...]:
        """What the target is a value of, whatever the path."""
        return self.measure, self.prefix, self.snr, self.channel, self.topics, self.teacher, self.way

    def is_from(self, teacher: str) -> bool:
        """Whether the target may be a distance from the reference whose weights have this fingerprint."""
        return self.teacher in ("", teacher)


def dial_of(made: Mapping[str, object]) -> Dial | None:
    """What ``made``, the settings of a checkpoint, says of its dial; None where it says nothing, or nothing
    that is whole."""
    record = made.get(DIAL)
    if not isinstance(record, Mapping):
        return None
    texts = [record.get(name) for name in ("path", "measure", "prefix", "channel")]
    place, target, snr = (_number(record.get(name)) for name in ("place", "target", "snr"))
    topics = record.get("topics")
    if place is None or target is None or snr is None or not 0 <= place <= 1:
        return None
    if not all(isinstance(text, str) and text for text in texts) or not _are_topics(topics):
        return None
    path, measure, prefix, channel = map(str, texts)
    chosen = tuple(sorted(topics)) if isinstance(topics, (list, tuple)) else None
    return Dial(
        path,
        place,
        measure,
        prefix,
        target,
        snr,
        channel,
        chosen,
        _tested(record),
        run=_text(record.get("run")),
        # Older records do not say it: their reference is the teacher that the run was distilled from.
        teacher=_text(record.get(FINGERPRINT)) or _text(made.get(FINGERPRINT)),
        teacher_file=_text(record.get("teacher_checkpoint")),
        way=way_of(record) if measure == BLEU_DROP else "",
    )


def _tested(record: Mapping[str, object]) -> Interval | None:
    """Value and interval on the dial's test; without bounds where there are none."""
    value, low, high = (_number(record.get(name)) for name in ("test", "test_low", "test_high"))
    if value is None:
        return None
    return Interval(value, -math.inf if low is None else low, math.inf if high is None else high)


def _text(value: object) -> str:
    """Empty for what is no text."""
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A finite number; None for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _are_topics(topics: object) -> bool:
    if topics is None:
        return True
    return isinstance(topics, (list, tuple)) and all(isinstance(topic, str) for topic in topics)
