"""Models of any kind as the Python API takes them: modules, methods of modules, functions.

What a batch holds for a model, its *inputs*, is a tuple or list (the arguments of forward), a mapping (its
keyword arguments) or anything else (its one argument).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from semcom.base.device import copied
from semcom.base.errors import SemcomError, shown

Model = Callable[..., Any]
"""A module, or a method of one: inputs -> logits [..., V]; (logits, grid of logits [B, H, W, V]); another
tuple that begins with logits; a mapping with one of ``LOGITS``, and perhaps "grid"; an object with
``logits``."""


LOGITS = ("logits", "out")
"""What a mapping calls them; "out" in torchvision's models of segmentation."""


class Evaluating:
    """A module in eval mode for a while; afterwards each part is in the mode it was in."""

    def __init__(self, module: nn.Module):
        self.modes = {part: part.training for part in module.modules()}

    def __enter__(self) -> None:
        for part in self.modes:
            part.training = False

    def __exit__(self, *_: object) -> None:
        for part, training in self.modes.items():
            part.training = training


def owner_of(model: Model | None) -> nn.Module | None:
    """The module that is called, or whose method is."""
    owner = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def called(model: Model, inputs: Any) -> Any:
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)


def outputs(model: Model, inputs: Any) -> tuple[Tensor, Tensor | None]:
    """Logits and, where the model gives one, what may be their grid: the second of two tensors, or what is
    called so. Raises SemcomError where there are no logits."""
    given = called(model, inputs)
    logits, grid = _parts(given)
    if not isinstance(logits, Tensor):
        raise SemcomError(
            f"the model returns {_kind(given)}: must be logits, (logits, grid), another tuple that begins "
            "with logits, a mapping with 'logits', or an object with .logits"
        )
    return logits, grid if isinstance(grid, Tensor) else None


def _parts(given: Any) -> tuple[Any, Any]:
    if isinstance(given, Mapping):
        return next((given[name] for name in LOGITS if name in given), None), given.get("grid")
    if hasattr(given, "logits"):
        return given.logits, getattr(given, "grid", None)
    if isinstance(given, (tuple, list)):
        return next(iter(given), None), given[1] if len(given) == 2 else None
    return given, None


def _kind(given: Any) -> str:
    kind = type(given).__name__
    if isinstance(given, Mapping):
        return f"a {kind} with {shown(', '.join(map(repr, given)))}"
    return f"a {kind} of {len(given)}" if isinstance(given, (tuple, list)) else f"a {kind}"


def moved(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, (tuple, list)):
        return tuple(moved(part, device) for part in inputs)
    if isinstance(inputs, Mapping):
        return {name: moved(part, device) for name, part in inputs.items()}
    if isinstance(inputs, Tensor):
        return copied(inputs, device)
    return inputs.to(device) if hasattr(inputs, "to") else inputs
