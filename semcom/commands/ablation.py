"""What distillation gains: arms that differ in their flags alone, run with the same seeds, measured on the
same sentences and draws.

An arm is a distillation; each of its runs is analysed against its teacher.
"""

import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from semcom.base import output_files
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import flag_of, name_of, parse_over, words_of
from semcom.base.settings import OutputConfig, RunConfig
from semcom.commands.analyse import analyse
from semcom.commands.analyse_settings import AnalysisSettings, analysis_like
from semcom.commands.distil import distil
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.parsers import distillation_parser
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
from semcom.evaluation import frames, intervals
from semcom.evaluation.intervals import Estimate
from semcom.report import plots, tables

log = logging.getLogger(__name__)

SNRS = (0.0, 6.0, 12.0)
MEASURED, SETTINGS = "divergence.json", "settings.json"
COLUMNS = {
    "bleu 0": "BLEU 0 dB",
    "bleu 6": "6 dB",
    "bleu 12": "12 dB",
    "validation": "validation CE",
    "kl 6": "KL 6 dB",
}
GAIN = "bleu 6"
PLACES = {"bleu": ".2f", "validation": ".4f", "kl": ".4f"}
SHOWN_FIRST = ("distill_part", "student_layers", "steps")
"""Of a command: what is common to all arms."""


@dataclass(frozen=True)
class Arm:
    """flags: of ``distillation.py``, what sets the arm apart. base: the arm that it is compared with, None
    for one to compare with."""

    name: str
    flags: str
    base: str | None = "labels"

    def folder(self, root: Path, seed: int) -> Path:
        safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in self.name)
        return root / safe / f"seed{seed}"

    def settings(self, common: DistilSettings, fixed: Sequence[str] = ()) -> DistilSettings:
        """What is common to all arms, with what sets this one apart. fixed: as of ``parse_over``."""
        return parse_over(distillation_parser(), shlex.split(self.flags), common, fixed)

    @property
    def names(self) -> set[str]:
        """Of the settings that set the arm apart."""
        flags = [word.split("=")[0] for word in shlex.split(self.flags) if word.startswith("--")]
        return {name_of(flag) for flag in flags}


COMPARED = (
    Arm("labels", "--distill-weight 0", None),
    Arm("kd", ""),
    Arm("skl", "--kd-loss skl"),
    Arm("lskd", "--standardize-logits"),
)
"""What experiment 8 compares: labels alone, the default, a divergence that is not mass-covering alone, and
one blind to the logits' size."""
FOLDER = Path("checkpoints/examples/evidence")
RECEIVER = DistilSettings(
    distillation=DistillationConfig(distill_part="decoder"),
    student=StudentConfig(student_layers=2),
    run=RunConfig(quiet=True),
)
STEPS, ANALYSED_SENTENCES = 300, 500

Gain = tuple[str, float, float | None]  # an arm, its mean and half of its interval


# --- runs


@dataclass(frozen=True)
class Comparison:
    """Arms and seeds, in a folder. common: the distillation that all arms start from. analysis: how each run
    is measured. fixed: names of common settings that do not follow from an arm's."""

    arms: Sequence[Arm]
    seeds: Sequence[int]
    root: Path
    common: DistilSettings
    analysis: AnalysisSettings
    fixed: tuple[str, ...] = ()

    def distillation(self, arm: Arm, seed: int) -> DistilSettings:
        run = arm.settings(self.common, self.fixed)
        files = replace(run.files, output_path=str(arm.folder(self.root, seed)))
        return replace(run, files=files, run=replace(run.run, seed=seed))

    def measurement(self, arm: Arm, seed: int) -> AnalysisSettings:
        folder, analysis = arm.folder(self.root, seed), self.analysis
        return replace(
            analysis,
            checkpoints=(str(folder / "best_student_model.pt"),),
            evaluation=replace(analysis.evaluation, snr=SNRS),
            report=replace(analysis.report, no_report=True),
            files=replace(analysis.files, output=str(folder / MEASURED)),
        )

    def run(self, *, share: tuple[int, int] = (0, 1)) -> None:
        """All runs that are not finished yet. share: (k, n), this process's part of them where n processes
        work on one folder.

        Raises SemcomError where the folder holds runs of other flags: they would not compare.
        """
        self._keep_settings()
        overwriting = OutputConfig(overwrite=True)
        todo = [(arm, seed) for seed in self.seeds for arm in self.arms]
        for arm, seed in todo[share[0] :: share[1]]:
            if finished(arm, seed, self.root):
                continue
            distillation = replace(self.distillation(arm, seed), outputs=overwriting)
            log.info(f"\n$ {distillation.command(SHOWN_FIRST)}")
            distil(distillation)
            analyse(replace(self.measurement(arm, seed), outputs=overwriting))

    def _keep_settings(self) -> None:
        kept = self.root / SETTINGS
        settings = {"distillation": words_of(self.common, self.fixed), "analysis": words_of(self.analysis)}
        if kept.exists() and json.loads(kept.read_text(encoding="utf-8")) != settings:
            raise SemcomError(
                f"{escape(self.root)}: holds runs of other flags ({escape(kept)} says which), which would "
                "not compare; name another folder"
            )
        output_files.write_json(kept, settings)


