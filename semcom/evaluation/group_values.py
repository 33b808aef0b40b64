"""A study's numbers by groups of pairs: of several seeds means with Student's intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from semcom.evaluation import bootstrap, frames, intervals, lost_words, measures, snr_gap, words_by_class
from semcom.evaluation.groups import Group, SquareGroup
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pairs import Pair, PairKey
from semcom.evaluation.setting_trends import MIN_SEEDS

if TYPE_CHECKING:
    from semcom.evaluation.study import Study

Row = dict[str, Any]
Values = dict[str, np.ndarray]
TestOf = Literal["seeds", "sentences"]


class ByGroup:
    """Of a study."""

    def __init__(self, study: Study):
        self._study = study

    @cached_property
    def matrix(self) -> pd.DataFrame:
        """A row a group and SNR: the columns of ``Study.matrix``, of several seeds means with Student's
        intervals; its role, its number of seeds, and what its p-values are of ("p_of"), which are adjusted in
        Holm's way over all groups compared and SNRs of a measure."""
        study = self._study
        tests = [(group, k) for group in study.groups for k in range(len(study.snrs))]
        frame = frames.frame_of([self._row(group, k) for group, k in tests])
        compared = [(group, k) for group, k in tests if group.role == "compared"]
        tested = [group.role == "compared" for group, _ in tests]
        for measure in measures.tested() if compared else ():
            found = [self.p_value(group, measure.name, k)[0] for group, k in compared]
            frame.loc[tested, measure.p_name] = intervals.holm(found)
        return frame

    def row(self, group: Group, snr: float) -> pd.Series:
        """Of ``matrix``, None where a cell is missing."""
        return self._by_group_and_snr[group.pairs[0].key, snr]

    @cached_property
    def _by_group_and_snr(self) -> dict[tuple[PairKey, float], pd.Series]:
        frame = frames.none_where_missing(self.matrix)
        keys = [(group.pairs[0].key, snr) for group in self._study.groups for snr in self._study.snrs]
        return {key: row for key, (_, row) in zip(keys, frame.iterrows())}

    def _row(self, group: Group, k: int) -> Row:
        study = self._study
        temperatures = [study.measured.pairs[pair.key].temperature for pair in group.pairs]
        found: Row = {
            "pair": group.name,
            "transmitter": group.transmitter,
            "receiver": group.receiver,
            "draw": group.pairs[0].draw,
            "kind": group.kind,
            "role": group.role,
            "seeds": len(group.pairs),
            "channel": study.channel,
            "snr": study.snrs[k],
            "calibration_temperature": _mean_of_known(temperatures),
        }
        found |= self._over_seeds(group, lambda pair: study.row_values(pair, k))
        if group.role == "compared":
            found["p_of"] = self.test_of(group)
        return found

    def _over_seeds(self, group: Group, values: Callable[[Pair], Values]) -> dict[str, Interval | None]:
        """values: name -> [R+1] of a pair."""
        of_each = [values(pair) for pair in group.pairs]
        return {name: bootstrap.over_seeds([each[name] for each in of_each]) for name in of_each[0]}

    def test_of(self, group: Group) -> TestOf:
        """What its p-values are of: its seeds, or, of too few, the sentences of the first."""
        return "seeds" if len(group.pairs) >= MIN_SEEDS else "sentences"

    def p_value(self, group: Group, measure: str, k: int) -> tuple[float, TestOf]:
        """p, as it stands alone, of no difference from the teacher's own pair at SNR number ``k``: over seeds
        a t-test of the differences, over sentences that of ``Study.p_values``. measure: one that is
        ``tested``."""
        study, test = self._study, self.test_of(group)
        if test == "sentences":
            return study.p_values[measure][group.pairs[0].key, k], test
        theirs = float(study.values(study.pairing.reference)[measure][k, 0])
        ours = [float(study.values(pair)[measure][k, 0]) for pair in group.pairs]
        if not np.isfinite([theirs, *ours]).all():
            return 1.0, test
        found = intervals.paired(ours, [theirs] * len(ours)).p
        return 1.0 if found is None else found, test

    @cached_property
    def squares(self) -> list[SquareGroup]:
        """Squares that differ in seeds alone."""
        return self._study.naming.squares()

    def effects(self, *squares: SquareGroup) -> pd.DataFrame:
        """A row a group of squares, measure and SNR: the columns of ``Study.effects``, of several seeds means
        with Student's intervals, and the number of seeds."""
        return frames.frame_of([row for square in squares for row in self._effects(square)])

    def _effects(self, group: SquareGroup) -> list[Row]:
        study, of_each = self._study, [self._study.effect_values(square) for square in group.squares]
        rows = []
        for measure, parts in of_each[0].items():
            for k, snr in enumerate(study.snrs):
                of = {"square": group.name, "kind": group.kind, "measure": measure}
                at = {"channel": study.channel, "snr": snr, "seeds": len(group.squares)}
                found = {
                    part: bootstrap.over_seeds([each[measure][part][k] for each in of_each]) for part in parts
                }
                rows.append({**of, **at, **found})
        return rows

    def prices(self) -> pd.DataFrame:
        """A row a group compared, of its name, its number of seeds and the fields of ``snr_gap.Price``."""
        return frames.frame_of(
            [
                {"pair": group.name, "seeds": len(group.pairs), **vars(self.price(group))}
                for group in self._study.groups
                if group.role == "compared"
            ]
        )

    def price(self, group: Group) -> snr_gap.Price:
        """Of several seeds the mean with Student's interval where each has one."""
        return snr_gap.over_seeds([self._study.price(pair) for pair in group.pairs])

    def words_lost(self, bands: lost_words.Bands) -> pd.DataFrame:
        """A row a group and class of words: the columns of ``Study.words_lost``, of several seeds means with
        Student's intervals, and the number of seeds."""
        rows = [row for group in self.speaking for row in self._words_lost(group, bands)]
        return frames.frame_of(rows)

    @property
    def speaking(self) -> list[Group]:
        """Groups whose texts are looked at: all but the reference's yardsticks and what only foretells."""
        groups = self._study.groups
        return [group for group in groups if not any(pair.draw or pair.forced for pair in group.pairs)]

    def _words_lost(self, group: Group, bands: lost_words.Bands) -> list[Row]:
        study, of = self._study, {"pair": group.name, "seeds": len(group.pairs)}
        of_each = [words_by_class.by_class(study, pair, bands) for pair in group.pairs]
        # Of words understood, which are classes too, one seed may have none.
        places = [place for place in of_each[0] if all(place in tallies for tallies in of_each)]
        return [
            {
                **of,
                **words_by_class.row_of(study, place, of_each[0][place]),
                "lost": words_by_class.over_seeds(study, [tallies[place] for tallies in of_each]),
            }
            for place in places
        ]

    def representations(self) -> pd.DataFrame:
        """A row a kind of transmitter and a group: the columns of ``Study.representations``, means over
        seeds, of the distance with Student's intervals."""
        study, rows = self._study, []
        for alike in study.naming.transmitters:
            sent = [study.measured.sent[end] for end in alike.seeds]
            distance = bootstrap.over_seeds([study.mean_distance(each) for each in sent])
            cka = _mean_of_known([each.cka for each in sent])
            rows.append(
                {"end": alike.name, "what": "encoder states", "cka": cka, "signal_distance": distance}
            )
        for group in study.groups:
            cka = _mean_of_known([study.measured.pairs[pair.key].cka for pair in group.pairs])
            of = {"end": group.name, "what": "decoder states"}
            rows.append({**of, "cka": cka, "signal_distance": None})
        return frames.frame_of(rows)


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
