"""A second receiver where there is but one: the first with a layer less, as a student of it begins."""

from dataclasses import replace

from semcom.base.errors import SemcomError
from semcom.models import transceiver
from semcom.models.architecture import sized, sizes_of
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import RECEIVER_PARTS


def thinned(c: Checkpoint) -> Checkpoint | None:
    """The transceiver with one layer of its receiver left out; None where there is no layer to spare, or its
    kind cannot start from another's layers.

    It is the student of ``--student-init teacher`` before its first step: fluent, and often wrong.
    """
    theirs = c.model.architecture
    layers = sizes_of(theirs.receiver)["layers"]
    if layers is None or layers < 2:
        return None
    fewer = sized("receiver", theirs.receiver.kind, {"layers": layers - 1}, like=theirs.receiver)
    student = transceiver.build(replace(theirs, receiver=fewer), seed=0)
    try:
        transceiver.start_from_teacher(c.model, student, ["receiver"])
    except SemcomError:
        return None
    model = transceiver.splice(c.model, student, RECEIVER_PARTS).eval()
    origin = {**c.origin, **dict.fromkeys(RECEIVER_PARTS, f"{layers - 1} of {layers} layers, untrained")}
    return replace(c, model=model, origin=origin, metrics={}, path="")
