"""The ends of a transceiver as ONNX graphs: what is sent of a sentence, and decoding in two, its start and
its step with cached keys and values.

torch's exporter makes the graphs of the modules themselves, so power rule, fronts and amplitude are in them.
Letters: B sentences, S source tokens, T target tokens so far, V pieces, C real channel dimensions a token (C
+ 1 where the receiver is told the SNR), L layers, H heads, D width of the receiver's states.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from semcom.base.errors import SemcomError
from semcom.models.onnx_folder import START, STEP, TRANSMITTER
from semcom.models.protocols import Receiver, Transmitter
from semcom.models.transceiver import Transceiver

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
INSTALL = "install it with: pip install .[onnx]"
EXAMPLE = {"B": 2, "S": 3, "T": 4}
"""Sizes at which the modules are traced; none of the three is fixed by it."""
PLACES = {"tokens": "B", "source": "BS", "source_mask": "BS", "received": "BS"}
CACHES = {"keys": "T", "values": "T", "memory_keys": "S", "memory_values": "S"}


@dataclass(frozen=True)
class Graph:
    """A module as it is traced. given: its arguments by name, examples; made: names of its outputs."""

    file: str
    module: nn.Module
    given: dict[str, Tensor]
    made: tuple[str, ...]


class Sending(nn.Module):
    """[B, S] ids and mask -> the signal [B, S, C] alone."""

    def __init__(self, transmitter: Transmitter):
        super().__init__()
        self.transmitter = transmitter

    def forward(self, source: Tensor, source_mask: Tensor) -> Tensor:
        signal, _ = self.transmitter(source, source_mask)
        return signal


def check_installed() -> None:
    """Raise SemcomError where a package of the extra is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SemcomError(f"--format onnx: the package {error.name} is not installed; {INSTALL}") from None


def graphs_of(model: Transceiver) -> list[Graph]:
    """Raises SemcomError for a receiver of a kind that cannot decode without a state of its own."""
    b, s, t = EXAMPLE.values()
    receiver = model.receiver
    ids, mask = torch.zeros(b, s, dtype=torch.long), torch.ones(b, s, dtype=torch.bool)
    start, step = _stateless(receiver)
    received = torch.zeros(b, s, model.architecture.channel_dim + receiver.hears_snr)
    with torch.no_grad():
        memory_keys, memory_values = start(received, mask)
    layers, _, heads, _, width = memory_keys.shape
    past = torch.zeros(layers, b, heads, t, width)
    memory = {"memory_keys": memory_keys, "memory_values": memory_values}
    sent = {"source": ids, "source_mask": mask}
    heard = {"received": received, "source_mask": mask}
    said = {"tokens": ids[:, 0], "keys": past, "values": past.clone(), **memory, "source_mask": mask}
    return [
        Graph(TRANSMITTER, Sending(model.transmitter), sent, ("signal",)),
        Graph(START, start, heard, tuple(memory)),
        Graph(STEP, step, said, ("logits", "grown_keys", "grown_values")),
    ]


def _stateless(receiver: Receiver) -> tuple[nn.Module, nn.Module]:
    found = receiver.stateless()
    if found is None:
        raise SemcomError(
            f"--format onnx: no graph can be made of a receiver of kind {receiver.size.kind}, which keeps a "
            "state of its own while it decodes; one of kind transformer can be exported"
        )
    return found


def write(graph: Graph, folder: Path) -> None:
    """The graph as a file. Raises SemcomError where torch's exporter cannot make one."""
    import onnx

    dims = {name: torch.export.Dim(name) for name in EXAMPLE}
    axes = {name: {place: dims[dim] for place, dim in _axes(name)} for name in graph.given}
    with torch.no_grad(), quiet():
        try:
            made = torch.onnx.export(
                graph.module.eval(),
                kwargs=graph.given,
                input_names=list(graph.given),
                output_names=list(graph.made),
                dynamic_shapes=axes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            said = str(error).split("\n")[0]
            raise SemcomError(f"{graph.file}: torch's exporter does not take this end: {said}") from error
    assert made is not None
    proto = made.model_proto
    _forget_where_it_was_made(proto)
    onnx.save(proto, folder / graph.file)


def _axes(name: str) -> list[tuple[int, str]]:
    """Axes of an input that are of any size, and the letters of these."""
    return [(1, "B"), (3, CACHES[name])] if name in CACHES else list(enumerate(PLACES[name]))


def _forget_where_it_was_made(proto: "ModelProto") -> None:
    """The exporter notes lines of source and their paths on this machine at each node."""
    graph = proto.graph
    for each in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        each.ClearField("doc_string")
        each.ClearField("metadata_props")


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter warns of packages that are not needed and of its own deprecations; the quantiser does so
    by the root logger, and gives it a handler."""
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, ("torch.onnx", "torch.export", "onnxscript", "onnx_ir"))]
    levels, handlers = [logger.level for logger in loggers], list(root.handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            root.handlers[:] = handlers
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)
