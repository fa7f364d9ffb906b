"""Examples of own questions, for `data template`: a table, two pictures, and a page on its columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from aloe_bench.errors import UsageError
from aloe_bench.files import write_atomic

FILE = "questions.csv"
_COLUMNS = """\
# {file}: questions for `aloe-bench run --tasks {kind}:{file}`.
# Replace the rows with yours; `aloe-bench data check {kind}:{file}` tells every fault.
#
# question   what is asked; pictures stand before it
{own}
# image      optional: a picture's path below this folder, or base64, or a data URI; further ones in image_2 to image_9.
#            PNG, JPEG, TIFF, BMP, GIF, WEBP, PPM or DICOM. In JSONL and Parquet also a list, and in Parquet bytes
# id         optional: what the row is called in every record; without the column, a hash of what the row holds
# cluster    optional: rows of one patient or study; intervals count these and not rows. Without it: the first picture
# (others)   any other column is a tag; one with 2 to {most} values that every row has gives a number for each value
#
# Every row is part of the set: a run with --limit, failed calls or absent pictures is marked in every table.
# The file may be CSV, TSV, JSONL or Parquet.
"""
_OWN = {
    "mcq": "# A, B, ...  the options, 2 to 26, in as many columns; later ones may be empty. In JSONL and Parquet also\n"
    "#            a list in `options`\n"
    "# answer     the letter of the right option, or its whole text",
    "yesno": "# answer     yes or no",
    "open": "# answer     the reference that a jury compares the reply with (`judge`, or `run --judges`)",
}
_ROWS: Mapping[str, Sequence[Mapping[str, str]]] = {
    "mcq": (
        {"id": "q1", "question": "Which shape is bright?", "A": "A disc", "B": "A ring", "C": "A square", "answer": "A",
         "image": "images/disc.png", "cluster": "case-1", "topic": "shape"},
        {"id": "q2", "question": "Where is it?", "A": "Left of the centre", "B": "In the centre", "answer": "B",
         "image": "images/disc.png", "cluster": "case-1", "topic": "place"},
        {"id": "q3", "question": "Which shape is bright?", "A": "A disc", "B": "A ring", "C": "A square", "D": "None",
         "answer": "A square", "image": "images/square.png", "cluster": "case-2", "topic": "shape"},
        {"id": "q4", "question": "Which of the two pictures shows the larger shape?", "A": "The first",
         "B": "The second", "answer": "B", "image": "images/disc.png", "image_2": "images/square.png",
         "cluster": "case-2", "topic": "place"},
    ),
    "yesno": (
        {"id": "q1", "question": "Is a disc to be seen?", "answer": "yes",
         "image": "images/disc.png", "cluster": "case-1"},
        {"id": "q2", "question": "Is a disc to be seen?", "answer": "no",
         "image": "images/square.png", "cluster": "case-2"},
    ),
    "open": (
        {"id": "q1", "question": "What is to be seen?", "answer": "A bright disc in the centre",
         "image": "images/disc.png", "cluster": "case-1"},
        {"id": "q2", "question": "What is to be seen?", "answer": "A bright square in the centre",
         "image": "images/square.png", "cluster": "case-2"},
    ),
}  # fmt: skip


def write_template(kind: str, folder: Path, most_groups: int) -> Path:
    """Write the example of a kind to `folder`, which must be new or empty, and return its table."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and not empty; give a new folder.")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name in ("disc", "square"):
        _draw(name, folder / "images" / f"{name}.png")
    rows = _ROWS[kind]
    columns = dict.fromkeys(column for row in sorted(rows, key=len, reverse=True) for column in row)
    order = sorted(columns, key=lambda name: (name not in ("id", "question"), len(name) > 1, list(columns).index(name)))
    text = io.StringIO()
    writer = csv.DictWriter(text, order, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / FILE, text.getvalue())
    write_atomic(folder / "README.txt", _COLUMNS.format(file=FILE, kind=kind, own=_OWN[kind], most=most_groups))
    return folder / FILE


def _draw(name: str, path: Path) -> None:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (96, 96), (20, 20, 20))
    draw = ImageDraw.Draw(image)
    if name == "disc":
        draw.ellipse((32, 32, 64, 64), fill=(230, 230, 230))
    else:
        draw.rectangle((24, 24, 72, 72), fill=(230, 230, 230))
    image.save(path)
