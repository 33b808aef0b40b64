"""Curves of baselines beside those of models: tables, pictures, and where they cross."""

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from semcom.base.errors import SemcomError, escape
from semcom.channel.channels import make_channel
from semcom.commands import baseline_record
from semcom.commands.baseline_record import Baseline
from semcom.commands.measuring import labels
from semcom.commands.settings import EvaluateSettings
from semcom.data.batching import Encoded
from semcom.evaluation import frames, measures
from semcom.evaluation.coded_baseline import Offered
from semcom.evaluation.crossings import Crossings, crossings
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.text_scoring import TextScoring
from semcom.models.transceiver import Transceiver
from semcom.report import tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

CLOSE = 1.0
"""dB between two SNRs that tell a crossing well enough."""


def read(paths: Sequence[str], models: Sequence[str]) -> list[Baseline]:
    """models: their labels. Curves of two tables that have one name, such as those of two language models,
    get their table's name behind it. Raises SemcomError for what is no baseline, a table that is given twice,
    and a curve that is called as a model is."""
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise SemcomError(f"--baseline {escape(twice)}: is given twice; leave one of them out")
    found = [baseline_record.read(path) for path in paths]
    names = [str(name) for each in found for name in each.shown["model"].unique()]
    several = {name for name in names if names.count(name) > 1}
    if called := next((name for name in names if name in models), None):
        raise SemcomError(
            f"--baseline: a curve is called as a model, {escape(called)[:100]}; rename its file"
        )
    return [_told_apart(each, label, several) for each, label in zip(found, labels(paths))]


def _told_apart(baseline: Baseline, label: str, several: Collection[str]) -> Baseline:
    names = baseline.rows["model"].astype(str)
    with_label = names + f" ({label})"
    return replace(baseline, rows=baseline.rows.assign(model=names.where(~names.isin(several), with_label)))


def check(
    baselines: Sequence[Baseline],
    settings: EvaluateSettings,
    models: Sequence[Transceiver],
    encoded: Sequence[Encoded],
    corpus_fingerprint: str,
    scoring: TextScoring,
) -> None:
    """Raise SemcomError where one is not of these sentences, symbols and draws."""
    evaluation, channel = settings.evaluation, make_channel(settings.channel)
    for width in dict.fromkeys(model.architecture.channel_dim for model in models) if baselines else ():
        ours = baseline_record.met(
            Offered(encoded, width), corpus_fingerprint, evaluation.split, channel, settings.run.seed, scoring
        )
        for baseline in baselines:
            baseline.check(ours, evaluation.snr)


def with_baselines(
    models: "pd.DataFrame", baselines: Sequence[Baseline], snrs: Sequence[float]
) -> "pd.DataFrame":
    """Rows of models over all sentences, and behind them those of the curves that baselines show."""
    import pandas as pd

    return pd.concat([models, *(_shown(each, snrs) for each in baselines)], ignore_index=True)


def _shown(baseline: Baseline, snrs: Sequence[float]) -> "pd.DataFrame":
    rows = baseline.shown
    measured = [
        name for name in ("model", "channel", "snr", *(m.name for m in measures.alone())) if name in rows
    ]
    rows = rows.loc[rows["snr"].isin(snrs), measured]
    return rows.dropna(axis="columns", how="all").assign(topic="")


def kinds(models: "pd.DataFrame", baselines: Sequence[Baseline]) -> dict[str, object]:
    """Of each curve's name its kind in a picture: a model is its own. Baselines come first, so that their
    colours are those of their own picture."""
    of_each: dict[str, object] = {}
    for baseline in baselines:
        of_each |= baseline_record.kinds_of(baseline.shown)
    return of_each | {str(name): (name,) for name in models["model"].unique()}


def show_crossings(
    models: "pd.DataFrame", baselines: Sequence[Baseline], snrs: Sequence[float], measure: Measure
) -> str:
    """Of each model and baseline where their curves of a measure cross. Returns what to do next to see it
    closer, empty where that is close enough."""
    found = []
    wide: set[tuple[float, float]] = set()
    for baseline in baselines:
        for name, theirs in _shown(baseline, snrs).groupby("model", sort=False):
            for model, ours in models.groupby("model", sort=False):
                where = _crossings(ours, theirs, measure.name)
                found.append({"model": str(model), "baseline": str(name), "crossing": str(where)})
                wide |= {(each.low, each.high) for each in where.found if each.high - each.low > CLOSE}
    table = tables.text(frames.frame_of(found))
    log.info(
        f"\nwhere curves of {measure.title} cross: anywhere between two SNRs measured, by a straight line "
        f"at the one in brackets\n{table}"
    )
    if not wide:
        return ""
    closer = " ".join(f"{snr:g}" for snr in closer_grid(wide))
    return f"next: baseline and evaluate again with --snr {closer}, to see closer where they cross"


def marks(
    models: "pd.DataFrame", baselines: Sequence[Baseline], snrs: Sequence[float], measure: Measure
) -> list[tuple[float, float]]:
    """Where a picture marks crossings: SNR, and the measure there, by straight lines."""
    found = []
    for baseline in baselines:
        for _, theirs in _shown(baseline, snrs).groupby("model", sort=False):
            for _, ours in models.groupby("model", sort=False):
                curve = ours.sort_values("snr")
                for crossing in _crossings(ours, theirs, measure.name).found:
                    value = np.interp(crossing.snr, curve["snr"], curve[measure.name])
                    found.append((crossing.snr, float(value)))
    return found


def closer_grid(wide: Collection[tuple[float, float]]) -> list[float]:
    """Both ends of each stretch, and between them steps of ``CLOSE``."""
    steps = {low + CLOSE * step for low, high in wide for step in range(math.ceil((high - low) / CLOSE))}
    return sorted(steps | {high for _, high in wide})


def _crossings(ours: "pd.DataFrame", theirs: "pd.DataFrame", measure: str) -> Crossings:
    both = ours[["snr", measure]].merge(theirs[["snr", measure]], on="snr").dropna().sort_values("snr")
    snrs, first, second = (both.iloc[:, place].tolist() for place in range(3))
    return crossings(snrs, first, second)
