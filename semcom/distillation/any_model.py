"""Models of any kind as the Python API takes them: modules, methods of modules, functions.

What a batch holds for a model, its *inputs*, is a tuple or list (the arguments of forward), a mapping (its
keyword arguments) or anything else (its one argument).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from semcom.base.device import copied

Model = Callable[..., Any]
"""A module, or a method of one: inputs -> logits [..., V], (logits, grid of logits [B, H, W, V]), or an
object with ``logits``."""


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
    """Logits and, where the model gives one, their grid."""
    given = called(model, inputs)
    return given if isinstance(given, tuple) else (getattr(given, "logits", given), None)


def moved(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, (tuple, list)):
        return tuple(moved(part, device) for part in inputs)
    if isinstance(inputs, Mapping):
        return {name: moved(part, device) for name, part in inputs.items()}
    if isinstance(inputs, Tensor):
        return copied(inputs, device)
    return inputs.to(device) if hasattr(inputs, "to") else inputs
