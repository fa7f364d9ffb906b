"""Not worse than, and as good as, by a margin that the user names."""

from __future__ import annotations

from aloe_bench.stats.paired import Difference


def non_inferiority(difference: Difference, margin: float) -> float | None:
    """Return the one-sided p of "the first is at least `margin` worse"; small means: not inferior.

    `margin` in (0, 1], against the difference first minus second. The score test that its interval comes from: at 5 %
    it decides as the lower end of the 90 % interval does. None where there is no interval.
    """
    if not 0 < margin <= 1:
        raise ValueError(f"margin {margin}; expected a share in (0, 1], such as 0.02 for two points")
    return difference.p_of(-margin)


def equivalence(difference: Difference, margin: float) -> float | None:
    """Return the p of two one-sided tests (TOST); small means that the two differ by less than `margin`.

    Source: Schuirmann (1987).
    """
    low, below = non_inferiority(difference, margin), difference.p_of(margin)
    return None if low is None or below is None else max(low, 1 - below)
