"""The rows, boxes and pictures of a HEART table: our folder, the hub's parquet files, or the generator's TSV."""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aloe_bench.core import ImageRef
from aloe_bench.errors import DataError
from aloe_bench.heart.measure.geometry import Box, ItemBoxes
from aloe_bench.heart.table.published import COLUMNS, IMAGE_COLUMNS
from aloe_bench.images import bytes_image, file_image
from aloe_bench.tables import fold, stream_rows, whole_of

# VLMEvalKit's rule for its `image` column: so few characters are not a picture but the index of the row that has it.
POINTER_CHARS = 64
BATCH_ROWS = 64


@dataclass(frozen=True, slots=True)
class HeartRow:
    """One row: `where` is its file and number for messages, absent cells are None."""

    where: str
    cells: Mapping[str, Any]

    def text(self, column: str) -> str:
        """Return a cell that must hold text; raises DataError naming it."""
        value = self.optional(column)
        if value is None:
            raise DataError(f"{self.where}: column {column!r} is empty; expected text. Correct the row.")
        return value

    def optional(self, column: str) -> str | None:
        """Return a cell as text, None if it is absent, empty, or the NaN that pandas leaves for either, as text too."""
        value = self.cells.get(column)
        absent = value is None or str(value).strip().casefold() in ("", "nan", "<na>")
        return None if absent else str(value)


def table_files(place: Path) -> list[Path]:
    """Return the files that hold the table at `place`, a folder or a file; raises DataError if there are none."""
    if place.is_file():
        return [place]
    if (place / "heart.parquet").is_file():
        return [place / "heart.parquet"]
    for pattern in ("*.parquet", "data/*.parquet"):
        if found := sorted(place.glob(pattern)):
            return found
    tables = sorted(place.glob("*.tsv"))
    if len(tables) == 1:
        return tables
    none = "no heart.parquet, *.parquet, data/*.parquet or *.tsv"
    what = f"{len(tables)} TSV files; name one of them" if tables else none
    raise DataError(
        f"{place}: {what}. Give a folder that `aloe-bench attack` wrote, or the published table "
        "(`aloe-bench data fetch heart`, then heart:data/heart)."
    )


def read_rows(files: list[Path]) -> Iterator[HeartRow]:
    """Yield the rows of parquet or TSV files, in order; raises DataError if a published column is missing."""
    for path in files:
        rows = _tsv_rows(path) if path.suffix.lower() == ".tsv" else _parquet_rows(path)
        for number, cells in enumerate(rows, 1):
            yield HeartRow(f"{path}: row {number}", cells)


def dataset_names(files: list[Path]) -> list[str]:
    """Return the names in the column `dataset`, sorted, without reading a parquet file's pictures."""
    found: set[str] = set()
    for path in files:
        if path.suffix.lower() == ".tsv":
            found.update(
                HeartRow(f"{path}: row {i}", cells).text("dataset") for i, cells in enumerate(_tsv_rows(path), 1)
            )
        else:
            found.update(HeartRow(str(path), cells).text("dataset") for cells in _parquet_rows(path, ["dataset"]))
    if not found:
        raise DataError(f"{files[0]}: no rows; expected a question a row. Fetch or build the file again.")
    return sorted(found)


