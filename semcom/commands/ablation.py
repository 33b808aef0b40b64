"""What distillation gains: arms that differ in their settings alone, run with the same seeds, measured on the
same sentences and draws.

An arm is a distillation; each of its runs is analysed against its teacher.
"""

import json
import logging
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from semcom.base import output_files, places
from semcom.base.errors import SemcomError, escape
from semcom.base.flag_words import parse_over, words_of
from semcom.base.flags import changed, flag_of, name_of
from semcom.base.settings import OutputConfig, RunConfig
from semcom.commands.analyse import analyse
from semcom.commands.analyse_settings import AnalysisSettings, analysis_like
from semcom.commands.analysis_results import Record
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

    def folder(self, root: Path, seed: int) -> Path:
        safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in self.name)
        return root / safe / f"seed{seed}"

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
    distillation=DistillationConfig(distill_part="decoder"),
    student=StudentConfig(student_layers=2),
    run=RunConfig(quiet=True),
)
STEPS, ANALYSED_SENTENCES = 300, 500

Measures = dict[str, float]
"""What one run came to."""
Gain = tuple[str, float, float | None]
"""An arm, its mean and half of its interval."""


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

    def run(self, *, share: tuple[int, int] = (0, 1)) -> pd.DataFrame:
        """All runs that are not finished yet; returns ``results``. share: (k, n), this process's part of them
        where n processes work on one folder.

        Raises SemcomError where the folder holds runs of other flags: they would not compare.
        """
        self._keep_settings()
        made = {}
        for arm, seed in self._runs[share[0] :: share[1]]:
            if finished(arm, seed, self.root) is None:
                made[arm.name, seed] = self._make(arm, seed)
        return self.results(made)

    def results(self, made: Mapping[tuple[str, int], Measures] | None = None) -> pd.DataFrame:
        """A row a finished run: arm, seed and its measures.

        made: by arm and seed, what this call came to; the other runs are read from what they left.
        """
        rows: list[dict[str, object]] = []
        for arm, seed in self._runs:
            measures = (made or {}).get((arm.name, seed)) or finished(arm, seed, self.root)
            if measures is not None:
                rows.append({"arm": arm.name, "seed": seed, **measures})
        return pd.DataFrame(rows, columns=None if rows else ["arm", "seed"])

    @property
    def _runs(self) -> list[tuple[Arm, int]]:
        return [(arm, seed) for seed in self.seeds for arm in self.arms]

    def _make(self, arm: Arm, seed: int) -> Measures:
        overwriting = OutputConfig(overwrite=True)
        distillation = replace(self.distillation(arm, seed), outputs=overwriting)
        log.info(f"\n$ {distillation.command(SHOWN_FIRST)}")
        outcome = distil(distillation)
        (divergence,) = analyse(replace(self.measurement(arm, seed), outputs=overwriting))
        return measures_of(outcome.record, divergence)

    def _keep_settings(self) -> None:
        kept = self.root / SETTINGS
        settings = {"distillation": words_of(self.common, self.fixed), "analysis": words_of(self.analysis)}
        if kept.exists() and json.loads(kept.read_text(encoding="utf-8")) != settings:
            raise SemcomError(
                f"{escape(self.root)}: holds runs of other flags ({escape(kept)} says which), which would "
                "not compare; name another folder"
            )
        output_files.write_json(kept, settings)


def finished(arm: Arm, seed: int, root: Path) -> Measures | None:
    """What a run of an earlier call, or of another process, came to; None where it is not there. Raises
    SemcomError where it was made with other flags than the arm has now."""
    folder = arm.folder(root, seed)
    if not (folder / MEASURED).exists():
        return None
    record = json.loads((folder / "distillation_config.json").read_text(encoding="utf-8"))
    wanted = arm.settings(DistilSettings()).record()
    for name in sorted(arm.changes):
        if record.get(name) != wanted[name]:
            raise SemcomError(
                f"{escape(folder)}: was run with {name} {escape(record.get(name))}, arm {arm.name!r} has "
                f"{escape(wanted[name])}; remove it, or name another folder"
            )
    (divergence,) = json.loads((folder / MEASURED).read_text(encoding="utf-8"))["records"]
    return measures_of(record, divergence)


def measures_of(record: Mapping[str, Any], divergence: Record) -> Measures:
    """What one run came to, by its record and its divergence from the teacher: BLEU and KL to the teacher
    (nats a token) by SNR, validation cross-entropy, seconds of training."""
    measures = {
        "validation": record["best_loss"],
        "seconds": record["training_seconds"],
        "steps": record["steps_done"],
    }
    for snr in map("{:g}".format, SNRS):
        at = divergence["by_snr"][snr]
        measures[f"bleu {snr}"] = at["bleu"]
        measures[f"kl {snr}"] = at["kl_divergence"]
        measures[f"teacher bleu {snr}"] = at["reference_bleu"]
    return measures


# --- experiment 8


def experiment(extra: Sequence[str], seeds: int, dry_run: bool) -> pd.DataFrame | None:
    """Experiment 8: ``COMPARED`` receivers of two layers over ``seeds`` seeds, 300 steps each unless
    ``extra`` says otherwise.

    Returns and prints the ``summary``, None for a dry run; leaves it as CSV and JSON, with a picture, in
    ``FOLDER``.
    """
    comparison = _comparison(extra, range(1, seeds + 1))
    if dry_run:
        for seed in comparison.seeds:
            for arm in comparison.arms:
                log.info(f"\n$ {comparison.distillation(arm, seed).command(SHOWN_FIRST)}")
                log.info(f"\n$ {comparison.measurement(arm, seed).command()}")
        return None
    place = places.Place("--output-path", FOLDER, named=False, overwrite=False, folder=True)
    if line := place.make_room():
        log.info(line)
    arms = summary(comparison.arms, comparison.run())
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
    analysis = analysis_like(common)
    measured = replace(analysis.evaluation, sentences=ANALYSED_SENTENCES)
    analysis = replace(analysis, evaluation=measured)
    fixed = tuple(name_of(flag) for flag in flags)
    return Comparison(COMPARED, seeds, FOLDER, common, analysis, fixed)


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
    shown["Holm p"] = arms[f"{GAINED} p"].map("{:.3f}".format, na_action="ignore")
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
