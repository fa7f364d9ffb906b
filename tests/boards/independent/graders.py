"""Agreement of judges and experts, from the letters of their grades."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
from scipy import special, stats

from tests.boards.independent.formulas import Array, Change, numbered
from tests.boards.independent.letters import Answers

GRADES = {"1": 1.0, "h": 0.5, "0": 0.0}
VALUES = (0.0, 0.5, 1.0)
Numbers = tuple[float | None, tuple[float, float] | None]


def coincidences(ratings: Array) -> Array:
    """Return of each item how its pairs of ratings meet: (items, 3, 3)."""
    counts = np.stack([(ratings == value).sum(axis=0) for value in VALUES], axis=1).astype(float)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(3)
    return np.asarray(pairs / np.maximum(counts.sum(axis=1) - 1, 1)[:, None, None])


def ordinal(table: Array) -> float:
    totals = table.sum(axis=1)
    place = np.cumsum(totals) - totals / 2
    apart = (place[:, None] - place[None, :]) ** 2
    expected = totals[:, None] * totals[None, :] - np.diag(totals)
    return float(1 - (totals.sum() - 1) * (table * apart).sum() / (expected * apart).sum())


def alpha(ratings: Array, clusters: Array) -> Numbers:
    items, codes = coincidences(ratings), numbered(clusters)
    whole = items.sum(axis=0)
    if (whole.sum(axis=1) > 0).sum() < 2:
        return None, None
    value = ordinal(whole)
    by_cluster = np.zeros((codes.max() + 1, 3, 3))
    np.add.at(by_cluster, codes, items)
    by_cluster = by_cluster[by_cluster.sum(axis=(1, 2)) > 0]
    n = len(by_cluster)
    left = np.array([ordinal(whole - one) for one in by_cluster])
    error = np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    half = float(stats.t.ppf(0.975, n - 1) * error)
    place = np.cumsum(whole.sum(axis=1)) - whole.sum(axis=1) / 2
    costs = [float((one * (place[:, None] - place[None, :]) ** 2).sum()) for one in by_cluster]
    costs = [one * (1 - value) * n / sum(costs) for one in costs if one > 0]
    shares = whole.sum(axis=1) / whole.sum()
    chance = 2 / float(whole.sum() / (items.sum(axis=(1, 2)) > 0).sum() * (1 - (shares**2).sum()))
    low, high = 1 - beta_end([*costs, chance], n, 0.975), 1 - (beta_end(costs, n, 0.025) if costs else 0.0)
    if half < 1e-12:
        return value, (low, high)
    return value, (min(value - half, low), min(1.0, max(value + half, high)))


def beta_end(costs: list[float], n: int, tail: float) -> float:
    """The quantile of the mean over n of as many like costs as vary as much."""
    alike = sum(costs) ** 2 / sum(one**2 for one in costs)
    quantile = special.betaincinv(alike, max(0.0, n * alike / len(costs) - alike) + 1, tail)
    return float(quantile) * sum(costs) / len(costs)


def agreement(of: Answers) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what lines of agreement.csv say of one result, by its column `of`."""
    grades = of.outcomes.get("grades", {}).get("baseline")
    if not grades:
        return
    judges = sorted(grades)
    judged = np.array([any(grades[name][i] != "." for name in judges) for i in range(of.n)])
    table = np.array([[GRADES.get(one, np.nan) for one in grades[name]] for name in judges])[:, judged]
    columns = [[None if np.isnan(x) else float(x) for x in column] for column in table.T]
    votes = [_vote(column) for column in columns]
    value, ends = alpha(table, of.clusters[judged])
    alike = sum(None not in column and len(set(column)) == 1 for column in columns)
    split = sum(v is not None and column.count(v) <= len(column) // 2 for v, column in zip(votes, columns, strict=True))
    yield "judges", {"n": len(votes), "unanimous": alike, "split": split, "no_grade": votes.count(None),
                     **_ends("alpha", value, ends)}  # fmt: skip
    for name, row in zip(judges, table, strict=True):
        yield f"judge {name}", {"n": int((~np.isnan(row)).sum()), "mean": float(np.nanmean(row))}
    if "labels" not in of.outcomes:
        return
    labels = np.array([[GRADES.get(one, np.nan) for one in said] for said in of.outcomes["labels"].values()])[:, judged]
    rated = ~np.isnan(labels).all(axis=0)
    labels, clusters = labels[:, rated], of.clusters[judged][rated]
    jury = np.array([np.nan if v is None else v for v in votes])[rated]
    both = np.vstack([labels, jury])
    for name, ratings in (("experts", labels), ("experts and jury", both)):
        yield name, {"n": int(rated.sum()), **_ends("alpha", *alpha(ratings, clusters))}
    means = np.nanmean(labels, axis=0)
    for name, row in [("jury", jury), *zip(judges, table[:, rated], strict=True)]:
        known = ~np.isnan(row)
        change = Change([(row[known], means[known], clusters[known])], None)
        yield f"{name} minus experts", {
            "n": int(known.sum()), "mean": float(row[known].mean()), "experts_mean": float(means[known].mean()),
            **_ends("bias", change.value, change.interval() if change.testable else None),
        }  # fmt: skip


def _vote(column: list[float | None]) -> float | None:
    given = [grade for grade in column if grade is not None]
    missing = len(column) - len(given)
    low, high = (median([*given, *[end] * missing]) for end in (0.0, 1.0))
    return low if low == high else None


def _ends(name: str, value: float | None, ends: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = ends or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
