"""Two runs on the same questions: what the second does better or worse, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aloe_bench.answers.outcome import outcome_of
from aloe_bench.boards.published import read_one
from aloe_bench.boards.unshared import other_items, other_replies
from aloe_bench.core import Record
from aloe_bench.errors import DataError, RunMismatchError, UsageError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import is_attacked, task_cells
from aloe_bench.evaluation.outcomes import cautions, counts, unread_by
from aloe_bench.evaluation.reliance import MEASURES, SAID, Pair, pairs_of, values_of
from aloe_bench.evaluation.repeats import by_item, grouped_replies, variance_parts
from aloe_bench.heart.measure.answers import (
    BASELINE,
    Block,
    MeasureColumn,
    blocks,
    change_column,
    difference,
    span,
    worded,
)
from aloe_bench.heart.measure.effects import Entry, Within, estimate, like_these, table_arms, what_ends_leave
from aloe_bench.stats.margins import equivalence, non_inferiority
from aloe_bench.stats.paired import Difference, holm, numbers_of, settle

# What makes two runs answer the same questions; other differences of their headers are named, not refused.
SAME = ("task.name", "task.version", "task.data_sha256")
NAMED = ("prompt_sha256", "defence", "protocol", "parser", "answer", "decoding", "judges")
# Of how a model was asked, what a user sets; two models differ in the rest of their profiles anyway.
PROFILE = ("template", "template_args", "min_pixels", "max_pixels", "reasoning_effort")
# A subgroup smaller than this is shown and not tested.
SMALLEST_GROUP = 30
FEW_ITEMS = 200

Columns = Mapping[str, MeasureColumn]


class Side(NamedTuple):
    """One of two runs that are compared: where it is, its header, its records and those of its image controls."""

    place: Path
    header: Mapping[str, Any]
    records: Sequence[Record]
    controls: Sequence[Record] = ()
    repeats: Sequence[Record] = ()


def compare(first: Path, second: Path, *, by: str | None = None, margin: float | None = None) -> dict[str, Any]:
    """Return the rows of a paired comparison of two run folders: second minus first.

    `by` adds a row for each value of a tag, explored under Benjamini-Hochberg; `margin` in (0, 1] adds the p of "second
    is at least that much worse" and of "they differ by at least that much". Rows of one kind (accuracies, drops, led)
    are one family of Holm's, also for the margin.
    Raises DataError for an unfinished run, RunMismatchError for other questions, UsageError for a tag there is not.
    """
    return compared(finished(first), finished(second), by=by, margin=margin)


def compared(first: Side, second: Side, *, by: str | None = None, margin: float | None = None) -> dict[str, Any]:
    """Return what `compare` does, of two runs that have been read."""
    refuse_other_questions(first, second)
    (_, one, before, *_), (_, two, after, *_) = first, second
    attacked = is_attacked(before)
    groups = _heart_groups(before, after) if attacked else {"overall": {"": _scores(before, after)}}
    groups |= _control_groups(first, second) | _repeat_groups(first, second)
    within = Within.pooled([column for columns in groups.values() for column in columns.values()])
    rows = [_row(name, columns, margin, within) for name, columns in groups.items()]
    kinds = list(dict.fromkeys(_kind(row) for row in rows))
    rows.sort(key=lambda row: kinds.index(_kind(row)))
    for kind in kinds:
        family = [row for row in rows if _kind(row) == kind]
        settle(family)
        for test in ("p_not_inferior", "p_equivalent"):
            for row, p in zip(family, holm([row.get(test) for row in family]), strict=True):
                row |= {f"{test}_adjusted": p} if test in row else {}
    if by is not None:
        tagged = _by_tag(before, after, by).items()
        subgroups = [_row(name, {"": column}, None, within) for name, column in tagged]
        for row in subgroups:
            if row["n"] < SMALLEST_GROUP:
                row |= {"p": None, "test": f"under {SMALLEST_GROUP} items: not tested"}
        settle(subgroups, exploratory=True)
        rows += subgroups
    return {
        "task": one["task"]["name"],
        "runs": [_run(first), _run(second)],
        "differ_in": differences(one, two),
        "left_over": other_replies([*first.controls, *first.repeats], [*second.controls, *second.repeats]),
        "margin": margin,
        "rows": rows,
        **_variance(first, second),
    }  # fmt: skip


def _run(side: Side) -> dict[str, Any]:
    """Return what is said of one run: which it is, and how its replies ended; a published one says it itself."""
    header, records = side.header, side.records
    said = header.get("cautions")
    return {
        "run": header["run_id"],
        "model": header["model"]["name"],
        "folder": str(side.place),
        "outcomes": counts(records),
        "unread_by": unread_by(records),
        "cautions": cautions(task_cells(header, records), records) if said is None else said,
    }


def differences(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """Return what of how two runs were asked and graded is not the same, by its place in the header."""
    profiles = [header["model"].get("profile") or {} for header in (one, two)]
    return [key for key in NAMED if one.get(key) != two.get(key)] + [
        f"model.profile.{key}" for key in PROFILE if profiles[0].get(key) != profiles[1].get(key)
    ]


def finished(folder: Path) -> Side:
    header, records = runlog.read_run(folder)
    if len(records) != header["n"]:
        raise DataError(f"{folder}: {len(records)} records, expected {header['n']}. Resume the run, then compare.")
    return Side(folder, header, records, runlog.read_controls(folder), runlog.read_repeats(folder))


def published_side(path: Path) -> Side:
    """Return a result of a leaderboard, which is below its folder's results/<model>/, as one side of a comparison."""
    one = read_one(path)
    return Side(path, one.header, *one.parts)


