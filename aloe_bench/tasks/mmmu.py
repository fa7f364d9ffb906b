"""MMMU, validation: 900 questions of college exams in 30 subjects, with up to seven images each.

Source: Yue et al. 2024, hub MMMU/MMMU, Apache-2.0. Keys were corrected on the hub as late as July 2026, so results
depend on the revision. Open questions stay open and go to the jury; VLMEvalKit, and so the paper, makes them
multiple choice with "Other Answers" as the only other option.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aloe_bench.core import LETTERS, Absent, ImageRef, Sample
from aloe_bench.errors import DataError
from aloe_bench.facts import Facts, Paper, by_tag
from aloe_bench.tasks.benchmark import Benchmark, Layout, Rows, table_3
from aloe_bench.tasks.data.rows import images_of, text_of

SUBJECTS = 30
COLUMNS = ("id", "question", "options", "answer", "question_type", *(f"image_{n}" for n in range(1, 8)))
# A question names its images, in any order and more than once, also inside options.
_MARK = re.compile(r"<image (\d)>")


def _read(pattern: str, folder: Path) -> Rows:
    subjects = set()
    for path in sorted(folder.glob(pattern)):
        for number, row in enumerate(_parquet(path), 1):
            where = f"{path}: row {number}"
            name = text_of(row, "id", where)
            subjects.add(_subject(name, where))
            yield _sample(row, name, where, folder)
    if len(subjects) < SUBJECTS:
        yield Absent("mmmu/files", "files", f"{len(subjects)} of {SUBJECTS} subjects are there")


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not readable as parquet ({error}). Fetch the file again.") from error
    lacking = [column for column in COLUMNS if column not in table.column_names]
    if lacking:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, lacking))}; the file has {', '.join(table.column_names)}. "
            "Pin the earlier revision."
        )
    yield from table.to_pylist()


def _subject(name: str, where: str) -> str:
    match = re.fullmatch(r"validation_(\w+)_\d+", name)
    if match is None:
        raise DataError(f"{where}: id {name!r}; expected validation_<Subject>_<number>.")
    return match.group(1)


def _sample(row: Mapping[str, Any], name: str, where: str, folder: Path) -> Sample | Absent:
    options, question = _listed(row, "options", where), text_of(row, "question", where)
    subject, question_type = _subject(name, where), text_of(row, "question_type", where)
    if question_type not in ("multiple-choice", "open"):
        raise DataError(f"{where}: question_type {question_type!r} is neither multiple-choice nor open.")
    is_open = question_type == "open"
    target = " or ".join(_listed(row, "answer", where)) if is_open else _letter(row, options, where)
    images = _images(row, where, folder)
    named = {int(number) for number in _MARK.findall(" ".join([question, *options]))}
    if lacking := sorted(named - set(images)):
        return Absent(f"mmmu/{name}", subject, f"image_{lacking[0]} of {name}")
    if not images:
        return Absent(f"mmmu/{name}", subject, f"any image of {name}")
    return Sample(
        id=f"mmmu/{name}",
        kind="open" if is_open else "choice",
        question=question,
        target=target,
        cluster=" ".join(image.sha256 for image in images.values()),
        images=tuple(images.values()),
        choices=() if is_open else tuple(options),
        tags={
            "dataset": "mmmu",
            "subject": subject,
            "question_type": question_type,
            **{key: str(row.get(key) or "") for key in ("subfield", "topic_difficulty")},
        },
    )


def _images(row: Mapping[str, Any], where: str, folder: Path) -> dict[int, ImageRef]:
    """Return the images by their number, in the order in which the prompt shows them."""
    return {
        number: images_of({"image": row[f"image_{number}"]}, f"{where}: image_{number}", folder)[0]
        for number in range(1, 8)
        if row[f"image_{number}"] is not None
    }


def _listed(row: Mapping[str, Any], key: str, where: str) -> list[str]:
    """Return a field that holds a list, a list written as Python text, or one text."""
    value = row[key]
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError) as error:
            raise DataError(f"{where}: field {key!r} is not a list of texts: {value!r}.") from error
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) for item in listed):
        raise DataError(f"{where}: field {key!r} is not a list of texts: {value!r}.")
    return [str(item) for item in listed]


def _letter(row: Mapping[str, Any], options: list[str], where: str) -> str:
    answer = text_of(row, "answer", where).strip()
    if len(options) < 2 or answer not in tuple(LETTERS[: len(options)]):
        raise DataError(
            f"{where}: answer {answer!r} names none of the {len(options)} options. Pin the earlier revision."
        )
    return answer


MMMU = Benchmark(
    name="mmmu",
    about="college exams in 30 subjects with up to seven pictures, mostly multiple choice",
    source="MMMU/MMMU",
    revision="main",
    licence="Apache-2.0",
    expected_rows=900,
    folder="mmmu",
    layouts=(
        Layout("*/validation-*.parquet", lambda folder: _read("*/validation-*.parquet", folder)),
        Layout("validation-*.parquet", lambda folder: _read("validation-*.parquet", folder)),
    ),
    files=("*/validation-*.parquet",),
    facts=Facts(
        by_tag("question_type", "subject"),
        places=(
            table_3(
                "MMMU",
                "exact match, and jury for open questions; the paper made these multiple choice",
                "900 (validation)",
                ("question_type: multiple-choice", "question_type: open"),
            ),
        ),
        paper=Paper(900, told="900"),
    ),
)
