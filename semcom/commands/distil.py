"""The verb ``distil``: a student from a teacher, the files of a run, a hybrid, a summary."""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from semcom.base import distributed, output_files
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.distributed import Processes
from semcom.base.errors import SemcomError, escape
from semcom.base.output_files import Place
from semcom.channel.channels import make_channel
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.inputs import (
    Data,
    check_begun,
    check_whole,
    encode_splits,
    imported,
    load_corpus,
    load_teacher,
    record_of,
    resolve_training,
)
from semcom.commands.measuring import RECEIVER_KNOWS, foreign_splits, summary_scores
from semcom.commands.splice import write_splice
from semcom.data.vocabulary import EOS
from semcom.distillation import kd_loss, objectives, trainer
from semcom.distillation.sequence_level import Decoding, teacher_sentences
from semcom.distillation.training_loop import Epoch, Result
from semcom.distillation.training_settings import StudentConfig
from semcom.evaluation.scores import least_sure
from semcom.evaluation.text_metrics import bleu_signature
from semcom.models import checkpoint, transceiver
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.settings import check_heads
from semcom.models.transceiver import (
    PARTS,
    RECEIVER_PARTS,
    TRANSMITTER_PARTS,
    Architecture,
    EndSize,
    Transceiver,
)
from semcom.report import plots, tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SUMMARY_SENTENCES = 300
SUMMARY_SNRS = (0.0, 6.0, 12.0)


@dataclass(frozen=True)
class Outcome:
    """What a distillation left: paths, the record of its configuration, test scores by model and SNR."""

    student: Path
    hybrid: Path | None
    record: dict[str, object]
    scores: "pd.DataFrame"


def distil(settings: DistilSettings) -> Outcome:
    """Distil a student from a teacher, write the files of a run, splice a hybrid if asked
    to."""
    started = time.monotonic()
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    together = distributed.join(device)
    with ExitStack() as held:
        prepared = together.from_main(_prepare, settings, device, held)
        return _Distillation(*prepared, device, together, started).run()


def _prepare(
    settings: DistilSettings, device: torch.device, held: ExitStack
) -> tuple[DistilSettings, list[Checkpoint], Transceiver, Data]:
    """Outputs checked and cleared, inputs read, the student before training; the folder's lock goes to
    ``held``."""
    teachers = [load_teacher(path) for path in settings.files.teacher_checkpoint or (None,)]
    teacher = teachers[0]
    for other in teachers[1:]:
        checkpoint.check_same_vocabulary(teacher, other)
        _check_same_signal(teacher, other)
    settings = replace(
        settings,
        training=resolve_training(settings.training, device, teacher.model.architecture.receiver.d_model),
    )
    if settings.training.compile and not settings.distillation.by_hand and device.type != "cpu":
        log.warning("--compile: on GPUs it compiles --kd-loss kd of raw logits alone; going on without")
        settings = replace(settings, training=replace(settings.training, compile=False))
    student = _new_student(settings, teacher)
    if settings.files.create_hybrid:
        # Parts that cannot be joined are told before the hours of training, not after.
        transceiver.splice(teacher.model, student, settings.hybrid_parts)
    _check_outputs(settings, [t.path for t in teachers])
    data = encode_splits(load_corpus(settings.corpus, teacher.vocabulary), teacher.vocabulary)
    for line in _advice(settings, teacher.model.architecture):
        log.warning(f"{line}")
    for line in foreign_splits([(t.name, t.config) for t in teachers], settings.corpus):
        log.info(line)
    held.enter_context(output_files.lock(settings.output_path))
    _make_room(settings)
    return settings, teachers, student, data


def _check_outputs(settings: DistilSettings, teachers: Sequence[str]) -> None:
    started_from = settings.files.student_checkpoint
    inputs = [*teachers, *settings.corpus.corpus, *([started_from] if started_from else [])]
    places = _places(settings)
    outputs = {place.flag: place.path for place in places}
    for name in _student_files(settings.training.epochs):
        outputs[f"--output-path ({name})"] = settings.output_path / name
    output_files.check_outputs(outputs, inputs)
    for place in places:
        place.check()


