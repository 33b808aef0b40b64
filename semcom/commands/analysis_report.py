"""The report of an analysis: what goes into it beside the studies, and its files."""

import glob
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from semcom.base import json_files
from semcom.base.errors import SemcomError, shown
from semcom.base.messages import N_, Message
from semcom.commands import analysis_provenance
from semcom.commands.analysis_provenance import use_of
from semcom.commands.analysis_results import Analysis
from semcom.commands.measuring import labels
from semcom.data.vocabulary import EOS
from semcom.evaluation import bootstrap, frames, lost_words, measures, sentence_similarity
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.scores import least_sure
from semcom.evaluation.study import Row, Study
from semcom.evaluation.word_rules import rules_of
from semcom.models.checkpoint import Checkpoint
from semcom.report import compose, render, tables, training_figures
from semcom.report.document import Document
from semcom.report.latex import Printed
from semcom.report.sections.all_studies import Similarities, TemperatureEffect
from semcom.report.sections.study_report import Shared
from semcom.report.settings import ReportConfig

log = logging.getLogger(__name__)

RESULTS = "semantic_analysis_results.json"
ROWS = ("matrix.csv", "words_lost.csv")
OWN = (RESULTS, *ROWS, "report.html", "report.md", "tables.tex")
"""What every report writes in its folder."""
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0)
PIECES_SHOWN = 8


def contents_of(analysis: Analysis, histories: Mapping[str, Sequence[Row]]) -> compose.Results:
    """histories: a run's label -> its epochs."""
    train = (analysis.scoring.normalize(sentence.text) for sentence in analysis.corpus.split("train"))
    bands = lost_words.frequency_bands(lost_words.count(train, rules_of(analysis.corpus.language)))
    return compose.Results(
        studies=analysis.studies,
        lost=[study.words_lost(bands) for study in analysis.studies],
        lost_by_group=[study.by_group.words_lost(bands) for study in analysis.studies],
        teachers=_teachers(analysis),
        scoring=analysis.scoring,
        similarity=_similarities(analysis),
        on=_conditions(analysis),
        other_vocabularies=analysis.other_vocabularies,
        histories=histories,
        groups=_groups(analysis),
        temperature=_temperature_effect(analysis.teachers[0], analysis.studies[0]),
        provenance=analysis_provenance.provenance(analysis),
        alignments=analysis.alignments,
    )


def _groups(analysis: Analysis) -> dict[str, str]:
    """What each run and its other seeds are called, where one name is one group."""
    if len(analysis.studies) > 1:
        return {}
    return {run.label: study.name_of(run) for study in analysis.studies for run in study.pairing.runs}


def _conditions(analysis: Analysis) -> Shared:
    corpus = analysis.corpus
    return Shared(corpus.told or corpus.name, analysis.settings.evaluation.split, analysis.search.told)


def _teachers(analysis: Analysis) -> list[str]:
    """Of each study its teacher, by as much of its path as tells it from the others."""
    paths = list(dict.fromkeys(teacher.path for teacher in analysis.teachers))
    label_of = dict(zip(paths, labels(paths)))
    return [label_of[teacher.path] for teacher in analysis.teachers]


def check_columns(wanted: Sequence[str]) -> None:
    """SemcomError for one that no table of the report can have."""
    known = [name for measure in measures.MEASURES for name in _names_of(measure)]
    for name in wanted:
        if name not in known:
            basic = ", ".join(measure.name for measure in measures.MEASURES)
            raise SemcomError(
                f"--columns {shown(name)}: allowed are {basic}; with _p behind it the p of a test, with "
                "_over_noise the multiple of the noise, where there is one"
            )


def _names_of(measure: Measure) -> list[str]:
    """Of the columns of a measure."""
    also = {measure.p_name: measure.tested, measure.over_noise_name: measure.beside_noise}
    return [measure.name, *(name for name, there in also.items() if there)]


def studies_as_json(analysis: Analysis, contents: compose.Results) -> list[object]:
    return [
        frames.plain_values(
            {
                "teacher": teacher.path,
                "channel": study.channel,
                **study.results(),
                "words_lost": lost,
                "words_divided_by": study.sent.rules.segmentation,
                **use_of(analysis, study, teacher).record(),
            }
        )
        for study, teacher, lost in zip(analysis.studies, analysis.teachers, contents.lost)
    ]


def own_files(folder: Path) -> tuple[str, ...]:
    """Names of what the report in the folder, if there is one, has written there, as its results say."""
    with suppress(OSError, json_files.NotJSON):
        results = json_files.read(folder / RESULTS)
        files = results.get("report_files") if isinstance(results, dict) else None
        if isinstance(files, list):
            return (*OWN, *(glob.escape(name) for name in files if isinstance(name, str)))
    return OWN


def write(document: Document, contents: compose.Results, folder: Path, wanted: ReportConfig) -> Path:
    """Page, tables and figures, and the rows that they are made of; returns the page."""
    of_studies = ([study.matrix for study in contents.studies], contents.lost)
    for name, found in zip(ROWS, of_studies):
        rows = pd.concat(_with_teachers(found, contents.teachers), ignore_index=True)
        tables.write_csv(folder / name, frames.flat(rows), document.language)
    printed = Printed(wanted.columns, wanted.table_snr)
    return render.write(document, folder, printed)[0]


def _with_teachers(found: Sequence[pd.DataFrame], teachers: Sequence[str]) -> list[pd.DataFrame]:
    """Rows of each study, with a column of its teacher where there are several."""
    if len(set(teachers)) < 2:
        return list(found)
    return [rows.assign(teacher=teacher) for rows, teacher in zip(found, teachers)]


def _similarities(analysis: Analysis) -> list[Similarities] | str:
    if reason := sentence_similarity.available(analysis.corpus.language):
        return reason
    if min(len(study.sentences) for study in analysis.studies) < 2:
        return Message(N_("its floor needs two sentences; give more --sentences"))
    try:
        encode = sentence_similarity.encoder(str(analysis.device))
    except SemcomError as error:
        return str(error)
    return [_similarity(study, encode) for study in analysis.studies]


def _similarity(study: Study, encode: sentence_similarity.Encoder) -> Similarities:
    scale = sentence_similarity.Similarity(study.sent_texts, encode)
    pairs, rescaled = {}, {}
    for group in study.by_group.speaking:
        texts = [study.texts(pair) for pair in group.pairs]
        scores = [study.weights @ scale(of_one) / study.weights.sum(1) for of_one in texts]
        pairs[group.name] = bootstrap.over_seeds(scores)
        rescaled[group.name] = bootstrap.over_seeds([np.asarray(scale.rescaled(each)) for each in scores])
    return Similarities(pairs, rescaled, scale.floor, scale.ceiling)


def _temperature_effect(teacher: Checkpoint, study: Study) -> TemperatureEffect:
    """The teacher's next-piece distribution at the place of the first test sentence where it is least
    sure."""
    logits = least_sure(teacher.model, study.measured.encoded[0])
    rows, best = training_figures.temperature_rows(logits, TEMPERATURES, PIECES_SHOWN)
    texts = zip(best, study.decode([[piece] for piece in best]))
    pieces = [_piece_told(piece, text) for piece, text in texts]
    return TemperatureEffect(rows, pieces)


def _piece_told(piece: int, text: str) -> str:
    if piece == EOS:
        return Message(N_("(end)"))
    return text or Message(N_("piece {number}"), number=piece)
