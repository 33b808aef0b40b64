"""Paths through the space of weights: a polyline whose corners are snapshots of one architecture.

Between a start and what training makes of it the loss often changes steadily along the straight line
(Goodfellow et al. 2014, arXiv 1412.6544) and not always (Lucas et al. 2021, arXiv 2104.11044): a path only
says which weights stand at a place of it.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from semcom.base.errors import SemcomError, escape
from semcom.models.architecture import ENDS
from semcom.models.protocols import MoreThanWeights
from semcom.models.transceiver import Transceiver


@dataclass(frozen=True)
class Path:
    """A polyline of weights.

    kind: "learning", "knowledge" or "between". snapshots: its corners, two at least, which differ in weights
    alone; labels: a word on each, such as "start", "step 24", "best". Raises SemcomError for snapshots that
    cannot be joined.
    """

    kind: str
    snapshots: tuple[Transceiver, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.snapshots) < 2 or len(self.snapshots) != len(self.labels):
            raise SemcomError(
                f"a path of {len(self.snapshots)} snapshots with {len(self.labels)} labels: "
                "two at least, and a label for each"
            )
        for label, snapshot in zip(self.labels[1:], self.snapshots[1:]):
            if unlike := difference(self.snapshots[0], snapshot):
                raise SemcomError(
                    f"no path from {escape(self.labels[0])} to {escape(label)}: {unlike}; "
                    "only weights of one architecture can be joined"
                )

    @property
    def segments(self) -> int:
        return len(self.snapshots) - 1

    @property
    def places(self) -> tuple[float, ...]:
        """Of the snapshots, from 0 to 1, evenly spaced."""
        return tuple(corner / self.segments for corner in range(len(self.snapshots)))

    def at(self, place: float) -> Transceiver:
        """A transceiver of its own, in eval mode, with the weights at ``place`` = (segment + t) / segments.

        At a snapshot's place, and wherever its neighbours agree, the snapshot's weights to the bit; else
        linearly between the two next to it. Raises SemcomError outside 0 to 1.
        """
        if not 0 <= place <= 1:
            raise SemcomError(f"place {place:g}: a path goes from 0 to 1")
        if place in self.places:
            return copy.deepcopy(self.snapshots[self.places.index(place)]).eval()
        segment = min(int(place * self.segments), self.segments - 1)
        share = place * self.segments - segment
        before, after = (self.snapshots[corner].state_dict() for corner in (segment, segment + 1))
        made = copy.deepcopy(self.snapshots[segment])
        made.load_state_dict({name: _between(before[name], after[name], share) for name in before})
        return made.eval()


def _between(start: Tensor, end: Tensor, share: float) -> Tensor:
    # Where both agree the formula would make 0.0 of -0.0.
    return torch.where(start == end, start, torch.lerp(start, end, share))


def difference(first: Transceiver, second: Transceiver) -> str:
    """What else than weights is unlike, in words; the first one's stands first. Empty where nothing is."""
    for name, (ours, theirs) in _sizes(first, second).items():
        if ours != theirs:
            return f"{name} {ours} beside {theirs}"
    ours, theirs = _beside_weights(first), _beside_weights(second)
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            return f"{name}: {ours.get(name) or 'the usual'} beside {theirs.get(name) or 'the usual'}"
    return _unlike_buffer(first, second)


def _sizes(first: Transceiver, second: Transceiver) -> dict[str, tuple[object, object]]:
    """Both values of each size, the kinds of the ends first."""
    ours, theirs = first.architecture, second.architecture
    pairs: dict[str, tuple[object, object]] = {}
    for end in ENDS:
        pairs[f"{end} kind"] = ours.size(end).kind, theirs.size(end).kind
        sizes, others = vars(ours.size(end)), vars(theirs.size(end))
        pairs |= {f"{end} {name}": (sizes.get(name), others.get(name)) for name in [*sizes, *others]}
    # Dropout is a matter of training alone.
    whole = [name for name in vars(ours) if name not in (*ENDS, "dropout")]
    return pairs | {name: (getattr(ours, name), getattr(theirs, name)) for name in whole}


def _beside_weights(model: Transceiver) -> dict[str, str]:
    """By module, what its forward pass depends on beside its weights."""
    parts = model.named_modules()
    return {name: part.beside_weights for name, part in parts if isinstance(part, MoreThanWeights)}


def _unlike_buffer(first: Transceiver, second: Transceiver) -> str:
    ours, theirs = dict(first.named_buffers()), dict(second.named_buffers())
    for name in [*ours, *theirs]:
        if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name]):
            return f"the buffer {name} differs"
    return ""
