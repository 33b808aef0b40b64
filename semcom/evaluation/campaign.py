"""Runs of one teacher over settings and seeds: what repeats say, and which setting controls divergence."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from semcom.data.parliament import TOPICS
from semcom.evaluation import frames, intervals, setting_trends
from semcom.evaluation.dialled import AXIS, TARGET
from semcom.evaluation.pairs import Run


@dataclass(frozen=True, eq=False)
class Sweep:
    """Runs that differ in one setting and their seed alone. held: settings that they share and other runs
    have otherwise. points: a row a run, of ``value``, ``seed`` and the measures followed. trends: of each of
    these measures."""

    setting: str
    runs: tuple[str, ...]
    held: dict[str, object]
    points: pd.DataFrame
    trends: dict[str, setting_trends.Trend]


class Campaign:
    """followed: a run's own measures, by name, whatever is followed over settings and seeds. named: what a
    run's own pair is called, whatever its seed."""

    def __init__(
        self,
        runs: Sequence[Run],
        followed: Callable[[Run], Mapping[str, float]],
        named: Callable[[Run], str] = lambda run: run.label,
    ):
        self.all_runs, self._followed, self._named = runs, followed, named

    @cached_property
    def runs(self) -> list[Run]:
        """Runs whose settings and seed are known, each once: a hybrid has those of its student."""
        found: list[Run] = []
        for run in self.all_runs:
            known = any(run.seed == other.seed and run.settings() == other.settings() for other in found)
            if run.distilled and not known:
                found.append(run)
        return found

    @cached_property
    def settings(self) -> list[dict[str, object]]:
        """Of ``runs``. Where they differ in their topics, these as the share of all topics, a number, if no
        two runs of one share differ in them."""
        found = [run.settings() for run in self.runs]
        seen = [run.made.get("topics_seen") for run in self.runs]
        topics_seen = [topics for topics in seen if isinstance(topics, list)]
        chosen = {(len(topics), tuple(sorted(topics))) for topics in topics_seen}
        told_by_their_number = len({count for count, _ in chosen}) == len(chosen)
        if len(topics_seen) == len(seen) and len(chosen) > 1 and told_by_their_number:
            for settings, topics in zip(found, topics_seen):
                del settings["topics"], settings["exclude_topics"]
                settings["topics_share"] = len(topics) / len(TOPICS)
        return found

    @cached_property
    def measured(self) -> pd.DataFrame:
        """A row a run of ``runs``: its label, its seed, the measures followed."""
        return pd.DataFrame(
            [{"run": run.label, "seed": run.seed, **self._followed(run)} for run in self.runs]
        )

    def over_seeds(self) -> pd.DataFrame:
        """Runs that differ in their seed alone: mean and interval (Student's t) of each followed measure over
        two seeds at least."""
        rows: list[dict[str, object]] = []
        for of_one in grouped(self.runs):
            group = self.measured[self.measured["run"].isin([run.label for run in of_one])]
            if len(group) > 1:
                measures = group.drop(columns=["run", "seed"])
                means = {
                    str(name): intervals.estimate(values.tolist()).interval
                    for name, values in measures.items()
                }
                told = {"pair": str(self._named(of_one[0])), "runs": group["run"].tolist()}
                rows.append({**told, "seeds": len(group), **means})
        return frames.frame_of(rows)

    @cached_property
    def sweeps(self) -> list[Sweep]:
        """Each numeric setting in which runs differ alone, and what each followed measure does with it. Of
        dialled runs only what was asked for: they have the divergence that it says, whatever else they were
        made with."""
        return [
            self._sweep(name, group)
            for name, groups in setting_trends.sweeps(self.settings).items()
            for group in groups
            if setting_trends.numeric(self.settings[i][name] for i in group)
            and (name == TARGET or not any(self.runs[i].dial for i in group))
        ]

    def _sweep(self, setting: str, group: Sequence[int]) -> Sweep:
        """group: indices among ``runs``."""
        points = self.measured.iloc[list(group)].reset_index(drop=True)
        labels = points.pop("run")
        points.insert(0, "value", pd.Series([self.settings[i][setting] for i in group]).astype(float))
        trends = {
            name: setting_trends.trend(
                map(setting_trends.Point, points["value"], points["seed"], points[name])
            )
            for name in points.columns.drop(["value", "seed"])
        }
        shared = self.settings[group[0]]
        held = {name: shared[name] for name in self.differing() if name != setting}
        if shared[TARGET] is None:
            held = {name: value for name, value in held.items() if name not in (TARGET, AXIS)}
        return Sweep(setting, tuple(labels), held, points, trends)

    def differing(self) -> dict[str, list]:
        """Settings in which the runs differ, and their values."""
        return setting_trends.differing(self.settings)


def grouped(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs of the same settings, whatever their seed."""
    each = pd.Series(list(runs), dtype=object)
    groups = each.groupby(setting_trends.distinct([run.settings() for run in each]))
    return [group.tolist() for _, group in groups]
