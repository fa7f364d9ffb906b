"""Krippendorff's alpha with intervals that resample items, and weighted kappa.

Only the `agreement` verb imports this module, and only when it runs, so numpy stands at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aloe_bench.seeds import rng_for
from aloe_bench.stats.intervals import ALPHA, Interval

Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")
GRADES = (0.0, 0.5, 1.0)
Matrix = NDArray[np.float64]
# Below this a spread is rounding, not disagreement.
NO_WIDTH = 1e-12


@dataclass(frozen=True, slots=True)
class Alpha:
    """Krippendorff's alpha with two 95 % intervals; `value` is None where `reason` says why.

    `n_units` items have two ratings or more, and hold `n_values` ratings. In `n_undefined` of the
    bootstrap's resamples alpha does not exist (every rating equal); they are left out of it.
    """

    value: float | None
    reason: str | None
    level: Level
    n_units: int
    n_values: int
    jackknife: Interval | None = None
    bootstrap: Interval | None = None
    n_undefined: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % bootstrap interval over items; None where `reason` says why.

    A difference of alphas has the jackknife's interval as well.
    """

    value: float | None
    interval: Interval | None
    n: int
    reason: str | None = None
    n_undefined: int = 0
    jackknife: Interval | None = None


@dataclass(frozen=True, slots=True)
class Resamples:
    """How often each item is drawn in each resample: `weights` is (n_resamples, n_items).

    Clusters are drawn, whole; every statistic of one study uses the same draws, so that
    differences are paired. `cluster` gives the cluster number of each item.
    """

    cluster: NDArray[np.intp]
    weights: Matrix

    @property
    def n_clusters(self) -> int:
        return int(self.cluster.max()) + 1 if self.cluster.size else 0


def resamples(clusters: Sequence[str], *, n: int = 2000, seed: int = 0) -> Resamples:
    """Return `n` bootstrap draws of whole clusters, one name an item; the order of items is free."""
    names, cluster = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    count = len(names)
    rng = np.random.default_rng(rng_for(seed, "agreement", *names).getrandbits(128))
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=n) if count else np.zeros((n, 0))
    cluster = cluster.reshape(-1)
    return Resamples(cluster, drawn[:, cluster].astype(np.float64))


def item_coincidences(ratings: Matrix, values: Sequence[float] = GRADES) -> Matrix:
    """Return each item's part of the coincidence matrix: (n_items, n_values, n_values).

    `ratings` is (n_raters, n_items), nan where a rating is missing. Items with fewer than two
    ratings give zeros. Source: Krippendorff (2011), "Computing Krippendorff's alpha-reliability".
    """
    counts = (ratings.T[:, :, None] == np.asarray(values)).sum(axis=1).astype(np.float64)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    divisor: Matrix = np.maximum(counts.sum(axis=1), 2)[:, None, None] - 1
    return np.asarray(pairs / divisor, dtype=np.float64)


def alphas(coincidences: Matrix, level: Level, values: Sequence[float] = GRADES) -> Matrix:
    """Return alpha of every coincidence matrix in `coincidences` (..., V, V); nan where undefined.

    The same number as `krippendorff.alpha`, for thousands of resamples at once.
    """
    totals = coincidences.sum(axis=-1)
    distance = distances(totals, level, values)
    expected = totals[..., :, None] * totals[..., None, :]
    expected = expected - totals[..., :, None] * np.eye(totals.shape[-1])
    observed_sum = (coincidences * distance).sum(axis=(-1, -2))
    expected_sum = (expected * distance).sum(axis=(-1, -2))
    # Two used values or more: at a weight of zero rounding leaves some 1e-17 of a value.
    defined = (totals > NO_WIDTH).sum(axis=-1) > 1
    with np.errstate(divide="ignore", invalid="ignore"):
        result = 1 - (totals.sum(axis=-1) - 1) * observed_sum / expected_sum
    return np.where(defined, result, np.nan)


def distances(totals: Matrix, level: Level, values: Sequence[float] = GRADES) -> Matrix:
    """Return how far apart each two values count (..., V, V), ratings of each being `totals` (..., V)."""
    if level == "ordinal":
        # The ordinal distance is that of the mid-ranks, which every resample has its own of.
        place = np.cumsum(totals, axis=-1) - totals / 2
    else:
        place = np.broadcast_to(np.asarray(values, dtype=np.float64), totals.shape)
    apart = place[..., :, None] - place[..., None, :]
    return (apart != 0).astype(np.float64) if level == "nominal" else np.asarray(apart**2, dtype=np.float64)


