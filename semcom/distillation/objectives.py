"""What is trained, as modules: ``forward(batch, draw)`` returns named sums over rows, {name: (sum, rows)}.

A row is a real target token, a real source token for what the transmitter makes, or a segment. ``weights``
says how the means of the named terms add up to the loss; terms that it does not name are for the log. One
module owns the trained ends and the frozen ones, so one wrapper sees the whole step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from semcom.base import precision
from semcom.channel.channels import Channel, Draw, apply
from semcom.data.batching import Batch
from semcom.distillation import fused_linear_loss, kd_loss, losses
from semcom.distillation.fused_linear_loss import Mean, Projected
from semcom.distillation.settings import DistillationConfig, TransferConfig
from semcom.models.kernels import native, packed_forward
from semcom.models.transceiver import Architecture, Transceiver

Terms = dict[str, tuple[Tensor, int]]


class _Padded:
    """The two ends of a link over a batch. What is made of real tokens comes as rows: M source tokens, N
    target tokens."""

    def __init__(self, batch: Batch):
        self.batch = batch

    def transmit(self, transmitter: nn.Module) -> tuple[Tensor, Tensor]:
        """Signal [B, S, C], encoder state [M, D]."""
        signal, state = transmitter(self.batch.source, self.batch.source_mask)
        return signal, state[self.batch.source_mask]

    def receive(self, receiver: nn.Module, received: Tensor) -> Tensor:
        """What arrived, [B, S, C] -> decoder state [N, D]."""
        return receiver(received, self.batch.source_mask, self.batch.target_in)[self.batch.target_mask]


class _Packed(_Padded):
    """The same by ``packed``."""

    def __init__(self, batch: Batch):
        super().__init__(batch)
        self.sent, self.said = (
            packed_forward.Spans.of(batch.source_mask),
            packed_forward.Spans.of(batch.target_mask),
        )

    def transmit(self, transmitter: nn.Module) -> tuple[Tensor, Tensor]:
        return packed_forward.transmit(
            _inside(transmitter), self.batch.source, self.batch.source_mask, self.sent
        )

    def receive(self, receiver: nn.Module, received: Tensor) -> Tensor:
        return packed_forward.receive(_inside(receiver), received, self.sent, self.batch.target_in, self.said)


def _ends(objective: "TransceiverObjective | DistillationObjective", batch: Batch) -> _Padded:
    device = batch.source.device
    packs = (
        objective.compiled
        and device.type == "cpu"
        and all(p.dtype == torch.float32 for p in objective.parameters())
        and (precision.product_dtype(device) or torch.float32) in native.SUFFIXES
    )
    return (_Packed if packs else _Padded)(batch)


class TransceiverObjective(nn.Module):
    """Cross-entropy of a transceiver through its channel."""

    weights = {"ce": 1.0}
    progress = 0.0

    def __init__(
        self,
        transceiver: Transceiver,
        channel: Channel,
        snr_range: tuple[float, float],
        *,
        compiled: bool = False,
    ):
        super().__init__()
        self.model = transceiver
        self.compiled = compiled
        self.channel = channel
        self.snr_range = snr_range

    def forward(self, batch: Batch, draw: Draw) -> Terms:
        ends = _ends(self, batch)
        signal, _ = ends.transmit(self.model.transmitter)
        received = apply(self.channel, signal, draw, draw.snr_between(*self.snr_range))
        real = ends.receive(self.model.receiver, received)
        ce = fused_linear_loss.cross_entropy(
            Projected(real, self.model.receiver.projection),
            batch.target_out[batch.target_mask],
            compiled=self.compiled,
        )
        return {"ce": (ce, len(real))}


class Frozen(nn.Module):
    """A module that cannot learn and cannot leave eval mode; gradient still flows through it to its
    inputs."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Frozen":
        return self

    def forward(self, *args):
        return self.module(*args)


@dataclass(frozen=True)
class _Heard:
    """What one teacher says of a batch: its transmission, and its decoder states at the N real target tokens.

    signal: [B, S, C]; encoder_state: [M, D], None where the student's transmitter is this teacher's;
    received: [B, S, C]; rows.state: [N, D].
    """

    signal: Tensor
    encoder_state: Tensor | None
    received: Tensor
    rows: Projected


