"""Tables of the VLMEvalKit kind: tab-separated, one question a row, pictures in base64 that stay on disk.

A benchmark's file is no user's table, and is not read by `tables.py`: its bytes are known, its pictures (gigabytes of
base64) are found by their place in the file and never held, and a cell is never anything but text. A byte order mark
and CRLF are read all the same; another separator, a row of another width or a file cut short is refused with its row.

Cells are text as they stand: "None", "NA" and "nan" survive. A picture cell of at most 64 characters is the `index`
of the row that holds the picture.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.core import LETTERS, ImageRef
from aloe_bench.errors import DataError
from aloe_bench.tasks.data.pictures import Base64Span, StoredImage, stored_image
from aloe_bench.tasks.data.rows import text_of

POINTER_CHARS = 64


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its cells by lower-case column name, and its picture, if the table holds pictures."""

    where: str
    cells: dict[str, str]
    image: ImageRef | None

    def text(self, column: str) -> str:
        """Return a cell that must not be empty."""
        return text_of(self.cells, column, self.where)


def options_of(row: TableRow, columns: str, absent: tuple[str, ...] = ("",), answer: str = "") -> dict[str, str]:
    """Return letter -> text of the options in `columns` ("abcd"), without those at the end that are none.

    What says that an option is none differs by data set: an empty cell, or the word "None". The option that `answer`
    names is one whatever it reads, and so is all before it.
    """
    cells = [row.cells.get(column, "") for column in columns]
    while cells and cells[-1] in absent and LETTERS[len(cells) - 1] != answer:
        cells.pop()
    if len(cells) < 2 or "" in cells:
        raise DataError(f"{row.where}: options {cells}; expected at least two texts. Fetch the file again.")
    return dict(zip(LETTERS, cells, strict=False))


def read_table(path: Path, needed: tuple[str, ...]) -> list[TableRow]:
    """Return the rows of a table; raises DataError naming file, row and what was expected.

    `needed` are the columns (lower case) it must have.
    """
    pictures: dict[str, StoredImage] = {}
    rows: list[tuple[str, dict[str, str]]] = []
    for number, cells, span in _cells(path, needed):
        where = f"{path}: row {number}"
        rows.append((where, cells))
        if span is not None:
            offset, length = span
            pictures[cells["index"]] = stored_image(Base64Span(where, path, offset, length), where)
    if not rows:
        raise DataError(f"{path}: no rows; expected one per question. Fetch the file again.")
    return [TableRow(where, cells, _picture(where, cells, pictures)) for where, cells in rows]


def _picture(where: str, cells: dict[str, str], pictures: dict[str, StoredImage]) -> ImageRef | None:
    own = pictures.get(cells.get("index", ""))
    pointer = cells.get("image", "")
    if own is not None or not pointer:
        return own
    if pointer not in pictures:
        raise DataError(f"{where}: image {pointer!r} is neither base64 nor the index of a row with a picture.")
    return pictures[pointer]


def _cells(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str], tuple[int, int] | None]]:
    """Yield row number, cells (long pictures left out), and offset and length in bytes of the picture's base64."""
    csv.field_size_limit(sys.maxsize)
    with path.open("rb") as file:
        held: list[bytes] = []

        def lines() -> Iterator[str]:
            for raw in file:
                held.append(raw)
                yield raw.decode("utf-8")

        try:
            start = 0
            header: list[str] | None = None
            for number, values in enumerate(csv.reader(lines(), delimiter="\t", strict=True)):
                record, held[:] = b"".join(held), []
                if header is None:
                    header = _header(path, values, needed)
                elif values:
                    cells = dict(zip(header, values, strict=False))
                    if len(values) != len(header):
                        raise DataError(
                            f"{path}: row {number} has {len(values)} cells, expected {len(header)}; a stray "
                            "quote or tab, or a file cut short. Fetch the file again."
                        )
                    yield number, cells, _span(start, record, cells)
                start += len(record)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: not readable as a table ({error}). Fetch the file again.") from error


def _header(path: Path, values: list[str], needed: tuple[str, ...]) -> list[str]:
    header = [value.strip().removeprefix("\ufeff").lower() for value in values]
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, lacking))}; the table has {', '.join(header)}. "
            "Pin the earlier revision."
        )
    return header


def _span(start: int, record: bytes, cells: dict[str, str]) -> tuple[int, int] | None:
    text = cells.get("image", "")
    if len(text) <= POINTER_CHARS:
        return None
    cells["image"] = ""
    return start + record.index(text.encode()), len(text.encode())
