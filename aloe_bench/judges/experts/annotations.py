"""The experts' labels, read from a table in long or wide form."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.errors import DataError, UsageError, did_you_mean
from aloe_bench.joins import alike, first_ten
from aloe_bench.tables import UserTable, as_text, fold, is_absent, number_of, read_table

WORDS = {"correct": 1.0, "partially correct": 0.5, "incorrect": 0.0}
AMBIGUOUS = "ambiguous"
ANSWER, CLUSTER = "answer_sha256", "cluster"
# Two raters who call an item ambiguous remove it: Aloe-Vision, appendix E.2.
RATERS_TO_REMOVE = 2
MOST_PROBLEMS_SHOWN = 10
# Columns of numbers that stand beside ratings and are nobody's: any of them would be one more expert.
NO_RATERS = re.compile(
    r"gold|(gold[ _])?(label|standard)|truth|ground[ _]?truth|target|reference|consensus|majority|mean|median|average|"
    r"sum|total|votes?|agree(ment|d)?|difficulty|confidence|certainty|split|fold|year|age|time|seconds?|duration|index|row|"
    r"(n|num|number|count)[ _].*|.*[ _](count|attempts|seconds|ms|id|time|length)|length|words|tokens|attempts|"
    r"unnamed.*|(has|is|was)[ _].*|(gpt|llm|auto|automatic|model|system|metric|bleu|rouge|bert)([ _-].*|\d.*)?",
    re.IGNORECASE,
)
LeftRating = tuple[str, str]  # name, and why it has no part


@dataclass(frozen=True, slots=True)
class ExpertAnnotations:
    """Grades by item and rater; `removed` items were ambiguous to two raters or more.

    `n_ambiguous` single ambiguous labels count as missing. Items that nobody graded are left out. `answers`
    holds the digest of the answer that was rated, and `clusters` what items share, for those of which the file tells
    it. `left_over` names each column, rater or item of the file that has no part, and why.
    """

    grades: Mapping[str, Mapping[str, float]]
    raters: tuple[str, ...]
    removed: tuple[str, ...]
    n_ambiguous: int
    values: tuple[float, ...]
    answers: Mapping[str, str]
    clusters: Mapping[str, str]
    left_over: tuple[LeftRating, ...]


@dataclass(frozen=True, slots=True)
class _Cell:
    where: str
    item: str
    rater: str
    label: str
    answer: str = ""
    cluster: str = ""


def answer_digest(answer: str) -> str:
    """Return "sha256:" and 16 digits of an answer's hash; a spreadsheet would take some digits for a number."""
    return "sha256:" + hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_annotations(
    path: Path, values: Sequence[float] = (0.0, 0.5, 1.0), raters: Sequence[str] = ()
) -> ExpertAnnotations:
    """Return the labels of `path`: rows item_id,rater,label, or item_id and one column a rater.

    A label is correct, partially correct, incorrect, ambiguous, or one of `values` (the scale,
    lowest first); an empty one, or NA in one of its spellings, is missing. `raters` are those that count, all by
    default. A column `cluster` says what items share; of further columns in the long form `answer_sha256` says
    which answer was rated, and others are left out, as `left_over` tells. Raises DataError that names every broken row
    by file and line, UsageError for a rater that the file has not.
    """
    scale = tuple(values)
    table = read_table(path, ids=("item_id",))
    left: list[LeftRating] = []
    problems = list(table.faults)
    cells = list(_cells(table, raters, left, problems))
    grades: defaultdict[str, dict[str, float]] = defaultdict(dict)
    doubts: defaultdict[str, list[str]] = defaultdict(list)
    seen: dict[tuple[str, str], str] = {}
    answers: dict[str, str] = {}
    for cell in cells:
        if (first := seen.get((cell.item, cell.rater))) is not None:
            line = first.rpartition(":")[2]
            problems.append(
                f"{cell.where}: {cell.rater!r} rated {cell.item!r} on line {line} already; keep one of the two."
            )
            continue
        seen[cell.item, cell.rater] = cell.where
        if cell.answer and answers.setdefault(cell.item, cell.answer) != cell.answer:
            problems.append(f"{cell.where}: {cell.item!r} has another answer than above; keep one run a file.")
        item = grades[cell.item]
        label = " ".join(cell.label.lower().replace("_", " ").replace("-", " ").split())
        if label == AMBIGUOUS:
            doubts[cell.item].append(cell.rater)
        elif not is_absent(cell.label):
            grade = WORDS[label] if WORDS.get(label) in scale else number_of(cell.label)
            if grade not in scale:
                problems.append(f"{cell.where}: {_bad_label(cell, scale)}")
            else:
                item[cell.rater] = grade
    clusters = _clusters(cells, problems)
    problems += _alike(path, "item_ids", [item for item, _ in seen]) + _alike(path, "raters", [r for _, r in seen])
    if problems:
        more = len(problems) - MOST_PROBLEMS_SHOWN
        shown = problems[:MOST_PROBLEMS_SHOWN] + ([f"... and {more} more broken rows."] if more > 0 else [])
        raise DataError("\n".join(shown))
    if not seen:
        raise DataError(f"{path}: no annotations below the header; expected rows of item_id, rater, label.")
    removed = tuple(sorted(item for item, who in doubts.items() if len(who) >= RATERS_TO_REMOVE))
    kept = {item: grades[item] for item in sorted(grades) if grades[item] and item not in removed}
    left += [
        (item, "an item that nobody graded") for item in sorted(grades) if item not in kept and item not in removed
    ]
    left += [(note, "how the table was read") for note in table.notes]
    single = sum(len(who) for item, who in doubts.items() if item not in removed)
    named = tuple(sorted({rater for _, rater in seen}))
    return ExpertAnnotations(kept, named, removed, single, scale, answers, clusters, tuple(left))


