"""Cross-entropy, distillation and their gradient in C++, on CPUs: of a chunk of logits, by rows.cpp, or with
the products around, by projected.cpp.

Letters: V pieces, N rows, n rows of a chunk, D width of the student's states, K of the teacher's.
"""

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from semcom.models.kernels import native

LANES = 16
"""Rows of a chunk come in multiples of this."""
SUMMED = 512
"""Rows, at most, over which ``projected`` sums a gradient number by number, before such sums are summed."""
WIDEST = 128
"""D up to which ``projected`` is used: tiles of wider states do not stay in a core's first cache, and torch's
products are faster."""
_CHUNK = native.structure(
    "logits teacher bias teacher_bias temperature ce_weight kd_weight targets to_bias sums",
    "pieces rows real threads",
)
_PROJECTED = native.structure(
    "state weight bias teacher_state teacher_weight teacher_bias temperature ce_weight kd_weight targets to_state "
    "to_weight to_bias sums space",
    "pieces rows width teacher_width chunk threads",
)


def chunk(most: int, dtype: torch.dtype) -> int:
    """Rows of a chunk, ``most`` or a few less, ``LANES`` at least: an odd number of cache lines of 64 bytes,
    since pieces that are a power of two apart would share few places of a cache."""
    line = 64 // dtype.itemsize
    return max(LANES, ((most // line - 1) | 1) * line if most >= line else LANES)


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
    if (
        logits.dtype not in native.SUFFIXES
        or n % LANES
        or not 0 <= real <= n
        or (teacher is None) != (teacher_bias is None)
    ):
        raise ValueError(
            f"{logits.dtype}, {n} rows of which {real} count: must be float32 or bfloat16, and a multiple of {LANES} rows; "
            "teacher and teacher_bias go together"
        )
    if not 0 <= int(targets.min()) <= int(targets.max()) < pieces:
        raise IndexError(f"targets must be in 0 to {pieces - 1}")
    sums = torch.zeros(3, dtype=torch.float64)
    native.call(
        "row_losses",
        logits.dtype,
        _CHUNK,
        logits=logits,
        teacher=teacher,
        bias=bias,
        teacher_bias=teacher_bias,
        targets=targets,
        temperature=factors[0],
        ce_weight=factors[1],
        kd_weight=factors[2],
        to_bias=to_bias,
        sums=sums,
        pieces=pieces,
        rows=n,
        real=real,
    )
    return sums


def add(to: Tensor, summand: Tensor) -> None:
    """Add a bfloat16 tensor to a float32 one of its shape, without the copy that torch makes of it. Raises
    ValueError for others."""
    native.check({"to": (to, summand.shape, torch.float32), "summand": (summand, to.shape, torch.bfloat16)})
    native.library()["add_bfloat16"](
        *(ctypes.c_void_p(x.data_ptr()) for x in (to, summand)),
        *(ctypes.c_int64(n) for n in (to.numel(), torch.get_num_threads())),
    )


def projects(width: int) -> bool:
    """Whether ``projected`` is to be used: the processor has matrix units, and states of this width are whole
    tiles, not too wide."""
    return width % LANES == 0 and width <= WIDEST and native.matrix_units()


def projected(
    state: Tensor,
    weight: Tensor,
    bias: Tensor,
    teacher: tuple[Tensor, Tensor, Tensor] | None,
    targets: Tensor,
    factors: Tensor,
    most: int,
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """Sums over N rows of the loss, cross-entropy and kd, [3], and the gradients of the loss by state and
    weight, where ``wanted``, and by bias.

    Of float32, state: [N, D], weight: [V, D], bias: [V]; teacher: the same, [N, K], [V, K], [V]; factors: [3,
    N], T and the weights of CE and KD; targets: [N], int64; most: rows of a chunk. Raises ValueError for
    tensors of other shapes or kinds, IndexError for a target that is none of the V.
    """
    (n, width), pieces, exact = state.shape, len(weight), torch.float32
    theirs, their_weight, their_bias = teacher or (None, None, None)
    teacher_width = 0 if theirs is None else theirs.shape[-1]
    shapes = {
        "state": (state, (n, width)),
        "weight": (weight, (pieces, width)),
        "bias": (bias, (pieces,)),
        "factors": (factors, (3, n)),
        "teacher's state": (theirs, (n, teacher_width)),
        "teacher's weight": (their_weight, (pieces, teacher_width)),
        "teacher's bias": (their_bias, (pieces,)),
    }
    native.check(
        {name: (*given, exact) for name, given in shapes.items()} | {"targets": (targets, (n,), torch.int64)}
    )
    if not projects(width):
        raise ValueError(
            f"states of width {width}: must be a multiple of {LANES} up to {WIDEST}, and matrix units be there"
        )
    if n and not 0 <= int(targets.min()) <= int(targets.max()) < pieces:
        raise IndexError(f"targets must be in 0 to {pieces - 1}")
    beyond = (0, -n % LANES)
    heat, weights = F.pad(factors[0], beyond, value=1.0), F.pad(factors[1:], beyond)
    to_state = torch.empty(n, width) if wanted[0] else None
    to_weight = torch.empty(pieces + -pieces % LANES, width) if wanted[1] else None
    to_bias, sums = torch.zeros(pieces), torch.zeros(3, dtype=torch.float64)
    given = {
        "state": state,
        "weight": weight,
        "bias": bias,
        "teacher_state": theirs,
        "teacher_weight": their_weight,
        "teacher_bias": their_bias,
        "temperature": heat,
        "ce_weight": weights[0],
        "kd_weight": weights[1],
        "targets": F.pad(targets, beyond),
        "to_state": to_state,
        "to_weight": to_weight,
        "to_bias": to_bias,
        "sums": sums,
        "pieces": pieces,
        "rows": n,
        "width": width,
        "teacher_width": teacher_width,
        "chunk": chunk(min(most, SUMMED), exact),
    }
    space = torch.empty(native.call("projected_space", exact, _PROJECTED, **given) + 64, dtype=torch.uint8)
    native.call("projected", exact, _PROJECTED, space=space[-space.data_ptr() % 64 :], **given)
    if n == 0 and to_weight is not None:
        to_weight.zero_()
    return sums, to_state, None if to_weight is None else to_weight[:pieces], to_bias