def _parquet_rows(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            _check_columns(path, table.schema_arrow.names)
            for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        line = str(error).partition("\n")[0]
        raise DataError(f"{path}: not readable as parquet ({line}). Fetch or build the file again.") from error


def _tsv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a text table, whatever program wrote it (`tables.py`); cells keep the spaces around them."""
    rows = stream_rows(path, strip=False)
    _, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    while header and not header[-1]:
        header.pop()
    spelled = {fold(name): name for name in (*COLUMNS, *IMAGE_COLUMNS)}
    # "A" is a column and "a" is none, but "Question" can only be "question".
    names = [name if name in spelled.values() else spelled.get(fold(name), name) for name in header]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: column {twice[0]!r} is there twice, in one case or another. Keep one.")
    _check_columns(path, names)
    for line, cells in rows:
        if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
            raise DataError(f"{path}: line {line} has not as many cells as the header has columns.")
        yield {name: cell or None for name, cell in zip(names, cells, strict=False)}


def _check_columns(path: Path, found: Any) -> None:
    missing = [column for column in COLUMNS if column not in found]
    if not any(column in found for column in IMAGE_COLUMNS):
        missing.append("image_path (or image)")
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; the table has {', '.join(map(str, found))}. "
            "Expected the 24 columns of the published table, in any order."
        )


@dataclass(slots=True)
class TablePictures:
    """The pictures of a table, each kept once however many rows show it.

    `add` takes a row's picture; `of` gives it, once every row was added (a row may point at a later one).
    """

    folder: Path
    _by_row: dict[str, ImageRef | int] = field(default_factory=dict)
    _by_index: dict[int, list[str]] = field(default_factory=dict)
    _by_hash: dict[str, ImageRef] = field(default_factory=dict)
    _by_path: dict[str, ImageRef] = field(default_factory=dict)

    def add(self, row: HeartRow) -> None:
        """Take the picture of `row`, or the index of the row that has it."""
        value = next((row.cells[c] for c in IMAGE_COLUMNS if row.optional(c) is not None), None)
        if value is None:
            raise DataError(f"{row.where}: no picture in {' or '.join(IMAGE_COLUMNS)}. Fetch or build the table again.")
        self._by_row[row.where] = self._picture(value, row.where)
        if (index := whole_of(row.optional("index"))) is not None:
            self._by_index.setdefault(index, []).append(row.where)

    def of(self, row: HeartRow) -> ImageRef:
        """Return the picture of `row`; raises DataError if it points at no row with one, or is not the one recorded."""
        found = self._by_row[row.where]
        if isinstance(found, int):
            there = self._by_index.get(found, [])
            if len(there) > 1:
                raise DataError(
                    f"{row.where}: the picture is in the row of index {found}, and {' and '.join(there[:2])} both are. "
                    "Number the rows of a table from 0 on, each once."
                )
            target = self._by_row[there[0]] if there else None
            if target is None or isinstance(target, int):
                raise DataError(
                    f"{row.where}: the picture should be in the row of index {found}, which is not there or has none. "
                    "A part of a table must keep the rows that others point at."
                )
            found = target
        recorded = row.optional("image_sha256")
        if recorded is not None and recorded != found.sha256:
            raise DataError(
                f"{row.where}: the picture's sha256 is {found.sha256[:12]}, the table says {recorded[:12]}. "
                "Build the folder again."
            )
        return found

    def _picture(self, value: object, where: str) -> ImageRef | int:
        if isinstance(value, Mapping):
            data = value.get("bytes")
            return self._from_bytes(data, where) if data else self._from_path(str(value.get("path")), where)
        text = str(value)
        if len(text) <= POINTER_CHARS and (index := whole_of(text)) is not None:
            return index
        if len(text) <= 1024 and Path(text).suffix:
            return self._from_path(text, where)
        try:
            return self._from_bytes(base64.b64decode(text, validate=True), where)
        except (binascii.Error, ValueError) as error:
            raise DataError(f"{where}: the picture is neither a path nor base64 ({error}).") from error

    def _from_bytes(self, data: bytes, where: str) -> ImageRef:
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._by_hash:
            self._by_hash[digest] = bytes_image(data, name=where)
        return self._by_hash[digest]

    def _from_path(self, text: str, where: str) -> ImageRef:
        if text not in self._by_path:
            path = self.folder / text
            if "\0" in text or not path.resolve().is_relative_to(self.folder.resolve()):
                raise DataError(f"{where}: picture {text!r} lies outside the folder {self.folder}.")
            if not path.is_file():
                raise DataError(f"{where}: picture {path} not found. Copy the whole folder, pictures included.")
            self._by_path[text] = file_image(path)
        return self._by_path[text]


def boxes_in(row: HeartRow, cluster: str) -> ItemBoxes | None:
    """Return the boxes of `row` by the published columns, the true one first; None where the table does not hold them.

    Raises DataError, naming the row, for a cell that is not one of "((x1, y1), (x2, y2))" in thousandths.
    """
    true, others = row.optional("true_bbox"), row.optional("fake_bboxes")
    if row.optional("task") != "detection" or true is None or others is None:
        return None
    try:
        boxes = [_box(ast.literal_eval(true)), *map(_box, ast.literal_eval(others))]
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(
            f"{row.where}: true_bbox {true[:60]!r} and fake_bboxes {others[:60]!r} are not boxes in thousandths "
            f"({error}); expected ((x1, y1), (x2, y2)) and a list of such. Correct the row."
        ) from error
    return ItemBoxes(cluster, row.text("dataset"), int(float(row.text("true_class"))), tuple(boxes))


def _box(corners: Any) -> Box:
    (x1, y1), (x2, y2) = corners
    left, top, right, bottom = (float(side) / 1000 for side in (x1, y1, x2, y2))
    if not (0 <= left <= right <= 1.001 and 0 <= top <= bottom <= 1.001):
        raise ValueError(f"a box from ({x1}, {y1}) to ({x2}, {y2})")
    return left, top, right, bottom
