"""How many answers experts must label, told before they begin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import sqrt

import numpy as np

from aloe_bench.stats.agreement import GRADES, Level, Matrix, alphas, distances, least_interval, one_by_chance
from aloe_bench.stats.corrected import LEAST_LABELS, ONE_MORE, interval_of_mean
from aloe_bench.stats.intervals import quantile

WITHIN = 0.05
# No study has as many labels, and no reading is given under so many items.
MOST, FEWEST = 1_000_000, 20
# The step of numerical derivatives, and the items by which a weight of one item vanishes.
STEP, MANY = 1e-5, 1e9


def labels_for_alpha(
    value: float, raters: int, shares: Sequence[float], within: float = WITHIN, level: Level = "ordinal"
) -> int | None:
    """Return the fewest items whose interval of alpha ends within `within` of it, if alpha is about `value`.

    Each item is rated by all `raters`, whose grades 0, 0.5 and 1 have these `shares`: each says what is true with
    probability sqrt(`value`), and else what comes by these shares, so that alpha is `value` at every level. The wider
    of the two that `agreement` prints, the jackknife's and what the number of disagreements allows. None if a million
    items do not do it. Raises ValueError for what are no shares, an alpha outside [0, 1] or under two raters.
    """
    if not 0 <= value <= 1 or raters < 2 or len(shares) != len(GRADES) or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(
            f"alpha {value}, {raters} raters, shares {tuple(shares)}; expected [0, 1], two, and a sum of 1"
        )
    if max(shares) > 1 - 1e-9:
        return None  # every grade the same: alpha does not exist
    counts, chances = _rated(value, raters, shares)
    parts = _parts(counts)
    apart = float(chances[(counts > 0).sum(axis=1) > 1].sum())
    costs = (parts * distances(np.einsum("i,ijk->j", chances, parts), level)).sum(axis=(1, 2))
    mean = float(chances @ costs)
    costs = costs * (1 - value) / mean if mean > 1e-12 else 0 * costs
    squares, one_more = float(chances @ costs**2), one_by_chance(shares, raters)
    spread = sqrt(float((chances * _influence(parts, chances, level) ** 2).sum()))

    def half_width(n: int) -> float:
        low, high = least_interval(n, apart * n if apart > 1e-12 else 0.0, (1 - value) * n, squares * n, one_more)
        return max(quantile(n - 1) * spread / sqrt(n), value - low, high - value)

    return _fewest(half_width, within, FEWEST, MOST)


def labels_for_score(answers: int, shares: Sequence[float], correlation: float, within: float = WITHIN) -> int | None:
    """Return the fewest labels whose corrected score's interval ends within `within` of it, of so many judged answers.

    The experts' grades 0, 0.5 and 1 have these `shares`, and the jury's go with them by `correlation` in [0, 1]. None
    if labels of all answers do not do it. Raises ValueError for what are no shares or no correlation.
    """
    if len(shares) != len(GRADES) or abs(sum(shares) - 1) > 1e-9 or not 0 <= correlation <= 1:
        raise ValueError(f"shares {tuple(shares)}, correlation {correlation}; expected a sum of 1, and [0, 1]")
    mean = sum(share * grade for share, grade in zip(shares, GRADES, strict=True))
    spread = sum(share * (grade - mean) ** 2 for share, grade in zip(shares, GRADES, strict=True))

    def half_width(labels: int) -> float:
        helped = correlation**2 * (1 - labels / answers) if labels >= LEAST_LABELS else 0.0
        ends = interval_of_mean(mean, spread * (1 - helped) / labels + (ONE_MORE / labels) ** 2, labels - 1, labels)
        return max(abs(end - mean) for end in ends) if ends else 1.0

    return _fewest(half_width, within, 2, answers)


def _fewest(half_width: Callable[[int], float], within: float, least: int, most: int) -> int | None:
    """Return the smallest number from `least` to `most` from which on the half-width is `within`, None without any."""
    if most < least or half_width(most) > within:
        return None
    low, high = least - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(middle) <= within else (middle, high)
    return high


def _rated(value: float, raters: int, shares: Sequence[float]) -> tuple[Matrix, Matrix]:
    """Return how often each grade can be given to one item, (ways, 3), and how probable each way is."""
    from scipy.stats import multinomial

    known = sqrt(value)
    ways = np.array([way for way in product(range(raters + 1), repeat=len(GRADES)) if sum(way) == raters], dtype=float)
    chances = np.zeros(len(ways))
    for true, share in enumerate(shares):
        law = [(1 - known) * other + known * (i == true) for i, other in enumerate(shares)]
        chances += share * multinomial.pmf(ways, raters, law)
    return ways, chances / chances.sum()


def _parts(counts: Matrix) -> Matrix:
    """Return each way's part of the coincidence matrix."""
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(GRADES))
    return np.asarray(pairs / (counts[0].sum() - 1), dtype=np.float64)


def _influence(parts: Matrix, chances: Matrix, level: Level) -> Matrix:
    """Return by how much each way of rating an item moves alpha: its influence function."""
    whole = np.einsum("i,ijk->jk", chances, parts)
    moved = np.concatenate([whole[None], (1 - STEP) * whole + STEP * parts])
    found = alphas(MANY * moved, level)
    return np.asarray((found[1:] - found[0]) / STEP, dtype=np.float64)
