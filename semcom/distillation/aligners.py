"""Maps between two ends that never met, fitted to pilots that both sides know.

A row is a token of a pilot sentence: what arrives of A's transmitter, equalised, and what B's own transmitter
sends for it, without noise. The map is to make the second of the first, for B's receiver to read. Fits are in
float64, the maps that they make in float32. Letters: N rows, C_a and C_b real channel dimensions a token, of
what arrives and of what is wanted; x and y a row of either.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from semcom.base.errors import SemcomError
from semcom.distillation.aligner_network import bent_part, best_steps
from semcom.distillation.aligner_settings import EQUAL_C, MAPS
from semcom.models.aligner import Aligner
from semcom.models.architecture import AlignerSize

Rows = npt.NDArray[np.float64]
FOLDS = 5
STRENGTHS = (0.0, *np.logspace(-6, 2, 17))
"""Of the ridge, in units of the mean squared singular value of the rows; the first regularises nothing."""
HIDDEN = 4
"""Width of the network's bent part, in C_a."""


@dataclass(frozen=True)
class Pilots:
    """N tokens of pilot sentences, as both sides have them.

    arrived: [N, C_a], what arrives, equalised; wanted: [N, C_b], what B's transmitter sends, without noise.
    sentence: [N], the number of each row's sentence, by which rows are held out together; None: each by
    itself.
    """

    arrived: Tensor
    wanted: Tensor
    sentence: Tensor | None = None

    def __len__(self) -> int:
        return len(self.arrived)

    @property
    def widths(self) -> tuple[int, int]:
        """C_a, C_b."""
        return self.arrived.shape[1], self.wanted.shape[1]


@dataclass(frozen=True)
class _Affine:
    """y = x matrix + shift. matrix: [C_a, C_b]; shift: [C_b], or None."""

    matrix: Rows
    shift: Rows | None = None


def fit_aligner(way: str, pilots: Pilots, *, seed: int, anchors: int | None = None) -> Aligner:
    """The map that one of ``MAPS`` learns from pilots; the same from the same pilots and seed.

    anchors: rows that ``anchors`` compares with, drawn by the seed; all where None. Raises SemcomError for
    ways that tune an end instead, C that the way does not join, and pilots that are none or no numbers.
    """
    x, y = _checked(way, pilots)
    if way == "network":
        return _network(pilots, seed)
    if way == "anchors":
        return _as_aligner(_of_anchors(x, y, anchors, seed))
    if way in ("linear", "affine"):
        return _as_aligner(_ridge(pilots, seed, shifts=way == "affine"))
    return _as_aligner(_Affine(_SQUARE[way](x, y)))


def _checked(way: str, pilots: Pilots) -> tuple[Rows, Rows]:
    """Arrived and wanted rows."""
    if way not in MAPS:
        raise SemcomError(f"{way!r} is no way to fit a map; allowed are {' '.join(MAPS)}")
    c_a, c_b = pilots.widths
    if way in EQUAL_C and c_a != c_b:
        raise SemcomError(
            f"way {way}: joins ends of one signal width C, these have {c_a} and {c_b}; "
            "take linear, affine, network or anchors"
        )
    x, y = (each.detach().double().cpu().numpy() for each in (pilots.arrived, pilots.wanted))
    if not len(x) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise SemcomError(f"way {way}: needs pilots that are finite numbers, one token at least")
    return x, y


# --- maps in closed form


def _identity(x: Rows, y: Rows) -> Rows:
    return np.eye(x.shape[1])


