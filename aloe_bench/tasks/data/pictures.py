"""Pictures that lie inside larger files: members of a zip, base64 in a cell of a table. Read only when opened."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aloe_bench.core import ImageRef
from aloe_bench.errors import DataError
from aloe_bench.images import bytes_image, file_image, open_image

if TYPE_CHECKING:
    from PIL import Image


class ByteSource(Protocol):
    """Where bytes lie."""

    def read(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a zip file, which is never unpacked."""

    archive: Path
    name: str

    def read(self) -> bytes:
        """Return its bytes."""
        try:
            return _archive(self.archive).read(self.name)
        except (KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise DataError(f"{self.archive}: {self.name} cannot be read ({error}). Fetch the file again.") from error


@dataclass(frozen=True, slots=True)
class Base64Span:
    """Base64 text at a byte offset of a file; `name` is for messages."""

    name: str
    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """Return the decoded bytes."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return base64_bytes(file.read(self.length).decode("ascii", "replace"), self.name)


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A picture at a place inside a file, known by the hash of its bytes; an ImageRef."""

    name: str
    sha256: str
    size: tuple[int, int]
    place: ByteSource
    note: str = ""

    def open(self) -> Image.Image:
        """Return it as upright RGB. Raises DataError if it is no longer the one hashed."""
        data = self.place.read()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DataError(f"{self.name}: the picture changed since it was listed. Restore it, or start a new run.")
        return open_image(data, name=self.name)


def stored_image(place: ByteSource, name: str) -> StoredImage:
    """Return a reference to the picture at `place`: hashed, header read. Raises DataError if it is none."""
    found = bytes_image(place.read(), name)
    return StoredImage(name, found.sha256, found.size, place, found.note)


def base64_bytes(text: str, where: str) -> bytes:
    """Return what base64 `text` holds; raises DataError naming `where`."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: the image is not base64 ({error}).") from error


class Pictures:
    """The pictures of a data folder by relative path, in the folder itself or inside its zip files."""

    def __init__(self, folder: Path, archives: Sequence[str] = ()) -> None:
        self._folder = folder
        self._archives = [path for pattern in archives for path in sorted(folder.glob(pattern))]
        # Many questions share a picture, which is read and hashed once.
        self._found: dict[tuple[str, ...], ImageRef | None] = {}

    def find(self, *names: str) -> ImageRef | None:
        """Return the picture under the first of `names` that exists, None if none does.

        Raises DataError for a broken picture, and for a path that leaves the folder.
        """
        if names not in self._found:
            self._found[names] = self._look_for(names)
        return self._found[names]

    def _look_for(self, names: tuple[str, ...]) -> ImageRef | None:
        for name in names:
            path = self._folder / name
            try:
                if "\0" in name or not path.resolve().is_relative_to(self._folder.resolve()):
                    raise DataError(f"path {name!r} leaves the data folder {self._folder}.")
                there = path.is_file()
            except (OSError, ValueError) as error:
                raise DataError(f"path {name!r} cannot be looked for ({error}).") from error
            if there:
                return file_image(path)
        for archive in self._archives:
            for name in names:
                if name in members(archive):
                    return stored_image(Member(archive, name), f"{archive}: {name}")
        return None


def members(archive: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip file by name; raises DataError if it is none."""
    return _archive(archive).NameToInfo


@lru_cache(maxsize=8)
def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a whole zip file ({error}). Fetch it again.") from error
