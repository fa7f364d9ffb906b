"""95 % intervals for a mean of scores in [0, 1]."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

Interval = tuple[float, float]

ALPHA = 0.05
# Sums of residuals that are zero on paper come out near 1e-16 a term.
ZERO_SE = 1e-12


def wilson(successes: float, n: int) -> Interval:
    """Return the 95 % Wilson interval of a proportion; Clopper-Pearson's at 0 or `n` successes.

    Raises ValueError if `n` is below 1 or `successes` lies outside [0, n].
    Source: Wilson (1927) and Clopper and Pearson (1934), as in statsmodels `proportion_confint`.
    """
    _check_proportion(successes, n)
    if successes in (0, n):
        return clopper_pearson(successes, n)
    return _confint(successes, n, "wilson")


def clopper_pearson(successes: float, n: int) -> Interval:
    """Return the exact 95 % interval of a proportion; `successes` may hold half points.

    Source: Clopper and Pearson (1934), by its beta quantiles, as in statsmodels.
    """
    _check_proportion(successes, n)
    return _confint(successes, n, "beta")


def clustered_mean(values: Sequence[float], clusters: Sequence[str]) -> tuple[float, Interval | None]:
    """Return the mean of `values` (each in [0, 1]) and its 95 % interval over `clusters`.

    Wilson where values are 0 or 1 and no cluster repeats. Otherwise the cluster-robust standard
    error with G/(G-1) and t(G-1), clipped to [0, 1]. Where that error is 0, Clopper-Pearson with
    the number of clusters for n: no spread seen is not no uncertainty. None under two clusters.
    Raises ValueError if there are no values or the lengths differ.
    Source: Cameron and Miller (2015), "A practitioner's guide to cluster-robust inference",
    for the mean, a regression on a constant.
    """
    if not values or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters; expected as many, at least 1")
    if not all(0 <= value <= 1 for value in values):
        raise ValueError("a value lies outside [0, 1]")
    n = len(values)
    total = math.fsum(values)
    mean = total / n
    by_cluster: defaultdict[str, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        by_cluster[cluster].append(value - mean)
    n_clusters = len(by_cluster)
    if n_clusters < 2:
        return mean, None
    if n_clusters == n and all(value in (0, 1) for value in values):
        return mean, wilson(total, n)
    squares = math.fsum(math.fsum(residuals) ** 2 for residuals in by_cluster.values())
    standard_error = math.sqrt(n_clusters / (n_clusters - 1) * squares) / n
    if standard_error < ZERO_SE:
        return mean, clopper_pearson(mean * n_clusters, n_clusters)
    from scipy import stats

    half_width = float(stats.t.ppf(1 - ALPHA / 2, n_clusters - 1)) * standard_error
    return mean, (max(0.0, mean - half_width), min(1.0, mean + half_width))


def _check_proportion(successes: float, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}; expected 0 to n, and n of at least 1")


def _confint(successes: float, n: int, method: str) -> Interval:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=ALPHA, method=method)
    return max(0.0, float(low)), min(1.0, float(high))
