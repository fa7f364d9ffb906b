"""Items that share a patient or an image: how much the clusters are worth, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# Under this many effective clusters, or with one of more than this weight, the spread itself is shaky.
FEW_CLUSTERS = 20
LARGE_CLUSTER = 0.2
# With fewer clusters than this that hold an event, their spread is no measure of how events go together.
FEW_WITH_EVENT = 8
# As many clusters more are taken to be alike throughout where nothing else says how events go together.
ALIKE = 1.0


def effective_clusters(loads: ArrayLike) -> float:
    """Return Kish's effective number of clusters, (sum of `loads`)^2 / sum of their squares; one load a cluster.

    As many as there are if all weigh the same, and nearly one if one weighs nearly everything.
    Source: Kish (1965), "Survey sampling".
    """
    import numpy as np

    weights = np.asarray(loads, dtype=float)
    return float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0


def is_shaky(loads: ArrayLike) -> bool:
    """Return whether a test by the spread of these clusters needs an exact one beside it."""
    import numpy as np

    weights = np.asarray(loads, dtype=float)
    return effective_clusters(weights) < FEW_CLUSTERS or bool(weights.max() > LARGE_CLUSTER * weights.sum())


def caution(loads: ArrayLike, with_event: int | None = None) -> str | None:
    """Return what belongs beside any interval over clusters of these `loads`; None if they are enough.

    `with_event` is the number of clusters that hold an event (the rarer of hit and miss, or a change) where
    clusters repeat; None where every cluster is one item, whose intervals are made for few events.
    """
    import numpy as np

    weights = np.asarray(loads, dtype=float)
    count = len(weights)
    if count < 2:
        return f"{count} {'cluster' if count else 'clusters'}: no interval and no test without two"
    said = []
    worth, largest = effective_clusters(weights), float(weights.max() / weights.sum())
    if count < FEW_CLUSTERS:
        said.append(f"{count} clusters, fewer than {FEW_CLUSTERS}")
    elif worth < FEW_CLUSTERS:
        said.append(f"{count} clusters of unequal size, worth {worth:.1f} equal ones, fewer than {FEW_CLUSTERS}")
    if largest > LARGE_CLUSTER and count >= FEW_CLUSTERS:
        said.append(f"one cluster holds {100 * largest:.0f} % of the weight")
    if said:
        said.append("the interval is rough")
        # Two-sided, the least p of a sign flip is twice that of all signs alike.
        if 2.0 ** (1 - count) > 0.05:
            said.append("no exact test of so few can reach 5 %")
    if with_event is not None and with_event < FEW_WITH_EVENT:
        seen = "no cluster holds" if not with_event else f"only {with_event} hold" + ("s" if with_event == 1 else "")
        said.append(f"{seen} an event, too few to tell how events go together; the interval is widened")
    return ": ".join([", ".join(said[:1]), ", ".join(said[1:])]) if len(said) > 1 else said[0] if said else None


def correlation(columns: Iterable[tuple[Any, Any]]) -> float | None:
    """Return the intra-cluster correlation pooled over `columns` of (values, cluster numbers), between 0 and 1.

    Pairs of items of one cluster, over all columns, against the variance that their means leave; columns without
    spread or without a repeated cluster say nothing. None if all are such.
    """
    import numpy as np

    together = apart = 0.0
    for values, codes in columns:
        numbers = np.asarray(values, dtype=float)
        if not numbers.size:
            continue
        residuals = numbers - numbers.mean()
        variance = float((residuals**2).mean())
        sizes = np.bincount(codes)
        pairs = float((sizes * (sizes - 1)).sum())
        if not pairs or variance < 1e-12:
            continue
        sums = np.bincount(codes, weights=residuals)
        together += float((sums**2).sum() - (residuals**2).sum())
        apart += pairs * variance
    return min(1.0, max(0.0, together / apart)) if apart else None


def guarded(values: Any, codes: Any, events: float, pooled: float | None) -> float:
    """Return the correlation to reckon with: the `pooled` one, or this column's own as if one cluster more were alike.

    Where `events` effective clusters hold an event, their own spread is too small as often as it is too large, and
    it is small together with the share itself; the one cluster more keeps upper ends from falling short.
    """
    if pooled is not None:
        return pooled
    own = correlation([(values, codes)]) or 0.0
    return (own * events + ALIKE) / (events + ALIKE)


def design_effect(sizes: ArrayLike, within: float) -> float:
    """Return by how much clusters of these `sizes` inflate a variance, items within one being correlated `within`.

    Source: Kish (1965), with the size that an item's cluster has on average.
    """
    import numpy as np

    counts = np.asarray(sizes, dtype=float)
    return 1 + max(0.0, float((counts**2).sum() / counts.sum()) - 1) * within


def numbered(clusters: ArrayLike) -> Any:
    """Return the cluster numbers 0..G-1 of these names."""
    import numpy as np

    return np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)


def loads_of(parts: Iterable[Any], weights: Iterable[float]) -> Any:
    """Return what each cluster of each data set weighs in the weighted mean; `parts` are cluster numbers."""
    import numpy as np

    return np.concatenate([w * np.bincount(codes) / len(codes) for codes, w in zip(parts, weights, strict=True)])