def alpha(
    ratings: Matrix, level: Level = "ordinal", *, values: Sequence[float] = GRADES, draws: Resamples | None = None
) -> Alpha:
    """Return alpha of `ratings` (n_raters, n_items; nan = missing), with intervals if `draws` are given.

    `values` is the whole scale, lowest first; ValueError if a rating lies outside it.
    """
    import krippendorff

    if not np.isin(ratings[~np.isnan(ratings)], values).all():
        raise ValueError(f"a rating is not one of {tuple(values)}")
    paired = (~np.isnan(ratings)).sum(axis=0) > 1
    used = ratings[:, paired]
    seen = np.unique(used[~np.isnan(used)])
    units, n_values = int(paired.sum()), int((~np.isnan(used)).sum())
    if not units:
        return Alpha(None, "no item has two ratings, so there is no pair to compare", level, 0, 0)
    if len(seen) < 2:
        reason = f"every rating is {seen[0]:g}, so agreement cannot be told from chance"
        return Alpha(None, reason, level, units, n_values)
    value = float(krippendorff.alpha(used, value_domain=list(values), level_of_measurement=level))
    if draws is None:
        return Alpha(value, None, level, units, n_values)
    items = item_coincidences(ratings, values)
    resampled = _resampled_alphas(items, level, values, draws)
    interval, undefined = percentile_interval(resampled)
    clusters = _used_clusters(items, draws)
    jackknife = _jackknife(value, _left_out_alphas(items, level, values, draws), clusters)
    least = _least_interval(value, items, level, values, draws) if clusters.sum() > 1 else None
    return Alpha(
        value, None, level, units, n_values, _no_nearer(jackknife, least), _no_nearer(interval, least), undefined
    )


def _least_interval(value: float, items: Matrix, level: Level, values: Sequence[float], draws: Resamples) -> Interval:
    """Return the interval that the clusters with any disagreement allow at the least; perfect agreement has one too."""
    by_cluster = _by_cluster(items, draws)
    by_cluster = by_cluster[by_cluster.sum(axis=(1, 2)) > 0]
    totals = by_cluster.sum(axis=(0, 1))
    raters = totals.sum() / (items.sum(axis=(1, 2)) > 0).sum()
    costs = (by_cluster * distances(totals, level, values)).sum(axis=(1, 2))
    costs = costs[costs > NO_WIDTH]
    if len(costs):
        costs = costs * (1 - value) * len(by_cluster) / costs.sum()
    return least_interval(len(by_cluster), len(costs), costs.sum(), (costs**2).sum(), one_by_chance(totals, raters))


def one_by_chance(totals: ArrayLike, raters: float) -> float:
    """Return what it costs, in 1 - alpha times items, if one of an item's `raters` differs as ratings do by chance.

    That is the same at every level; grades were given in the ratio of `totals`.
    """
    shares = np.asarray(totals, dtype=np.float64) / np.sum(totals)
    return 2 / raters / float(1 - (shares**2).sum())


def least_interval(n: int, apart: float, costs: float, squares: float, one_more: float) -> Interval:
    """Return how near to alpha its ends may be where `apart` of `n` items hold any disagreement.

    1 - alpha is the mean over items of what their disagreement costs; `costs` and `squares` are the sums of these costs
    and of their squares. Clopper and Pearson's interval of so many disagreements as, costing the same each, would vary
    as these do; towards lower alphas with one more, that costs `one_more`.
    Source: Fay and Feuer (1997), "Confidence intervals for directly standardized rates: a method based on the gamma
    distribution", with beta for gamma and this one more in place of the largest.
    """
    from scipy.special import betaincinv

    ends = []
    for more, tail in ((1, 1 - ALPHA / 2), (0, ALPHA / 2)):
        count, total, square = apart + more, costs + more * one_more, squares + more * one_more**2
        alike = total**2 / square if square else 0.0
        share = float(betaincinv(alike, max(n * alike / count - alike, 0) + 1, tail)) if alike else 0.0
        ends.append(1 - share * total / count if count else 1.0)
    return ends[0], ends[1]


def _no_nearer(interval: Interval | None, least: Interval | None) -> Interval | None:
    """Return `interval` with ends no nearer to the value than those of `least`, and none above 1."""
    if interval is None or least is None:
        return least
    return min(interval[0], least[0]), min(1.0, max(interval[1], least[1]))


def alpha_difference(
    first: Matrix,
    second: Matrix,
    level: Level,
    draws: Resamples,
    *,
    values: Sequence[float] = GRADES,
    family: int = 1,
) -> Estimate:
    """Return alpha of `first` minus alpha of `second`, two tables of the same items in the same order.

    In a `family` of so many differences its intervals have level 1 - 0.05 / `family`.
    """
    one, two = alpha(first, level, values=values), alpha(second, level, values=values)
    n = max(one.n_units, two.n_units)
    if one.value is None or two.value is None:
        return Estimate(None, None, n, one.reason or two.reason)
    value = one.value - two.value
    items = [item_coincidences(ratings, values) for ratings in (first, second)]
    resampled = [_resampled_alphas(each, level, values, draws) for each in items]
    interval, undefined = percentile_interval(resampled[0] - resampled[1], ALPHA / family)
    left_out = [_left_out_alphas(each, level, values, draws) for each in items]
    clusters = _used_clusters(items[0] + items[1], draws)
    jackknife = _jackknife(value, left_out[0] - left_out[1], clusters, ALPHA / family)
    return Estimate(value, interval, n, None, undefined, jackknife)


