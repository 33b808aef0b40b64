"""``rows.cpp`` compiled for this machine: cross-entropy, distillation and their gradient over a chunk of logits in two passes, on CPUs.

Letters: V pieces, n rows of a chunk.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from semcom.errors import escape

LANES = 16
"""Rows of a chunk come in multiples of this."""
SOURCE = Path(__file__).with_name("rows.cpp")
PATIENCE = 120
"""Seconds that a compiler is given."""
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-w")
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
    """Compiled once a process, which takes seconds, into memory alone: no file stays that another could have changed. Raises Unavailable.

    The compiler is that of CXX, with its arguments, or g++ or clang++.
    """
    compiler = next(filter(None, map(_found, filter(None, (os.environ.get("CXX"), "g++", "clang++")))), None)
    if compiler is None:
        raise Unavailable("no C++ compiler was found")
    name = escape(" ".join(compiler))
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, "rows.so")
            for parallel in (["-fopenmp"], []):
                done = subprocess.run([*compiler, *FLAGS, *parallel, str(SOURCE), "-o", str(made)], capture_output=True, text=True,
                                      errors="replace", stdin=subprocess.DEVNULL, timeout=PATIENCE)
                if done.returncode == 0:
                    compiled = ctypes.CDLL(str(made))
                    for function in DTYPES.values():
                        getattr(compiled, function)
                    return compiled
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name} has not ended after {PATIENCE} s") from None
    except (OSError, AttributeError) as error:
        raise Unavailable(f"what {name} made cannot be used ({escape(error)})") from None
    raise Unavailable(f"{name} failed ({escape((done.stderr.strip().splitlines() or ['it said nothing'])[0][:200])})")


def _found(command: str) -> list[str] | None:
    """A command of one or more words, its program with its path; None where that is not there."""
    try:
        program, *arguments = shlex.split(command) or [""]
    except ValueError:  # a quotation that does not end
        return None
    path = shutil.which(program)
    return path and [path, *arguments]


def losses(logits: Tensor, teacher: Tensor | None, bias: Tensor, teacher_bias: Tensor | None, targets: Tensor, factors: Tensor,
           real: int, to_bias: Tensor) -> Tensor:
    """Sums over the first ``real`` of n rows of the loss, cross-entropy and kd, [3]; ``logits`` become the gradient of the loss.

    logits, teacher: [V, n], both float32 or both bfloat16, without bias; targets: [n], int64; of float32, bias, teacher_bias: [V];
    factors: [3, n], T and the weights of CE and KD, of rows that do not count 1, 0, 0; to_bias: [V], to which the gradient's sum over rows
    is added. Raises ValueError for tensors of other shapes or kinds, IndexError for a target that is none of the V.
    """
    (pieces, n), exact = logits.shape, torch.float32
    wanted = {"logits": (logits, (pieces, n), logits.dtype), "teacher": (teacher, (pieces, n), logits.dtype), "bias": (bias, (pieces,), exact),
              "teacher_bias": (teacher_bias, (pieces,), exact), "targets": (targets, (n,), torch.int64), "to_bias": (to_bias, (pieces,), exact),
              "factors": (factors, (3, n), exact)}
    for name, (tensor, shape, dtype) in wanted.items():
        # What is written in C++ reads and writes by these sizes, whatever the tensor's are.
        if tensor is not None and not (tensor.shape == shape and tensor.dtype == dtype and tensor.device.type == "cpu" and tensor.is_contiguous()):
            raise ValueError(f"{name}: {tensor.dtype} {list(tensor.shape)} on {tensor.device}, must be a contiguous {dtype} {list(shape)} on the CPU")
    if logits.dtype not in DTYPES or n % LANES or not 0 <= real <= n or (teacher is None) != (teacher_bias is None):
        raise ValueError(f"{logits.dtype}, {n} rows of which {real} count: must be float32 or bfloat16, and a multiple of {LANES} rows; "
                         "teacher and teacher_bias go together")
    if not 0 <= int(targets.min()) <= int(targets.max()) < pieces:
        raise IndexError(f"targets must be in 0 to {pieces - 1}")
    tensors = {name: tensor for name, (tensor, _, _) in wanted.items() if name != "factors"}
    tensors |= {"temperature": factors[0], "ce_weight": factors[1], "kd_weight": factors[2], "sums": torch.zeros(3, dtype=torch.float64)}
    chunk = _Chunk(pieces=pieces, rows=n, real=real, threads=torch.get_num_threads(),
                   **{name: None if tensor is None else tensor.data_ptr() for name, tensor in tensors.items()})
    getattr(library(), DTYPES[logits.dtype])(ctypes.byref(chunk))
    return tensors["sums"]
