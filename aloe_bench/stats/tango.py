"""The score statistic of a paired difference, over one data set or as the mean over several, and its exact power.

Interval, p and margin are all read off this one statistic, so they never contradict each other.
Source: Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the paired-sample
design"; the mean over data sets by the rule of Yan and Su (2010), as in `macro.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite, sqrt
from typing import NamedTuple

from aloe_bench.stats.intervals import ALPHA, FEW_CLUSTERS, quantile

POWER = 0.8
STEPS = 200
CLOSE = 1e-12
# No score is as far as this; the search for a p-value ends here.
FURTHEST_Z = 1e4


class Pairs(NamedTuple):
    """One data set's changes: `gained` and `lost` of `n`, and its weight in the mean.

    Counts need not be whole: repeated clusters and half credit make them effective ones (`paired.py`).
    """

    gained: float
    lost: float
    n: float
    weight: float = 1.0

    @property
    def value(self) -> float:
        return (self.gained - self.lost) / self.n

    def turned(self) -> Pairs:
        """Return the same changes seen from the other side."""
        return Pairs(self.lost, self.gained, self.n, self.weight)

    def variance(self, delta: float) -> float:
        """Return the variance of the mean change if its truth is `delta` and the rest is as likely as it can be."""
        n, b = self.n, (2 * self.n - self.gained + self.lost) * delta - self.gained - self.lost
        root = sqrt(max(b * b + 8 * n * self.lost * delta * (1 - delta), 0.0))
        return max((root - b) / (2 * n) + delta * (1 - delta), 0.0) / n

    def lower_end(self, z: float) -> float:
        """Return the smallest difference that lies within `z` standard errors."""
        from scipy.optimize import brentq

        value = self.value
        if z <= 0 or value <= -1:
            return value
        # Where nothing else was seen than `value`, the statistic is 0 / 0 there and the end lies further out.
        high = value if self.variance(value) > 0 else value - CLOSE
        return float(brentq(lambda d: value - d - z * sqrt(self.variance(d)), -1.0, high, xtol=CLOSE, maxiter=STEPS))


def freedom_of_items(n: float) -> float:
    """Return t's freedom for the score of `n` single changes: `n` - 1 under 20, where the normal errs, else infinite.

    Of 4 to 6 items the normal quantile finds nothing to be a difference in up to 12.5 %; t in 4.9 % under 20 items.
    """
    return n - 1.0 if n < FEW_CLUSTERS else inf


def mean_of(parts: Sequence[Pairs]) -> float:
    """Return the weighted mean change."""
    return sum(part.weight * part.value for part in parts)


def lower_end(parts: Sequence[Pairs], z: float) -> float:
    """Return the lower end of the weighted mean, each data set's variance taken at its own end and iterated."""
    shared = z
    for _ in range(STEPS):
        ends = [part.lower_end(shared) for part in parts]
        before, shared = shared, z * _together(parts, ends)
        if abs(shared - before) < CLOSE * 100:
            break
    return sum(part.weight * end for part, end in zip(parts, ends, strict=True))


def upper_end(parts: Sequence[Pairs], z: float) -> float:
    """Return the upper end of the weighted mean."""
    return -lower_end([part.turned() for part in parts], z)


def score(parts: Sequence[Pairs], null: float = 0.0) -> float:
    """Return the z at which an end of the interval is `null`: positive where the mean lies above it."""
    from scipy.optimize import brentq

    value = mean_of(parts)
    if abs(value - null) < CLOSE:
        return 0.0
    if value < null:
        return -score([part.turned() for part in parts], -null)
    if len(parts) == 1:
        (part,) = parts
        error = part.weight * sqrt(part.variance(null / part.weight))
        return min((value - null) / error, FURTHEST_Z) if error else FURTHEST_Z

    def above(shared: float) -> float:
        return sum(part.weight * part.lower_end(shared) for part in parts) - null

    if above(FURTHEST_Z) > 0:
        return FURTHEST_Z
    shared = float(brentq(above, 0.0, FURTHEST_Z, xtol=CLOSE, maxiter=STEPS))
    return shared / _together(parts, [part.lower_end(shared) for part in parts])


