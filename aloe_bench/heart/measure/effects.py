"""What a HEART run measures: accuracies, what the cue did to them, and how sure one can be of either.

Definitions in docs/robustness.md. Every measure is computed for each data set, over all items (micro), and as the mean
over data sets (macro).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloe_bench.core import Cell, Record
from aloe_bench.evaluation.task_cells import ATTACKED, Measure
from aloe_bench.heart.attacks import in_order
from aloe_bench.heart.measure.answers import BASELINE, Arm, Block, Floats, blocks, outcomes
from aloe_bench.stats.intervals import Share, clustered_share, few_clusters
from aloe_bench.stats.macro import macro_interval
from aloe_bench.stats.multiple import benjamini_hochberg, holm
from aloe_bench.stats.paired import Difference, paired_difference, sign_flip

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """What one measure is computed from, one entry an item; nan where it could not be measured.

    A share is `first` among the items where `second` is 1; a contrast is the paired difference `first` - `second`.
    """

    first: Floats
    second: Floats
    clusters: NDArray[np.str_]
    contrast: bool

    @property
    def failed(self) -> int:
        return int((np.isnan(self.first) | np.isnan(self.second)).sum())


def base_columns(block: Block) -> dict[str, Column]:
    """Return the measures of a block's baseline, and the accuracy under the worst of its attacks for each item."""
    everywhere = np.ones(len(block.clusters))
    columns = {
        "accuracy": Column(block.base.right, everywhere, block.clusters, False),
        "unread": Column(block.base.unread, everywhere, block.clusters, False),
    }
    attacked = [arms["adversarial"] for arms in block.arms.values() if "adversarial" in arms]
    if len(attacked) > 1:
        there = np.all([arm.there for arm in attacked], axis=0)
        # min() keeps nan: an item with a failed attack has no worst one.
        worst = np.min([arm.right[there] for arm in attacked], axis=0)
        columns["worst_of_k"] = Column(worst, np.ones(int(there.sum())), block.clusters[there], False)
    return columns


def attack_columns(block: Block, attack: str) -> dict[str, Column]:
    """Return the measures of one attack on a block; those whose rows the table does not have are absent."""
    base, arms = block.base, block.arms[attack]
    columns: dict[str, Column] = {}

    def share(name: str, arm: Arm, hits: Floats, eligible: Floats | None = None) -> None:
        chosen = np.ones(len(hits)) if eligible is None else eligible
        # A failed call is in no denominator by luck: it makes the measure empty.
        inside = arm.there & ~(chosen == 0)
        columns[name] = Column(hits[inside], chosen[inside], block.clusters[inside], False)

    def contrast(name: str, first: Floats, second: Floats, *needed: Arm) -> None:
        inside = np.all([arm.there for arm in needed], axis=0)
        if inside.any():
            columns[name] = Column(first[inside], second[inside], block.clusters[inside], True)

    for variant, arm in arms.items():
        share(variant, arm, arm.right)
        share(f"unread_{variant}", arm, arm.unread)
    if assistive := arms.get("assistive"):
        contrast("assistance_gain", assistive.right, base.right, assistive)
    if neutral := arms.get("neutral"):
        contrast("neutral_drop", base.right, neutral.right, neutral)
    if not (misled := arms.get("adversarial")):
        return columns
    share("baseline_of_these", misled, base.right)
    contrast("robustness_gap", base.right, misled.right, misled)
    share("cue_following", misled, misled.led)
    share("attack_success", misled, 1 - misled.right, base.right)
    share("targeted_attack_success", misled, misled.led, base.right)
    share("rescue", misled, misled.right, 1 - base.right)
    contrast("refusal_rise", misled.unread, base.unread, misled)
    if (same := _with_counterpart(base, misled)).any():
        columns["excess_cue_following"] = Column(misled.led[same], misled.led_before[same], block.clusters[same], True)
    if assistive:
        contrast("cue_reliance", assistive.right, misled.right, assistive, misled)
    if neutral:
        contrast("claim_effect", neutral.right, misled.right, neutral, misled)
    return columns


def _with_counterpart(base: Arm, misled: Arm) -> NDArray[np.bool_]:
    """Return the items whose cue argues for an option of the baseline, failed baselines included."""
    return misled.there & (~np.isnan(misled.led_before) | np.isnan(base.right))


