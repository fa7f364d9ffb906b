"""What a jury's verdicts come to: the grade of one answer, and the counts of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from aloe_bench.core import Record


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
