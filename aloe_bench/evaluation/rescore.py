"""The stored replies of a run read again under other parsers: what each would have scored, and by which rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from aloe_bench import registry
from aloe_bench.answers.outcome import outcome_of
from aloe_bench.answers.score import grade, shipped_parser
from aloe_bench.core import Record, Sample
from aloe_bench.errors import AloeError, DataError, UsageError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import task_cells
from aloe_bench.evaluation.plan import Settings, load_plan
from aloe_bench.joins import join


@dataclass(frozen=True, slots=True)
class RuleChange:
    """The items that one rule read in the run and one reads now: how many gained and lost, and the points of it."""

    was: str
    now: str
    gained: int
    lost: int
    points: Fraction


@dataclass(frozen=True, slots=True)
class Rescored:
    """One run under one parser; `score` is the mean over the items, `points` what it differs by from the run's own.

    `moved` adds up to `points`. `kept` counts the items of kinds that the parser does not read, whose score stays.
    `cells` are the run's published numbers under this parser, empty while items are missing.
    """

    parser: str
    says: str
    score: Fraction
    outcomes: Mapping[str, int]
    points: Fraction
    moved: tuple[RuleChange, ...]
    kept: Mapping[str, int]
    cells: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class RescoredRun:
    """A run as it stands and under each parser; of `expected` items `n` have a score.

    `unscored` are the ids of those whose calls failed or that wait for a jury.
    """

    header: Mapping[str, Any]
    n: int
    expected: int
    unscored: tuple[str, ...]
    stored: Rescored
    parsers: tuple[Rescored, ...]


def rescore(folder: Path, parsers: Sequence[str] | None = None, data_root: Path | None = None) -> RescoredRun:
    """Return a run's score under each of `parsers`, by default all that read its kinds; nothing is asked or written.

    Open answers keep the grade of their jury. Logs of schema 1 hold no options: these are read from `data_root` (by
    default where the run had its data), whose rows must be those of the run.
    Raises UsageError for a parser that reads nothing of the run, DataError for a run without replies to read.
    """
    header, records = runlog.read_run(folder)
    if header["protocol"] == "logprob":
        raise DataError(f"{folder}: options were scored by log-probability; there is no reply to read again.")
    answered = [r for r in with_options(folder, header, records, data_root) if r.score.value is not None]
    if not answered:
        raise DataError(f"{folder}: no item has a score yet; resume the run, or judge its open answers, then rescore.")
    complete = len(answered) == header["n"]
    stored = _row(header, answered, answered, str(header["parser"]), "as stored in the run", complete)
    kinds = {record.kind for record in answered}
    if parsers is None:
        parsers = [name for name in registry.PARSERS if kinds & set(shipped_parser(name).reads)]
    rows = [_under(header, answered, name, complete) for name in dict.fromkeys(parsers)]
    unscored = tuple(record.sample_id for record in records if record.score.value is None)
    return RescoredRun(header, len(answered), header["n"], unscored, stored, tuple(rows))


def _under(header: Mapping[str, Any], records: Sequence[Record], name: str, complete: bool) -> Rescored:
    parser = shipped_parser(name)
    if not {record.kind for record in records} & set(parser.reads):
        kinds = ", ".join(sorted({record.kind for record in records}))
        raise UsageError(f"parser {name} reads {', '.join(parser.reads)} questions; this run has {kinds} ones alone.")
    return _row(header, records, read_again(records, name), parser.id, parser.says, complete)


def read_again(records: Sequence[Record], parser: str) -> list[Record]:
    """Return the records with the score that `parser` gives their replies; those it cannot read stay as they are."""
    reads = shipped_parser(parser).reads
    return [
        replace(record, score=grade(_sample(record), record.prediction, parser)) if record.kind in reads else record
        for record in records
    ]


def _sample(record: Record) -> Sample:
    return Sample(
        record.sample_id, record.kind, record.question, record.target, record.cluster, choices=tuple(record.options)
    )


def _row(
    header: Mapping[str, Any], before: Sequence[Record], now: Sequence[Record], parser: str, says: str, complete: bool
) -> Rescored:
    points: dict[tuple[str, str], list[Fraction]] = defaultdict(list)
    for old, new in zip(before, now, strict=True):
        change = _value(new) - _value(old)
        if change:
            points[old.score.rule, new.score.rule].append(change)
    moved = [
        RuleChange(
            was, now_, sum(c > 0 for c in changes), sum(c < 0 for c in changes), sum(changes, Fraction()) / len(now)
        )
        for (was, now_), changes in points.items()
    ]
    moved.sort(key=lambda move: (-abs(move.points), -move.gained - move.lost, move.was, move.now))
    cells = {name: cell.value for name, cell in task_cells(header, now).items()} if complete else {}
    stayed: Counter[str] = Counter(old.kind for old, new in zip(before, now, strict=True) if old is new)
    return Rescored(
        parser=parser,
        says=says,
        score=sum(map(_value, now), Fraction()) / len(now),
        outcomes=Counter(map(outcome_of, now)),
        points=sum((move.points for move in moved), Fraction()),
        moved=tuple(moved),
        kept=stayed if now is not before else {},
        cells=cells,
    )


def _value(record: Record) -> Fraction:
    return Fraction(record.score.value or 0)


def with_options(
    folder: Path, header: Mapping[str, Any], records: Sequence[Record], data_root: Path | None
) -> list[Record]:
    """Return the records with their options, which logs of schema 1 lack, from the data of the run's task.

    Raises DataError, saying what to give, where the data is not there or not that of the run.
    """
    if all(record.options or record.kind != "choice" for record in records):
        return list(records)
    task = header["task"]
    asked = (header.get("asked") or {}).get("options") or {}
    root = data_root if data_root is not None else Path(str(asked.get("data_root") or "data"))
    lacking = f"{folder}: its log (schema {header['schema']}) holds no options"
    try:
        names = registry.task_names(asked.get("tasks"), asked.get("suite"))
        found = next((one for one in map(registry.task, names) if one.name == task["name"]), None)
        plan = load_plan(
            found or registry.task(task["name"]), root, Settings(answer=header["answer"], allow_partial=True)
        )
    except AloeError as error:
        raise DataError(f"{lacking}, and its data cannot be read; give --data-root. {error}") from error
    if plan.data_sha256 != task["data_sha256"]:
        raise DataError(f"{lacking}, and {root} holds other rows than it was asked. Give the --data-root of that run.")
    options = {sample.id: sample.choices for _, sample in plan.samples}
    if lost := [record.sample_id for record in records if record.sample_id not in options]:
        told = "; ".join(join(lost, options).told("items of its log", f"items of {root}")[:1])
        raise DataError(f"{folder}: {told}. Give the --data-root of that run.")
    return [replace(record, options=options[record.sample_id]) for record in records]