class DistillationObjective(nn.Module):
    """(1 - a) * CE + a * KD, with what ``transfer`` adds, under one draw for all models.

    settings.distill_part: "full", "encoder" or "decoder": what of ``student`` is trained. In part modes the
    other end is the first teacher's, frozen; gradient flows through it to the signal, none to its weights.
    Features are compared with the first teacher's; where widths differ a linear map is learned beside the
    student, and dropped with the objective.

    progress: share of the run that is done, which schedules follow. Terms beside those of ``weights`` are for
    the log: the two sides of "distillation", and the share of segments that are complementary.
    """

    progress = 0.0

    def __init__(
        self,
        teachers: Sequence[Transceiver],
        student: Transceiver,
        channel: Channel,
        snr_range: tuple[float, float],
        settings: DistillationConfig,
        transfer: TransferConfig | None = None,
        *,
        seed: int = 0,
        compiled: bool = False,
    ):
        super().__init__()
        transfer = transfer or TransferConfig()
        part = settings.distill_part
        self.settings, self.transfer = settings, transfer
        self.channel, self.snr_range, self.compiled = channel, snr_range, compiled
        self.trains_transmitter, self.trains_receiver = part != "decoder", part != "encoder"
        self.teachers = Frozen(nn.ModuleList(teachers))
        given = transfer.teacher_weights or (1.0,) * len(teachers)
        self.shares = tuple(weight / sum(given) for weight in given)
        self.transmitter = student.transmitter if self.trains_transmitter else Frozen(student.transmitter)
        self.receiver = student.receiver if self.trains_receiver else Frozen(student.receiver)
        self.row_loss = None if settings.by_hand else kd_loss.row_loss(settings)
        self.feature = losses.feature_mse if transfer.feature_loss == "mse" else losses.feature_cosine
        features = transfer.feature_weights(part)
        self.weights = {"distillation" if settings.distils else "ce": 1.0, **features}
        self.weights |= {"scales": settings.scale_weight} if settings.scales else {}
        self.weights |= (
            dict.fromkeys(("cross_transmitter", "cross_receiver"), transfer.cross_weight)
            if transfer.cross_weight
            else {}
        )
        self.maps = _feature_maps(student.architecture, teachers[0].architecture, features, seed)

    def forward(self, batch: Batch, draw: Draw) -> Terms:
        snr, mask = draw.snr_between(*self.snr_range), batch.target_mask
        targets = batch.target_out[mask]
        # In decoder mode both receivers hear the same frozen transmitter: it and the channel run once.
        ends = _ends(self, batch)
        with torch.set_grad_enabled(self.trains_transmitter and torch.is_grad_enabled()):
            signal, encoder_state = ends.transmit(self.transmitter)
            received = apply(self.channel, signal, draw, snr)
        state = ends.receive(self.receiver, received)
        ours = Projected(state, _inside(self.receiver).projection)
        if not self.training or self.weights.keys() == {"ce"}:
            return {
                "ce": (fused_linear_loss.cross_entropy(ours, targets, compiled=self.compiled), len(targets))
            }
        heard = self._listen(ends, draw, snr, None if self.trains_transmitter else (signal, received))
        teacher = Mean([h.rows for h in heard], self.shares, self.transfer.teacher_mean == "probabilities")
        level = draw.level.repeat_interleave(mask.sum(1))
        terms = self._compare(ours, teacher, targets, level)
        if "scales" in self.weights:
            terms |= self._segments(ours, teacher, mask.sum(1), draw.level)
        first, sent = heard[0], batch.source_mask
        if "encoder" in self.weights:
            terms["encoder"] = self._feature("encoder", encoder_state, first.encoder_state)
        if "signal" in self.weights:
            terms["signal"] = self._feature("signal", signal[sent], first.signal[sent])
        if "decoder" in self.weights:
            terms["decoder"] = self._feature("decoder", state, first.rows.state)
        if "cross_receiver" in self.weights:
            listener = self.teachers.module[0].receiver
            crossed = {
                "cross_transmitter": (listener, received),
                "cross_receiver": (self.receiver, first.received),
            }
            for name, (receiver, arrived) in crossed.items():
                rows = Projected(ends.receive(receiver, arrived), receiver.projection)
                terms[name] = next(iter(self._compare(rows, teacher, targets, level).values()))
        return terms

    @torch.no_grad()
    def _listen(
        self, ends: _Padded, draw: Draw, snr: Tensor, shared: tuple[Tensor, Tensor] | None
    ) -> list[_Heard]:
        """Each teacher's own transmission as its own receiver hears it; ``shared``, the first one's signal
        and what arrived of it."""
        heard = []
        for teacher in self.teachers.module:
            if shared:
                (signal, received), encoder_state, shared = shared, None, None
            else:
                signal, encoder_state = ends.transmit(teacher.transmitter)
                received = apply(self.channel, signal, draw, snr)
            state = ends.receive(teacher.receiver, received)
            heard.append(
                _Heard(signal, encoder_state, received, Projected(state, teacher.receiver.projection))
            )
        return heard

    def _compare(self, ours: Projected, teacher: Mean, targets: Tensor, level: Tensor) -> Terms:
        """The loss of N rows first, then its two sides for the log. level: [N], the place of a row's SNR in
        the training range."""
        if not self.settings.distils:
            return {
                "ce": (fused_linear_loss.cross_entropy(ours, targets, compiled=self.compiled), len(targets))
            }
        sums = fused_linear_loss.distillation(
            ours,
            teacher,
            targets,
            kd_loss.temperature(self.settings, self.progress, level),
            kd_loss.weights(self.settings, self.progress, level),
            row_loss=self.row_loss,
            compiled=self.compiled,
        )
        return {name: (total, len(targets)) for name, total in zip(("distillation", "ce", "kd"), sums)}

    def _segments(self, ours: Projected, teacher: Mean, lengths: Tensor, level: Tensor) -> Terms:
        """Scale Decoupled Distillation on the time axis: the mean over the segments of all scales, weighted
        as distillation is.

        lengths: [B] real target tokens; level: [B].
        """
        cuts = [losses.segments(lengths, scale) for scale in self.settings.scales]
        sentence = torch.cat([sentence for _, sentence in cuts])

        def pooled(rows: Projected, cuts: list[tuple[Tensor, Tensor]]) -> Projected:
            means = [losses.pool(rows.state, segment, len(sentence)) for segment, sentence in cuts]
            return Projected(torch.cat(means), rows.projection)

        theirs = replace(teacher, members=[pooled(m, cuts) for m in teacher.members])
        whole = replace(teacher, members=[pooled(m, [losses.segments(lengths, 1)]) for m in teacher.members])
        seen, in_all = fused_linear_loss.classes(theirs), fused_linear_loss.classes(whole)[sentence]
        _, weight = kd_loss.weights(self.settings, self.progress, level[sentence])
        weight = weight * losses.complementary(seen, in_all, self.settings.complementary_weight)
        sums = fused_linear_loss.distillation(
            pooled(ours, cuts),
            theirs,
            seen,
            kd_loss.temperature(self.settings, self.progress, level[sentence]),
            (0.0, weight),
            row_loss=self.row_loss,
            compiled=self.compiled,
        )
        return {"scales": (sums.loss, len(seen)), "complementary": ((seen != in_all).sum(), len(seen))}

    def _feature(self, name: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, int]:
        mapped = self.maps[name](student).float() if name in self.maps else student
        return self.feature(mapped, teacher).sum(), len(teacher)


def _feature_maps(
    student: Architecture, teacher: Architecture, features: Iterable[str], seed: int
) -> nn.ModuleDict:
    """Linear maps from the student's widths to the teacher's, where they differ."""
    ends = {"encoder": "transmitter", "decoder": "receiver"}
    maps, generator = nn.ModuleDict(), torch.Generator().manual_seed(seed)
    for name in sorted(ends.keys() & set(features)):
        ours, theirs = (getattr(a, ends[name]).d_model for a in (student, teacher))
        if ours != theirs:
            maps[name] = nn.Linear(ours, theirs, bias=False)
            nn.init.normal_(maps[name].weight, std=ours**-0.5, generator=generator)
    return maps


def _inside(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, Frozen) else module
