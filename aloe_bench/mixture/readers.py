"""Rows of files of any layout, one at a time: JSON, JSON lines, Parquet and CSV."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError

FORMATS = {
    ".json": "JSON", ".jsonl": "JSON lines", ".ndjson": "JSON lines", ".parquet": "Parquet", ".csv": "CSV",
    ".tsv": "CSV",
}  # fmt: skip
_CHUNK = 1 << 20
_LARGEST_FIELD = 1 << 27
_GAP, _COMMA = re.compile(r"\s*"), re.compile(r"\s*,?\s*")

# A row by its number from 1, or what is wrong with it.
NumberedRow = tuple[int, dict[str, Any] | str]


def read_rows(path: Path, key: str = "") -> Iterator[NumberedRow]:
    """Yield the rows of `path`, numbered from 1; a line that cannot be read is yielded as what is wrong with it.

    `key` names the list in a JSON file that is an object. Raises DataError for a file that cannot be read on.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path}: rows are read from {', '.join(FORMATS)}. Convert it, or name other files.")
    try:
        if kind == "JSON lines":
            rows = _json_lines(path)
        elif kind == "Parquet":
            rows = _parquet(path)
        elif kind == "CSV":
            rows = _csv(path)
        else:
            rows = _json(path, key)
        yield from rows
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Fetch or export it again.") from error


def source_files(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return the files below `root` that the patterns name, in the order of their names.

    Raises DataError for a pattern that matches nothing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matched = [path for path in root.glob(pattern) if path.is_file()]
        if not matched:
            there = ", ".join(sorted(p.name for p in root.iterdir())[:8])
            raise DataError(f"{root}: no file matches {pattern!r}; there is {there or 'nothing'}.")
        found.update(matched)
    return sorted(found)


def _json_lines(path: Path) -> Iterator[NumberedRow]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield number, f"not JSON ({error})"
                continue
            yield number, row if isinstance(row, dict) else f"{type(row).__name__} where an object was expected"


def _parquet(path: Path) -> Iterator[NumberedRow]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        file, number = parquet.ParquetFile(path), 0
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except pa.ArrowException as error:
        raise DataError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]}). Fetch it again.") from error


def _csv(path: Path) -> Iterator[NumberedRow]:
    csv.field_size_limit(_LARGEST_FIELD)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        for number, row in enumerate(reader, 1):
            if None in row or None in row.values():
                yield number, f"{len(row)} cells where the header has {len(reader.fieldnames or ())}"
            else:
                yield number, row


def _json(path: Path, key: str) -> Iterator[NumberedRow]:
    if key:
        yield from _keyed(path, key)
        return
    for number, row in enumerate(_array(path), 1):
        yield number, row if isinstance(row, dict) else f"{type(row).__name__} where an object was expected"


def _keyed(path: Path, key: str) -> Iterator[NumberedRow]:
    try:
        whole = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}). Fetch or export it again.") from error
    rows = whole.get(key) if isinstance(whole, dict) else None
    if not isinstance(rows, list):
        has = ", ".join(sorted(whole)[:8]) if isinstance(whole, dict) else type(whole).__name__
        raise DataError(f"{path}: no list under {key!r}; it has {has}. Correct `rows` in the mapping.")
    for number, row in enumerate(rows, 1):
        yield number, row if isinstance(row, dict) else f"{type(row).__name__} where an object was expected"


def _array(path: Path) -> Iterator[Any]:
    """Yield the values of a JSON array without holding all of them."""
    decoder, n = json.JSONDecoder(), 0
    with path.open(encoding="utf-8-sig") as file:
        text, at, ended = file.read(_CHUNK), 0, False
        # _GAP and _COMMA match the empty text too, so that match() is never None here and below.
        at = _GAP.match(text).end()  # type: ignore[union-attr]
        if text[at : at + 1] != "[":
            raise DataError(f"{path}: begins with {text[:10]!r}; expected a list of rows. Name its key as `rows`.")
        at += 1
        while True:
            at = (_COMMA if n else _GAP).match(text, at).end()  # type: ignore[union-attr]
            if text[at : at + 1] == "]":
                return
            try:
                value, end = decoder.raw_decode(text, at)
                complete = ended or end < len(text)
            except ValueError as error:
                if ended:
                    raise DataError(f"{path}: breaks off after row {n} ({error}). Fetch it again.") from error
                complete = False
            if complete:
                yield value
                at, n = end, n + 1
                continue
            # The longer a row, the more is read at once, so that no row is parsed more than a few times.
            more = file.read(max(_CHUNK, len(text) - at))
            text, at, ended = text[at:] + more, 0, not more
