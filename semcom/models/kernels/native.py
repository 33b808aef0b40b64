"""The C++ of this package, compiled for this machine: what ``--compile`` runs on CPUs."""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from semcom.models.kernels import compiler
from semcom.models.kernels.compiler import Unavailable

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


@dataclass(frozen=True)
class Source:
    """A file of C++. optimisation: how hard a compiler is to try."""

    optimisation: str
    functions: tuple[str, ...]


def of_both_dtypes(*names: str) -> tuple[str, ...]:
    """The names of such functions with their suffixes."""
    return tuple(name + suffix for name in names for suffix in SUFFIXES.values())


SOURCES = {
    "rows.cpp": Source("-O2", ("add_bfloat16", *of_both_dtypes("row_losses"))),
    # Loops over registers, which only the hardest optimisation unrolls.
    "layers.cpp": Source("-O3", of_both_dtypes("attention", "residual")),
    "decoding_step.cpp": Source("-O3", ("decoding_step_float32",)),
    "next_pieces.cpp": Source("-O3", ("likeliest_float32", "most_probable_float32")),
    "projected.cpp": Source("-O2", of_both_dtypes("projected_losses")),
    "linear.cpp": Source("-O2", of_both_dtypes("linear", "products_pay")),
}
"""Each is compiled by itself, when one of its functions is first called."""
TRAINING = ("rows.cpp", "layers.cpp")
"""Those of a training step."""
PRODUCTS = ("linear.cpp", "projected.cpp")
"""Those of its products, made for vectors of AVX-512."""
DECODING = ("decoding_step.cpp", "next_pieces.cpp")
"""Those of decoding."""
_SOURCE_OF = {name: source for source, given in SOURCES.items() for name in given.functions}


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
    """Run a compiled function on the ``members`` of its ``struct``, and the number of threads. Raises
    Unavailable, and MemoryError where it lacks memory."""
    values = {
        name: value.data_ptr() if isinstance(value, Tensor) else value for name, value in members.items()
    }
    given = kind(threads=torch.get_num_threads(), **values)
    if compiled(function + SUFFIXES[dtype])(ctypes.byref(given)):
        raise MemoryError(f"{function}: too little memory")


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


_ONE_AT_A_TIME = {source: Lock() for source in SOURCES}


def compiled(name: str) -> Callable:
    """A C++ function of ``SOURCES``; its library is compiled or loaded when it is first asked for. Raises
    Unavailable, and KeyError for a name that none of them has."""
    return getattr(_library(_SOURCE_OF[name], tuple(FLAGS)), name)


def has_vectors_of_products() -> bool:
    """Whether torch itself takes vectors of AVX-512 here; its user may have narrowed it."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def of_training() -> tuple[str, ...]:
    """The sources of a training step that this machine runs."""
    return TRAINING + PRODUCTS if has_vectors_of_products() else TRAINING


def cannot_compile(sources: Iterable[str] | None = None) -> str | None:
    """Why there is no library of one of these sources, or None; of those of a training step, if none are
    given."""
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda source: _library(source, tuple(FLAGS)), sources or of_training()))
    except Unavailable as error:
        return str(error)
    return None


def can_decode() -> bool:
    """Whether the sources of decoding compile; asked for every batch, so it is found out once a process."""
    return _can_decode(tuple(FLAGS))


@cache
def _can_decode(flags: tuple[str, ...]) -> bool:
    return cannot_compile(DECODING) is None


def _library(source: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """Made once a process: a thread that needs what another one makes waits for it. Raises Unavailable."""
    with _ONE_AT_A_TIME[source]:
        return _made(source, flags)


@cache
def _made(source: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    given = SOURCES[source]
    path = Path(__file__).with_name(source)
    return compiler.library(compiler.Job(path, (*flags, given.optimisation), given.functions))
