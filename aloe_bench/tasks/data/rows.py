"""Rows of JSON files: fields that must be there, and images in whichever of the known encodings they use."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from aloe_bench.core import ImageRef
from aloe_bench.errors import DataError
from aloe_bench.images import bytes_image, file_image

T = TypeVar("T")


class NoImageError(DataError):
    """A row names a picture at `path`, where there is none."""

    def __init__(self, where: str, path: Path) -> None:
        super().__init__(f"{where}: image {path} not found. Copy the images beside the file that names them.")
        self.path = path


IMAGE_FIELDS = ("image", "images", "image_path", "base64", "image_base64")
_DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,")


def read_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the objects of a JSON list or of JSON lines, each with where it stands, for messages."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        parsed = json.loads(text) if text.lstrip().startswith("[") else json_lines(text)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}). Download the file again.") from error
    if not parsed or not all(isinstance(row, dict) for row in parsed):
        raise DataError(f"{path}: expected a non-empty list of objects, one per question.")
    return [(f"{path}: row {number}", row) for number, row in enumerate(parsed, 1)]


def json_lines(text: str) -> list[Any]:
    """Return the values of JSON lines; what else breaks a line (U+2028, U+0085) may stand inside their strings."""
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def read_json(path: Path) -> Any:
    """Return what a JSON file holds."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}). Download the file again.") from error


def field_of(row: Any, key: str, where: str, kind: type[T]) -> T:
    """Return a field that must be there and of `kind`; the message names what the row has instead."""
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, kind):
        has = ", ".join(sorted(map(str, row))) if isinstance(row, dict) else f"no fields, it is {type(row).__name__}"
        found = f"is {value!r}" if isinstance(row, dict) and key in row else f"is missing; there is {has}"
        raise DataError(f"{where}: field {key!r} {found}; expected {kind.__name__}. Pin the earlier revision.")
    return value


def text_of(row: Mapping[str, Any], key: str, where: str) -> str:
    """Return a field that must be non-empty text; "None", "NA" and "nan" are text like any other."""
    value = row.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        found = f"is {value!r}" if key in row else f"is missing; the row has {', '.join(sorted(map(str, row)))}"
        raise DataError(f"{where}: field {key!r} {found}; expected text. Correct the row or pin the earlier revision.")
    return value


def images_of(row: dict[str, Any], where: str, folder: Path) -> tuple[ImageRef, ...]:
    """Return the images of a row: paths below `folder`, base64, data URIs, {bytes, path}, or lists of these."""
    for field in IMAGE_FIELDS:
        value = row.get(field)
        if value:
            values = value if isinstance(value, list) else [value]
            return tuple(image_of(item, f"{where}: field {field!r}", folder) for item in values)
    raise DataError(
        f"{where}: no image; looked for {', '.join(IMAGE_FIELDS)}, found {', '.join(sorted(map(str, row)))}."
    )


def image_of(value: object, where: str, folder: Path) -> ImageRef:
    """Return one picture: a path below `folder`, base64, a data URI, bytes, or {bytes, path}.

    Raises NoImageError for a path where there is none, DataError, naming `where`, for what is not a picture.
    """
    if isinstance(value, bytes):
        return _decoded(value, where)
    if isinstance(value, dict) and value.get("bytes"):
        return _decoded(value["bytes"], where)
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        return _from_path(value["path"], where, folder)
    if isinstance(value, str) and _DATA_URI.match(value):
        return _decoded(value.split(",", 1)[1], where)
    if isinstance(value, str) and len(value) <= 1024 and re.search(r"\.\w{2,5}$", value):
        return _from_path(value, where, folder)
    if isinstance(value, str):
        return _decoded(value, where)
    raise DataError(
        f"{where}: {type(value).__name__} is not an image; expected a path, base64 text or {{bytes, path}}."
    )


def _decoded(value: object, where: str) -> ImageRef:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
    except (binascii.Error, ValueError, TypeError) as error:
        raise DataError(f"{where}: neither a path to an image nor base64 ({error}).") from error
    return bytes_image(data, name=where)


def _from_path(value: str, where: str, folder: Path) -> ImageRef:
    if "\0" in value or not (folder / value).resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{where}: path {value!r} leaves the data folder {folder}.")
    if not (folder / value).is_file():
        raise NoImageError(where, folder / value)
    return file_image(folder / value)
