"""What tensors from a file must be before they are used: numbers, and no more of them than the file has
bytes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from semcom.base.errors import SemcomError, shown


def check_finite(tensors: Mapping[str, Tensor], where: str, cure: str) -> None:
    """Raise SemcomError that begins with ``where`` and ends with ``cure`` for the first that holds NaN or
    infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not is_finite(tensor):
            what = "NaN" if bool(tensor.isnan().any()) else "infinity"
            raise SemcomError(f"{where}: its weights {shown(name)} are no finite numbers ({what}); {cure}")


def is_finite(tensor: Tensor) -> bool:
    # NaN is both the least and the greatest; thirty times as fast as a look at every number.
    return not tensor.numel() or all(bool(end.isfinite()) for end in torch.aminmax(tensor))


def own_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU: a view would drag its whole storage into a file."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def claimed(tensor: Tensor) -> int:
    """Bytes that its shape says."""
    return tensor.numel() * tensor.element_size()


def held(tensor: Tensor) -> int:
    """Bytes of the memory it is a part of."""
    return tensor.untyped_storage().nbytes()
