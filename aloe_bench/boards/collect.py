"""Which run folders a leaderboard is built from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aloe_bench.errors import DataError
from aloe_bench.evaluation.runlog import is_finished, read_header


def finished_runs(places: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the run folders at or below `places`, and those passed over: unfinished ones, and shards.

    A run folder that is named itself always counts. Raises DataError if none is left.
    """
    folders: list[Path] = []
    skipped: list[Path] = []
    for place in places:
        for header in sorted(place.rglob("run.json")):
            folder = header.parent
            whole = is_finished(folder) and not read_header(folder).get("shard")
            (folders if folder == place or whole else skipped).append(folder)
    if not folders:
        where = ", ".join(map(str, places))
        raise DataError(f"{where}: no finished run (run.json) found; give folders that `aloe-bench run` wrote.")
    return folders, skipped