def finished(arm: Arm, seed: int, root: Path) -> bool:
    """Whether the run is there. Raises SemcomError where it was made with other flags than the arm has
    now."""
    folder = arm.folder(root, seed)
    if not (folder / MEASURED).exists():
        return False
    record = json.loads((folder / "distillation_config.json").read_text(encoding="utf-8"))
    wanted = arm.settings(DistilSettings()).record()
    for name in sorted(arm.names):
        if record.get(name) != wanted[name]:
            raise SemcomError(
                f"{escape(folder)}: was run with {name} {escape(record.get(name))}, arm {arm.name!r} has "
                f"{escape(wanted[name])}; remove it, or name another folder"
            )
    return True


# --- experiment 8


def experiment(extra: Sequence[str], seeds: int, dry_run: bool) -> "list[Line]":
    """Experiment 8: ``COMPARED`` receivers of two layers over ``seeds`` seeds, 300 steps each unless
    ``extra`` says otherwise.

    Returns and prints the lines of ``collect``; leaves them as CSV and JSON, with a picture, in ``FOLDER``.
    """
    comparison = _comparison(extra, range(1, seeds + 1))
    if dry_run:
        for seed in comparison.seeds:
            for arm in comparison.arms:
                log.info(f"\n$ {comparison.distillation(arm, seed).command(SHOWN_FIRST)}")
                log.info(f"\n$ {comparison.measurement(arm, seed).command()}")
        return []
    place = output_files.Place("--output-path", FOLDER, named=False, overwrite=False, folder=True)
    if line := place.make_room():
        log.info(line)
    comparison.run()
    lines = collect(comparison.arms, comparison.seeds, FOLDER)
    title = shlex.join(words_of(comparison.common, SHOWN_FIRST))
    log.info(f"\n{seeds} seeds, {title}\n{table(lines)}")
    keep(lines, FOLDER, title)
    return lines


def _comparison(extra: Sequence[str], seeds: Sequence[int]) -> Comparison:
    """Of ``COMPARED``, with the flags ``extra`` that the user adds to all."""
    own = {"seed", "output_path", "distill_part", "student_layers"}.union(*(arm.names for arm in COMPARED))
    refused = {flag_of(name) for name in own}
    given = [word for word in extra if word.startswith("--")]
    flags = dict.fromkeys(word.split("=")[0] for word in given)
    for word in given:
        if word.split("=")[0] in refused:
            raise SemcomError(
                f"{escape(word)}: experiment 8 sets it; for another value type the command yourself, "
                "see --dry-run"
            )
    lengths = {"--steps", "--epochs", "--minutes"}
    training = TrainingConfig() if lengths & flags.keys() else TrainingConfig(steps=STEPS)
    common = parse_over(distillation_parser(), extra, replace(RECEIVER, training=training))
    analysis = analysis_like(common)
    measured = replace(analysis.evaluation, sentences=ANALYSED_SENTENCES)
    analysis = replace(analysis, evaluation=measured)
    fixed = tuple(name_of(flag) for flag in flags)
    return Comparison(COMPARED, seeds, FOLDER, common, analysis, fixed)


# --- what the runs came to


