"""labels.csv: which images there are, of which class, patient and split."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.errors import did_you_mean
from aloe_bench.heart.problems import Problems, read_text

COLUMNS = ("image_id", "class", "patient_id", "split")


@dataclass(frozen=True, slots=True)
class Label:
    """One row. `class_index` is None for an image without a class; `where` is "labels.csv:3"."""

    image_id: str
    class_index: int | None
    patient_id: str
    split: str
    where: str


def read_labels(path: Path, n_classes: int, problems: Problems) -> list[Label]:
    """Return the sound rows of labels.csv; what is wrong with the others goes to `problems`.

    `n_classes` is the number of classification classes, 0 if the dataset has no classification.
    """
    lines = list(_rows(path, problems))
    if not lines:
        problems.add(f"{path.name}:1", f"empty; expected the header {','.join(COLUMNS[:2])} and a row an image")
        return []
    if not _check_header(path, lines[0][1], problems):
        return []
    labels: dict[str, Label] = {}
    for number, cells in lines[1:]:
        where = f"{path.name}:{number}"
        if len(cells) != len(lines[0][1]):
            problems.add(where, f"{len(cells)} fields; expected {len(lines[0][1])} as in the header")
            continue
        row = dict(zip(lines[0][1], cells, strict=True))
        fault = id_fault(row["image_id"])
        if fault:
            problems.add(where, fault)
            continue
        index = _class_index(row["class"], n_classes, where, problems)
        earlier = labels.get(row["image_id"])
        if earlier:
            problems.add(where, f"image_id {row['image_id']!r} is already in {earlier.where}; keep one row an image")
            continue
        labels[row["image_id"]] = Label(row["image_id"], index, row.get("patient_id", ""), row.get("split", ""), where)
    if not labels and not problems.lines:
        problems.add(f"{path.name}:2", "no image is listed; expected a row an image")
    return list(labels.values())


def id_fault(image_id: str) -> str | None:
    """Return why `image_id` cannot name a file inside the folder, or None."""
    if not image_id:
        return "image_id is empty"
    if "/" in image_id or "\\" in image_id or image_id.startswith(".") or not image_id.isprintable():
        return (
            f"image_id {image_id!r} is not a plain file name; expected the name of a file in images/ "
            "without folder and ending"
        )
    if len(image_id.encode()) > 200:
        return f"image_id {image_id[:40]!r}... is longer than 200 bytes"
    return None


def _rows(path: Path, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    text = read_text(path, "a CSV file with the columns image_id,class[,patient_id,split]")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        problems.add(f"{path.name}:{reader.line_num}", f"not readable as CSV ({error})")


def _check_header(path: Path, header: list[str], problems: Problems) -> bool:
    where = f"{path.name}:1"
    missing = [name for name in COLUMNS[:2] if name not in header]
    if missing:
        hint = " The separator is a comma." if len(header) == 1 and re.search(r"[;\t]", header[0]) else ""
        near = did_you_mean(missing[0], header)
        problems.add(where, f"the header {','.join(header)!r} lacks {' and '.join(missing)}.{near}{hint}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        problems.add(where, f"column {twice[0]!r} is there twice")
    return not missing and not twice


def _class_index(text: str, n_classes: int, where: str, problems: Problems) -> int | None:
    if text == "":
        return None
    if not re.fullmatch(r"\d{1,9}(\.0+)?", text):  # pandas writes 3 as 3.0 once a cell is empty
        problems.add(where, f"class {text!r} is no class index; expected 0 to {n_classes - 1}, or nothing if unknown")
        return None
    index = int(text.partition(".")[0])
    if n_classes == 0:
        problems.add(where, f"class {text}, but dataset.toml has no [classification]; add it or leave class empty")
        return None
    if index >= n_classes:
        problems.add(where, f"class {text} is out of range; [classification] has classes 0 to {n_classes - 1}")
        return None
    return index
