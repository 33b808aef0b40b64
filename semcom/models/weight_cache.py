"""What is made of a module's weights, kept until one of them changes."""

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

Made = TypeVar("Made")
Of = TypeVar("Of", bound=nn.Module)
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_KEPT: "WeakKeyDictionary[nn.Module, dict[Callable, tuple[list[_Weights], object]]]" = WeakKeyDictionary()


class _Weights:
    """Some weights as they are now. ``storage`` holds their memory, so that none of others can be there.

    Fused optimisers of torch, and what is done to ``.data``, leave a version as it was: the bits are summed.
    """

    def __init__(self, weights: Tensor):
        self.weights, self.storage, self.version = weights, weights.detach(), weights._version
        self.bits = _bits(weights)

    def are(self, weights: Tensor) -> bool:
        same = self.weights is weights and self.storage.data_ptr() == weights.data_ptr()
        return same and self.version == weights._version and self.bits == _bits(weights)


def _bits(weights: Tensor) -> int:
    """The sum of their bits, as integers: reads them once."""
    return int(weights.detach().view(_INTEGERS[weights.element_size()]).sum())


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
