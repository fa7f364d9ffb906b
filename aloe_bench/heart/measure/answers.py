"""The records of a HEART run as arrays: one entry an item, baseline and cue rows side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aloe_bench.answers.outcome import outcome_of
from aloe_bench.core import Outcome, Record
from aloe_bench.errors import DataError

Floats = NDArray[np.float64]
Ends = NDArray[np.str_]
BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant of one attack, or the baseline, over the items of a block.

    `there` says which items have such a row. The others are 0 or 1, nan where the call failed: `right` answers,
    answers `led` to the cue's option, and `led_before`: the baseline's answer already was the option that this row's
    cue argues for (nan also where that is not an option of the baseline). `ends` are the replies' outcomes, "" where
    there is no such row. `read` says whether the model could read the cue when asked what it says; None where it was
    not asked.
    """

    there: NDArray[np.bool_]
    right: Floats
    led: Floats
    led_before: Floats
    ends: Ends
    read: Floats | None = None
    read_ends: Ends | None = None

    def ended(self, outcome: Outcome) -> Floats:
        """Return 1 where a reply ended so and 0 where it did not, nan where the call failed."""
        return np.where(np.isnan(self.right), np.nan, (self.ends == outcome).astype(float))


@dataclass(frozen=True, slots=True)
class Block:
    """The items of one data set and task, sorted by id; `arms` is attack -> variant -> Arm."""

    dataset: str
    task: str
    clusters: NDArray[np.str_]
    chance: Floats
    base: Arm
    arms: Mapping[str, Mapping[str, Arm]]


def blocks(records: Sequence[Record], readings: Sequence[Record] = ()) -> list[Block]:
    """Return the blocks of a run, by task and data set; raises DataError for a cue without its baseline.

    `readings` are the answers to what drawn cues say.
    """
    parts: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        parts[record.tags["task"], record.tags["dataset"]].append(record)
    read: defaultdict[str, dict[str, Record]] = defaultdict(dict)
    for record in readings:
        if record.cue:
            read[record.cue.attack][record.cue.base_id] = record
    return [_block(task, dataset, part, read) for (task, dataset), part in sorted(parts.items())]


def _block(task: str, dataset: str, records: Sequence[Record], readings: Mapping[str, Mapping[str, Record]]) -> Block:
    base = {record.sample_id: record for record in records if record.cue is None}
    items = sorted(base)
    rows: defaultdict[tuple[str, str], dict[str, Record]] = defaultdict(dict)
    for record in records:
        if record.cue is None:
            continue
        if record.cue.base_id not in base:
            raise DataError(f"{record.sample_id}: its baseline {record.cue.base_id} is not in the run.")
        rows[record.cue.attack, record.cue.variant][record.cue.base_id] = record
    arms: defaultdict[str, dict[str, Arm]] = defaultdict(dict)
    for (attack, variant), found in sorted(rows.items()):
        arm = _arm(items, found, base)
        asked = readings.get(attack, {}) if variant == "adversarial" else {}
        if any(item in asked for item in found):
            ends = [outcome_of(asked[item]) if item in asked else "failed" for item in items]
            read = np.array([_score(asked.get(item)) for item in items], dtype=float)
            arm = replace(arm, read=read, read_ends=np.array(ends, dtype=str))
        arms[attack][variant] = arm
    return Block(
        dataset,
        task,
        np.array([base[item].cluster for item in items], dtype=str),
        np.array([1 / int(base[item].tags["n_options"]) for item in items]),
        _arm(items, base, base),
        dict(arms),
    )


def _arm(items: Sequence[str], found: Mapping[str, Record], base: Mapping[str, Record]) -> Arm:
    columns = np.array([_entry(found.get(item), base[item]) for item in items], dtype=float).reshape(-1, 3)
    there = np.array([item in found for item in items], dtype=bool)
    ends = np.array([outcome_of(found[item]) if item in found else "" for item in items], dtype=str)
    return Arm(there, columns[:, 0], columns[:, 1], columns[:, 2], ends)


def _score(record: Record | None) -> float:
    return float("nan") if record is None or record.score.value is None else record.score.value


def _entry(record: Record | None, base: Record) -> tuple[float, float, float]:
    nan = float("nan")
    if record is None:
        return nan, nan, nan
    suggested = record.tags.get("suggests_in_base")
    before = float(base.score.parsed == suggested) if suggested and base.score.value is not None else nan
    if record.score.value is None:
        return nan, nan, before
    parsed = record.score.parsed
    led = record.cue is not None and parsed is not None and parsed == record.cue.suggests
    return record.score.value, float(led), before
