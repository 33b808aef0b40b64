"""What is trained, as modules: ``forward(batch, draw)`` returns named sums over rows, {name: (sum, rows)}.

A row is a real target token, a real source token for what the transmitter makes, or a segment. ``weights``
says how the means of the named terms add up to the loss; terms that it does not name are for the log. One
module owns the trained ends and the frozen ones, so one wrapper sees the whole step.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from semcom.base import precision
from semcom.base.device import copied
from semcom.channel.channels import Channel
from semcom.channel.draws import Draw
from semcom.data.batching import Batch
from semcom.distillation import fused_linear_loss, kd_loss, losses
from semcom.distillation.feature_maps import feature_maps
from semcom.distillation.projected_logits import Mean, Projected
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.task import Terms
from semcom.distillation.transfer_settings import TransferConfig
from semcom.models.link import heard_by
from semcom.models.protocols import Receiver, Transmitter
from semcom.models.spans import Spans
from semcom.models.transceiver import Transceiver


@dataclass(frozen=True)
class _Sent:
    """A batch on its way. signal, received: [B, S, C]; encoder_state: [M, D], at the M real source tokens;
    None where the signal was kept."""

    signal: Tensor
    encoder_state: Tensor | None
    received: Tensor


class _Link:
    """What carries a batch from any transmitter to any receiver: all meet one channel, draw and SNRs. What is
    made of real tokens comes as rows: M source tokens, N target tokens.

    snr: [B]. compiled: by the compiled kernels, on CPUs, where an end has them.
    """

    def __init__(self, batch: Batch, channel: Channel, draw: Draw, snr: Tensor, *, compiled: bool):
        self.batch, self.channel, self.draw, self.snr = batch, channel, draw, snr
        self.compiled = compiled and batch.source.device.type == "cpu"
        if self.compiled:
            self.sent, self.said = Spans.of(batch.source_mask), Spans.of(batch.target_mask)

    def send(self, transmitter: nn.Module, kept: Tensor | None = None) -> _Sent:
        """kept: the signal, where it is there already."""
        signal, encoder_state = (kept, None) if kept is not None else self._transmit(transmitter)
        return _Sent(signal, encoder_state, self.channel.apply(signal, self.draw, self.snr))

    def receive(self, receiver: nn.Module, received: Tensor) -> Projected:
        """What arrived, [B, S, C] -> logits of N rows."""
        end = _inside(receiver)
        assert isinstance(end, Receiver)
        heard = heard_by(end, received, self.snr)
        return Projected(self._decoder_state(receiver, heard), end.projection)

    def _transmit(self, transmitter: nn.Module) -> tuple[Tensor, Tensor]:
        """Signal [B, S, C], encoder state [M, D]."""
        return transmitted(transmitter, self.batch, self.sent if self.compiled else None)

    def _decoder_state(self, receiver: nn.Module, received: Tensor) -> Tensor:
        """What arrived, [B, S, C] -> decoder state [N, D]."""
        batch = self.batch
        if self.compiled:
            end = _inside(receiver)
            assert isinstance(end, Receiver)
            state = end.packed(received, self.sent, batch.target_in, self.said)
            if state is not None:
                return state
        return batch.of_targets(receiver(received, batch.source_mask, batch.target_in))


def transmitted(transmitter: nn.Module, batch: Batch, sent: Spans | None) -> tuple[Tensor, Tensor]:
    """Signal [B, S, C], encoder state [M, D]. sent: where tokens are, for the compiled kernels."""
    if sent is not None:
        end = _inside(transmitter)
        assert isinstance(end, Transmitter)
        made = end.packed(batch.source, batch.source_mask, sent)
        if made is not None:
            return made
    signal, state = transmitter(batch.source, batch.source_mask)
    return signal, batch.of_sources(state)


class TransceiverObjective(nn.Module):
    """Cross-entropy of a transceiver through its channel."""

    weights = {"ce": 1.0}
    progress: float | None = 0.0

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
        link = _Link(batch, self.channel, draw, draw.snr_between(*self.snr_range), compiled=self.compiled)
        sent = link.send(self.model.transmitter)
        rows = link.receive(self.model.receiver, sent.received)
        targets = batch.of_targets(batch.target_out)
        ce = fused_linear_loss.cross_entropy(rows, targets, compiled=self.compiled)
        return {"ce": (ce, len(targets))}


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
class _Outputs:
    """What a receiver makes of it, at the N real target tokens."""

    sent: _Sent
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

    progress: float | None = 0.0

    # Many arguments: who meets, through what, and what is compared, each used once.
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
        settings.check_of_segments()
        self.settings, self.transfer = settings, transfer or TransferConfig()
        self.channel, self.snr_range, self.compiled = channel, snr_range, compiled
        part = settings.distill_part
        self.trains_transmitter, self.trains_receiver = part != "decoder", part != "encoder"
        self.transmitter = student.transmitter if self.trains_transmitter else Frozen(student.transmitter)
        self.receiver = student.receiver if self.trains_receiver else Frozen(student.receiver)
        self.teachers = tuple(teachers)
        self.frozen = Frozen(nn.ModuleList(teachers))
        given = self.transfer.teacher_weights or (1.0,) * len(teachers)
        self.shares = tuple(weight / sum(given) for weight in given)
        self.row_loss = None if settings.by_hand else kd_loss.row_loss(settings)
        self.feature = losses.feature_mse if self.transfer.feature_loss == "mse" else losses.feature_cosine
        self.main_term = "distillation" if settings.distils else "ce"
        features = self.transfer.feature_weights(part)
        self.weights = {self.main_term: 1.0, **features}
        if settings.scales:
            self.weights["scales"] = settings.scale_weight
        if self.transfer.cross_weight:
            self.weights["cross_transmitter"] = self.weights["cross_receiver"] = self.transfer.cross_weight
        self.maps = feature_maps(student.architecture, teachers[0].architecture, features, seed)

    @property
    def unchanging(self) -> Sequence[nn.Module]:
        """Frozen transmitters of which a step needs the signals alone, which no draw changes. In decoder mode
        the first is the student's own."""
        if "encoder" in self.weights:
            return []
        own = [] if self.trains_transmitter else [self.transmitter]
        if self.weights.keys() == {"ce"}:
            return own
        return [*own, *(teacher.transmitter for teacher in self.teachers[len(own) :])]

    @torch.no_grad()
    def signals(self, batch: Batch) -> list[Tensor]:
        """[B, S, C] of each that is ``unchanging``."""
        compiled = self.compiled and batch.source.device.type == "cpu"
        sent = Spans.of(batch.source_mask) if compiled else None
        made = []
        for transmitter in self.unchanging:
            own = transmitter is self.transmitter
            with nullcontext() if own else self._teachers_products(batch.source.device):
                made.append(transmitted(transmitter, batch, sent)[0])
        return made

    def _teachers_products(self, device: torch.device) -> AbstractContextManager[None]:
        """What frozen teachers compute within is in their own precision."""
        kind = self.transfer.teacher_precision
        return nullcontext() if kind == "auto" else precision.products(kind, device)

    def forward(self, batch: Batch, draw: Draw, signals: Sequence[Tensor] = ()) -> Terms:
        """signals: what ``signals`` makes of the batch, where it was kept."""
        link = _Link(batch, self.channel, draw, draw.snr_between(*self.snr_range), compiled=self.compiled)
        targets = batch.of_targets(batch.target_out)
        kept = dict(zip(self.unchanging, signals))
        with torch.set_grad_enabled(self.trains_transmitter and torch.is_grad_enabled()):
            sent = link.send(self.transmitter, kept.get(self.transmitter))
        ours = _Outputs(sent, link.receive(self.receiver, sent.received))
        if not self.training or self.weights.keys() == {"ce"}:
            return self._label_terms(ours.rows, targets)
        of_probabilities = self.transfer.teacher_mean == "probabilities"
        with self._teachers_products(targets.device):
            outputs = self._ask_teachers(link, sent, kept)
            product = precision.product_dtype(targets.device) or outputs[0].rows.projection.weight.dtype
        teacher = Mean([h.rows for h in outputs], self.shares, of_probabilities, product)
        # On the CPU, where lengths are known: how many rows there are is not to be asked of a GPU.
        lengths = torch.tensor(batch.target_lengths)
        level = draw.level.repeat_interleave(copied(lengths, draw.level.device), output_size=len(targets))
        terms = self._row_terms(ours.rows, teacher, targets, level)
        if self.settings.scales:
            terms |= self._segment_terms(ours.rows, teacher, lengths, draw.level)
        terms |= self._feature_terms(ours, outputs[0], batch)
        if self.transfer.cross_weight:
            crossed = {
                "cross_transmitter": link.receive(self.teachers[0].receiver, sent.received),
                "cross_receiver": link.receive(self.receiver, outputs[0].sent.received),
            }
            for name, rows in crossed.items():
                terms[name] = self._row_terms(rows, teacher, targets, level)[self.main_term]
        return terms

    @torch.no_grad()
    def _ask_teachers(self, link: _Link, ours: _Sent, kept: Mapping[nn.Module, Tensor]) -> list[_Outputs]:
        """Each teacher's own transmission as its own receiver hears it. In decoder mode ``ours`` is the first
        teacher's already: the frozen transmitter and the channel run once."""
        outputs = []
        for teacher in self.teachers:
            shared = teacher is self.teachers[0] and not self.trains_transmitter
            sent = ours if shared else link.send(teacher.transmitter, kept.get(teacher.transmitter))
            outputs.append(_Outputs(sent, link.receive(teacher.receiver, sent.received)))
        return outputs

    def _label_terms(self, ours: Projected, targets: Tensor) -> Terms:
        ce = fused_linear_loss.cross_entropy(ours, targets, compiled=self.compiled)
        return {"ce": (ce, len(targets))}

    def _row_terms(self, ours: Projected, teacher: Mean, targets: Tensor, level: Tensor) -> Terms:
        """``main_term`` of N rows; of "distillation" also its two sides, for the log. level: [N], the place
        of a row's SNR in the training range."""
        if not self.settings.distils:
            return self._label_terms(ours, targets)
        sums = fused_linear_loss.distillation(
            ours,
            teacher,
            targets,
            kd_loss.temperature(self.settings, self.progress, level),
            kd_loss.weights(self.settings, self.progress, level),
            row_loss=self.row_loss,
            compiled=self.compiled,
        )
        return {
            "distillation": (sums.loss, len(targets)),
            "ce": (sums.ce, len(targets)),
            "kd": (sums.kd, len(targets)),
        }

    def _segment_terms(self, ours: Projected, teacher: Mean, lengths: Tensor, level: Tensor) -> Terms:
        """Scale Decoupled Distillation on the time axis: the mean over the segments of all scales, weighted
        as distillation is.

        lengths: [B] real target tokens, on the CPU; level: [B].
        """
        cuts = [_cut(lengths, scale, level.device) for scale in self.settings.scales]
        sentence = torch.cat([of_segment for _, of_segment in cuts])
        theirs = _pooled_mean(teacher, cuts)
        whole = _pooled_mean(teacher, [_cut(lengths, 1, level.device)])
        seen, in_all = fused_linear_loss.classes(theirs), fused_linear_loss.classes(whole)[sentence]
        _, weight = kd_loss.weights(self.settings, self.progress, level[sentence])
        weight = weight * losses.complementary(seen, in_all, self.settings.complementary_weight)
        sums = fused_linear_loss.distillation(
            _pooled(ours, cuts),
            theirs,
            seen,
            kd_loss.temperature(self.settings, self.progress, level[sentence]),
            (0.0, weight),
            row_loss=self.row_loss,
            compiled=self.compiled,
        )
        return {"scales": (sums.loss, len(seen)), "complementary": ((seen != in_all).sum(), len(seen))}

    def _feature_terms(self, ours: _Outputs, theirs: _Outputs, batch: Batch) -> Terms:
        """Differences from the first teacher, of those features that have a weight."""
        compared = {
            "encoder": lambda outputs: outputs.sent.encoder_state,
            "signal": lambda outputs: batch.of_sources(outputs.sent.signal),
            "decoder": lambda outputs: outputs.rows.state,
        }
        terms: Terms = {}
        for name, feature in compared.items():
            if name in self.weights:
                student, teacher = feature(ours), feature(theirs)
                mapped = self.maps[name](student).float() if name in self.maps else student
                terms[name] = self.feature(mapped, teacher).sum(), len(teacher)
        return terms


def _cut(lengths: Tensor, scale: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """``losses.segments``, on ``device``."""
    of_row, of_segment = losses.segments(lengths, scale)
    return copied(of_row, device), copied(of_segment, device)


def _pooled(rows: Projected, cuts: Sequence[tuple[Tensor, Tensor]]) -> Projected:
    """Logits of the mean states of segments, as ``losses.segments`` cut them."""
    means = [losses.pool(rows.state, segment, len(sentence)) for segment, sentence in cuts]
    return Projected(torch.cat(means), rows.projection)


def _pooled_mean(teacher: Mean, cuts: Sequence[tuple[Tensor, Tensor]]) -> Mean:
    return replace(teacher, members=[_pooled(member, cuts) for member in teacher.members])


def _inside(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, Frozen) else module
