"""The machine a run is on: device, allocator, and what a reader must know of it to repeat the run."""

import ctypes
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import torch

from semcom import __version__
from semcom.base import distributed
from semcom.base.errors import SemcomError, escape
from semcom.base.provenance import cpu_model, source_commit

_MALLOPT = {
    "M_ARENA_MAX": (-8, 1),
    "M_MMAP_MAX": (-4, 0),
    "M_TRIM_THRESHOLD": (-1, -1),
    "M_TOP_PAD": (-2, 64 << 20),
}


def resolve_device(name: str) -> torch.device:
    """auto, cpu, cuda or cuda:N; of several processes on a machine each takes the GPU of its own number.

    Raises SemcomError for another name or a GPU that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
        raise SemcomError(
            f"--device {escape(name)}: must be auto, cpu, cuda or cuda:N; for example --device cpu"
        )
    return _gpu(name, index) if kind == "cuda" else torch.device(name)


def _gpu(name: str, index: str) -> torch.device:
    """index: the number in ``name``, empty for none."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise SemcomError(f"--device {escape(name)}: this torch finds no CUDA device; use --device cpu")
    if index and int(index) >= count:
        raise SemcomError(f"--device {escape(name)}: this machine has cuda:0 to cuda:{count - 1}")
    if distributed.count() == 1:
        return torch.device(name)
    if index:
        raise SemcomError(
            f"--device {escape(name)}: of several processes each takes a GPU of its own; give --device cuda"
        )
    if distributed.local_count() > count:
        raise SemcomError(
            f"--device {name}: {distributed.local_count()} processes on this machine, which has {count} "
            f"GPUs; start {count} at most, or give --device cpu"
        )
    return torch.device("cuda", distributed.local_rank())


def copied(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """A tensor on ``device``. To a GPU it goes from pinned memory, so that neither it nor the work that is
    queued there already is waited for."""
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def keep_freed_memory() -> None:
    """Have glibc keep freed memory instead of giving it back: a step allocates the same large blocks again
    and again, and faulting their pages in anew costs time at each. A no-op elsewhere."""
    if sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in _MALLOPT.values():
            libc.mallopt(option, value)


def memory() -> int | None:
    """Bytes of the machine, or of the part of it that a container gives; None where nobody tells."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return there
    return min(there, int(limit)) if limit.isdecimal() else there


def environment(device: torch.device) -> dict[str, object]:
    """Versions, the source's commit, processes, threads, device and CPU, as plain values."""
    names = ("torch", "numpy", "sentencepiece", "sacrebleu", "matplotlib")
    installed = {name: metadata.version(name) for name in names}
    return {
        "semcom": __version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        **installed,
        "platform": platform.platform(),
        "processes": distributed.count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "cpu": cpu_model(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    }
