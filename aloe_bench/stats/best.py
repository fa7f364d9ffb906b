"""A confidence set for the best of several runs on the same items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aloe_bench.seeds import rng_for
from aloe_bench.stats.intervals import ALPHA, ZERO_SE, numbered
from aloe_bench.stats.paired import Difference, mean_difference

DRAWS = 4000
Sets = Sequence[tuple[NDArray[np.float64], NDArray[np.str_]]]


def set_of_best(runs: Sequence[Sets], alpha: float = ALPHA) -> list[bool]:
    """Return of each run whether it is in a set that holds all of the truly best runs with probability 1 - `alpha`.

    `runs` has, of each run, values and clusters of every data set, with the same items in the same order; the mean
    over data sets is what is best. Step-down: as long as the run that the leader is furthest ahead of lies further
    behind than 95 % of the largest distances between any two of those left, if all were alike, it goes. The distance
    is the normal score of the paired test; the largest one's law is drawn with the correlation that the clusters show.
    Source: Hsu (1996), "Multiple Comparisons", ch. 4; Romano and Wolf (2005), for the step-down.
    """
    if len(runs) < 2:
        return [True] * len(runs)
    means = [sum(float(values.mean()) for values, _ in run) / len(run) for run in runs]
    draws, spread = _draws(runs)
    left = sorted(range(len(runs)), key=lambda i: (-means[i], i))
    behind = {i: _score(runs[left[0]], runs[i]) for i in left[1:]}
    while len(left) > 1:
        last = max(left[1:], key=lambda i: behind[i])
        if behind[last] <= _critical(draws[:, left], spread[np.ix_(left, left)], alpha):
            break
        left.remove(last)
    return [i in left for i in range(len(runs))]


def _score(leader: Sets, other: Sets) -> float:
    """Return by how many standard errors, on the normal scale, the leader is ahead."""
    from scipy.special import ndtri

    found: Difference = mean_difference(
        [(first, second, clusters) for (first, clusters), (second, _) in zip(leader, other, strict=True)]
    )
    if found.p is None or not found.value:
        return 0.0
    return float(-ndtri(max(found.p, 1e-300) / 2)) * (1.0 if found.value > 0 else -1.0)


def _draws(runs: Sequence[Sets]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return draws of the runs' errors with the covariance of their cluster sums, and that of each two's difference."""
    sums = []
    for one in zip(*runs, strict=True):
        codes = numbered(one[0][1])
        size = len(codes) * len(runs[0])
        sums.append(np.stack([np.bincount(codes, weights=(values - values.mean()) / size) for values, _ in one]))
    errors = np.concatenate(sums, axis=1)
    covariance = errors @ errors.T
    variances = np.diag(covariance)
    spread = np.sqrt(np.maximum(variances[:, None] + variances[None, :] - 2 * covariance, 0.0))
    rng = np.random.default_rng(rng_for("set of best", DRAWS).getrandbits(128))
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return rng.standard_normal((DRAWS, len(runs))) @ root.T, spread


def _critical(draws: NDArray[np.float64], spread: NDArray[np.float64], alpha: float) -> float:
    """Return the 1 - `alpha` quantile of the largest standardised difference between two columns."""
    one, two = np.triu_indices(spread.shape[0], 1)
    apart = spread[one, two] > ZERO_SE
    if not apart.any():
        return float("inf")
    one, two = one[apart], two[apart]
    largest = np.abs((draws[:, one] - draws[:, two]) / spread[one, two]).max(axis=1)
    return float(np.quantile(largest, 1 - alpha))
