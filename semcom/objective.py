"""What is trained, as modules: ``forward(batch, draw)`` returns named sums over rows, {name: (sum, rows)}.

A row is a real target token, a real source token for what the transmitter makes, or a segment. ``weights`` says how the means
of the named terms add up to the loss; terms that it does not name are for the log. One module owns the trained ends and the
frozen ones, so one wrapper sees the whole step.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from semcom import criterion, fused, losses
from semcom.batching import Batch
from semcom.channel import Channel, Draw, apply
from semcom.config import DistillationConfig, TransferConfig
from semcom.fused import Mean, Projected
from semcom.transceiver import Architecture, Transceiver

Terms = dict[str, tuple[Tensor, int]]
Rows = dict[str, Tensor]
"""What is compared, by name: [N, ...] of real target tokens, [M, ...] of real source tokens, or [B, ...] of sentences."""


def _in_parts(rows_of: Callable[[Batch, Draw], Rows], batch: Batch, draw: Draw) -> Rows:
    """The rows of all sentences, made part by part where that saves padding."""
    groups = batch.parts()
    if len(groups) == 1:
        return rows_of(batch, draw)
    parts = [batch.of(places) for places in groups]
    made = [rows_of(part, draw.of(torch.tensor(places), part.source.shape[1])) for part, places in zip(parts, groups)]
    return {name: torch.cat([rows[name] for rows in made]) for name in made[0]}


class TransceiverObjective(nn.Module):
    """Cross-entropy of a transceiver through its channel."""

    weights = {"ce": 1.0}
    progress = 0.0

    def __init__(self, transceiver: Transceiver, channel: Channel, snr_range: tuple[float, float], *, compiled: bool = False):
        super().__init__()
        self.model = transceiver
        self.compiled = compiled
        self.channel = channel
        self.snr_range = snr_range

    def forward(self, batch: Batch, draw: Draw) -> Terms:
        rows = _in_parts(self._rows, batch, draw)
        ce = fused.cross_entropy(Projected(rows["state"], self.model.receiver.projection), rows["targets"], compiled=self.compiled)
        return {"ce": (ce, len(rows["targets"]))}

    def _rows(self, batch: Batch, draw: Draw) -> Rows:
        signal, _ = self.model.transmitter(batch.source, batch.source_mask)
        received = apply(self.channel, signal, draw, draw.snr_between(*self.snr_range))
        state = self.model.receiver(received, batch.source_mask, batch.target_in)
        return {"state": state[batch.target_mask], "targets": batch.target_out[batch.target_mask]}


class Frozen(nn.Module):
    """A module that cannot learn and cannot leave eval mode; gradient still flows through it to its inputs."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Frozen":
        return self

    def forward(self, *args):
        return self.module(*args)


FEATURE_ROWS = {"encoder": "encoder_state", "signal": "signal", "decoder": "state"}
"""The rows that each feature term compares."""


