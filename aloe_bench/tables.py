"""One reader for the tables that users bring: labels, ratings, questions, as CSV, TSV, JSON lines, JSON or Parquet.

What a file is, is seen in its bytes, not in its name. How text tables are read:

* UTF-8, with or without a byte order mark, or UTF-16 with one; any other encoding is refused with its line.
* The separator is the `sep=X` of the first line, or that of comma, semicolon, tab and bar which the header holds most.
* Lines end in LF, CRLF or CR; blank lines are passed over; spaces around a cell (no-break ones too) are cut off.
* Empty cells beyond the header are cut off, and so are columns without a name and without content at the end. A first
  column without a name that counts the rows is an index, left out and noted; any other nameless column is refused.
* Column names are composed (NFC) and found whatever their case; two names that differ in case alone are refused.

Cells of text tables are text as they stand; those of JSON and Parquet keep their type, with None for null and NaN.
`is_absent`, `as_text`, `number_of` and `whole_of` say what such a cell means.
"""

from __future__ import annotations

import codecs
import csv
import json
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError, did_you_mean

SEPARATORS = ",;\t|"
# What people and programs write for "nothing here".
ABSENT = frozenset(
    ("", "na", "n/a", "n.a.", "#n/a", "nan", "null", "none", "nil", "<na>", "-", "--", "–", "—", ".", "?", "#null!")
)
_NOT_TABLES = {
    b"PK\x03\x04": "an Excel workbook or a zip file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzip file",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
}


@dataclass(frozen=True, slots=True)
class UserRow:
    """One row: its cells by folded column name (see `fold`), and `where` it stands ("labels.csv:3") for messages."""

    where: str
    cells: Mapping[str, Any]

    def text(self, column: str) -> str:
        """Return a cell as text, "" if the column is not there."""
        return as_text(self.cells.get(fold(column)))


@dataclass(frozen=True, slots=True)
class UserTable:
    """A table whole, its `columns` as the file spells them.

    `faults` tell each row that cannot be used, with its place; `notes` what was left out or read in another way.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[UserRow, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def has(self, column: str) -> bool:
        """Return whether there is a column of this name, in any case."""
        return fold(column) in map(fold, self.columns)


def read_table(path: Path, needed: Sequence[str] = (), ids: Sequence[str] = ()) -> UserTable:
    """Return the rows of `path`, whatever its kind; a JSON list may stand for JSON lines.

    `needed` columns must be there. In the columns `ids`, whole numbers that a program wrote as floats (1.0, 2.0, in
    every row) are whole numbers. Raises DataError for a file that is not a table; what is wrong with single rows is in
    `faults`, for the caller to add to its own.
    """
    head = _head(path)
    faults: list[str] = []
    notes: list[str] = []
    if head.startswith(b"PAR1"):
        columns, rows = _parquet(path)
    elif _is_json(head):
        columns, rows = _json(path, faults)
    else:
        columns, rows = _text(path, faults, notes)
    _check_names(path, columns)
    missing = [name for name in needed if fold(name) not in map(fold, columns)]
    if missing:
        near = did_you_mean(missing[0], columns)
        found = ", ".join(columns) or "none"
        raise DataError(f"{path}: no column {', '.join(map(repr, missing))}.{near} Found: {found}.")
    rows = _whole_ids(rows, ids, faults, notes)
    return UserTable(path, tuple(columns), tuple(rows), tuple(faults), tuple(notes))


def fold(name: str) -> str:
    """Return a name as names are compared: composed (NFC), without spaces around it, in one case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name.strip()).casefold())


def is_absent(cell: Any) -> bool:
    """Return whether a cell says that there is nothing: null, NaN, empty, or one of the usual spellings (NA, -, n/a).

    For numbers and labels; the text of a question or an option may well be "None".
    """
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and cell.strip().casefold() in ABSENT)