def refuse_other_questions(one_side: Side, two_side: Side) -> None:
    (first, one, before, *_), (second, two, after, *_) = one_side, two_side
    a, b = ({key: _at(header, key) for key in SAME} for header in (one, two))
    changed = [f"{key} is {a[key]!r} and {b[key]!r}" for key in SAME if a[key] != b[key]]
    told = "".join(f" {sentence}." for sentence in other_items(before, after))
    if changed:
        raise RunMismatchError(f"{first} and {second} did not answer the same questions: {'; '.join(changed)}.{told}")
    if [record.sample_id for record in before] != [record.sample_id for record in after]:
        raise RunMismatchError(
            f"{first} has {len(before)} and {second} {len(after)} items, not the same ones (a limit or a shard).{told} "
            "Run both whole, or with the same --limit."
        )


def _at(header: Mapping[str, Any], path: str) -> Any:
    part, _, key = path.partition(".")
    return header[part][key]


def _scores(before: Sequence[Record], after: Sequence[Record]) -> MeasureColumn:
    def values(records: Sequence[Record]) -> Any:
        scores = np.array([np.nan if r.score.value is None else r.score.value for r in records], dtype=float)
        return scores, np.array(list(map(outcome_of, records)), dtype=str)

    clusters = np.array([r.cluster for r in before], dtype=str)
    return change_column(values(after), values(before), clusters, drop=False)


def _by_tag(before: Sequence[Record], after: Sequence[Record], tag: str) -> dict[str, MeasureColumn]:
    """Return row -> column of each value of a tag; of an attacked table for each task and column of Table 4."""
    chosen: dict[str, list[int]] = {}
    for i, record in enumerate(before):
        shown = record.cue is None or record.cue.variant == "adversarial"
        if shown and (value := record.tags.get(tag, "")):
            attack = f"{record.tags['task']}/{record.tags['attack'] or BASELINE}, " if is_attacked([record]) else ""
            chosen.setdefault(f"{attack}{tag}={value}", []).append(i)
    if not chosen:
        known = ", ".join(sorted({key for record in before for key in record.tags}))
        raise UsageError(f"--by {tag}: no item has this tag. Tags here: {known}.")
    return {
        name: _scores([before[i] for i in chosen[name]], [after[i] for i in chosen[name]]) for name in sorted(chosen)
    }


