"""The mark ≈: runs that are not separated from the best of our runs on the same questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from aloe_bench.boards.published import Published
from aloe_bench.boards.tables import cell_marks, marks_of


def near_best(published: Sequence[Published]) -> list[frozenset[str]]:
    """Return of each result the cells that are in the confidence set for the best of their column, and not the best.

    Ranked together are complete runs on the same questions, and, but for attacked tables, of one size group.
    """
    groups: defaultdict[tuple[str, str | None], list[int]] = defaultdict(list)
    for i, one in enumerate(published):
        if not marks_of(one.result):
            group = None if one.facts.measure else one.result["model"]["size_group"]
            groups[one.items.questions, group].append(i)
    found = [frozenset[str]() for _ in published]
    for members in groups.values():
        if len(members) > 1:
            for i, cells in zip(members, _near([published[i] for i in members]), strict=True):
                found[i] = cells
    return found


def _near(members: Sequence[Published]) -> list[frozenset[str]]:
    from fractions import Fraction

    from aloe_bench.boards.columns import shown_cells
    from aloe_bench.stats.best import set_of_best

    first = members[0]
    places, cells = first.result["task"].get("places", ()), list(first.result["cells"])
    columns = [one.columns for one in members]
    found: list[set[str]] = [set() for _ in members]
    for cell in shown_cells(places, cells, bool(first.facts.measure)):
        ranked = [i for i, of in enumerate(columns) if cell in of and not cell_marks(members[i].result["cells"][cell])]
        if len(ranked) < 2:
            continue
        exact = [Fraction(members[i].result["cells"][cell]["exact"]) for i in ranked]
        best = set_of_best([columns[i][cell] for i in ranked])
        for i, value, inside in zip(ranked, exact, best, strict=True):
            if inside and value < max(exact):
                found[i].add(cell)
    return [frozenset(cells) for cells in found]
