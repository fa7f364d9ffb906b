"""From the records of a run to the numbers that are published: cells, as the task's facts ask, and a jury's counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from statistics import median
from types import MappingProxyType
from typing import Any, TypeVar, cast

from aloe_bench import registry
from aloe_bench.answers.outcome import outcome_of
from aloe_bench.checked import checked
from aloe_bench.core import Cell, Record, Sample, Score
from aloe_bench.errors import DataError, UsageError
from aloe_bench.evaluation.outcomes import as_if, counts, unread_by
from aloe_bench.facts import CellSpec, Facts, facts_of
from aloe_bench.stats.intervals import (
    DataSetShare,
    Interval,
    clustered_mean,
    clustered_share,
    macro_interval,
    numbered,
    shared_correlation,
    weighted_mean,
)

K = TypeVar("K")
Cells = dict[str, Cell]
# Questions that count as one, right if all are, and what this unit weighs.
Units = Sequence[tuple[Sequence[Record], Fraction]]
Rule = Callable[[Sequence[Record]], Units]
NO_RULES: Mapping[str, Rule] = MappingProxyType({})
# The tags of every row of an attacked table.
ATTACKED = frozenset({"task", "dataset", "attack", "variant", "n_options"})


def exact_mean(records: Sequence[Record]) -> Fraction | None:
    """Return the mean score without rounding; None without records or if one was not measured."""
    values = [record.score.value for record in records if record.score.value is not None]
    if not values or len(values) < len(records):
        return None
    return sum(map(Fraction, values), Fraction(0)) / len(values)


def unjudged(records: Sequence[Record]) -> int:
    """Return how many records have no score although nothing failed."""
    return sum(record.score.value is None and outcome_of(record) != "failed" for record in records)


def split_share(records: Sequence[Record]) -> float | None:
    """Return the share of the jury's grades without a majority; None if no jury has graded one."""
    graded = [r.score.rule for r in records if r.score.verdicts and r.score.value is not None]
    return graded.count("jury: split") / len(graded) if graded else None


def cell(records: Sequence[Record], run: str, within: float | None = None) -> Cell:
    """Return the mean score with its interval over clusters, in which items go together by `within` if that is known.

    The value is None as soon as one score is: the rest must not pose as the whole.
    """
    values = [record.score.value for record in records if record.score.value is not None]
    clusters = [record.cluster for record in records]
    value, interval = None, None
    if values and len(values) == len(records):
        value, interval = clustered_mean(values, clusters, within)
    exact, found = exact_mean(records), counts(records)
    return Cell(
        value=value,
        n=len(records),
        n_clusters=len(set(clusters)),
        interval=interval,
        failed=found["failed"],
        unread=found["unread"],
        run=run,
        exact=None if exact is None else f"{exact.numerator}/{exact.denominator}",
        unjudged=unjudged(records),
        split=split_share(records),
        answered=found["answered"],
        refused=found["refused"],
        filtered=found["filtered"],
        cut=found["cut"],
        unread_by=unread_by(records),
    )


def macro_cell(strata: Sequence[Sequence[Record]], run: str, within: float | None = None) -> Cell:
    """Return the mean over strata of their mean scores, each stratum counting alike; else as `cell`."""
    micro = cell([record for members in strata for record in members], run)
    if micro.value is None:
        return micro
    parts = [cell(members, run) for members in strata]
    exact = sum((Fraction(part.exact or 0) for part in parts), Fraction(0)) / len(parts)
    interval = _mean_interval(strata, within)
    return replace(micro, value=float(exact), interval=interval, exact=f"{exact.numerator}/{exact.denominator}")


def _mean_interval(strata: Sequence[Sequence[Record]], within: float | None) -> Interval | None:
    """Return the interval of the mean over strata, all of whose records have a score; None if one is one cluster."""
    shares = [
        clustered_share(
            [r.score.value or 0.0 for r in members], [1.0] * len(members), [r.cluster for r in members], within
        )
        for members in strata
    ]
    if any(share.interval is None for share in shares):
        return None
    return macro_interval([DataSetShare(s.value or 0.0, s.n_effective, s.freedom, 1 / len(shares)) for s in shares])