@dataclass(frozen=True)
class Line:
    """An arm over seeds: mean and interval of each measure, their paired differences to the arm's base, and
    the p of some of these, Holm-adjusted over the arms."""

    arm: Arm
    seeds: int
    measures: dict[str, Estimate]
    less_base: dict[str, Estimate]
    p: dict[str, float] = field(default_factory=dict)

    def flat(self) -> dict[str, object]:
        """Plain values, for files."""
        row: dict[str, object] = {
            "arm": self.arm.name,
            "base": self.arm.base,
            "seeds": self.seeds,
            "flags": self.arm.flags,
        }
        for name, estimate in self.measures.items():
            row |= {name: estimate.mean, f"{name} half width": estimate.half_width}
            if gain := self.less_base.get(name):
                row |= {f"{name} less base": gain.mean, f"{name} less base half width": gain.half_width}
        return row | {f"{name} p": p for name, p in self.p.items()}


def measured(arm: Arm, seed: int, root: Path) -> dict[str, float]:
    """What one run came to: BLEU and KL to the teacher (nats a token) by SNR, validation cross-entropy,
    seconds of training."""
    folder = arm.folder(root, seed)
    record = json.loads((folder / "distillation_config.json").read_text(encoding="utf-8"))
    divergence = json.loads((folder / MEASURED).read_text(encoding="utf-8"))
    by_snr = divergence["records"][0]["by_snr"]
    values = {
        "validation": record["best_loss"],
        "seconds": record["training_seconds"],
        "steps": record["steps_done"],
    }
    for snr in map("{:g}".format, SNRS):
        at = by_snr[snr]
        values |= {
            f"bleu {snr}": at["bleu"],
            f"kl {snr}": at["kl_divergence"],
            f"teacher bleu {snr}": at["reference_bleu"],
        }
    return values


def collect(arms: Sequence[Arm], seeds: Sequence[int], root: Path) -> list[Line]:
    """A line an arm, from what its finished runs left."""
    values = {arm.name: [measured(arm, seed, root) for seed in seeds] for arm in arms}
    lines = [_line(arm, values[arm.name], values[arm.base] if arm.base is not None else None) for arm in arms]
    for name in COLUMNS:
        tested = [(line, p) for line in lines if (p := _p(line, name)) is not None]
        for (line, _), p in zip(tested, intervals.holm([p for _, p in tested])):
            line.p[name] = p
    return lines


def _line(arm: Arm, ours: Sequence[dict[str, float]], base: Sequence[dict[str, float]] | None) -> Line:
    """ours, base: what each seed came to."""
    measures, less_base = {}, {}
    for name in ours[0]:
        column = [values[name] for values in ours]
        measures[name] = intervals.estimate(column)
        if base is not None:
            less_base[name] = intervals.paired(column, [values[name] for values in base])
    return Line(arm, len(ours), measures, less_base)


def _p(line: Line, name: str) -> float | None:
    return line.less_base[name].p if name in line.less_base else None


def gains(lines: Sequence[Line]) -> list[Gain]:
    """BLEU that each arm gains over its base at 6 dB."""
    found = [(line.arm.name, line.less_base[GAIN]) for line in lines if GAIN in line.less_base]
    return [(name, gain.mean, gain.half_width) for name, gain in found]


def table(lines: Sequence[Line]) -> str:
    """Means, and what each arm gains over its base at 6 dB."""
    rows: list[list[object]] = []
    for line in lines:
        measures = [format(line.measures[name], PLACES[name.split()[0]]) for name in COLUMNS]
        gain, p = line.less_base.get(GAIN), line.p.get(GAIN)
        tested = [f"{gain:.2f}" if gain else None, f"{p:.3f}" if p is not None else None]
        rows.append([line.arm.name, *measures, *tested])
    return tables.text(frames.frame_of(rows, ["arm", *COLUMNS.values(), "gain 6 dB", "Holm p"]))


def keep(lines: Sequence[Line], root: Path, title: str, stem: str = "arms") -> None:
    """The lines as CSV and JSON, and what each arm gains at 6 dB as a picture."""
    rows = [line.flat() for line in lines]
    tables.write_csv(root / f"{stem}.csv", rows)
    output_files.write_json(root / f"{stem}.json", {"title": title, "rows": rows})
    plots.plot_intervals({"BLEU gained at 6 dB over its base": gains(lines)}, root / f"{stem}.png", mark=0)
    log.info(f"\nmade {escape(root / stem)}.csv, .json and .png")
