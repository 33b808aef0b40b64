"""Does a setting control divergence? Trends over runs that differ in one setting, and the search for such
runs."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from itertools import permutations
from math import factorial, isnan
from numbers import Real
from statistics import fmean
from typing import Literal

import numpy as np

from semcom.evaluation.dialled import TARGET

ALPHA = 0.05
MIN_VALUES, MIN_SEEDS = 4, 3
PERMUTATIONS = 20_000
# Correlations that are equal on paper differ in their last digits; different ones of so few values lie much
# farther apart.
ROUNDING = 1e-9


Verdict = Literal["rises", "falls", "undecided"]
Claim = Literal["rises", "falls"]
RAISES = (TARGET,)
"""Settings of which it is claimed that divergence rises with them; of all others, that it falls."""


@dataclass(frozen=True)
class Point:
    """What a run with this value of a setting, and this seed, measured."""

    value: float
    seed: int
    measure: float


@dataclass(frozen=True)
class Trend:
    """rho: the mean over seeds of the rank correlations ``by_seed``; None, as its two-sided p, where there
    are no two values or no seeds.

    values, seeds: how many it rests on; a seed counts if it has every value that any seed has. why: of
    "undecided", the first that holds of "few_values", "few_seeds" (below four, three), "unbalanced" (enough
    seeds, too many of them lacking a value), "not_significant" (p of 0.05 or more) and "signs_differ"
    (between seeds, or a correlation of zero); "" otherwise.
    """

    rho: float | None
    by_seed: dict[int, float]
    p: float | None
    values: int
    seeds: int
    verdict: Verdict
    why: str


def trend(runs: Iterable[Point]) -> Trend:
    """Whether the measure rises or falls with the value: Spearman's rank correlation (1904) within each seed,
    ties by midranks.

    A measure that is the same at all values counts as a correlation of zero. p: of values shuffled within
    seeds; of all orders where there are at most 20,000, else of as many random ones, always the same, by (1 +
    count) / (1 + 20,000) (Phipson and Smyth, 2010). ValueError for two runs of one value and seed, for NaN
    and for a value that is no number.
    """
    import pandas as pd

    points = pd.DataFrame([asdict(run) for run in _checked(runs)], columns=["value", "seed", "measure"])
    for run in points[points.duplicated(["value", "seed"])].itertuples():
        raise ValueError(f"two runs of value {run.value} and seed {run.seed}: keep one of them")
    table = points.pivot(index="seed", columns="value", values="measure")
    whole = table.dropna()
    rho = p = None
    by_seed: dict[int, float] = {}
    if len(table.columns) > 1 and len(whole):
        positions = _scores(table.columns.to_numpy())
        scores = [_scores(measures) for measures in whole.to_numpy()]
        by_seed = {seed: float(positions @ score) for seed, score in zip(whole.index.tolist(), scores)}
        rho, p = fmean(by_seed.values()), _p(positions, scores)
    why = _undecided(len(table.columns), len(table), len(whole), p, list(by_seed.values()))
    verdict: Verdict = "undecided"
    if not why and rho is not None:
        verdict = "rises" if rho > 0 else "falls"
    return Trend(rho, by_seed, p, len(table.columns), len(whole), verdict, why)


def _checked(runs: Iterable[Point]) -> Iterator[Point]:
    for run in runs:
        if not numeric([run.value]) or isnan(run.value) or isnan(run.measure):
            raise ValueError(f"no trend over {run}: value and measure must be numbers")
        yield run


def _undecided(values: int, seeds: int, whole: int, p: float | None, correlations: Sequence[float]) -> str:
    """Why nothing can be said of so many values, seeds and seeds with every value; "" where it can."""
    if values < MIN_VALUES:
        return "few_values"
    if seeds < MIN_SEEDS:
        return "few_seeds"
    if whole < MIN_SEEDS:
        return "unbalanced"
    if p is None or p >= ALPHA:
        return "not_significant"
    if min(correlations) <= ROUNDING and max(correlations) >= -ROUNDING:
        return "signs_differ"
    return ""


def claim_of(setting: str) -> Claim:
    """What is claimed of divergence as this setting grows."""
    return "rises" if setting in RAISES else "falls"


def judge(trend: Trend, claimed: Claim) -> Literal["supported", "contradicted", "undecided"]:
    """What a trend says of a claim. ValueError for a claim that is none of both."""
    if claimed not in ("rises", "falls"):
        raise ValueError(f'claimed must be "rises" or "falls": {claimed!r}')
    if trend.verdict == "undecided":
        return "undecided"
    return "supported" if trend.verdict == claimed else "contradicted"


def numeric(values: Iterable[object]) -> bool:
    """Whether a setting of these values can have a trend: all are numbers; truth values, names, lists and
    None are not."""
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in values)


def as_number(value: object) -> float | None:
    """None of what can have no trend."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None


