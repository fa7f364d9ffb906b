"""The mean over data sets, each counting the same, for these data sets and no others."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

from aloe_bench.stats.intervals import Interval


def macro_interval(values: Sequence[float], intervals: Sequence[Interval | None]) -> Interval | None:
    """Return the 95 % interval of the mean of `values`, from each data set's own; None if one has none.

    The data sets are fixed: their own errors alone count, SE = sqrt(sum SE_d^2) / D where intervals are symmetric.
    Taking each end's distance instead of SE keeps the asymmetry of shares near 0 and 1, and gives a share that is 0
    in every data set an interval too.
    Source: Zou and Donner (2008), "Construction of confidence limits about effect measures: a general approach".
    """
    known = [interval for interval in intervals if interval is not None]
    if not values or len(known) < len(values):
        return None
    mean = sum(values) / len(values)
    below = hypot(*(value - low for value, (low, _) in zip(values, known, strict=True))) / len(values)
    above = hypot(*(high - value for value, (_, high) in zip(values, known, strict=True))) / len(values)
    return mean - below, mean + above
