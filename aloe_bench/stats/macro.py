"""The mean of shares over data sets, each counting as much as it weighs, for these data sets and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, sqrt
from typing import NamedTuple

from aloe_bench.stats.intervals import ALPHA, Interval, nearly_exact_lower, quantile

STEPS = 200
CLOSE = 1e-10


class DataSetShare(NamedTuple):
    """One data set's share: `value` of `n` items, or of as many as repeated clusters and half credit are worth.

    `freedom` is that of its variance: infinity for single items.
    """

    value: float
    n: float
    freedom: float = inf
    weight: float = 1.0


def macro_interval(parts: Sequence[DataSetShare], alpha: float = ALPHA) -> Interval:
    """Return the interval of the weighted mean of `parts`, with level 1 - `alpha`; weights add up to 1.

    Stratified Wilson: at each end every data set has the variance that belongs to its own value there, and these
    values lie as far out as makes the mean's distance z standard errors. Adding up each set's own interval would add up
    their pulls to one half. Where the hits are in one small set the pull of a single Wilson interval is left; so an end
    that lies towards 0 is never nearer than the same rule gives with nearly exact ends in place of Wilson's. z is t's
    quantile with Satterthwaite's freedom where clusters repeat.
    Source: Yan and Su (2010), "Stratified Wilson and Newcombe confidence intervals for multiple binomial proportions",
    with each end's own variance, iterated, in place of that at the centre.
    """
    z = quantile(freedom_of(parts), alpha)
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
