"""Whether data are known to be the benchmark's: what the hub itself lists, and never contrary to a list that ships.

`data fetch` leaves a manifest beside the files it brought: from which commit they are, and what they must be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from aloe_bench.core import DataSet, Record, Sample
from aloe_bench.errors import DataError
from aloe_bench.files import write_json

MANIFEST = "aloe-fetch.json"
BLOCK = 1 << 20
WORKERS = 8
# What systems leave in folders, and no reader of ours opens.
IGNORED = (MANIFEST, ".gitattributes", ".DS_Store", "Thumbs.db")
# Of each task with a list here, `known/<task>.json` has these fields of every row, as digests.
LISTS = ("slake", "mmmu")


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


@dataclass(frozen=True, slots=True)
class Proof:
    """How data are known to be the benchmark's: `by` "hub", or "" where they are not, and in words `why` not."""

    by: str
    why: str = ""


def commits(data_sets: Iterable[DataSet]) -> dict[str, str]:
    """Return hub id -> commit of those data sets whose folders were fetched."""
    found = [read_fetched(each.folder) for each in data_sets]
    return {fetched.repo: fetched.revision for fetched in found if fetched is not None}


def proof_of_data(task: str, data_sets: Sequence[DataSet], samples: Sequence[Sample]) -> Proof:
    """Return whether the data are the benchmark's: every file as the hub lists it, no row contrary to a list.

    What `data fetch` left in a folder says where its files are from, and proves nothing: every byte is hashed again
    and held against what the hub gives for that commit. Raises DataError for a file that is no longer as it was
    fetched.
    """
    if strange := contrary(task, ((s.id, s.question, s.target) for s in samples)):
        return Proof("", strange)
    for each in data_sets:
        if why := _not_fetched(each):
            return Proof("", why)
    return Proof("hub")


def proof_of_run(task: str, said: object, records: Sequence[Record]) -> Proof:
    """Return whether a run was made on the benchmark's data: its header `said` so, and no record speaks against it."""
    if why := why_unverified(said):
        return Proof("", why)
    strange = contrary(task, ((r.sample_id, r.question, r.target) for r in records))
    return Proof("", strange) if strange else Proof("hub")


def why_unverified(said: object) -> str:
    """Return why data are not known to be the benchmark's, by what a header or a result says of it; "" if they are."""
    if not isinstance(said, Mapping):
        return "made before data were verified"
    if said.get("by") == "fetch":
        return "made when a fetched folder's own word was taken; run again where the hub can be reached"
    return "" if said.get("by") == "hub" else str(said.get("why") or "the run's header does not say why")


def contrary(task: str, rows: Iterable[tuple[str, str, str]]) -> str:
    """Return which of (id, question, target) are not on the list of a task that ships, "" if all are or none ships."""
    if task not in LISTS:
        return ""
    fields, known = _known(task)
    strange = [name for name, *values in rows if row_digest(name, values[:fields]) not in known]
    rest = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
    return f"{strange[0]}{rest} not on the list of the benchmark's rows" if strange else ""


def row_digest(name: str, values: Sequence[str]) -> str:
    """Return what the lists hold of a row."""
    return hashlib.sha256(json.dumps([name, *values]).encode()).hexdigest()[:12]


@cache
def _known(task: str) -> tuple[int, frozenset[str]]:
    """Return how many of question and target the list of `task` holds beside the id, and its digests."""
    text = resources.files("aloe_bench.tasks.data").joinpath("known", f"{task}.json").read_text(encoding="utf-8")
    value = json.loads(text)
    return int(value["fields"]), frozenset(value["rows"])


def _not_fetched(data_set: DataSet) -> str:
    """Return in words why a folder is not known to hold the data set, "" if it is."""
    fetched = read_fetched(data_set.folder)
    if fetched is None:
        return f"{data_set.hub} is a copy that `data fetch` did not bring"
    if fetched.repo != data_set.hub:
        return f"the folder was fetched from {fetched.repo} and not from {data_set.hub}"
    if len(fetched.revision) != 40:
        return f"{data_set.hub} was fetched at {fetched.revision!r}, which is not a commit"
    there = {path.relative_to(data_set.folder).as_posix() for path in data_set.folder.rglob("*") if not path.is_dir()}
    more = sorted(name for name in there - fetched.files.keys() if Path(name).name not in IGNORED)
    if more:
        rest = f" and {len(more) - 1} more" if len(more) > 1 else ""
        return f"{data_set.hub} has files beside it that were not fetched: {more[0]}{rest}"
    with ThreadPoolExecutor(WORKERS) as pool:
        digests = pool.map(_sha256, [data_set.folder / name for name in fetched.files])
        for (name, file), digest in zip(fetched.files.items(), digests, strict=True):
            if digest != file.sha256:
                raise DataError(
                    f"{data_set.folder / name}: checksum {digest[:12]}, expected {file.sha256[:12]} as fetched. "
                    f"Delete the file and fetch again, or delete {MANIFEST} to run the folder as a copy of your own."
                )
    # Not above: of all runs, only one on fetched data asks the hub.
    from aloe_bench.tasks.data.listing import unlike_the_hub

    return unlike_the_hub(data_set.folder, fetched)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Fetch it again.") from error
    return digest.hexdigest()
