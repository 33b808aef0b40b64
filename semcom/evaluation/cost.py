"""What a model costs: parameters, bytes, FLOPs and milliseconds."""

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from semcom.base.errors import SemcomError
from semcom.data.batching import Batch
from semcom.distillation.distiller import Evaluating, Model, Row, called, owner_of
from semcom.models import checkpoint
from semcom.models.transceiver import Transceiver

WARM_UP = 2


class Link(nn.Module):
    """A transceiver as one classifier: a ``Batch`` through an ideal channel to logits [B, T, V] of each next
    piece, given those before it."""

    def __init__(self, transceiver: Transceiver):
        super().__init__()
        self.transceiver = transceiver

    def forward(self, batch: Batch) -> Tensor:
        signal, _ = self.transceiver.transmitter(batch.source, batch.source_mask)
        receiver = self.transceiver.receiver
        return receiver.project(receiver(signal, batch.source_mask, batch.target_in))


def model_costs(models: Mapping[str, Model], inputs: Any, repeats: int) -> list[Row]:
    """What models cost: parameters, bytes of the saved weights, FLOPs and milliseconds of one forward a
    sample. A row for each.

    inputs: of B samples, on the models' device. A ``Transceiver`` gets (``Batch``,) as ``Link`` does. FLOPs
    are those of products and convolutions, a multiply-add counting two. latency_ms is the median of
    ``repeats`` passes in eval mode, the models in turn, divided by B. A "_ratio" is over the first model's
    figure.
    """
    runs = {name: Link(model) if isinstance(model, Transceiver) else model for name, model in models.items()}
    owners = {name: owner_of(run) for name, run in runs.items()}
    if unowned := [name for name, owner in owners.items() if owner is None]:
        raise SemcomError(
            f"compare_models {unowned[0]!r}: must be a module, or a method of one; else its parameters are not known"
        )
    samples = len(
        inputs[0]
        if isinstance(inputs, (tuple, list))
        else next(iter(inputs.values()))
        if isinstance(inputs, Mapping)
        else inputs
    )
    seconds = _seconds(runs, owners, inputs, repeats)
    rows = []
    for name, run in runs.items():
        weights = models[name] if isinstance(models[name], Transceiver) else owners[name]
        found = {
            "parameters": sum(p.numel() for p in weights.parameters()),
            "bytes": checkpoint.weights_size(weights),
            "flops": _flops(run, owners[name], inputs) / samples,
            "latency_ms": 1000 * seconds[name] / samples,
        }
        first = rows[0] if rows else found
        row = {"model": name}
        for measure, figure in found.items():
            row |= {measure: figure, f"{measure}_ratio": figure / first[measure] if first[measure] else None}
        rows.append(row)
    return rows


def _flops(run: Model, owner: nn.Module, inputs: Any) -> int:
    # The counter does not know the CPU's fused attention, nor linear maps in inference mode.
    with (
        torch.no_grad(),
        Evaluating(owner),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        called(run, inputs)
    return counter.get_total_flops()


def _seconds(
    runs: Mapping[str, Model], owners: Mapping[str, nn.Module], inputs: Any, repeats: int
) -> dict[str, float]:
    """Median seconds of a forward of each, in turn, so that a machine that slows down slows all."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(WARM_UP + repeats):
        for name, run in runs.items():
            with torch.no_grad(), Evaluating(owners[name]):
                _wait()
                started = time.perf_counter()
                called(run, inputs)
                _wait()
            if number >= WARM_UP:
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
