"""A jury's mean score corrected by experts' labels of a random part of the answers: prediction-powered inference.

Source: Angelopoulos, Duchi and Zrnic (2023), "PPI++: Efficient prediction-powered inference"; the weight of the jury is
cross-fitted, since one fitted on the same labels leaves a bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aloe_bench.seeds import rng_for
from aloe_bench.stats.intervals import Interval, effective_clusters, interval_of_worth, numbered, quantile

# With fewer labels the weight of the jury cannot be told, and the labels stand alone.
LEAST_LABELS = 30
FOLDS = 10
LEAST_RATERS = 3
# A good jury errs on few of few labels, and errors that were not seen are not none: one more, of half credit.
ONE_MORE = 0.5
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CorrectedMean:
    """The mean score that experts would give all answers, with its 95 % interval; None where it has none.

    `weight` is how much of the jury's grades enters, 0 where the labels stand alone. `variance` is that of the value
    over items, `freedom` its degrees of freedom. `bias` is the jury's mean minus the value, with an interval.
    """

    value: float
    interval: Interval | None
    n_labels: int
    weight: float
    bias: float
    bias_interval: Interval | None
    variance: float
    freedom: float


def corrected_mean(
    grades: ArrayLike,
    labels: ArrayLike,
    clusters: ArrayLike,
    weight: float | None = None,
    one_more: float = ONE_MORE,
) -> CorrectedMean:
    """Return the mean of what experts would say of all answers, one entry an answer.

    `grades` are the jury's, in [0, 1]; `labels` the experts', nan where there is none; those labelled are a random
    part. With the grades of U unlabelled and m labelled answers it is w mean_U(grades) + mean(labels - w grades), its
    variance w^2 var_U(grades) + var(labels - w grades), both over cluster sums, the latter as if an error of `one_more`
    had been seen besides, in one cluster more; interval as `interval_of_mean`'s, t having one less than the effective
    clusters with a label. w is fitted in tenths of the clusters on the other nine (`weight` fixes it), from 30 labels
    on; below, and without an unlabelled answer, the labels stand alone. Raises ValueError without a label.
    """
    f, y = np.asarray(grades, dtype=float), np.asarray(labels, dtype=float)
    codes, known = numbered(clusters), ~np.isnan(y)
    if f.shape != y.shape or not known.any():
        raise ValueError(f"{f.size} grades and {y.size} labels, {int(known.sum())} known; expected as many, and one")
    m, rest = int(known.sum()), int((~known).sum())
    w = np.zeros(len(f))
    if rest and weight is not None:
        w[:] = weight
    elif rest and m >= LEAST_LABELS:
        w = _weights(f, y, codes, known, m / rest)
    mean_weight = float(w[known].mean())
    far = np.where(known, 0.0, f)
    unlabelled = float(far.sum() / rest) if rest else 0.0
    kept = np.where(known, np.where(known, y, 0.0) - w * f, 0.0)
    value = mean_weight * unlabelled + float(kept.sum() / m)
    parts = np.where(known, (kept - kept.sum() / m) / m, 0.0)
    others = np.where(known, 0.0, mean_weight * (f - unlabelled) / max(rest, 1))
    sizes = np.bincount(codes[known])
    labelled = effective_clusters(sizes[sizes > 0])
    further = (one_more / labelled) ** 2
    variance = _variance(parts, others, codes, known) + further
    # Of the difference to the jury's own mean, which all grades enter.
    size = len(f)
    own = (f - f.mean()) / size
    apart = _variance(np.where(known, own - parts, 0.0), np.where(known, 0.0, own - others), codes, known) + further
    bias = float(f.mean()) - value
    return CorrectedMean(
        value=min(1.0, max(0.0, value)),
        interval=interval_of_mean(value, variance, labelled - 1, labelled, one_more),
        n_labels=m,
        weight=mean_weight,
        bias=bias,
        bias_interval=_within(bias, apart, labelled - 1, (-1.0, 1.0)),
        variance=variance,
        freedom=labelled - 1,
    )


def interval_of_mean(
    value: float, variance: float, freedom: float, labelled: float, one_more: float = ONE_MORE
) -> Interval | None:
    """Return the 95 % interval of a mean in [0, 1] with this variance, of so many (effective) labelled clusters.

    t's, and ends no nearer than those of a share of as many answers as would have that variance: near 0 and 1 few
    labels say little of what is rare, and no event among them is not none. None with under two clusters.
    """
    even = _within(value, variance, freedom, (0.0, 1.0))
    inside = min(1.0, max(0.0, value))
    if even is None or not variance:
        return even
    low, high = interval_of_worth(inside, (inside * (1 - inside) + one_more**2 / labelled) / variance, freedom)
    return min(even[0], low), max(even[1], high)


def for_experts_like_these(
    grades: ArrayLike, ratings: ArrayLike, clusters: ArrayLike, whole: CorrectedMean
) -> Interval | None:
    """Return the interval of `whole` for other experts of the same kind; `ratings` has one row an expert.

    The variance over experts is that of leaving each one out (the jackknife), added to that over items, with
    Satterthwaite's freedom. None under three experts, or where one leaves no label.
    """
    rows = np.asarray(ratings, dtype=float)
    rows = rows[(~np.isnan(rows)).any(axis=1)]
    count = len(rows)
    if count < LEAST_RATERS:
        return None
    without = []
    for left_out in range(count):
        labels = mean_label(np.delete(rows, left_out, axis=0))
        if np.isnan(labels).all():
            return None
        without.append(corrected_mean(grades, labels, clusters).value)
    spread = np.array(without) - np.mean(without)
    over_experts = (count - 1) / count * float((spread**2).sum())
    total = whole.variance + over_experts
    below = whole.variance**2 / max(whole.freedom, 1e-3) + over_experts**2 / (count - 1)
    return interval_of_mean(whole.value, total, total**2 / below if below else inf, whole.freedom + 1)


def mean_label(ratings: ArrayLike) -> Floats:
    """Return each item's mean over the experts that rated it, nan where none did; `ratings` has one row an expert."""
    rows = np.asarray(ratings, dtype=float)
    counts = (~np.isnan(rows)).sum(axis=0)
    return np.where(counts > 0, np.nansum(rows, axis=0) / np.maximum(counts, 1), np.nan)


