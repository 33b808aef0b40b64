"""A distillation at work: training, and the files that it leaves in its folder."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from semcom.base import output_files, places
from semcom.base.device import environment
from semcom.base.distributed import Processes
from semcom.base.errors import escape
from semcom.base.places import Place
from semcom.base.tracking import Tracker
from semcom.channel.channels import make_channel
from semcom.commands import chosen_way, completion, run_record
from semcom.commands.dial_settings import dial_like
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.inputs import Data, as_json, check_begun, check_whole, imported, record_of
from semcom.commands.recorded_flags import differences, recorded
from semcom.commands.resuming import as_begun, resolved
from semcom.commands.splice import write_splice
from semcom.data import batching
from semcom.data.vocabulary import EOS
from semcom.distillation import kd_loss, objectives, run_state, snapshots, trainer
from semcom.distillation.history import Epoch, Result
from semcom.distillation.run_state import Keeper
from semcom.distillation.sequence_level import Decoding, teacher_sentences
from semcom.distillation.snapshots import Snapshots
from semcom.evaluation.scores import least_sure
from semcom.models import checkpoint, state_dicts
from semcom.models.architecture import sizes_of
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.state_file import State
from semcom.models.transceiver import Transceiver, taken_with
from semcom.report import plots, tables, training_figures

log = logging.getLogger(__name__)

TRACKED = "tensorboard"
"""Folder of a tracker that keeps files."""
HYBRID = "hybrid"
"""What the digests of the record call the one that is spliced."""
TEMPERATURES_SHOWN = {1.0, 2.0, 4.0, 8.0, 16.0}


@dataclass(frozen=True)
class Prepared:
    """settings: with what the machine has, ``given`` without; way: the line about that. student: before
    training. keeper: of the run's state, which it has found where the run goes on. places: reserved for its
    outputs, the folder's first."""

    settings: DistilSettings
    given: DistilSettings
    way: str
    teachers: list[Checkpoint]
    student: Transceiver
    data: Data
    keeper: Keeper
    places: list[Place]


