"""The smallest true difference that a comparison would have shown."""

from __future__ import annotations

import math
from functools import lru_cache

from aloe_bench.stats.intervals import ALPHA

POWER = 0.8


def detectable(standard_error: float, n_clusters: int) -> float | None:
    """Return the difference that a test at 5 % shows with 80 % power, given the standard error seen.

    None under two clusters, or where no spread was seen and so nothing can be said.
    """
    if n_clusters < 2 or not standard_error > 0:
        return None
    return _errors_apart(n_clusters - 1) * standard_error


@lru_cache(maxsize=4096)
def _errors_apart(freedom: int) -> float:
    from scipy import stats

    t = stats.t(freedom)
    return float(t.ppf(1 - ALPHA / 2) + t.ppf(POWER))


def detectable_paired(n: int, discordance: float) -> float:
    """Return the difference between two paired shares of `n` items that is shown with 80 % power.

    `discordance` is the share of items on which the two differ; for planning, before there are answers.
    Source: the variance of a paired difference, (discordance - d^2) / n, solved for d.
    """
    from scipy import stats

    if n < 1 or not 0 < discordance <= 1:
        raise ValueError(f"n {n} and discordance {discordance}; expected n of at least 1 and a share in (0, 1]")
    z = float(stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER))
    return math.sqrt(z**2 * discordance / (n + z**2))