def _check_same_signal(first: Checkpoint, other: Checkpoint) -> None:
    ours, theirs = (c.model.architecture.channel_dim for c in (first, other))
    if ours != theirs:
        raise SemcomError(
            f"--teacher-checkpoint {other.name}: signal width C={theirs}, {first.name} has {ours}; all teachers must share it, "
            "so that they meet the same draw"
        )


def _student_files(epochs: int) -> list[str]:
    return [
        "final_student_model.pt",
        "best_student_model.pt",
        "distillation_config.json",
        "history.csv",
        "training_curves.png",
        *(f"student_model_epoch{e}.pt" for e in range(10, epochs + 1, 10)),
    ]


def _places(settings: DistilSettings) -> list[Place]:
    """Of the folder, and of the hybrid if one is wanted."""
    given, keep, overwrite = settings.files, settings.keep_earlier, settings.outputs.overwrite
    named = given.output_path is not None and not keep
    places = [Place("--output-path", settings.output_path, named, overwrite, folder=True)]
    if settings.hybrid_output:
        named = given.hybrid_output is not None and not keep
        places.append(Place("--hybrid-output", settings.hybrid_output, named, overwrite, folder=False))
    return places


def _make_room(settings: DistilSettings) -> None:
    for place in _places(settings):
        if line := place.make_room():
            log.info(line)
    if settings.outputs.overwrite:
        # Left beside the new student, the old record would describe it.
        for pattern in (*_student_files(0), "student_model_epoch*.pt"):
            for left in settings.output_path.glob(pattern):
                left.unlink()


def _student_size(settings: StudentConfig, teacher: EndSize) -> EndSize:
    size = replace(
        teacher,
        layers=settings.student_layers,
        d_model=settings.student_d_model or teacher.d_model,
        num_heads=settings.student_heads or teacher.num_heads,
        dff=settings.student_dff or teacher.dff,
    )
    check_heads("--student-d-model", size.d_model, "--student-heads", size.num_heads)
    return size


def _new_student(settings: DistilSettings, teacher: Checkpoint) -> Transceiver:
    """The student transceiver before training; in part modes its other end is the teacher's, to the bit."""
    part, theirs = settings.distillation.distill_part, teacher.model.architecture
    sizes = {end: _student_size(settings.student, getattr(theirs, end)) for end in _trained_ends(part)}
    architecture = replace(theirs, **sizes)
    student = transceiver.build(architecture, settings.run.seed)
    if settings.files.student_checkpoint:
        _start_from(
            student, checkpoint.load(settings.files.student_checkpoint, "--student-checkpoint"), teacher, part
        )
    elif settings.student.student_init == "teacher":
        for end, size in sizes.items():
            ours = getattr(theirs, end)
            if size.layers > ours.layers:
                raise SemcomError(
                    f"--student-layers {size.layers}: the teacher's {end} has {ours.layers} layers to start from; "
                    f"give at most {ours.layers}, or --student-init random"
                )
            if replace(size, layers=ours.layers) != ours:
                raise SemcomError(
                    f"--student-init teacher: widths differ from the teacher's (D={size.d_model}, {size.num_heads} heads, "
                    f"feed-forward {size.dff}; teacher D={ours.d_model}, {ours.num_heads}, {ours.dff}); give --student-init random"
                )
        transceiver.from_teacher_layers(teacher.model, student)
    return transceiver.splice(teacher.model, student, _trained_parts(part))


def _trained_ends(part: str) -> tuple[str, ...]:
    return {"full": ("transmitter", "receiver"), "encoder": ("transmitter",), "decoder": ("receiver",)}[part]


def _trained_parts(part: str) -> tuple[str, ...]:
    return {"full": PARTS, "encoder": TRANSMITTER_PARTS, "decoder": RECEIVER_PARTS}[part]


