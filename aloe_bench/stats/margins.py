"""Not worse than, and as good as, by a margin that the user names."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from aloe_bench.stats.intervals import ZERO_SE, standard_error


def non_inferiority(first: ArrayLike, second: ArrayLike, clusters: ArrayLike, margin: float) -> float | None:
    """Return the one-sided p of "`first` is at least `margin` worse than `second`"; small means: not inferior.

    One entry an item in all three, scores in [0, 1], `margin` in (0, 1]. Cluster-robust t test with G-1 degrees of
    freedom; where no cluster differs from another, the chance that a difference as rare as `margin` never showed.
    None under two clusters. At 0.05 it decides as the lower end of a 90 % interval does.
    """
    from scipy import stats

    if not 0 < margin <= 1:
        raise ValueError(f"margin {margin}; expected a share in (0, 1], such as 0.02 for two points")
    change = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    groups = int(codes.max()) + 1 if codes.size else 0
    if groups < 2:
        return None
    gap = float(change.mean()) + margin
    error = standard_error(change - change.mean(), codes)
    if error < ZERO_SE:
        return float((1 - min(1.0, max(0.0, gap))) ** groups)
    return float(stats.t.sf(gap / error, groups - 1))


def equivalence(first: ArrayLike, second: ArrayLike, clusters: ArrayLike, margin: float) -> float | None:
    """Return the p of two one-sided tests (TOST); small means that the two differ by less than `margin`.

    Source: Schuirmann (1987).
    """
    sides = [non_inferiority(a, b, clusters, margin) for a, b in ((first, second), (second, first))]
    known = [p for p in sides if p is not None]
    return max(known) if len(known) == 2 else None
