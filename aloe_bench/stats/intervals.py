"""95 % intervals for a mean or a conditional share of scores in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Interval = tuple[float, float]

ALPHA = 0.05
# Sums of residuals that are zero on paper come out near 1e-16 a term.
ZERO_SE = 1e-12
# Under this many clusters the standard error itself is shaky; t(G-1) is used all the same.
FEW_CLUSTERS = 20
VERY_FEW_CLUSTERS = 10


@dataclass(frozen=True, slots=True)
class Share:
    """A mean or conditional share in [0, 1] with its 95 % interval; None where nothing is eligible.

    `n` counts the eligible items (the denominator), `n_clusters` the clusters that hold one.
    """

    value: float | None
    interval: Interval | None
    n: int
    n_clusters: int


def few_clusters(n_clusters: int) -> str | None:
    """Return the warning that belongs beside any interval over so few clusters; None if there are enough."""
    if n_clusters >= FEW_CLUSTERS:
        return None
    if n_clusters < 2:
        return f"{n_clusters} {'cluster' if n_clusters else 'clusters'}: no interval and no test without two"
    advice = "the interval is rough" if n_clusters >= VERY_FEW_CLUSTERS else "go by the exact test, not the interval"
    return f"{n_clusters} clusters, fewer than {FEW_CLUSTERS}: {advice}"


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
    """Return the mean of `values` (each in [0, 1]) and its 95 % interval over `clusters`, as `clustered_share`'s.

    Raises ValueError if there are no values or the lengths differ.
    """
    if not values or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters; expected as many, at least 1")
    share = clustered_share(values, [1.0] * len(values), clusters)
    assert share.value is not None
    return share.value, share.interval


def weighted_mean(
    values: Sequence[float], weights: Sequence[float], clusters: Sequence[str]
) -> tuple[float, Interval | None]:
    """Return the mean of `values` (each in [0, 1]) by `weights` and its 95 % interval over `clusters`.

    The weights are taken as fixed; the interval is the modified Wilson one of `clustered_share`.
    """
    import numpy as np

    scale = np.asarray(weights, dtype=float) / np.mean(weights)
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    value, groups = float(np.mean(scale * np.asarray(values))), int(codes.max()) + 1
    if groups < 2:
        return value, None
    return value, _modified_wilson(value, standard_error(scale * (np.asarray(values) - value), codes), groups)


def clustered_share(hits: ArrayLike, eligible: ArrayLike, clusters: ArrayLike) -> Share:
    """Return sum(`hits`) / sum(`eligible`) and its 95 % interval over `clusters`; one entry an item each.

    `eligible` is 0 or 1 and `hits` in [0, eligible], so the share is a mean over the eligible items.
    Wilson where scores are 0 or 1 and no cluster repeats. Otherwise Wilson with the effective number of items,
    p(1-p)/SE^2, and t(G-1) for z; SE is the cluster-robust one with G/(G-1) (for a share, the delta method's). Where
    SE is 0, Clopper-Pearson with the number of clusters for n: no spread seen is not no uncertainty. No interval
    under two clusters.
    Source: Cameron and Miller (2015) for SE; Dean and Pagano (2015), "Evaluating confidence interval methods for
    binomial proportions in clustered surveys", for the modified Wilson interval.
    """
    import numpy as np

    hit, fit, codes = _checked(hits, eligible, clusters)
    n = int(fit.sum())
    if n == 0:
        return Share(None, None, 0, 0)
    hit, codes = hit[fit > 0], np.unique(codes[fit > 0], return_inverse=True)[1]
    total = float(hit.sum())
    value = total / n
    groups = int(codes.max()) + 1
    if groups < 2:
        return Share(value, None, n, groups)
    if groups == n and bool(np.isin(hit, (0, 1)).all()):
        return Share(value, wilson(total, n), n, groups)
    return Share(value, _modified_wilson(value, standard_error(hit - value, codes), groups), n, groups)


def standard_error(residuals: NDArray[np.float64], codes: NDArray[np.intp]) -> float:
    """Return the cluster-robust standard error of a mean, from its residuals and their cluster numbers 0..G-1."""
    import numpy as np

    sums = np.bincount(codes, weights=residuals)
    return float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(residuals))


@lru_cache(maxsize=4096)
def t_quantile(n_clusters: int) -> float:
    """Return the two-sided 95 % quantile of t with G-1 degrees of freedom."""
    from scipy import stats

    return float(stats.t.ppf(1 - ALPHA / 2, n_clusters - 1))


def _modified_wilson(value: float, error: float, n_clusters: int) -> Interval:
    if error < ZERO_SE:
        return clopper_pearson(min(n_clusters, value * n_clusters), n_clusters)
    z = t_quantile(n_clusters)
    n = value * (1 - value) / error**2
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (value * (1 - value) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def _checked(hits: ArrayLike, eligible: ArrayLike, clusters: ArrayLike) -> tuple[Any, Any, Any]:
    import numpy as np

    hit, fit, names = np.asarray(hits, dtype=float), np.asarray(eligible, dtype=float), np.asarray(clusters)
    if not hit.shape == fit.shape == names.shape or hit.ndim != 1:
        raise ValueError(f"{hit.size} hits, {fit.size} eligible and {names.size} clusters; expected as many")
    if not np.isin(fit, (0, 1)).all() or not ((hit >= 0) & (hit <= fit)).all():
        raise ValueError("a value lies outside [0, 1], or an item that is not eligible has one")
    return hit, fit, names


def _check_proportion(successes: float, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}; expected 0 to n, and n of at least 1")


@lru_cache(maxsize=4096)  # the same few counts come again and again, and statsmodels takes a millisecond
def _confint(successes: float, n: int, method: str) -> Interval:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=ALPHA, method=method)
    return max(0.0, float(low)), min(1.0, float(high))