def percentile_interval(resampled: Matrix, outside: float = ALPHA) -> tuple[Interval | None, int]:
    """Return the percentile interval with level 1 - `outside`, and how many resamples are undefined (nan).

    None where no resample is defined, and where all are equal: no spread seen is not no uncertainty.
    """
    defined = resampled[~np.isnan(resampled)]
    undefined = int(resampled.size - defined.size)
    if not defined.size or np.ptp(defined) < NO_WIDTH:
        return None, undefined
    low, high = np.quantile(defined, [outside / 2, 1 - outside / 2])
    return (float(low), float(high)), undefined


def weighted_mean(differences: Matrix, draws: Resamples) -> Estimate:
    """Return the mean over items of `differences` (n_items; nan = left out) with its interval."""
    known = ~np.isnan(differences)
    n = int(known.sum())
    if not n:
        return Estimate(None, None, 0, "no item has both grades")
    weights = draws.weights[:, known]
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = weights @ differences[known] / weights.sum(axis=1)
    interval, undefined = percentile_interval(resampled)
    return Estimate(float(differences[known].mean()), interval, n, None, undefined)


def slope(y: Matrix, x: Matrix, draws: Resamples) -> Estimate:
    """Return the least-squares slope of `y` on `x` (n_items each; nan = left out) with its interval."""
    known = ~(np.isnan(y) | np.isnan(x))
    n = int(known.sum())
    if n < 3 or np.ptp(x[known]) < NO_WIDTH:
        return Estimate(None, None, n, "fewer than three items, or all of one length")
    weights = np.vstack([np.ones(n), draws.weights[:, known]])
    with np.errstate(divide="ignore", invalid="ignore"):
        total = weights.sum(axis=1)
        mean_x, mean_y = weights @ x[known] / total, weights @ y[known] / total
        covariance = weights @ (x[known] * y[known]) / total - mean_x * mean_y
        variance = weights @ x[known] ** 2 / total - mean_x**2
        slopes = np.where(variance > NO_WIDTH, covariance / variance, np.nan)
    interval, undefined = percentile_interval(slopes[1:])
    return Estimate(float(slopes[0]), interval, n, None, undefined)


def confusion(rows: Matrix, columns: Matrix, values: Sequence[float] = GRADES) -> NDArray[np.int_]:
    """Return the counts (V, V) of `rows`' value against `columns`' value, where both are known."""
    scale = np.asarray(values)
    return np.asarray((rows[:, None] == scale).astype(int).T @ (columns[:, None] == scale).astype(int))


def weighted_kappa(first: Matrix, second: Matrix, weight: str, values: Sequence[float] = GRADES) -> float | None:
    """Return Cohen's kappa, grades weighted by their distance ("linear") or its square ("quadratic").

    None where chance agreement is all there is.
    """
    table = confusion(first, second, values)
    if not table.sum() or len(np.flatnonzero(table.sum(axis=0) + table.sum(axis=1))) < 2:
        return None
    from statsmodels.stats.inter_rater import cohens_kappa

    scale = np.asarray(values, dtype=float)
    apart = np.abs(scale[:, None] - scale[None, :]) ** (1 if weight == "linear" else 2)
    return float(cohens_kappa(table, weights=apart, return_results=False))


def _resampled_alphas(items: Matrix, level: Level, values: Sequence[float], draws: Resamples) -> Matrix:
    flat = items.reshape(len(items), -1)
    return alphas((draws.weights @ flat).reshape(-1, *items.shape[1:]), level, values)


def _by_cluster(items: Matrix, draws: Resamples) -> Matrix:
    by_cluster = np.zeros((draws.n_clusters, *items.shape[1:]))
    np.add.at(by_cluster, draws.cluster, items)
    return by_cluster


def _used_clusters(items: Matrix, draws: Resamples) -> NDArray[np.bool_]:
    used: NDArray[np.bool_] = _by_cluster(items, draws).sum(axis=(1, 2)) > 0
    return used


def _left_out_alphas(items: Matrix, level: Level, values: Sequence[float], draws: Resamples) -> Matrix:
    by_cluster = _by_cluster(items, draws)
    return alphas(by_cluster.sum(axis=0) - by_cluster, level, values)


def _jackknife(value: float, left_out: Matrix, used: NDArray[np.bool_], outside: float = ALPHA) -> Interval | None:
    """Return the interval from leaving out one of the `used` clusters at a time, with t(G - 1).

    `left_out` holds the statistic without each cluster; None if one of them does not exist.
    """
    from scipy import stats

    left_out, count = left_out[used], int(used.sum())
    if count < 2 or np.isnan(left_out).any() or np.ptp(left_out) < NO_WIDTH:
        return None
    error = float(np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()))
    half_width = float(stats.t.ppf(1 - outside / 2, count - 1)) * error
    return value - half_width, value + half_width
