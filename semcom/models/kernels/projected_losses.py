"""Projection to the vocabulary, cross-entropy, distillation and their gradient in one, by projected.cpp, on
CPUs whose vectors suit its products.

Letters: N rows, V pieces, D width of the student's states, E of the teacher's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from semcom.models.kernels import native

PANEL = 48
"""Rows of a chunk come in multiples of this."""
MOST = 8 * PANEL
"""Rows of a chunk at most: the gradient of 192 pieces over it stays in the cache of a core."""
_PROJECTED = native.structure(
    "state weight bias teacher_state teacher_weight teacher_bias temperature ce_weight kd_weight targets "
    "to_state to_weight to_bias sums",
    "rows pieces width teacher_width chunk teacher_bfloat16 threads",
)
_Wanted = tuple[Tensor | None, tuple[int, ...], torch.dtype]


@dataclass(frozen=True)
class Projection:
    """A model's last states [N, D], and the projection of them, [V, D] and [V], all in float32."""

    state: Tensor
    weight: Tensor
    bias: Tensor

    def contiguous(self) -> "Projection":
        return Projection(*(x.detach().float().contiguous() for x in (self.state, self.weight, self.bias)))

    def wanted(self, prefix: str, rows: int, pieces: int) -> dict[str, _Wanted]:
        """What the C++ is to be given of it."""
        width, exact = self.state.shape[1], torch.float32
        return {
            f"{prefix}state": (self.state, (rows, width), exact),
            f"{prefix}weight": (self.weight, (pieces, width), exact),
            f"{prefix}bias": (self.bias, (pieces,), exact),
        }


def chunk(most: int) -> int:
    """Rows of a chunk, ``most`` or fewer, ``PANEL`` at least."""
    return max(PANEL, min(most, MOST) // PANEL * PANEL)


# Seven arguments: what the C++ reads and writes, and how.
def losses(
    student: Projection,
    teacher: Projection | None,
    targets: Tensor,
    factors: Tensor,
    gradient: tuple[Tensor | None, Tensor | None, Tensor],
    products: tuple[torch.dtype, torch.dtype],
    chunk: int,
) -> Tensor:
    """Sums over N rows of the loss, cross-entropy and kd, [3].

    targets: [N], int64; factors: [3, N], T and the weights of CE and KD; gradient: those of state and weight,
    which are written where they are wanted, and of the bias, to which is added; products: the dtype to which
    factors of the student's and of the teacher's products are rounded; chunk: rows at a time, a multiple of
    ``PANEL``. Raises ValueError for tensors of other shapes or kinds, IndexError for a target that is none of
    the V.
    """
    (rows, width), pieces, exact = student.state.shape, len(student.weight), torch.float32
    to_state, to_weight, to_bias = gradient
    read: dict[str, _Wanted] = student.wanted("", rows, pieces)
    if teacher:
        read |= teacher.wanted("teacher_", rows, pieces)
    read["targets"] = targets, (rows,), torch.int64
    written: dict[str, _Wanted] = {
        "to_state": (to_state, (rows, width), exact),
        "to_weight": (to_weight, (pieces, width), exact),
        "to_bias": (to_bias, (pieces,), exact),
    }
    native.check(read | written | {"factors": (factors, (3, rows), exact)})
    _check_rows(rows, pieces, targets, chunk)
    sums = torch.zeros(3, dtype=torch.float64)
    if not rows:
        if to_weight is not None:
            to_weight.zero_()
        return sums
    sizes = {"rows": rows, "pieces": pieces, "width": width, "chunk": min(chunk, -(-rows // PANEL) * PANEL)}
    sizes["teacher_width"] = teacher.state.shape[1] if teacher else 0
    sizes["teacher_bfloat16"] = int(products[1] == torch.bfloat16)
    tensors = {name: tensor for name, (tensor, _, _) in (read | written).items()}
    tensors |= dict(zip(("temperature", "ce_weight", "kd_weight"), factors), sums=sums)
    native.call("projected_losses", products[0], _PROJECTED, **tensors, **sizes)
    return sums


def _check_rows(rows: int, pieces: int, targets: Tensor, chunk: int) -> None:
    if chunk < PANEL or chunk % PANEL:
        raise ValueError(f"chunks of {chunk} rows: must be a multiple of {PANEL}")
    if rows and not 0 <= int(targets.min()) <= int(targets.max()) < pieces:
        raise IndexError(f"targets must be in 0 to {pieces - 1}")
