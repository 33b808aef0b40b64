"""Does a setting control divergence? Trends over runs that differ in one setting, and the search for such
runs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import permutations
from math import factorial, isnan
from numbers import Real
from statistics import fmean
from typing import Literal

import numpy as np

ALPHA = 0.05
MIN_VALUES, MIN_SEEDS = 4, 3
PERMUTATIONS = 20_000
# Correlations that are equal on paper differ in their last digits; different ones of so few values lie much
# farther apart.
ROUNDING = 1e-9


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
    verdict: Literal["rises", "falls", "undecided"]
    why: str


def trend(runs: Iterable[Point]) -> Trend:
    """Whether the measure rises or falls with the value: Spearman's rank correlation (1904) within each seed,
    ties by midranks.

    A measure that is the same at all values counts as a correlation of zero. p: of values shuffled within
    seeds; of all orders where there are at most 20,000, else of as many random ones, always the same, by (1 +
    count) / (1 + 20,000) (Phipson and Smyth, 2010). ValueError for two runs of one value and seed, for NaN
    and for a value that is no number.
    """
    table: dict[int, dict[float, float]] = {}
    for run in runs:
        if not numeric([run.value]) or isnan(run.value) or isnan(run.measure):
            raise ValueError(f"no trend over {run}: value and measure must be numbers")
        if run.value in table.setdefault(run.seed, {}):
            raise ValueError(f"two runs of value {run.value} and seed {run.seed}: keep one of them")
        table[run.seed][run.value] = run.measure
    values = sorted({value for measures in table.values() for value in measures})
    whole = {
        seed: [measures[value] for value in values]
        for seed, measures in sorted(table.items())
        if len(measures) == len(values)
    }
    rho = p = None
    by_seed: dict[int, float] = {}
    if len(values) > 1 and whole:
        positions = _scores(values)
        scores = {seed: _scores(measures) for seed, measures in whole.items()}
        by_seed = {seed: float(positions @ score) for seed, score in scores.items()}
        rho, p = fmean(by_seed.values()), _p(positions, list(scores.values()))
    why = (
        "few_values"
        if len(values) < MIN_VALUES
        else "few_seeds"
        if len(table) < MIN_SEEDS
        else "unbalanced"
        if len(whole) < MIN_SEEDS
        else "not_significant"
        if p is None or p >= ALPHA
        else "signs_differ"
        if min(by_seed.values()) <= ROUNDING and max(by_seed.values()) >= -ROUNDING
        else ""
    )
    verdict = "undecided" if why else "rises" if rho > 0 else "falls"
    return Trend(rho, by_seed, p, len(values), len(whole), verdict, why)


def judge(
    trend: Trend, claimed: Literal["rises", "falls"]
) -> Literal["supported", "contradicted", "undecided"]:
    """What a trend says of a claim. ValueError for a claim that is none of both."""
    if claimed not in ("rises", "falls"):
        raise ValueError(f'claimed must be "rises" or "falls": {claimed!r}')
    return (
        "undecided"
        if trend.verdict == "undecided"
        else "supported"
        if trend.verdict == claimed
        else "contradicted"
    )


def numeric(values: Iterable[object]) -> bool:
    """Whether a setting of these values can have a trend: all are numbers; truth values, names, lists and
    None are not."""
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in values)


def differing(settings: Sequence[Mapping[str, object]], ignore: Collection[str] = ()) -> dict[str, list]:
    """Which settings differ among runs: name -> its distinct values, both in order of first appearance. A
    missing setting counts as None."""
    found = {}
    for name in dict.fromkeys(name for run in settings for name in run if name not in ignore):
        values: dict[object, object] = {}
        for run in settings:
            values.setdefault(_key(run.get(name)), run.get(name))
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
    names = list(differing(settings, {*ignore, "seed"}))
    keys = [{name: _key(run.get(name)) for name in names} for run in settings]
    found: dict[str, list[list[int]]] = {}
    for name in names:
        groups: dict[tuple, list[int]] = {}
        for index, key in enumerate(keys):
            groups.setdefault(tuple(key[other] for other in names if other != name), []).append(index)
        kept = [group for group in groups.values() if len({keys[index][name] for index in group}) > 1]
        if kept:
            found[name] = kept
    return found


def _key(value: object) -> object:
    """Equal for equal JSON values alone, and hashable. Python's own equality takes ``True`` for 1, which JSON
    does not."""
    if isinstance(value, Mapping):
        return "object", frozenset((name, _key(item)) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return "array", tuple(_key(item) for item in value)
    return isinstance(value, bool), value


def _scores(values: Sequence[float]) -> np.ndarray:
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
