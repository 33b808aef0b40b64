"""What the runs of a sweep came to: a row each, and the divergence report of their folder with its
verdict."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semcom.base import json_files
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import as_record
from semcom.base.settings import OutputConfig, RunConfig
from semcom.base.varied_flags import words_of_value
from semcom.channel.channels import make_channel
from semcom.commands import completion, sweep_state
from semcom.commands.analyse import RESULTS, analyse
from semcom.commands.analyse_settings import AnalysisSettings, analysis_like
from semcom.commands.analysis_results import Record
from semcom.commands.measuring import nearest
from semcom.commands.run_record import BEST, FILE, RunRecord
from semcom.commands.settings import WHOLE_CORPUS
from semcom.commands.sweep_plan import Point, Sweep
from semcom.commands.sweep_settings import SweepReport
from semcom.commands.sweep_state import is_there
from semcom.data.settings import CorpusConfig
from semcom.evaluation import frames, intervals
from semcom.evaluation.settings import EvaluationConfig
from semcom.evaluation.text_scoring import scored_alike, way_of
from semcom.report import plots, tables
from semcom.report.settings import ReportConfig

log = logging.getLogger(__name__)

MEASURED = "measured"
"""In a sweep's plan: the digest of the results that its report is made of."""
TABLE, PICTURE, REPORT = "runs.csv", "runs.png", "report"
ROWS_SHOWN, LINES_DRAWN = 60, 40
MEASURES = {
    "best_loss": "validation CE",
    "bleu": "BLEU {snr:g} dB",
    "kl_divergence": "KL {snr:g} dB",
    "seconds": "seconds",
}
"""Columns of a row, and their headings on the console; what a run lacks is None."""
DRAWN = {
    "best_loss": "best validation cross-entropy",
    "bleu": "BLEU at {snr:g} dB",
    "kl_divergence": "KL at {snr:g} dB, nats a token",
}
SIGNATURE = ("bleu_signature", "text_normalization")
"""Of BLEU: in the table's file, and once on the console."""
Row = dict[str, object]


@dataclass(frozen=True)
class Results:
    """rows: one a run, in the order of the sweep. snr: at which they were measured. wrong: why the
    divergences are not there; empty where they are."""

    rows: Sequence[Row]
    snr: float
    wrong: str = ""


def report(sweep: Sweep, settings: SweepReport) -> Results:
    """Measure what is finished of a sweep, and leave table, picture and, if it is wanted, the report in its
    folder."""
    analysis = analysis_of(sweep, settings)
    records, wrong = _records(sweep, analysis)
    snr = analysis.report.reference_snr
    rows = comparable([row_of(point, records, snr) for point in sweep.points])
    found = Results(rows, snr, wrong)
    _show(found)
    tables.write_csv(sweep.root / TABLE, frames.frame_of(rows))
    made = [str(sweep.root / TABLE), *_draw(sweep, found)]
    log.info(f"\nmade {' and '.join(map(escape, made))}")
    return found


def analysis_of(sweep: Sweep, settings: SweepReport) -> AnalysisSettings:
    """The analysis of all runs in the folder of a sweep: on the text that they have in common, through each
    of their channels."""
    runs = [point.settings for point in sweep.points]
    first, like = runs[0], analysis_like(runs[0])
    reference = nearest(settings.snr, first.ask.reference_snr) if settings.snr else first.ask.reference_snr
    same_text = all(run.corpus.corpus == first.corpus.corpus for run in runs)
    same_seed = all(run.run.seed == first.run.seed for run in runs)
    folder = None if settings.no_report else str(sweep.root / REPORT)
    return replace(
        like,
        files=replace(
            like.files, runs=str(sweep.root), teacher_checkpoint=None, output=str(sweep.root / RESULTS)
        ),
        outputs=OutputConfig(overwrite=True),
        report=replace(like.report, reference_snr=reference, report_dir=folder, no_report=settings.no_report),
        evaluation=replace(like.evaluation, snr=settings.snr or (reference,), sentences=settings.sentences),
        corpus=like.corpus if same_text else WHOLE_CORPUS,
        channels=tuple(dict.fromkeys(run.channel for run in runs)),
        run=replace(first.run, seed=first.run.seed if same_seed else RunConfig.seed),
    )


def _records(sweep: Sweep, analysis: AnalysisSettings) -> tuple[list[Record], str]:
    """Divergences, or why there are none: what cannot be compared still has its own scores."""
    if not any(map(is_there, sweep.points)):
        return [], ""
    try:
        return analyse(analysis), ""
    except SemcomError as error:
        log.warning(f"the runs could not be compared: {error}")
        return [], str(error)


