"""The experts' labels, read from a CSV file in long or wide form."""

from __future__ import annotations

import csv
import hashlib
import io
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.errors import DataError, did_you_mean

WORDS = {"correct": 1.0, "partially correct": 0.5, "incorrect": 0.0}
AMBIGUOUS = "ambiguous"
ANSWER = "answer_sha256"
# Two raters who call an item ambiguous remove it: Aloe-Vision, appendix E.2.
RATERS_TO_REMOVE = 2
MOST_PROBLEMS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class ExpertAnnotations:
    """Grades by item and rater; `removed` items were ambiguous to two raters or more.

    `n_ambiguous` single ambiguous labels count as missing. Items that nobody graded are left out. `answers`
    holds the digest of the answer that was rated, for the items of which the file tells it.
    """

    grades: Mapping[str, Mapping[str, float]]
    raters: tuple[str, ...]
    removed: tuple[str, ...]
    n_ambiguous: int
    values: tuple[float, ...]
    answers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Cell:
    line: int
    item: str
    rater: str
    label: str
    answer: str = ""


def answer_digest(answer: str) -> str:
    """Return "sha256:" and 16 digits of an answer's hash; a spreadsheet would take some digits for a number."""
    return "sha256:" + hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_annotations(path: Path, values: Sequence[float] = (0.0, 0.5, 1.0)) -> ExpertAnnotations:
    """Return the labels of `path`: rows item_id,rater,label, or item_id and one column a rater.

    A label is correct, partially correct, incorrect, ambiguous, or one of `values` (the scale,
    lowest first); an empty one is missing. Of further columns in the long form `answer_sha256` says
    which answer was rated; others are left alone. Raises DataError that names every broken row by file and line.
    """
    scale = tuple(values)
    seen: dict[tuple[str, str], int] = {}
    grades: defaultdict[str, dict[str, float]] = defaultdict(dict)
    doubts: defaultdict[str, list[str]] = defaultdict(list)
    raters: set[str] = set()
    answers: dict[str, str] = {}
    problems: list[str] = []
    for cell in _cells(path, problems):
        if (first := seen.get((cell.item, cell.rater))) is not None:
            problems.append(
                f"{path}:{cell.line}: {cell.rater!r} rated {cell.item!r} on line {first} already; keep one of the two."
            )
            continue
        seen[cell.item, cell.rater] = cell.line
        if cell.answer and answers.setdefault(cell.item, cell.answer) != cell.answer:
            problems.append(f"{path}:{cell.line}: {cell.item!r} has another answer than above; keep one run a file.")
        raters.add(cell.rater)
        item = grades[cell.item]
        label = " ".join(cell.label.lower().replace("_", " ").replace("-", " ").split())
        if label == AMBIGUOUS:
            doubts[cell.item].append(cell.rater)
        elif label:
            grade = WORDS[label] if WORDS.get(label) in scale else _number(cell.label, scale)
            if grade is None:
                problems.append(f"{path}:{cell.line}: {_bad_label(cell, scale)}")
            else:
                item[cell.rater] = grade
    if problems:
        more = len(problems) - MOST_PROBLEMS_SHOWN
        shown = problems[:MOST_PROBLEMS_SHOWN] + ([f"... and {more} more broken rows."] if more > 0 else [])
        raise DataError("\n".join(shown))
    if not seen:
        raise DataError(f"{path}: no annotations below the header; expected rows of item_id, rater, label.")
    removed = tuple(sorted(item for item, who in doubts.items() if len(who) >= RATERS_TO_REMOVE))
    kept = {item: grades[item] for item in sorted(grades) if grades[item] and item not in removed}
    single = sum(len(who) for item, who in doubts.items() if item not in removed)
    return ExpertAnnotations(kept, tuple(sorted(raters)), removed, single, scale, answers)


def _number(label: str, scale: tuple[float, ...]) -> float | None:
    try:
        # Spreadsheets of half of Europe write 0,5.
        number = float(label.replace(",", "."))
    except ValueError:
        return None
    return number if number in scale else None


def _bad_label(cell: _Cell, scale: tuple[float, ...]) -> str:
    numbers = ", ".join(f"{value:g}" for value in scale)
    return (
        f"label {cell.label!r} of rater {cell.rater!r} for item {cell.item!r} is none of "
        f"{', '.join((*WORDS, AMBIGUOUS))}, {numbers}.{did_you_mean(cell.label, (*WORDS, AMBIGUOUS))} Correct the row."
    )


def _cells(path: Path, problems: list[str]) -> Iterator[_Cell]:
    """Yield one cell a label, in the file's order; rows of a wrong width or without a name go to `problems`."""
    rows = _rows(path)
    try:
        header_line, header = next(rows)
    except StopIteration:
        raise DataError(f"{path}: empty; expected a header with item_id.") from None
    names = [_name(name) for name in header]
    plain = [name.lower() for name in names]
    if "item_id" not in plain:
        raise DataError(
            f"{path}:{header_line}: the header is {','.join(names)!r}; expected item_id,rater,label "
            "or item_id and one column a rater."
        )
    item_at = plain.index("item_id")
    is_long = "rater" in plain or "label" in plain
    # A long form's columns are found in any case, so "Label" beside "label" would be read as one of the two.
    keys = plain if is_long else names
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise DataError(
            f"{path}:{header_line}: column {twice[0]!r} stands twice in the header; give each its own name."
        )
    if is_long and not {"rater", "label"} <= set(plain):
        lacking = "label" if "rater" in plain else "rater"
        raise DataError(f"{path}:{header_line}: no column {lacking!r}; the long form has item_id, rater and label.")
    columns = [at for at, name in enumerate(names) if at != item_at]
    if not is_long and not all(names[at] for at in columns):
        raise DataError(f"{path}:{header_line}: a column has no name; in the wide form each names a rater.")
    if not columns:
        raise DataError(f"{path}:{header_line}: only item_id; expected item_id,rater,label or one column a rater.")
    for line, row in rows:
        if len(row) != len(names):
            problems.append(
                f"{path}:{line}: {len(row)} cells, but the header has {len(names)}; check commas and quotes."
            )
            continue
        item = row[item_at].strip()
        if not item:
            problems.append(f"{path}:{line}: no item_id; every row names its item.")
        elif is_long:
            rater = _name(row[plain.index("rater")])
            if rater:
                answer = row[plain.index(ANSWER)].strip() if ANSWER in plain else ""
                yield _Cell(line, item, rater, row[plain.index("label")].strip(), answer)
            else:
                problems.append(f"{path}:{line}: no rater for item {item!r}; every row names who rated.")
        else:
            for at in columns:
                yield _Cell(line, item, names[at], row[at].strip())


def _name(text: str) -> str:
    """Return a name as one spelling: é typed on two keyboards is one rater."""
    return unicodedata.normalize("NFC", text.strip())


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line a row begins on and its cells; blank lines are passed over."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror}); give the CSV file of the annotations.") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8; save the file as CSV UTF-8.") from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield begin, row
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{begin}: not readable as CSV ({error}); check the quotes.") from error
