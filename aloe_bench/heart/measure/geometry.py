"""What the boxes of a detection item give away by themselves: how often simple rules find the true one.

Chance is one in as many as there are boxes. A table in which a rule finds more measures, in part, whether a model
knows the rule.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aloe_bench.stats.intervals import DataSetShare, Share, clustered_share, macro_interval

Box = tuple[float, float, float, float]
RULES = ("size", "place", "grey", "all", "prior")
LEARNT, FOLDS = ("size", "place", "prior"), 10
LEAST = 20  # true boxes of a class in other pictures, for a mean place of its own; items for a warning


@dataclass(frozen=True, slots=True)
class ItemBoxes:
    """The boxes of one item as shares of the picture (left, top, right, bottom), the true one first.

    `greys` are their mean grey levels, None where the table does not hold them. `generated` says whether no wrong box
    is annotated.
    """

    cluster: str
    dataset: str
    class_index: int
    boxes: tuple[Box, ...]
    greys: tuple[float, ...] | None = None
    generated: bool = True


def medoid_share(items: Iterable[ItemBoxes]) -> dict[str, Any]:
    """Return for items with generated and with annotated wrong boxes how often each rule finds the true one.

    "size", "place" and "grey" take the box nearest the mean of the item's; "all" of all three; "prior" the one nearest
    the mean place of true boxes of other pictures. Each has "share", and "low" and "high", its 95 % interval.
    """
    groups: dict[str, list[ItemBoxes]] = {"generated": [], "annotated": []}
    for item in items:
        if len(item.boxes) > 1:
            groups["generated" if item.generated else "annotated"].append(item)
    return {name: _shares(some) for name, some in groups.items() if some}


def above_chance(found: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each rule of `medoid_share` whose whole interval lies above chance."""
    return [
        f"{facts[rule]['share']:.0%} of true boxes are found by {_SAID[rule]} (95 % interval from "
        f"{facts[rule]['low']:.0%}, chance {facts['chance']:.0%}; {facts['items']} items with {kind} wrong boxes)"
        for kind, facts in found.items()
        for rule in RULES
        if rule in facts and facts["items"] >= LEAST and facts[rule]["low"] > facts["chance"]
    ]


_SAID = {
    "size": "taking the box of the most usual size",
    "place": "taking the most central of the boxes",
    "grey": "taking the box of the most usual grey",
    "all": "taking the most usual box by size, place and grey together",
    "prior": "taking the box nearest to where findings of other pictures lie",
}


def _shares(items: Sequence[ItemBoxes]) -> dict[str, Any]:
    import numpy as np

    facts: dict[str, Any] = {
        "items": len(items),
        "chance": round(float(np.mean([1 / len(item.boxes) for item in items])), 4),
    }
    clusters = [item.cluster for item in items]
    for rule, hits in hits_by_rule(items).items():
        share = clustered_share(hits, np.ones(len(items)), clusters)
        low, high = share.interval or (None, None)
        if share.value is None or low is None or high is None:
            continue
        facts[rule] = {"share": round(share.value, 4), "low": round(low, 4), "high": round(high, 4)}
    return facts


def boxes_alone(items: Sequence[ItemBoxes]) -> dict[str, Any] | None:
    """Return how often the best rule on boxes alone finds the true one, as a mean over data sets; None without boxes.

    Of size, place and prior the rule is chosen on nine tenths of the patients and counted on the last, ten times.
    `rules` says of how many items each was the rule, `datasets` holds each data set's share.
    """
    import numpy as np

    by_set: dict[str, list[ItemBoxes]] = {}
    for item in items:
        if len(item.boxes) > 1:
            by_set.setdefault(item.dataset, []).append(item)
    shares, used = dict[str, Share](), Counter[str]()
    for dataset, some in sorted(by_set.items()):
        hits, fold = hits_by_rule(some), np.array([_fold(item.cluster) for item in some])
        own = np.zeros(len(some))
        for part in range(FOLDS):
            there = fold == part
            if there.any():
                known = ~there if (~there).any() else there
                best = max(LEARNT, key=lambda rule: (hits[rule][known].mean(), rule))
                own[there] = hits[best][there]
                used[best] += int(there.sum())
        shares[dataset] = clustered_share(own, np.ones(len(some)), [item.cluster for item in some])
    if not shares:
        return None
    values = {dataset: share.value or 0.0 for dataset, share in shares.items()}
    interval = next(iter(shares.values())).interval
    if len(shares) > 1:
        parts = [DataSetShare(values[d], s.n_effective, s.freedom, 1 / len(shares)) for d, s in shares.items()]
        interval = macro_interval(parts) if all(share.interval for share in shares.values()) else None
    return {
        "value": sum(values.values()) / len(values),
        "interval": interval,
        "n": sum(map(len, by_set.values())),
        "chance": float(np.mean([np.mean([1 / len(item.boxes) for item in some]) for some in by_set.values()])),
        "rules": dict(sorted(used.items())),
        "datasets": values,
    }