def row_of(point: Point, records: Sequence[Record], snr: float) -> Row:
    """A run's name, what sets it apart, and what it came to; a run that is not finished has names alone."""
    row: Row = {"run": point.name} | {name: _cell(value) for name, value in point.varied.items()}
    if not is_there(point):
        return row | dict.fromkeys((*MEASURES, *SIGNATURE))
    record = RunRecord.read(str(point.settings.output_path))
    found = divergence_of(point, records)
    at = found.get("by_snr", {}).get(f"{snr:g}", {})
    return row | {
        "best_loss": record.number("best_loss"),
        "bleu": at.get("bleu"),
        "kl_divergence": at.get("kl_divergence"),
        "seconds": record.number("training_seconds"),
        **{name: found.get(name) for name in SIGNATURE},
    }


def comparable(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows; without BLEU, which a line says, where it is not of the same words in all."""
    if scored_alike(rows):
        return rows
    ways = sorted({way for row in rows if (way := way_of(row))})
    log.warning(f"BLEU is left out: it is not of the same words in all runs ({'; '.join(map(escape, ways))})")
    return [{**row, "bleu": None, **dict.fromkeys(SIGNATURE)} for row in rows]


def _cell(value: object) -> object:
    return " ".join(words_of_value(value)) if isinstance(value, tuple) else value


def divergence_of(point: Point, records: Sequence[Record]) -> Record:
    """Of the run's best student from its teacher, through the channel that it learned with; empty where it
    was not measured."""
    best = str(point.settings.output_path / BEST)
    channel = str(make_channel(point.settings.channel))
    ours = [each for each in records if (each["checkpoint"], each["channel"]) == (best, channel)]
    return ours[0] if ours else {}


def divergences(sweep: Sweep, settings: SweepReport) -> list[Record]:
    """Of all finished runs of a sweep: those that an earlier call has left, unless a run is younger."""
    kept = sweep.root / RESULTS
    records = [point.settings.output_path / FILE for point in sweep.points if is_there(point)]
    analysis = analysis_of(sweep, settings)
    if kept.is_file() and kept.stat().st_mtime_ns > max(file.stat().st_mtime_ns for file in records):
        asked = as_record(analysis.evaluation, analysis.report, analysis.corpus)
        if (found := _measured(kept, sweep_state.kept(sweep).get(MEASURED), asked)) is not None:
            return found
    made = analyse(analysis)
    sweep_state.keep(sweep, **{MEASURED: completion.digest_of(kept)})
    return made


def _measured(file: Path, digest: object, asked: object) -> list[Record] | None:
    """What an earlier call has measured as it is ``asked``; None where the file is not that call's, which a
    line says."""
    try:
        if completion.digest_of(file) != digest:
            raise json_files.NotJSON("it is not the one that the sweep has made")
        found = json_files.read(file)
    except (OSError, json_files.NotJSON) as error:
        log.warning(f"{escape(file)}: not to be trusted ({json_files.problem(error)}); measured again")
        return None
    not_given = as_record(EvaluationConfig(), ReportConfig(), CorpusConfig())
    measured = {**json_files.parsed(json.dumps(not_given)), **found["settings"]}
    return found["records"] if measured == json_files.parsed(json.dumps(asked)) else None


def _show(found: Results) -> None:
    shown = found.rows[:ROWS_SHOWN]
    titles = {name: title.format(snr=found.snr) for name, title in MEASURES.items()}
    frame = frames.frame_of(shown).drop(columns=[*SIGNATURE]).rename(columns=titles)
    signed = next((f"\nBLEU {row['bleu_signature']}" for row in shown if row["bleu_signature"]), "")
    left = len(found.rows) - len(shown)
    log.info(f"\n{tables.text(frame)}{signed}" + (f"\nand {left} more runs in {TABLE}" if left else ""))


def _draw(sweep: Sweep, found: Results) -> list[str]:
    """What each setting came to, with its interval over the seeds; the picture's path, if there are several
    settings that one picture holds."""
    groups: dict[str, list[Row]] = {}
    for point, row in zip(sweep.points, found.rows):
        set_apart = {name: words_of_value(value) for name, value in point.varied.items() if name != "seed"}
        label = ", ".join(f"{name.replace('_', '-')} {' '.join(words)}" for name, words in set_apart.items())
        groups.setdefault(label, []).append(row)
    panels = {title.format(snr=found.snr): _lines(groups, name) for name, title in DRAWN.items()}
    panels = {title: lines for title, lines in panels.items() if lines}
    if not panels or not 1 < len(groups) <= LINES_DRAWN:
        return []
    path = sweep.root / PICTURE
    plots.plot_intervals(panels, path)
    return [str(path)]


def _lines(groups: Mapping[str, Sequence[Row]], name: str) -> list[tuple[str, float, float | None]]:
    """Of each group that has it, the mean of a measure and half of its interval."""
    values = {label: [row[name] for row in rows] for label, rows in groups.items()}
    known = {label: [v for v in of if isinstance(v, float)] for label, of in values.items()}
    estimates = {label: intervals.estimate(of) for label, of in known.items() if of}
    return [(label, found.mean, found.half_width) for label, found in estimates.items()]
