"""Where the pictures of runs lie: found again through the task, and known by their hash."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench import registry
from aloe_bench.core import ImageRef, samples_of
from aloe_bench.errors import AloeError
from aloe_bench.reporting.pictures import hashes
from aloe_bench.reporting.read import QuestionSet

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WantedPictures:
    """The pictures of one task's questions, by hash; None where the run's log is from before it named them."""

    title: str
    header: Mapping[str, Any]
    attacked: bool
    hashes: frozenset[str] | None


def wanted_of(each: QuestionSet) -> WantedPictures:
    """Return which pictures the questions of `each` were asked over."""
    named = any(record.prompt for record in each.records)
    found = frozenset(name for record in each.records for name in hashes(record)) if named else None
    return WantedPictures(each.title, each.runs[0].header, each.attacked, found)


def find_pictures(places: Sequence[Path], sets: Sequence[WantedPictures]) -> tuple[dict[str, ImageRef], list[str]]:
    """Return the pictures of `sets` by hash, and for each set of which some were not found, what was.

    `places` are data roots and attacked tables to look in; without them, those that the runs were made on.
    """
    found: dict[str, ImageRef] = {}
    remarks: list[str] = []
    for each in sets:
        if each.hashes is None:
            remarks.append(f"{each.title}: this run's log is from before pictures were named in it, so none is shown.")
            continue
        for open_pictures in _ways(each, places):
            try:
                found |= {ref.sha256: ref for ref in open_pictures if ref.sha256 in each.hashes}
            except AloeError as error:
                log.warning("%s: %s", each.title, error)
            if each.hashes <= found.keys():
                break
        if missing := len(each.hashes - found.keys()):
            # Not why: a page that travels holds no path of this machine. The log has it.
            remarks.append(
                f"{each.title}: {missing} of {len(each.hashes)} pictures were not found when this file was made. Name "
                "the data root, or the folder of the attacked table, with --data."
            )
    return found, remarks


def _ways(each: WantedPictures, places: Sequence[Path]) -> Iterator[Iterator[ImageRef]]:
    """Yield, one place after the other, the pictures that the task of `each` has there."""
    options: Mapping[str, object] = (each.header.get("asked") or {}).get("options") or {}
    name = str(each.header["task"]["name"])
    asked = [word.strip() for word in str(options.get("tasks") or "").split(",")]
    # A header may come from a stranger: a folder that it names is read, a Python file that it names is not run.
    folders = [word for word in asked if word.partition(":")[0] in registry.FOLDER_TASKS and ":" in word]
    if each.attacked:
        for table in [f"heart:{place}" for place in places] or folders:
            yield _pictures(table, Path("."))
        return
    for root in list(places) or [Path(str(options.get("data_root") or "data"))]:
        own = ":" in name or name.partition("-")[0] in registry.FOLDER_TASKS
        for word in ([] if own else [name]) + ([] if places else folders):
            yield _pictures(word, root)


def _pictures(task: str, root: Path) -> Iterator[ImageRef]:
    for sample in samples_of(registry.task(task).load(root)):
        yield from sample.images
