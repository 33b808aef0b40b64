"""The end of a distillation: test scores of teacher, student and hybrid, what was made, what next."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from semcom.base.advice import path_word
from semcom.base.errors import escape
from semcom.channel.channels import make_channel
from semcom.commands.analyse_settings import AnalysisFiles
from semcom.commands.dial_settings import LADDER_FILES
from semcom.commands.distil_dial import Dialling
from semcom.commands.distil_run import DistillationRun
from semcom.commands.inputs import TEST_SENTENCES, read_corpus
from semcom.commands.measuring import (
    RECEIVER_KNOWS,
    entrants,
    languages_of,
    measures_of,
    scoring_of,
    signature_of,
    tell_losses,
    test_split,
    texts_of,
    title_of,
)
from semcom.commands.recorded_corpus import recorded_corpus, words_of_corpus
from semcom.commands.teacher_decodings import decodings_of_teacher
from semcom.data import batching, corpus
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.scores import SEEN, UNSEEN, Meeting, score_all
from semcom.evaluation.settings import EvaluationConfig
from semcom.evaluation.text_scoring import TextScoring
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.settings import PARTS
from semcom.report import tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

BATCH_SIZE = 64
SNRS = (0.0, 6.0, 12.0)
SHOWN = 2
"""Measures on the console."""


@dataclass(frozen=True)
class TestScores:
    """Of teacher, student and hybrids on test sentences. rows: one for each model, SNR and kind of topics.
    shown: the measures on the console."""

    __test__ = False
    rows: "pd.DataFrame"
    scoring: TextScoring
    shown: Sequence[Measure]


def score(run: DistillationRun, hybrids: Mapping[str, Path]) -> TestScores:
    """The test scores; they join the run's record. hybrids: label -> file."""
    hybrids_now = {name: run.written_at(path) for name, path in hybrids.items()}
    made = [("student", run.best_student), *hybrids_now.items()]

    def load() -> list[tuple[str, Checkpoint]]:
        models = [(name, checkpoint.load(path)) for name, path in made]
        # Of one pair under two names the scores are made once.
        first = {c.fingerprint: c for _, c in reversed(models)}
        return [(name, replace(c, model=first[c.fingerprint].model)) for name, c in models]

    loaded = [("teacher", run.teacher), *run.together.from_main(load)]
    encoded = batching.encode(_test_sentences(run), run.teacher.vocabulary, leave_out_long=True)
    texts = texts_of(encoded)
    scoring = scoring_of(
        EvaluationConfig(), str(run.data.record["language"]), texts, languages_of([run.teacher])
    )
    tell_losses(run.teacher.vocabulary, texts, scoring)
    rows = _score_all(run, loaded, encoded, scoring)
    run.record |= {
        "test_scores": rows.to_dict("records"),
        **scoring.record,
        "wall_seconds": round(time.monotonic() - run.started, 1),
    }
    if run.together.is_main:
        _track(run, rows)
    return TestScores(rows, scoring, measures_of(scoring, texts)[:SHOWN])


def _track(run: DistillationRun, scores: "pd.DataFrame") -> None:
    """Log the BLEU of all topics, by model and SNR, and close the log."""
    overall = scores[scores["topic"] == ""]
    rows = overall[["model", "snr", "bleu"]].to_dict("records")
    bleu = {f"bleu/{row['model']}/{row['snr']:g}dB": row["bleu"] for row in rows}
    run.tracker.log("test", bleu, int(run.history[-1]["steps"] or 0))
    run.tracker.finish()


def _test_sentences(run: DistillationRun) -> list[corpus.Sentence]:
    """Of all topics."""
    all_topics = replace(run.settings.corpus, topics=(), exclude_topics=())

    def read() -> list[corpus.Sentence]:
        if all_topics == run.settings.corpus:
            return run.data.test
        return test_split(read_corpus(all_topics, run.teacher.vocabulary), TEST_SENTENCES)

    return run.together.from_main(read)


def _score_all(
    run: DistillationRun,
    loaded: Sequence[tuple[str, Checkpoint]],
    encoded: Sequence[batching.Encoded],
    scoring: TextScoring,
) -> "pd.DataFrame":
    """On sentences of all topics; apart for topics seen and not seen where there are others."""
    s, seen = run.settings, run.data.topics_seen
    meeting = Meeting(
        make_channel(s.channel),
        SNRS,
        s.run.seed,
        run.device,
        BATCH_SIZE,
        s.run.quiet,
        run.together,
        Search(compiled=s.training.compile == "on"),
        scoring,
    )
    entered = [replace(e, seen_topics=frozenset(seen) if seen else None) for e in entrants(loaded)]
    teachers = decodings_of_teacher(run, entered[0], encoded, meeting)
    known = {entered[0].label: teachers}
    scores, _ = score_all(entered, encoded, run.teacher.vocabulary, meeting, known)
    shown = ["", SEEN, UNSEEN] if (scores["topic"] == UNSEEN).any() else [""]
    return scores[scores["topic"].isin(shown)]


def show(run: DistillationRun, hybrids: Mapping[str, Path], dialling: Dialling, scores: TestScores) -> None:
    """hybrids: label -> file."""
    lines = [*_scores(scores), "", *_made(run)]
    lines += _dialled(run, dialling) if dialling.hybrids else _spliced(run, hybrids)
    log.info("\n".join([*lines, *_left(run), _next(run, hybrids)]))


def _scores(scores: TestScores) -> list[str]:
    return [line for measure in scores.shown for line in _scores_by(measure, scores)]


def _scores_by(measure: Measure, scores: TestScores) -> list[str]:
    rows = scores.rows
    overall, by_topic = rows[rows["topic"] == ""], rows[rows["topic"] != ""]
    row, title = rows.iloc[0], title_of(measure, scores.scoring)
    signature = signature_of(measure, scores.scoring)
    lines = [
        f"\n{title} on {row['sentences']} test sentences, {row['channel']}, by SNR in dB; {RECEIVER_KNOWS}",
        *([signature] if signature else []),
        tables.pivot(overall, "model", "snr", measure.name),
    ]
    apart = by_topic[by_topic["snr"] == SNRS[-1]]
    if len(apart):
        lines += [
            f"\n{title} at {SNRS[-1]:g} dB, topics that the student has seen and not seen apart",
            tables.pivot(apart, "model", "topic", measure.name, str),
        ]
    return lines


def _made(run: DistillationRun) -> list[str]:
    record = run.record
    return [
        f"made {escape(run.best_student)}: best validation cross-entropy {record['best_loss']:.4f} in epoch "
        f"{record['best_epoch']}, {record['trained_params']:,} trained parameters, "
        f"{record['teacher_trained_params']:,} in the teacher's place"
    ]


def _spliced(run: DistillationRun, hybrids: Mapping[str, Path]) -> list[str]:
    of_student = run.settings.hybrid_parts
    sources = [f"{p} from the {'student' if p in of_student else 'teacher'}" for p in PARTS]
    return [f"made {escape(hybrid)}: {', '.join(sources)}" for hybrid in hybrids.values()]


def _dialled(run: DistillationRun, dialling: Dialling) -> list[str]:
    made = [f"made {escape(file)}: dialled to {target:g}" for target, file in dialling.hybrids.items()]
    return [*dialling.lines, "", *made, f"the ladder is in {escape(run.folder)}: {', '.join(LADDER_FILES)}"]


def _left(run: DistillationRun) -> list[str]:
    record = run.record
    return [
        f"curves, history and settings are in {escape(run.folder)}; padding {record['padding']:.1%} of the "
        f"target positions; {time.monotonic() - run.started:,.0f} s in all{run.keeper.summary()}"
    ]


def _next(run: DistillationRun, hybrids: Mapping[str, Path]) -> str:
    models = [run.teacher.path, run.best_student, *hybrids.values()]
    shown = " ".join(path_word(path) for path in models)
    runs = runs_folder(Path(run.settings.output_path))
    looked_in = "" if runs == AnalysisFiles.runs else f" --runs {path_word(runs)}"
    of_text = _corpus_where_teachers_differ(run)
    return f"next: python -m semcom evaluate {shown}{of_text}   or   python semantic_analysis.py{looked_in}"


def runs_folder(folder: Path) -> str:
    """Where an analysis finds the run in the folder, and those beside it; where all kinds of things may be
    beside it, the folder itself."""
    here = Path(os.path.relpath(folder))
    if here.parts[:1] == (AnalysisFiles.runs,):
        return AnalysisFiles.runs
    among_others = folder.is_absolute() or os.pardir in here.parts or len(here.parts) < 2
    return str(folder if among_others else here.parent)


def _corpus_where_teachers_differ(run: DistillationRun) -> str:
    """The flags of the run's text files where the teacher's record names others, so that the two together
    would not tell which to measure on."""
    ours, theirs = run.settings.corpus, recorded_corpus(run.teacher.config)
    return f" {words_of_corpus(ours)}" if theirs and ours.corpus and theirs.corpus != ours.corpus else ""
