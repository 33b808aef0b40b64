"""The generators of random numbers that a program of others draws from, and their states as plain values."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from semcom.models.state_file import State

WHERE = ("", "sampler", "batch_sampler", "batch_sampler.sampler")
"""Parts of a DataLoader that may have a generator of their own."""


def of_loaders(*loaders: object) -> list[torch.Generator]:
    """The generators of DataLoaders and of their samplers, each once."""
    found: list[torch.Generator] = []
    for loader in loaders:
        for where in WHERE:
            own = getattr(_part(loader, where), "generator", None)
            if isinstance(own, torch.Generator) and not any(own is other for other in found):
                found.append(own)
    return found


def _part(whole: Any, where: str) -> Any:
    for name in filter(None, where.split(".")):
        whole = getattr(whole, name, None)
    return whole


def states(own: Sequence[torch.Generator], device: torch.device) -> State:
    """Of the global generators of Python, numpy, torch and the device, and of those in ``own``."""
    version, words, gauss = random.getstate()
    kind, numbers, place, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(kind), [int(number) for number in numbers], int(place), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "own": [generator.get_state() for generator in own],
    }


def put_back(state: State, own: Sequence[torch.Generator], device: torch.device) -> None:
    """All as they were at ``states``."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, numbers, *rest = state["numpy"]
    np.random.set_state((kind, np.array(numbers, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["device"] is not None:
        torch.cuda.set_rng_state(state["device"], device)
    for generator, its_own in zip(own, state["own"]):
        generator.set_state(its_own)
