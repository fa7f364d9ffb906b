"""The exact test of cluster sums: what if each sign had been a coin flip?

Imported only by what measures, so numpy stands at the top.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aloe_bench.seeds import rng_for
from aloe_bench.stats.intervals import ZERO_SE

Floats = NDArray[np.float64]
FLIPS = 10_000
# Scores are multiples of one half, so sums of differences lie on this grid and have an exact null distribution.
GRID = 0.5


def sign_flip(sums: ArrayLike, *seed: object) -> tuple[float, str]:
    """Return the two-sided p of the sum of `sums` (one a cluster) if each sign were a coin flip, and the test's name.

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
