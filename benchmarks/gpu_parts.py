"""The parts of ``gpu.py``, each in its process: what they run, and how a side is timed."""

import gc
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch

from benchmarks import gpu_sides, harness, roofline

DEEPSC = harness.Shape(batch_size=128)
LARGE = harness.Shape(32_000, 6, 3, 512, 8, 2048, 16, 1024)
WARM, BLOCKS, ENOUGH = 2, 5, 4.0
"""Steps that do not count; blocks, fewer where they have taken this many seconds."""
BLOCK, MOST = 1.0, 50
"""Seconds of a block, and steps at most: what its first step waits for is to be a small part."""
PROFILED = 4
"""Steps."""

Row = dict[str, object]


def one_line(text: str) -> str:
    return " ".join(text.split())[:300]


# --- the tests


def tests(device: torch.device, quick: bool) -> Iterator[Row]:
    """One row a test: its name and what became of it."""
    words = [sys.executable, "-m", "pytest", "tests/test_cuda.py", "-v", "--tb=line", "-o", "addopts="]
    words += ["-k", "draws or tokens_are"] * quick
    kept = {**os.environ, "SEMCOM_TEST_DEVICE": str(device), "COLUMNS": "200"}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=kept, cwd=harness.ROOT)
    assert process.stdout
    for line in process.stdout:
        print(line, end="", flush=True)
        if told := re.match(r"tests/test_cuda\.py::(.+) (PASSED|FAILED|SKIPPED|ERROR)\b", line):
            yield {"test": told[1], "outcome": told[2].lower()}
        elif told := re.match(r"(?:/|E  ).*?: (.*Error.*)", line):
            yield {"test": "", "outcome": "error", "error": one_line(told[1])}
    if process.wait() > 1:
        raise SystemExit(f"pytest ended with {process.returncode}")


# --- the measurements


def rows_of(part: str, device: torch.device, *, quick: bool) -> Iterator[Row]:
    """What a part finds, row by row."""
    on_gpu = device.type == "cuda"
    shapes = (
        {"DeepSC's": harness.QUICK, "large": harness.QUICK} if quick else {"DeepSC's": DEEPSC, "large": LARGE}
    )
    if part == "tests":
        yield from tests(device, quick)
    elif part == "profile":
        yield from profile(shapes, device)
    elif part == "decoding":
        for name, shape in shapes.items():
            tokens = harness.STEPS * shape.batch_size
            sides = gpu_sides.decoders(shape, device)
            yield from race(sides, name, shape, device, quick=quick, tokens=tokens)
    elif part == "losses":
        shape = shapes["large"]
        for work, distils in (
            ("cross-entropy and its gradient", False),
            ("distillation and its gradient", True),
        ):
            sides = gpu_sides.losses(shape, device, distils=distils, compiles=on_gpu)
            yield from race(sides, work, shape, device, quick=quick)
    else:
        chosen = {"step, large": ["large"], "step, DeepSC's shape": ["DeepSC's"]}.get(part, list(shapes))
        for name in reversed(chosen):
            distils = part != "training"
            sides = gpu_sides.steps(shapes[name], device, distils=distils, compiles=on_gpu)
            flops = flops_of(shapes[name], distils=distils)
            yield from race(sides, name, shapes[name], device, quick=quick, flops=flops)


# Seven arguments: what is raced, of what, where, and what a step is.
def race(
    sides: list[gpu_sides.Side],
    work: str,
    shape: harness.Shape,
    device: torch.device,
    *,
    quick: bool,
    flops: float = 0.0,
    tokens: int = 0,
) -> Iterator[Row]:
    """A row a side; one that fails says why. tokens: of a step; 0: the target tokens of a batch."""
    tokens = tokens or gpu_sides.batch_of(shape).target_tokens
    compared: torch.Tensor | None = None
    for side in sides:
        row: Row = {"work": work, "shape": str(shape), "side": side.name, "kind": side.kind, "tokens": tokens}
        try:
            with gpu_sides.products(side.kind):
                row |= timed(side.make, device, quick)
                row["flops"] = flops
                if side.check:
                    with harness.forced(harness.STEPS):
                        made = side.check().detach().cpu()
                    compared = made if compared is None else compared
                    row["apart"] = apart(compared, made)
        except Exception as error:
            row["error"] = one_line(f"{type(error).__name__}: {error}")
        yield row
        forget(device)


