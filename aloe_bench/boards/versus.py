"""Every two published runs on the same questions, item by item: what `compare --table --all-pairs` says, as a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

from aloe_bench.boards.published import Published
from aloe_bench.boards.shares import points_of, points_text, significant
from aloe_bench.boards.tables import (
    APART,
    FOOTNOTES,
    GENERATED,
    MARKS,
    cell_marks,
    escape,
    is_miniature,
    markdown,
    p_text,
    percent,
    run_name,
    words,
)
from aloe_bench.stats.intervals import ALPHA

Result = Mapping[str, Any]
TITLE = "Every two runs on the same questions"
TEXT = (
    "Change: second minus first, in points, on the same items, with its 95 % interval; p by Holm over all rows of the "
    "table; on how many items the second, and the first, scored higher; of how many. **Bold**: p (Holm) is under 0.05 "
    "and no mark stands behind the change. A cell in which an answer of either run has no score has no line. "
    "A number that is not bold does not show that two runs are alike: look where the interval ends. Marks "
    "behind a change are those of its cells."
)

COLUMNS = ("First", "Second", "Cell", "Change", "p (Holm)", "Second higher", "First higher", "n")
VERSUS_COLUMNS = (
    "first", "second", "task", "data_sha256", "cell", "first_points", "second_points", "n", "n_clusters", "gained",
    "lost", "value", "low", "high", "p", "test", "p_flip", "flip", "p_adjusted", "family", "family_low", "family_high",
    "detectable", "detectable_at", "warning", "first_result", "second_result",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Versus:
    """The comparison of two results in one cell, of a numbered family; `first` and `second` are places in the list."""

    family: int
    first: int
    second: int
    cell: str
    gained: int
    lost: int
    numbers: Mapping[str, Any]


def versus(published: Sequence[Published]) -> list[Versus]:
    """Return the paired differences of every two results on the same items, in each cell that has a column on a page.

    Those on the same items, with cells made alike, are one family of Holm's; miniature models are apart from others.
    """
    groups: defaultdict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for i, one in enumerate(published):
        groups[one.result["outcomes"]["items"], repr(one.facts), is_miniature(one.result)].append(i)
    families = [members for members in groups.values() if len(members) > 1]
    return [row for number, members in enumerate(families) for row in _family(number, published, members)]


def _family(number: int, published: Sequence[Published], members: Sequence[int]) -> list[Versus]:
    from aloe_bench.boards.columns import shown_cells
    from aloe_bench.boards.compare_table import change_of
    from aloe_bench.stats.paired import settle

    first = published[members[0]]
    cells = list(dict.fromkeys(cell for i in members for cell in published[i].result["cells"]))
    shown = shown_cells(first.result["task"].get("places", ()), cells, bool(first.facts.measure))
    columns = {i: published[i].columns for i in members}
    found = [
        (one, two, cell, change_of(columns[one].get(cell), columns[two].get(cell)))
        for one, two in combinations(members, 2)
        for cell in shown
        if cell in columns[one] and cell in columns[two]
    ]
    settle([numbers for *_, numbers in found])
    made = []
    for one, two, cell, numbers in found:
        changes = [b > a for (a, _), (b, _) in zip(columns[one][cell], columns[two][cell], strict=True)]
        losses = [b < a for (a, _), (b, _) in zip(columns[one][cell], columns[two][cell], strict=True)]
        gained, lost = (int(sum(each.sum() for each in of)) for of in (changes, losses))
        made.append(Versus(number, one, two, cell, gained, lost, numbers))
    return made


def versus_page(results: Sequence[Result], rows: Sequence[Versus]) -> str:
    """Return comparisons.md, of the runs that are not miniatures."""
    blocks = versus_blocks(results, [row for row in rows if not is_miniature(results[row.first])])
    none = "No two runs on the same questions yet that share a cell in which every answer has a score."
    return "\n\n".join([GENERATED, f"# {TITLE}", *(blocks[1:] or [none])]) + "\n"


def versus_blocks(results: Sequence[Result], rows: Sequence[Versus]) -> list[str]:
    """Return a title, what the tables say, and a table for each family of `rows`; empty without any."""
    families: defaultdict[int, list[Versus]] = defaultdict(list)
    for row in rows:
        families[row.family].append(row)
    if not families:
        return []
    blocks = [f"## {TITLE}", TEXT]
    for of in families.values():
        task = results[of[0].first]["task"]
        size = next((row.numbers["family"] for row in of), 0)
        blocks += [
            f"### {escape(str(task['name']))}, data {escape(str(task['data_sha256'])[:8])}, {size} tests",
            markdown([COLUMNS, *(_line(results, row) for row in of)], names=3),
        ]
    marks = [mark for mark in (*MARKS, APART) if any(mark in block for block in blocks[2:])]
    return [*blocks, *(FOOTNOTES[mark] for mark in marks)]


def _line(results: Sequence[Result], row: Versus) -> list[str]:
    numbers, sides = row.numbers, (results[row.first], results[row.second])
    found = {mark for side in sides for mark in cell_marks(side["cells"][row.cell])}
    line = [*map(run_name, sides), words(row.cell)]
    if numbers["value"] is None:
        return [*line, "–", "–", "–", "–", str(numbers["n"])]
    change = _points(numbers["value"]) + "".join(mark for mark in MARKS if mark in found)
    if (p := numbers["p_adjusted"]) is not None and p < ALPHA and not found:
        change = f"**{change}**"
    ends = ", ".join(_points(end) for end in numbers["interval"] or ())
    change += f"<br><small>{f'[{ends}]' if ends else 'no interval'}</small>"
    return [*line, change, p_text(numbers["p_adjusted"]), str(row.gained), str(row.lost), str(numbers["n"])]


def _points(value: float) -> str:
    shown = percent(Fraction(value), "0.1")
    return f"{shown:+}" if shown else "0.0"


def versus_facts(results: Sequence[Result], paths: Sequence[str], row: Versus) -> dict[str, Any]:
    """Return one comparison for machines, with k/n of both sides where the cell is a plain share."""
    sides = {"first": row.first, "second": row.second}
    cells = {side: points_of(results[i], row.cell) for side, i in sides.items()}
    task = results[row.first]["task"]
    low, high = row.numbers["interval"] or (None, None)
    family_low, family_high = row.numbers.get("interval_family") or (None, None)
    facts = {
        **row.numbers,
        **{name: significant(row.numbers[name]) for name in ("value", "p", "p_adjusted")},
        **{name: significant(row.numbers.get(name)) for name in ("p_flip", "detectable", "detectable_at")},
        **{side: results[i]["model"]["name"] for side, i in sides.items()},
        **{f"{side}_points": None if k is None else points_text(k) for side, k in cells.items()},
        **{f"{side}_result": paths[i] for side, i in sides.items()},
        "task": task["name"],
        "data_sha256": task["data_sha256"],
        "cell": row.cell,
        "gained": row.gained,
        "lost": row.lost,
        "low": significant(low),
        "high": significant(high),
        "family_low": significant(family_low),
        "family_high": significant(family_high),
    }
    return {column: facts.get(column) for column in VERSUS_COLUMNS}
