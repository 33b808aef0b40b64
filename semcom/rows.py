"""``rows.cpp`` compiled for this machine: cross-entropy, distillation and their gradient over a chunk of logits in two passes, on CPUs.

Letters: V pieces, n rows of a chunk.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

LANES = 16
"""Rows of a chunk come in multiples of this."""
SOURCE = Path(__file__).with_name("rows.cpp")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-w")
DTYPES = {torch.float32: "row_losses_float32", torch.bfloat16: "row_losses_bfloat16"}


class Unavailable(Exception):
    """There is no C++ compiler, or it does not compile this; the message is the reason."""


class _Chunk(ctypes.Structure):
    """``struct Chunk`` of rows.cpp."""

    _fields_ = ([(name, ctypes.c_void_p) for name in ("logits", "teacher", "bias", "teacher_bias", "temperature", "ce_weight", "kd_weight",
                                                      "targets", "to_bias", "sums")]
                + [(name, ctypes.c_int64) for name in ("pieces", "rows", "real", "threads")])


@cache
def library() -> ctypes.CDLL:
    """Compiled once a process, which takes seconds, into memory alone: no file stays that another could have changed. Raises Unavailable."""
    compiler = next(filter(None, map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++")))), None)
    if compiler is None:
        raise Unavailable("no C++ compiler was found")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "rows.so")
        for parallel in (["-fopenmp"], []):
            done = subprocess.run([compiler, *_FLAGS, *parallel, str(SOURCE), "-o", str(made)], capture_output=True, text=True, errors="replace")
            if done.returncode == 0:
                try:
                    return ctypes.CDLL(str(made))
                except OSError as error:
                    raise Unavailable(f"what {compiler} made cannot be loaded ({error})") from None
    raise Unavailable(f"{compiler} failed ({(done.stderr.strip().splitlines() or ['it said nothing'])[0]})")


def losses(logits: Tensor, teacher: Tensor | None, bias: Tensor, teacher_bias: Tensor | None, targets: Tensor, factors: Tensor,
           real: int, to_bias: Tensor) -> Tensor:
    """Sums over the first ``real`` of n rows of the loss, cross-entropy and kd, [3]; ``logits`` become the gradient of the loss.

    logits, teacher: [V, n], float32 or bfloat16, without bias; bias, teacher_bias: [V]; targets: [n]; factors: [3, n], T and the weights
    of CE and KD, of rows that do not count 1, 0, 0; to_bias: [V], to which the gradient's sum over rows is added. All contiguous.
    Raises IndexError for a target that is none of the V.
    """
    if not 0 <= int(targets.min()) <= int(targets.max()) < len(logits):
        raise IndexError(f"targets must be in 0 to {len(logits) - 1}")
    tensors = {"logits": logits, "teacher": teacher, "bias": bias, "teacher_bias": teacher_bias, "targets": targets, "to_bias": to_bias,
               "temperature": factors[0], "ce_weight": factors[1], "kd_weight": factors[2], "sums": torch.zeros(3, dtype=torch.float64)}
    pieces, rows = logits.shape
    chunk = _Chunk(pieces=pieces, rows=rows, real=real, threads=torch.get_num_threads(),
                   **{name: None if tensor is None else tensor.data_ptr() for name, tensor in tensors.items()})
    getattr(library(), DTYPES[logits.dtype])(ctypes.byref(chunk))
    return tensors["sums"]