def _complex_number(x: Rows, y: Rows) -> Rows:
    """The c that minimises |x c - y|² over all complex symbols of all rows, as a matrix of the reals."""
    sent, wanted = (np.ascontiguousarray(each).view(np.complex128) for each in (x, y))
    energy = np.vdot(sent, sent).real
    c = np.vdot(sent, wanted) / energy if energy else 1.0
    return np.kron(np.eye(x.shape[1] // 2), np.array([[c.real, c.imag], [-c.imag, c.real]]))


def _rotation(x: Rows, y: Rows) -> Rows:
    """The orthogonal R that minimises |x R - y|² (Schönemann 1966)."""
    rotation: Rows = orthogonal_procrustes(x, y)[0].astype(np.float64)
    return rotation


_SQUARE: dict[str, Callable[[Rows, Rows], Rows]] = {
    "none": _identity,
    "scale": _complex_number,
    "orthogonal": _rotation,
}


def _of_anchors(x: Rows, y: Rows, anchors: int | None, seed: int) -> _Affine:
    """Inverse relative projection (Maiorca et al. 2024, arXiv 2406.15057, on Moschella et al. 2023, arXiv
    2209.15430).

    A row is told by its cosines to A's anchors, cos(x, a_i) = x·â_i / |x|, and the pseudo-inverse of B's
    anchors, as directions b̂_i, makes a direction of B of them: pinv(B̂) Â x / |x|. The paper leaves the
    length open, since its decoders do not mind; a channel decoder does, and symbols have one power on either
    side, so the length of what arrived is kept. With it |x| cancels: the map is linear, pinv(B̂) Â, and stored
    as such. It is exact where B's signal is A's turned; anchors are what arrived, with its noise.
    """
    if anchors is not None and anchors < len(x):
        chosen = np.random.default_rng(seed).choice(len(x), anchors, replace=False)
        x, y = x[chosen], y[chosen]
    return _Affine((np.linalg.pinv(_directions(y)) @ _directions(x)).T)


def _directions(rows: Rows) -> Rows:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


def _ridge(pilots: Pilots, seed: int, *, shifts: bool) -> _Affine:
    """The W, b that minimise |x W + b - y|² + λ |W|², λ of ``STRENGTHS`` chosen by five folds."""
    x, y = _checked("linear", pilots)
    errors = np.zeros(len(STRENGTHS))
    for held_out in _folds(pilots, seed):
        for number, found in enumerate(_ridge_path(x[~held_out], y[~held_out], shifts=shifts)):
            errors[number] += np.square(_applied(found, x[held_out]) - y[held_out]).sum()
    return _ridge_path(x, y, shifts=shifts)[int(errors.argmin())]


def _ridge_path(x: Rows, y: Rows, *, shifts: bool) -> list[_Affine]:
    """The ridge of each of ``STRENGTHS``, by one singular value decomposition."""
    x_mean, y_mean = (each.mean(0) * shifts for each in (x, y))
    u, s, v = np.linalg.svd(x - x_mean, full_matrices=False)
    along = u.T @ (y - y_mean)
    unit = np.square(s).mean()
    seen = s > s.max(initial=0.0) * max(x.shape) * np.finfo(np.float64).eps
    found = []
    for strength in STRENGTHS:
        gains = np.divide(s, np.square(s) + strength * unit, out=np.zeros_like(s), where=seen)
        matrix = v.T @ (gains[:, None] * along)
        found.append(_Affine(matrix, y_mean - x_mean @ matrix if shifts else None))
    return found


def _folds(pilots: Pilots, seed: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Which rows are held out, five times or as often as there are groups; none where there is one group."""
    groups = np.arange(len(pilots)) if pilots.sentence is None else pilots.sentence.cpu().numpy()
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < FOLDS:
        names, group = np.arange(len(pilots)), np.arange(len(pilots))
    fold = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    for number in range(min(FOLDS, len(names)) if len(names) > 1 else 0):
        yield fold[group] == number


def _applied(found: _Affine, x: Rows) -> Rows:
    made: Rows = x @ found.matrix
    return made if found.shift is None else made + found.shift


def _as_aligner(found: _Affine) -> Aligner:
    inputs, outputs = found.matrix.shape
    aligner = Aligner(inputs, AlignerSize(outputs, bias=found.shift is not None))
    _set(aligner, found)
    return aligner.eval()


@torch.no_grad()
def _set(aligner: Aligner, found: _Affine) -> None:
    aligner.straight.weight.copy_(torch.from_numpy(found.matrix.T.copy()))
    if found.shift is not None:
        aligner.straight.bias.copy_(torch.from_numpy(found.shift))


# --- a network


def _network(pilots: Pilots, seed: int) -> Aligner:
    """The affine map, and beside it a hidden layer that learns what the map leaves.

    How long it learns is told by a fifth of the pilots, and may be not at all; then both learn from all.
    """
    c_a, c_b = pilots.widths
    held_out = next(_folds(pilots, seed), np.zeros(len(pilots), dtype=bool))
    kept = _some(pilots, ~held_out)
    trial = _ridge(kept, seed, shifts=True)
    of_trial = _left(trial, kept), _left(trial, _some(pilots, held_out))
    steps = best_steps(*of_trial, HIDDEN * c_a, seed=seed) if held_out.any() else 0
    found = _ridge(pilots, seed, shifts=True)
    bent = bent_part(_left(found, pilots), HIDDEN * c_a, seed=seed, steps=steps)
    aligner = Aligner(c_a, AlignerSize(c_b, bias=True, hidden=HIDDEN * c_a))
    _set(aligner, found)
    assert aligner.bent is not None
    weights = {"0.weight": bent.inner.T, "0.bias": bent.shift, "2.weight": bent.outer.T}
    aligner.bent.load_state_dict({name: torch.from_numpy(each.copy()) for name, each in weights.items()})
    return aligner.eval()


def _some(pilots: Pilots, rows: npt.NDArray[np.bool_]) -> Pilots:
    chosen = torch.from_numpy(rows).to(pilots.arrived.device)
    sentence = None if pilots.sentence is None else pilots.sentence[chosen]
    return Pilots(pilots.arrived[chosen], pilots.wanted[chosen], sentence)


def _left(found: _Affine, pilots: Pilots) -> tuple[Rows, Rows]:
    """Rows that arrived, and what the map lacks there."""
    x, y = _checked("network", pilots) if len(pilots) else (np.zeros((0, pilots.widths[0])), 0)
    return x, y - _applied(found, x)
