"""What a model costs: parameters, bytes, FLOPs and milliseconds."""

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from semcom.base.errors import SemcomError
from semcom.data.batching import Batch
from semcom.distillation.any_model import Evaluating, Model, called, moved, owner_of
from semcom.models import checkpoint
from semcom.models.link import NOISELESS, heard_by
from semcom.models.transceiver import Transceiver

WARM_UP = 2

Row = dict[str, str | float | None]


class Link(nn.Module):
    """A transceiver as one classifier: a ``Batch`` through an ideal channel to logits [B, T, V] of each next
    piece, given those before it."""

    def __init__(self, transceiver: Transceiver):
        super().__init__()
        self.transceiver = transceiver

    def forward(self, batch: Batch) -> Tensor:
        signal, _ = self.transceiver.transmitter(batch.source, batch.source_mask)
        receiver = self.transceiver.receiver
        heard = heard_by(receiver, signal, NOISELESS)
        return receiver.project(receiver(heard, batch.source_mask, batch.target_in))


def model_costs(models: Mapping[str, Model], inputs: Any, repeats: int) -> list[Row]:
    """What models cost: parameters, bytes of the saved weights and, unless ``inputs`` is None, FLOPs and
    milliseconds of one forward a sample. A row for each.

    inputs: of B samples. A ``Transceiver`` gets (``Batch``,) as ``Link`` does. FLOPs are those of products
    and convolutions, a multiply-add counting two. latency_ms is the median of ``repeats`` passes in eval
    mode, the models in turn, divided by B. A "_ratio" is over the first model's figure.
    """
    measured = {name: _measured(name, model, inputs) for name, model in models.items()}
    seconds = _seconds(measured, repeats) if inputs is not None else {}
    rows: list[Row] = []
    first: dict[str, float] = {}
    for name, model in measured.items():
        found: dict[str, float] = {
            "parameters": sum(p.numel() for p in model.weights.parameters()),
            "bytes": checkpoint.weights_size(model.weights),
        }
        if inputs is not None:
            samples = _samples(inputs)
            found["flops"] = _flops(model) / samples
            found["latency_ms"] = 1000 * seconds[name] / samples
        first = first or found
        row: Row = {"model": name}
        for measure, figure in found.items():
            row[measure] = figure
            row[f"{measure}_ratio"] = figure / first[measure] if first[measure] else None
        rows.append(row)
    return rows


@dataclass(frozen=True)
class _Measured:
    """run: what is called. owner: the module that is put into eval mode for it. weights: whose size counts.
    inputs: on its device."""

    run: Model
    owner: nn.Module
    weights: nn.Module
    inputs: Any


def _measured(name: str, model: Model, inputs: Any) -> _Measured:
    if isinstance(model, Transceiver):
        link = Link(model)
        return _Measured(link, link, model, _beside(link, inputs))
    owner = owner_of(model)
    if owner is None:
        raise SemcomError(
            f"compare_models {name!r}: must be a module, or a method of one; "
            "else its parameters are not known"
        )
    return _Measured(model, owner, owner, _beside(owner, inputs))


def _beside(owner: nn.Module, inputs: Any) -> Any:
    weight = next(owner.parameters(), None)
    return inputs if weight is None or inputs is None else moved(inputs, weight.device)


def _samples(inputs: Any) -> int:
    """B, of the first of the inputs."""
    if isinstance(inputs, (tuple, list)):
        return len(inputs[0])
    return len(next(iter(inputs.values()))) if isinstance(inputs, Mapping) else len(inputs)


@contextmanager
def _unfused() -> Iterator[None]:
    """Each product by itself: of fused attention, encoder layers and LSTMs the counter sees none."""
    fast_layers = torch.backends.mha.get_fastpath_enabled()
    libraries: list[Any] = [torch.backends.mkldnn, torch.backends.cudnn]
    were_enabled = [library.enabled for library in libraries]
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for library in libraries:
            library.enabled = False
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_layers)
        for library, was_enabled in zip(libraries, were_enabled):
            library.enabled = was_enabled


def _flops(model: _Measured) -> int:
    # The counter does not know linear maps in inference mode.
    with (
        torch.no_grad(),
        Evaluating(model.owner),
        _unfused(),
        FlopCounterMode(display=False) as counter,
    ):
        called(model.run, model.inputs)
    return counter.get_total_flops()


def _seconds(models: Mapping[str, _Measured], repeats: int) -> dict[str, float]:
    """Median seconds of a forward of each, in turn, so that a machine that slows down slows all."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    for number in range(WARM_UP + repeats):
        for name, model in models.items():
            with torch.no_grad(), Evaluating(model.owner):
                _wait()
                started = time.perf_counter()
                called(model.run, model.inputs)
                _wait()
            if number >= WARM_UP:
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
