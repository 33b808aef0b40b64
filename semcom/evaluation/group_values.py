"""A study's numbers by groups of pairs: of several seeds means with Student's intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from semcom.evaluation import bootstrap, frames, intervals, measures
from semcom.evaluation.groups import Group
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


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
