"""Two answers to the same items: the difference, its interval, and whether chance alone, or coin flips, could give it.

And comparisons that are read together: what each says once the others are counted, so that none is found by looking.
statsmodels' `multipletests` gives the same p, but collects garbage at each call: 0.14 s, of which a run needs 20.
Imported only by what measures, so numpy stands at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf, isclose, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aloe_bench.seeds import rng_for
from aloe_bench.stats import tango
from aloe_bench.stats.intervals import (
    ALPHA,
    FEW_WITH_EVENT,
    ZERO_SE,
    DataSetShare,
    Interval,
    caution,
    design_effect,
    effective_clusters,
    freedom_of,
    guarded,
    is_shaky,
    loads_of,
    macro_interval,
    numbered,
    quantile,
)
from aloe_bench.stats.tango import Detectable, Pairs, detectable, freedom_of_items

Floats = NDArray[np.float64]
FLIPS = 10_000
# Scores are multiples of one half, so sums of differences lie on this grid and have an exact null distribution.
GRID = 0.5
EXPLORED = "Benjamini-Hochberg, exploratory"


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean paired difference, its 95 % interval and a two-sided test of no difference, from one statistic.

    `p_flip` is a second test, of whole clusters, where these are few or one is large. All but the counts are None where
    there is no item, or under two clusters. `pairs` are the changes of each data set in units of `scale`, with
    `freedom` for the quantile.
    """

    value: float | None
    interval: Interval | None
    n: int
    n_clusters: int
    p: float | None = None
    test: str | None = None
    p_flip: float | None = None
    flip: str | None = None
    caution: str | None = None
    pairs: tuple[Pairs, ...] = field(default=(), repr=False)
    freedom: float = inf
    scale: float = 1.0

    def at(self, alpha: float) -> Interval | None:
        """Return the interval with level 1 - `alpha`."""
        if not self.pairs:
            return None
        z = quantile(self.freedom, alpha)
        return self.scale * tango.lower_end(self.pairs, z), self.scale * tango.upper_end(self.pairs, z)

    def p_of(self, null: float) -> float | None:
        """Return the one-sided p of "the difference is `null` or less"; small means that it is more."""
        from scipy.special import stdtr

        if not self.pairs:
            return None
        return float(stdtr(self.freedom, -tango.score(self.pairs, null / self.scale)))

    def detectable(self, family: int = 1) -> Detectable | None:
        """Return the smallest true difference that this test would have found with 80 % power.

        At the first step of Holm's rule in a family of so many, and at the upper 80 % end of the discordance seen.
        """
        if not self.pairs:
            return None
        # One more change: a data set without any is not one that cannot change.
        shares = [(pair.gained + pair.lost + 1) / (pair.n + 1) for pair in self.pairs]
        spread = sum(p.weight**2 * share / p.n for p, share in zip(self.pairs, shares, strict=True))
        worth = sum(p.weight * share for p, share in zip(self.pairs, shares, strict=True)) / spread
        seen = [DataSetShare((p.gained + p.lost) / p.n, p.n, self.freedom, p.weight) for p in self.pairs]
        found = detectable(worth, macro_interval(seen, 0.2)[1], self.freedom, ALPHA / family)
        return found.times(self.scale)


def paired_difference(
    first: ArrayLike, second: ArrayLike, clusters: ArrayLike, within: float | None = None
) -> Difference:
    """Return the mean of `first` - `second` (one entry an item, each in [0, 1]) with interval and test.

    Both may be differences in [-1, 1] themselves; theirs is then a difference in differences, in [-2, 2]. Scores times
    weights may be larger than 1: the largest then stands for one whole answer.
    Tango's score interval and test. Half credit and repeated clusters make the counts of gained, lost and items
    effective ones, divided by the ratio of the cluster-robust variance to that of single answers, or by the design
    effect of the correlation `within` if that is larger; quantile, freedom and few clusters as in `clustered_share`.
    """
    return mean_difference([(first, second, clusters)], within)


