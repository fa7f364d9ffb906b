"""Who rates which item, and in which order: seeded, balanced, the same for any order of the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aloe_bench.seeds import rng_for


class PerItem(NamedTuple):
    """How many raters an item gets: `least` are asked for, more up to `most` are optional."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """One item on one rater's list; the optional ones stand at its end."""

    item: str
    required: bool


def assign(
    items: Iterable[str],
    raters: Sequence[str],
    per_item: PerItem,
    seed: int,
    existing: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[Assignment]]:
    """Return what each rater is given, in order, beyond `existing` (item -> raters that already have it).

    Every item gets `per_item.least` raters and then optional ones up to `per_item.most`. Without
    `existing`, what is required of two raters differs by at most one item, and all they have by at most two.
    """
    ordered = sorted(items, key=lambda item: rng_for(seed, "annotate-order", item).random())
    holders = {item: list((existing or {}).get(item, ())) for item in ordered}
    load = Counter(rater for chosen in holders.values() for rater in chosen)
    pairs: Counter[tuple[str, str]] = Counter()
    new: dict[str, dict[str, bool]] = {rater: {} for rater in raters}
    for wanted, required in ((per_item.least, True), (per_item.most, False)):
        for item in ordered:
            while len(holders[item]) < min(wanted, len(raters)):
                rater = _next_rater(item, holders[item], raters, load, pairs, seed)
                pairs.update(tuple(sorted((rater, other))) for other in holders[item])  # type: ignore[misc]
                holders[item].append(rater)
                load[rater] += 1
                new[rater][item] = required
    turns = sorted(raters, key=lambda rater: rng_for(seed, "annotate-turn", rater).random())
    return {rater: _in_order(new[rater], ordered, turns.index(rater), len(turns)) for rater in raters}


def _next_rater(
    item: str,
    holders: Sequence[str],
    raters: Sequence[str],
    load: Mapping[str, int],
    pairs: Mapping[tuple[str, str], int],
    seed: int,
) -> str:
    """Return the rater with the least to do; among these, the one who least met the item's other raters."""

    def cost(rater: str) -> tuple[int, int, float]:
        met = sum(pairs.get((min(rater, other), max(rater, other)), 0) for other in holders)
        return load.get(rater, 0), met, rng_for(seed, "annotate-assign", item, rater).random()

    return min((rater for rater in raters if rater not in holders), key=cost)


def _in_order(given: Mapping[str, bool], ordered: Sequence[str], turn: int, n_raters: int) -> list[Assignment]:
    """Return `given` with required items first, each block counterbalanced over the raters.

    Raters 2k and 2k+1 walk one rotation of the common order, forwards and backwards: over such a pair
    every item stands, on average, in the middle, so fatigue favours none. The next pair starts elsewhere.
    """
    start = turn // 2 * len(ordered) // max(1, (n_raters + 1) // 2)
    walk = [*ordered[start:], *ordered[:start]]
    if turn % 2:
        walk.reverse()
    listed = [Assignment(item, given[item]) for item in walk if item in given]
    return sorted(listed, key=lambda assignment: not assignment.required)