def _together(parts: Sequence[Pairs], ends: Sequence[float]) -> float:
    """Return by how much a z common to all data sets shrinks, since their errors are independent."""
    if len(parts) == 1:
        return 1.0
    errors = [part.weight * sqrt(part.variance(end)) for part, end in zip(parts, ends, strict=True)]
    every = sum(errors)
    return sqrt(sum(error**2 for error in errors)) / every if every else 1.0


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest true difference found with 80 % power, if `discordance` is the mean size of a change.

    Of single answers that is the share of items that change at all. `difference` is None where not even the largest
    difference there can be would be found.
    """

    difference: float | None
    discordance: float

    def times(self, scale: float) -> Detectable:
        """Return the same in units `scale` times smaller."""
        return Detectable(None if self.difference is None else scale * self.difference, scale * self.discordance)


def power(n: int, discordance: float, difference: float, z: float = 1.959963984540054) -> float:
    """Return the exact probability that the score test at `z` finds `difference` between paired answers of `n` items.

    A share `discordance` of the items changes, (`discordance` + `difference`) / 2 for the better. The test finds it
    where |gained - lost| > z sqrt(gained + lost), which is Tango's (1998) at a difference of none.
    """
    import numpy as np
    from scipy.special import bdtr, bdtrc, gammaln, xlog1py, xlogy

    if n < 1 or not 0 <= discordance <= 1 or abs(difference) > discordance + 1e-12:
        raise ValueError(f"n {n}, discordance {discordance}, difference {difference}; expected shares that fit")
    if discordance == 0:
        return 0.0
    spread = 8 * sqrt(n * discordance * (1 - discordance)) + 8
    changed = np.arange(max(1, int(n * discordance - spread)), min(n, int(n * discordance + spread)) + 1)
    log = gammaln(n + 1) - gammaln(changed + 1) - gammaln(n - changed + 1)
    mass = np.exp(log + xlogy(changed, discordance) + xlog1py(n - changed, -discordance))
    gains = min(1.0, max(0.0, (discordance + difference) / (2 * discordance)))
    far = z * np.sqrt(changed)
    above = np.floor((changed + far) / 2 + 1e-9)
    below = np.ceil((changed - far) / 2 - 1e-9) - 1
    found = np.where(above < changed, bdtrc(np.minimum(above, changed), changed, gains), 0.0)
    found = found + np.where(below >= 0, bdtr(np.maximum(below, 0), changed, gains), 0.0)
    return float((mass * found).sum())


@lru_cache(maxsize=65536)
def detectable(n: float, discordance: float, freedom: float = inf, alpha: float = ALPHA) -> Detectable:
    """Return the smallest difference that `n` (effective) items show with 80 % power at level `alpha`.

    `discordance` is raised to the difference where that is larger. With finite `freedom` of an estimated variance
    the critical value is that of a normal test of the power that t with this freedom has.
    """
    from scipy.optimize import brentq

    whole, least = int(n + 1e-9), min(1.0, max(discordance, 1e-9))
    if whole < 2:
        return Detectable(None, discordance)
    # Single items are tested at t's quantile itself; elsewhere t is for a variance that is estimated.
    z = quantile(freedom, alpha) if freedom == freedom_of_items(whole) else critical(freedom, alpha)

    def short(difference: float) -> float:
        return power(whole, min(1.0, max(least, difference)), min(difference, 1.0), z) - POWER

    if short(1.0) < 0:
        return Detectable(None, discordance)
    # Near the root of the normal approximation, where the exact one is not far.
    near = min(1.0, (z + 0.85) * sqrt(least / whole))
    low = near / 2 if short(near / 2) < 0 else 0.0
    high = min(1.0, 2 * near) if short(min(1.0, 2 * near)) >= 0 else 1.0
    found = float(brentq(short, low, high, xtol=1e-5))
    while short(found) < 0:
        found = min(1.0, found + 1e-5)
    return Detectable(found, max(least, found))


@lru_cache(maxsize=4096)
def critical(freedom: float, alpha: float) -> float:
    """Return the critical value of the normal test that needs as large an effect for 80 % power as t does."""
    from scipy.optimize import brentq
    from scipy.special import nctdtr, ndtri

    t = quantile(freedom, alpha)
    if not isfinite(freedom) or freedom > 200:
        return t
    freedom = max(freedom, 1.0)
    top = 4 * t + 20
    if nctdtr(freedom, top, t) > 1 - POWER:
        return top
    return float(brentq(lambda shift: nctdtr(freedom, shift, t) - (1 - POWER), 0.0, top)) - float(ndtri(POWER))


def items_needed(
    difference: float, discordance: float, alpha: float = ALPHA, wanted: float = POWER, most: int = 10_000_000
) -> int | None:
    """Return the fewest items that show `difference` with a power of `wanted`; None if `most` do not.

    Power steps with the counts: from this number on it stays there for 5 % more items too.
    """

    def found(n: int) -> float:
        return power(n, discordance, difference, quantile(freedom_of_items(n), alpha))

    n = 1
    while n <= most and found(n) < wanted:
        n *= 2
    if n > most:
        return None
    low, high = n // 2, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) >= wanted else (middle, high)
    step = max(1, high // 200)
    while any(found(high + i * step) < wanted for i in range(10)):
        high += step
    return high
