"""Data sets from the hub into the data root: at one commit, resumable, every byte checked."""

from __future__ import annotations

import fcntl
import fnmatch
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aloe_bench.errors import DataError
from aloe_bench.tasks.data.download import download
from aloe_bench.tasks.data.fetched import Fetched, FetchedFile, is_commit, is_pinned, read_fetched, write_fetched

log = logging.getLogger(__name__)
T = TypeVar("T")
Progress = Callable[[int, int], None]
BLOCK = 1 << 20
MB = 1_000_000
WORKERS = 8
PARTS = ".aloe-fetch"


@dataclass(frozen=True, slots=True)
class Fetch:
    """What to bring: the files that match `files` of a hub data set, into `folder` below the data root.

    `revision` is a commit, its first digits, or a branch; see `fetched.is_pinned`.
    """

    repo: str
    revision: str
    folder: str
    files: tuple[str, ...]


def fetch(wanted: Fetch, root: Path, progress: Progress = lambda done, total: None) -> Fetched:
    """Bring the files and return what was brought; whole files stay, and a broken download resumes where it stopped.

    `progress` hears megabytes come and to come. Raises DataError if the hub cannot be reached or
    refuses, if the folder holds another commit or a file of the user's own (nothing is changed then), or if what came
    is not what the hub lists (it is deleted then).
    """
    folder = root / wanted.folder
    held = read_fetched(folder)
    revision, tree = ask_hub(wanted, lambda api: _listed(api, wanted))
    if held is not None and (held.repo, held.revision) != (wanted.repo, revision):
        raise DataError(
            f"{folder}: holds revision {held.revision} of {held.repo}, and the hub now gives {revision} of "
            f"{wanted.repo}. Nothing was changed. Move the folder away to take the new one, or pass "
            f"--revision {held.revision} to keep it."
        )
    todo = [entry for name, entry in tree.items() if not _is_whole(folder / name, entry, held)]
    for entry in todo:
        _make_way(folder / entry.path, ours=held is not None)
    log.info("%s at %s: %d of %d files to bring", wanted.repo, revision, len(todo), len(tree))
    with _alone(folder):
        _bring(wanted, revision, folder, todo, progress)
    known = held.files if held else {}
    files = {
        name: known.get(name) or FetchedFile(entry.size, _digest(folder / name, hashlib.sha256()))
        for name, entry in tree.items()
    }
    fetched = Fetched(wanted.repo, revision, {**known, **files})
    write_fetched(folder, fetched)
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return fetched


def _listed(api: Any, wanted: Fetch) -> tuple[str, dict[str, Any]]:
    """Return the commit, and its files that are wanted by path."""
    revision = _commit(api, wanted)
    tree = {
        entry.path: entry
        for entry in api.list_repo_tree(wanted.repo, repo_type="dataset", revision=revision, recursive=True)
        if hasattr(entry, "blob_id") and any(fnmatch.fnmatch(entry.path, pattern) for pattern in wanted.files)
    }
    for name in tree:
        if name.startswith("/") or ".." in name.split("/"):
            raise DataError(f"{wanted.repo}: path {name!r} leaves the data folder; nothing was fetched.")
    if not tree:
        raise DataError(
            f"{wanted.repo} at {revision}: no file matches {', '.join(wanted.files)}. "
            "The data set was rearranged; pass --revision with an earlier commit."
        )
    return revision, tree


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one process; two that append to one part would spoil it."""
    try:
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        lock = (folder / PARTS / "lock").open("w")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}). Choose another --data-root.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{folder}: another process fetches into it. Wait for it to end.") from error
        yield


def _bring(wanted: Fetch, revision: str, folder: Path, entries: Sequence[Any], progress: Progress) -> None:
    """Bring `entries` into `folder`, several at a time; each is checked before it gets its name."""
    total, came, lock, stopped = sum(entry.size for entry in entries), 0, Lock(), Event()

    def came_in(count: int) -> None:
        nonlocal came
        if stopped.is_set():
            raise DataError(f"{folder}: broken off; what has come is kept.")
        with lock:
            came += count
            progress(came // MB, total // MB)

    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(_bring_one, wanted, revision, folder, entry, came_in) for entry in entries]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


def _bring_one(wanted: Fetch, revision: str, folder: Path, entry: Any, came_in: Callable[[int], None]) -> None:
    # Named by content, so that what is left of another commit's file is never continued.
    part = folder / PARTS / f"{entry.blob_id}.part"
    download(
        lambda: ask_hub(wanted, lambda api: _address(api, wanted, revision, entry.path)), part, entry.size, came_in
    )
    problem = _differs(part, entry)
    if problem:
        part.unlink(missing_ok=True)
        raise DataError(f"{folder / entry.path}: {problem}; what came is deleted. Fetch again.")
    target = folder / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, target)


def _address(api: Any, wanted: Fetch, revision: str, name: str) -> tuple[str, dict[str, str]]:
    """Return where a file is now, and the headers to send there: the user's token to the hub alone."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(wanted.repo, name, repo_type="dataset", revision=revision, endpoint=api.endpoint)
    location = get_hf_file_metadata(url, endpoint=api.endpoint).location
    at_hub = urlsplit(location)[:2] == urlsplit(url)[:2]
    return location, build_hf_headers() if at_hub else {}


