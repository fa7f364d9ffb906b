"""Which numbers are made of a task's records: what the task says in its facts, which the run's header holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, TypeVar

from aloe_bench import registry
from aloe_bench.checked import checked
from aloe_bench.core import Cell, Record, Sample
from aloe_bench.errors import DataError, UsageError
from aloe_bench.evaluation.cells import all_right, macro_cell, weighted_cell
from aloe_bench.facts import CellSpec, Facts, facts_of

K = TypeVar("K")
Cells = dict[str, Cell]
# Questions that count as one, right if all are, and what this unit weighs.
Units = Sequence[tuple[Sequence[Record], Fraction]]
Rule = Callable[[Sequence[Record]], Units]
# The tags of every row of an attacked table.
ATTACKED = frozenset({"task", "dataset", "attack", "variant", "n_options"})


@dataclass(frozen=True, slots=True)
class Measure:
    """What stands for a task's cells where these are no means of its records; `section` goes beside them.

    `needs` are the tags that every record must have.
    """

    cells: Callable[[Mapping[str, Any], Sequence[Record]], Cells]
    section: Callable[[Sequence[Record]], dict[str, Any]]
    needs: frozenset[str]


def header_facts(header: Mapping[str, Any], records: Sequence[Record] = ()) -> Facts:
    """Return what the task of a run said of itself; raises DataError where the header has that wrong.

    A run of before headers held it has the facts of the shipped task of its name; where its records are rows of an
    attacked table, those of such a table.
    """
    task = header["task"]
    if "facts" in task:
        return checked(task["facts"], Facts, f"run {header['run_id']}: its header")
    if is_attacked(records):
        return Facts(measure="heart")
    return facts_of(registry.task(task["name"])) if task["name"] in registry.TASKS else Facts()


def is_attacked(records: Sequence[Record]) -> bool:
    """Return whether these are rows of an attacked table."""
    return bool(records) and all(record.tags.keys() >= ATTACKED for record in records)


def task_cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
    """Return the cells of a run by name, as its task asks for them."""
    facts, made = header_facts(header, records), Cells()
    if facts.measure:
        return _measure(facts.measure).cells(header, records)
    for spec in facts.cells:
        for name, found in _cells(spec, records, str(header["run_id"])):
            if name in made:
                raise DataError(f"run {header['run_id']}: two cells are called {name!r}; correct the task's facts.")
            made[name] = found
    return made


def task_sections(header: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """Return what a run's summary holds beside its cells, by name; empty for most tasks."""
    facts = header_facts(header, records)
    return _measure(facts.measure).section(records) if facts.measure else {}


def refuse_unmeasurable(name: str, facts: Facts, samples: Sequence[Sample]) -> None:
    """Raise UsageError, before anything is asked, if the facts of task `name` name what its samples do not have."""
    if facts.measure:
        needed, asked_by = set(_measure(facts.measure).needs), f"measure {facts.measure!r}"
        lacking = next((sample for sample in samples if not needed <= sample.tags.keys()), None)
        if lacking is not None:
            tags = ", ".join(sorted(needed - lacking.tags.keys()))
            raise UsageError(f"{name}: {asked_by} needs the tags {tags}, which {lacking.id} does not have.")
    for spec in () if facts.measure else facts.cells:
        if spec.rule:
            _rule(spec.rule)
        known = {tag for sample in samples for tag in sample.tags}
        if samples and (unknown := sorted(spec.tags - known)):
            raise UsageError(
                f"{name}: cell {spec.name!r} is made over tag {unknown[0]!r}, which no sample has. "
                f"Tags here: {', '.join(sorted(known)) or 'none'}."
            )
        for sample in samples:
            _weight(spec, sample)


def _measure(name: str) -> Measure:
    found: Measure = registry.shipped("measure", registry.MEASURES, name)
    return found


def _rule(name: str) -> Rule:
    found: Rule = registry.shipped("rule of cells", registry.CELL_RULES, name)
    return found


def _cells(spec: CellSpec, records: Sequence[Record], run: str) -> Iterator[tuple[str, Cell]]:
    """Yield the cells of one spec with their names."""
    wanted = {tag: value.lower() for tag, value in spec.only.items()}
    chosen = [r for r in records if all(tag_of(t, r).strip().lower() == value for t, value in wanted.items())]
    by = partial(tag_of, spec.over)
    if spec.average == "each" and spec.values:
        for value in spec.values:
            members = [record for record in chosen if by(record).strip().lower() == value.lower()]
            yield spec.name.replace("{}", value), _cell(spec, members, run)
    elif spec.average == "each":
        for value, members in sorted(grouped(chosen, by).items()):
            yield spec.name.replace("{}", value or "-"), _cell(spec, members, run)
    elif spec.average == "micro":
        yield spec.name, _cell(spec, chosen, run)
    elif all(map(by, chosen)):
        yield spec.name, macro_cell([record for record, _ in _units(spec, chosen)], run, by)


def _cell(spec: CellSpec, records: Sequence[Record], run: str) -> Cell:
    units = _units(spec, records)
    return weighted_cell([record for record, _ in units], [weight for _, weight in units], run)


def _units(spec: CellSpec, records: Sequence[Record]) -> list[tuple[Record, Fraction]]:
    """Return what is averaged: the records, or one for each unit of them, each with its weight."""
    if spec.rule:
        return [(all_right(unit), weight) for unit, weight in _rule(spec.rule)(records)]
    if spec.unit:
        records = list(map(all_right, grouped(records, lambda r: tuple(tag_of(t, r) for t in spec.unit)).values()))
    return [(record, _weight(spec, record)) for record in records]


def _weight(spec: CellSpec, record: Record | Sample) -> Fraction:
    if not spec.weight:
        return Fraction(1)
    text = tag_of(spec.weight, record)
    try:
        weight = Fraction(text)
    except (ValueError, ZeroDivisionError):
        weight = Fraction(0)
    if weight <= 0:
        name = record.id if isinstance(record, Sample) else record.sample_id
        raise DataError(f"{name}: tag {spec.weight!r} is {text!r}; expected a weight, a number above 0.")
    return weight


def tag_of(tag: str, record: Record | Sample) -> str:
    """Return a tag's value, "" where there is none; "cluster" is the record's own."""
    return record.cluster if tag == "cluster" else record.tags.get(tag, "")


def grouped(records: Sequence[Record], key: Callable[[Record], K]) -> dict[K, list[Record]]:
    """Return the records by `key`, in order of the first of each."""
    groups: dict[K, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups
