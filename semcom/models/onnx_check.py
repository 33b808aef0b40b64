"""What onnxruntime makes of exported graphs, held against torch.

Letters: B sentences, S source tokens, T target tokens, V pieces, C real channel dimensions a token.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from semcom.base.errors import SemcomError
from semcom.data.vocabulary import BOS, UNK
from semcom.models.link import heard_by
from semcom.models.onnx_folder import GRAPHS, START, STEP, TRANSMITTER
from semcom.models.transceiver import Transceiver

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

LENGTHS = (1, 4, 9, 17)
"""Of the sentences that are tried, in one batch and so with padding."""
STEPS = 12
SNR_DB, SEED = 6.0, 24
TOLERANCE = 1e-3
"""Of the largest value; rounding differs by a hundredth of it, a wrong graph by hundreds of it."""


@dataclass(frozen=True)
class Differences:
    """The largest from torch's: of the signal, whose power is 1, and of logits, of which the largest is
    ``scale``."""

    signal: float
    logits: float
    scale: float

    def __str__(self) -> str:
        return f"signal by at most {self.signal:.1e}, logits of up to {self.scale:.1f} by {self.logits:.1e}"


def check(model: Transceiver, folder: Path) -> Differences:
    """Raise SemcomError for graphs that differ from the model by more than rounding."""
    found = differences(model, folder)
    agree = found.signal <= TOLERANCE and found.logits <= TOLERANCE * max(1.0, found.scale)
    if not agree:
        raise SemcomError(
            f"--format onnx: nothing was made, the graphs do not do what the checkpoint does: {found}; "
            "install torch, onnxscript and onnxruntime as requirements-dev.txt names them, and export again"
        )
    return found


@torch.no_grad()
def differences(model: Transceiver, folder: Path) -> Differences:
    """On random pieces through noise, those of the receiver told by the parallel pass of torch."""
    pieces = torch.Generator().manual_seed(SEED)
    source, mask, said = _sentences(model, pieces)
    runs = {name: session(folder / name) for name in GRAPHS}
    wanted, _ = model.transmitter(source, mask)
    sent = _run(runs[TRANSMITTER], source=source, source_mask=mask)[0]
    noise = torch.randn(wanted.shape, generator=pieces) * (10 ** (-SNR_DB / 10) / 2) ** 0.5
    received = heard_by(model.receiver, wanted + noise, SNR_DB)
    logits = model.receiver.project(model.receiver(received, mask, said))
    told = _told(runs[START], runs[STEP], received, mask, said)
    return Differences(_largest(sent - wanted), _largest(told - logits), _largest(logits))


def _sentences(model: Transceiver, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random pieces [B, S], their mask, and random prefixes [B, T] behind a bos."""
    vocab_size, longest = model.architecture.vocab_size, max(LENGTHS)
    mask = torch.arange(longest) < torch.tensor(LENGTHS)[:, None]
    shape = (len(LENGTHS), longest)
    source = torch.randint(UNK, vocab_size, shape, generator=generator) * mask
    said = torch.randint(UNK, vocab_size, (len(LENGTHS), STEPS), generator=generator)
    said[:, 0] = BOS
    return source, mask, said


def _told(
    start: "InferenceSession", step: "InferenceSession", received: Tensor, mask: Tensor, said: Tensor
) -> Tensor:
    """Logits [B, T, V] of the given prefixes, a token at a time."""
    memory_keys, memory_values = _run(start, received=received, source_mask=mask)
    layers, rows, heads, _, width = memory_keys.shape
    keys = values = torch.zeros(layers, rows, heads, 0, width)
    memory = {"memory_keys": memory_keys, "memory_values": memory_values, "source_mask": mask}
    told = []
    for tokens in said.T:
        logits, keys, values = _run(step, tokens=tokens, keys=keys, values=values, **memory)
        told.append(logits)
    return torch.stack(told, 1)


def session(path: Path) -> "InferenceSession":
    """Of a graph, on the CPU; it warns of nothing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(session: "InferenceSession", **given: Tensor) -> list[Tensor]:
    made = session.run(None, {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in given.items()})
    return [torch.from_numpy(each) for each in made]


def _largest(x: Tensor) -> float:
    return float(x.abs().max())
