"""Several models on several tasks against one of them, as the paper's Tables 7 to 9 lay them out, in one family."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from aloe_bench.boards.columns import CellColumn, columns_of, shown_cells
from aloe_bench.boards.compare import Side, differences, finished, refuse_other_questions
from aloe_bench.boards.tables import protocol_label
from aloe_bench.core import Cell
from aloe_bench.errors import UsageError
from aloe_bench.evaluation.cells import Cells, header_facts, task_cells
from aloe_bench.stats.paired import mean_difference, numbers_of, settle


def compare_table(runs: Sequence[Path], *, reference: str | None = None, all_pairs: bool = False) -> dict[str, Any]:
    """Return the scores of every model in every column of its tasks, and their paired differences, one Holm family.

    Each model against `reference`, which is that of the first run unless named; with `all_pairs` also every other two.
    Raises DataError for an unfinished run, RunMismatchError for other questions, and UsageError for a model without
    the reference's tasks, or with one twice.
    """
    sides = [finished(folder) for folder in runs]
    table: dict[str, dict[str, Side]] = {}
    for side in sides:
        model, task = _name(side), str(side.header["task"]["name"])
        if table.setdefault(model, {}).setdefault(task, side) is not side:
            raise UsageError(f"{side.place}: {model} on {task} is given twice; give one run of a model and task.")
    reference = reference or _name(sides[0])
    if reference not in table:
        raise UsageError(f"--reference {reference!r}: no run is of it. Models here: {', '.join(table)}.")
    if len(table) < 2:
        raise UsageError(f"All runs are of {reference}; expected those of two models or more.")
    tasks = list(table[reference])
    for model, of in table.items():
        if unknown := sorted(of.keys() ^ table[reference].keys()):
            raise UsageError(
                f"{unknown[0]}: of {model} and {reference}, one has a run of it; give it of all, or of none."
            )
        for task in tasks:
            refuse_other_questions(table[reference][task], of[task])
    values = {model: {task: _columns(side) for task, side in of.items()} for model, of in table.items()}
    cells = {model: {task: task_cells(s.header, s.records) for task, s in of.items()} for model, of in table.items()}
    columns = [(task, cell) for task in tasks for cell in _shown(table[reference][task], cells[reference][task])]
    pairs = [(reference, model) for model in table if model != reference]
    if all_pairs:
        pairs += list(combinations([model for model in table if model != reference], 2))
    rows = [
        {"first": one, "second": two, "task": task, "cell": cell,
         **change_of(values[one][task].get(cell), values[two][task].get(cell))}
        for one, two in pairs
        for task, cell in columns
    ]  # fmt: skip
    settle(rows)
    return {
        "reference": reference,
        "columns": [{"task": task, "cell": cell} for task, cell in columns],
        "models": [
            {"model": model, "runs": {task: side.header["run_id"] for task, side in of.items()},
             "scores": [_score(cells[model][task].get(cell)) for task, cell in columns]}
            for model, of in table.items()
        ],
        "rows": rows,
        "differ_in": sorted({
            f"{task}: {part}" for of in table.values() for task in tasks
            for part in differences(table[reference][task].header, of[task].header)
        }),
    }  # fmt: skip


def _name(side: Side) -> str:
    return f"{side.header['model']['name']}{protocol_label(side.header)}"


def _columns(side: Side) -> dict[str, CellColumn]:
    return columns_of(side.header, side.records)


def _shown(side: Side, cells: Cells) -> list[str]:
    facts = header_facts(side.header, side.records)
    return shown_cells(facts.places, list(cells), bool(facts.measure))


def _score(found: Cell | None) -> dict[str, Any]:
    if found is None:
        return {"value": None, "interval": None, "n": 0, "failed": 0}
    return {"value": found.value, "interval": found.interval, "n": found.n, "failed": found.failed}


def change_of(one: CellColumn | None, two: CellColumn | None) -> dict[str, Any]:
    """Return the second minus the first; without a value where one of them is not measured."""
    if one is None or two is None:
        return {"value": None, "interval": None, "n": 0, "n_clusters": 0, "p": None, "test": None,
                "difference": mean_difference([])}  # fmt: skip
    return numbers_of(mean_difference([(b, a, clusters) for (a, clusters), (b, _) in zip(one, two, strict=True)]))
