"""A share that should rise with a dose: its rising curve, whether it rises at all, and the dose of one half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aloe_bench.seeds import rng_for
from aloe_bench.stats.intervals import ALPHA
from aloe_bench.stats.paired import sign_flip

Matrix = NDArray[np.float64]
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class DoseResponse:
    """`curve` is the isotonic fit at each dose, `ed50` the dose at which it reaches one half (None: it never does).

    `ed50_interval` is a 95 % percentile interval over clusters; an end is None where so many resamples never reach one
    half that it lies beyond the highest dose. `at_most_lowest` says for the value and both ends that more than half are
    led already at the lowest dose, so that it lies there or anywhere below. `p_trend` tests that the share is the same
    at every dose.
    """

    doses: tuple[float, ...]
    shares: tuple[float, ...]
    curve: tuple[float, ...]
    p_trend: float
    ed50: float | None
    ed50_interval: tuple[float | None, float | None]
    n: int
    n_clusters: int
    at_most_lowest: tuple[bool, bool, bool] = (False, False, False)


def dose_response(doses: Sequence[float], hits: Matrix, clusters: Sequence[str], *seed: object) -> DoseResponse:
    """Return the dose-response of `hits` (n_items, n_doses; 0 or 1), the same items at each of the rising `doses`.

    Curve: `rising`. Trend: each cluster's sum of hits weighted by centred dose ranks, signs flipped (the
    contrast of Page's test). ED50: linear between doses; its interval resamples whole clusters 2,000 times, seeded.
    Raises ValueError unless there are two rising doses or more, and two clusters.
    """
    if len(doses) < 2 or list(doses) != sorted(set(doses)) or hits.shape != (len(clusters), len(doses)):
        raise ValueError(f"doses {list(doses)} and hits {hits.shape}; expected two rising doses or more, a column each")
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    groups = int(codes.max()) + 1
    if groups < 2:
        raise ValueError("one cluster; expected two or more")
    sums = np.array([np.bincount(codes, weights=column) for column in hits.T]).T
    sizes = np.bincount(codes).astype(float)
    shares = sums.sum(axis=0) / sizes.sum()
    curve = rising(shares)
    rng = np.random.default_rng(rng_for("dose", *seed).getrandbits(128))
    weights = rng.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    drawn = _half(doses, rising((weights @ sums) / (weights @ sizes)[:, None]))
    half = float(_half(doses, curve))
    low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2], method="closest_observation")
    return DoseResponse(
        tuple(doses),
        tuple(map(float, shares)),
        tuple(map(float, curve)),
        trend(sums),
        _finite(half),
        (_finite(low), _finite(high)),
        len(hits),
        groups,
        (bool(curve[0] >= 0.5), bool(low <= doses[0]), bool(high <= doses[0])),
    )


def trend(sums: Matrix) -> float:
    """Return the two-sided p of no trend over the doses from each cluster's hits, (n_clusters, n_doses).

    The hits weighted by centred dose ranks, each cluster's sign flipped.
    """
    doses = sums.shape[1]
    return sign_flip(sums @ (np.arange(doses) - (doses - 1) / 2))[0]


def rising(shares: Matrix) -> Matrix:
    """Return the isotonic least-squares fit along the last axis of `shares`, for thousands of resamples at once.

    Every dose rests on the same items, so all weigh the same. Source: the max-min formula of Barlow et al. (1972).
    """
    count = shares.shape[-1]
    sums = np.concatenate([np.zeros((*shares.shape[:-1], 1)), np.cumsum(shares, axis=-1)], axis=-1)
    means = [[(sums[..., k + 1] - sums[..., i]) / (k + 1 - i) for k in range(i, count)] for i in range(count)]
    curve = [np.max([np.min(means[i][j - i :], axis=0) for i in range(j + 1)], axis=0) for j in range(count)]
    return np.stack(curve, axis=-1)


def _half(doses: Sequence[float], curves: Matrix) -> Matrix:
    """Return where each curve first reaches one half: the lowest dose if it begins above it, infinity if it never does.

    `curves` is (..., n_doses), rising.
    """
    place = np.asarray(doses, dtype=np.float64)
    reached = curves >= 0.5
    at = np.argmax(reached, axis=-1)
    before = np.maximum(at - 1, 0)
    above, below = (np.take_along_axis(curves, index[..., None], axis=-1)[..., 0] for index in (at, before))
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = place[before] + (0.5 - below) / (above - below) * (place[at] - place[before])
    return np.where(reached.any(axis=-1), np.where(at == 0, place[0], crossing), np.inf)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
