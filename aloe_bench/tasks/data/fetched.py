"""What `data fetch` left beside the files it brought: from which commit they are, and what they must be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from aloe_bench.errors import DataError
from aloe_bench.files import write_json

MANIFEST = "aloe-fetch.json"


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """Size in bytes and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A folder's files by relative path, and the hub data set and commit they are from."""

    repo: str
    revision: str
    files: Mapping[str, FetchedFile]


def read_fetched(folder: Path) -> Fetched | None:
    """Return what the folder's manifest says; None if it has none. Raises DataError if it is broken."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        files = {name: FetchedFile(**facts) for name, facts in value["files"].items()}
        return Fetched(str(value["repo"]), str(value["revision"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: broken ({error}). Delete it and fetch again; whole files are kept.") from error


def write_fetched(folder: Path, fetched: Fetched) -> None:
    """Write the folder's manifest."""
    write_json(folder / MANIFEST, asdict(fetched))


def is_pinned(revision: str, pin: str) -> bool:
    """Return whether a commit is the one that `pin` names by its first digits; any is where the pin is a branch."""
    return revision.startswith(pin) if is_commit(pin) else True


def is_commit(revision: str) -> bool:
    """Return whether `revision` reads as a commit or the first digits of one, and not as a branch."""
    return 7 <= len(revision) <= 40 and all(digit in "0123456789abcdef" for digit in revision)


def refuse_changed(folder: Path, pin: str) -> None:
    """Raise DataError if the folder was fetched at another revision, or a file is no longer as it was fetched.

    A folder that was filled by other means says nothing of its revision, and passes.
    """
    fetched = read_fetched(folder)
    if fetched is None:
        return
    if not is_pinned(fetched.revision, pin):
        raise DataError(
            f"{folder}: holds revision {fetched.revision} of {fetched.repo}, expected {pin}. "
            f"Move the folder away and fetch again, or delete {MANIFEST} in it to run it as a copy of your own."
        )
    for name, file in fetched.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != file.size:
            found = "is gone" if size is None else f"has {size} bytes"
            raise DataError(f"{path}: {found}, expected {file.size} as fetched. Fetch it again.")
