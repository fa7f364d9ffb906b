"""What a run scored on the items whose picture leaked into a mixture, against the rest of the run."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench.boards.compare import finished
from aloe_bench.core import Record
from aloe_bench.errors import UsageError
from aloe_bench.evaluation.runlog import find_run
from aloe_bench.joins import first_ten, join
from aloe_bench.mixture.leakage import FOLDER, RADII
from aloe_bench.mixture.pool import Pool
from aloe_bench.stats.intervals import Interval, clustered_mean, numbered, quantile, standard_error

# A difference of means over fewer pictures on one side has no interval worth the name.
LEAST_CLUSTERS = 5


@dataclass(frozen=True, slots=True)
class ScoredPart:
    """The mean score of some items of a run, in [0, 1]; None where there are none. `unscored` have no score yet."""

    value: float | None
    interval: Interval | None
    n: int
    n_clusters: int
    unscored: int


@dataclass(frozen=True, slots=True)
class LeakedScores:
    """A run's items with a leaked picture and its others, and the difference (leaked - rest).

    `left_over` says which of the hits name a picture that is no item of the run.
    """

    task: str
    model: str
    radius: int
    leaked: ScoredPart
    rest: ScoredPart
    difference: float | None
    interval: tuple[float, float] | None
    left_over: tuple[str, ...] = ()


def leaked_scores(pool: Pool, run: Path, radius: int) -> LeakedScores:
    """Return what `run` scored on items whose picture is within `radius` bits of one that the pool had, dropped or not.

    An item is leaked if it shows a picture that hits.csv names, attacked or not. Of a hit with several pictures all
    count as leaked. Raises UsageError unless `data leakage` compared the pool with the run's task.
    """
    report = pool.report("leakage")
    side = finished(find_run(run))
    header, records = side.header, side.records
    task = str(header["task"]["name"])
    compared = sorted(report["pictures"]) if report else []
    if task not in compared:
        with_what = f"it was compared with {', '.join(compared)}" if compared else "it was not compared with anything"
        raise UsageError(
            f"{pool.folder}: nothing is known of leakage from {task}; {with_what}. Run `data leakage` first."
        )
    if radius not in RADII:
        raise UsageError(f"radius {radius}: hits are counted at {', '.join(map(str, RADII))} bits.")
    with (pool.folder / FOLDER / "hits.csv").open(encoding="utf-8", newline="") as file:
        hits = [row for row in csv.DictReader(file) if row["set"] == task]
    names = {row["picture"] for row in hits if int(row[f"at {radius}"])}
    joined = join(sorted(names), [record.sample_id for record in records])
    leaked = [record.sample_id in names for record in records]
    hashes = {part for record, hit in zip(records, leaked, strict=True) if hit for part in _pictures(record)}
    leaked = [hit or bool(hashes & _pictures(r)) for hit, r in zip(leaked, records, strict=True)]
    # A drawn cue gives its picture another hash: an attacked row is leaked if its item is.
    bases = {r.sample_id for r, hit in zip(records, leaked, strict=True) if hit}
    leaked = [hit or (r.cue is not None and r.cue.base_id in bases) for hit, r in zip(leaked, records, strict=True)]
    parts = [[r for r, hit in zip(records, leaked, strict=True) if hit is wanted] for wanted in (True, False)]
    difference, interval = _difference(*parts)
    lost = joined.left_only
    said = f"{len(lost)} of {len(names)} leaked pictures belong to no item of the run: {first_ten(lost)}"
    told = (said,) if lost else ()
    return LeakedScores(
        task, str(header["model"]["name"]), radius, _part(parts[0]), _part(parts[1]), difference, interval, told
    )


def _pictures(record: Record) -> set[str]:
    return {part.image for part in record.prompt if part.image is not None}


def _scored(records: Sequence[Record]) -> list[tuple[float, str]]:
    return [(r.score.value, r.cluster) for r in records if r.score.value is not None]


def _part(records: Sequence[Record]) -> ScoredPart:
    pairs = _scored(records)
    if not pairs:
        return ScoredPart(None, None, 0, 0, len(records))
    values, clusters = map(list, zip(*pairs, strict=True))
    value, interval = clustered_mean(values, clusters)
    return ScoredPart(value, interval, len(pairs), len(set(clusters)), len(records) - len(pairs))


def _difference(leaked: Sequence[Record], rest: Sequence[Record]) -> tuple[float | None, tuple[float, float] | None]:
    """Return mean(leaked) - mean(rest) with its 95 % interval, robust to clusters that are in both."""
    import numpy as np

    sides = [_scored(leaked), _scored(rest)]
    if not all(sides):
        return None, None
    means = [float(np.mean([value for value, _ in side])) for side in sides]
    difference = means[0] - means[1]
    least = min(len({cluster for _, cluster in side}) for side in sides)
    if least < LEAST_CLUSTERS:
        return difference, None
    n = sum(map(len, sides))
    residuals: list[Any] = []
    for side, mean, sign in zip(sides, means, (1, -1), strict=True):
        residuals += [sign * n / len(side) * (value - mean) for value, _ in side]
    codes = numbered([cluster for side in sides for _, cluster in side])
    error = standard_error(np.array(residuals), codes)
    reach = quantile(least - 1) * error
    if math.isclose(reach, 0.0, abs_tol=1e-12):
        return difference, None
    return difference, (max(-1.0, difference - reach), min(1.0, difference + reach))