def timed(make: Callable[[], gpu_sides.Run], device: torch.device, quick: bool = False) -> Row:
    """seconds: of a step, the median of blocks; first: of the first, with all that is made and compiled for
    it; peak: bytes."""
    forget(device)
    on_gpu = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if on_gpu else 0
    begun = time.perf_counter()
    run = make()
    run(1)
    wait_for(device)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    run(WARM)
    wait_for(device)
    a_step = (time.perf_counter() - begun) / WARM
    steps = 1 if quick else min(MOST, max(1, round(BLOCK / a_step)))
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    blocks: list[float] = []
    while len(blocks) < (1 if quick else BLOCKS) and sum(blocks) * steps < ENOUGH:
        begun = time.perf_counter()
        run(steps)
        wait_for(device)
        blocks.append((time.perf_counter() - begun) / steps)
    peak = torch.cuda.max_memory_allocated(device) - before if on_gpu else None
    return {"seconds": statistics.median(blocks), "blocks": blocks, "first": first, "peak": peak}


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget(device: torch.device) -> None:
    """What a side has left: memory, and what was compiled for it, of which torch keeps but a few."""
    gc.collect()
    if device.type == "cuda":
        torch.compiler.reset()
        torch.cuda.empty_cache()


def apart(one: torch.Tensor, other: torch.Tensor) -> float | None:
    """Relative difference of losses, or the share of tokens that differ; None where they have no common
    shape."""
    if one.shape != other.shape:
        return None
    if one.dim() == 0:
        return float((one - other).abs() / one.abs())
    return float((one != other).double().mean())


def flops_of(shape: harness.Shape, *, distils: bool) -> float:
    """Of the products of a step, as ``roofline.count`` has them; of a teacher's training, of it alone."""
    batch = gpu_sides.batch_of(shape)
    project = 2 * batch.target_tokens * shape.d_model * shape.vocab_size
    teacher = roofline.layers(shape, batch, shape.teacher_layers).flops
    if not distils:
        return 3 * (teacher + project)
    return teacher + 3 * roofline.layers(shape, batch, shape.student_layers).flops + 4 * project


def profile(shapes: dict[str, harness.Shape], device: torch.device) -> Iterator[Row]:
    """Of our step in bfloat16: the share of its time in which the device is at work, and what on."""
    for name, shape in shapes.items():
        run = gpu_sides.our_step(shape, device, "bf16", distils=True, compiled=False)
        run(WARM)
        wait_for(device)
        begun = time.perf_counter()
        run(PROFILED)
        wait_for(device)
        seconds = time.perf_counter() - begun
        with torch.profiler.profile() as seen:
            run(PROFILED)
            wait_for(device)
        spent = sorted(spent_in(seen, device), reverse=True)
        busy = sum(each for each, _ in spent)
        longest = [[one_line(key)[:80], each / PROFILED] for each, key in spent[:12]]
        yield {"work": name, "seconds": seconds / PROFILED, "busy": busy / seconds, "longest": longest}


def spent_in(seen: torch.profiler.profile, device: torch.device) -> list[tuple[float, str]]:
    """Seconds in each kernel of the device; without one, in each operation."""
    events = seen.key_averages()
    if device.type != "cuda":
        return [(event.self_cpu_time_total / 1e6, event.key) for event in events]
    kernels = [event for event in events if event.device_type == torch.autograd.DeviceType.CUDA]
    return [(event.self_device_time_total / 1e6, event.key) for event in kernels]