def weighted_cell(
    records: Sequence[Record], weights: Sequence[Fraction], run: str, within: float | None = None
) -> Cell:
    """Return the mean score by `weights`, one per record; else as `cell`."""
    plain = cell(records, run, within)
    if plain.value is None or len(set(weights)) == 1:
        return plain
    values = [Fraction(record.score.value or 0) for record in records]
    exact = sum((w * value for w, value in zip(weights, values, strict=True)), Fraction(0)) / sum(weights, Fraction(0))
    clusters = [record.cluster for record in records]
    value, interval = weighted_mean(list(map(float, values)), list(map(float, weights)), clusters)
    return replace(plain, value=value, interval=interval, exact=f"{exact.numerator}/{exact.denominator}")


def all_right(records: Sequence[Record]) -> Record:
    """Return a record that stands for several questions: right if all are, without a score if one has none.

    Its outcome is that of the first which is not answered, failed ones before all others.
    """
    failed = [record for record in records if record.score.value is None]
    first = min(records, key=lambda record: (record.score.value is not None, outcome_of(record) == "answered"))
    values = [record.score.value for record in records if record.score.value is not None]
    outcome = outcome_of(first)
    rule = f"all of {len(records)}" if outcome == "answered" and not failed else first.score.rule
    return replace(first, score=Score(None if failed else min(values), None, rule, outcome=outcome))


@dataclass(frozen=True, slots=True)
class Measure:
    """What stands for a task's cells where these are not means of its records.

    `section` goes beside them; it is given the records, and what was asked beside them of the drawn cues. `needs` are
    the tags that every record must have.
    """

    cells: Callable[[Mapping[str, Any], Sequence[Record]], Cells]
    section: Callable[[Sequence[Record], Sequence[Record]], dict[str, Any]]
    needs: frozenset[str]


def header_facts(header: Mapping[str, Any], records: Sequence[Record] = ()) -> Facts:
    """Return what the task of a run said of itself; raises DataError where the header has that wrong.

    A run of before headers held it has the facts of the shipped task of its name; where its records are rows of an
    attacked table, those of such a table.
    """
    task = header["task"]
    if isinstance(task.get("facts"), Facts):
        return cast("Facts", task["facts"])
    if "facts" in task:
        return checked(task["facts"], Facts, f"run {header['run_id']}: its header")
    if is_attacked(records):
        return Facts(measure="heart")
    return facts_of(registry.task(task["name"])) if task["name"] in registry.TASKS else Facts()


def is_attacked(records: Sequence[Record]) -> bool:
    """Return whether these are rows of an attacked table."""
    return bool(records) and all(record.tags.keys() >= ATTACKED for record in records)


def task_cells(header: Mapping[str, Any], records: Sequence[Record], rules: Mapping[str, Rule] = NO_RULES) -> Cells:
    """Return the cells of a run by name, as its task asks for them; `rules` take the place of those that ship."""
    facts = header_facts(header, records)
    if facts.measure:
        return _measure(facts.measure).cells(header, records)
    run = str(header["run_id"])
    units = cell_units(header, records, rules)
    within = _going_together(units, records)
    made = {name: one.cell(run, within[name]) for name, one in units.items()}
    open_ones = [name for name, one in made.items() if one.filtered + one.cut + one.failed and not one.unjudged]
    if open_ones:
        ends = [cell_units(header, records, rules, lost) for lost in (0.0, 1.0)]
        for name in open_ones:
            low, high = (float(Fraction(end[name].cell(run).exact or 0)) for end in ends)
            made[name] = replace(made[name], bounds=(low, high))
    return made


