"""Cross-entropy, distillation and their gradient over a chunk of logits in C++, by rows.cpp, on CPUs.

Letters: V pieces, n rows of a chunk.
"""

import ctypes

import torch
from torch import Tensor

from semcom.models.kernels import native

LANES = 16
"""Rows of a chunk come in multiples of this."""
_CHUNK = native.structure(
    "logits teacher bias teacher_bias temperature ce_weight kd_weight targets to_bias sums",
    "pieces rows real threads",
)


def chunk(most: int, dtype: torch.dtype) -> int:
    """Rows of a chunk, ``most`` or a few less, ``LANES`` at least: an odd number of cache lines of 64 bytes,
    since pieces that are a power of two apart would share few places of a cache."""
    line = 64 // dtype.itemsize
    return max(LANES, ((most // line - 1) | 1) * line if most >= line else LANES)


# Eight arguments: what the C++ reads and writes.
def losses(
    logits: Tensor,
    teacher: Tensor | None,
    bias: Tensor,
    teacher_bias: Tensor | None,
    targets: Tensor,
    factors: Tensor,
    real: int,
    to_bias: Tensor,
) -> Tensor:
    """Sums over the first ``real`` of n rows of the loss, cross-entropy and kd, [3]; ``logits`` become the
    gradient of the loss.

    logits, teacher: [V, n], both float32 or both bfloat16, without bias; targets: [n], int64; of float32,
    bias, teacher_bias: [V]; factors: [3, n], T and the weights of CE and KD, of rows that do not count 1, 0,
    0; to_bias: [V], to which the gradient's sum over rows is added. Raises ValueError for tensors of other
    shapes or kinds, IndexError for a target that is none of the V.
    """
    (pieces, n), exact = logits.shape, torch.float32
    native.check(
        {
            "logits": (logits, (pieces, n), logits.dtype),
            "teacher": (teacher, (pieces, n), logits.dtype),
            "bias": (bias, (pieces,), exact),
            "teacher_bias": (teacher_bias, (pieces,), exact),
            "targets": (targets, (n,), torch.int64),
            "to_bias": (to_bias, (pieces,), exact),
            "factors": (factors, (3, n), exact),
        }
    )
    _check_rows(logits, real, targets, alone=(teacher is None, teacher_bias is None))
    sums = torch.zeros(3, dtype=torch.float64)
    temperature, ce_weight, kd_weight = factors
    read = {"bias": bias, "teacher_bias": teacher_bias, "targets": targets}
    read |= {"temperature": temperature, "ce_weight": ce_weight, "kd_weight": kd_weight}
    written = {"logits": logits, "teacher": teacher, "to_bias": to_bias, "sums": sums}
    sizes = {"pieces": pieces, "rows": n, "real": real}
    native.call("row_losses", logits.dtype, _CHUNK, **read, **written, **sizes)
    return sums


def _check_rows(logits: Tensor, real: int, targets: Tensor, alone: tuple[bool, bool]) -> None:
    """alone: whether there is no teacher, and no bias of one."""
    pieces, n = logits.shape
    if logits.dtype not in native.SUFFIXES or n % LANES or not 0 <= real <= n or alone[0] != alone[1]:
        raise ValueError(
            f"{logits.dtype}, {n} rows of which {real} count: must be float32 or bfloat16, "
            f"and a multiple of {LANES} rows; teacher and teacher_bias go together"
        )
    if not 0 <= int(targets.min()) <= int(targets.max()) < pieces:
        raise IndexError(f"targets must be in 0 to {pieces - 1}")


def add(to: Tensor, summand: Tensor) -> None:
    """Add a bfloat16 tensor to a float32 one of its shape, without the copy that torch makes of it. Raises
    ValueError for others."""
    native.check({"to": (to, summand.shape, torch.float32), "summand": (summand, to.shape, torch.bfloat16)})
    native.compiled("add_bfloat16")(
        *(ctypes.c_void_p(x.data_ptr()) for x in (to, summand)),
        *(ctypes.c_int64(n) for n in (to.numel(), torch.get_num_threads())),
    )
