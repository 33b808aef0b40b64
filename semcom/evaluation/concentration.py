"""How much of a total few sentences hold."""

import numpy as np

WORST = 0.05


def worst_share(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[..., R] the share of the total that the worst ``WORST`` of sentences hold, 1 - L(1 - ``WORST``) of the
    Lorenz curve L. Of a sentence on the boundary only the part within counts.

    weights: [R, N], how often each of N sentences counts in each of R samples. values: [..., N] what each
    sentence adds to the total, the larger the worse. Not a number where the total is zero.
    """
    of_each = values.reshape(-1, values.shape[-1])
    wanted = WORST * weights.sum(1)
    worst = np.stack([_total_of_worst(weights, of_one, wanted) for of_one in of_each])
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = worst / (weights @ of_each.T).T
    return shares.reshape(*values.shape[:-1], len(weights))


def _total_of_worst(weights: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """[R] what the ``wanted`` [R] worst sentences of each sample add up to. values: [N]."""
    worst_first = np.argsort(-values, kind="stable")
    # All samples find their worst among the first few: only these are looked at.
    few = int(2 * WORST * len(values)) + 10
    while True:
        first = worst_first[:few]
        times = weights[:, first]
        if few >= len(values) or (times.sum(1) >= wanted).all():
            break
        few *= 2
    before = times.cumsum(1) - times
    taken = np.clip(wanted[:, None] - before, 0, times)
    return taken @ values[first]