def cell_units(
    header: Mapping[str, Any],
    records: Sequence[Record],
    rules: Mapping[str, Rule] = NO_RULES,
    lost: float | None = None,
) -> dict[str, CellUnits]:
    """Return what each cell of a run is the mean of, where its facts name cells; raises DataError for a name twice.

    With `lost` this is the score of all that was filtered, cut or failed.
    """
    made: dict[str, CellUnits] = {}
    for spec in header_facts(header, records).cells:
        for name, found in _cells(spec, records, rules, lost):
            if name in made:
                raise DataError(f"run {header['run_id']}: two cells are called {name!r}; correct the task's facts.")
            made[name] = found
    return made


def task_sections(
    header: Mapping[str, Any], records: Sequence[Record], beside: Sequence[Record] = ()
) -> dict[str, Any]:
    """Return what a run's summary holds beside its cells, by name; empty for most tasks.

    `beside` are records of what was asked beside the samples, of which the readings of drawn cues count here.
    """
    facts = header_facts(header, records)
    return _measure(facts.measure).section(records, readings(beside)) if facts.measure else {}


def readings(beside: Sequence[Record]) -> list[Record]:
    """Return those of the records beside a run that say whether a drawn cue was read."""
    return [record for record in beside if record.arm == "read"]


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
    found: Rule = registry.shipped("rule of cells", {**registry.CELL_RULES, **registry.REGRADES}, name)
    return found


def chosen_by(spec: CellSpec, records: Sequence[Record]) -> list[Record]:
    """Return the records that a cell is made of: those with the tags of its `only`, in any case of letters."""
    wanted = {tag: value.lower() for tag, value in spec.only.items()}
    return [r for r in records if all(tag_of(t, r).strip().lower() == value for t, value in wanted.items())]


@dataclass(frozen=True, slots=True)
class CellUnits:
    """What a cell is the mean of: records, each with its weight; of a macro cell in strata that count alike."""

    strata: Sequence[Sequence[tuple[Record, Fraction]]]
    is_macro: bool = False

    def cell(self, run: str, within: float | None = None) -> Cell:
        """Return the cell; items of one cluster go together by `within` if that is known."""
        if self.is_macro:
            return macro_cell([[record for record, _ in stratum] for stratum in self.strata], run, within)
        return weighted_cell([r for r, _ in self.strata[0]], [weight for _, weight in self.strata[0]], run, within)


def _going_together(cells: Mapping[str, CellUnits], records: Sequence[Record]) -> dict[str, float | None]:
    """Return how scores go together in the clusters of each cell: of a part as in all parts of the task together.

    Each item counts in the smallest part that holds it. None where that is not known, of a cell of all items, and of
    one whose scores are not those of `records`: pairs go together in other ways than their questions.
    """
    own = set(map(id, records))
    plain = {name for name, one in cells.items() if all(id(r) in own for stratum in one.strata for r, _ in stratum)}
    strata = sorted((stratum for name in cells if name in plain for stratum in cells[name].strata), key=len)
    part_of = {r.sample_id: i for i, stratum in reversed([*enumerate(strata)]) for r, _ in stratum}
    scored = {r.sample_id: r for stratum in strata for r, _ in stratum if r.score.value is not None}
    whole = [*scored.values()]
    codes = dict(zip(scored, numbered([r.cluster for r in whole]), strict=True)) if whole else {}

    def column(members: Sequence[Record]) -> tuple[list[float], list[int]]:
        return [r.score.value or 0.0 for r in members], [codes[r.sample_id] for r in members]

    parts = grouped(whole, lambda record: part_of[record.sample_id]).values()
    known = shared_correlation([column(members) for members in parts], column(whole)) if len(parts) > 1 else None
    parted = {name for name in plain if max(map(len, cells[name].strata), default=0) < len(part_of)}
    return {name: known if name in parted else None for name in cells}