def _commit(api: Any, wanted: Fetch) -> str:
    """Return the whole commit that the wanted revision stands for."""
    if not is_commit(wanted.revision) or len(wanted.revision) == 40:
        return str(api.repo_info(wanted.repo, repo_type="dataset", revision=wanted.revision).sha)
    commits = (str(commit.commit_id) for commit in api.list_repo_commits(wanted.repo, repo_type="dataset"))
    found = next((commit for commit in commits if is_pinned(commit, wanted.revision)), None)
    if found is None:
        raise DataError(
            f"{wanted.repo}: no commit {wanted.revision} any more, which this task's counts were seen at. "
            "Pass --revision main to take what is there now; its row counts are checked all the same."
        )
    return found


def ask_hub(wanted: Fetch, ask: Callable[[Any], T]) -> T:
    """Return what `ask` gets of the hub's client; its many errors become one line each."""
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub

    try:
        return ask(HfApi())
    except DataError:
        raise
    except hub.GatedRepoError as error:
        raise DataError(
            f"{wanted.repo}: gated. Accept its terms on its hub page, log in with `hf auth login`, and fetch again."
        ) from error
    except hub.RevisionNotFoundError as error:
        raise DataError(
            f"{wanted.repo}: no revision {wanted.revision} any more, which this task's counts were seen at. "
            "Pass --revision main to take what is there now; its row counts are checked all the same."
        ) from error
    except hub.RepositoryNotFoundError as error:
        raise DataError(f"{wanted.repo}: no such data set, or it is private. Log in with `hf auth login`.") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        offline = " HF_HUB_OFFLINE is set; unset it." if type(error).__name__ == "OfflineModeIsEnabled" else ""
        raise DataError(
            f"{wanted.repo}: cannot be fetched ({type(error).__name__}: {reason}).{offline} "
            "Run the same command again: what has come is kept."
        ) from error


def _is_whole(path: Path, entry: Any, held: Fetched | None) -> bool:
    """Return whether the file is there and right; one that the manifest vouches for is not read again."""
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    known = held.files.get(entry.path) if held else None
    return (known is not None and known.size == entry.size) or _differs(path, entry) is None


def _make_way(path: Path, ours: bool) -> None:
    """Delete a file that is no longer as we fetched it; raises DataError if it was not us who brought it."""
    if not path.is_file():
        return
    if not ours:
        raise DataError(f"{path}: is not the hub's file of this name. Nothing was changed. Move it away first.")
    path.unlink()


def _differs(path: Path, entry: Any) -> str | None:
    """Return what is wrong with a file, None if it is what the hub's listing says."""
    if not path.is_file():
        return "did not come"
    size = path.stat().st_size
    if size != entry.size:
        return f"{size} bytes came, expected {entry.size}"
    large: Mapping[str, Any] | None = entry.lfs
    if large is not None:
        found, expected = _digest(path, hashlib.sha256()), str(large["sha256"])
    else:
        found, expected = git_digest(path), str(entry.blob_id)
    return None if found == expected else f"checksum {found[:12]}, expected {expected[:12]}"


def git_digest(path: Path) -> str:
    """Return what git calls a file of these bytes: SHA-1 of their number and themselves."""
    return _digest(path, hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False))


def _digest(path: Path, digest: Any) -> str:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return str(digest.hexdigest())
