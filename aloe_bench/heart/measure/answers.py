"""The records of a HEART run as arrays, one entry an item: baseline and cue rows, and what each measure is made of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from aloe_bench.answers.outcome import outcome_of
from aloe_bench.core import Outcome, Record
from aloe_bench.errors import DataError
from aloe_bench.evaluation.outcomes import LOST
from aloe_bench.stats.wordings import Facet

Floats = NDArray[np.float64]
Ends = NDArray[np.str_]
Span = tuple[Floats, Floats]
BASELINE = "baseline"
# What a row says of how its cue is worded, and by whom it is said.
SPOKEN = ("wording", "bias", "authority")


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
    """The items of one data set and task, sorted by id; `arms` is attack -> variant -> Arm.

    `worded` is attack -> the wording that each item drew, of each of its sentences; () where that is not known of all.
    """

    dataset: str
    task: str
    clusters: NDArray[np.str_]
    chance: Floats
    base: Arm
    arms: Mapping[str, Mapping[str, Arm]]
    worded: Mapping[str, tuple[Facet, ...]] = field(default_factory=dict)


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
        {attack: facets(items, [found for (name, _), found in rows.items() if name == attack]) for attack in arms},
    )


def facets(items: Sequence[str], variants: Sequence[Mapping[str, Record]]) -> tuple[Facet, ...]:
    """Return which wording each item drew for one attack, per sentence of its cue: "a+b" stands for two.

    `variants` are its rows by item, "" is an item without one. () unless all variants of an item are worded alike, all
    items have as many sentences, and no wording stands for two of them.
    """
    said = [spoken([found[item] for found in variants if item in found]) for item in items]
    there = [any(item in found for found in variants) for item in items]
    parts = [tuple(dict.fromkeys(each["wording"].split("+"))) for each in said]
    known = {part for part, is_there in zip(parts, there, strict=True) if is_there}
    count = len(next(iter(known)))
    each = [{part[i] for part in known} for i in range(count)] if {*map(len, known)} == {count} else []
    if not each or "" in set().union(*each) or len(set().union(*each)) < sum(map(len, each)):
        return ()
    kinds = np.array([f"{one['bias']}/{one['authority']}" for one in said], dtype=str)
    ids = [[part[i] if is_there else "" for part, is_there in zip(parts, there, strict=True)] for i in range(count)]
    return tuple(Facet(np.array(one, dtype=str), kinds) for one in ids)


def spoken(rows: Sequence[Record]) -> dict[str, str]:
    """Return what `rows`, the variants of one attack on one item, all say of their wording; "" where they differ."""
    said = {tag: {record.tags.get(tag, "") for record in rows} for tag in SPOKEN}
    return {tag: next(iter(values)) if len(values) == 1 else "" for tag, values in said.items()}


def worded(block: Block, attacks: Sequence[str], items: NDArray[np.bool_]) -> tuple[Facet, ...]:
    """Return the wordings of these attacks on these items; attacks that share a draw count once."""
    every = [block.worded.get(attack, ()) for attack in attacks]
    if not all(every):
        return ()
    different: list[Facet] = []
    for facet in (facet.at(items) for facets in every for facet in facets):
        if not any(np.array_equal(facet.ids, other.ids) for other in different):
            different.append(facet)
    return tuple(different)


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


def span(right: Floats, ends: Ends) -> Span:
    """Return answers with every lost reply wrong, and right."""
    lost = np.isin(ends, list(LOST))
    return np.where(lost, 0.0, right), np.where(lost, 1.0, right)


def difference(first: Span, second: Span) -> Span:
    """Return the least and the most that the first minus the second can be."""
    return first[0] - second[1], first[1] - second[0]


def span_among(hits: Span, chosen: Floats, ends: Ends) -> tuple[Span, Span]:
    """Return hits and who is among those counted, for the least and for the greatest share of hits among them.

    Whether an item counts is open where the reply that decides it (`ends`) was lost: it does where that serves.
    """
    open_ = np.isin(ends, list(LOST))
    certain = ~open_ & (chosen > 0)
    among = _serving(hits[0], certain, open_), _serving(-hits[1], certain, open_)
    return (hits[0] * among[0], hits[1] * among[1]), (among[0].astype(float), among[1].astype(float))


def _serving(values: Floats, certain: NDArray[np.bool_], open_: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `certain` and those of `open_` that make the mean of `values` the least."""
    chosen, total, n = certain.copy(), float(values[certain].sum()), int(certain.sum())
    for at in sorted(np.flatnonzero(open_), key=lambda at: values[at]):
        if n and values[at] * n >= total:
            break
        chosen[at], total, n = True, total + float(values[at]), n + 1
    return chosen


