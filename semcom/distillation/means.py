"""What a ``DistillationLoss`` gives: means by their names, which also serve as the loss itself."""

from typing import Any

from torch import Tensor


class Means(dict[str, Tensor]):
    """Scalar tensors by name. Where a tensor is expected it is its "loss": ``means.backward()``,
    ``means.item()``, ``means / 4``, ``means + other``, so that a loop written for a loss that is one tensor
    runs as it stands."""

    def __getattr__(self, name: str) -> Any:
        # Without names of Python's own protocols, by which copies and pickles ask what a dictionary can do.
        if name.startswith("__") or not hasattr(Tensor, name):
            raise AttributeError(f"a loss's means have no attribute {name!r}; they are {', '.join(self)}")
        return getattr(self["loss"], name)

    def __add__(self, other: Any) -> Tensor:
        return self["loss"] + other

    def __mul__(self, other: Any) -> Tensor:
        return self["loss"] * other

    def __truediv__(self, other: Any) -> Tensor:
        return self["loss"] / other

    __radd__, __rmul__ = __add__, __mul__

    def __float__(self) -> float:
        return self["loss"].item()

    def __format__(self, spec: str) -> str:
        return format(self["loss"], spec) if spec else str(self)
