"""What a ``DistillationLoss`` gives: means by their names, which also serve as the loss itself."""

from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor

from semcom.base.errors import shown


class Means(dict[str, Tensor]):
    """Scalar tensors by name. Where a tensor is expected it is its "loss": ``means.backward()``,
    ``means.item()``, ``means / 4``, ``torch.isnan(means)``, so that a loop written for a loss that is one
    tensor runs as it stands. It is a dictionary otherwise; a name or a number that it has not is a KeyError
    that says which there are."""

    def __missing__(self, name: object) -> NoReturn:
        raise KeyError(f"the means have no {shown(name)}; {self._typed()}")

    def _typed(self) -> str:
        others = ", ".join(f'loss["{name}"]' for name in self.keys() if name != "loss")
        return f'type loss = criterion(…), then loss.backward(), or by name loss["loss"], {others}'

    def __getattr__(self, name: str) -> Any:
        # Without names of Python's own protocols, by which copies and pickles ask what a dictionary can do.
        if name.startswith("__") or not hasattr(Tensor, name):
            raise AttributeError(f"a loss's means have no attribute {name!r}; they are {', '.join(self)}")
        return getattr(self["loss"], name)

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        """What torch is asked of it, such as ``torch.isnan(means)``, is asked of its "loss"."""
        return function(
            *map(_tensors, args), **{name: _tensors(each) for name, each in (named or {}).items()}
        )

    def __add__(self, other: Any) -> Tensor:
        return self["loss"] + other

    def __sub__(self, other: Any) -> Tensor:
        return self["loss"] - other

    def __rsub__(self, other: Any) -> Tensor:
        return other - self["loss"]

    def __mul__(self, other: Any) -> Tensor:
        return self["loss"] * other

    def __truediv__(self, other: Any) -> Tensor:
        return self["loss"] / other

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Any) -> Tensor:
        return self["loss"] < other

    def __gt__(self, other: Any) -> Tensor:
        return self["loss"] > other

    def __float__(self) -> float:
        return self["loss"].item()

    def __format__(self, spec: str) -> str:
        return format(self["loss"], spec) if spec else str(self)


def _tensors(given: Any) -> Any:
    """With the loss in the place of means, in lists too."""
    if isinstance(given, (list, tuple)):
        return type(given)(map(_tensors, given))
    return given["loss"] if isinstance(given, Means) else given
