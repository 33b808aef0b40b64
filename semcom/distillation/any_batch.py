"""Batches of any kind, as loaders of others give them: inputs, targets where there are any, and a mask."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semcom.base.device import copied
from semcom.base.errors import SemcomError, shown, warn
from semcom.distillation.any_model import moved

LABELS = ("labels", "label", "targets", "target")
"""What a mapping may call its targets."""


class Batch(NamedTuple):
    """inputs: those of ``any_model``. targets: None where nothing is labelled. mask: True at rows that count,
    None where all do."""

    inputs: Any
    targets: Tensor | None = None
    mask: Tensor | None = None


class Reader:
    """Makes a ``Batch`` of what a loader gave; of what it leaves out it warns once.

    A tensor, or a list of one, is inputs alone; a mapping holds its targets under one of ``LABELS``, the rest
    are inputs; a tuple or list is (inputs, targets) or (inputs, targets, mask). A third that is no boolean
    mask, as the index that some loaders give, is left out, and so are further ones.
    """

    def __init__(self) -> None:
        self.has_warned = False

    def read(self, given: Any) -> Batch:
        if isinstance(given, Tensor):
            return Batch(given)
        if isinstance(given, Mapping):
            return _of_mapping(given)
        if not isinstance(given, Sequence) or isinstance(given, str) or not given:
            raise SemcomError(
                f"a batch is a {type(given).__name__}, {shown(given)}: must be inputs alone, "
                f"(inputs, targets), (inputs, targets, mask), or a mapping with {' or '.join(LABELS[:2])}"
            )
        inputs, *others = given
        targets = _targets(others[0]) if others else None
        mask = next((each for each in others[1:2] if is_mask(each)), None)
        left_out = len(others) - 1 - (mask is not None)
        if left_out > 0 and not self.has_warned:
            self.has_warned = True
            kinds = ", ".join(_kind(each) for each in others[len(others) - left_out :])
            warn(
                f"batches hold {kinds} beside inputs and targets: an index? It is left out; "
                "a mask of the rows that count is boolean"
            )
        return Batch(inputs, targets, mask)


def is_mask(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bool


def _of_mapping(given: Mapping[str, Any]) -> Batch:
    name = next((name for name in LABELS if name in given), None)
    inputs = {key: value for key, value in given.items() if key != name}
    return Batch(inputs, _targets(given[name]) if name else None)


def _targets(given: Any) -> Tensor | None:
    if given is None or isinstance(given, Tensor):
        return given
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise SemcomError(
            f"targets: a {shown(type(given).__name__)}, {shown(given)}: must be classes, whole numbers "
            "[...], or probabilities [..., V]; make a tensor of them in the loader's collate_fn"
        ) from None


def _kind(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def on_device(batch: Batch, device: torch.device) -> Batch:
    targets, mask = (part if part is None else copied(part, device) for part in batch[1:])
    return Batch(moved(batch.inputs, device), targets, mask)
