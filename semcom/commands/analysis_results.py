"""What an analysis measured, as the results file has it and as the console shows it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from semcom.base.device import environment
from semcom.base.errors import escape
from semcom.base.flags import as_record
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.inputs import LOSS_SETTINGS
from semcom.commands.measuring import RECEIVER_KNOWS, described
from semcom.data.corpus import Corpus
from semcom.evaluation import frames, measures
from semcom.evaluation.runs import UNFINISHED, Run
from semcom.evaluation.study import Row, Study
from semcom.evaluation.text_scoring import TextScoring
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.report import tables

log = logging.getLogger(__name__)

RECORDED = ("temperature", "distill_weight", "distill_part", "student_layers", "hybrid_parts", *LOSS_SETTINGS)
OTHER_VOCABULARIES = {"bleu": "BLEU", "chrf": "chrF", "exact": "exact"}
"""Columns of checkpoints whose tokens do not compare with their teacher's."""
Record = dict[str, Any]
"""A run's divergence from its teacher."""


@dataclass
class Analysis:
    """What was measured, on how many sentences of a corpus, whose texts are scored by ``scoring``.

    studies, teachers: one of each teacher and channel. other_vocabularies: of each checkpoint whose tokens do
    not compare with its teacher's, rows of text measures.
    """

    settings: AnalysisSettings
    corpus: Corpus
    sentences: int
    device: torch.device
    scoring: TextScoring
    studies: list[Study] = field(default_factory=list)
    teachers: list[Checkpoint] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    other_vocabularies: list[list[Row]] = field(default_factory=list)

    @property
    def search(self) -> Search:
        return search_of(self.settings)


def search_of(settings: AnalysisSettings) -> Search:
    return Search(settings.evaluation.beam_width, settings.evaluation.length_penalty)


def record_of(run: Run, teacher: Checkpoint, study: Study) -> Record:
    """A run's divergence by SNR, over all sentences."""
    own, reference = (
        measures.of_sentences(study.measured.pairs[pair.key].sums)
        for pair in (study.pairing.own[run.label], study.pairing.reference)
    )
    by_snr = {}
    for k, snr in enumerate(study.snrs):
        values = {name: float(value[k]) for name, value in own.items()}
        theirs = {name: float(value[k]) for name, value in reference.items()}
        beside = {m.reference_name: theirs[m.name] for m in measures.MEASURES if m.teachers_own}
        gaps = {m.gap_name: values[m.name] - theirs[m.name] for m in measures.with_gap()}
        score = values["kl_divergence"] * (1 - values["agreement_rate"])
        at_snr = {**values, **beside, **gaps, "semantic_difference_score": score}
        by_snr[f"{snr:g}"] = {name: None if np.isnan(value) else value for name, value in at_snr.items()}
    at_reference = by_snr[f"{study.reference_snr:g}"]
    return {
        "model": run.label,
        "checkpoint": run.checkpoint.path,
        "teacher": teacher.path,
        **study.measured.scoring.record,
        "unfinished": run.made.get(UNFINISHED) or None,
        "channel": study.channel,
        **{name: run.made.get(name) for name in RECORDED},
        "dial": frames.plain_values(asdict(run.dial)) if run.dial else None,
        **{measure.name: at_reference[measure.name] for measure in measures.headlines()},
        "semantic_difference_score": at_reference["semantic_difference_score"],
        "calibration_temperature": study.measured.pairs[study.pairing.own[run.label].key].temperature,
        "by_snr": by_snr,
    }


def results_of(analysis: Analysis) -> dict[str, object]:
    """All but the studies, which a report alone has, as JSON has them."""
    settings = analysis.settings
    results = {
        "channel": ", ".join(dict.fromkeys(study.channel for study in analysis.studies)),
        "reference_snr": settings.report.reference_snr,
        "sentences": analysis.sentences,
        "seed": settings.run.seed,
        "decoding": str(analysis.search),
        **analysis.scoring.record,
        "note": RECEIVER_KNOWS,
        "environment": environment(analysis.device),
        "settings": as_record(settings.evaluation, settings.report, settings.corpus),
        "corpus": analysis.corpus.name,
        "corpus_fingerprint": analysis.corpus.fingerprint,
        "records": analysis.records,
    }
    if analysis.other_vocabularies:
        rows = [row for rows in analysis.other_vocabularies for row in rows]
        results["other_vocabularies"] = frames.plain_values(rows)
    return results


def show(analysis: Analysis) -> None:
    """The records of each teacher and channel, and checkpoints of other vocabularies."""
    for teacher, channel in dict.fromkeys((r["teacher"], r["channel"]) for r in analysis.records):
        group = [r for r in analysis.records if (r["teacher"], r["channel"]) == (teacher, channel)]
        _show_group(analysis, teacher, channel, group)
    log.info(str(analysis.scoring))
    if analysis.other_vocabularies:
        rows = [
            [row["pair"], row["channel"], row["snr"], *(row[name].value for name in OTHER_VOCABULARIES)]
            for rows in analysis.other_vocabularies
            for row in rows
        ]
        table = tables.text(
            frames.frame_of(rows, ["model", "channel", "SNR, dB", *OTHER_VOCABULARIES.values()])
        )
        log.info(f"\nof another vocabulary or signal width than the teacher's: text measures alone\n{table}")


def _show_group(analysis: Analysis, teacher: str, channel: str, group: Sequence[Record]) -> None:
    settings = analysis.settings
    measured = described(analysis.sentences, settings.evaluation)
    log.info(
        f"\nsemantic divergence from teacher {escape(teacher)} at {settings.report.reference_snr:g} dB; "
        f"{measured}, {channel}, seed {settings.run.seed}, {analysis.search}\n"
        f"KL, JS and the cross-entropy gap in nats a token; {RECEIVER_KNOWS}"
    )
    log.info(_at_reference(group, f"{settings.report.reference_snr:g}"))
    for measure in measures.followed():
        if not measure.gap:
            rows = _by_snr(group, measure, teacher)
            table = tables.pivot(rows, "model", "snr", measure.name)
            log.info(f"\n{measure.title_with_unit}, by SNR in dB\n{table}")


def _at_reference(group: Sequence[Record], snr: str) -> str:
    columns = _columns()
    rows = []
    for record in group:
        values = record["by_snr"][snr]
        made = [record["model"], record["distill_part"], record["temperature"]]
        rows.append([*made, *(values[name] for name in columns)])
    return tables.text(frames.frame_of(rows, ["model", "part", "T", *columns.values()]))


def _columns() -> dict[str, str]:
    """Name in a record -> heading on the console."""
    columns: dict[str, str] = {}
    for measure in measures.on_console():
        if measure.gap:
            columns[measure.gap_name] = f"{measure.label} gap"
            continue
        columns[measure.name] = measure.label
        if measure.teachers_own:
            columns[measure.reference_name] = f"teacher {measure.label}"
    return columns


def _by_snr(group: Sequence[Record], measure: measures.Measure, teacher: str) -> list[Mapping[str, object]]:
    """A row a run and SNR; below them the teacher's own."""
    rows: list[Mapping[str, object]] = [
        {"model": record["model"], "snr": float(snr), measure.name: values[measure.name]}
        for record in group
        for snr, values in record["by_snr"].items()
    ]
    if measure.teachers_own:
        rows += [
            {"model": f"teacher {teacher}", "snr": float(snr), measure.name: values[measure.reference_name]}
            for snr, values in group[0]["by_snr"].items()
        ]
    return rows