def estimate(column: Column) -> Share | Difference:
    """Return a measure's value with its interval; None if an item failed: a subset never poses as the whole."""
    n, groups = len(column.first), len(np.unique(column.clusters))
    if column.failed:
        return Difference(None, None, n, groups) if column.contrast else Share(None, None, n, groups)
    if column.contrast:
        return paired_difference(column.first, column.second, column.clusters)
    return clustered_share(column.first, column.second, column.clusters)


def section(records: Sequence[Record]) -> dict[str, Any]:
    """Return "heart" -> task -> {chance, columns, outcomes} of a run.

    columns is baseline or attack -> measure -> {macro, micro, datasets}; outcomes is data set -> `outcomes`.
    """
    found = blocks(records)
    result = {
        task: _task_section([block for block in found if block.task == task])
        for task in dict.fromkeys(block.task for block in found)
    }
    _adjust(result)
    return {"heart": result}


def _task_section(found: Sequence[Block]) -> dict[str, Any]:
    ordered = in_order(attack for block in found for attack in block.arms)
    chance = {block.dataset: float(block.chance.mean()) for block in found}
    columns = {BASELINE: _levels(found, base_columns)}
    for attack in ordered:
        columns[attack] = _levels([b for b in found if attack in b.arms], partial(attack_columns, attack=attack))
    result = {
        "chance": {
            "macro": sum(chance.values()) / len(chance),
            "micro": float(np.concatenate([block.chance for block in found]).mean()),
            "datasets": chance,
        },
        "columns": columns,
        "outcomes": {block.dataset: outcomes(block) for block in found},
    }
    _flag_below_chance(columns, found)
    return result


def _levels(found: Sequence[Block], of: Callable[[Block], Mapping[str, Column]]) -> dict[str, Any]:
    by_block = {block.dataset: of(block) for block in found}
    names = dict.fromkeys(name for columns in by_block.values() for name in columns)
    return {name: levels_of({d: columns[name] for d, columns in by_block.items() if name in columns}) for name in names}


