"""What the sums of a matrix say: measures with intervals, the share of each end, the price in dB, what
meaning is lost. Frames of plain values and intervals; models, files and languages are others' business."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from semcom.data.corpus import Sentence
from semcom.data.languages import UNDETERMINED
from semcom.evaluation import bootstrap, frames, intervals, lost_words, measures, snr_gap, words_by_class
from semcom.evaluation.campaign import Campaign
from semcom.evaluation.group_values import ByGroup
from semcom.evaluation.groups import Group, Grouping
from semcom.evaluation.ladders import Ladders
from semcom.evaluation.pairs import Pair, Pairing, PairKey, Run, Square
from semcom.evaluation.results import Measured, Signals
from semcom.evaluation.scores import floor_score
from semcom.evaluation.word_rules import rules_of

Row = dict[str, Any]
TRIALS, TRIALS_A_TEST = 10_000, 60
"""Of the paired tests, at least, and for each: p is no smaller than one in so many, and Holm's correction
over all must leave room below 0.05."""
CORNERS = ("TT", "ST", "TS", "SS")


@dataclass
class Study:
    """One teacher, one channel.

    noisy: whether its SNR matters. replicates: of the bootstrap. reference_snr: where one SNR stands for all.
    decode: pieces to texts. language: of the sentences, a code of ``LANGUAGES``.
    """

    pairing: Pairing
    measured: Measured
    channel: str
    noisy: bool
    reference_snr: float
    replicates: int
    seed: int
    decode: Callable[[list[list[int]]], list[str]]
    language: str = UNDETERMINED
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
        """Pairs beside the reference and the yardsticks."""
        return [pair for pair in self.pairing.pairs if self.pairing.role(pair) == "compared"]

    def teachers_score(self, measure: str) -> tuple[float | None, float | None]:
        """A measure of the teacher's own pair at the highest SNR and, of two sentences or more, its floor:
        that of another sentence of the same length in the place of each."""
        highest = self.snrs.index(max(self.snrs))
        score = float(self.values(self.pairing.reference)[measure][highest, 0])
        known = None if np.isnan(score) else score
        if len(self.sentences) < 2:
            return known, None
        floor: Row = floor_score(self.measured.encoded, self.measured.scoring)
        return known, floor[measure]

    @property
    def trials(self) -> int:
        """Of each paired test."""
        return max(TRIALS, TRIALS_A_TEST * len(self.compared) * len(self.snrs))

    def values(self, pair: Pair) -> dict[str, np.ndarray]:
        """Every measure of a pair, [S, R+1]: the test set, then its replicates."""
        if pair.key not in self._values:
            sums = self.measured.pairs[pair.key].sums
            self._values[pair.key] = measures.of_sentences(sums, weights=self.weights)
        return self._values[pair.key]

    @cached_property
    def matrix(self) -> pd.DataFrame:
        """A row a pair (under the labels of its runs) and SNR: what its ends are called, with seeds where
        others are alike but for these, and their files; measures with intervals, some over those of the
        channel's noise, gaps to the teacher's own, p of no difference from it (Holm over all pairs and SNRs
        of a measure)."""
        pairs, snrs = self.pairing.pairs, range(len(self.snrs))
        frame = frames.frame_of([self._matrix_row(pair, k) for pair in pairs for k in snrs])
        tested = [pair in self.compared for pair in pairs for _ in snrs]
        if self.compared:
            for name, p_values in self._p_values().items():
                frame.loc[tested, name] = p_values
        return frame

    def _matrix_row(self, pair: Pair, k: int) -> Row:
        sender, listener = self.naming.told(pair)
        row: Row = {
            "pair": self.pairing.label(pair),
            "transmitter": str(sender),
            "receiver": str(listener),
            "transmitter_file": pair.transmitter.file,
            "receiver_file": pair.receiver.file,
            "draw": pair.draw,
            "kind": self.pairing.kind(pair),
            "channel": self.channel,
            "snr": self.snrs[k],
            "calibration_temperature": self.measured.pairs[pair.key].temperature,
        }
        return row | {name: bootstrap.interval(value) for name, value in self.row_values(pair, k).items()}

    def row_values(self, pair: Pair, k: int) -> dict[str, np.ndarray]:
        """By column of the matrix, [R+1] of a pair at SNR number ``k``: measures, some over those of the
        channel's noise, gaps to the teacher's own."""
        values = self.values(pair)
        found = {name: value[k] for name, value in values.items()}
        if pair.draw:
            return found
        noise, reference = self.values(self.pairing.noise), self.values(self.pairing.reference)
        for measure in measures.beside_noise():
            with np.errstate(invalid="ignore", divide="ignore"):
                found[measure.over_noise_name] = values[measure.name][k] / noise[measure.name][k]
        for measure in measures.with_gap():
            found[measure.gap_name] = values[measure.name][k] - reference[measure.name][k]
        return found

    def _p_values(self) -> dict[str, list[float]]:
        """By column, a p for each pair compared and each of its SNRs, adjusted in Holm's way."""
        return {
            measure.p_name: intervals.holm(list(self.p_values[measure.name].values()))
            for measure in measures.tested()
        }

    @cached_property
    def p_values(self) -> dict[str, dict[tuple[PairKey, int], float]]:
        """By measure, each pair compared and number of an SNR: p of no difference from the teacher's own on
        these sentences, as it stands alone."""
        tests = [(pair, k) for pair in self.compared for k in range(len(self.snrs))]
        reference = self.measured.pairs[self.pairing.reference.key].sums
        ours = np.stack([self.measured.pairs[pair.key].sums[k] for pair, k in tests], axis=1)
        theirs = np.stack([reference[k] for _, k in tests], axis=1)
        tested = measures.tested()

        def values(sums: np.ndarray) -> dict[str, np.ndarray]:
            return measures.of_sums(sums, tested)

        found = bootstrap.swap_tests(ours, theirs, values, self.trials, self.seed)
        which = [(pair.key, k) for pair, k in tests]
        return {measure.name: dict(zip(which, found[measure.name].tolist())) for measure in tested}

    @cached_property
    def _by_pair_and_snr(self) -> pd.DataFrame:
        """``matrix`` with a column a pair's label and SNR, None where a cell is missing."""
        return frames.none_where_missing(self.matrix).set_index(["pair", "snr"], drop=False).T

    @cached_property
    def groups(self) -> list[Group]:
        """Pairs that differ in seeds alone: the teacher's own, the yardsticks, then what is compared."""
        """Without the yardstick of another draw where the channel has no noise: it is the same pair again."""
        return [group for group in self.naming.groups() if self.noisy or group.role != "noise"]

    @cached_property
    def naming(self) -> Grouping:
        """What ends are called."""
        return Grouping(self.pairing)

    @cached_property
    def by_group(self) -> ByGroup:
        """The study's numbers by groups of pairs."""
        return ByGroup(self)

    @property
    def grouped_matrix(self) -> pd.DataFrame:
        """``ByGroup.matrix``."""
        return self.by_group.matrix

    def group_row(self, group: Group, snr: float | None = None) -> pd.Series:
        """Of ``grouped_matrix`` that of a group at one SNR, by default the reference SNR; None where a cell
        is missing."""
        return self.by_group.row(group, self.reference_snr if snr is None else snr)

    def row(self, pair: Pair, snr: float | None = None) -> pd.Series:
        """Of ``matrix`` that of a pair at one SNR, by default the reference SNR; None where a cell is
        missing."""
        return self._by_pair_and_snr[self.pairing.label(pair), self.reference_snr if snr is None else snr]

    def effects(self, *squares: Square) -> pd.DataFrame:
        """A row a square, measure and SNR. With m the measure and the transmitter's letter first: transmitter
        m(ST) - m(TT), receiver m(TS) - m(TT), interaction m(SS) - m(ST) - m(TS) + m(TT), which add up to
        total m(SS) - m(TT). In the measure's own units."""
        return frames.frame_of([row for square in squares for row in self._effects(square)])

    def _effects(self, square: Square) -> list[Row]:
        found = self.effect_values(square)
        return [
            {
                "square": square.label,
                "kind": square.kind,
                "measure": measure,
                "channel": self.channel,
                "snr": snr,
                **{part: bootstrap.interval(values[k]) for part, values in parts.items()},
            }
            for measure, parts in found.items()
            for k, snr in enumerate(self.snrs)
        ]

    def effect_values(self, square: Square) -> dict[str, dict[str, np.ndarray]]:
        """By measure the parts of ``effects``, [S, R+1] each."""
        corners = {name: self.values(pair) for name, pair in self.pairing.corners(square).items()}
        found = {}
        for measure in measures.parted():
            tt, st, ts, ss = (corners[name][measure.name] for name in CORNERS)
            found[measure.name] = {
                "transmitter": st - tt,
                "receiver": ts - tt,
                "interaction": ss - st - ts + tt,
                "total": ss - tt,
            }
        return found

    def prices(self) -> pd.DataFrame:
        """A row a pair compared, of its label and the fields of ``snr_gap.Price``: how many dB more than the
        teacher's own pair it needs for the same BLEU."""
        return frames.frame_of(
            [{"pair": self.pairing.label(pair), **vars(self.price(pair))} for pair in self.compared]
        )

    def price(self, pair: Pair) -> snr_gap.Price:
        order = np.argsort(self.snrs)
        ours, theirs = (self.values(p)["bleu"].T[:, order] for p in (pair, self.pairing.reference))
        known = np.isfinite(ours).all(1) & np.isfinite(theirs).all(1)
        return snr_gap.price(np.array(self.snrs)[order], theirs[known], ours[known])

    def texts(self, pair: Pair, k: int | None = None) -> list[str]:
        """What a pair understood at SNR number ``k``, by default the reference SNR, in the form in which
        texts are compared."""
        decoded = self.decode(self.measured.pairs[pair.key].pieces[self.at_reference if k is None else k])
        return [self.measured.scoring.normalize(text) for text in decoded]

    @property
    def sent_texts(self) -> list[str]:
        """What was sent, in the form in which texts are compared."""
        return [self.measured.scoring.normalize(sentence.text) for sentence in self.sentences]

    @property
    def sentences(self) -> list[Sentence]:
        return [e.sentence for e in self.measured.encoded]

    @cached_property
    def sent(self) -> lost_words.Sent:
        """The sentences in words, by the rules of their language."""
        return lost_words.Sent(self.sent_texts, rules_of(self.language))

    def words_lost(self, bands: lost_words.Bands) -> pd.DataFrame:
        """A row a pair and class of words (by kind, frequency, length of the sentence, topic): share lost, at
        the reference SNR."""
        return words_by_class.table(self, bands)

    def most_diverging(self, count: int) -> list[tuple[Sentence, float, dict[str, str]]]:
        """The sentences of the largest KL a token from the teacher at the reference SNR, mean over the pairs
        compared: sentence, that KL, and what each group understood, of several seeds the first."""
        if not self.compared:
            return []
        sums = np.mean(
            [self.measured.pairs[pair.key].sums[self.at_reference] for pair in self.compared], axis=0
        )
        by_token = measures.of_sums(sums)["kl_divergence"]
        worst = np.argsort(-by_token, kind="stable")[:count]
        understood = {group.name: self.texts(group.pairs[0]) for group in self.by_group.speaking}
        return [
            (self.sentences[i], float(by_token[i]), {name: texts[i] for name, texts in understood.items()})
            for i in worst
        ]

    def representations(self) -> pd.DataFrame:
        """A row an end: of transmitters distance and likeness of what they send and of encoder states, of
        pairs likeness of decoder states."""
        rows: list[Row] = []
        for end in self.pairing.transmitters:
            sent = self.measured.sent[end.fingerprint]
            distance = bootstrap.interval(self.mean_distance(sent))
            of = {"end": end.label, "what": "encoder states"}
            rows.append({**of, "cka": sent.cka, "signal_distance": distance})
        for pair in self.pairing.pairs:
            of = {"end": self.pairing.label(pair), "what": "decoder states"}
            rows.append({**of, "cka": self.measured.pairs[pair.key].cka, "signal_distance": None})
        return frames.frame_of(rows)

    def mean_distance(self, sent: Signals) -> np.ndarray:
        """[R+1] of a transmitter's signals from the teacher's, by sentence."""
        return (self.weights @ sent.distance) / self.weights.sum(1)

    @cached_property
    def campaign(self) -> Campaign:
        """The runs, over their settings and seeds."""
        return Campaign(self.pairing.runs, self.followed, self.name_of)

    def name_of(self, run: Run) -> str:
        """What the group of a run's own pair is called."""
        own = self.pairing.own[run.label]
        return next(group.name for group in self.groups if own in group.pairs)

    @cached_property
    def dialled(self) -> Ladders:
        """The runs that were dialled, by ladder."""
        return Ladders(self)

    def followed(self, run: Run) -> dict[str, float]:
        """The measures followed of a run's own pair at the reference SNR."""
        k = self.at_reference
        ours, theirs = self.values(self.pairing.own[run.label]), self.values(self.pairing.reference)
        found: dict[str, float] = {}
        for measure in measures.followed():
            value = ours[measure.name] - theirs[measure.name] if measure.gap else ours[measure.name]
            found[measure.followed_name] = float(value[k, 0])
        return found

    def results(self) -> dict[str, object]:
        """All but the words lost, as frames and what goes with them, for a file."""
        trends = [
            {
                "setting": sweep.setting,
                "runs": sweep.runs,
                "held": sweep.held,
                "points": sweep.points,
                "trends": {name: vars(trend) for name, trend in sweep.trends.items()},
            }
            for sweep in self.campaign.sweeps
        ]
        return {
            "matrix": self.matrix,
            "effects": self.effects(*self.pairing.squares),
            "price": self.prices(),
            "representations": self.representations(),
            "over_seeds": self.campaign.over_seeds(),
            "differing_settings": self.campaign.differing(),
            "trends": trends,
            **({"ladders": self.dialled.rows} if self.dialled.ladders else {}),
        }