def mean_difference(sets: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]], within: float | None = None) -> Difference:
    """Return the mean over data sets of their `paired_difference`, these data sets counting the same and fixed."""
    from scipy.special import stdtr

    arrays = [_checked(*one) for one in sets]
    sizes = [len(change) for change, _, _ in arrays]
    counts = [int(codes.max()) + 1 if codes.size else 0 for _, codes, _ in arrays]
    if not arrays or 0 in sizes:
        return Difference(None, None, sum(sizes), sum(counts))
    weight, scale = 1 / len(arrays), max(furthest for _, _, furthest in arrays)
    loads = loads_of([codes for _, codes, _ in arrays], [weight] * len(arrays))
    value = float(sum(change.mean() for change, _, _ in arrays) * weight)
    if min(counts) < 2:
        alone = caution([1.0])
        return Difference(value, None, sum(sizes), sum(counts), caution=alone)
    effective = [_effective(change / scale, codes, weight, within) for change, codes, _ in arrays]
    pairs = tuple(one[0] for one in effective)
    freedom = freedom_of([DataSetShare((p.gained + p.lost) / p.n, p.n, df, p.weight) for p, df, _ in effective])
    score = tango.score(pairs)
    z = quantile(freedom)
    interval = scale * tango.lower_end(pairs, z), scale * tango.upper_end(pairs, z)
    repeated = [holding for _, _, holding in effective if holding is not None]
    p_flip = flip = None
    if is_shaky(loads):
        sums = [
            np.bincount(codes, weights=change) * (weight / len(change) if len(arrays) > 1 else 1.0)
            for change, codes, _ in arrays
        ]
        p_flip, flip = sign_flip(np.concatenate(sums))
    p, said = float(2 * stdtr(freedom, -abs(score))), caution(loads, sum(repeated) if repeated else None)
    if p_flip is not None and p < ALPHA <= p_flip:
        said = f"{said}; p is under 5 % and that of the sign flip is not: with so few, go by the latter"
    return Difference(
        value=value,
        interval=interval,
        n=sum(sizes),
        n_clusters=sum(counts),
        p=p,
        test="Tango score" if not repeated else "Tango score over clusters",
        p_flip=p_flip,
        flip=flip,
        caution=said,
        pairs=pairs,
        freedom=freedom,
        scale=scale,
    )


