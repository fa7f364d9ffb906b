"""From the records of a run to the numbers that are published."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from aloe_bench.core import Cell, Record, Score
from aloe_bench.stats.intervals import Interval, clustered_mean, clustered_share, weighted_mean
from aloe_bench.stats.macro import DataSetShare, macro_interval


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
    exact = exact_mean(records)
    return Cell(
        value=value,
        n=len(records),
        n_clusters=len(set(clusters)),
        interval=interval,
        failed=sum(map(is_failed, records)),
        unread=sum(map(is_unread, records)),
        run=run,
        exact=None if exact is None else f"{exact.numerator}/{exact.denominator}",
        unjudged=unjudged(records),
        split=split_share(records),
    )


def macro_cell(records: Sequence[Record], run: str, stratum: Callable[[Record], str]) -> Cell:
    """Return the mean over strata of their mean scores, each stratum counting alike; else as `cell`."""
    micro = cell(records, run)
    if micro.value is None:
        return micro
    strata: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        strata[stratum(record)].append(record)
    parts = [cell(members, run) for members in strata.values()]
    exact = sum((Fraction(part.exact or 0) for part in parts), Fraction(0)) / len(parts)
    interval = _mean_interval(list(strata.values()))
    return replace(micro, value=float(exact), interval=interval, exact=f"{exact.numerator}/{exact.denominator}")


def _mean_interval(strata: Sequence[Sequence[Record]]) -> Interval | None:
    """Return the interval of the mean over strata, all of whose records have a score; None if one is one cluster."""
    shares = [
        clustered_share([r.score.value or 0.0 for r in members], [1.0] * len(members), [r.cluster for r in members])
        for members in strata
    ]
    if any(share.interval is None for share in shares):
        return None
    return macro_interval([DataSetShare(s.value or 0.0, s.n_effective, s.freedom, 1 / len(shares)) for s in shares])


def weighted_cell(records: Sequence[Record], weights: Sequence[Fraction], run: str) -> Cell:
    """Return the mean score by `weights`, one a record; else as `cell`."""
    plain = cell(records, run)
    if plain.value is None or len(set(weights)) == 1:
        return plain
    values = [Fraction(record.score.value or 0) for record in records]
    exact = sum((w * value for w, value in zip(weights, values, strict=True)), Fraction(0)) / sum(weights, Fraction(0))
    clusters = [record.cluster for record in records]
    value, interval = weighted_mean(list(map(float, values)), list(map(float, weights)), clusters)
    return replace(plain, value=value, interval=interval, exact=f"{exact.numerator}/{exact.denominator}")


def all_right(records: Sequence[Record]) -> Record:
    """Return a record that stands for several questions: right if all are, without a score if one has none."""
    failed = [record for record in records if record.score.value is None]
    unread = [record for record in records if is_unread(record)]
    first = (failed or unread or records)[0]
    values = [record.score.value for record in records if record.score.value is not None]
    value = None if failed else min(values)
    return replace(first, score=Score(value, None, first.score.rule if failed or unread else f"all of {len(records)}"))
