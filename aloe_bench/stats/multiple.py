"""P-values of a family, adjusted so that looking many times does not find by chance."""

from __future__ import annotations

from collections.abc import Sequence

from aloe_bench.stats.intervals import ALPHA


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values, in order; None stays None and is no member of the family."""
    return _adjusted(p_values, "holm")


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Benjamini and Hochberg's adjusted p-values, for families that are explored, not decided on."""
    return _adjusted(p_values, "fdr_bh")


def _adjusted(p_values: Sequence[float | None], method: str) -> list[float | None]:
    from statsmodels.stats.multitest import multipletests

    known = [p for p in p_values if p is not None]
    if not known:
        return [None] * len(p_values)
    adjusted = iter(multipletests(known, alpha=ALPHA, method=method)[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]
