"""What is trained, as modules: ``forward(batch, draw)`` returns named sums over rows, {name: (sum, rows)}.

A row is a real target token (or a real source token for signals). ``weights`` says how the means of the named terms
add up to the loss. One module owns the trained ends and the frozen ones, so one wrapper sees the whole step.
"""

import torch
from torch import Tensor, nn

from semcom import fused, losses
from semcom.batching import Batch
from semcom.channel import Channel, Draw, apply
from semcom.errors import SemcomError
from semcom.fused import Projected
from semcom.transceiver import Transceiver

Terms = dict[str, tuple[Tensor, int]]


class TransceiverObjective(nn.Module):
    """Cross-entropy of a transceiver through its channel."""

    weights = {"ce": 1.0}

    def __init__(self, transceiver: Transceiver, channel: Channel, snr_range: tuple[float, float], *, compiled: bool = False):
        super().__init__()
        self.model = transceiver
        self.compiled = compiled
        self.channel = channel
        self.snr_range = snr_range

    def forward(self, batch: Batch, draw: Draw) -> Terms:
        signal, _ = self.model.transmitter(batch.source, batch.source_mask)
        received = apply(self.channel, signal, draw, draw.snr_between(*self.snr_range))
        state = self.model.receiver(received, batch.source_mask, batch.target_in)
        real = state[batch.target_mask]
        ce = fused.cross_entropy(Projected(real, self.model.receiver.projection), batch.target_out[batch.target_mask],
                                 compiled=self.compiled)
        return {"ce": (ce, len(real))}


class Frozen(nn.Module):
    """A module that cannot learn and cannot leave eval mode; gradient still flows through it to its inputs."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Frozen":
        return self

    def forward(self, *args):
        return self.module(*args)


class DistillationObjective(nn.Module):
    """(1 - weight) * CE + weight * T^2 KL(teacher/T || student/T) + feature weight * MSE, under one draw for both models.

    part: "full", "encoder" or "decoder": what of ``student`` is trained. In part modes the other end is the teacher's,
    frozen; gradient flows through it to the signal, none to its weights. Feature terms compare the transmitted signals
    where the transmitter is trained, and the final decoder states where the receiver is.
    """

    def __init__(self, part: str, teacher: Transceiver, student: Transceiver, channel: Channel, snr_range: tuple[float, float], *,
                 temperature: float, distill_weight: float, feature_weight: float = 0.0, compiled: bool = False):
        super().__init__()
        self.compiled = compiled
        self.channel, self.snr_range, self.temperature = channel, snr_range, temperature
        self.trains_transmitter, self.trains_receiver = part != "decoder", part != "encoder"
        self.teacher = Frozen(teacher)
        self.transmitter = student.transmitter if self.trains_transmitter else Frozen(student.transmitter)
        self.receiver = student.receiver if self.trains_receiver else Frozen(student.receiver)
        self.weights = {"ce": 1 - distill_weight}
        if distill_weight > 0:
            self.weights["kd"] = distill_weight
        if feature_weight > 0:
            if self.trains_transmitter:
                self.weights["signal"] = feature_weight
            if self.trains_receiver:
                ours, theirs = student.architecture.receiver.d_model, teacher.architecture.receiver.d_model
                if ours != theirs:
                    raise SemcomError(f"--feature-weight {feature_weight:g}: compares decoder states, which are {ours} wide in the student "
                                      f"and {theirs} in the teacher; give --feature-weight 0, or equal widths")
                self.weights["state"] = feature_weight

    def forward(self, batch: Batch, draw: Draw) -> Terms:
        snr, mask = draw.snr_between(*self.snr_range), batch.target_mask
        targets = batch.target_out[mask]
        # In decoder mode both receivers hear the same frozen transmitter: it and the channel run once.
        with torch.set_grad_enabled(self.trains_transmitter and torch.is_grad_enabled()):
            signal, _ = self.transmitter(batch.source, batch.source_mask)
            received = apply(self.channel, signal, draw, snr)
        state = self.receiver(received, batch.source_mask, batch.target_in)[mask]
        ours = Projected(state, _inside(self.receiver).projection)
        terms: Terms = {}
        if not self.training or "kd" not in self.weights:
            terms["ce"] = (fused.cross_entropy(ours, targets, compiled=self.compiled), len(targets))
        if not self.training or self.weights.keys() == {"ce"}:
            return terms
        with torch.no_grad():
            teacher = self.teacher.module
            teacher_signal, teacher_received = signal, received
            if self.trains_transmitter:
                teacher_signal, _ = teacher.transmitter(batch.source, batch.source_mask)
                teacher_received = apply(self.channel, teacher_signal, draw, snr)
            teacher_state = teacher.receiver(teacher_received, batch.source_mask, batch.target_in)[mask]
        if "kd" in self.weights:
            theirs = Projected(teacher_state, teacher.receiver.projection)
            ce, kd = fused.distillation(ours, theirs, targets, self.temperature, (self.weights["ce"], self.weights["kd"]), compiled=self.compiled)
            terms |= {"ce": (ce, len(targets)), "kd": (kd, len(targets))}
        if "signal" in self.weights:
            sent = batch.source_mask
            terms["signal"] = (losses.feature_mse(signal[sent], teacher_signal[sent]).sum(), sum(batch.lengths))
        if "state" in self.weights:
            terms["state"] = (losses.feature_mse(state, teacher_state).sum(), len(targets))
        return terms


def _inside(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, Frozen) else module
