"""Which way is fastest on this machine: products in float32 or bfloat16, and compiled kernels or plain ones.

It depends on the kind of machine, on the width of the model and on the length of the run, and on nothing that
may be another the next time, such as what else is running or what has been compiled before: the same command
comes to the same numbers.
"""

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from semcom.base.provenance import cpu_model

PRODUCTS = {"fp32": "float32", "bf16": "bfloat16"}
BFLOAT16, COMPILING = 2.0, 1.5
"""Seconds of one thread that a way must save in a run: bfloat16, because its numbers are less exact; compiled
kernels, an eighth of what a compiler takes for all sources (g++ 12 on a Zen 4: 10 s for training, 2 s for
decoding): what it makes is kept, and the runs that follow have it for nothing."""
FOREVER = 1e9


class Way(NamedTuple):
    """precision: of products, fp32 or bf16. compiled: kernels, not plain ones."""

    precision: str
    compiled: bool

    def __str__(self) -> str:
        kernels = "compiled" if self.compiled else "plain"
        return f"{PRODUCTS[self.precision]} products, {kernels} kernels"


PLAINEST_FIRST = (Way("fp32", False), Way("bf16", False), Way("fp32", True), Way("bf16", True))


@dataclass(frozen=True)
class Speeds:
    """Of models of this width D and wider: how many times as fast a step is as a plain one in float32."""

    width: int
    bf16: float
    compiled: float
    both: float

    def of(self, way: Way) -> float:
        return dict(zip(PLAINEST_FIRST, (1.0, self.bf16, self.compiled, self.both)))[way]


@dataclass(frozen=True)
class Kind:
    """A kind of machine. gflops: 1e9 operations a second that one thread makes in the products of a plain
    step in float32. speeds: by width, narrow ones first. measured: False where they stand for want of any.
    bf16, compiling: seconds that each costs a run."""

    title: str
    gflops: float
    speeds: tuple[Speeds, ...]
    measured: bool = True
    bf16: float = BFLOAT16
    compiling: float = COMPILING

    def speeds_at(self, width: int) -> Speeds:
        return [each for each in self.speeds if each.width <= width or each is self.speeds[0]][-1]

    def seconds(self, way: Way, work: "Work") -> float:
        """Of one thread, for a run by this way and for what the way costs."""
        run = min(work.seconds_on(self), FOREVER) / self.speeds_at(work.width).of(way)
        return run + self.bf16 * (way.precision == "bf16") + self.compiling * way.compiled


# float32 and torch's own kernels, in which nothing is lost.
_UNMEASURED = (Speeds(0, bf16=0.9, compiled=0.9, both=0.9),)
# By benchmarks/precision.py, V=4,000, on a Zen 4, for avx512 and avx2 with instructions left out; of AMX what
# docs/speed.md has of a Xeon: the distillation step of D=128, V=22,234; of narrow models bfloat16 alone, and
# teacher training for the kernels (both: the product of the two).
KINDS: Mapping[str, Kind] = {
    "amx": Kind(
        "AMX", 40.0, (Speeds(0, 0.9, 1.1, 1.0), Speeds(64, 1.0, 1.1, 1.1), Speeds(128, 1.4, 1.5, 3.0))
    ),
    "avx512_bf16": Kind(
        "AVX-512 BF16",
        50.0,
        (
            Speeds(0, 1.1, 1.4, 2.0),
            Speeds(64, 1.3, 1.3, 2.1),
            Speeds(128, 1.5, 1.3, 2.2),
            Speeds(256, 1.7, 1.2, 2.2),
        ),
    ),
    "avx512": Kind(
        "AVX-512", 50.0, (Speeds(0, 0.6, 1.3, 0.7), Speeds(128, 0.5, 1.3, 0.5), Speeds(256, 0.4, 1.2, 0.5))
    ),
    "avx2": Kind("AVX2", 50.0, (Speeds(0, 0.2, 0.6, 0.1), Speeds(128, 0.1, 0.9, 0.1))),
    "neon": Kind("NEON", 20.0, _UNMEASURED, measured=False),
    "other": Kind("no instructions that are known here", 10.0, _UNMEASURED, measured=False),
    # bfloat16 for wide models; torch's compiler, of half a minute and more, only where it is asked for.
    "cuda": Kind("bfloat16", 5000.0, (Speeds(0, 0.9, 1.0, 0.9), Speeds(65, 1.5, 1.0, 1.5)), False, 0.0, 0.0),
    "older_cuda": Kind("no bfloat16", 5000.0, (Speeds(0, 0.9, 1.0, 0.9),), False, 0.0, 0.0),
}


def _decoding(title: str, gflops: float, faster: float, *, measured: bool = True) -> Kind:
    """Of decoding, in float32 whatever the training was in. faster: by compiled kernels."""
    return Kind(title, gflops, (Speeds(0, 0.9, faster, 0.9),), measured)


