"""What a mean says beyond the few wordings it was asked in: of all wordings like these, drawn within fixed kinds.

Items of one wording go together as those of one patient do, and wordings are crossed with patients. Imported only by
what measures, so numpy stands at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aloe_bench.stats import tango
from aloe_bench.stats.intervals import Interval, Share, freedom_of, interval_of_worth, macro_interval, quantile
from aloe_bench.stats.paired import Difference

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


class Facet(NamedTuple):
    """Which wording each item was asked in, and of what kind that wording is; one entry an item."""

    ids: NDArray[np.str_]
    kinds: NDArray[np.str_]

    def at(self, items: NDArray[np.bool_]) -> Facet:
        """Return the entries of these items."""
        return Facet(self.ids[items], self.kinds[items])


@dataclass(frozen=True, slots=True)
class WordingSpread:
    """The variance of a mean over the `n` wordings of `kinds`, and `freedom` for it.

    `within` is what it holds that is the spread of patients within wordings, which their own variance holds too.
    """

    variance: float
    within: float
    freedom: float
    n: int
    kinds: int


def wording_spread(residuals: Floats, loads: Floats, patients: Codes, facet: Facet) -> WordingSpread | None:
    """Return how a mean of items varies with the wordings drawn; None of one wording alone.

    `residuals` are the items' from their data set's mean, `loads` what each weighs in the mean (sum 1), `patients`
    numbers. The two-way variance is that over patients, plus `variance`, minus `within` (Cameron, Gelbach and Miller,
    2011, "Robust inference with multiway clustering"). Kinds are fixed, so wordings deviate from the mean of theirs;
    kinds of which one wording was drawn are taken together, a single such one with the largest kind, and all where a
    wording stands under two kinds. Each kind's sum of squares is without bias, and `freedom` Satterthwaite's, where
    wordings differ alike, however often each is used (Bell and McCaffrey, 2002, "Bias reduction in standard errors for
    linear regression with multi-stage samples").
    """
    names, first, codes = np.unique(facet.ids, return_index=True, return_inverse=True)
    codes, n = codes.reshape(-1), len(names)
    if n < 2:
        return None
    named = facet.kinds[first]
    kinds = _kinds(named) if (named[codes] == facet.kinds).all() else np.zeros(n, dtype=np.intp)
    own = kinds[codes]
    moved = loads * residuals
    moved -= loads * (np.bincount(own, weights=moved) / np.bincount(own, weights=loads))[own]
    _, cells, of = np.unique(patients * n + codes, return_index=True, return_inverse=True)
    variance = _between(moved, loads, codes, kinds)
    within = _between(moved, loads, of.reshape(-1), own[cells])
    freedom = _freedom(np.bincount(codes, weights=loads).astype(float), kinds)
    return WordingSpread(variance, within, freedom, n, int(kinds.max()) + 1)


def _kinds(names: NDArray[np.str_]) -> Codes:
    """Return the kind of each wording as numbers from 0, of two wordings at least each, from the kinds' names."""
    kinds = np.unique(names, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(kinds)
    alone = np.flatnonzero(sizes == 1)
    if not len(alone):
        return kinds
    together = alone if len(alone) > 1 else np.array([alone[0], sizes.argmax()])
    return np.unique(np.where(np.isin(kinds, together), together[0], kinds), return_inverse=True)[1].reshape(-1)


def _between(moved: Floats, weights: Floats, codes: Codes, kinds: Codes) -> float:
    """Return the variance of a mean over groups within kinds, without bias where groups differ alike.

    `moved` are weighted deviations from the mean of an item's kind, `codes` the items' groups, `kinds` those of groups.
    """
    sums, sizes = np.bincount(codes, weights=moved), np.bincount(codes, weights=weights)
    shares = sizes / np.bincount(kinds, weights=sizes)[kinds]
    two, three = (np.bincount(kinds, weights=shares**power) for power in (2, 3))
    kept = two - 2 * three + two**2
    scale = np.divide(two, kept, out=np.zeros_like(two), where=kept > 0)
    return float((scale[kinds] * sums**2).sum())


def _freedom(sizes: Floats, kinds: Codes) -> float:
    """Return Satterthwaite's freedom of `_between` for groups that weigh `sizes`."""
    first = second = 0.0
    for kind in range(int(kinds.max()) + 1):
        whole = sizes[kinds == kind].sum()
        share = sizes[kinds == kind] / whole
        q = (share**2).sum()
        # The squared sums are a quadratic form in the groups' effects; this is its matrix.
        form = np.outer(share, share) * (np.eye(len(share)) - share[:, None] - share + q)
        form *= whole**2 * q / np.trace(form)
        first, second = first + float(np.trace(form)), second + float((form**2).sum())
    return first**2 / second


def interval_like_these(found: Share | Difference, spreads: Sequence[WordingSpread]) -> Interval | None:
    """Return the interval of a mean for wordings like these, never narrower than its own, which is for these.

    Its counts are divided by the ratio of the two-way variance to the one its own interval has; t's freedom is that
    of the wordings, or that of the patients if they are fewer. Several `spreads` are those of a cue made of several
    sentences, each with its own wording.
    """
    if found.interval is None or not spreads:
        return None
    own = _variance(found)
    total = sum(spread.variance for spread in spreads)
    ratio = 1 + sum(spread.variance - spread.within for spread in spreads) / own if own > 0 else 1.0
    if total <= 0 or ratio <= 0:
        return found.interval
    freedom = total**2 / sum(spread.variance**2 / spread.freedom for spread in spreads)
    low, high = _divided(found, ratio, freedom)
    return min(low, found.interval[0]), max(high, found.interval[1])


def _variance(found: Share | Difference) -> float:
    """Return the variance that an interval reckons with, at the value itself."""
    if isinstance(found, Difference):
        changes = [(pair, (pair.gained + pair.lost) / pair.n - pair.value**2) for pair in found.pairs]
        return found.scale**2 * sum(pair.weight**2 * spread / pair.n for pair, spread in changes)
    return sum(part.weight**2 * part.value * (1 - part.value) / part.n for part in found.parts)


def _divided(found: Share | Difference, ratio: float, freedom: float) -> Interval:
    """Return the interval with all counts divided by `ratio`, and at most this freedom."""
    if isinstance(found, Difference):
        pairs = [pair._replace(gained=pair.gained / ratio, lost=pair.lost / ratio, n=pair.n / ratio)
                 for pair in found.pairs]  # fmt: skip
        z = quantile(min(freedom, found.freedom))
        return found.scale * tango.lower_end(pairs, z), found.scale * tango.upper_end(pairs, z)
    if len(found.parts) == 1:
        (part,) = found.parts
        return interval_of_worth(part.value, part.n / ratio, min(freedom, part.freedom))
    parts = [part._replace(n=part.n / ratio) for part in found.parts]
    return macro_interval(parts, freedom=min(freedom, freedom_of(found.parts)))
