"""P-values of a family, adjusted so that looking many times does not find by chance.

statsmodels' `multipletests` gives the same numbers, but collects garbage at each call: 0.14 s, of which a run needs 20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values, in order; None stays None and is no member of the family."""
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