def _fold(cluster: str) -> int:
    return int(hashlib.sha256(cluster.encode()).hexdigest(), 16) % FOLDS


def hits_by_rule(items: Sequence[ItemBoxes]) -> dict[str, Any]:
    """Return for each rule that the items allow whether it finds their true boxes: 1, 0, a part where boxes tie."""
    import numpy as np

    features = {"size": [_sizes(item) for item in items], "place": [_centres(item) for item in items]}
    if all(item.greys for item in items):
        features["grey"] = [np.array(item.greys)[:, None] for item in items]
    hits = {name: np.array([_nearest(f - f.mean(axis=0)) for f in some]) for name, some in features.items()}
    scales = {
        name: np.sqrt(np.mean(np.concatenate([(f - f.mean(axis=0)) ** 2 for f in some]), axis=0)) + 1e-9
        for name, some in features.items()
    }
    together = [
        np.concatenate([(features[n][i] - features[n][i].mean(axis=0)) / scales[n] for n in features], axis=1)
        for i in range(len(items))
    ]
    hits["all"] = np.array([_nearest(some) for some in together])
    priors = _mean_places(items)
    hits["prior"] = np.array([_nearest(_centres(item) - prior) for item, prior in zip(items, priors, strict=True)])
    return {rule: hits[rule] for rule in RULES if rule in hits}


def _nearest(offsets: Any) -> float:
    """Return 1 if the first row is the shortest, 0 if not, and 1 / n where it ties with n - 1 others."""
    lengths = (offsets**2).sum(axis=1)
    least = lengths <= lengths.min() + 1e-12
    return float(least[0] / least.sum())


def _sizes(item: ItemBoxes) -> Any:
    import numpy as np

    boxes = np.array(item.boxes, float)
    return boxes[:, 2:] - boxes[:, :2]


def _centres(item: ItemBoxes) -> Any:
    import numpy as np

    boxes = np.array(item.boxes, float)
    return (boxes[:, 2:] + boxes[:, :2]) / 2


def _mean_places(items: Sequence[ItemBoxes]) -> list[Any]:
    """Return for each item the mean centre of the true boxes in other clusters: of its class, if there are enough."""
    import numpy as np

    centres = np.array([_centres(item)[0] for item in items])
    sums: dict[tuple[Any, ...], Any] = {}
    for item, centre in zip(items, centres, strict=True):
        for key in _keys(item):
            sums[key] = sums.get(key, np.zeros(3)) + np.array([*centre, 1])
    means = []
    for item in items:
        rest = [sums[all_of] - sums[own] for all_of, own in _pairs(item)]
        chosen = next((some for some in rest if some[2] >= LEAST), rest[-1])
        means.append(chosen[:2] / chosen[2] if chosen[2] else np.array([0.5, 0.5]))
    return means


def _pairs(item: ItemBoxes) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Return the groups whose mean may be used, the closest first, each with its part in the item's own cluster."""
    groups: list[tuple[Any, ...]] = [(item.dataset, item.class_index), (item.dataset,)]
    return [(group, (*group, "of", item.cluster)) for group in groups]


def _keys(item: ItemBoxes) -> Iterable[tuple[Any, ...]]:
    return (key for pair in _pairs(item) for key in pair)