class DistillationObjective(nn.Module):
    """(1 - a) * CE + a * KD, with what ``transfer`` adds, under one draw for all models.

    settings.distill_part: "full", "encoder" or "decoder": what of ``student`` is trained. In part modes the other end is the
    first teacher's, frozen; gradient flows through it to the signal, none to its weights. Features are compared with the first
    teacher's; where widths differ a linear map is learned beside the student, and dropped with the objective.

    progress: share of the run that is done, which schedules follow. Terms beside those of ``weights`` are for the log: the two
    sides of "distillation", and the share of segments that are complementary.
    """

    progress = 0.0

    def __init__(self, teachers: Sequence[Transceiver], student: Transceiver, channel: Channel, snr_range: tuple[float, float],
                 settings: DistillationConfig, transfer: TransferConfig | None = None, *, seed: int = 0, compiled: bool = False):
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
        self.row_loss = None if settings.is_plain else criterion.row_loss(settings)
        self.feature = losses.feature_mse if transfer.feature_loss == "mse" else losses.feature_cosine
        features = transfer.feature_weights(part)
        self.weights = {"distillation" if settings.distils else "ce": 1.0, **features}
        self.weights |= {"scales": settings.scale_weight} if settings.scales else {}
        self.weights |= dict.fromkeys(("cross_transmitter", "cross_receiver"), transfer.cross_weight) if transfer.cross_weight else {}
        self.maps = _feature_maps(student.architecture, teachers[0].architecture, features, seed)

    def forward(self, batch: Batch, draw: Draw) -> Terms:
        rows = _in_parts(self._rows, batch, draw)
        targets, level, lengths = rows["targets"], rows["level"], rows["lengths"]
        ours = Projected(rows["state"], _inside(self.receiver).projection)
        if not self._listens():
            return {"ce": (fused.cross_entropy(ours, targets, compiled=self.compiled), len(targets))}
        heard = [Projected(rows[f"teacher {k} state"], teacher.receiver.projection) for k, teacher in enumerate(self.teachers.module)]
        teacher = Mean(heard, self.shares, self.transfer.teacher_mean == "probabilities")
        by_row = level.repeat_interleave(lengths)
        terms = self._compare(ours, teacher, targets, by_row)
        if "scales" in self.weights:
            terms |= self._segments(ours, teacher, lengths, level)
        for name, ours_in_rows in FEATURE_ROWS.items():
            if name in self.weights:
                terms[name] = self._feature(name, rows[ours_in_rows], rows[f"teacher 0 {ours_in_rows}"])
        for name in ("cross_transmitter", "cross_receiver"):
            if name in self.weights:
                projection = self.teachers.module[0].receiver.projection if name == "cross_transmitter" else ours.projection
                terms[name] = next(iter(self._compare(Projected(rows[name], projection), teacher, targets, by_row).values()))
        return terms

    def _listens(self) -> bool:
        """Whether the teachers are asked at all."""
        return self.training and self.weights.keys() != {"ce"}

    def _rows(self, batch: Batch, draw: Draw) -> Rows:
        """What student and teachers, the latter as "teacher 0 state" and so on, say of the sentences, and the sentences' own."""
        snr, mask, sent = draw.snr_between(*self.snr_range), batch.target_mask, batch.source_mask
        # In decoder mode both receivers hear the same frozen transmitter: it and the channel run once.
        with torch.set_grad_enabled(self.trains_transmitter and torch.is_grad_enabled()):
            signal, encoder_state = self.transmitter(batch.source, sent)
            received = apply(self.channel, signal, draw, snr)
        rows = {"state": self.receiver(received, sent, batch.target_in)[mask], "targets": batch.target_out[mask],
                "level": draw.level, "lengths": mask.sum(1)}
        if not self._listens():
            return rows
        rows |= self._compared(signal, encoder_state, sent)
        theirs = received
        for k, teacher in enumerate(self.teachers.module):
            with torch.no_grad():
                if k > 0 or self.trains_transmitter:
                    signal, encoder_state = teacher.transmitter(batch.source, sent)
                    theirs = apply(self.channel, signal, draw, snr)
                    if k == 0:
                        rows |= self._compared(signal, encoder_state, sent, "teacher 0 ")
                rows[f"teacher {k} state"] = teacher.receiver(theirs, sent, batch.target_in)[mask]
            if k == 0 and "cross_receiver" in self.weights:
                rows["cross_transmitter"] = teacher.receiver(received, sent, batch.target_in)[mask]
                rows["cross_receiver"] = self.receiver(theirs, sent, batch.target_in)[mask]
        return rows

    def _compared(self, signal: Tensor, encoder_state: Tensor, sent: Tensor, prefix: str = "") -> Rows:
        """Those of a transmitter's [B, S, ...] that a feature term compares, at the real source tokens."""
        return {prefix + name: x[sent] for feature, name, x in (("signal", "signal", signal), ("encoder", "encoder_state", encoder_state))
                if feature in self.weights}

    def _compare(self, ours: Projected, teacher: Mean, targets: Tensor, level: Tensor) -> Terms:
        """The loss of N rows first, then its two sides for the log. level: [N], the place of a row's SNR in the training range."""
        if not self.settings.distils:
            return {"ce": (fused.cross_entropy(ours, targets, compiled=self.compiled), len(targets))}
        sums = fused.distillation(ours, teacher, targets, criterion.temperature(self.settings, self.progress, level),
                                  criterion.weights(self.settings, self.progress, level), row_loss=self.row_loss, compiled=self.compiled)
        return {name: (total, len(targets)) for name, total in zip(("distillation", "ce", "kd"), sums)}

    def _segments(self, ours: Projected, teacher: Mean, lengths: Tensor, level: Tensor) -> Terms:
        """Scale Decoupled Distillation on the time axis: the mean over the segments of all scales, weighted as distillation is.

        lengths: [B] real target tokens; level: [B].
        """
        cuts = [losses.segments(lengths, scale) for scale in self.settings.scales]
        sentence = torch.cat([sentence for _, sentence in cuts])

        def pooled(rows: Projected, cuts: list[tuple[Tensor, Tensor]]) -> Projected:
            means = [losses.pool(rows.state, segment, len(sentence)) for segment, sentence in cuts]
            return Projected(torch.cat(means), rows.projection)

        theirs = replace(teacher, members=[pooled(m, cuts) for m in teacher.members])
        whole = replace(teacher, members=[pooled(m, [losses.segments(lengths, 1)]) for m in teacher.members])
        seen, in_all = fused.classes(theirs), fused.classes(whole)[sentence]
        _, weight = criterion.weights(self.settings, self.progress, level[sentence])
        weight = weight * losses.complementary(seen, in_all, self.settings.complementary_weight)
        sums = fused.distillation(pooled(ours, cuts), theirs, seen, criterion.temperature(self.settings, self.progress, level[sentence]),
                                  (0.0, weight), row_loss=self.row_loss, compiled=self.compiled)
        return {"scales": (sums.loss, len(seen)), "complementary": ((seen != in_all).sum(), len(seen))}

    def _feature(self, name: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, int]:
        mapped = self.maps[name](student).float() if name in self.maps else student
        return self.feature(mapped, teacher).sum(), len(teacher)


def _feature_maps(student: Architecture, teacher: Architecture, features: Iterable[str], seed: int) -> nn.ModuleDict:
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