def _start_from(student: Transceiver, given: Checkpoint, teacher: Checkpoint, part: str) -> None:
    checkpoint.check_same_vocabulary(teacher, given)
    transceiver.check_joint(teacher.model.architecture, given.model.architecture)
    for end in _trained_ends(part):
        wanted, found = getattr(student.architecture, end), getattr(given.model.architecture, end)
        if replace(found, stored_positions=wanted.stored_positions) != wanted:
            raise SemcomError(
                f"--student-checkpoint {given.name}: its {end} has {found.layers} layers, D={found.d_model}, {found.num_heads} heads, "
                f"feed-forward {found.dff}; this run asks for {wanted.layers}, {wanted.d_model}, {wanted.num_heads}, {wanted.dff}; give "
                f"--student-layers {found.layers} --student-d-model {found.d_model} --student-heads {found.num_heads} --student-dff {found.dff}"
            )
        unlike = {"stored_positions": (wanted.stored_positions, found.stored_positions)}
        channel_part = {"transmitter": "channel_encoder", "receiver": "channel_decoder"}[end]
        for name in transceiver.CHANNEL_PART_FIELDS[channel_part]:
            unlike[name] = getattr(student.architecture, name), getattr(given.model.architecture, name)
        for name, (wanted, found) in unlike.items():
            if wanted != found:
                raise SemcomError(
                    f"--student-checkpoint {given.name}: its {name} is {found:g}, the teacher's {wanted:g}; "
                    "start from a student of this teacher"
                )
        getattr(student, end).load_state_dict(getattr(given.model, end).state_dict())


def _advice(settings: DistilSettings, teacher: Architecture) -> list[str]:
    lines = settings.distillation.advice()
    ends = [getattr(teacher, end) for end in _trained_ends(settings.distillation.distill_part)]
    layers = settings.student.student_layers
    if any(3 * layers < end.layers for end in ends):
        lines.append(f"--student-layers {layers} is under a third of the teacher's depth ({ends[0].layers})")
    from_teacher = settings.student.student_init == "teacher" and not settings.files.student_checkpoint
    if from_teacher and all(layers == end.layers for end in ends):
        lines.append(
            f"--student-layers {layers} with --student-init teacher: the student is the teacher before the first step"
        )
    if from_teacher and settings.topics_left_out:
        lines.append(
            "topics are left out, but the student starts from the teacher's layers, which may have seen them; "
            "for a student that never saw them give --student-init random"
        )
    if (
        settings.files.create_hybrid
        and settings.distillation.distill_part == "full"
        and not settings.transfer.cross_weight
    ):
        lines.append(
            "the two ends of a full-mode hybrid never met in training: it measures drift of the code more than knowledge; "
            "for a usable pair distil with --distill-part decoder or encoder"
        )
    return lines


