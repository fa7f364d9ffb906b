"""Cells that a jury graded, corrected by what experts said of a random part of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from aloe_bench.checked import read_checked
from aloe_bench.core import Record
from aloe_bench.evaluation.cells import NO_RULES, CellUnits, Rule, cell_units, header_facts

FILE = "labels.json"


@dataclass(frozen=True, slots=True)
class Labels:
    """What experts said of answers of a run that were drawn at random: expert -> sample -> grade in [0, 1]."""

    experts: Mapping[str, Mapping[str, float]]


def read_labels(folder: Path) -> Labels | None:
    """Return the labels kept in a run's folder, None if there are none; raises DataError for a broken file."""
    return read_checked(folder / FILE, Labels, "make it again with `aloe-bench agreement --correct`")


def corrected_cells(
    header: Mapping[str, Any], records: Sequence[Record], labels: Labels | None, rules: Mapping[str, Rule] = NO_RULES
) -> dict[str, dict[str, Any]]:
    """Return cell -> its corrected number, of those cells that are plain means with a judged and labelled answer.

    A cell lacks it as long as an answer has no grade. Answers that no jury has seen keep their scores.
    """
    if labels is None or header_facts(header, records).measure:
        return {}
    known = {name for of in labels.experts.values() for name in of}
    found = {}
    for name, units in cell_units(header, records, rules).items():
        members = _plain(units)
        judged = [record for record in members if record.score.verdicts]
        whole = all(record.score.value is not None for record in members)
        if whole and any(record.sample_id in known for record in judged):
            found[name] = _corrected(judged, [r for r in members if not r.score.verdicts], labels)
    return found


def _plain(units: CellUnits) -> list[Record]:
    """Return the records of a cell that is their plain mean, else none."""
    if units.is_macro or any(weight != 1 for _, weight in units.strata[0]):
        return []
    return [record for record, _ in units.strata[0]]


def _corrected(judged: Sequence[Record], others: Sequence[Record], labels: Labels) -> dict[str, Any]:
    import numpy as np

    from aloe_bench.stats.corrected import corrected_mean, for_experts_like_these, mean_label

    grades = [record.score.value or 0.0 for record in judged]
    ratings = np.array(
        [[of.get(record.sample_id, np.nan) for record in judged] for of in labels.experts.values()], dtype=float
    )
    clusters = [record.cluster for record in judged]
    found = corrected_mean(grades, mean_label(ratings), clusters)
    wider = for_experts_like_these(grades, ratings, clusters, found)
    share, rest = len(judged) / (len(judged) + len(others)), [record.score.value or 0.0 for record in others]
    return {
        "value": share * found.value + (1 - share) * (sum(rest) / len(rest) if rest else 0.0),
        "interval": _with_rest(found.value, found.interval, share, rest),
        "interval_experts": _with_rest(found.value, wider, share, rest),
        "n_labels": found.n_labels,
        "n_experts": int((~np.isnan(ratings)).any(axis=1).sum()),
        "weight": found.weight,
        "bias": share * found.bias,
        "bias_interval": found.bias_interval and [share * end for end in found.bias_interval],
    }


def _with_rest(
    value: float, interval: tuple[float, float] | None, share: float, rest: Sequence[float]
) -> list[float] | None:
    """Return the interval of the mean over judged answers (a `share` of all) and the `rest`, whose scores are known."""
    if interval is None or not rest:
        return interval and [*interval]
    n, mean = len(rest) / (1 - share), sum(rest) / len(rest)
    spread = sum((one - mean) ** 2 for one in rest) / len(rest)
    # The rest's own spread, and how many of so many questions are of either kind: about two standard errors.
    own = 4 * ((1 - share) * spread + share * (1 - share) * (value - mean) ** 2) / n
    centre = share * value + (1 - share) * mean
    low, high = (sqrt((share * (end - value)) ** 2 + own) for end in interval)
    return [max(0.0, centre - low), min(1.0, centre + high)]