def _bad_label(cell: _Cell, scale: tuple[float, ...]) -> str:
    numbers = ", ".join(f"{value:g}" for value in scale)
    return (
        f"label {cell.label!r} of rater {cell.rater!r} for item {cell.item!r} is not one of "
        f"{', '.join((*WORDS, AMBIGUOUS))}, {numbers}.{did_you_mean(cell.label, (*WORDS, AMBIGUOUS))} Correct the row, "
        "or name the raters with --raters."
    )


def _alike(path: Path, what: str, names: Sequence[str]) -> list[str]:
    return [
        f"{path}: {what} {' and '.join(map(repr, group))} differ in case alone; give one thing one name."
        for group in alike(names)
    ]


def _clusters(cells: Sequence[_Cell], problems: list[str]) -> dict[str, str]:
    """Return item -> cluster where the file has them; an item in two, or in none among others, is a problem."""
    found: dict[str, str] = {}
    for cell in cells:
        if cell.cluster and found.setdefault(cell.item, cell.cluster) != cell.cluster:
            problems.append(f"{cell.where}: {cell.item!r} is in cluster {cell.cluster!r}, and in another above.")
    lacking = [cell for cell in cells if found and cell.item not in found]
    problems += [f"{cell.where}: no cluster of {cell.item!r}; fill the column, or leave it out." for cell in lacking]
    return found


def _cells(table: UserTable, asked: Sequence[str], left: list[LeftRating], problems: list[str]) -> Iterator[_Cell]:
    """Yield one cell a label, in the file's order; rows without a name go to `problems`, what has no part to `left`."""
    path, names = table.path, list(table.columns)
    if not names:
        raise DataError(f"{path}: empty; expected a header with item_id.")
    if not table.has("item_id"):
        raise DataError(
            f"{path}:1: the header is {','.join(names)!r}; expected item_id,rater,label "
            "or item_id and one column a rater."
        )
    is_long = table.has("rater") or table.has("label")
    if is_long and not (table.has("rater") and table.has("label")):
        lacking = "label" if table.has("rater") else "rater"
        raise DataError(f"{path}:1: no column {lacking!r}; the long form has item_id, rater and label.")
    known = {fold(name) for name in ("item_id", CLUSTER, ANSWER, *(("rater", "label") if is_long else ()))}
    others = [name for name in names if fold(name) not in known]
    if is_long:
        raters = list(dict.fromkeys(_name(row.cells.get("rater")) for row in table.rows if row.text("rater")))
        left += [(name, "a column that is not read") for name in others]
    else:
        raters = others
    if not raters and not is_long:
        raise DataError(f"{path}:1: only item_id; expected item_id,rater,label or one column a rater.")
    strange = [name for name in raters if NO_RATERS.fullmatch(name.strip())]
    if strange and not is_long and not asked:
        rest = ",".join(name for name in raters if name not in strange) or "a,b"
        raise DataError(
            f"{path}:1: {first_ten(strange)}: by the name no rater, and it would count as one. "
            f"Say who rated: --raters {rest}."
        )
    chosen = _chosen(path, raters, asked)
    left += [(name, "not among --raters") for name in raters if name not in chosen]
    for row in table.rows:
        item = row.text("item_id")
        if not item:
            problems.append(f"{row.where}: no item_id; every row names its item.")
            continue
        cluster = "" if is_absent(row.cells.get(CLUSTER)) else row.text(CLUSTER)
        if not is_long:
            for rater in raters:
                if rater in chosen:
                    yield _Cell(row.where, item, rater, row.text(rater), cluster=cluster)
        elif not row.text("rater"):
            problems.append(f"{row.where}: no rater for item {item!r}; every row names who rated.")
        elif (rater := _name(row.cells["rater"])) in chosen:
            yield _Cell(row.where, item, rater, row.text("label"), row.text(ANSWER), cluster)


def _name(cell: object) -> str:
    """Return a name as one spelling: é typed on two keyboards is one rater."""
    return unicodedata.normalize("NFC", as_text(cell))


def _chosen(path: Path, raters: Sequence[str], asked: Sequence[str]) -> set[str]:
    """Return those of `raters` that `asked` names, in any case; all of them if it names none."""
    if not asked:
        return set(raters)
    by_name = {fold(rater): rater for rater in raters}
    for name in asked:
        if fold(name) not in by_name:
            raise UsageError(
                f"--raters: {path} has no rater {name!r}.{did_you_mean(name, raters)} It has {first_ten(raters)}."
            )
    return {by_name[fold(name)] for name in asked}