def _weights(f: Floats, y: Floats, codes: Any, known: Any, ratio: float) -> Floats:
    """Return the weight of each labelled answer, fitted on the clusters of other folds; 1 / (1 + m/U) cov / var."""
    order = np.random.default_rng(rng_for("folds of labels").getrandbits(128)).permutation(int(codes.max()) + 1)
    labelled = np.unique(codes[known])
    # Folds of labelled clusters alone, so that each holds as many.
    fold = np.full(int(codes.max()) + 1, -1)
    fold[labelled[np.argsort(order[labelled])]] = np.arange(len(labelled)) % FOLDS
    w = np.zeros(len(f))
    for k in range(FOLDS):
        fit, inside = known & (fold[codes] != k), known & (fold[codes] == k)
        if fit.sum() > 1 and (spread := float(np.var(f[fit]))) > 0:
            together = float(np.mean((f[fit] - f[fit].mean()) * (y[fit] - y[fit].mean())))
            w[inside] = min(1.0, max(0.0, together / ((1 + ratio) * spread)))
    return w


def _variance(parts: Floats, others: Floats, codes: Any, known: Any) -> float:
    """Return the variance of the sum of `parts` and `others`, by cluster sums; clusters may hold some of both."""
    a, b = np.bincount(codes, weights=parts), np.bincount(codes, weights=others)
    groups = [len(np.unique(codes[known])), len(np.unique(codes[~known]))]
    one, two = (n / (n - 1) if n > 1 else 1.0 for n in groups)
    return float(one * (a**2).sum() + two * (b**2).sum() + 2 * (a * b).sum())


def _within(value: float, variance: float, freedom: float, ends: Interval) -> Interval | None:
    if freedom < 1 or variance < 0:
        return None
    half = quantile(freedom) * sqrt(variance)
    return max(ends[0], value - half), min(ends[1], value + half)
