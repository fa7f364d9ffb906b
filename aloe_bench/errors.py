"""The errors a user can meet, each with the exit code it ends in."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache


class AloeError(Exception):
    """A mistake or fault with one clear message; `exit_code` is what the command returns."""

    exit_code = 3


class UsageError(AloeError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class DataError(AloeError):
    """Data is missing, broken, or not what the task expects."""


class NoRoomError(DataError):
    """What was to be put into a picture does not fit; the item it belongs to is dropped with this reason."""


class MissingDataError(DataError):
    """The data of `task` is not there; the message says what was expected, where was looked, and what fetches it."""

    def __init__(self, task: str, message: str) -> None:
        super().__init__(message)
        self.task = task


class ModelError(AloeError):
    """A model folder, endpoint or checkpoint is missing or broken."""


class DependencyError(AloeError):
    """An optional package is not installed; the message names the extra that brings it."""


class RunMismatchError(AloeError):
    """A run folder was made under other conditions than those asked for now."""


PACKAGE = "aloe-bench"
# Where the name to install differs from the name to import.
_IMPORTED = {
    "lm-eval": "lm_eval", "ms-vlmeval": "vlmeval", "import-linter": "importlinter", "pytest-xdist": "xdist",
    "pylibjpeg-openjpeg": "openjpeg", "pylibjpeg-rle": "rle", "pandas-stubs": "pandas-stubs",
    "mkdocs-material": "material",
}  # fmt: skip
_FOR_DEVELOPERS = ("dev", "docs")  # an extra of users is named before one of these


@cache
def extras() -> dict[str, dict[str, str]]:
    """Return by extra what it brings, as the package's own metadata lists it: name to import -> name to install."""
    import re
    from importlib import metadata

    try:
        required = metadata.requires(PACKAGE) or ()
    except metadata.PackageNotFoundError:  # run from a bare folder of source
        return {}
    found: dict[str, dict[str, str]] = {}
    for line in required:
        package, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        name = re.match(r"[A-Za-z0-9._-]+", package.strip())
        if extra and name and name[0] != PACKAGE:
            found.setdefault(extra[1], {})[_IMPORTED.get(name[0], name[0].replace("-", "_"))] = name[0]
    return dict(sorted(found.items(), key=lambda entry: entry[0] in _FOR_DEVELOPERS))


def missing_extra(error: ModuleNotFoundError) -> DependencyError | None:
    """Return what to say of a package that an extra would bring; None of any other."""
    cause: BaseException | None = error
    while cause is not None:  # a library that lacks another one says so in its own words
        package = (getattr(cause, "name", None) or "").partition(".")[0] if isinstance(cause, ImportError) else ""
        if isinstance(cause, ModuleNotFoundError) and any(package in brought for brought in extras().values()):
            return _not_installed(package)
        cause = cause.__cause__ or cause.__context__
    return None


def _not_installed(package: str) -> DependencyError:
    extra = next((extra for extra, brought in extras().items() if package in brought), None)
    place = f"{PACKAGE}[{extra}]" if extra else package
    return DependencyError(f"this needs {package}, which is not installed. Run: pip install '{place}'")


def need(*packages: str) -> None:
    """Raise DependencyError for the first of `packages`, by names to import, that is not there; nothing is imported."""
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise _not_installed(package)


class GateError(AloeError):
    """A gate that the user gave was not met."""

    exit_code = 4


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean X?" for the closest of `known`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""
