"""What the hub itself lists of a data set at a commit, to hold a fetched folder against: no folder can forge it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from aloe_bench.errors import DataError
from aloe_bench.tasks.data.fetch import Fetch, ask_hub, git_digest
from aloe_bench.tasks.data.fetched import Fetched

log = logging.getLogger(__name__)
HUB = "https://huggingface.co"
# The hub's client sets no limit of its own, and where packets are dropped it would wait for ever.
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Listing:
    """The checksums of a commit's files by path, as `endpoint` gives them; none where the branch has no such commit."""

    endpoint: str
    sha256: Mapping[str, str]
    git: Mapping[str, str]


def unlike_the_hub(folder: Path, fetched: Fetched) -> str:
    """Return in words why a folder is not known to hold what the hub has, "" if every file is as the hub lists it.

    The SHA-256 that the record gives must be those of the files. A hub that cannot be asked vouches for nothing.
    """
    try:
        listing = _listing(fetched.repo, fetched.revision)
    except DataError as error:
        return (
            f"{fetched.repo} was fetched, by the folder's own word alone: the hub could not be asked ({error}) "
            f"Run again where {HUB} can be reached; what is answered is not asked again"
        )
    return against(listing, folder, fetched)


def against(listing: Listing, folder: Path, fetched: Fetched) -> str:
    """Return in words where a fetched folder and the hub's listing differ, "" if they do not."""
    if not (listing.sha256 or listing.git):
        return f"{fetched.repo} has no commit {fetched.revision} on its main branch"
    for name, file in fetched.files.items():
        large, small = listing.sha256.get(name), listing.git.get(name)
        if large is None and small is None:
            return f"{fetched.repo} at {fetched.revision[:8]} holds no file {name}"
        if file.sha256 != large if large is not None else git_digest(folder / name) != small:
            return f"{name} is not what {fetched.repo} at {fetched.revision[:8]} holds"
    if listing.endpoint != HUB:
        return f"the checksums of {fetched.repo} are those that {listing.endpoint} gives, which is not {HUB}"
    return ""


@cache
def _listing(repo: str, revision: str) -> Listing:
    """Ask the hub; raises DataError if it cannot be asked, refuses, or does not answer in time."""
    found: list[Listing | DataError] = []

    def ask() -> None:
        try:
            found.append(ask_hub(Fetch(repo, revision, "", ("*",)), lambda api: _listed(api, repo, revision)))
        except DataError as error:
            found.append(error)

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS)
    answer = found[0] if found else DataError(f"{repo}: no answer in {SECONDS:.0f} seconds.")
    if isinstance(answer, DataError):
        raise answer
    log.info("%s at %s: checksums asked of %s", repo, revision[:8], answer.endpoint)
    return answer


def _listed(api: Any, repo: str, revision: str) -> Listing:
    # Of the main branch: anybody can propose a change, and its commit is to be had in the same place.
    commits = (str(commit.commit_id) for commit in api.list_repo_commits(repo, repo_type="dataset"))
    if revision not in commits:
        return Listing(str(api.endpoint), {}, {})
    tree = api.list_repo_tree(repo, repo_type="dataset", revision=revision, recursive=True)
    files = [entry for entry in tree if hasattr(entry, "blob_id")]
    return Listing(
        str(api.endpoint),
        {entry.path: str(entry.lfs["sha256"]) for entry in files if entry.lfs is not None},
        {entry.path: str(entry.blob_id) for entry in files if entry.lfs is None},
    )