def differing(settings: Sequence[Mapping[str, object]], ignore: Collection[str] = ()) -> dict[str, list]:
    """Which settings differ among runs: name -> its distinct values, both in order of first appearance. A
    missing setting counts as None."""
    found = {}
    for name in dict.fromkeys(name for run in settings for name in run if name not in ignore):
        values: dict[object, object] = {}
        for run in settings:
            values.setdefault(keyed(run.get(name)), run.get(name))
        if len(values) > 1:
            found[name] = list(values.values())
    return found


def sweeps(
    settings: Sequence[Mapping[str, object]], ignore: Collection[str] = ()
) -> dict[str, list[list[int]]]:
    """Groups of runs that differ in one setting alone, beside the ignored ones and the seed: setting ->
    groups of indices, ascending.

    A grid of two settings gives groups of each at every value of the other; runs that differ in two are in no
    group together, so settings that only vary together have none. Settings of any type are grouped: ask
    ``numeric`` which groups can have a trend.
    """
    import pandas as pd

    names = list(differing(settings, {*ignore, "seed"}))
    codes = pd.DataFrame({name: distinct([run.get(name) for run in settings]) for name in names})
    found: dict[str, list[list[int]]] = {}
    for name in names:
        others = distinct([tuple(row) for row in codes.drop(columns=name).to_numpy()])
        groups = codes[name].groupby(others)
        kept = [values.index.tolist() for _, values in groups if values.nunique() > 1]
        if kept:
            found[name] = kept
    return found


def distinct(values: Sequence[object]) -> np.ndarray:
    """A number for each value, from 0 in order of first appearance; equal for those equal as JSON alone."""
    import pandas as pd

    return pd.factorize(np.fromiter(map(keyed, values), dtype=object, count=len(values)))[0]


def keyed(value: object) -> object:
    """Equal for equal JSON values alone, and hashable. Python's own equality takes ``True`` for 1, which JSON
    does not."""
    if isinstance(value, Mapping):
        return "object", frozenset((name, keyed(item)) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return "array", tuple(keyed(item) for item in value)
    return isinstance(value, bool), value


def _scores(values: np.ndarray) -> np.ndarray:
    """Midranks, centred and of length one, so that the rank correlation is an inner product; zeros for equal
    values."""
    from scipy.stats import rankdata

    centred = rankdata(values) - (len(values) + 1) / 2
    return centred / (np.linalg.norm(centred) or 1.0)


def _p(positions: np.ndarray, scores: Sequence[np.ndarray]) -> float:
    """Two-sided p of the summed correlations of ``positions`` with each of ``scores`` [values], by shuffling
    positions within seeds."""
    least = abs(sum(float(positions @ score) for score in scores)) - ROUNDING
    if factorial(len(positions)) ** len(scores) <= PERMUTATIONS:
        orders = np.array(list(permutations(positions)))
        return float(np.mean(np.abs(reduce(np.add.outer, (orders @ score for score in scores))) >= least))
    rng, tiled = np.random.default_rng(0), np.tile(positions, (PERMUTATIONS, 1))
    sums = sum(rng.permuted(tiled, axis=1) @ score for score in scores)
    return float((1 + np.sum(np.abs(sums) >= least)) / (1 + PERMUTATIONS))
