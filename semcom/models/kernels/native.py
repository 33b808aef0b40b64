"""The C++ of this package, compiled for this machine: what --compile runs on CPUs."""

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from semcom.base.errors import escape

SOURCES = {"rows.cpp": "-O2", "layers.cpp": "-O3"}
"""Each with how hard a compiler is to try: the loops of layers.cpp are over registers, which only the hardest
unrolls."""
PATIENCE = 120
"""Seconds that a compiler is given."""
FLAGS = (
    "-std=c++17",
    "-march=native",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-w",
)
SUFFIXES = {torch.float32: "_float32", torch.bfloat16: "_bfloat16"}
"""What a function's name ends with, by the dtype of its tensors."""
FUNCTIONS = (
    "add_bfloat16",
    *(name + suffix for name in ("row_losses", "attention", "residual") for suffix in SUFFIXES.values()),
)


class Unavailable(Exception):
    """There is no C++ compiler, or it does not compile this; the message is the reason."""


def structure(pointers: str, integers: str, floats: str = "") -> type[ctypes.Structure]:
    """A C++ ``struct`` of these members, in this order."""
    kinds = ((pointers, ctypes.c_void_p), (integers, ctypes.c_int64), (floats, ctypes.c_float))
    return type(
        "Given",
        (ctypes.Structure,),
        {"_fields_": [(name, kind) for names, kind in kinds for name in names.split()]},
    )


def call(
    function: str, dtype: torch.dtype, kind: type[ctypes.Structure], **members: Tensor | float | None
) -> None:
    """Run a function of the library on the ``members`` of its ``struct``, and the number of threads."""
    values = {
        name: value.data_ptr() if isinstance(value, Tensor) else value for name, value in members.items()
    }
    library()[function + SUFFIXES[dtype]](ctypes.byref(kind(threads=torch.get_num_threads(), **values)))


def check(wanted: Mapping[str, tuple[Tensor | None, Sequence[int], torch.dtype]]) -> None:
    """Raise ValueError unless each tensor is a contiguous one of this shape and dtype on the CPU; None
    passes.

    What is written in C++ reads and writes by these sizes, whatever the tensor's are.
    """
    for name, (tensor, shape, dtype) in wanted.items():
        if tensor is not None and not (
            tensor.shape == shape
            and tensor.dtype == dtype
            and tensor.device.type == "cpu"
            and tensor.is_contiguous()
        ):
            raise ValueError(
                f"{name}: {tensor.dtype} {list(tensor.shape)} on {tensor.device}, "
                f"must be a contiguous {dtype} {list(shape)} on the CPU"
            )


class Library:
    """The functions of every one of ``SOURCES``, by name."""

    def __init__(self, parts: Sequence[ctypes.CDLL]):
        self.parts = parts

    def __getitem__(self, name: str) -> Callable:
        """Raises AttributeError where no part has it."""
        return getattr(next((part for part in self.parts if hasattr(part, name)), self.parts[0]), name)


@cache
def library() -> Library:
    """Compiled once a process, which takes seconds, into memory alone: no file stays that another could have
    changed. Raises Unavailable.

    The compiler is that of CXX, with its arguments, or g++ or clang++.
    """
    compiler = next(filter(None, map(_found, filter(None, (os.environ.get("CXX"), "g++", "clang++")))), None)
    if compiler is None:
        raise Unavailable("no C++ compiler was found")
    name = escape(" ".join(compiler))
    try:
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
            made = Library(list(pool.map(lambda source: _compiled(compiler, source, Path(folder)), SOURCES)))
        for function in FUNCTIONS:
            made[function]
        return made
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name} has not ended after {PATIENCE} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["it said nothing"]
        raise Unavailable(
            f"{name} failed ({escape(next((line for line in said if 'error' in line), said[0])[:200])})"
        ) from None
    except (OSError, AttributeError) as error:
        raise Unavailable(f"what {name} made cannot be used ({escape(error)})") from None


def _compiled(compiler: Sequence[str], source: str, folder: Path) -> ctypes.CDLL:
    """Raises CalledProcessError where the compiler fails with and without OpenMP."""
    made = folder / f"{source}.so"
    for parallel in (["-fopenmp"], []):
        done = subprocess.run(
            [
                *compiler,
                *FLAGS,
                SOURCES[source],
                *parallel,
                str(Path(__file__).with_name(source)),
                "-o",
                str(made),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        if done.returncode == 0:
            return ctypes.CDLL(str(made))
    raise subprocess.CalledProcessError(done.returncode, compiler, done.stdout, done.stderr)


def _found(command: str) -> list[str] | None:
    """A command of one or more words, its program with its path; None where that is not there."""
    try:
        program, *arguments = shlex.split(command) or [""]
    except ValueError:  # a quotation that does not end
        return None
    path = shutil.which(program)
    return [path, *arguments] if path else None


def cannot_compile() -> str | None:
    """Why there is no library, or None."""
    try:
        library()
    except Unavailable as error:
        return str(error)
    return None
