"""A result with its items: what is published of one run, and every number computed from it again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aloe_bench import registry
from aloe_bench.boards.columns import CellColumn, columns_of
from aloe_bench.boards.items import Items, read_items
from aloe_bench.boards.letters import Outcomes, check_outcomes, labels_of, records_of, rules_of
from aloe_bench.boards.results import read_result
from aloe_bench.core import Record
from aloe_bench.errors import DataError
from aloe_bench.evaluation.cells import ATTACKED, task_cells, task_sections
from aloe_bench.evaluation.corrected import corrected_cells
from aloe_bench.evaluation.reliance import controls_section
from aloe_bench.evaluation.repeats import repeats_section
from aloe_bench.facts import Facts

# What may stand in a result beside its cells, and follows from its letters.
SECTIONS = ("heart", "controls", "repeats")


def first_of(records: Sequence[Record]) -> tuple[list[Record], list[Record], list[Record]]:
    """Return the records that cells are made of, those of controls, and those of further replies."""
    controls, repeats = [r for r in records if r.arm], [r for r in records if r.repeat]
    return [r for r in records if not r.arm and not r.repeat], controls, repeats


def numbers_of(run: str, task: str, facts: Facts, items: Items, outcomes: Outcomes) -> dict[str, Any]:
    """Return what a result says in numbers, from letters alone: its cells, and the sections of what stands beside them.

    These are of an attacked table, of image controls and of repeats.
    """
    records, controls, repeats = first_of(records_of(items, outcomes))
    header = {"run_id": run, "task": {"name": task, "facts": facts}}
    rules = rules_of(items, outcomes)
    cells = {name: asdict(cell) for name, cell in task_cells(header, records, rules).items()}
    for name, found in corrected_cells(header, records, labels_of(items, outcomes), rules).items():
        cells[name]["corrected"] = found
    beside = controls_section(records, controls) | repeats_section(records, repeats)
    return {"cells": cells} | task_sections(header, records, controls) | beside


def numbers_in(result: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a result must be `numbers`, also the sections that these have not."""
    return {key: result[key] for key in numbers.keys() | {*SECTIONS} if key in result}


@dataclass(frozen=True)
class Published:
    """One result as it was read, and the items that its letters stand for."""

    result: Mapping[str, Any]
    items: Items

    @property
    def facts(self) -> Facts:
        """What the task's numbers follow from."""
        return Facts(**self.result["task"]["facts"])

    @property
    def header(self) -> dict[str, Any]:
        """What of the run's header its numbers and comparisons need."""
        task = {**self.result["task"], "facts": self.facts}
        return {**self.result, "run_id": self.result["run"], "task": task}

    @cached_property
    def records(self) -> list[Record]:
        """The run's records, without texts, controls and repeats."""
        return self.parts[0]

    @cached_property
    def parts(self) -> tuple[list[Record], list[Record], list[Record]]:
        """The records of the run, of its controls and of its repeats, without texts."""
        return first_of(records_of(self.items, self.result["outcomes"]))

    @cached_property
    def columns(self) -> dict[str, CellColumn]:
        """The cells as columns of numbers, item by item; those that are not measured are absent."""
        return columns_of(self.header, self.records, rules_of(self.items, self.result["outcomes"]))

    def numbers(self) -> dict[str, Any]:
        """Return the result's numbers, computed again."""
        task = self.result["task"]["name"]
        return numbers_of(self.result["run"], task, self.facts, self.items, self.result["outcomes"])

    def check(self, path: Path) -> None:
        """Raise DataError, naming the place, where the result at `path` is not of these items."""
        task = self.result["task"]
        for name in ("name", "version", "data_sha256"):
            other = getattr(self.items, "task" if name == "name" else name)
            if task[name] != other:
                raise DataError(f"{path}: its task's {name} is {task[name]!r}, and its items are of {other!r}.")
        check_outcomes(self.result["outcomes"], self.items, str(path))
        measure = self.facts.measure
        if measure and measure not in registry.MEASURES:
            raise DataError(f"{path}: task.facts.measure is {measure!r}, none of {', '.join(registry.MEASURES)}.")
        if measure and (missing := ATTACKED - self.items.tags.keys()):
            raise DataError(f"{path}: its items lack the tag {min(missing)!r} of an attacked table.")


def read_one(path: Path, known: dict[Path, Items] | None = None) -> Published:
    """Return the result at `path`, results/<model>/<task>.json of a leaderboard's folder, with its items.

    `known` holds the items that were read before. Raises DataError, naming the place, for what is broken.
    """
    result, known = read_result(path), {} if known is None else known
    name = result["outcomes"]["items"]
    place = path.resolve().parents[2] / "items" / f"{name}.json"
    if not re.fullmatch("[0-9a-f]{64}", name) or not place.is_file():
        raise DataError(f"{path}: outcomes.items is {name!r}, and there are no items of that name. Build it again.")
    if place not in known:
        known[place] = read_items(place)
    found = Published(result, known[place])
    found.check(path)
    return found


def read_all(folder: Path) -> dict[Path, Published]:
    """Return the results below a leaderboard's folder by path; raises DataError, naming the place, for a broken one."""
    known: dict[Path, Items] = {}
    return {path: read_one(path, known) for path in sorted((folder / "results").glob("*/*.json"))}
