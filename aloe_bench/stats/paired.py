"""Two answers to the same items: the difference, its interval, and whether chance alone could give it.

Imported only by what measures, so numpy stands at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aloe_bench.seeds import rng_for
from aloe_bench.stats.intervals import ALPHA, ZERO_SE, Interval, standard_error, t_quantile
from aloe_bench.stats.power import detectable

Floats = NDArray[np.float64]
FLIPS = 10_000
# McNemar's exact test below this many discordant pairs, its mid-p version from there on.
FEW_DISCORDANT = 25
# Scores are multiples of one half, so sums of differences lie on this grid and have an exact null distribution.
GRID = 0.5


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean paired difference, its 95 % interval and a two-sided test of no difference.

    `detectable` is the smallest true difference that this many items would have shown with 80 % power.
    All but the counts are None where there is no item.
    """

    value: float | None
    interval: Interval | None
    n: int
    n_clusters: int
    p: float | None = None
    test: str | None = None
    detectable: float | None = None


def paired_difference(first: ArrayLike, second: ArrayLike, clusters: ArrayLike) -> Difference:
    """Return the mean of `first` - `second` (one entry an item, each in [0, 1]) with interval and test.

    Both may be differences in [-1, 1] themselves; theirs is then a difference in differences, in [-2, 2].
    Interval: cluster-robust SE with G/(G-1) and t(G-1), clipped to that range; where every cluster shows the same
    difference, the two-sided bound on how often another could still occur. Test: McNemar where all is 0 or 1 and no
    cluster repeats, else the sign flip of each cluster's sum.
    """
    one, two, names = np.asarray(first, dtype=float), np.asarray(second, dtype=float), np.asarray(clusters)
    if not one.shape == two.shape == names.shape or one.ndim != 1:
        raise ValueError(f"{one.size} and {two.size} values and {names.size} clusters; expected as many")
    if not one.size:
        return Difference(None, None, 0, 0)
    change = one - two
    codes = np.unique(names, return_inverse=True)[1]
    groups, value = int(codes.max()) + 1, float(change.mean())
    if groups < 2:
        return Difference(value, None, len(change), groups)
    error = standard_error(change - value, codes)
    furthest = 2.0 if min(one.min(), two.min()) < 0 else 1.0
    half = t_quantile(groups) * error if error >= ZERO_SE else furthest * (1 - (ALPHA / 2) ** (1 / groups))
    interval = (max(-furthest, value - half), min(furthest, value + half))
    if groups == len(change) and bool(np.isin(change, (-1, 0, 1)).all()):
        p, test = mcnemar(int((change > 0).sum()), int((change < 0).sum()))
    else:
        p, test = sign_flip(np.bincount(codes, weights=change))
    return Difference(value, interval, len(change), groups, p, test, detectable(error, groups))


@lru_cache(maxsize=4096)
def mcnemar(gained: int, lost: int) -> tuple[float, str]:
    """Return McNemar's two-sided p from the two counts of discordant pairs, and the version's name.

    Exact below 25 discordant pairs, mid-p from there on. Source: Fagerland, Lydersen and Laake (2013).
    """
    from scipy import stats

    pairs = gained + lost
    if not pairs:
        return 1.0, "McNemar exact"
    exact = float(stats.binomtest(gained, pairs).pvalue)
    if pairs < FEW_DISCORDANT:
        return exact, "McNemar exact"
    # Equal counts: the observed one is the middle of the null, and its mass was counted once, not twice.
    mass = float(stats.binom.pmf(gained, pairs, 0.5))
    return min(1.0, exact - (mass if gained != lost else mass / 2)), "McNemar mid-p"


def sign_flip(sums: ArrayLike, *seed: object) -> tuple[float, str]:
    """Return the two-sided p of the sum of `sums` (one a cluster) if each sign were a coin flip, and the test's name.

    Exact where the sums are multiples of one half, as sums of score differences are, whatever their number: equal
    sums flip as one binomial, and the binomials are convolved. Sums weighted otherwise (a macro mean) are drawn
    10,000 times, seeded by `seed`, unless all outcomes can be listed.
    Same test as `scipy.stats.permutation_test(permutation_type="samples")` of one sample's sum.
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
