"""Where the pictures of runs lie: found again through the task, and known by their hash."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aloe_bench import registry
from aloe_bench.core import ImageRef, samples_of
from aloe_bench.errors import AloeError
from aloe_bench.reporting.pictures import hashes
from aloe_bench.reporting.read import QuestionSet

log = logging.getLogger(__name__)


def find_pictures(sets: Sequence[QuestionSet], places: Sequence[Path]) -> tuple[dict[str, ImageRef], list[str]]:
    """Return the pictures of `sets` by hash, and for each set of which some were not found, what was.

    `places` are data roots and attacked tables to look in; without them, those that the runs were made on.
    """
    found: dict[str, ImageRef] = {}
    remarks: list[str] = []
    for each in sets:
        wanted = {name for record in each.records for name in hashes(record)}
        if not any(record.prompt for record in each.records):
            remarks.append(f"{each.title}: this run's log is from before pictures were named in it, so none is shown.")
            continue
        for open_pictures in _ways(each, places):
            try:
                found |= {ref.sha256: ref for ref in open_pictures if ref.sha256 in wanted}
            except AloeError as error:
                log.warning("%s: %s", each.title, error)
            if wanted <= found.keys():
                break
        if missing := len(wanted - found.keys()):
            # Not why: a page that travels holds no path of this machine. The log has it.
            remarks.append(
                f"{each.title}: {missing} of {len(wanted)} pictures were not found when this file was made. Name the "
                "data root, or the folder of the attacked table, with --data."
            )
    return found, remarks


def _ways(each: QuestionSet, places: Sequence[Path]) -> Iterator[Iterator[ImageRef]]:
    """Yield, one place after the other, the pictures that the task of `each` has there."""
    header = each.runs[0].header
    options: Mapping[str, object] = (header.get("asked") or {}).get("options") or {}
    name = str(header["task"]["name"])
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
