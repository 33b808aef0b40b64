"""What an analysis measured, as the results file has it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from semcom.base.device import environment
from semcom.base.flags import as_record
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.inputs import LOSS_SETTINGS
from semcom.commands.measuring import RECEIVER_KNOWS
from semcom.data.corpus import Corpus
from semcom.evaluation import frames, measures
from semcom.evaluation.runs import UNFINISHED, Run
from semcom.evaluation.study import Row, Study
from semcom.evaluation.text_scoring import TextScoring
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.report.sections.alignment import Alignment

RECORDED = ("temperature", "distill_weight", "distill_part", "student_layers", "hybrid_parts", *LOSS_SETTINGS)
Record = dict[str, Any]
"""A run's divergence from its teacher."""


@dataclass
class Analysis:
    """What was measured, on how many sentences of a corpus, whose texts are scored by ``scoring``.

    way: the line about the kernels that decoded.

    studies, teachers: one of each teacher and channel. other_vocabularies: of each checkpoint whose tokens do
    not compare with its teacher's, rows of text measures. alignments: that were measured before.
    """

    settings: AnalysisSettings
    corpus: Corpus
    sentences: int
    device: torch.device
    scoring: TextScoring
    way: str = ""
    studies: list[Study] = field(default_factory=list)
    teachers: list[Checkpoint] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    other_vocabularies: list[list[Row]] = field(default_factory=list)
    alignments: Sequence[Alignment] = ()

    @property
    def search(self) -> Search:
        return search_of(self.settings)


def search_of(settings: AnalysisSettings) -> Search:
    """compile: as it was decided."""
    evaluation = settings.evaluation
    return Search(evaluation.beam_width, evaluation.length_penalty, evaluation.compile == "on")


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
        "way": analysis.way,
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


def studies_as_json(analysis: Analysis) -> list[object]:
    """Of each study without a report: every pair and SNR, with intervals."""
    each = zip(analysis.studies, analysis.teachers)
    return [
        frames.plain_values({"teacher": teacher.path, "channel": study.channel, "matrix": study.matrix})
        for study, teacher in each
    ]