def changes_and_clusters(first: ArrayLike, second: ArrayLike, clusters: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    """Return each item's change and cluster number, as `clusters.correlation` pools them."""
    change, codes, _ = _checked(first, second, clusters)
    return change, codes


def _checked(first: ArrayLike, second: ArrayLike, clusters: ArrayLike) -> tuple[Floats, NDArray[np.intp], float]:
    one, two, names = np.asarray(first, dtype=float), np.asarray(second, dtype=float), np.asarray(clusters)
    if not one.shape == two.shape == names.shape or one.ndim != 1:
        raise ValueError(f"{one.size} and {two.size} values and {names.size} clusters; expected as many")
    furthest = 2.0 if one.size and min(one.min(), two.min()) < 0 else 1.0
    if one.size:
        furthest = max(furthest, float(one.max()), float(two.max()))
    return one - two, numbered(names), furthest


def _effective(
    change: Floats, codes: NDArray[np.intp], weight: float, within: float | None
) -> tuple[Pairs, float, int | None]:
    """Return the changes (in [-1, 1]) as effective counts, the freedom, and how many repeated clusters hold one."""
    n, gained, lost = len(change), float(change[change > 0].sum()), float(-change[change < 0].sum())
    # Half a change has less than half the variance of a whole one. One more whole one: halves alone do not show
    # that there is nothing else.
    worth = (float((change**2).sum()) + 1) / (gained + lost + 1)
    whole = isclose(worth, 1.0)
    sizes = np.bincount(codes)
    if len(sizes) == n:
        return Pairs(gained / worth, lost / worth, n / worth, weight), freedom_of_items(n) if whole else n - 1.0, None
    residuals = change - change.mean()
    changed = np.bincount(codes, weights=np.abs(change))
    holding, freedom = int((changed > ZERO_SE).sum()), effective_clusters(sizes) - 1
    if holding < FEW_WITH_EVENT:
        inflated = design_effect(sizes, 1.0 if within is None else within)
        freedom = freedom if within else freedom_of_items(effective_clusters(sizes))
    else:
        sums = np.bincount(codes, weights=residuals)
        spread = max(float((residuals**2).sum()), ZERO_SE)
        robust = len(sizes) / (len(sizes) - 1) * float((sums**2).sum()) / spread
        events = effective_clusters(changed)
        inflated = max(design_effect(sizes, guarded(change, codes, events, within)), robust)
        freedom = min(freedom, events - 1)
    worth *= inflated
    return Pairs(gained / worth, lost / worth, n / worth, weight), freedom, holding


def sign_flip(sums: ArrayLike, *seed: object) -> tuple[float, str]:
    """Return the two-sided p of the sum of `sums` (one per cluster) if each sign were a coin flip, and the test's name.

    Exact where the sums are multiples of one half, as sums of score differences are, whatever their number: equal
    sums flip as one binomial, and the binomials are convolved. Sums weighted otherwise (a macro mean) are drawn
    10,000 times, seeded by `seed`, unless all outcomes can be listed.
    It tests "no effect on anything", not "mean zero": where a few clusters lose much and the others gain a little, both
    can be false at once. Same test as `scipy.stats.permutation_test(permutation_type="samples")` of one sample's sum.
    """
    values = np.asarray(sums, dtype=float)
    moved = np.abs(values[np.abs(values) > ZERO_SE])
    if not len(moved):
        return 1.0, "sign flip exact"
    # Sums equal on paper differ in their last digits; one of them stands for all, unrounded: thousands are added up.
    _, first, counts = np.unique(np.round(moved, 10), return_index=True, return_counts=True)
    sizes = moved[first]
    observed = abs(float(values.sum()))
    steps = np.round(sizes / GRID).astype(int)
    if np.allclose(steps * GRID, sizes):
        return _exact_flip(steps, counts, observed / GRID), "sign flip exact"
    outcomes = _outcomes(sizes, counts, seed)
    as_far = np.abs(outcomes[0]) >= observed - 1e-9
    if outcomes[1] is not None:
        return min(1.0, float(outcomes[1][as_far].sum())), "sign flip exact"
    return float((1 + as_far.sum()) / (1 + FLIPS)), f"sign flip, {FLIPS} draws"


def _exact_flip(steps: NDArray[np.int_], counts: NDArray[np.int_], observed: float) -> float:
    from scipy import stats

    mass = np.ones(1)
    for step, count in zip(steps, counts, strict=True):
        heads = np.zeros(step * count + 1)
        heads[::step] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        mass = np.convolve(mass, heads)
    total = len(mass) - 1
    as_far = np.abs(2 * np.arange(total + 1) - total) >= observed - 1e-6
    return min(1.0, float(mass[as_far].sum()))


def _outcomes(sizes: Floats, counts: NDArray[np.int_], seed: tuple[object, ...]) -> tuple[Floats, Floats | None]:
    """Return sums after flipping with their probabilities, or drawn sums and None if there are too many to list."""
    from scipy import stats

    if prod(int(count) + 1 for count in counts) <= FLIPS:
        sums, mass = np.zeros(1), np.ones(1)
        for size, count in zip(sizes, counts, strict=True):
            heads = np.arange(count + 1)
            weights = stats.binom.pmf(heads, count, 0.5)
            sums = np.add.outer(sums, size * (2 * heads - count)).ravel()
            mass = np.multiply.outer(mass, weights).ravel()
        return sums, mass
    rng = np.random.default_rng(rng_for("sign flip", *seed).getrandbits(128))
    drawn = rng.binomial(counts, 0.5, size=(FLIPS, len(counts)))
    return (2 * drawn - counts) @ sizes, None


def numbers_of(found: Difference) -> dict[str, Any]:
    """Return a difference as plain numbers, before it belongs to a family; `settle` completes them."""
    entry: dict[str, Any] = {
        "value": found.value,
        "interval": found.interval,
        "n": found.n,
        "n_clusters": found.n_clusters,
        "p": found.p,
        "test": found.test,
        "difference": found,
    }
    if found.p_flip is not None:
        entry |= {"p_flip": found.p_flip, "flip": found.flip}
    if found.caution:
        entry["warning"] = found.caution
    return entry


def mde(entry: Mapping[str, Any]) -> str:
    """Return the detectable difference in points, with the discordance it holds at; in words beyond what can be."""
    if entry.get("detectable_at") is None:
        return "–"
    found, at = entry.get("detectable"), entry["detectable_at"]
    if at > 1:  # a difference of two drops, which reaches 200 points
        return "over 100"
    return f"{'over 100' if found is None or found > 1 else f'{100 * found:.1f}'} at {100 * at:.1f} %"


def settle(entries: Sequence[dict[str, Any]], *, exploratory: bool = False) -> None:
    """Complete the entries of one family in place: adjusted p-values, family intervals, detectable differences.

    Holm's p with a Bonferroni interval beside it, each with what Holm's first step would have shown; or, of what is
    only explored, Benjamini and Hochberg's p, and what a single test would have shown.
    """
    adjust = benjamini_hochberg if exploratory else holm
    size = 1 if exploratory else max(1, sum(entry["p"] is not None for entry in entries))
    for entry, p in zip(entries, adjust([entry["p"] for entry in entries]), strict=True):
        found: Difference = entry.pop("difference")
        entry |= {"p_adjusted": p, "adjusted_by": EXPLORED if exploratory else "Holm"}
        if not exploratory:
            entry |= {"family": size, "interval_family": found.at(ALPHA / size)}
        shown = found.detectable(size)
        entry["detectable"] = shown.difference if shown else None
        entry["detectable_at"] = shown.discordance if shown else None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values, in order; None stays None and is not a member of the family."""
    return _adjusted(p_values, _holm)


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Benjamini and Hochberg's adjusted p-values, for families that are explored, not decided on."""
    from scipy.stats import false_discovery_control

    return _adjusted(p_values, false_discovery_control)


def _holm(p_values: Sequence[float]) -> list[float]:
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    stepped = accumulate((min(1.0, (len(order) - rank) * p_values[i]) for rank, i in enumerate(order)), max)
    adjusted = dict(zip(order, stepped, strict=True))
    return [adjusted[i] for i in range(len(p_values))]


def _adjusted(p_values: Sequence[float | None], adjust: Callable[[list[float]], Any]) -> list[float | None]:
    known = [p for p in p_values if p is not None]
    if not known:
        return [None] * len(p_values)
    adjusted = iter(adjust(known))
    return [None if p is None else float(next(adjusted)) for p in p_values]
