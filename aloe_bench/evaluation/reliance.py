"""What image controls say of a run: how much of its accuracy needs the picture, and whose truth it then follows.

Image reliance is the accuracy minus that over a blank picture, on the same questions. Over the picture of another item
an answer can name that picture's truth, or stay with the one of the item that was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aloe_bench.core import Record
from aloe_bench.evaluation.cells import ATTACKED
from aloe_bench.evaluation.controls import ARMS
from aloe_bench.evaluation.outcomes import counts
from aloe_bench.stats.intervals import DataSetShare, clustered_share, macro_interval
from aloe_bench.stats.paired import mean_difference, numbers_of, settle

Entry = dict[str, Any]
Score = Callable[[Record], float | None]
# Measures that are a difference of two scores of the same items; all others are shares.
CONTRASTS = ("image_reliance", "shown_over_asked")
SAID = {
    "baseline": "accuracy",
    "blank": "over a blank picture",
    "image_reliance": "image reliance",
    "swap_follows": "follows the shown picture",
    "swap_stays": "stays with the asked one",
    "shown_over_asked": "shown minus asked",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A sample's own record and that of one of its controls."""

    own: Record
    control: Record


def controls_section(records: Sequence[Record], controls: Sequence[Record]) -> dict[str, Any]:
    """Return {"controls": group -> measure -> numbers} of a run, without any control nothing.

    A group is a task of an attacked table, else all ("overall"). Each number is a mean over data sets, of an item's
    pairs; without a value where a call failed. `outcomes` counts by arm what became of the replies to its controls.
    `chance` is guessing's share on the blank items, `same_patient` says that clusters are single pictures, so that
    another picture may be of the same patient.
    """
    found: dict[str, Any] = {}
    for group, arms in pairs_of(records, controls).items():
        entry: dict[str, Any] = {}
        for name, (arm, first, second) in MEASURES.items():
            if arm in arms:
                entry[name] = _numbers(arms[arm], first, second)
        if "blank" in arms:
            options = [len(pair.own.options) for pair in arms["blank"]]
            entry["chance"] = sum(1 / (n or 2) for n in options) / len(options)
        if "swap" in arms:
            entry["same_patient"] = len({pair.own.cluster for pair in arms["swap"]}) == len(arms["swap"])
        entry["outcomes"] = {arm: counts([pair.control for pair in pairs]) for arm, pairs in arms.items()}
        found[group] = entry
    for name in CONTRASTS:
        settle([entry[name] for entry in found.values() if name in entry])
    return {"controls": found} if found else {}


def pairs_of(records: Sequence[Record], controls: Sequence[Record]) -> dict[str, dict[str, list[Pair]]]:
    """Return group -> arm -> the pairs of a run."""
    own = {record.sample_id: record for record in records}
    shown = [control for control in controls if control.arm in ARMS]
    made = [Pair(own[control.sample_id.rpartition("#")[0]], control) for control in shown]
    return {group: grouped_pairs(some) for group, some in sorted(_grouped(made, lambda pair: _group(pair.own)).items())}


def grouped_pairs(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Return arm -> pairs."""
    return _grouped(pairs, lambda pair: pair.control.arm)


def _grouped(pairs: Sequence[Pair], key: Callable[[Pair], str]) -> dict[str, list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return groups


def _group(record: Record) -> str:
    return record.tags["task"] if record.tags.keys() >= ATTACKED else "overall"


def right(record: Record) -> float | None:
    """Return a record's score."""
    return record.score.value


def follows(record: Record) -> float | None:
    """Return whether an answer names the truth of the picture that was shown in place of the item's own."""
    return None if record.score.value is None else float(record.score.parsed == record.tags["shown"])


# Name -> (arm, score of the own or the control record, what is taken off it); whose record a score is of is said first.
MEASURES: Mapping[str, tuple[str, tuple[str, Score], tuple[str, Score] | None]] = {
    "baseline": ("blank", ("own", right), None),
    "blank": ("blank", ("control", right), None),
    "image_reliance": ("blank", ("own", right), ("control", right)),
    "swap_follows": ("swap", ("control", follows), None),
    "swap_stays": ("swap", ("control", right), None),
    "shown_over_asked": ("swap", ("control", follows), ("control", right)),
}


def values_of(pairs: Sequence[Pair], of: tuple[str, Score]) -> list[float]:
    """Return a score of each pair, nan where it could not be measured."""
    scores = [of[1](getattr(pair, of[0])) for pair in pairs]
    return [float("nan") if score is None else score for score in scores]


def _numbers(pairs: Sequence[Pair], first: tuple[str, Score], second: tuple[str, Score] | None) -> Entry:
    sets = _grouped(pairs, lambda pair: pair.own.tags.get("dataset", "") if _group(pair.own) != "overall" else "")
    failed = sum(value != value for part in (first, second) if part for value in values_of(pairs, part))
    n, clusters = len(pairs), len({pair.own.cluster for pair in pairs})
    columns = [
        (values_of(some, first), values_of(some, second) if second else [1.0] * len(some),
         [pair.own.cluster for pair in some])
        for some in sets.values()
    ]  # fmt: skip
    if second is not None:
        empty = mean_difference([([], [], [])])
        return numbers_of(empty if failed else mean_difference(columns)) | {"n": n, "n_clusters": clusters,
                                                                            "failed": failed}  # fmt: skip
    if failed:
        return {"value": None, "interval": None, "n": n, "n_clusters": clusters, "failed": failed}
    shares = [clustered_share(*column) for column in columns]
    values = [share.value or 0.0 for share in shares]
    interval = shares[0].interval
    if len(shares) > 1:
        parts = [
            DataSetShare(v, s.n_effective, s.freedom, 1 / len(shares)) for v, s in zip(values, shares, strict=True)
        ]
        interval = macro_interval(parts) if all(share.interval for share in shares) else None
    value = sum(values) / len(values)
    return {"value": value, "interval": interval, "n": n, "n_clusters": clusters, "failed": 0}
