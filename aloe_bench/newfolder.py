"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import socket
from pathlib import Path
from types import TracebackType

from aloe_bench.errors import DataError


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
            if found and not _alive(int(found[1])):
                shutil.rmtree(path, ignore_errors=True)


def _host() -> str:
    return re.sub(r"[^\w]", "_", socket.gethostname())[:40]


def _escaped(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
