"""Which numbers are made of a task's records: one line of a table for every task that has more than a mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aloe_bench.core import Cell, Record
from aloe_bench.leaderboard import heart
from aloe_bench.leaderboard.cells import cell

Cells = dict[str, Cell]
TaskCells = Callable[[Mapping[str, Any], Sequence[Record]], Cells]


def task_cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
    """Return the cells of a run by name; the first, `overall`, is the micro-average of all its records.

    `header` is that of the run log. A task named "heart-..." has the cells of "heart": those of Table 4, and no
    `overall`, since baseline and attacked rows have no mean of their own.
    """
    return (_of_task(TASK_CELLS, header) or by_tag())(header, records)


def task_sections(header: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """Return what a run's summary holds beside its cells, by name; empty for most tasks."""
    make = _of_task(TASK_SECTIONS, header)
    return make(records) if make else {}


def _of_task(table: Mapping[str, Any], header: Mapping[str, Any]) -> Any:
    name = str(header["task"]["name"])
    return table.get(name) or table.get(name.partition("-")[0])


def by_tag(tag: str = "", *values: str) -> TaskCells:
    """Return cells `overall` and one for each value of `tag`: those given, in any case, else those that occur."""

    def cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
        run = str(header["run_id"])
        made = {"overall": cell(records, run)}
        found = {record.tags.get(tag, "").strip().lower() for record in records} - {""}
        for value in values or sorted(found):
            made[value] = cell([r for r in records if r.tags.get(tag, "").strip().lower() == value], run)
        return made

    return cells


# Aloe-Vision, Table 10: Overall is the micro-average in all 18 rows.
_CAREQA = by_tag("category", "nursing", "medicine")

TASK_CELLS: dict[str, TaskCells] = {
    "careqa_vision_mcq": _CAREQA,
    "careqa_vision_open": _CAREQA,
    "multimedqa": by_tag("category"),
    "heart": heart.cells,
}
TASK_SECTIONS: dict[str, Callable[[Sequence[Record]], dict[str, Any]]] = {"heart": heart.section}
