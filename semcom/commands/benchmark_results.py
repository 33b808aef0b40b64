"""What a benchmark found, as tables on the console, as JSON and as a picture."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from semcom.base import output_files
from semcom.base.device import environment
from semcom.base.errors import escape
from semcom.evaluation import benchmark_scores, bootstrap, frames
from semcom.evaluation.benchmark_ladder import Rung
from semcom.evaluation.benchmark_scores import Scores
from semcom.evaluation.benchmark_task import SCORING, TASKS, Task
from semcom.evaluation.intervals import Interval
from semcom.report import figures, plots, tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

FORMAT = "semcom benchmark 1"
STRAIGHT, AS_IT_IS = "teacher's own pair", "as it is"
NOT_THE_TASK = "--quick: a part of the task; these scores compare with no others"


@dataclass(frozen=True)
class Outcome:
    """scores: by entry, the headline with its interval. table: a row an entry, rung, SNR and number of
    pilots. record: the JSON."""

    scores: Mapping[str, Interval | None]
    table: "pd.DataFrame"
    record: dict[str, object]


def outcome_of(scores: Sequence[Scores], device: torch.device, asked: str, started: float) -> Outcome:
    """asked: how it was asked for. started: by ``time.monotonic``."""
    rows = [{"entry": of_one.entry.name, **row} for of_one in scores for row in of_one.rows()]
    headlines = {of_one.entry.name: bootstrap.interval(of_one.score(of_one.headline)) for of_one in scores}
    return Outcome(headlines, frames.frame_of(rows), _record(scores, device, asked, started))


def _record(scores: Sequence[Scores], device: torch.device, asked: str, started: float) -> dict[str, object]:
    task = scores[0].board.stage.task
    whole = TASKS[task.version]
    return {
        "format": FORMAT,
        "version": task.version,
        "digest": whole.digest,
        "quick": scores[0].board.stage.quick,
        "command": asked,
        "task": asdict(task),
        **SCORING.record,
        "entries": [frames.plain_values(of_one.record()) for of_one in scores],
        "differences_from_the_first": frames.plain_values(benchmark_scores.differences(scores)),
        **environment(device),
        "scipy": metadata.version("scipy"),
        "wall_seconds": round(time.monotonic() - started, 1),
    }


def show(scores: Sequence[Scores]) -> None:
    task = scores[0].board.stage.task
    headline = task.headline_pilots
    log.info(
        f"\nscore: of the BLEU that the ladder's mismatch costs, % won back with {headline} pilots\n"
        f"{tables.text(_headlines(scores), 1)}"
    )
    snrs = " ".join(f"{snr:g}" for snr in task.snrs)
    mean = ", mean over SNRs" if len(task.snrs) > 1 else f", {snrs} dB"
    log.info(f"\nBLEU with {headline} pilots{mean}\n{tables.text(_by_rung(scores), 1)}")
    if len(scores) > 1:
        told = [
            f"{escape(name)} {found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
            for name, found in benchmark_scores.differences(scores).items()
            if found is not None
        ]
        log.info(f"\nless the score of {escape(scores[0].entry.name)}: {'; '.join(told)}")
    if scores[0].board.stage.quick:
        log.info(f"\n{NOT_THE_TASK}")


def _headlines(scores: Sequence[Scores]) -> "pd.DataFrame":
    """A row an entry."""
    headline = scores[0].board.stage.task.headline_pilots
    counts = dict.fromkeys(count for of_one in scores for count in of_one.counts if count)
    counts.pop(headline, None)
    rows = []
    for of_one in scores:
        found = bootstrap.interval(of_one.score(of_one.headline))
        by_count = {
            f"{count:,} pilots": float(of_one.score(count)[0]) if count in of_one.counts else None
            for count in counts
        }
        ends = f"{found.low:.1f} to {found.high:.1f}" if found else None
        rows.append({"entry": of_one.entry.name, "score": found and found.value, "95 %": ends, **by_count})
    return frames.frame_of(rows)


def _by_rung(scores: Sequence[Scores]) -> "pd.DataFrame":
    """A row an entry, a column a rung; first and last the teacher's receiver on the rungs as they are, and in
    its own pair."""
    board = scores[0].board
    task = board.stage.task
    straight = _mean([board.straight[snr][0] for snr in task.snrs])
    rows = [_row_of(AS_IT_IS, board.as_it_is, task)]
    rows += [_row_of(of_one.entry.name, of_one.means(of_one.headline), task) for of_one in scores]
    rows.append({"entry": STRAIGHT, **{rung.name: straight for rung in task.rungs}})
    return frames.frame_of(rows)


def _row_of(name: str, bleu: Mapping[tuple[Rung, float], np.ndarray], task: Task) -> dict[str, object]:
    """Means over SNRs."""
    by_rung = {rung.name: _mean([bleu[rung, snr][0] for snr in task.snrs]) for rung in task.rungs}
    return {"entry": name, **by_rung}


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values))


def write(output: str, picture: Path, outcome: Outcome, scores: Sequence[Scores]) -> None:
    """The JSON and the picture."""
    plots.save(figures.curves(_panels(scores), references=[STRAIGHT, AS_IT_IS]), picture)
    output_files.write_json(output, outcome.record)
    log.info(f"\nmade {escape(output)} and {escape(picture)}")


def _panels(scores: Sequence[Scores]) -> dict[str, figures.Curves]:
    """A panel a kind of rungs: BLEU over SNR, means over its rungs."""
    board = scores[0].board
    task = board.stage.task
    panels: dict[str, figures.Curves] = {}
    for kind in dict.fromkeys(rung.kind for rung in task.rungs):
        rungs = [rung for rung in task.rungs if rung.kind == kind]
        lines: dict[str, list[tuple[float, Interval]]] = {
            STRAIGHT: [_point(snr, [board.straight[snr]]) for snr in task.snrs],
            AS_IT_IS: [_point(snr, [board.as_it_is[rung, snr] for rung in rungs]) for snr in task.snrs],
        }
        for of_one in scores:
            means = of_one.means(of_one.headline)
            lines[of_one.entry.name] = [
                _point(snr, [means[rung, snr] for rung in rungs]) for snr in task.snrs
            ]
        panels[f"BLEU, {kind}"] = lines
    return panels


def _point(snr: float, values: Sequence) -> tuple[float, Interval]:
    found = bootstrap.interval(sum(values) / len(values))
    assert found is not None  # BLEU is always to be had
    return snr, found
