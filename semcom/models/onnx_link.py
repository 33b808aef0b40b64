"""Ends that run on onnxruntime, made of the folder that ``export --format onnx`` writes.

They are a transmitter and a receiver as all others: decoding, channels and scores take them as they are. They
run on the CPU, on as many threads as torch has at the time, whatever device the tensors are on. Optional: pip
install .[onnx].

Letters: B sentences, S source tokens, T target tokens, K hypotheses a sentence, V pieces, C real channel
dimensions a token, L layers, H heads, E = D/H width of a head.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semcom.base.errors import SemcomError, escape
from semcom.models.channel_parts import normalize_power
from semcom.models.checkpoint import Checkpoint
from semcom.models.onnx_folder import START, STEP, TRANSMITTER
from semcom.models.onnx_reading import OnnxFolder, read
from semcom.models.protocols import Receiver, Transmitter
from semcom.models.transceiver import Transceiver

INSTALL = "install it with: pip install .[onnx]"
NOTHING_LOGGED = 4
"""Of onnxruntime's levels of logging: what goes wrong is raised too."""
OUTSIDE = "session.model_external_initializers_file_folder_path"
"""Of onnxruntime's settings: the folder of weights that are not in the graph."""
POWER_TOLERANCE = 1e-3
"""Of power 1; rounding differs by a thousandth of it."""
SIGNATURES = {
    TRANSMITTER: ({"source": "int64", "source_mask": "bool"}, 1),
    START: ({"received": "float", "source_mask": "bool"}, 2),
    STEP: (
        {
            "tokens": "int64",
            "keys": "float",
            "values": "float",
            "memory_keys": "float",
            "memory_values": "float",
            "source_mask": "bool",
        },
        3,
    ),
}
"""Of each graph: its inputs and what they are of, and how many outputs it has, in their order all of
float32."""


class Graph:
    """A graph of ONNX, run with as many threads as torch has when it is called."""

    def __init__(self, where: str, name: str, serialized: bytes):
        """where: how errors begin."""
        self.where, self.name, self.serialized = where, name, serialized
        self._sessions: dict[int, Any] = {}
        self._making = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process makes its own sessions."""
        return Graph, (self.where, self.name, self.serialized)

    def __call__(self, given: Mapping[str, Tensor]) -> list[Tensor]:
        """Tensors by name -> the outputs in their order, on the device of what is given."""
        device = next(iter(given.values())).device
        arrays = {name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in given.items()}
        session = self.session()
        try:
            made = session.run(None, arrays)
        except Exception as error:
            raise self._wrong("cannot be run", error) from error
        return [torch.from_numpy(array).to(device) for array in made]

    def session(self) -> Any:
        """onnxruntime's, for this many threads made once."""
        threads = torch.get_num_threads()
        with self._making:
            if threads not in self._sessions:
                self._sessions[threads] = self._made(threads)
            return self._sessions[threads]

    def _made(self, threads: int) -> Any:
        runtime = onnxruntime(self.where)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = NOTHING_LOGGED
        options.add_session_config_entry(OUTSIDE, os.devnull)  # no folder: no weights from anywhere else
        try:
            made = runtime.InferenceSession(self.serialized, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise self._wrong("is no graph that onnxruntime takes", error) from error
        self._check(made)
        return made

    def _check(self, session: Any) -> None:
        inputs, outputs = SIGNATURES[self.name]
        taken = {each.name: each.type for each in session.get_inputs()}
        given = [each.type for each in session.get_outputs()]
        expected = {name: f"tensor({kind})" for name, kind in inputs.items()}
        if taken != expected or given != ["tensor(float)"] * outputs:
            raise SemcomError(
                f"{self.where}: {self.name} takes {escape(' '.join(taken))[:120]}, expected are "
                f"{' '.join(expected)}; export it again"
            )

    def _wrong(self, what: str, error: Exception) -> SemcomError:
        why = " ".join(escape(error).split())[:160]
        return SemcomError(f"{self.where}: {self.name} {what} ({why}); export it again")


def onnxruntime(where: str) -> Any:
    """The package. Raises SemcomError that begins with ``where`` if it is not installed."""
    try:
        import onnxruntime as package
    except ImportError:
        raise SemcomError(f"{where}: is run by onnxruntime, which is not installed; {INSTALL}") from None
    return package


class OnnxTransmitter(Transmitter):
    """Its encoder state, which the graph does not give, has width 0."""

    def __init__(self, folder: OnnxFolder):
        super().__init__(folder.architecture.transmitter)
        self.graph = Graph(folder.where, TRANSMITTER, folder.graphs[TRANSMITTER])
        self.channel_dim = folder.architecture.channel_dim
        self.digest = folder.digests[TRANSMITTER]

    @property
    def beside_weights(self) -> str:
        return f"onnx {self.digest}"

    @property
    def bytes_on_disk(self) -> int:
        return len(self.graph.serialized)

    def forward(self, source: Tensor, source_mask: Tensor) -> tuple[Tensor, Tensor]:
        (signal,) = self.graph({"source": source, "source_mask": source_mask})
        _check_shape(self.graph, signal, (*source.shape, self.channel_dim))
        _check_power(self.graph, signal, source_mask)
        return signal, signal[..., :0]


class OnnxReceiver(Receiver):
    """Its graphs give logits, so these are its states: D = V."""

    def __init__(self, folder: OnnxFolder):
        a = folder.architecture
        super().__init__(a.receiver)
        self.told_snr, self.vocab_size = a.snr_aware, a.vocab_size
        self.begin = Graph(folder.where, START, folder.graphs[START])
        self.go_on = Graph(folder.where, STEP, folder.graphs[STEP])
        self.digests = folder.digests[START], folder.digests[STEP]

    @property
    def beside_weights(self) -> str:
        return f"onnx {' '.join(self.digests)}"

    @property
    def bytes_on_disk(self) -> int:
        return len(self.begin.serialized) + len(self.go_on.serialized)

    @property
    def hears_snr(self) -> bool:
        return self.told_snr

    @property
    def says_logits(self) -> bool:
        return True

    @property
    def projection(self) -> nn.Linear:
        raise SemcomError(f"{self.go_on.where}: a receiver on onnxruntime has no weights to look at")

    def project(self, state: Tensor) -> Tensor:
        return state

    def forward(self, received: Tensor, source_mask: Tensor, target_in: Tensor) -> Tensor:
        """A token after the other, as the graphs have it: [B, T, V]."""
        state = self.start(received, source_mask)
        return torch.stack([state.step(tokens) for tokens in target_in.unbind(1)], 1)

    def start(self, received: Tensor, source_mask: Tensor, width: int = 1) -> "OnnxState":
        longest = int(source_mask.any(0).nonzero().max()) + 1
        heard, mask = received[:, :longest], source_mask[:, :longest]
        memory = self.begin({"received": heard, "source_mask": mask})
        for each in memory:
            _check_shape(self.begin, each, (None, len(heard), None, longest, None))
        return OnnxState(self.go_on, self.vocab_size, memory, mask, width)


class OnnxState:
    """What the receiver remembers of B·K rows: keys and values of what was received and of the tokens so
    far, each [L, B·K, H, S or T, E]."""

    def __init__(self, graph: Graph, vocab_size: int, memory: list[Tensor], mask: Tensor, width: int):
        """memory: keys and values, [L, B, H, S, E] each; mask: [B, S]; width: K."""
        self.graph, self.vocab_size = graph, vocab_size
        self.memory_keys, self.memory_values = (each.repeat_interleave(width, 1) for each in memory)
        self.mask = mask.repeat_interleave(width, 0)
        self.keys, self.values = self.memory_keys[:, :, :, :0], self.memory_values[:, :, :, :0]

    def step(self, tokens: Tensor) -> Tensor:
        """[B·K] -> [B·K, V]."""
        logits, self.keys, self.values = self.graph(
            {
                "tokens": tokens,
                "keys": self.keys,
                "values": self.values,
                "memory_keys": self.memory_keys,
                "memory_values": self.memory_values,
                "source_mask": self.mask,
            }
        )
        _check_shape(self.graph, logits, (len(tokens), self.vocab_size))
        return logits

    def reorder(self, sentences: Tensor, rows: Tensor) -> None:
        if len(rows) < len(self.mask):
            self.mask = self.mask[rows]
            self.memory_keys, self.memory_values = self.memory_keys[:, rows], self.memory_values[:, rows]
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]


