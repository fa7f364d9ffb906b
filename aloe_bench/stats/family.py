"""Comparisons that are read together: what each says once the others are counted, so that none is found by looking.

statsmodels' `multipletests` gives the same p, but collects garbage at each call: 0.14 s, of which a run needs 20.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from aloe_bench.stats.intervals import ALPHA
from aloe_bench.stats.paired import Difference

EXPLORED = "Benjamini-Hochberg, exploratory"


def numbers_of(found: Difference) -> dict[str, Any]:
    """Return a difference as plain numbers, before it belongs to a family; `settle` completes them."""
    entry: dict[str, Any] = {
        "value": found.value,
        "interval": found.interval,
        "n": found.n,
        "n_clusters": found.n_clusters,
        "p": found.p,
        "test": found.test,
        "difference": found,
    }
    if found.p_flip is not None:
        entry |= {"p_flip": found.p_flip, "flip": found.flip}
    if found.caution:
        entry["warning"] = found.caution
    return entry


def mde(entry: Mapping[str, Any]) -> str:
    """Return the detectable difference in points, with the discordance it holds at; in words beyond what can be."""
    if entry.get("detectable_at") is None:
        return "–"
    found, at = entry.get("detectable"), entry["detectable_at"]
    if at > 1:  # a difference of two drops, which reaches 200 points
        return "over 100"
    return f"{'over 100' if found is None or found > 1 else f'{100 * found:.1f}'} at {100 * at:.1f} %"


def settle(entries: Sequence[dict[str, Any]], *, exploratory: bool = False) -> None:
    """Complete the entries of one family in place: adjusted p-values, family intervals, detectable differences.

    Holm's p with a Bonferroni interval beside it, each with what Holm's first step would have shown; or, of what is
    only explored, Benjamini and Hochberg's p, and what a single test would have shown.
    """
    adjust = benjamini_hochberg if exploratory else holm
    size = 1 if exploratory else max(1, sum(entry["p"] is not None for entry in entries))
    for entry, p in zip(entries, adjust([entry["p"] for entry in entries]), strict=True):
        found: Difference = entry.pop("difference")
        entry |= {"p_adjusted": p, "adjusted_by": EXPLORED if exploratory else "Holm"}
        if not exploratory:
            entry |= {"family": size, "interval_family": found.at(ALPHA / size)}
        shown = found.detectable(size)
        entry["detectable"] = shown.difference if shown else None
        entry["detectable_at"] = shown.discordance if shown else None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values, in order; None stays None and is not a member of the family."""
    return _adjusted(p_values, _holm)


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Benjamini and Hochberg's adjusted p-values, for families that are explored, not decided on."""
    from scipy.stats import false_discovery_control

    return _adjusted(p_values, false_discovery_control)


def _holm(p_values: Sequence[float]) -> list[float]:
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    stepped = accumulate((min(1.0, (len(order) - rank) * p_values[i]) for rank, i in enumerate(order)), max)
    adjusted = dict(zip(order, stepped, strict=True))
    return [adjusted[i] for i in range(len(p_values))]


def _adjusted(p_values: Sequence[float | None], adjust: Callable[[list[float]], Any]) -> list[float | None]:
    known = [p for p in p_values if p is not None]
    if not known:
        return [None] * len(p_values)
    adjusted = iter(adjust(known))
    return [None if p is None else float(next(adjusted)) for p in p_values]