# By the same benchmark, D=128; of AMX the figures of AVX-512, by which its machines decode.
DECODING: Mapping[str, Kind] = {
    "amx": _decoding("AVX-512", 15.0, 2.7),
    "avx512_bf16": _decoding("AVX-512", 15.0, 3.0),
    "avx512": _decoding("AVX-512", 15.0, 3.0),
    "avx2": _decoding("AVX2", 15.0, 1.0),
    "neon": _decoding("NEON", 10.0, 0.9, measured=False),
    "other": _decoding("no instructions that are known here", 5.0, 0.9, measured=False),
    "cuda": _decoding("CUDA", 500.0, 0.9, measured=False),
    "older_cuda": _decoding("CUDA", 500.0, 0.9, measured=False),
}


@dataclass(frozen=True)
class Machine:
    """name: of its processor or GPU. kind: in ``KINDS``. compiler: what compiles there, if something does;
    else ``missing`` says why."""

    name: str
    kind: str
    compiler: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Work:
    """width: D of the receiver. gflop: 1e9 operations of all products of a run; where its length is told in
    time instead, its ``seconds``."""

    width: int
    gflop: float = math.inf
    seconds: float | None = None

    def seconds_on(self, kind: Kind) -> float:
        """Of one thread, by the plain way in float32."""
        return self.gflop / kind.gflops if self.seconds is None else self.seconds


@dataclass(frozen=True)
class Choice:
    """told: the way and why it was taken, in a line."""

    way: Way
    told: str


def choose(
    precision: str, compiling: str, machine: Machine, work: Work, kinds: Mapping[str, Kind] | None = None
) -> Choice:
    """Of the ways that are left to the machine, the one by which the run takes least, with what a way costs.

    precision: auto, fp32 or bf16. compiling: auto, on or off; where nothing compiles, it is off. kinds:
    ``KINDS``, of training, or ``DECODING``.
    """
    kind = (kinds or KINDS)[machine.kind]
    speeds = kind.speeds_at(work.width)
    compiling = compiling if machine.compiler else "off"
    left = [
        way
        for way in PLAINEST_FIRST
        if precision in ("auto", way.precision) and compiling in ("auto", "on" if way.compiled else "off")
    ]
    plainest, fastest = left[0], max(left, key=speeds.of)
    if len(left) == 1:
        return _told(plainest, "as asked for")
    taken = min(left, key=lambda way: kind.seconds(way, work))
    if taken == plainest != fastest:
        return _told(plainest, f"too short a run for {fastest}")
    too_short = "" if taken == fastest else f"too short a run for {fastest}"
    return _told(taken, "; ".join(filter(None, [_reason(machine, kind, speeds, taken), too_short])))


def _told(way: Way, reason: str) -> Choice:
    return Choice(way, f"{way}: {reason}")


def _reason(machine: Machine, kind: Kind, speeds: Speeds, way: Way) -> str:
    parts = [f"{machine.name} with {kind.title}", machine.compiler if way.compiled else machine.missing]
    if not kind.measured:
        parts.append("of such a machine there are no figures yet")
    elif speeds.of(way) > 1:
        plain = "float32 products, plain kernels (--precision fp32 --compile off)"
        parts.append(f"measured {speeds.of(way):.1f} times as fast on such machines as {plain}")
    return "; ".join(filter(None, parts))


# --- the machine


def kind_of(device: torch.device) -> str:
    """The kind of machine that a device is, of ``KINDS``."""
    if device.type == "cuda":
        return "cuda" if torch.cuda.get_device_capability(device) >= (8, 0) else "older_cuda"
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "neon"
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    # What torch itself takes, which its user may have narrowed.
    taken = torch.backends.cpu.get_cpu_capability()
    if taken == "AVX512":
        of_amx = capabilities.get("amx_tile") and capabilities.get("amx_bf16")
        return "amx" if of_amx else "avx512_bf16" if capabilities.get("avx512_bf16") else "avx512"
    return "avx2" if taken == "AVX2" else "other"


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()


# --- the work


def weights_multiplied(module: nn.Module) -> int:
    """Weights that a token is multiplied by on its way through: matrices, but for tables of embeddings."""
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    return sum(p.numel() for p in module.parameters() if p.dim() > 1 and id(p) not in tables)


def gflop_of_decoding(tokens: float, receivers: int) -> float:
    """1e9 operations of products in decoding so many tokens by receivers that have so many weights together
    that each is multiplied by."""
    return tokens * 2 * receivers / 1e9


def gflop_of_training(tokens: float, trained: int, frozen: int) -> float:
    """1e9 operations of products in training, of weights that each of so many tokens is multiplied by: those
    that are trained forwards and twice backwards, those that are frozen forwards."""
    return tokens * (6 * trained + 2 * frozen) / 1e9