def as_text(cell: Any) -> str:
    """Return a cell as text: "" for null and NaN, "3" for 3.0, "true" or "false" for a truth value."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell).strip()


def number_of(cell: Any) -> float | None:
    """Return the finite number that a cell holds, with a point or a comma; None if it is none, or could be two.

    "0,5" is a half. "1,500" may be one and a half or fifteen hundred, and is not a number.
    """
    text = as_text(cell).replace("\u2212", "-")
    if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", text):
        return None
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        text = text.replace(",", ".")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) or not text.isascii():
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def whole_of(cell: Any) -> int | None:
    """Return the whole number that a cell holds ("3", "3.0" and "3,0" are three); None if it holds none."""
    number = number_of(cell)
    return int(number) if number is not None and number.is_integer() and abs(number) < 2**53 else None


def stream_rows(path: Path, *, strip: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Yield the line a row of a text table begins on and its cells, the header first; blank rows are passed over.

    For tables too large to be held; the module says how text is read. Without `strip` cells keep the spaces around
    them. Raises DataError with file and line.
    """
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding=_encoding(_head(path)), newline="") as file:
            for line, cells in _csv_rows(path, file):
                yield line, [cell.strip() for cell in cells] if strip else cells
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{_bad_line(path)}: not UTF-8 text ({error.reason}); save the file as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a table.") from error


