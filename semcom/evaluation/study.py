"""What the sums of a matrix say: measures with intervals, the share of each end, the price in dB, what
meaning is lost, and whether a setting controls it. Rows of plain values and intervals; models, files and
languages are others' business."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from semcom.data.corpus import Sentence
from semcom.data.parliament import TOPICS
from semcom.evaluation import bootstrap, intervals, lost_words, setting_trends, snr_gap
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measures import PLACE, Measured, Pair, measures
from semcom.evaluation.pairs import Roster, Run, Square

Row = dict[str, Any]
EFFECTS = ("cross_entropy", "bleu", "kl_divergence")
"""Measures that are parted into the effects of either end, the primary one first."""
TESTED = ("bleu", "cross_entropy")
TRIALS, TRIALS_A_TEST = 10_000, 60
"""Of the paired tests, at least, and for each: p is no smaller than one in so many, and Holm's correction
over all must leave room below 0.05."""
BESIDE_NOISE = ("kl_divergence", "js_divergence")
FOLLOWED = ("kl_divergence", "cross_entropy_gap", "bleu")
"""Measures of a run that are followed over settings and seeds."""
CORNERS = ("TT", "ST", "TS", "SS")


@dataclass
class Study:
    """One teacher, one channel.

    replicates: of the bootstrap. reference_snr: where one SNR stands for all. decode: pieces to texts.
    """

    roster: Roster
    measured: Measured
    channel: str
    reference_snr: float
    replicates: int
    seed: int
    decode: Callable[[list[list[int]]], list[str]]
    _values: dict[tuple, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def snrs(self) -> list[float]:
        return [float(snr) for snr in self.measured.snrs]

    @property
    def at_reference(self) -> int:
        return self.snrs.index(self.reference_snr)

    @cached_property
    def weights(self) -> np.ndarray:
        """[R+1, N], common to all pairs: what makes differences paired."""
        return bootstrap.resamples(len(self.measured.encoded), self.replicates, self.seed)

    @property
    def compared(self) -> list[Pair]:
        """Pairs beside the reference and its noise."""
        return [
            pair
            for pair in self.roster.pairs
            if pair.key not in (self.roster.reference.key, self.roster.noise.key)
        ]

    @property
    def trials(self) -> int:
        """Of each paired test."""
        return max(TRIALS, TRIALS_A_TEST * len(self.compared) * len(self.snrs))

    def values(self, pair: Pair) -> dict[str, np.ndarray]:
        """Every measure of a pair, [S, R+1]: the test set, then its replicates."""
        if pair.key not in self._values:
            self._values[pair.key] = measures(self.weights @ self.measured.heard[pair.key].sums)
        return self._values[pair.key]

    @cached_property
    def matrix_rows(self) -> list[Row]:
        """A row a pair and SNR: measures with intervals, divergences over those of the channel's noise, p of
        BLEU and cross-entropy against the teacher's (Holm over all pairs and SNRs of a measure)."""
        rows, tested = [], []
        reference, noise = self.roster.reference, self.values(self.roster.noise)
        for pair in self.roster.pairs:
            values = self.values(pair)
            for k, snr in enumerate(self.snrs):
                row: Row = {
                    "pair": self.roster.label(pair),
                    "transmitter": pair.transmitter.label,
                    "receiver": pair.receiver.label,
                    "draw": pair.draw,
                    "kind": self.roster.kind(pair),
                    "channel": self.channel,
                    "snr": snr,
                }
                row |= {name: bootstrap.interval(value[k]) for name, value in values.items()}
                if pair.draw == 0:
                    for name in BESIDE_NOISE:
                        with np.errstate(invalid="ignore", divide="ignore"):
                            row[f"{name}_over_noise"] = bootstrap.interval(values[name][k] / noise[name][k])
                    row["cross_entropy_gap"] = bootstrap.interval(
                        values["cross_entropy"][k] - self.values(reference)["cross_entropy"][k]
                    )
                if pair in self.compared:
                    tested.append(
                        (
                            row,
                            self.measured.heard[pair.key].sums[k],
                            self.measured.heard[reference.key].sums[k],
                        )
                    )
                rows.append(row)
        if tested:
            ours, theirs = (np.stack([test[side] for test in tested], axis=1) for side in (1, 2))
            found = bootstrap.swap_tests(ours, theirs, _tested_measures, self.trials, self.seed)
            for name, p_values in found.items():
                for (row, *_), p in zip(tested, intervals.holm(p_values.tolist())):
                    row[f"{name}_p"] = p
        return rows

    def row(self, pair: Pair, snr: float | None = None) -> Row:
        """Of ``matrix_rows`` that of a pair at one SNR, by default the reference SNR."""
        label = self.roster.label(pair)
        return next(
            row
            for row in self.matrix_rows
            if row["pair"] == label and row["snr"] == (self.reference_snr if snr is None else snr)
        )

    def effects(self, square: Square) -> list[Row]:
        """A row a measure and SNR. With m the measure and the transmitter's letter first: transmitter m(ST) -
        m(TT), receiver m(TS) - m(TT), interaction m(SS) - m(ST) - m(TS) + m(TT), which add up to total m(SS)
        - m(TT). In the measure's own units."""
        corners = {name: self.values(pair) for name, pair in self.roster.corners(square).items()}
        rows = []
        for measure in EFFECTS:
            tt, st, ts, ss = (corners[name][measure] for name in CORNERS)
            parts = {
                "transmitter": st - tt,
                "receiver": ts - tt,
                "interaction": ss - st - ts + tt,
                "total": ss - tt,
            }
            for k, snr in enumerate(self.snrs):
                rows.append(
                    {
                        "square": square.label,
                        "kind": square.kind,
                        "measure": measure,
                        "channel": self.channel,
                        "snr": snr,
                        **{name: bootstrap.interval(part[k]) for name, part in parts.items()},
                    }
                )
        return rows

    def prices(self) -> dict[str, snr_gap.Price]:
        """By pair's label, how many dB more than the teacher's own pair it needs for the same BLEU."""
        order = np.argsort(self.snrs)
        snrs, theirs = np.array(self.snrs)[order], self.values(self.roster.reference)["bleu"].T[:, order]
        found = {}
        for pair in self.compared:
            ours = self.values(pair)["bleu"].T[:, order]
            known = np.isfinite(ours).all(1) & np.isfinite(theirs).all(1)
            found[self.roster.label(pair)] = snr_gap.price(snrs, theirs[known], ours[known])
        return found

    def texts(self, pair: Pair, k: int | None = None) -> list[str]:
        """What a pair understood at SNR number ``k``, by default the reference SNR."""
        return self.decode(self.measured.heard[pair.key].pieces[self.at_reference if k is None else k])

    @property
    def sentences(self) -> list[Sentence]:
        return [e.sentence for e in self.measured.encoded]

    def words_lost(self, bands: lost_words.Bands) -> list[Row]:
        """A row a pair and class of words (by kind, frequency, length of the sentence, topic): share lost, at
        the reference SNR."""
        sentences = self.sentences
        sent = lost_words.Sent([sentence.text for sentence in sentences])
        frequency = sent.by_frequency(bands)
        lengths = np.array([lost_words.length_band(int(n)) for n in sent.lengths])
        topics = np.array([sentence.topic or "" for sentence in sentences])
        rows = []
        for pair in (pair for pair in self.roster.pairs if pair.draw == 0):
            loss = sent.loss(self.texts(pair))
            everything = loss.in_all()
            groups = {
                "all": {"words": everything, "added": loss.added()},
                "kind": loss.by_kind(),
                "frequency": loss.by(frequency),
                "length": _parted(everything, lengths, lost_words.LENGTH_BANDS),
                "topic": _parted(everything, topics, sorted(set(topics) - {""})),
            }
            if pair.seen_topics is not None and (topics != "").any():
                seen = np.isin(topics, sorted(pair.seen_topics))
                groups["topics of this pair"] = {
                    "seen": everything * seen[:, None],
                    "not seen": everything * ~seen[:, None],
                }
            for by, classes in groups.items():
                for name, tally in classes.items():
                    if tally[:, 1].any():
                        rows.append(
                            {
                                "pair": self.roster.label(pair),
                                "by": by,
                                "class": name,
                                "words": int(tally[:, 1].sum()),
                                "channel": self.channel,
                                "snr": self.reference_snr,
                                "lost": self._share(tally),
                            }
                        )
        return rows

    def _share(self, tally: np.ndarray) -> Interval | None:
        sums = self.weights @ tally
        with np.errstate(invalid="ignore"):
            found = bootstrap.interval(sums[:, 0] / sums[:, 1])
        if found is None or 0 < found.value < 1:
            return found
        # No resample of words that all arrived loses one: the exact end of a binomial share instead (Clopper
        # and Pearson 1934).
        end = 1 - ((1 - intervals.LEVEL) / 2) ** (1 / tally[:, 1].sum())
        return Interval(0.0, 0.0, end) if found.value == 0 else Interval(1.0, 1 - end, 1.0)

    def most_diverging(self, count: int) -> list[tuple[Sentence, float, dict[str, str]]]:
        """The sentences of the largest KL a token from the teacher at the reference SNR, mean over the pairs:
        sentence, that KL, and what each pair understood."""
        if not self.compared:
            return []
        pairs = [self.roster.reference, *self.compared]
        sums = np.mean(
            [self.measured.heard[pair.key].sums[self.at_reference] for pair in self.compared], axis=0
        )
        by_token = sums[:, PLACE["kl"]] / sums[:, PLACE["tokens"]]
        worst = np.argsort(-by_token, kind="stable")[:count]
        understood = {self.roster.label(pair): self.texts(pair) for pair in pairs}
        return [
            (self.sentences[i], float(by_token[i]), {label: texts[i] for label, texts in understood.items()})
            for i in worst
        ]

    def representations(self) -> list[Row]:
        """A row an end: of transmitters distance and likeness of what they send and of encoder states, of
        pairs likeness of decoder states."""
        rows = []
        for end in self.roster.transmitters:
            sent = self.measured.sent[end.fingerprint]
            distance = bootstrap.interval((self.weights @ sent.distance) / self.weights.sum(1))
            rows.append(
                {"end": end.label, "what": "encoder states", "cka": sent.cka, "signal_distance": distance}
            )
        rows += [
            {
                "end": self.roster.label(pair),
                "what": "decoder states",
                "cka": self.measured.heard[pair.key].cka,
                "signal_distance": None,
            }
            for pair in self.roster.pairs
        ]
        return rows

    def results(self) -> dict[str, object]:
        """All but the words lost, as rows for a file."""
        return {
            "matrix": self.matrix_rows,
            "effects": [row for square in self.roster.squares for row in self.effects(square)],
            "price": [{"pair": label, **vars(p)} for label, p in self.prices().items()],
            "representations": self.representations(),
            "over_seeds": self.over_seeds(),
            "differing_settings": self.differing(),
            "trends": [
                {
                    "setting": sweep.setting,
                    "runs": sweep.runs,
                    "held": sweep.held,
                    "points": [
                        {"value": value, "seed": seed, **values}
                        for (value, seed), values in sweep.points.items()
                    ],
                    "trends": {name: vars(trend) for name, trend in sweep.trends.items()},
                }
                for sweep in self.sweeps
            ],
        }

    def followed(self, run: Run) -> dict[str, float]:
        """``FOLLOWED`` of a run's own pair at the reference SNR."""
        pair, k = self.roster.own[run.label], self.at_reference
        values, theirs = self.values(pair), self.values(self.roster.reference)
        measured = {**values, "cross_entropy_gap": values["cross_entropy"] - theirs["cross_entropy"]}
        return {name: float(measured[name][k, 0]) for name in FOLLOWED}

    @cached_property
    def runs(self) -> list[Run]:
        """Runs whose settings and seed are known, each once: a hybrid has those of its student."""
        found: list[Run] = []
        for run in self.roster.runs:
            if run.distilled and not any(
                run.seed == other.seed and run.settings() == other.settings() for other in found
            ):
                found.append(run)
        return found

    @cached_property
    def settings(self) -> list[dict[str, object]]:
        """Of ``runs``. Where they differ in their topics, these as the share of all topics, a number, if no
        two runs of one share differ in them."""
        found = [run.settings() for run in self.runs]
        seen = [run.made.get("topics_seen") for run in self.runs]
        chosen = {(len(topics), tuple(sorted(topics))) for topics in seen if isinstance(topics, list)}
        if (
            len(chosen) > 1
            and all(isinstance(topics, list) for topics in seen)
            and len({count for count, _ in chosen}) == len(chosen)
        ):
            for settings, topics in zip(found, seen):
                settings.pop("topics"), settings.pop("exclude_topics")
                settings["topics_share"] = len(topics) / len(TOPICS)
        return found

    def over_seeds(self) -> list[Row]:
        """Runs that differ in their seed alone: mean and interval (Student's t) of each followed measure over
        two seeds at least."""
        rows = []
        for group in grouped(self.runs):
            if len(group) > 1:
                followed = [self.followed(run) for run in group]
                found = {name: intervals.estimate([values[name] for values in followed]) for name in FOLLOWED}
                rows.append(
                    {
                        "runs": [run.label for run in group],
                        "seeds": len(group),
                        **{name: e.interval for name, e in found.items()},
                    }
                )
        return rows

    @cached_property
    def sweeps(self) -> list["Sweep"]:
        """Each numeric setting in which runs differ alone, and what each followed measure does with it."""
        found = []
        for name, groups in setting_trends.sweeps(self.settings).items():
            for group in groups:
                if setting_trends.numeric(self.settings[i][name] for i in group):
                    points = {
                        (float(self.settings[i][name]), self.runs[i].seed): self.followed(self.runs[i])
                        for i in group
                    }
                    verdicts = {
                        measure: setting_trends.trend(
                            setting_trends.Point(value, seed, values[measure])
                            for (value, seed), values in points.items()
                        )
                        for measure in FOLLOWED
                    }
                    held = {
                        other: self.settings[group[0]][other] for other in self.differing() if other != name
                    }
                    found.append(
                        Sweep(name, tuple(self.runs[i].label for i in group), held, points, verdicts)
                    )
        return found

    def differing(self) -> dict[str, list]:
        """Settings in which the runs differ, and their values."""
        return setting_trends.differing(self.settings)


def _tested_measures(sums: np.ndarray) -> dict[str, np.ndarray]:
    found = measures(sums)
    return {name: found[name] for name in TESTED}


@dataclass(frozen=True)
class Sweep:
    """Runs that differ in one setting and their seed alone. held: settings that they share and other runs
    have otherwise. points: (value, seed) -> measures."""

    setting: str
    runs: tuple[str, ...]
    held: dict[str, object]
    points: dict[tuple[float, int], dict[str, float]]
    trends: dict[str, setting_trends.Trend]


def grouped(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs of the same settings, whatever their seed."""
    groups: list[list[Run]] = []
    for run in runs:
        home = next((group for group in groups if group[0].settings() == run.settings()), None)
        groups.append([run]) if home is None else home.append(run)
    return groups


def _parted(tally: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: tally * (labels == name)[:, None] for name in names}


def plain_values(value: object) -> object:
    """Rows as JSON has them: an interval as value, low and high, an end without bound as null."""
    if isinstance(value, Interval):
        return {"value": _finite(value.value), "low": _finite(value.low), "high": _finite(value.high)}
    if isinstance(value, Mapping):
        return {str(key): plain_values(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(part) for part in value]
    return _finite(value) if isinstance(value, float) else value


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