@dataclass(frozen=True, slots=True)
class MeasureColumn:
    """What one measure is computed from, one entry an item; nan where it could not be measured.

    A share is `first` among the items where `second` is 1; a contrast is the paired difference `first` - `second`.
    `ends` are the outcomes of the replies that a share of all, or each side of a contrast, is counted from, and
    `between` the least and the most that each item could be, whatever the lost ones would have said; of a share of
    some, with who is `among` these then. A `drop` has no value where too many of them are unread. `worded` is in which
    wording each was asked; () where no wording plays a part, or it is not known.
    """

    first: Floats
    second: Floats
    clusters: NDArray[np.str_]
    contrast: bool
    ends: tuple[Ends, ...] = ()
    between: Span | None = None
    drop: bool = False
    among: Span | None = None
    worded: tuple[Facet, ...] = ()

    @property
    def failed(self) -> int:
        return int((np.isnan(self.first) | np.isnan(self.second)).sum())

    def only_right(self) -> dict[str, dict[str, int]]:
        """Return of each side of a contrast how the other side's replies ended where this one alone was right."""
        sides = ("first", self.first > self.second, self.ends[1]), ("second", self.second > self.first, self.ends[0])
        return {name: dict(Counter(ends[alone].tolist())) for name, alone, ends in sides}


def accuracy_column(right: Floats, ends: Ends, clusters: NDArray[np.str_]) -> MeasureColumn:
    """Return the share of right answers."""
    return MeasureColumn(right, np.ones(len(right)), clusters, False, (ends,), span(right, ends))


def change_column(
    first: tuple[Floats, Ends], second: tuple[Floats, Ends], clusters: NDArray[np.str_], drop: bool
) -> MeasureColumn:
    """Return how much more often the first is right, each given as answers and how the replies ended."""
    between = difference(span(*first), span(*second))
    return MeasureColumn(first[0], second[0], clusters, True, (first[1], second[1]), between, drop)


def joined(columns: Sequence[MeasureColumn]) -> MeasureColumn:
    """Return the columns of several data sets as one."""
    return replace(
        columns[0],
        first=np.concatenate([column.first for column in columns]),
        second=np.concatenate([column.second for column in columns]),
        clusters=np.concatenate([column.clusters for column in columns]),
        ends=tuple(np.concatenate(side) for side in zip(*(column.ends for column in columns), strict=True)),
        between=_joined_spans([column.between for column in columns]),
        among=_joined_spans([column.among for column in columns]),
        worded=joined_facets([column.worded for column in columns]),
    )


def _joined_spans(spans: Sequence[Span | None]) -> Span | None:
    known = [one for one in spans if one is not None]
    return (np.concatenate([low for low, _ in known]), np.concatenate([high for _, high in known])) if known else None


def joined_facets(sets: Sequence[tuple[Facet, ...]]) -> tuple[Facet, ...]:
    """Return the wordings of several data sets' items; () unless all have as many sentences a cue."""
    if len({len(each) for each in sets}) > 1:
        return ()
    return tuple(Facet(*map(np.concatenate, zip(*same, strict=True))) for same in zip(*sets, strict=True))


def bounds_of(column: MeasureColumn) -> tuple[float, float] | None:
    """Return the least and the greatest that a column's value could be; None where that is not known."""
    if column.between is None:
        return None
    weights = column.among or tuple(np.ones(len(end)) for end in column.between)
    ends = [end.sum() / weight.sum() for end, weight in zip(column.between, weights, strict=True) if weight.sum()]
    # Where no item can serve one end, those that may count all stand at the other.
    return (float(ends[0]), float(ends[-1])) if ends else None
