"""What distillation gains: arms that differ in their settings alone, run with the same seeds, measured on the
same sentences and draws.

An arm is a distillation; all arms and seeds are one sweep, analysed against its teacher.
"""

import logging
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from semcom.base import output_files
from semcom.base.errors import SemcomError, escape
from semcom.base.flag_words import changed, parse_over, words_of
from semcom.base.flags import flag_of, name_of
from semcom.base.varied_flags import Variant
from semcom.commands import sweep, sweep_report
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.parsers import distillation_parser
from semcom.commands.run_record import RunRecord
from semcom.commands.sweep_plan import Grid, Sweep, names_of, sweep_of
from semcom.commands.sweep_settings import SweepReport, SweepSettings
from semcom.commands.sweep_state import end_overwriting, is_there
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.training_settings import StudentConfig, TrainingConfig
from semcom.evaluation import frames, intervals
from semcom.evaluation.intervals import Estimate
from semcom.report import plots, tables
from semcom.report.cells import p_text

log = logging.getLogger(__name__)

SNRS = (0.0, 6.0, 12.0)
COLUMNS = {
    "bleu 0": "BLEU 0 dB",
    "bleu 6": "6 dB",
    "bleu 12": "12 dB",
    "validation": "validation CE",
    "kl 6": "KL 6 dB",
}
GAINED, LESS_BASE = "bleu 6", " less base"
GAIN = GAINED + LESS_BASE
PLACES = {"bleu": "{:.2f}", "validation": "{:.4f}", "kl": "{:.4f}"}
SHOWN_FIRST = ("distill_part", "student_layers", "steps")
"""Of a command: what is common to all arms."""


@dataclass(frozen=True)
class Arm:
    """changes: of settings of ``distillation.py``, under their names, the values that set the arm apart.
    base: the arm that it is compared with, None for one to compare with."""

    name: str
    changes: Mapping[str, object]
    base: str | None = "labels"

    @property
    def folder(self) -> str:
        """Of its runs, in that of the comparison."""
        return "".join(c if c.isalnum() or c in ".-" else "_" for c in self.name)

    def settings(self, common: DistilSettings, fixed: Sequence[str] = ()) -> DistilSettings:
        """What is common to all arms, with what sets this one apart. fixed: as of ``changed``."""
        return changed(common, self.changes, fixed)

    @property
    def flags(self) -> str:
        """What a person would type to set the arm apart."""
        return shlex.join(words_of(self.settings(DistilSettings()), tuple(self.changes)))


COMPARED = (
    Arm("labels", {"distill_weight": 0.0}, None),
    Arm("kd", {}),
    Arm("skl", {"kd_loss": "skl"}),
    Arm("lskd", {"standardize_logits": True}),
)
"""What experiment 8 compares: labels alone, the default, a divergence that is not mass-covering alone, and
one blind to the logits' size."""
FOLDER = Path("checkpoints/examples/evidence")
RECEIVER = DistilSettings(
    distillation=DistillationConfig(distill_part="decoder"), student=StudentConfig(student_layers=2)
)
STEPS, ANALYSED_SENTENCES = 300, 500

Gain = tuple[str, float, float | None]
"""An arm, its mean and half of its interval."""


# --- runs


