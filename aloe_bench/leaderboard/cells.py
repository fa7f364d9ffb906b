"""From the records of a run to the numbers that are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from aloe_bench.core import Cell, Record
from aloe_bench.stats.intervals import clustered_mean

CATEGORIES = ("nursing", "medicine")


def is_failed(record: Record) -> bool:
    """The model's call failed, or a judge was asked and left no grade."""
    return record.prediction.finish == "error" or (record.score.value is None and bool(record.score.verdicts))


def is_unread(record: Record) -> bool:
    """The reply names no option; it counts as wrong."""
    return record.score.parsed is None and record.score.rule.startswith("unread")


def exact_mean(records: Sequence[Record]) -> Fraction | None:
    """Return the mean score without rounding; None without records or if one was not measured."""
    values = [record.score.value for record in records if record.score.value is not None]
    if not values or len(values) < len(records):
        return None
    return sum(map(Fraction, values), Fraction(0)) / len(values)


def unjudged(records: Sequence[Record]) -> int:
    """Return how many records have no score although nothing failed."""
    return sum(record.score.value is None and not is_failed(record) for record in records)


def split_share(records: Sequence[Record]) -> float | None:
    """Return the share of the jury's grades without a majority; None if no jury has graded one."""
    graded = [r.score.rule for r in records if r.score.verdicts and r.score.value is not None]
    return graded.count("jury: split") / len(graded) if graded else None


def cell(records: Sequence[Record], run: str) -> Cell:
    """Return the mean score with its interval over clusters.

    The value is None as soon as one score is: the rest must not pose as the whole.
    """
    values = [record.score.value for record in records if record.score.value is not None]
    clusters = [record.cluster for record in records]
    value, interval = clustered_mean(values, clusters) if values and len(values) == len(records) else (None, None)
    return Cell(
        value=value,
        n=len(records),
        n_clusters=len(set(clusters)),
        interval=interval,
        failed=sum(map(is_failed, records)),
        unread=sum(map(is_unread, records)),
        run=run,
    )


def careqa_groups(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records under overall, nursing and medicine; overall holds every one."""
    groups: dict[str, list[Record]] = {"overall": list(records)}
    for category in CATEGORIES:
        groups[category] = [r for r in records if r.tags.get("category", "").strip().lower() == category]
    return groups


def careqa_cells(header: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Cell]:
    """Return the cells overall (micro-average), nursing and medicine of a CareQA-Vision run.

    Source: Aloe-Vision, Table 10; its Overall is the micro-average in all 18 rows.
    """
    run = str(header["run_id"])
    return {name: cell(group, run) for name, group in careqa_groups(records).items()}