class _Distillation:
    """One run, its outputs clear and its folder locked."""

    def __init__(
        self,
        settings: DistilSettings,
        teachers: list[Checkpoint],
        student: Transceiver,
        data: Data,
        device: torch.device,
        together: Processes,
        started: float,
    ):
        self.settings, self.teachers, self.student, self.data = settings, teachers, student, data
        self.teacher = teacher = teachers[0]
        self.device, self.together, self.started = device, together, started
        self.folder = settings.output_path
        part = settings.distillation.distill_part
        trained = _trained_parts(part)
        self.origin = {
            p: f"student of {teacher.name} ({part} mode)"
            if p in trained
            else f"teacher {teacher.name}: {teacher.origin[p]}"
            for p in PARTS
        }
        self.record = self._initial_record()

    def _initial_record(self) -> dict[str, object]:
        s, ours, theirs = self.settings, self.student.architecture, self.teacher.model.architecture
        end = _trained_ends(s.distillation.distill_part)[-1]
        size = getattr(ours, end)
        teacher_params, student_params = self.teacher.model.parameter_count(), self.student.parameter_count()
        return {
            **s.record(),
            "teacher_checkpoint": self.teacher.path,
            "teachers": [[t.path, t.fingerprint] for t in self.teachers],
            "d_model": size.d_model,
            "dff": size.dff,
            "num_heads": size.num_heads,
            "student_layers": size.layers,
            "teacher_layers": getattr(theirs, end).layers,
            "teacher_params": teacher_params,
            "student_params": student_params,
            "compression_ratio": teacher_params / student_params,
            "trained_params": self._trained_parameters(self.student),
            "teacher_trained_params": self._trained_parameters(self.teacher.model),
            "output_path": str(self.folder),
            "create_hybrid": s.files.create_hybrid,
            "hybrid_output": str(s.hybrid_output) if s.hybrid_output else None,
            "hybrid_parts": list(s.hybrid_parts),
            "teacher_fingerprint": self.teacher.fingerprint,
            "topics_by_end": self._topics_by_end(),
            **imported(self.teacher),
            **self.data.record,
            **environment(self.device),
        }

    def _trained_parameters(self, model: Transceiver) -> int:
        ends = _trained_ends(self.settings.distillation.distill_part)
        return sum(p.numel() for end in ends for p in getattr(model, end).parameters())

    def _topics_by_end(self) -> dict[str, list[str] | None]:
        trained = _trained_ends(self.settings.distillation.distill_part)
        theirs = {end: sorted(seen) if seen else None for end, seen in self.teacher.topics_by_end().items()}
        return {end: self.data.record["topics_seen"] if end in trained else theirs[end] for end in theirs}

    def run(self) -> Outcome:
        s, part = self.settings, self.settings.distillation.distill_part
        log.info(
            f"teacher: {self.teacher.name}, {self.record['teacher_params']:,} parameters; student ({part}): "
            f"{self.record['student_params']:,}; {make_channel(s.channel)}, {s.snr.snr_range[0]:g} to {s.snr.snr_range[1]:g} dB; "
            f"{'; '.join([s.distillation.describe(), *s.transfer.describe(part)])}; {self.device}, {s.training.precision}"
        )
        if part != "full":
            same = set(s.hybrid_parts) == set(_trained_parts(part))
            log.info(
                f"{part} mode: the student is trained through the teacher's frozen other end"
                + (
                    "; student and hybrid are the same pair"
                    if same
                    else f"; the hybrid takes {' '.join(s.hybrid_parts)} from it"
                )
            )
        self.history: list[dict] = []
        train = self.data.train
        if width := s.transfer.sequence_level:
            channel = make_channel(s.channel)
            by = Decoding(self.teacher, channel, s.snr.snr_range, Search(width), s.run.seed)
            train, self.record["teacher_sentences"] = teacher_sentences(
                by, train, device=self.device, quiet=s.run.quiet, together=self.together
            )
        self.objective = objectives.DistillationObjective(
            [t.model for t in self.teachers],
            self.student,
            make_channel(s.channel),
            s.snr.snr_range,
            s.distillation,
            s.transfer,
            seed=s.run.seed,
            compiled=s.training.compile,
        )
        result = trainer.fit(
            self.objective,
            train,
            self.data.validation,
            s.training,
            width=self.student.architecture.channel_dim,
            device=self.device,
            seed=s.run.seed,
            quiet=s.run.quiet,
            on_epoch=self._on_epoch,
            processes=self.together,
        )
        hybrid, self.record = self.together.from_main(self._keep, result)
        return Outcome(self.folder / "best_student_model.pt", hybrid, self.record, self._summary(hybrid))

    def _keep(self, result: Result) -> tuple[Path | None, dict[str, object]]:
        """Write what the training left; returns the hybrid's path and the record."""
        check_begun(result, self.folder)
        if not result.failed and not result.stopped:
            self._save(
                "final_student_model.pt",
                {"validation_cross_entropy": self.history[-1]["validation"], "epoch": len(self.history)},
            )
        self.record |= record_of(result, self.started)
        self._write_record()
        plots.plot_training_curves(self.history, self.folder / "training_curves.png")
        if self.settings.distillation.distils:
            self._plot_temperature()
        hybrid = self._splice_hybrid() if self.settings.hybrid_output else None
        check_whole(result, f"{escape(self.folder)} holds the best student until then")
        return hybrid, self.record

    def _plot_temperature(self) -> None:
        """What the run's temperature, beside others, makes of the teacher's distribution."""
        vocabulary, logits = self.teacher.vocabulary, least_sure(self.teacher.model, self.data.validation[0])
        temperatures = sorted({1.0, 2.0, 4.0, 8.0, 16.0, self.settings.distillation.temperature})
        pieces = [
            text or f"piece {piece}"
            for piece, text in enumerate(vocabulary.decode([[piece] for piece in range(len(vocabulary))]))
        ]
        pieces[EOS] = "(end)"
        plots.plot_temperature_effect(logits, self.folder / "temperature_effect.png", temperatures, pieces)

    def _on_epoch(self, epoch: Epoch, is_best: bool) -> None:
        self.history.append(
            epoch.row() | kd_loss.scalars(self.settings.distillation, self.objective.progress)
        )
        metrics = {"validation_cross_entropy": epoch.validation, "epoch": epoch.epoch, "steps": epoch.steps}
        if is_best:
            self._save("best_student_model.pt", metrics)
        if epoch.epoch % 10 == 0:
            self._save(f"student_model_epoch{epoch.epoch}.pt", metrics)
        tables.write_csv(self.folder / "history.csv", self.history)

    def _save(self, name: str, metrics: dict) -> None:
        checkpoint.save(
            Checkpoint(self.student, self.teacher.vocabulary, self.origin, metrics, self.record),
            self.folder / name,
        )

    def _write_record(self) -> None:
        output_files.write_json(self.folder / "distillation_config.json", self.record)

    def _splice_hybrid(self) -> Path:
        best = checkpoint.load(self.folder / "best_student_model.pt")
        return write_splice(self.teacher, best, self.settings.hybrid_parts, self.settings.hybrid_output)

    def _summary(self, hybrid: Path | None) -> "pd.DataFrame":
        best = self.folder / "best_student_model.pt"
        made = [("student", best)] + ([("hybrid", hybrid)] if hybrid else [])
        loaded = [("teacher", self.teacher)] + self.together.from_main(
            lambda: [(name, checkpoint.load(path)) for name, path in made]
        )
        rows = summary_scores(
            loaded,
            self.settings.corpus,
            make_channel(self.settings.channel),
            self.settings.run,
            self.device,
            SUMMARY_SNRS,
            SUMMARY_SENTENCES,
            self.record["topics_seen"],
            self.together,
        )
        self.record |= {
            "test_scores": rows.to_dict("records"),
            "bleu_signature": bleu_signature(),
            "wall_seconds": round(time.monotonic() - self.started, 1),
        }
        if self.together.is_main:
            self._write_record()
        lines = [
            f"\nBLEU on {rows['sentences'].iloc[0]} test sentences, {rows['channel'].iloc[0]}, by SNR in dB; {RECEIVER_KNOWS}\n"
            f"{bleu_signature()}",
            tables.pivot(rows[rows["topic"] == ""], "model", "snr", "bleu"),
            "",
        ]
        apart = rows[(rows["topic"] != "") & (rows["snr"] == SUMMARY_SNRS[-1])]
        if len(apart):
            lines += [
                f"BLEU at {SUMMARY_SNRS[-1]:g} dB, topics that the student has seen and not seen apart",
                tables.pivot(apart, "model", "topic", "bleu", str),
                "",
            ]
        lines.append(
            f"made {escape(best)}: best validation cross-entropy {self.record['best_loss']:.4f} in epoch {self.record['best_epoch']}, "
            f"{self.record['trained_params']:,} trained parameters, {self.record['teacher_trained_params']:,} in the teacher's place"
        )
        if hybrid:
            lines.append(
                f"made {escape(hybrid)}: "
                + ", ".join(
                    f"{p} from the {'student' if p in self.settings.hybrid_parts else 'teacher'}"
                    for p in PARTS
                )
            )
        lines.append(
            f"curves, history and settings are in {escape(self.folder)}; padding {self.record['padding']:.1%} of the target positions; "
            f"{time.monotonic() - self.started:,.0f} s in all"
        )
        shown = " ".join(escape(path) for _, path in made)
        lines.append(
            f"next: python -m semcom evaluate {escape(self.teacher.path)} {shown}   or   python semantic_analysis.py"
        )
        log.info("\n".join(lines))
        return rows
