"""What is made of a module's weights, kept until one of them changes."""

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

Made = TypeVar("Made")
Of = TypeVar("Of", bound=nn.Module)
_KEPT: "WeakKeyDictionary[nn.Module, dict[Callable, tuple[list[_Weights], object]]]" = WeakKeyDictionary()


class _Weights:
    """Some weights as they are now. ``storage`` holds their memory, so that none of others can be there."""

    def __init__(self, weights: Tensor):
        self.weights, self.storage, self.version = weights, weights.detach(), weights._version

    def are(self, weights: Tensor) -> bool:
        same = self.weights is weights and self.storage.data_ptr() == weights.data_ptr()
        return same and self.version == weights._version


@torch.no_grad()
def kept(make: Callable[[Of], Made], module: Of) -> Made:
    """``make(module)``, which must depend on its weights alone."""
    weights = list(module.parameters())
    if any(each.is_inference() for each in weights):  # nothing tells when these change
        return make(module)
    of_module = _KEPT.setdefault(module, {})
    before, made = of_module.get(make, ([], None))
    unchanged = made is not None and len(before) == len(weights)
    if not unchanged or not all(was.are(now) for was, now in zip(before, weights)):
        made = make(module)
        of_module[make] = ([_Weights(each) for each in weights], made)
    return made  # type: ignore[return-value]
