"""Tasks, attacks and back ends from outside the package: a file's, a module's, or an installed package's."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.abc import SourceLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from aloe_bench.errors import AloeError, DataError, UsageError, did_you_mean

# What an installed package lists its things under.
GROUPS = {"task": "aloe_bench.tasks", "attack": "aloe_bench.attacks", "back end": "aloe_bench.backends"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a thing was found, "/path/FILE.py:NAME" or "pkg.mod:NAME", and the SHA-256 of the file it stands in."""

    place: str
    sha256: str

    @property
    def pinned(self) -> str:
        """The place with the hash, to load the same thing in another process."""
        return f"{self.place}#{self.sha256}"

    @property
    def facts(self) -> Mapping[str, str]:
        """What a header records: the place without its folders, which are nobody else's business, and the hash."""
        where, _, name = self.place.rpartition(":")
        return {"file": f"{Path(where).name}:{name}", "file_sha256": self.sha256}


def load(place: str) -> tuple[Any, Origin]:
    """Return what FILE.py:NAME or pkg.mod:NAME names, and where that is.

    "#" and a SHA-256 may follow, which its file must have.

    Raises UsageError if there is no such file, module or name, DataError if the file cannot be run or is another one.
    """
    place, _, wanted = place.partition("#")
    where, _, name = place.rpartition(":")
    module, sha256 = _file_module(where) if where.endswith(".py") else _module(where, place)
    if not hasattr(module, name):
        near = did_you_mean(name, [known for known in vars(module) if not known.startswith("_")])
        raise UsageError(f"{place}: {where} has no {name!r}.{near}")
    if wanted not in ("", sha256):
        raise DataError(f"{place}: not the file that the command began with; it changed, or differs by machine.")
    thing = getattr(module, name)
    full = f"{Path(where).resolve()}:{name}" if where.endswith(".py") else place
    return thing, Origin(full, sha256)


def installed(kind: str) -> Mapping[str, str]:
    """Return the places ("pkg.mod:NAME") of what installed packages offer of a kind, by name."""
    group = GROUPS.get(kind)
    return {entry.name: entry.value for entry in entry_points(group=group)} if group else {}


class _Source(SourceLoader):
    """Runs the very bytes that were hashed, and no cached code."""

    def __init__(self, path: Path, source: bytes) -> None:
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        if str(path) != str(self._path):
            raise OSError
        return self._source


def _file_module(where: str) -> tuple[ModuleType, str]:
    path = Path(where).expanduser().resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror}); expected a Python file.") from error
    sha256 = hashlib.sha256(source).hexdigest()
    # The path is in the name too: two equal files are two modules.
    name = f"aloe_bench_outside_{hashlib.sha256(f'{path}{sha256}'.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name], sha256
    spec = importlib.util.spec_from_loader(name, _Source(path, source), origin=str(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        raise _failed(where, error) from error
    return module, sha256


def _module(where: str, place: str) -> tuple[ModuleType, str]:
    try:
        module = importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not where.startswith(error.name):
            raise _failed(where, error) from error
        raise UsageError(
            f"{place}: no module {where!r} here. Expected FILE.py:NAME, or MODULE:NAME of an installed package."
        ) from error
    except BaseException as error:
        raise _failed(where, error) from error
    file = getattr(module, "__file__", None)
    return module, hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def _failed(where: str, error: BaseException) -> BaseException:
    """Return what to raise for an error in a user's file: it may do anything, an interruption stays one."""
    if isinstance(error, AloeError | KeyboardInterrupt):
        return error
    line = error.lineno if isinstance(error, SyntaxError) else _line_in(where, error)
    return DataError(f"{where}{f':{line}' if line else ''}: cannot be loaded ({type(error).__name__}: {error}).")


def _line_in(where: str, error: BaseException) -> int | None:
    """Return the last line of the file `where` that the error passed through."""
    found, trace = None, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename.endswith(Path(where).name):
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
