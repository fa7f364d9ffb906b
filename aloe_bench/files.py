"""What is written to disk: safe names, whole files or none, lines that survive a kill, folders that appear whole."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aloe_bench.errors import DataError

VERDICT_FILE = "verdicts.jsonl"
# What spreadsheets take for the start of a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_name(text: str) -> str:
    """Return `text` as one path component: no separators, control or direction marks, at most 100 long.

    A name that had to be changed carries eight digits of its hash, so that two stay two.
    """
    plain = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c)[0] != "C")
    plain = re.sub(r"[^\w.+@-]+", "_", plain).lstrip(".-=+@")[:100]
    plain = plain.encode()[:200].decode(errors="ignore")
    if plain and plain == text:
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[:80] or 'unnamed'}-{digest}"


def spreadsheet_safe(cell: str) -> str:
    """Return `cell` of a CSV so that no spreadsheet takes it for a formula: with a leading apostrophe if need be."""
    return f"'{cell}" if cell.startswith(_FORMULA) or cell.lstrip().startswith(_FORMULA) else cell


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write text or bytes so that readers see the old file or the whole new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write ({error.strerror}). Free space or choose another folder.") from error


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


class LineWriter:
    """Appends JSON lines; each `write` is on disk when it returns. One writer a file at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("a+b", buffering=0)
        except OSError as error:
            raise DataError(f"{self._path}: cannot write ({error.strerror}).") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise DataError(f"{self._path}: another process writes this run. Wait, or use --fresh.") from error
        self._drop_torn_line()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _drop_torn_line(self) -> None:
        content_end = self._file.seek(0, os.SEEK_END)
        keep, position = 0, content_end
        while position > 0 and not keep:
            start = max(0, position - 65536)
            self._file.seek(start)
            found = self._file.read(position - start).rfind(b"\n")
            keep = start + found + 1 if found >= 0 else 0
            position = start
        if keep < content_end:
            self._file.truncate(keep)

    def write(self, values: Iterable[Mapping[str, Any]]) -> None:
        """Write one line a value and wait for the disk; on failure the file is as it was before."""
        data = b"".join(
            json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode() + b"\n" for value in values
        )
        before = self._file.seek(0, os.SEEK_END)
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(before)
            raise DataError(
                f"{self._path}: cannot write ({error.strerror}). What was finished is kept; free space and run again."
            ) from error


class NewFolder:
    """A context that gives a hidden folder beside `output`, and renames it to `output` if all went well.

    An `output` that holds something is refused; with `overwrite` it is replaced, but only if the file `known_by`
    is in it. What a killed process of this host left behind is removed.
    """

    def __init__(self, output: Path, *, overwrite: bool, known_by: str) -> None:
        self._output = output.absolute()
        self._overwrite, self._known_by = overwrite, known_by
        self._mark = f".{self._output.name}.building-{_host()}-"
        self._temporary = self._output.with_name(f"{self._mark}{os.getpid()}")

    def check(self) -> None:
        """Raise DataError if `output` cannot be written."""
        if self._output.is_dir() and not any(self._output.iterdir()):
            return
        if not self._output.exists() and not self._output.is_symlink():
            return
        if not self._overwrite:
            raise DataError(f"{self._output} exists; choose another --output, or replace it with --overwrite.")
        if not (self._output / self._known_by).is_file():
            raise DataError(
                f"{self._output} holds no {self._known_by}, so it was not written by this command and is not replaced. "
                "Choose another --output."
            )

    def __enter__(self) -> Path:
        self.check()
        try:
            self._output.parent.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            self._temporary.mkdir()
        except OSError as error:
            why = f"{self._output}: cannot be written ({error.strerror})"
            raise DataError(f"{why}. Choose another --output.") from error
        return self._temporary

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)
        if isinstance(error, OSError):
            why = f"{self._output}: cannot be written ({error.strerror})"
            raise DataError(f"{why}. Nothing was kept; free space or choose another --output.") from error

    def _publish(self) -> None:
        old = self._temporary.with_name(f"{self._temporary.name}.old")
        if self._output.is_dir() and any(self._output.iterdir()):
            self._output.rename(old)
        try:
            self._temporary.replace(self._output)
        except OSError:
            if old.is_dir():
                old.rename(self._output)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _remove_leftovers(self) -> None:
        for path in self._output.parent.glob(f"{_escaped(self._mark)}*"):
            found = re.fullmatch(r"(\d+)", path.name.removeprefix(self._mark))
            if found and not alive(int(found[1])):
                shutil.rmtree(path, ignore_errors=True)


def _host() -> str:
    return re.sub(r"[^\w]", "_", socket.gethostname())[:40]


def _escaped(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def alive(pid: int) -> bool:
    """Return whether a process of this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
