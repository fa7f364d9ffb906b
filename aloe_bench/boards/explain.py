"""Why two runs differ in score: their headers side by side, and the difference in parts that add up exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from aloe_bench.answers.outcome import outcome_of
from aloe_bench.answers.score import parser_id
from aloe_bench.core import Record
from aloe_bench.errors import DataError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.rescore import read_again, with_options
from aloe_bench.joins import Joined, first_ten, join

# What says nothing of how a run was made: its own name, and how the command was typed.
_NOT_COMPARED = ("run_id", "asked")
_TEXT = 70

Log = Sequence[Record]
Logs = tuple[Log, Log]


@dataclass(frozen=True, slots=True)
class HeaderDifference:
    """One place in which two headers differ, as text; "-" where one lacks it."""

    place: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class DifferencePart:
    """A part of the difference, second minus first, in shares of 1; `says` is what it counts, `n` on how many items."""

    name: str
    points: Fraction
    n: int
    says: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The mean scores of two runs over their own items; `parts` add up to `second` minus `first`."""

    first: Fraction
    second: Fraction
    headers: tuple[HeaderDifference, ...]
    parts: tuple[DifferencePart, ...]


def explain(first: Path, second: Path, data_root: Path | None = None) -> Explanation:
    """Return what the second run scores more than the first, split into rows, parser, cut and the rest.

    Rows: what the items do that only one of the runs has a score for, or that are other questions under one id. Parser:
    where the headers name two parsers, what the items in common do between the scores as stored and those of the strict
    parser of now, over both runs. Cut: items in common that one of the runs left cut. The rest: the other items.
    `data_root` is where options of logs of schema 1 are found, if the parsers differ.
    Raises DataError for a run in which no item has a score, or for two that share none.
    """
    (one, before), (two, after) = runlog.read_run(first), runlog.read_run(second)
    a, b = ({_key(r): r for r in records if r.score.value is not None} for records in (before, after))
    for folder, scored in ((first, a), (second, b)):
        if not scored:
            raise DataError(f"{folder}: no item has a score; resume the run, or judge its open answers, then compare.")
    joined = join(a, b)
    joined.refuse(f"scored items of {first}", f"scored items of {second}")
    keys = [(key, joined.pairs[key]) for key in a if key in joined.pairs]
    others = dict.fromkeys(key for key, other in keys if not _same_question(a[key], b[other]))
    keys = [pair for pair in keys if pair[0] not in others]
    if not keys:
        raise DataError(f"{first} and {second} have no question in common; there is nothing to explain.")
    stored = [a[key] for key, _ in keys], [b[other] for _, other in keys]
    read: Logs = stored
    if one["parser"] != two["parser"]:
        read = (
            read_again(with_options(first, one, stored[0], data_root), "strict"),
            read_again(with_options(second, two, stored[1], data_root), "strict"),
        )
    means = _mean(a.values()), _mean(b.values())
    rows = (_mean(stored[0]) - means[0]) + (means[1] - _mean(stored[1]))
    parts = (
        _rows(rows, joined, [*others]),
        _parser(stored, read, str(one["parser"]), str(two["parser"])),
        *_cut_and_rest(*read),
    )
    return Explanation(means[0], means[1], tuple(_header_differences(one, two)), parts)


def _key(record: Record) -> str:
    return record.sample_id


def _same_question(a: Record, b: Record) -> bool:
    """Return whether two records under one id are one question; logs of schema 1 lack the options, the oldest more."""
    if a.options and b.options and a.options != b.options:
        return False
    return a.target == b.target and (not a.question or not b.question or a.question == b.question)


def _mean(records: Iterable[Record]) -> Fraction:
    values = [Fraction(record.score.value or 0) for record in records]
    return sum(values, Fraction()) / len(values)


def _rows(points: Fraction, joined: Joined, others: Sequence[str]) -> DifferencePart:
    """Return the part of the items that have no partner, and of those that are another question under one id."""
    sides = {"the first": joined.left_only, "the second": joined.right_only}
    said = [f"{len(names)} scored in {side} alone{_named(names)}" for side, names in sides.items()]
    if others:
        said.append(f"{len(others)} another question under one id{_named(others)}")
    if joined.respelled:
        said.append(joined.respelling())
    n = len(joined.left_only) + len(joined.right_only) + 2 * len(others)
    return DifferencePart("rows", points, n, ", ".join(said))


def _named(names: Sequence[str]) -> str:
    return f" ({first_ten(names)})" if names else ""


def _parser(stored: Logs, read: Logs, one: str, two: str) -> DifferencePart:
    if one == two:
        return DifferencePart("parser", Fraction(), 0, f"both {one}")
    shifts = [_mean(log) - _mean(again) for log, again in zip(stored, read, strict=True)]
    moved = [
        sum(old.score.value != new.score.value for old, new in zip(log, again, strict=True))
        for log, again in zip(stored, read, strict=True)
    ]
    says = f"{one} and {two}: {moved[0]} and {moved[1]} score otherwise by {parser_id('strict')}"
    return DifferencePart("parser", shifts[1] - shifts[0], sum(moved), says)


def _cut_and_rest(before: Log, after: Log) -> tuple[DifferencePart, DifferencePart]:
    cut, rest, counts = Fraction(), Fraction(), Counter[str]()
    for a, b in zip(before, after, strict=True):
        change = Fraction(b.score.value or 0) - Fraction(a.score.value or 0)
        which = outcome_of(a) == "cut", outcome_of(b) == "cut"
        counts["both" if all(which) else "first" if which[0] else "second" if which[1] else "changed"] += (
            any(which) or change != 0
        )
        cut, rest = (cut + change, rest) if any(which) else (cut, rest + change)
    n = len(before)
    n_cut = counts["first"] + counts["second"] + counts["both"]
    says = f"{counts['first']} cut in the first alone, {counts['second']} in the second alone, {counts['both']} in both"
    return (
        DifferencePart("cut", cut / n, n_cut, says),
        DifferencePart("the rest", rest / n, counts["changed"], "answered otherwise, or graded by another jury"),
    )


def _header_differences(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[HeaderDifference]:
    a, b = (dict(_leaves(header)) for header in (one, two))
    for place in dict.fromkeys([*a, *b]):
        if place.split(".")[0] not in _NOT_COMPARED and a.get(place) != b.get(place):
            yield HeaderDifference(place, _text(a.get(place)), _text(b.get(place)))


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def _text(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}..."
