"""Which runs a test does not separate from the best of our runs on the same questions: the mark ≈."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from aloe_bench.boards.published import Published
from aloe_bench.boards.tables import cell_marks, marks_of, protocol_label

Key = tuple[str, ...]
# (result, cell) of every number that is near the best one.
Near = frozenset[tuple[Key, str]]
NONE: Near = frozenset()


def key_of(result: Mapping[str, Any]) -> Key:
    """Return what no other result of a leaderboard has."""
    task = result["task"]
    return result["model"]["name"], protocol_label(result), task["name"], str(task["version"]), task["data_sha256"]


def near_best(published: Sequence[Published]) -> Near:
    """Return the numbers not separated from the best of their column, among complete runs on the same items."""
    groups: defaultdict[str, list[Published]] = defaultdict(list)
    for one in published:
        if not marks_of(one.result) and one.facts.measure:
            groups[one.result["outcomes"]["items"]].append(one)
    found: set[tuple[Key, str]] = set()
    for members in groups.values():
        for column in dict.fromkeys(name for one in members for name in one.result["cells"]):
            found_in = [(one, one.result["cells"][column]) for one in members if column in one.result["cells"]]
            ranked = [one for one, cell in found_in if cell["exact"] is not None and not cell_marks(cell)]
            found |= {(key_of(one.result), column) for one in _near(ranked, column)}
    return frozenset(found)


def _near(ranked: Sequence[Published], column: str) -> list[Published]:
    from aloe_bench.stats.family import holm
    from aloe_bench.stats.intervals import ALPHA

    if len(ranked) < 2:
        return []
    best = max(ranked, key=lambda one: Fraction(one.result["cells"][column]["exact"]))
    others = [one for one in ranked if one is not best]
    adjusted = holm([_p(best, other, column) for other in others])
    return [other for other, p in zip(others, adjusted, strict=True) if p is not None and p >= ALPHA]


def _p(first: Published, second: Published, column: str) -> float:
    """Return the p of no difference between two runs in one column, data sets counting the same."""
    from aloe_bench.heart.measure.answers import blocks
    from aloe_bench.heart.measure.effects import table_arms
    from aloe_bench.stats.paired import mean_difference

    one, two = (table_arms(blocks(each.records))[column] for each in (first, second))
    sets = [
        (a.right[a.there], b.right[b.there], block.clusters[a.there])
        for (block, a), (_, b) in zip(one, two, strict=True)
    ]
    return mean_difference(sets).p or 1.0