class OnnxTransceiver(Transceiver):
    """Both ends of a folder. precision: of the products, ``fp32`` or ``int8``."""

    transmitter: OnnxTransmitter
    receiver: OnnxReceiver

    def __init__(self, folder: OnnxFolder):
        nn.Module.__init__(self)  # that of a transceiver would build ends that have weights
        self.architecture, self.precision = folder.architecture, folder.precision
        self.transmitter = OnnxTransmitter(folder)
        self.receiver = OnnxReceiver(folder)


def load(path: str | Path) -> Checkpoint:
    """A folder as if it were a checkpoint: its ends run on onnxruntime, its fingerprint is its own.

    Raises SemcomError for a folder that is not there, damaged or foreign, and where onnxruntime is not
    installed.
    """
    onnxruntime(f"onnx folder {escape(path)}")
    folder = read(path)
    model = OnnxTransceiver(folder)
    for graph in (model.transmitter.graph, model.receiver.begin, model.receiver.go_on):
        graph.session()
    return Checkpoint(
        model.eval(), folder.vocabulary, folder.origin, folder.metrics, folder.config, str(path)
    )


def _check_power(graph: Graph, signal: Tensor, mask: Tensor) -> None:
    """At another power than that of all other transmitters, an SNR would say something else."""
    off = (signal - normalize_power(signal, mask)).abs().max()
    if not off <= POWER_TOLERANCE * signal.abs().max():
        raise SemcomError(
            f"{graph.where}: {graph.name} sends at another power than 1 per complex symbol and sentence; "
            "export it again"
        )


def _check_shape(graph: Graph, made: Tensor, expected: tuple[int | None, ...]) -> None:
    """None: any size."""
    fits = made.dim() == len(expected) and all(e in (None, n) for n, e in zip(made.shape, expected))
    if not fits:
        raise SemcomError(
            f"{graph.where}: {graph.name} makes something of shape {tuple(made.shape)}, expected is "
            f"{expected}; export it again"
        )