@dataclass(frozen=True)
class Comparison:
    """Arms and seeds, in a folder. common: the distillation that all arms start from. measured: how the runs
    are measured. fixed: names of common settings that do not follow from an arm's. named: whether the user
    chose the folder."""

    arms: Sequence[Arm]
    seeds: Sequence[int]
    root: Path
    common: DistilSettings
    measured: SweepReport
    fixed: tuple[str, ...] = ()
    named: bool = True

    @property
    def sweep(self) -> Sweep:
        """Every arm with every seed, a seed's runs one after another."""
        runs = [(arm, seed) for seed in self.seeds for arm in self.arms]
        return sweep_of(self.root, [self._run(arm, seed) for arm, seed in runs], named=self.named)

    def _run(self, arm: Arm, seed: int) -> tuple[str, Variant[DistilSettings]]:
        settings = arm.settings(self.common, self.fixed)
        seeded = replace(settings, run=replace(settings.run, seed=seed))
        (name,) = names_of([{"seed": seed}])
        return f"{arm.folder}/{name}", Variant({"arm": arm.name, "seed": seed}, seeded)

    def commands(self, jobs: int | None = None) -> list[str]:
        """What a person would type: a sweep over the seeds for each arm."""
        settings = SweepSettings(report=self.measured, jobs=jobs)
        commands = []
        for arm in self.arms:
            common = arm.settings(self.common, self.fixed)
            files = replace(common.files, output_path=str(self.root / arm.folder))
            grid = Grid(replace(common, files=files), {"seed": self.seeds})
            commands.append(grid.command(settings, SHOWN_FIRST))
        return commands

    def run(self, jobs: int | None = None) -> pd.DataFrame:
        """All runs that are not finished yet; returns ``results``. Raises ChecksFailed where one failed, the
        others being finished and measured."""
        failed = sweep.make(self.sweep, SweepSettings(jobs=jobs))
        found = self.results()
        sweep.check_whole(self.sweep, failed)
        end_overwriting(self.sweep)
        return found

    def results(self) -> pd.DataFrame:
        """A row a finished run: arm, seed and its measures."""
        points = [point for point in self.sweep.points if is_there(point)]
        if not points:
            return pd.DataFrame(columns=["arm", "seed"])
        divergences = sweep_report.divergences(self.sweep, self.measured)
        for signature in sorted(
            {found["bleu_signature"] for found in divergences if "bleu_signature" in found}
        ):
            log.info(f"BLEU {signature}")
        rows = []
        for point in points:
            record = RunRecord.read(str(point.settings.output_path))
            by_snr = sweep_report.divergence_of(point, divergences)["by_snr"]
            rows.append({**point.varied, **measures_of(record.values, by_snr)})
        return pd.DataFrame(rows)


