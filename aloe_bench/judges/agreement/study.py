"""Experts' and judges' grades of the same items, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from aloe_bench.core import Record
from aloe_bench.errors import DataError
from aloe_bench.evaluation.cells import vote
from aloe_bench.joins import first_ten, join
from aloe_bench.judges.experts.annotations import ExpertAnnotations, answer_digest
from aloe_bench.stats.agreement import Matrix
from aloe_bench.tables import fold


@dataclass(frozen=True, slots=True)
class Votes:
    """What the judges did over a whole run: `n` graded answers, and how the panel was divided."""

    n: int
    unanimous: int
    split: int
    no_grade: int
    verdicts_missing: int


@dataclass(frozen=True, slots=True)
class Study:
    """Grades in tables of (raters, items), nan where missing; items and names are sorted.

    `left_over` names what one side alone has, or what has no part, and why. `jury` and `chars` (the answer's length
    in characters) have one value an item, nan where the run has none. `votes` is None without a run; `samples` are the
    items' ids in the run, None of those it lacks.
    """

    items: tuple[str, ...]
    clusters: tuple[str, ...]
    values: tuple[float, ...]
    raters: tuple[str, ...]
    humans: Matrix
    judges: tuple[str, ...]
    verdicts: Matrix
    jury: Matrix
    chars: Matrix
    votes: Votes | None
    unmatched: tuple[str, ...]
    left_over: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]
    n_ambiguous: int
    samples: tuple[str | None, ...] = ()


def study_of(
    annotations: ExpertAnnotations,
    records: Sequence[Record] | None = None,
    shown: Callable[[str], str | None] = str.strip,
) -> Study:
    """Return the table of both; annotated items that the run lacks are `unmatched` and have no jury.

    An annotation's item_id is a record's sample_id, or what follows its last slash. `shown` gives what
    of a reply the judges saw. A grade that no judge gave is not the jury's. Raises DataError if the run
    holds no verdict, no item is in it, an id fits two of its samples, or another answer was rated.
    """
    items = tuple(annotations.grades)
    index = {item: at for at, item in enumerate(items)}
    humans = np.full((len(annotations.raters), len(items)), np.nan)
    for row, rater in enumerate(annotations.raters):
        for item, grades in annotations.grades.items():
            if rater in grades:
                humans[row, index[item]] = grades[rater]
    matched = _match(items, records) if records is not None else {}
    judges = tuple(sorted({v.judge for record in records or () for v in record.score.verdicts}))
    if records is not None and not judges:
        raise DataError("the run holds no verdict of a judge; grade it with `aloe-bench judge RUN` first.")
    verdicts = np.full((len(judges), len(items)), np.nan)
    jury, chars = np.full(len(items), np.nan), np.full(len(items), np.nan)
    for item, record in matched.items():
        at = index[item]
        if record.score.verdicts:
            jury[at] = _on_scale(record.score.value, annotations, item)
        for verdict in record.score.verdicts:
            verdicts[judges.index(verdict.judge), at] = _on_scale(verdict.grade, annotations, item)
        answer = shown(record.prediction.text or "")
        if annotations.answers.get(item) not in (None, answer_digest(answer or "")):
            raise DataError(f"item {item!r}: the experts rated another answer than this run's; give their own run.")
        if answer:
            chars[at] = len(answer)
    unmatched = tuple(item for item in items if item not in matched) if records is not None else ()
    used = {record.sample_id for record in matched.values()}
    unrated = sorted(
        record.sample_id for record in records or () if record.score.verdicts and record.sample_id not in used
    )
    return Study(
        items=items,
        clusters=tuple(
            annotations.clusters.get(item) or (matched[item].cluster if item in matched else item) for item in items
        ),
        values=annotations.values,
        raters=annotations.raters,
        humans=humans,
        judges=judges,
        verdicts=verdicts,
        jury=jury,
        chars=chars,
        votes=_votes(records, len(judges)) if records is not None else None,
        unmatched=unmatched,
        left_over=(
            *annotations.left_over,
            *((item, "an annotated item that is not in the run") for item in unmatched),
            *((name, "an answer of the run that no expert rated") for name in unrated),
        ),
        removed=annotations.removed,
        n_ambiguous=annotations.n_ambiguous,
        samples=tuple(matched[item].sample_id if item in matched else None for item in items),
    )


def _on_scale(grade: float | None, annotations: ExpertAnnotations, item: str) -> float:
    if grade is None:
        return float("nan")
    if grade not in annotations.values:
        scale = ", ".join(f"{value:g}" for value in annotations.values)
        raise DataError(
            f"item {item!r}: a judge's grade {grade:g} is not one of {scale}; not the scale of the experts."
        )
    return grade


def _match(items: Sequence[str], records: Sequence[Record]) -> dict[str, Record]:
    """Return the record of each item: by its whole id, or by what follows the last slash, in any case."""
    by_id = {record.sample_id: record for record in records}
    whole = join(items, by_id)
    tails: dict[str, list[str]] = {}
    for name in by_id:
        tails.setdefault(fold(name.rsplit("/", 1)[-1]), []).append(name)
    matched: dict[str, Record] = {}
    taken: dict[str, str] = {}
    for item in items:
        candidates = [whole.pairs[item]] if item in whole.pairs else tails.get(fold(item), [])
        if len(candidates) > 1:
            both = " and ".join(map(repr, candidates[:2]))
            raise DataError(f"item {item!r} fits {both} of the run; write the whole sample id.")
        for name in candidates:
            if name in taken:
                raise DataError(
                    f"items {taken[name]!r} and {item!r} are one sample of the run, {name!r}; use one id for it."
                )
            taken[name] = item
            matched[item] = by_id[name]
    whole_unclear = [group for group in whole.unclear if any(name in items and name not in matched for name in group)]
    if whole_unclear:
        raise DataError(f"items and samples of the run that differ in case alone: {', '.join(whole_unclear[0])}.")
    if not matched and items:
        raise DataError(
            f"none of the {len(items)} annotated items ({first_ten(items)}) is among the "
            f"{len(records)} samples of the run; are they of another run or task?"
        )
    return matched


def _votes(records: Sequence[Record], n_judges: int) -> Votes:
    judged = [record.score for record in records if record.score.verdicts]
    unanimous = split = missing = 0
    for score in judged:
        grades = [verdict.grade for verdict in score.verdicts]
        missing += n_judges - len(grades) + grades.count(None)
        unanimous += len(grades) == n_judges and len(set(grades)) == 1 and None not in grades
        split += vote(grades).split
    return Votes(len(judged), unanimous, split, sum(score.value is None for score in judged), missing)


def majority(humans: Matrix, values: Sequence[float]) -> Matrix:
    """Return each item's grade that more than half of its raters share, nan where none does.

    An item with one rating has no majority.
    """
    counts = (humans[:, :, None] == np.asarray(values)).sum(axis=0)
    n = counts.sum(axis=1)
    found = (2 * counts.max(axis=1) > n) & (n > 1)
    return np.where(found, np.asarray(values)[counts.argmax(axis=1)], np.nan)


def human_mean(humans: Matrix) -> Matrix:
    """Return each item's mean grade over its raters, nan where nobody graded it."""
    n = (~np.isnan(humans)).sum(axis=0)
    return np.where(n > 0, np.nansum(humans, axis=0) / np.maximum(n, 1), np.nan)


def without_judge(verdicts: Matrix, row: int) -> Matrix:
    """Return the panel's grade of each item with judge `row` of `verdicts` missing; nan where no quorum is left."""
    rest = np.delete(verdicts, row, axis=0)
    votes = [vote([*(None if np.isnan(grade) else float(grade) for grade in column), None]) for column in rest.T]
    return np.array([np.nan if found.value is None else found.value for found in votes], dtype=np.float64)