def _cells(
    spec: CellSpec, records: Sequence[Record], rules: Mapping[str, Rule], lost: float | None
) -> Iterator[tuple[str, CellUnits]]:
    """Yield what the cells of one spec are made of, with their names."""
    chosen = chosen_by(spec, records)
    if spec.rule in rules:
        regraded = [record for unit, _ in rules[spec.rule](chosen) for record in unit]
        chosen, spec = regraded, replace(spec, rule="")
    by = partial(tag_of, spec.over)
    if spec.average == "each" and spec.values:
        for value in spec.values:
            members = [record for record in chosen if by(record).strip().lower() == value.lower()]
            yield spec.name.replace("{}", value), CellUnits([_units(spec, members, lost)])
    elif spec.average == "each":
        for value, members in sorted(grouped(chosen, by).items()):
            yield spec.name.replace("{}", value or "-"), CellUnits([_units(spec, members, lost)])
    elif spec.average == "micro":
        yield spec.name, CellUnits([_units(spec, chosen, lost)])
    elif all(map(by, chosen)):
        units = [record for record, _ in _units(spec, chosen, lost)]
        strata = [[(record, Fraction(1)) for record in members] for members in grouped(units, by).values()]
        yield spec.name, CellUnits(strata, is_macro=True)


def _units(spec: CellSpec, records: Sequence[Record], lost: float | None) -> list[tuple[Record, Fraction]]:
    """Return what is averaged: the records, or one for each unit of them, each with its weight.

    With `lost` this is the score of what was filtered, cut or failed.
    """
    if spec.rule:
        return [(all_right(_as_if(unit, lost)), weight) for unit, weight in _rule(spec.rule)(records)]
    records = _as_if(records, lost)
    if spec.unit:
        records = list(map(all_right, grouped(records, lambda r: tuple(tag_of(t, r) for t in spec.unit)).values()))
    return [(record, _weight(spec, record)) for record in records]


def _as_if(records: Sequence[Record], lost: float | None) -> Sequence[Record]:
    return records if lost is None else [as_if(record, lost) for record in records]


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


@dataclass(frozen=True, slots=True)
class Vote:
    """The jury's grade, None if it is open; a split one lacks a majority.

    `bounds` are the grades that would stand if every missing judge said 0, and 1.
    """

    value: float | None
    split: bool
    bounds: tuple[float, float]


def vote(grades: Sequence[float | None]) -> Vote:
    """Return the median of an odd number of grades, where None is a judge that is missing.

    With judges missing there is a value only if it stands whatever they would have said: of three, two that are
    equal. The median is the majority wherever there is one; of three that all differ it is 0.5, a case that the
    paper leaves open.
    """
    given = [grade for grade in grades if grade is not None]
    missing = len(grades) - len(given)
    low, high = (float(median([*given, *[worst] * missing])) for worst in (0.0, 1.0))
    value = low if low == high else None
    split = value is not None and given.count(value) <= len(grades) // 2
    return Vote(value, split, (low, high))


def tally(records: Sequence[Record]) -> dict[str, Any] | None:
    """Return what the jury's grades look like, in counts and means; None if no jury has sat.

    `bounds` are the mean scores that would stand if every missing judge had said 0, and 1.
    """
    judged = [record for record in records if record.score.verdicts]
    if not judged:
        return None
    names = sorted({verdict.judge for record in judged for verdict in record.score.verdicts})
    votes = [vote([verdict.grade for verdict in record.score.verdicts]) for record in judged]
    rules = [record.score.rule for record in judged]
    return {
        "n": len(judged),
        "missing": rules.count("jury: missing"),
        "split": rules.count("jury: split"),
        "by_quorum": sum(
            record.score.value is not None and any(verdict.grade is None for verdict in record.score.verdicts)
            for record in judged
        ),
        "bounds": [sum(vote.bounds[end] for vote in votes) / len(votes) for end in (0, 1)],
        "judges": {name: _judge_tally(name, judged) for name in names},
    }


def _judge_tally(name: str, judged: Sequence[Record]) -> dict[str, Any]:
    grades = [verdict.grade for record in judged for verdict in record.score.verdicts if verdict.judge == name]
    given = [grade for grade in grades if grade is not None]
    return {
        "graded": len(given),
        "missing": len(grades) - len(given),
        "mean": sum(given) / len(given) if given else None,
    }
