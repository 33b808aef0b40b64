"""The end of a distillation: test scores of teacher, student and hybrid, what was made, what next."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from semcom.base.errors import escape
from semcom.channel.channels import make_channel
from semcom.commands.dial_settings import LADDER_FILES
from semcom.commands.distil_dial import Dialling
from semcom.commands.distil_run import DistillationRun
from semcom.commands.inputs import TEST_SENTENCES, read_corpus
from semcom.commands.measuring import RECEIVER_KNOWS, entrants, test_split
from semcom.commands.teacher_decodings import decodings_of_teacher
from semcom.data import batching, corpus
from semcom.evaluation import measures
from semcom.evaluation.scores import SEEN, UNSEEN, Meeting, score_all
from semcom.evaluation.text_metrics import bleu_signature
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import PARTS
from semcom.report import tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

BATCH_SIZE = 64
SNRS = (0.0, 6.0, 12.0)


def score(run: DistillationRun, hybrids: Mapping[str, Path]) -> "pd.DataFrame":
    """A row for each model, SNR and kind of topics; they join the run's record. hybrids: label -> file."""
    hybrids_now = {name: run.written_at(path) for name, path in hybrids.items()}
    made = [("student", run.best_student), *hybrids_now.items()]

    def load() -> list[tuple[str, Checkpoint]]:
        models = [(name, checkpoint.load(path)) for name, path in made]
        # Of one pair under two names the scores are made once.
        first = {c.fingerprint: c for _, c in reversed(models)}
        return [(name, replace(c, model=first[c.fingerprint].model)) for name, c in models]

    loaded = [("teacher", run.teacher), *run.together.from_main(load)]
    scores = _score_all(run, loaded)
    run.record |= {
        "test_scores": scores.to_dict("records"),
        "bleu_signature": bleu_signature(),
        "wall_seconds": round(time.monotonic() - run.started, 1),
    }
    if run.together.is_main:
        _track(run, scores)
    return scores


def _track(run: DistillationRun, scores: "pd.DataFrame") -> None:
    """Log the BLEU of all topics, by model and SNR, and close the log."""
    overall = scores[scores["topic"] == ""]
    rows = overall[["model", "snr", "bleu"]].to_dict("records")
    bleu = {f"bleu/{row['model']}/{row['snr']:g}dB": row["bleu"] for row in rows}
    run.tracker.log("test", bleu, int(run.history[-1]["steps"] or 0))
    run.tracker.finish()


def _score_all(run: DistillationRun, loaded: Sequence[tuple[str, Checkpoint]]) -> "pd.DataFrame":
    """On test sentences of all topics; apart for topics seen and not seen where there are others."""
    s, vocabulary, seen = run.settings, run.teacher.vocabulary, run.data.topics_seen
    all_topics = replace(s.corpus, topics=(), exclude_topics=())

    def read() -> list[corpus.Sentence]:
        if all_topics == s.corpus:
            return run.data.test
        return test_split(read_corpus(all_topics, vocabulary), TEST_SENTENCES)

    encoded = batching.encode(run.together.from_main(read), vocabulary, leave_out_long=True)
    channel = make_channel(s.channel)
    meeting = Meeting(channel, SNRS, s.run.seed, run.device, BATCH_SIZE, s.run.quiet, run.together)
    entered = [replace(e, seen_topics=frozenset(seen) if seen else None) for e in entrants(loaded)]
    teachers = decodings_of_teacher(run, entered[0], encoded, meeting)
    scores, _ = score_all(entered, encoded, vocabulary, meeting, {entered[0].label: teachers})
    shown = ["", SEEN, UNSEEN] if (scores["topic"] == UNSEEN).any() else [""]
    return scores[scores["topic"].isin(shown)]


def show(
    run: DistillationRun, hybrids: Mapping[str, Path], dialling: Dialling, scores: "pd.DataFrame"
) -> None:
    """hybrids: label -> file."""
    lines = [*_scores(scores), *_made(run)]
    lines += _dialled(run, dialling) if dialling.hybrids else _spliced(run, hybrids)
    log.info("\n".join([*lines, *_left(run), _next(run, hybrids)]))


def _scores(scores: "pd.DataFrame") -> list[str]:
    overall, by_topic = scores[scores["topic"] == ""], scores[scores["topic"] != ""]
    measure, row = measures.alone()[0], scores.iloc[0]
    title = measure.title_with_unit
    lines = [
        f"\n{title} on {row['sentences']} test sentences, {row['channel']}, by SNR in dB; {RECEIVER_KNOWS}",
        bleu_signature(),
        tables.pivot(overall, "model", "snr", measure.name),
        "",
    ]
    apart = by_topic[by_topic["snr"] == SNRS[-1]]
    if len(apart):
        lines += [
            f"{title} at {SNRS[-1]:g} dB, topics that the student has seen and not seen apart",
            tables.pivot(apart, "model", "topic", measure.name, str),
            "",
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
    shown = " ".join(escape(path) for path in models)
    return f"next: python -m semcom evaluate {shown}   or   python semantic_analysis.py"