def levels_of(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return one measure over its data sets: each, pooled, and their mean."""
    parts = {dataset: estimate(column) for dataset, column in columns.items()}
    own = {dataset: _entry(parts[dataset], column.failed) for dataset, column in columns.items()}
    only = next(iter(own.values()))
    if len(own) == 1:
        return {"macro": dict(only), "micro": dict(only), "datasets": own}
    every = list(columns.values())
    pooled = Column(
        np.concatenate([column.first for column in every]),
        np.concatenate([column.second for column in every]),
        np.concatenate([column.clusters for column in every]),
        every[0].contrast,
    )
    return {
        "macro": _macro(parts, columns),
        "micro": _entry(estimate(pooled), pooled.failed),
        "datasets": own,
    }


def _entry(found: Share | Difference, failed: int) -> Entry:
    entry: Entry = {
        "value": found.value,
        "interval": found.interval,
        "n": found.n,
        "n_clusters": found.n_clusters,
        "failed": failed,
    }
    if isinstance(found, Difference):
        entry |= {"p": found.p, "test": found.test, "detectable": found.detectable}
    if warning := few_clusters(found.n_clusters):
        entry["warning"] = warning
    return entry


def _macro(parts: Mapping[str, Share | Difference], columns: Mapping[str, Column]) -> Entry:
    values = [part.value for part in parts.values() if part.value is not None]
    whole = len(values) == len(parts)
    entry: Entry = {
        "value": sum(values) / len(values) if whole else None,
        "interval": macro_interval(values, [part.interval for part in parts.values()]) if whole else None,
        "n": sum(part.n for part in parts.values()),
        "n_clusters": sum(part.n_clusters for part in parts.values()),
        "failed": sum(column.failed for column in columns.values()),
    }
    contrasts = [part for part in parts.values() if isinstance(part, Difference)]
    if contrasts:
        entry |= _macro_test(columns) if whole else {"p": None, "test": None}
        errors = [part.detectable for part in contrasts]
        known = [error for error in errors if error is not None]
        entry["detectable"] = float(np.hypot.reduce(known) / len(parts)) if known else None
    smallest = min(part.n_clusters for part in parts.values())
    if warning := few_clusters(smallest):
        entry["warning"] = f"a data set has {warning}"
    return entry


def _macro_test(columns: Mapping[str, Column]) -> Entry:
    sums = []
    for column in columns.values():
        codes = np.unique(column.clusters, return_inverse=True)[1]
        sums.append(np.bincount(codes, weights=column.first - column.second) / len(column.first) / len(columns))
    p, test = sign_flip(np.concatenate(sums), *columns)
    return {"p": p, "test": test}


def _flag_below_chance(columns: Mapping[str, Any], found: Sequence[Block]) -> None:
    """Mark the accuracies whose whole interval lies under guessing: no inability explains them, the cue does.

    Chance is that of the very items: an attack need not be on all of them.
    """
    for attack, measures in columns.items():
        for name in ("accuracy",) if attack == BASELINE else ("adversarial", "neutral"):
            if name not in measures:
                continue
            arms = [(b, b.base if attack == BASELINE else b.arms.get(attack, {}).get(name)) for b in found]
            parts = {block.dataset: block.chance[arm.there] for block, arm in arms if arm}
            means = {dataset: float(part.mean()) for dataset, part in parts.items()}
            _flag(measures[name]["macro"], sum(means.values()) / len(means))
            _flag(measures[name]["micro"], float(np.concatenate([*parts.values()]).mean()))
            for dataset, entry in measures[name]["datasets"].items():
                _flag(entry, means[dataset])


def _flag(entry: Entry, chance: float) -> None:
    entry["chance"] = chance
    entry["below_chance"] = bool(entry["interval"] and entry["interval"][1] < chance)


def _adjust(result: Mapping[str, Any]) -> None:
    """Adjust the p-values of each measure: Holm over tasks x attacks, Benjamini-Hochberg over single data sets."""
    columns = [measures for task in result.values() for measures in task["columns"].values()]
    for name in dict.fromkeys(name for measures in columns for name in measures):
        levels = [measures[name] for measures in columns if name in measures]
        if "p" not in levels[0]["macro"]:
            continue
        for level in ("macro", "micro"):
            _set_adjusted([entry[level] for entry in levels], holm, "Holm")
        single = [entry for level in levels for entry in level["datasets"].values()]
        _set_adjusted(single, benjamini_hochberg, "Benjamini-Hochberg, exploratory")


def _set_adjusted(
    entries: Sequence[Entry], adjust: Callable[[Sequence[float | None]], list[float | None]], name: str
) -> None:
    for entry, p in zip(entries, adjust([entry["p"] for entry in entries]), strict=True):
        entry["p_adjusted"], entry["adjusted_by"] = p, name


def cells(header: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Cell]:
    """Return the cells of Table 4: task/baseline, and task/attack under the adversarial cue, macro over data sets."""
    return {name: _cell(arms, str(header["run_id"])) for name, arms in table_arms(blocks(records)).items()}


MEASURE = Measure(cells, section, ATTACKED)


def _cell(arms: Sequence[tuple[Block, Arm]], run: str) -> Cell:
    columns = {block.dataset: _present(block, arm) for block, arm in arms}
    entry = levels_of(columns)["macro"]
    unread = sum(int(np.nansum(arm.unread[arm.there])) for _, arm in arms)
    exact = None
    if not entry["failed"]:
        means = [Fraction(int(column.first.sum()), len(column.first)) for column in columns.values()]
        mean = sum(means, Fraction(0)) / len(means)
        exact = f"{mean.numerator}/{mean.denominator}"
    return Cell(entry["value"], entry["n"], entry["n_clusters"], entry["interval"], entry["failed"], unread, run, exact)


def _present(block: Block, arm: Arm) -> Column:
    return Column(arm.right[arm.there], np.ones(int(arm.there.sum())), block.clusters[arm.there], False)


def table_arms(found: Sequence[Block]) -> dict[str, list[tuple[Block, Arm]]]:
    """Return task/column -> the blocks that have it with their baseline or adversarial rows, in Table 4's order."""
    result: dict[str, list[tuple[Block, Arm]]] = {}
    for task in dict.fromkeys(block.task for block in found):
        of_task = [block for block in found if block.task == task]
        attacks = in_order(attack for block in of_task for attack, arms in block.arms.items() if "adversarial" in arms)
        result[f"{task}/{BASELINE}"] = [(block, block.base) for block in of_task]
        for attack in attacks:
            result[f"{task}/{attack}"] = [
                (block, block.arms[attack]["adversarial"])
                for block in of_task
                if "adversarial" in block.arms.get(attack, {})
            ]
    return result
