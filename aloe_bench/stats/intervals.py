"""95 % intervals of a mean or a share of scores in [0, 1], or of shares over data sets, and what clusters are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

# Under this many effective clusters, or with one of more than this weight, the spread itself is shaky.
FEW_CLUSTERS = 20
LARGE_CLUSTER = 0.2
# With fewer clusters than this that hold an event, their spread is not a measure of how events go together.
FEW_WITH_EVENT = 8
# As many clusters more are taken to be alike throughout where nothing else says how events go together.
ALIKE = 1.0


def effective_clusters(loads: ArrayLike) -> float:
    """Return Kish's effective number of clusters, (sum of `loads`)^2 / sum of their squares; one load a cluster.

    As many as there are if all weigh the same, and nearly one if one weighs nearly everything.
    Source: Kish (1965), "Survey sampling".
    """
    import numpy as np

    weights = np.asarray(loads, dtype=float)
    return float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0


def is_shaky(loads: ArrayLike) -> bool:
    """Return whether a test by the spread of these clusters needs an exact one beside it."""
    import numpy as np

    weights = np.asarray(loads, dtype=float)
    return effective_clusters(weights) < FEW_CLUSTERS or bool(weights.max() > LARGE_CLUSTER * weights.sum())


def caution(loads: ArrayLike, with_event: int | None = None) -> str | None:
    """Return what belongs beside any interval over clusters of these `loads`; None if they are enough.

    `with_event` is the number of clusters that hold an event (the rarer of hit and miss, or a change) where
    clusters repeat; None where every cluster is one item, whose intervals are made for few events.
    """
    import numpy as np

    weights = np.asarray(loads, dtype=float)
    count = len(weights)
    if count < 2:
        return f"{count} {'cluster' if count else 'clusters'}: no interval and no test without two"
    said = []
    worth, largest = effective_clusters(weights), float(weights.max() / weights.sum())
    if count < FEW_CLUSTERS:
        said.append(f"{count} clusters, fewer than {FEW_CLUSTERS}")
    elif worth < FEW_CLUSTERS:
        said.append(f"{count} clusters of unequal size, worth {worth:.1f} equal ones, fewer than {FEW_CLUSTERS}")
    if largest > LARGE_CLUSTER and count >= FEW_CLUSTERS:
        said.append(f"one cluster holds {100 * largest:.0f} % of the weight")
    if said:
        said.append("the interval is rough")
        # Two-sided, the least p of a sign flip is twice that of all signs alike.
        if 2.0 ** (1 - count) > 0.05:
            said.append("no exact test of so few can reach 5 %")
    if with_event is not None and with_event < FEW_WITH_EVENT:
        seen = "no cluster holds" if not with_event else f"only {with_event} hold" + ("s" if with_event == 1 else "")
        said.append(f"{seen} an event, too few to tell how events go together; the interval is widened")
    return ": ".join([", ".join(said[:1]), ", ".join(said[1:])]) if len(said) > 1 else said[0] if said else None


def correlation(columns: Iterable[tuple[Any, Any]]) -> float | None:
    """Return the intra-cluster correlation pooled over `columns` of (values, cluster numbers), between 0 and 1.

    Pairs of items of one cluster, over all columns, against the variance that their means leave; columns without
    spread or without a repeated cluster say nothing. None if all are such.
    """
    import numpy as np

    together = apart = 0.0
    for values, codes in columns:
        numbers = np.asarray(values, dtype=float)
        if not numbers.size:
            continue
        residuals = numbers - numbers.mean()
        variance = float((residuals**2).mean())
        sizes = np.bincount(codes)
        pairs = float((sizes * (sizes - 1)).sum())
        if not pairs or variance < 1e-12:
            continue
        sums = np.bincount(codes, weights=residuals)
        together += float((sums**2).sum() - (residuals**2).sum())
        apart += pairs * variance
    return min(1.0, max(0.0, together / apart)) if apart else None


def shared_correlation(columns: Sequence[tuple[Any, Any]], whole: tuple[Any, Any]) -> float | None:
    """Return the correlation to reckon with in each of `columns` of one task, pooled over them.

    As if one cluster more were alike throughout, as in `guarded`, where as many hold an event as in `whole`: every item
    of the task once. None where no cluster repeats, or where even there under 8 hold an event.
    """
    import numpy as np

    values, codes = np.asarray(whole[0], dtype=float), whole[1]
    pooled = correlation(columns)
    if pooled is None or not values.size:
        return None
    rarer = min((np.bincount(codes, weights=part) for part in (values, 1 - values)), key=effective_clusters)
    if int((rarer > ZERO_SE).sum()) < FEW_WITH_EVENT:
        return None
    events = effective_clusters(rarer)
    return (pooled * events + ALIKE) / (events + ALIKE)


def guarded(values: Any, codes: Any, events: float, pooled: float | None) -> float:
    """Return the correlation to reckon with: the `pooled` one, or this column's own as if one cluster more were alike.

    Where `events` effective clusters hold an event, their own spread is too small as often as it is too large, and
    it is small together with the share itself; the one cluster more keeps upper ends from falling short.
    """
    if pooled is not None:
        return pooled
    own = correlation([(values, codes)]) or 0.0
    return (own * events + ALIKE) / (events + ALIKE)


def design_effect(sizes: ArrayLike, within: float) -> float:
    """Return by how much clusters of these `sizes` inflate a variance, items within one being correlated `within`.

    Source: Kish (1965), with the size that an item's cluster has on average.
    """
    import numpy as np

    counts = np.asarray(sizes, dtype=float)
    return 1 + max(0.0, float((counts**2).sum() / counts.sum()) - 1) * within


def numbered(clusters: ArrayLike) -> Any:
    """Return the cluster numbers 0..G-1 of these names."""
    import numpy as np

    return np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)


def loads_of(parts: Iterable[Any], weights: Iterable[float]) -> Any:
    """Return what each cluster of each data set weighs in the weighted mean; `parts` are cluster numbers."""
    import numpy as np

    return np.concatenate([w * np.bincount(codes) / len(codes) for codes, w in zip(parts, weights, strict=True)])


Interval = tuple[float, float]

ALPHA = 0.05
# Sums of residuals that are zero on paper come out near 1e-16 a term.
ZERO_SE = 1e-12
# How much of the probability of exactly what was seen counts as beyond it, in intervals of single shares.
BEYOND = 2 / 3
# A macro-average's ends are found by steps until one moves z by less.
STEPS = 200
CLOSE = 1e-10


@dataclass(frozen=True, slots=True)
class Share:
    """A mean or conditional share in [0, 1] with its 95 % interval; None where nothing is eligible.

    `n` counts the eligible items (the denominator), `n_clusters` the clusters that hold one, `n_effective` how many
    single answers of 0 or 1 they are worth, with `freedom` for their variance (infinity for single answers). `sets` are
    those of a mean over data sets.
    """

    value: float | None
    interval: Interval | None
    n: int
    n_clusters: int
    n_effective: float = 0.0
    freedom: float = inf
    caution: str | None = None
    loads: tuple[float, ...] = field(default=(), repr=False)
    sets: tuple[DataSetShare, ...] = field(default=(), repr=False)

    @property
    def parts(self) -> tuple[DataSetShare, ...]:
        """The shares of single data sets that this one is the mean of; itself of one alone."""
        return self.sets or (DataSetShare(self.value or 0.0, self.n_effective, self.freedom),)


def nearly_exact(hits: float, n: float, alpha: float = ALPHA) -> Interval:
    """Return Clopper and Pearson's interval of a proportion, but for a part of what was seen; both may be effective.

    Two thirds of the probability of exactly what was seen count as beyond it. Counting all (1934) covers 97 to 100 % of
    rare shares, half (mid-p; Lancaster, 1961) 91.9 % at 3 of 156, and Wilson's 85 %; two thirds 94 % at the least for
    28 to 165 items. Raises ValueError if `n` is not positive or `hits` lies outside [0, n].
    """
    if not n > 0 or not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}; expected 0 to n, and n above 0")
    return nearly_exact_lower(hits, n, alpha / 2), 1.0 - nearly_exact_lower(n - hits, n, alpha / 2)


@lru_cache(maxsize=65536)  # the same few counts come again and again
def nearly_exact_lower(hits: float, n: float, tail: float) -> float:
    """Return the share at which more than `hits`, or `BEYOND` of exactly so many, have probability `tail`."""
    from scipy.optimize import brentq
    from scipy.special import betainc

    if hits <= 0:
        return 0.0

    def beyond(share: float) -> float:
        more = betainc(hits + 1, n - hits, share) if hits < n else 0.0
        return float(BEYOND * betainc(hits, n - hits + 1, share) + (1 - BEYOND) * more - tail)

    return float(brentq(beyond, 0.0, 1.0, xtol=1e-13, maxiter=200))


def clustered_mean(
    values: Sequence[float], clusters: Sequence[str], within: float | None = None
) -> tuple[float, Interval | None]:
    """Return the mean of `values` (each in [0, 1]) and its 95 % interval over `clusters`, as `clustered_share`'s.

    Raises ValueError if there are no values or the lengths differ.
    """
    if not values or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters; expected as many, at least 1")
    share = clustered_share(values, [1.0] * len(values), clusters, within)
    assert share.value is not None
    return share.value, share.interval


def weighted_mean(
    values: Sequence[float], weights: Sequence[float], clusters: Sequence[str]
) -> tuple[float, Interval | None]:
    """Return the mean of `values` (each in [0, 1]) by `weights` and its 95 % interval over `clusters`.

    The weights are taken as fixed; interval as `clustered_share`'s, clusters counting by their weight.
    """
    import numpy as np

    scores, scale, codes = np.asarray(values, dtype=float), np.asarray(weights, dtype=float), numbered(clusters)
    scale = scale / scale.mean()
    value = min(1.0, max(0.0, float(np.mean(scale * scores))))
    loads = np.bincount(codes, weights=scale)
    if len(loads) < 2:
        return value, None
    worth = min(_worth(value, standard_error(scale * (scores - value), codes)), effective_clusters(scale))
    if worth == inf:
        worth = effective_clusters(loads)
    return value, interval_of_worth(value, worth, effective_clusters(loads) - 1)


def clustered_share(hits: ArrayLike, eligible: ArrayLike, clusters: ArrayLike, within: float | None = None) -> Share:
    """Return sum(`hits`) / sum(`eligible`) and its 95 % interval over `clusters`; one entry an item each.

    `eligible` is 0 or 1 and `hits` in [0, eligible], so the share is a mean over the eligible items.
    Interval: `nearly_exact` on the items, or on as many as the answers are worth: where clusters repeat,
    p(1-p)/SE^2 (SE cluster-robust with G/(G-1); for a share, the delta method's), but no more than the design effect
    of the correlation `within` leaves, pooled over more than this share; without it, of this share's own as if one
    cluster more were alike throughout. That is lessened by (z/t)^2; t's freedom is one less than Kish's effective
    clusters, of all items or of the rarer of hits and misses. Under 8 clusters with one of these their spread says
    nothing of how they go together: then the design effect alone, of a correlation of 1 without `within`. No interval
    under two clusters.
    Source: Korn and Graubard (1998), "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", with Kish's clusters.
    """
    import numpy as np

    hit, fit, names = _checked(hits, eligible, clusters)
    n = int(fit.sum())
    if n == 0:
        return Share(None, None, 0, 0)
    hit, codes = hit[fit > 0], numbered(names[fit > 0])
    value = min(1.0, float(hit.sum()) / n)
    sizes = np.bincount(codes)
    groups = len(sizes)
    if groups < 2:
        return Share(value, None, n, groups, caution=caution(sizes), loads=tuple(sizes))
    if groups == n:
        whole = bool(np.isin(hit, (0, 1)).all())
        # One more answer without half credit: what all halves show is not that there is nothing else.
        spread = float(((hit - value) ** 2).sum())
        worth = float(n) if whole else n * (n * value * (1 - value) + 1) / (spread + 1)
        freedom, said = (inf if whole else n - 1.0), caution(sizes)
    else:
        rarer = min((np.bincount(codes, weights=part) for part in (hit, 1 - hit)), key=effective_clusters)
        holding, freedom = int((rarer > ZERO_SE).sum()), effective_clusters(sizes) - 1
        if holding < FEW_WITH_EVENT:
            # As if each cluster were one answer; then nothing is estimated and the quantile is the normal one.
            worth, freedom = n / design_effect(sizes, 1.0 if within is None else within), freedom if within else inf
        else:
            events = effective_clusters(rarer)
            least = n / design_effect(sizes, guarded(hit, codes, events, within))
            worth, freedom = min(least, _worth(value, standard_error(hit - value, codes))), min(freedom, events - 1)
        said = caution(sizes, holding)
    interval = interval_of_worth(value, worth, freedom)
    return Share(value, interval, n, groups, worth, freedom, said, tuple(sizes))


def standard_error(residuals: NDArray[np.float64], codes: NDArray[np.intp]) -> float:
    """Return the cluster-robust standard error of a mean, from its residuals and their cluster numbers 0..G-1."""
    import numpy as np

    sums = np.bincount(codes, weights=residuals)
    return float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(residuals))


@lru_cache(maxsize=65536)
def quantile(freedom: float, alpha: float = ALPHA) -> float:
    """Return the two-sided 1 - `alpha` quantile of t, the normal one's with infinite `freedom`."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1e-3), 1 - alpha / 2))


def _worth(value: float, error: float) -> float:
    """Return how many single answers have this standard error."""
    return value * (1 - value) / error**2 if error >= ZERO_SE else inf


def interval_of_worth(value: float, worth: float, freedom: float) -> Interval:
    """Return the 95 % interval of a share that is `worth` so many single answers, with t's `freedom` for that."""
    counted = worth * (quantile(inf) / quantile(freedom)) ** 2
    return nearly_exact(min(counted, value * counted), counted)


def _checked(hits: ArrayLike, eligible: ArrayLike, clusters: ArrayLike) -> tuple[Any, Any, Any]:
    import numpy as np

    hit, fit, names = np.asarray(hits, dtype=float), np.asarray(eligible, dtype=float), np.asarray(clusters)
    if not hit.shape == fit.shape == names.shape or hit.ndim != 1:
        raise ValueError(f"{hit.size} hits, {fit.size} eligible and {names.size} clusters; expected as many")
    if not np.isin(fit, (0, 1)).all() or not ((hit >= 0) & (hit <= fit)).all():
        raise ValueError("a value lies outside [0, 1], or an item that is not eligible has one")
    return hit, fit, names


class DataSetShare(NamedTuple):
    """One data set's share: `value` of `n` items, or of as many as repeated clusters and half credit are worth.

    `freedom` is that of its variance: infinity for single items.
    """

    value: float
    n: float
    freedom: float = inf
    weight: float = 1.0


def macro_interval(parts: Sequence[DataSetShare], alpha: float = ALPHA, freedom: float | None = None) -> Interval:
    """Return the interval of the weighted mean of `parts`, with level 1 - `alpha`; weights add up to 1.

    Stratified Wilson: at each end every data set has the variance that belongs to its own value there, and these
    values lie as far out as makes the mean's distance z standard errors. Adding up each set's own interval would add up
    their pulls to one half. Where the hits are in one small set the pull of a single Wilson interval is left; so an end
    that lies towards 0 is never nearer than the same rule gives with nearly exact ends in place of Wilson's. z is t's
    quantile with Satterthwaite's freedom where clusters repeat, or with `freedom`.
    Source: Yan and Su (2010), "Stratified Wilson and Newcombe confidence intervals for multiple binomial proportions",
    with each end's own variance, iterated, in place of that at the centre.
    """
    z = quantile(freedom_of(parts) if freedom is None else freedom, alpha)
    turned = [part._replace(value=1 - part.value) for part in parts]
    return max(0.0, _lower_end(parts, z)), min(1.0, 1 - _lower_end(turned, z))


def freedom_of(parts: Sequence[DataSetShare]) -> float:
    """Return Satterthwaite's degrees of freedom of the mean's variance."""
    # One more hit and one more miss: a set without spread has an error too.
    errors = [
        part.weight**2 * (part.value * part.n + 1) * ((1 - part.value) * part.n + 1) / part.n**3 for part in parts
    ]
    below = sum(error**2 / max(part.freedom, 1e-3) for part, error in zip(parts, errors, strict=True))
    return sum(errors) ** 2 / below if below else inf


def _lower_end(parts: Sequence[DataSetShare], z: float) -> float:
    return min(_iterated(parts, z, _wilson_end), _iterated(parts, z, _exact_end))


def _iterated(parts: Sequence[DataSetShare], z: float, end_of: Callable[[float, float, float], float]) -> float:
    """Return the mean of the parts' ends, at the z common to them that puts it z standard errors from the value."""
    shared = z
    for _ in range(STEPS):
        ends = [end_of(part.value, part.n, shared) for part in parts]
        apart = [part.weight * (part.value - end) for part, end in zip(parts, ends, strict=True)]
        every = sum(apart)
        before, shared = shared, z * (sqrt(sum(one**2 for one in apart)) / every if every > 0 else 1.0)
        if abs(shared - before) < CLOSE:
            break
    return sum(part.weight * end for part, end in zip(parts, ends, strict=True))


def _wilson_end(value: float, n: float, z: float) -> float:
    centre, half = value + z**2 / (2 * n), z * sqrt(max(0.0, value * (1 - value)) / n + z**2 / (4 * n**2))
    return min(value, max(0.0, (centre - half) / (1 + z**2 / n)))


def _exact_end(value: float, n: float, z: float) -> float:
    from scipy.special import ndtr

    # Towards one half nothing is rare, and single exact ends would pull as Wilson's do.
    if value > 0.5:
        return _wilson_end(value, n, z)
    return min(value, nearly_exact_lower(value * n, n, float(ndtr(-z))))
