"""What a paired comparison would have shown: exact power of the score test, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite, sqrt

from aloe_bench.stats.intervals import ALPHA, quantile

POWER = 0.8


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

    `discordance` is raised to the difference where that is larger. With finite `freedom` the critical value is that
    of a normal test of the power that t with this freedom has.
    """
    from scipy.optimize import brentq

    whole, z, least = int(n + 1e-9), critical(freedom, alpha), min(1.0, max(discordance, 1e-9))
    if whole < 1:
        return Detectable(None, discordance)

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
    z, n = critical(inf, alpha), 1
    while n <= most and power(n, discordance, difference, z) < wanted:
        n *= 2
    if n > most:
        return None
    low, high = n // 2, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, discordance, difference, z) >= wanted else (middle, high)
    step = max(1, high // 200)
    while any(power(high + i * step, discordance, difference, z) < wanted for i in range(10)):
        high += step
    return high