class DistillationRun:
    """One run, its outputs clear and locked.

    record: of the run, as its JSON and its checkpoints have it. history: a row an epoch. tracker: logs them.
    snapshots: of the student on its way.
    """

    def __init__(self, prepared: Prepared, device: torch.device, together: Processes, started: float):
        self.settings, self.given, self.teachers = prepared.settings, prepared.given, prepared.teachers
        self.way, self.student, self.data = prepared.way, prepared.student, prepared.data
        self.teacher = prepared.teachers[0]
        self.device, self.together, self.started = device, together, started
        self.places, self.record = prepared.places, self._first_record()
        self.history: list[dict[str, float | None]] = []
        self.tracker = Tracker()
        self.snapshots = Snapshots(self.student, self.settings.trained_ends)
        self._origin = self._origin_of_parts()
        self.keeper = prepared.keeper
        self.keeper.own = self._state
        if self.keeper.found:
            self._take_up(self.keeper.found["own"])

    @property
    def folder(self) -> Path:
        """Where the run writes: that of the settings, or beside it until what is there is replaced."""
        return self.places[0].working

    @property
    def best_student(self) -> Path:
        return self.folder / run_record.BEST

    def written_at(self, path: Path) -> Path:
        """The same of any of its outputs."""
        return next(place.working for place in self.places if Path(place.path) == path)

    def announce(self) -> None:
        s, part = self.settings, self.settings.distillation.distill_part
        low, high = s.snr.snr_range
        losses = "; ".join([s.distillation.describe(), *s.transfer.describe(part)])
        log.info(
            f"teacher: {self.teacher.name}, {self.record['teacher_params']:,} parameters; student ({part}): "
            f"{self.record['student_params']:,}; {make_channel(s.channel)}, {low:g} to {high:g} dB; "
            f"{losses}; {self.device}\n{self.way}"
        )
        if part != "full":
            taken = f"the hybrid takes {' '.join(s.hybrid_parts)} from it"
            if s.files.target_divergence:
                taken = "hybrids are dialled on its way from start to best"
            elif set(s.hybrid_parts) == set(s.trained_parts):
                taken = "student and hybrid are the same pair"
            log.info(f"{part} mode: the student is trained through the teacher's frozen other end; {taken}")
        for line in differences(s.request, self.record):
            log.warning(line)

    # --- where it goes on

    def _state(self) -> State:
        return {
            "record": self.record,
            "history": self.history,
            "snapshots": self.snapshots.state(),
            "trackers": self.tracker.ids,
            "wall_seconds": time.monotonic() - self.started,
            "resolved": resolved(self.settings.training),
        }

    def _take_up(self, own: State) -> None:
        self.record, self.history = own["record"], own["history"]
        self.snapshots.load_state(own["snapshots"])
        self.started -= own["wall_seconds"]

    # --- training

    def train(self) -> Result:
        if self.together.is_main:
            self.write_record()
        s = self.settings
        train = self._sentences()
        objective = objectives.DistillationObjective(
            [t.model for t in self.teachers],
            self.student,
            make_channel(s.channel),
            s.snr.snr_range,
            s.distillation,
            s.transfer,
            seed=s.run.seed,
            compiled=s.training.compile == "on",
        )

        self.tracker = self._tracker()
        self.tracker.also = lambda: kd_loss.scalars(s.distillation, objective.progress)

        def on_epoch(epoch: Epoch, is_best: bool) -> None:
            scheduled = kd_loss.scalars(s.distillation, objective.progress)
            self._keep_epoch(epoch, scheduled, is_best)

        return trainer.fit(
            objective,
            train,
            self.data.validation,
            s.training,
            width=self.student.architecture.channel_dim,
            device=self.device,
            seed=s.run.seed,
            quiet=s.run.quiet,
            on_epoch=on_epoch,
            on_step=self.snapshots.after_step,
            processes=self.together,
            keeper=self.keeper,
            tracker=self.tracker,
        )

    def _tracker(self) -> Tracker:
        """Begun, or gone on with where the run goes on."""
        name, files = self.settings.output_path.name, self.folder / TRACKED
        done, ids = self.keeper.tracked()
        tracker = Tracker(self.settings.tracking, name, files, done=done, ids=ids)
        tracker.begin(recorded(self.settings))
        return tracker

    def _sentences(self) -> Sequence[batching.Encoded]:
        """Of the corpus, or what the teacher makes of them."""
        s = self.settings
        if not s.transfer.sequence_level:
            return self.data.train
        search = Search(s.transfer.sequence_level, compiled=s.training.compile == "on")
        by = Decoding(self.teacher, make_channel(s.channel), s.snr.snr_range, search, s.run.seed)
        sentences, self.record["teacher_sentences"] = teacher_sentences(
            by, self.data.train, device=self.device, quiet=s.run.quiet, together=self.together
        )
        return sentences

    # --- what it leaves

    def keep(self, result: Result) -> Path | None:
        """Write what the training left; the hybrid's path, if one was made."""
        hybrid, self.record = self.together.from_main(self._keep, result)
        return hybrid

    def _keep(self, result: Result) -> tuple[Path | None, dict[str, object]]:
        if not result.failed and not result.stopped:
            last = {"validation_cross_entropy": self.history[-1]["validation"], "epoch": len(self.history)}
            self._save("final_student_model.pt", last)
        self.record |= record_of(result, self.started)
        self.total = result.total
        self.write_record()
        check_begun(result, self.best_student, self.keeper.advice())
        plots.plot_training_curves(self.history, self.folder / "training_curves.png")
        if self.settings.distillation.distils:
            self._plot_temperature()
        hybrid = self._splice_hybrid()
        left = f"{escape(self.folder)} holds the best student until then"
        check_whole(result, left + self.keeper.advice() + self._dial_it())
        return hybrid, self.record

    def _dial_it(self) -> str:
        """How a run that was stopped is dialled after all."""
        if not self.settings.files.target_divergence:
            return ""
        return f"; dial it with: {escape(dial_like(self.settings).command())}"

    def _keep_epoch(self, epoch: Epoch, scheduled: Mapping[str, float | None], is_best: bool) -> None:
        self.history.append({**epoch.row(), **scheduled})
        self.tracker.log("epoch", self.history[-1], epoch.steps)
        metrics = {"validation_cross_entropy": epoch.validation, "epoch": epoch.epoch, "steps": epoch.steps}
        if is_best:
            self._save_snapshots(epoch.steps)
            self._save(self.best_student.name, metrics)
        if epoch.epoch % 10 == 0:
            self._save(f"student_model_epoch{epoch.epoch}.pt", metrics)
        tables.write_csv(self.folder / "history.csv", self.history)

    def _save(self, name: str, metrics: Mapping[str, float | None]) -> None:
        record = as_json(self.record)
        made = Checkpoint(self.student, self.teacher.vocabulary, self._origin, dict(metrics), record)
        checkpoint.save(made, self.folder / name)

    def _save_snapshots(self, best_step: int) -> None:
        """Those on the way to the best student, unless the file holds them already."""
        chosen = self.snapshots.chosen(best_step)
        rows = [snapshot.row for snapshot in chosen]
        if rows != self.record.get("snapshots"):
            state_dicts.save(snapshots.to_state_dict(chosen), self.folder / snapshots.FILE)
            self.record["snapshots"] = rows

    def write_record(self) -> None:
        output_files.write_json(self.folder / run_record.FILE, self.record)

    def finish(self, hybrids: Mapping[str, Path]) -> None:
        """The run has ended well: mark it so, move what replaces earlier outputs in, and then remove what it
        could have gone on from. hybrids: label -> file."""
        self.tracker.finish()  # whose files are in the folder
        self.together.from_main(self._finish, hybrids)
        self.places = [replace(place, staged=None) for place in self.places]
        if self.together.is_main:
            (self.folder / run_state.FILE).unlink(missing_ok=True)

    def _finish(self, hybrids: Mapping[str, Path]) -> None:
        made = {label: self.written_at(path) for label, path in hybrids.items()}
        # Until now, the flags as given, with which a run that was stopped goes on.
        self.record["settings"] = recorded(self.settings, self.total)
        kept = {file.name: file for file in [self.folder / snapshots.FILE] if file.is_file()}
        self.record |= completion.completion({run_record.BEST: self.best_student, **kept, **made})
        self.record["state_saves"] = self.keeper.cost
        self.write_record()
        places.publish(self.places)

    def _splice_hybrid(self) -> Path | None:
        output = self.settings.hybrid_output
        if output is None or self.settings.files.target_divergence:
            return None
        # What it is made of is told by the name that will last.
        best = replace(
            checkpoint.load(self.best_student), path=str(self.settings.output_path / run_record.BEST)
        )
        made = write_splice(self.teacher, best, self.settings.hybrid_parts, self.written_at(output))
        # By this the run knows it again should it be stopped and go on.
        self.record["digests"] = {HYBRID: completion.digest_of(made)}
        self.write_record()
        return output

    def _plot_temperature(self) -> None:
        """What the run's temperature, beside others, makes of the teacher's distribution."""
        vocabulary, own = self.teacher.vocabulary, self.settings.distillation.temperature
        logits = least_sure(self.teacher.model, self.data.validation[0])
        temperatures, picture = sorted({*TEMPERATURES_SHOWN, own}), self.folder / "temperature_effect.png"
        texts = vocabulary.decode([[piece] for piece in range(len(vocabulary))])
        pieces = [text or f"piece {piece}" for piece, text in enumerate(texts)]
        pieces[EOS] = "(end)"
        plots.plot_temperature_effect(logits, picture, temperatures, pieces, unit=training_figures.PIECE)

    # --- the record

    def _origin_of_parts(self) -> dict[str, str]:
        teacher, part = self.teacher, self.settings.distillation.distill_part
        origin = {p: f"teacher {teacher.name}: {teacher.origin[p]}" for p in self.student.parts()}
        trained = [p for p in origin if taken_with(p) in self.settings.trained_parts]
        return origin | dict.fromkeys(trained, f"student of {teacher.name} ({part} mode)")

    def _first_record(self) -> dict[str, object]:
        """What is known before training."""
        s, ours, theirs = self.settings, self.student.architecture, self.teacher.model.architecture
        end = s.trained_ends[-1]
        size, teacher_size = sizes_of(ours.size(end)), sizes_of(theirs.size(end))
        teacher_params, student_params = self.teacher.model.parameter_count(), self.student.parameter_count()
        return {
            "command": as_begun(s.request.command or s.command()),
            "settings": recorded(self.given),
            **s.record(),
            chosen_way.RECORDED: self.way,
            "teacher_checkpoint": self.teacher.path,
            "teachers": [[t.path, t.fingerprint] for t in self.teachers],
            "d_model": size["d_model"],
            "dff": size["dff"],
            "num_heads": size["num_heads"],
            "student_layers": size["layers"],
            "teacher_layers": teacher_size["layers"],
            "teacher_params": teacher_params,
            "student_params": student_params,
            "compression_ratio": teacher_params / student_params,
            "trained_params": self._trained_parameters(self.student),
            "teacher_trained_params": self._trained_parameters(self.teacher.model),
            "output_path": str(s.output_path),
            "create_hybrid": s.files.create_hybrid,
            "hybrid_output": str(s.hybrid_output) if s.hybrid_output else None,
            "dialled_hybrids": [str(path) for path in s.dialled_hybrids.values()],
            "hybrid_parts": list(s.hybrid_parts),
            "teacher_fingerprint": self.teacher.fingerprint,
            "start_fingerprint": checkpoint.fingerprint_of(self.student),
            "topics_by_end": self._topics_by_end(),
            **imported(self.teacher),
            **self.data.record_at(theirs.channel_dim, make_channel(s.channel)),
            **environment(self.device),
            **completion.UNFINISHED,
        }

    def _trained_parameters(self, model: Transceiver) -> int:
        return sum(p.numel() for end in self.settings.trained_ends for p in getattr(model, end).parameters())

    def _topics_by_end(self) -> dict[str, list[str] | None]:
        topics: dict[str, list[str] | None] = {
            end: sorted(seen) if seen else None for end, seen in self.teacher.topics_by_end().items()
        }
        return topics | dict.fromkeys(self.settings.trained_ends, self.data.topics_seen)