def _control_groups(one: Side, two: Side) -> dict[str, dict[str, MeasureColumn]]:
    """Return row -> data set -> column of the image controls that both runs have: those of the second minus the first.

    Of image reliance it is the difference of two differences.
    """
    found: dict[str, dict[str, MeasureColumn]] = {}
    first, second = (pairs_of(side.records, side.controls) for side in (one, two))
    for name in ("image_reliance", "swap_follows", "swap_stays"):
        arm = MEASURES[name][0]
        for group in first.keys() & second.keys():
            sets = [_by_dataset(side[group].get(arm, ())) for side in (first, second)]
            for dataset in sorted(sets[0].keys() & sets[1].keys()):
                a, b = (side[dataset] for side in sets)
                shared = sorted(a.keys() & b.keys())
                values = [_control_values([side[item] for item in shared], name) for side in (a, b)]
                clusters = np.array([a[item].own.cluster for item in shared], dtype=str)
                column = MeasureColumn(values[1], values[0], clusters, True)
                found.setdefault(f"{group}: {SAID[name]}", {})[dataset] = column
    return dict(sorted(found.items()))


def _repeat_groups(one: Side, two: Side) -> dict[str, dict[str, MeasureColumn]]:
    """Return row -> column of the mean replies, of two runs that drew several to each question."""
    found = {}
    for name, (a, b) in _repeated(one, two).items():
        means = [by_item(*side) for side in (a, b)]
        column = MeasureColumn(means[1][0].mean(axis=1), means[0][0].mean(axis=1), means[0][1], True)
        found[f"{name}: over all replies"] = {"": column}
    return found


def _variance(one: Side, two: Side) -> dict[str, Any]:
    """Return {"repeats": row -> parts of the variance of a change}: what varies with items, and with each run's draws.

    `sd_of_one` is how far a change in the mean of one reply an item strays from that in all replies there could be.
    """
    found = {}
    for name, sides in _repeated(one, two).items():
        scores = [by_item(*side)[0] for side in sides]
        if any(np.isnan(each).any() for each in scores):
            continue
        parts = [variance_parts(each) for each in scores]
        change = scores[1].mean(axis=1) - scores[0].mean(axis=1)
        own = sum(part["replies"] / each.shape[1] for part, each in zip(parts, scores, strict=True))
        found[name] = {
            "items": max(0.0, float(np.var(change, ddof=1)) - own),
            "replies": sum(part["replies"] for part in parts),
            "sd_of_one": float(np.sqrt(sum(part["sd_of_one"] ** 2 for part in parts))),
        }
    return {"repeats": found} if found else {}


def _repeated(one: Side, two: Side) -> dict[str, list[tuple[list[Record], list[Record]]]]:
    """Return row -> first and further replies of either run; empty unless both drew several."""
    if not one.repeats or not two.repeats:
        return {}
    sides = [grouped_replies(side.records, side.repeats) for side in (one, two)]
    return {name: [side[name] for side in sides] for name in sides[0]}


def _by_dataset(pairs: Sequence[Pair]) -> dict[str, dict[str, Pair]]:
    sets: dict[str, dict[str, Pair]] = {}
    for pair in pairs:
        sets.setdefault(pair.own.tags.get("dataset", ""), {})[pair.own.sample_id] = pair
    return sets


def _control_values(pairs: Sequence[Pair], name: str) -> Any:
    _, first, second = MEASURES[name]
    return np.array(values_of(pairs, first)) - (np.array(values_of(pairs, second)) if second else 0.0)


