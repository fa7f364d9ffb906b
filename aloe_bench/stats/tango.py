"""The score statistic of a paired difference, over one data set or as the mean over several.

Interval, p and margin are all read off this one statistic, so they never contradict each other.
Source: Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the paired-sample
design"; the mean over data sets by the rule of Yan and Su (2010), as in `macro.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

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
