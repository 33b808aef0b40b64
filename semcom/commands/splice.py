"""The verb ``splice``: parts of two checkpoints as a third."""

import logging
from contextlib import ExitStack
from pathlib import Path

from semcom.base import places
from semcom.base.advice import path_word
from semcom.base.errors import escape
from semcom.commands.inputs import LOSS_SETTINGS, imported
from semcom.commands.settings import SpliceSettings
from semcom.data.settings import OF_TEXT_FILES
from semcom.models import checkpoint, transceiver
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import RECEIVER_PARTS

log = logging.getLogger(__name__)


def write_splice(base: Checkpoint, other: Checkpoint, parts: tuple[str, ...], output: str | Path) -> Path:
    """``base`` with ``parts`` taken from ``other``, written as a checkpoint that says where each part came
    from."""
    checkpoint.check_same_vocabulary(base, other)
    model = transceiver.splice(base.model, other.model, parts)
    source = {p: other if transceiver.taken_with(p) in parts else base for p in model.parts()}
    origin = {p: f"{made.name}: {made.origin[p]}" for p, made in source.items()}
    checkpoint.save(Checkpoint(model, base.vocabulary, origin, {}, made_of(base, other, parts)), output)
    return Path(output)


def made_of(base: Checkpoint, other: Checkpoint, parts: tuple[str, ...]) -> dict[str, object]:
    """What a checkpoint says of the two that it was made of, ``base`` but for ``parts`` of ``other``."""
    taken = {
        "transmitter": other if "encoder" in parts else base,
        "receiver": other if "decoder" in parts else base,
    }
    topics = {end: source.topics_by_end()[end] for end, source in taken.items()}
    return {
        "base": base.path,
        "other": other.path,
        "parts_of_other": list(parts),
        "other_fingerprint": other.fingerprint,
        "topics_by_end": {end: sorted(seen) if seen else None for end, seen in topics.items()},
        **_lineage(base, other),
        **imported(other),
        **imported(base),
    }


def _lineage(base: Checkpoint, other: Checkpoint) -> dict[str, object]:
    """Settings of the distillations that the spliced ends come from; None where the two contradict each
    other."""
    lineage = {}
    for name in (
        "teacher_checkpoint",
        "teacher_fingerprint",
        "temperature",
        "distill_weight",
        "distill_part",
        "corpus",
        *OF_TEXT_FILES,
        *LOSS_SETTINGS,
    ):
        given = [c.config[name] for c in (base, other) if c.config.get(name) is not None]
        lineage[name] = given[0] if given and all(value == given[0] for value in given) else None
    return lineage


def splice(settings: SpliceSettings) -> Path:
    """The transmitter of one checkpoint and the receiver of another, as a third."""
    output = settings.output
    sender = checkpoint.load(settings.transmitter, "--transmitter")
    listener = checkpoint.load(settings.receiver, "--receiver")
    inputs = [settings.transmitter, settings.receiver]
    with ExitStack() as held:
        places.reserve_files({"--output": output}, inputs, overwrite=settings.outputs.overwrite, held=held)
        made = write_splice(sender, listener, RECEIVER_PARTS, output)
    log.info(
        f"made {escape(made)}: transmitter of {sender.name}, receiver of {listener.name}\n"
        f"next: python -m semcom evaluate {path_word(made)}"
    )
    return made