def measures_of(record: Mapping[str, Any], by_snr: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What one run came to, by its record and its divergence from the teacher: BLEU and KL to the teacher
    (nats a token) by SNR, validation cross-entropy, seconds of training."""
    measures = {
        "validation": record["best_loss"],
        "seconds": record["training_seconds"],
        "steps": record["steps_done"],
    }
    for snr in map("{:g}".format, SNRS):
        at = by_snr[snr]
        measures[f"bleu {snr}"] = at["bleu"]
        measures[f"kl {snr}"] = at["kl_divergence"]
        measures[f"teacher bleu {snr}"] = at["reference_bleu"]
    return measures


# --- experiment 8


def experiment(extra: Sequence[str], seeds: int, jobs: int | None, dry_run: bool) -> pd.DataFrame | None:
    """Experiment 8: ``COMPARED`` receivers of two layers over ``seeds`` seeds, 300 steps each unless
    ``extra`` says otherwise.

    Returns and prints the ``summary``, None for a dry run; leaves it as CSV and JSON, with a picture, in
    ``FOLDER``.
    """
    comparison = _comparison(extra, range(1, seeds + 1))
    if dry_run:
        for command in comparison.commands(jobs):
            log.info(f"\n$ {command}")
        return None
    arms = summary(comparison.arms, comparison.run(jobs))
    title = shlex.join(words_of(comparison.common, SHOWN_FIRST))
    log.info(f"\n{seeds} seeds, {title}\n{table(arms)}")
    keep(arms, FOLDER, title)
    return arms


def _comparison(extra: Sequence[str], seeds: Sequence[int]) -> Comparison:
    """Of ``COMPARED``, with the flags ``extra`` that the user adds to all."""
    own = {"seed", "output_path", "distill_part", "student_layers"}.union(*(arm.changes for arm in COMPARED))
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
    fixed = tuple(name_of(flag) for flag in flags)
    return Comparison(COMPARED, seeds, FOLDER, common, measured(ANALYSED_SENTENCES), fixed, named=False)


def measured(sentences: int) -> SweepReport:
    """How the runs of a comparison are measured."""
    return SweepReport(snr=SNRS, sentences=sentences, no_report=True)


# --- what the runs came to


def summary(arms: Sequence[Arm], runs: pd.DataFrame) -> pd.DataFrame:
    """A row an arm, from the rows of its ``runs``: an ``Estimate`` of each measure over the seeds, ``... less
    base`` of its paired differences to the arm's base, and ``... p`` of some of these, Holm-adjusted over the
    arms. What an arm without a base lacks is NaN."""
    by_run = runs.set_index(["arm", "seed"])
    means = _estimates(by_run)
    gained = _estimates(_less_base(arms, by_run))
    facts = [(arm.name, arm.base, len(by_run.loc[arm.name]), arm.flags) for arm in arms]
    names = [arm.name for arm in arms]
    frame = pd.DataFrame(facts, names, columns=["arm", "base", "seeds", "flags"], dtype=object)
    for name in map(str, means):
        frame[name] = means[name]
        frame[name + LESS_BASE] = gained[name]
    for name in COLUMNS:
        frame[f"{name} p"] = _adjusted(frame[name + LESS_BASE])
    return frame


def _less_base(arms: Sequence[Arm], by_run: pd.DataFrame) -> pd.DataFrame:
    """Measures of each run less those of the same seed of the arm's base, NaN where there is none."""
    base_of = {arm.name: arm.base for arm in arms}
    bases = [(base_of.get(arm), seed) for arm, seed in by_run.index]
    return by_run - by_run.reindex(bases).set_axis(by_run.index)


def _estimates(by_run: pd.DataFrame) -> pd.DataFrame:
    return by_run.groupby(level="arm", sort=False).agg(_estimate)


def _estimate(values: pd.Series) -> Estimate | float:
    return math.nan if values.hasnans else intervals.estimate(values.tolist())


def _adjusted(gains: pd.Series) -> pd.Series:
    """The p of each ``Estimate``, Holm-adjusted."""
    tested = {arm: gain.p for arm, gain in gains.dropna().items() if gain.p is not None}
    return pd.Series(dict(zip(tested, intervals.holm(list(tested.values())))), dtype=float)


def gains(arms: pd.DataFrame) -> list[Gain]:
    """BLEU that each arm of a ``summary`` gains over its base at 6 dB."""
    found = arms.set_index("arm")[GAIN].dropna()
    return [(str(name), gain.mean, gain.half_width) for name, gain in found.items()]


def table(arms: pd.DataFrame) -> str:
    """Means, and what each arm of a ``summary`` gains over its base at 6 dB."""
    shown = {"arm": arms["arm"]}
    for name, title in COLUMNS.items():
        shown[title] = arms[name].map(PLACES[name.split()[0]].format)
    shown["gain 6 dB"] = arms[GAIN].map("{:.2f}".format, na_action="ignore")
    shown["Holm p"] = arms[f"{GAINED} p"].map(p_text, na_action="ignore")
    return tables.text(pd.DataFrame(shown, dtype=object))


def keep(arms: pd.DataFrame, root: Path, title: str, stem: str = "arms") -> None:
    """A ``summary`` as CSV and JSON, and what each arm gains at 6 dB as a picture."""
    rows = [_plain(row) for row in frames.records(arms)]
    tables.write_csv(root / f"{stem}.csv", rows)
    output_files.write_json(root / f"{stem}.json", {"title": title, "rows": rows})
    plots.plot_intervals({"BLEU gained at 6 dB over its base": gains(arms)}, root / f"{stem}.png", mark=0)
    log.info(f"\nmade {escape(root / stem)}.csv, .json and .png")


def _plain(row: Mapping[str, object]) -> dict[str, object]:
    """With a number and ``... half width`` in the place of each ``Estimate``."""
    plain: dict[str, object] = {}
    for name, value in row.items():
        if isinstance(value, Estimate):
            plain |= {name: value.mean, f"{name} half width": value.half_width}
        else:
            plain[name] = value
    return plain
