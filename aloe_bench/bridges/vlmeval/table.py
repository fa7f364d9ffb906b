"""Our samples as the TSV that VLMEvalKit reads, and back. Nothing here imports it.

Columns: index, id, kind, question, prompt, A.. , answer, category, l2-category, split, dataset, image. A picture
stands once, as base64, in the first row that shows it; later rows hold that row's index, as upstream allows.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench.core import LETTERS, ImageRef, Sample
from aloe_bench.errors import DataError
from aloe_bench.files import write_atomic, write_json

INDEX_FILE = "aloe_tables.json"
NAMES = {"careqa_vision_mcq": "CareQA_Vision_MCQ", "careqa_vision_open": "CareQA_Vision_Open"}
# What pandas reads as a missing cell: upstream then takes the option for absent.
READ_AS_MISSING = frozenset(
    " |#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|")
)
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class TsvTable:
    """A TSV on disk: upstream's `name` for it, the samples' `kind`, and what it was made from."""

    name: str
    path: Path
    facts: Mapping[str, Any]


def dataset_name(task_name: str) -> str:
    """Return upstream's name of a task: CareQA_Vision_MCQ, HEART_<dataset>, else the task's own."""
    if task_name.startswith("heart-"):
        return "HEART_" + re.sub(r"\W+", "_", task_name.removeprefix("heart-"))
    return NAMES.get(task_name, task_name)


def write_table(
    folder: Path, task_name: str, samples: Sequence[tuple[int, Sample]], prompt: Callable[[Sample], str]
) -> TsvTable:
    """Write `<folder>/<name>.tsv` and enter it in the folder's list of tables; return it.

    Raises DataError for a sample without images, as upstream's image data sets leave such rows out; and in place of
    another table of this name, if upstream would show its pictures or it is another task's.
    """
    name = dataset_name(task_name)
    options = max((len(sample.choices) for _, sample in samples), default=0)
    columns = ["index", "id", "kind", "question", "prompt", *LETTERS[:options], "answer"]
    columns += ["category", "l2-category", "split", "dataset", "image"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    first: dict[str, int] = {}
    for index, sample in samples:
        writer.writerow(_row(index, sample, prompt(sample), first))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.tsv"
    facts = {
        "task": task_name,
        "rows": len(samples),
        "pictures": len(first),
        "sha256": hashlib.sha256(text.getvalue().encode()).hexdigest(),
        "options_read_as_missing": sum(o in READ_AS_MISSING for _, sample in samples for o in sample.choices),
    }
    known = json.loads((folder / INDEX_FILE).read_text("utf-8")) if (folder / INDEX_FILE).exists() else {}
    _refuse_mixture(folder, name, known.get(name, {}), facts)
    write_atomic(path, text.getvalue())
    write_json(folder / INDEX_FILE, {**known, name: facts})
    return TsvTable(name, path, facts)


def _refuse_mixture(folder: Path, name: str, known: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    if known.get("task", facts["task"]) != facts["task"]:
        raise DataError(
            f"{folder}: {name} already stands for {known['task']}, not {facts['task']}. Export into another folder."
        )
    decoded = folder / "images" / name
    if decoded.exists() and known.get("sha256") != facts["sha256"]:
        raise DataError(
            f"{decoded}: pictures that VLMEvalKit decoded from an earlier table of this name; it would show them with "
            "the new questions. Delete that folder, or export into another."
        )


def read_tables(folder: Path) -> list[TsvTable]:
    """Return the tables of a folder that `write_table` wrote; raises DataError if one was changed since."""
    try:
        listed = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder / INDEX_FILE}: {error}; expected a folder that `aloe-bench export --format vlmeval` wrote."
        ) from error
    tables = [TsvTable(name, folder / f"{name}.tsv", facts) for name, facts in listed.items()]
    for table in tables:
        found = hashlib.sha256(table.path.read_bytes()).hexdigest() if table.path.is_file() else "no file"
        if found != table.facts["sha256"]:
            raise DataError(f"{table.path}: changed since it was exported ({found[:12]}). Export it again.")
    return tables


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a TSV as text, empty cells as ""; raises DataError if it cannot be read."""
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as TSV ({error}).") from error


def sample_of(row: Row) -> Sample:
    """Return what grading needs of a row that `write_table` wrote: no images."""
    options = tuple(row[letter] for letter in LETTERS if row.get(letter))
    return Sample(
        row["id"],
        row["kind"],  # type: ignore[arg-type]
        row["question"],
        row["answer"],
        cluster=row["id"],
        choices=options,
    )


def _row(index: int, sample: Sample, prompt: str, first: dict[str, int]) -> Row:
    if not sample.images:
        raise DataError(f"{sample.id}: no image; VLMEvalKit's image data sets hold none without.")
    tags = sample.tags
    row = {
        "index": str(index),
        "id": sample.id,
        "kind": sample.kind,
        "question": sample.question,
        "prompt": prompt,
        "answer": sample.target,
        "category": tags.get("attack") or tags.get("category") or "all",
        "l2-category": tags.get("task") or "all",
        "split": (tags.get("variant") or "all").replace(" ", "_"),
        "dataset": tags.get("dataset", ""),
        "image": _cell(sample.images, index, first),
    }
    return row | dict(zip(LETTERS, sample.choices, strict=False))


def _cell(images: Sequence[ImageRef], index: int, first: dict[str, int]) -> str:
    key = "+".join(image.sha256 for image in images)
    if key in first:
        return str(first[key])
    first[key] = index
    pictures = list(_pictures(images))
    return pictures[0] if len(pictures) == 1 else str(pictures)


def _pictures(images: Iterable[ImageRef]) -> Iterator[str]:
    for image in images:
        png = io.BytesIO()
        image.open().save(png, format="PNG", compress_level=1)
        yield base64.b64encode(png.getvalue()).decode("ascii")