def _heart_groups(before: Sequence[Record], after: Sequence[Record]) -> dict[str, dict[str, MeasureColumn]]:
    """Return row -> data set -> column: Table 4's cells, then what each cue did to one run beyond the other."""
    one, two = blocks(before), blocks(after)
    pairs = {(a.task, a.dataset): (a, b) for a, b in zip(one, two, strict=True)}
    accuracy: dict[str, dict[str, MeasureColumn]] = {}
    effects: dict[str, dict[str, MeasureColumn]] = {}
    for name, arms in table_arms(one).items():
        task, _, attack = name.partition("/")
        for a, arm in arms:
            b = pairs[task, a.dataset][1]
            other = b.base if attack == BASELINE else b.arms[attack]["adversarial"]
            there = arm.there
            now, then = ((side.right[there], side.ends[there]) for side in (other, arm))
            column = change_column(now, then, a.clusters[there], drop=False)
            if attack != BASELINE:
                column = replace(column, worded=worded(a, [attack], there))
            accuracy.setdefault(name, {})[a.dataset] = column
            if attack != BASELINE:
                for effect, found in _effects(a, b, attack).items():
                    effects.setdefault(f"{name}: {effect}", {})[a.dataset] = found
    return accuracy | effects


def _effects(a: Block, b: Block, attack: str) -> Columns:
    one, two = a.arms[attack]["adversarial"], b.arms[attack]["adversarial"]
    there = one.there
    both = there & ~((a.base.right == 0) | (b.base.right == 0))
    drops = b.base.right - two.right, a.base.right - one.right
    spans = [difference(*(span(arm.right, arm.ends) for arm in arms)) for arms in ((b.base, two), (a.base, one))]
    low, high = difference(*spans)
    return {
        # The second run's loss minus the first's: the difference in differences of a defence.
        "drop": MeasureColumn(
            drops[0][there],
            drops[1][there],
            a.clusters[there],
            True,
            tuple(arm.ends[there] for arm in (b.base, two, a.base, one)),
            (low[there], high[there]),
            drop=True,
            worded=worded(a, [attack], there),
        ),
        "led, both right": MeasureColumn(
            _known(two.led, b.base.right)[both],
            _known(one.led, a.base.right)[both],
            a.clusters[both],
            True,
            worded=worded(a, [attack], both),
        ),
    }


def _known(values: Any, needed: Any) -> Any:
    return np.where(np.isnan(needed), np.nan, values)


def _row(name: str, columns: Columns, margin: float | None, within: Within) -> Entry:
    every = list(columns.values())
    found = estimate(every, within)
    assert isinstance(found, Difference)
    shown = numbers_of(found) | {"failed": sum(column.failed for column in every)} | what_ends_leave(every, found)
    shown |= like_these(every, found)
    withheld = "withheld" in shown
    shown["first"], shown["second"] = (None if withheld else _mean(columns, side) for side in ("second", "first"))
    if ":" not in name and (read := _answered_in_both(every, within)) is not None:
        shown["answered_in_both"] = read
    if margin is not None and found.value is not None and ":" not in name:
        shown["p_not_inferior"] = non_inferiority(found, margin)
        shown["p_equivalent"] = equivalence(found, margin)
    if found.n < FEW_ITEMS:
        shown.setdefault("warning", f"{found.n} items, fewer than {FEW_ITEMS}")
    return {"row": name, **shown}


def _answered_in_both(columns: Sequence[MeasureColumn], within: Within) -> Entry | None:
    """Return the change among the items that both runs answered; None where they are all, or there are none."""
    masks = [(c.ends[0] == "answered") & (c.ends[1] == "answered") for c in columns if len(c.ends) == 2]
    if len(masks) < len(columns) or all(mask.all() for mask in masks) or not all(mask.any() for mask in masks):
        return None
    kept = [
        MeasureColumn(c.first[mask], c.second[mask], c.clusters[mask], True)
        for c, mask in zip(columns, masks, strict=True)
    ]
    found = estimate(kept, within)
    return {"value": found.value, "interval": found.interval, "n": found.n}


def _kind(row: Entry) -> str:
    return str(row["row"]).partition(": ")[2]


def _mean(columns: Columns, part: str) -> float | None:
    means = [getattr(column, part).mean() for column in columns.values() if len(column.first)]
    mean = float(np.mean(means)) if means else float("nan")
    return None if np.isnan(mean) else mean
