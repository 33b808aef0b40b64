"""Settings of ``distillation.py``, and what contradicts itself among them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from semcom.base.errors import SemcomError, escape
from semcom.base.flag_words import words_of
from semcom.base.flags import Validated, as_record, differs, flag_of, group, setting
from semcom.base.settings import OutputConfig, Request, ResumeConfig, RunConfig, TrackConfig
from semcom.channel.settings import ChannelConfig, TrainingSNRConfig, check_snr_is_told, is_noisy
from semcom.data.settings import CorpusConfig
from semcom.distillation.settings import KD_LOSSES, DistillationConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.evaluation.settings import TargetConfig
from semcom.models.settings import DEFAULT_TEACHER, PARTS, RECEIVER_PARTS, TRANSMITTER_PARTS


@dataclass(frozen=True)
class DistillationFiles(Validated):
    """Checkpoints read and written."""

    teacher_checkpoint: tuple[str, ...] = setting(
        (),
        f"the teacher (default {DEFAULT_TEACHER}, the shipped one); of several the first "
        "lends the end that is not trained",
        nargs="+",
        metavar="FILE",
    )
    student_checkpoint: str | None = setting(None, "start the student from this checkpoint", metavar="FILE")
    output_path: str | None = setting(
        None,
        "folder of the run (default checkpoints/distillation, with _encoder or _decoder)",
        metavar="FOLDER",
    )
    create_hybrid: bool = setting(
        False, "splice parts of the best student into the teacher", action="store_true"
    )
    hybrid_output: str | None = setting(
        None, "the hybrid's file (default checkpoints/hybrid_model.pt)", metavar="FILE"
    )
    hybrid_parts: tuple[str, ...] = setting(
        (),
        "parts to take from the student (default: the receiver; the transmitter in encoder mode)",
        nargs="+",
        choices=PARTS,
        metavar="PART",
    )
    target_divergence: tuple[float, ...] = setting(
        (),
        "with --create-hybrid: instead of splicing one, dial a hybrid to each of these divergences from the "
        "teacher, as python -m semcom dial does; several add theirs to the file's name (hybrid_model_0.2.pt)",
        nargs="+",
        type=float,
        metavar="VALUE",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        targets = f"--target-divergence {' '.join(f'{target:g}' for target in self.target_divergence)}"
        if self.target_divergence and not self.create_hybrid:
            raise SemcomError(f"{targets}: no hybrid would be dialled without --create-hybrid; add it")
        if self.target_divergence and self.hybrid_parts:
            raise SemcomError(
                f"--hybrid-parts {' '.join(self.hybrid_parts)} with {targets}: all that was trained is "
                "dialled, which --distill-part chooses; leave it out"
            )
        if not self.create_hybrid and (self.hybrid_output or self.hybrid_parts):
            flag = (
                f"--hybrid-output {escape(self.hybrid_output)}"
                if self.hybrid_output
                else f"--hybrid-parts {' '.join(self.hybrid_parts)}"
            )
            raise SemcomError(f"{flag}: no hybrid would be written without --create-hybrid; add it")


@dataclass(frozen=True)
class DistilSettings(Validated):
    """keep_earlier: set aside what is at a named path too, as for a default one. request: how the run was
    asked for. shared: folder of what the runs of a sweep make once for all."""

    files: DistillationFiles = group(DistillationFiles())
    outputs: OutputConfig = group(OutputConfig())
    distillation: DistillationConfig = group(DistillationConfig(), title="Distillation")
    transfer: TransferConfig = group(TransferConfig())
    student: StudentConfig = group(StudentConfig())
    corpus: CorpusConfig = group(CorpusConfig())
    channel: ChannelConfig = group(ChannelConfig())
    snr: TrainingSNRConfig = group(TrainingSNRConfig(), title="Training SNR")
    training: TrainingConfig = group(TrainingConfig())
    ask: TargetConfig = group(TargetConfig())
    resuming: ResumeConfig = group(ResumeConfig())
    run: RunConfig = group(RunConfig())
    tracking: TrackConfig = group(TrackConfig())
    keep_earlier: bool = False
    request: Request = field(default=Request(), compare=False)
    shared: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.corpus.check_without_files()
        self.transfer.feature_weights(self.distillation.distill_part)
        self._check_receiver()
        self._check_loss()
        self._check_teachers()
        self._check_schedules()
        self._check_features()
        self._check_targets()

    def _check_receiver(self) -> None:
        check_snr_is_told(self.student.snr_aware, self.channel.channel)
        if self.student.snr_aware and "receiver" not in self.trained_ends:
            raise SemcomError(
                f"--snr-aware: with --distill-part {self.distillation.distill_part} the receiver is the "
                "teacher's, as it is; leave it out, or give --distill-part decoder or full"
            )

    def _check_loss(self) -> None:
        d, crossed = self.distillation, self.transfer.cross_weight
        if d.scales and KD_LOSSES[d.kd_loss].needs_target:
            *others, last = [name for name, loss in KD_LOSSES.items() if not loss.needs_target]
            raise SemcomError(
                f"--scales with --kd-loss {d.kd_loss}: a segment of a sentence has no one right piece for "
                f"{d.kd_loss} to set apart; give --kd-loss {', '.join(others)} or {last}"
            )
        if crossed and d.distill_part != "full":
            raise SemcomError(
                f"--cross-weight {crossed:g}: with --distill-part {d.distill_part} the other end is the "
                "teacher's already; leave it out, or give --distill-part full"
            )

    def _check_teachers(self) -> None:
        t, teachers = self.transfer, max(1, len(self.files.teacher_checkpoint))
        if t.teacher_weights and (len(t.teacher_weights) != teachers or teachers == 1):
            weights = " ".join(f"{w:g}" for w in t.teacher_weights)
            raise SemcomError(
                f"--teacher-weights {weights}: {len(t.teacher_weights)} for {teachers} --teacher-checkpoint; "
                "give one for each of several, or leave it out"
            )
        if t.teacher_mean == "probabilities" and teachers == 1:
            raise SemcomError(
                "--teacher-mean probabilities: there is one teacher; leave it out, or give several "
                "--teacher-checkpoint"
            )
        if t.teacher_mean == "probabilities" and self.distillation.standardize_logits:
            raise SemcomError(
                "--teacher-mean probabilities with --standardize-logits: a mean of probabilities has no "
                "logits to standardise; give --teacher-mean logits"
            )

    def _check_schedules(self) -> None:
        by_snr = "snr" in (self.distillation.temperature_schedule, self.distillation.weight_schedule)
        low, high = self.snr.snr_range
        if by_snr and (not is_noisy(self.channel.channel) or low == high):
            raise SemcomError(
                "a schedule by snr: the sentences of this run differ in no SNR (--channel ideal, or LOW = "
                "HIGH in --snr-range); give --temperature-schedule or --weight-schedule linear or cosine"
            )

    def _check_features(self) -> None:
        t = self.transfer
        if t.feature_loss != "mse" and not t.feature_weights(self.distillation.distill_part):
            raise SemcomError(
                f"--feature-loss {t.feature_loss}: no feature is compared; leave it out, or add "
                "--feature-weight 1"
            )
        if len(self.files.teacher_checkpoint) > 1 and not self.distillation.distils:
            raise SemcomError(
                "--teacher-checkpoint: with --distill-weight 0 a second teacher has nothing to say; give one"
            )

    def _check_targets(self) -> None:
        targets = self.files.target_divergence
        self.ask.check("--target-divergence", targets)
        given = [flag_of(f.name) for f in fields(self.ask) if differs(self.ask, f.name)]
        if given and not targets:
            raise SemcomError(
                f"{given[0]}: nothing is dialled without --target-divergence; leave it out, or add "
                "--create-hybrid --target-divergence 0.2"
            )
        if self.ask.target_topics and self.corpus.corpus:
            raise SemcomError(
                f"--target-topics {escape(' '.join(self.ask.target_topics))}: chooses within the built-in "
                "corpus; leave it out, or leave --corpus out"
            )

    @property
    def output_path(self) -> Path:
        part = self.distillation.distill_part
        default = "checkpoints/distillation" + ("" if part == "full" else f"_{part}")
        return Path(self.files.output_path or default)

    @property
    def hybrid_output(self) -> Path | None:
        if not self.files.create_hybrid:
            return None
        return Path(self.files.hybrid_output or "checkpoints/hybrid_model.pt")

    @property
    def dialled_hybrids(self) -> dict[float, Path]:
        """Target -> file of the hybrid that is dialled to it."""
        targets, path = sorted(self.files.target_divergence), self.hybrid_output
        if path is None or len(targets) <= 1:
            return {target: path for target in targets if path}
        return {target: path.parent / f"{path.stem}_{target:g}{path.suffix}" for target in targets}

    @property
    def hybrid_parts(self) -> tuple[str, ...]:
        if self.files.target_divergence:
            return self.trained_parts
        default = TRANSMITTER_PARTS if self.distillation.distill_part == "encoder" else RECEIVER_PARTS
        return self.files.hybrid_parts or default

    @property
    def trained_ends(self) -> tuple[str, ...]:
        ends = {"full": ("transmitter", "receiver"), "encoder": ("transmitter",), "decoder": ("receiver",)}
        return ends[self.distillation.distill_part]

    @property
    def trained_parts(self) -> tuple[str, ...]:
        parts = {"full": PARTS, "encoder": TRANSMITTER_PARTS, "decoder": RECEIVER_PARTS}
        return parts[self.distillation.distill_part]

    @property
    def topics_left_out(self) -> bool:
        return bool(self.corpus.topics or self.corpus.exclude_topics)

    def record(self) -> dict[str, object]:
        """All settings as plain JSON values."""
        sentences_and_link = (self.corpus, self.channel, self.snr)
        losses = (self.student, self.distillation, self.transfer)
        others = (self.training, self.run, self.outputs, self.ask)
        return as_record(self.files, *sentences_and_link, *losses, *others)

    def command(self, first: Sequence[str] = ()) -> str:
        """What a person would type. first: names of settings whose flags stand ahead, also where they say the
        default."""
        return shlex.join(["python", "distillation.py", *words_of(self, first)])
