"""What a model card says of a checkpoint: what it is, where its weights come from, how it was made. Nothing
that is not in the checkpoint."""

import re
from typing import Any

from semcom.base.errors import shown
from semcom.commands.measuring import languages_of
from semcom.data.corpus import BUILT_IN, BUILT_IN_LANGUAGE
from semcom.data.languages import LANGUAGES, UNDETERMINED
from semcom.evaluation.origins import STUDENT
from semcom.models.architecture import ENDS, sizes_of
from semcom.models.checkpoint import Checkpoint
from semcom.report.model_card import Card, Measured

TAGS = ("semantic-communication", "joint-source-channel-coding")
DISTILLED = "knowledge-distillation"
MADE = {
    "command": "command",
    "imported_from": "imported from",
    "base": "base of the splice",
    "other": "spliced with",
    "parts_of_other": "parts of that",
    "corpus_name": "text",
    "corpus_fingerprint": "fingerprint of the text",
    "split_sizes": "sentences",
    "topics_seen": "topics",
    "channel": "channel",
    "snr_range": "SNR in training, dB",
    "steps": "steps",
    "batch_size": "batch",
    "lr": "learning rate",
    "seed": "seed",
    "precision": "precision of the training",
    "distill_part": "distilled",
    "teacher_checkpoint": "teacher",
    "teacher_fingerprint": "fingerprint of the teacher",
    "kd_loss": "loss",
    "temperature": "temperature",
    "distill_weight": "weight of the teacher's part",
    "semcom": "semcom",
    "commit": "commit",
    "torch": "torch",
    "cpu": "CPU",
    "gpu": "GPU",
}
"""Entries of a checkpoint's record -> their labels, in the order in which a card has them."""
REACHED = {
    "epoch": "best epoch",
    "validation_cross_entropy": "its validation cross-entropy, nats a token",
}
"""Of a checkpoint's metrics."""
LONGEST = 1_000
"""Characters of an entry on a card."""
NOT_RECORDED = {"record": "nothing is recorded"}
_FOLDERS = r"(?:~|[A-Za-z]:)?[/\\]"
_QUOTED = re.compile(rf"'{_FOLDERS}[^'\n]*[/\\]([^'/\\\n]*)'")
_PLAIN = re.compile(rf"(?<![\w.:/\\~-]){_FOLDERS}(?:[^\s/\\'\",;:]+[/\\])+")
_WHOLE = re.compile(rf"{_FOLDERS}[^\n]*[/\\]([^/\\\n]*)")


def card_of(source: Checkpoint, title: str, license: str | None, measured: Measured | None) -> Card:
    """title: of the card."""
    return Card(
        title=title,
        license=license,
        languages=_languages(source),
        tags=_tags(source),
        facts=_facts(source),
        parts={part: shown(origin) for part, origin in source.origin.items()},
        made=_made(source) or NOT_RECORDED,
        measured=measured,
    )


def without_folders(value: Any) -> Any:
    """A record in which absolute paths have lost their folders, which tell of a person's machine."""
    if isinstance(value, dict):
        return {name: without_folders(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(each) for each in value]
    if not isinstance(value, str):
        return value
    if whole := _WHOLE.fullmatch(value):
        return whole[1]
    return _PLAIN.sub("", _QUOTED.sub(r"'\1'", value))


def _languages(source: Checkpoint) -> list[str]:
    recorded = [BUILT_IN_LANGUAGE] if source.config.get("corpus_name") == BUILT_IN else []
    known = [*recorded, *languages_of([source])]
    return list(
        dict.fromkeys(c for c in known if isinstance(c, str) and c in LANGUAGES and c != UNDETERMINED)
    )


def _tags(source: Checkpoint) -> list[str]:
    is_distilled = any(STUDENT.search(origin) for origin in source.origin.values())
    return [*TAGS, *([DISTILLED] if is_distilled else [])]


def _facts(source: Checkpoint) -> dict[str, str]:
    architecture = source.model.architecture
    ends = {end: _size(architecture.size(end)) for end in ENDS}
    channel = f"C={architecture.channel_dim} real dimensions a token, {architecture.channel_dim // 2} symbols"
    fronts = {"before the receiver": str(architecture.aligner)} if architecture.aligner else {}
    fronts |= {"the receiver": "is told the SNR"} if architecture.snr_aware else {}
    return {
        **ends,
        "signal": channel,
        **fronts,
        "parameters": f"{source.model.parameter_count():,}, float32",
        "vocabulary": str(source.vocabulary),
        "fingerprint": source.fingerprint,
    }


def _size(size: Any) -> str:
    given = ", ".join(f"{name} {value}" for name, value in sizes_of(size).items() if value is not None)
    return f"{size.kind}: {given}"


def _made(source: Checkpoint) -> dict[str, str]:
    recorded = {label: source.config.get(name) for name, label in MADE.items()}
    recorded |= {label: source.metrics.get(name) for name, label in REACHED.items()}
    return {label: _words(value) for label, value in recorded.items() if value not in (None, "", [], {})}


def _words(value: object) -> str:
    if isinstance(value, dict):
        value = [f"{name} {each}" for name, each in value.items()]
    if isinstance(value, float):
        value = f"{value:.5g}"
    text = ", ".join(map(_words, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