def _csv_rows(path: Path, file: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    lines = iter(file)
    first, passed = next(lines, ""), 0
    while first and not first.strip():
        first, passed = next(lines, ""), passed + 1
    said = re.fullmatch(r"\"?sep=(.)\"?", first.strip("\r\n").strip(" "), re.IGNORECASE)
    if said:
        first, passed = next(lines, ""), passed + 1
    separator = said[1] if said else _separator(first)
    reader = csv.reader(_chained(first, lines), delimiter=separator, strict=True)
    begin = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begin + passed, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{begin + passed}: not readable as a table ({error}); check the quotes.") from error


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _separator(header: str) -> str:
    """Return the separator that stands most often outside quotes in the header line; the comma if none does."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=bare.count)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected a table (CSV, TSV, JSON lines or Parquet).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a table.") from error
    for magic, what in _NOT_TABLES.items():
        if head.startswith(magic):
            raise DataError(f"{path}: {what}; expected a table. Save it as CSV (UTF-8), JSON lines or Parquet.")
    return head


def _encoding(head: bytes) -> str:
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _bad_line(path: Path) -> int:
    data = path.read_bytes()
    try:
        data.decode(_encoding(data[:4]))
    except UnicodeDecodeError as error:
        return len(re.findall(rb"\r\n|\r|\n", data[: error.start])) + 1
    return 1


def _is_json(head: bytes) -> bool:
    text = head.decode(_encoding(head), "ignore").lstrip()
    return text.startswith("{") or re.match(r"\[\s*(\{|\]|$)", text) is not None


def _text(path: Path, faults: list[str], notes: list[str]) -> tuple[list[str], list[UserRow]]:
    whole = list(stream_rows(path))
    if not whole:
        return [], []
    header_line, header = whole[0]
    body = whole[1:]
    width = len(header)
    while width and not header[width - 1] and not any("".join(cells[width - 1 :]) for _, cells in body):
        width -= 1
    names = [unicodedata.normalize("NFC", name) for name in header[:width]]
    kept: list[tuple[int, list[str]]] = []
    for line, cells in body:
        if len(cells) < width or any(cells[width:]):
            many = f"{len(cells)} field{'' if len(cells) == 1 else 's'}"
            hint = " A decimal comma needs quotes here." if len(cells) > width and _halves(cells) else ""
            faults.append(f"{path}:{line}: {many}; expected {width} as in the header.{hint}")
        else:
            kept.append((line, cells[:width]))
    if names and not names[0] and kept and [cells[0] for _, cells in kept] == [str(n) for n in range(len(kept))]:
        notes.append(f"{path}: the first column has no name and counts the rows (an index): left out")
        names, kept = names[1:], [(line, cells[1:]) for line, cells in kept]
    for at, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"{path}:{header_line}: column {at} has no name in the header; name it or leave it out.")
    rows = [UserRow(f"{path}:{line}", dict(zip(map(fold, names), cells, strict=True))) for line, cells in kept]
    return names, rows


def _halves(cells: Sequence[str]) -> bool:
    return any(a in ("0", "1") and b.isdigit() for a, b in pairwise(cells))


def _json(path: Path, faults: list[str]) -> tuple[list[str], list[UserRow]]:
    data = path.read_bytes()
    try:
        text = data.decode(_encoding(data[:4]))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{_bad_line(path)}: not UTF-8 text ({error.reason}); save it as UTF-8.") from None
    found = list(_json_values(path, text, faults))
    columns: dict[str, str] = {}
    rows = []
    for where, value in found:
        if not isinstance(value, _Pairs):
            faults.append(f"{where}: {type(value).__name__}; expected an object, one per row")
            continue
        names = [unicodedata.normalize("NFC", name.strip()) for name, _ in value.pairs]
        folded = [fold(name) for name in names]
        if twice := sorted({name for name in folded if folded.count(name) > 1}):
            faults.append(f"{where}: field {twice[0]!r} is there twice")
            continue
        for name in names:
            columns.setdefault(fold(name), name)
        rows.append(UserRow(where, {key: _plain(cell) for key, (_, cell) in zip(folded, value.pairs, strict=True)}))
    return list(columns.values()), rows


@dataclass(frozen=True, slots=True)
class _Pairs:
    """A JSON object with every field that it names, those named twice too."""

    pairs: tuple[tuple[str, Any], ...]


def _json_values(path: Path, text: str, faults: list[str]) -> Iterator[tuple[str, Any]]:
    def pairs(found: list[tuple[str, Any]]) -> _Pairs:
        return _Pairs(tuple(found))

    if text.lstrip().startswith("["):
        try:
            values = json.loads(text, object_pairs_hook=pairs)
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", 1)
            raise DataError(f"{path}:{line}: not readable as JSON ({getattr(error, 'msg', error)}).") from error
        yield from ((f"{path}: row {number}", value) for number, value in enumerate(values, start=1))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path}:{number}", json.loads(line, object_pairs_hook=pairs)
        except (ValueError, RecursionError) as error:
            faults.append(f"{path}:{number}: not readable as JSON ({getattr(error, 'msg', error)})")


def _plain(value: Any) -> Any:
    """Return a JSON value with its objects as dicts, and None for NaN."""
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value.pairs}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _parquet(path: Path) -> tuple[list[str], list[UserRow]]:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
        values = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as Parquet ({' '.join(str(error).split())[:200]}).") from error
    columns = [unicodedata.normalize("NFC", name.strip()) for name in table.column_names]
    named = dict(zip(table.column_names, map(fold, columns), strict=True))
    rows = [
        UserRow(f"{path}: row {number}", {named[name]: _plain(cell) for name, cell in row.items()})
        for number, row in enumerate(values, start=1)
    ]
    return columns, rows


def _check_names(path: Path, columns: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for name in columns:
        other = first.get(fold(name))
        if other is not None:
            alike = f"columns {other!r} and {name!r} differ in case alone"
            which = f"column {name!r} is there twice" if other == name else alike
            raise DataError(f"{path}:1: {which}; give each its own name.")
        first[fold(name)] = name


def _whole_ids(rows: list[UserRow], ids: Sequence[str], faults: list[str], notes: list[str]) -> list[UserRow]:
    for column in map(fold, ids):
        texts = [as_text(row.cells.get(column)) for row in rows]
        given = [text for text in texts if text]
        for row, text in zip(rows, texts, strict=True):
            if re.fullmatch(r"\d([.,]\d+)?E\+?\d+", text):
                faults.append(
                    f"{row.where}: {column} {text!r} is a number that a spreadsheet cut short; write it whole"
                )
        if given and all(re.fullmatch(r"\d+\.0", text) for text in given):
            notes.append(f"{column}: whole numbers written as floats ({given[0]}): read as {given[0][:-2]}")
            texts = [text[:-2] if text else text for text in texts]
        rows = [
            UserRow(row.where, {**row.cells, column: text} if column in row.cells else row.cells)
            for row, text in zip(rows, texts, strict=True)
        ]
    return rows
