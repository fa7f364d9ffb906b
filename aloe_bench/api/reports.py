"""Runs as one page to look at, in a file or served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aloe_bench.api.runs import Run

if TYPE_CHECKING:
    from aloe_bench.reporting.serving import PageServer


def report(
    runs: Run | Path | str | Sequence[Run | Path | str],
    output: Path | str = "report.html",
    *,
    data: Sequence[Path | str] = (),
    plots: Path | str | None = None,
    share: bool = False,
    pictures: int = 2000,
    max_mb: float = 40.0,
    pictures_mb: float = 14.0,
    workers: int = 1,
) -> list[Path]:
    """Return the files written: one HTML page of `runs`, and beside it the pictures that must stay here, if any.

    `plots` is a folder into which every figure goes as SVG and PNG.

    `runs` are finished runs, or folders that hold some; those on the same questions stand beside each other. `data`
    says where pictures lie now if that is elsewhere; `pictures` is the number of items shown with theirs. Raises
    UsageError if `share` is asked of pictures that may not be passed on, DataError beyond `max_mb` (10^6 bytes).
    """
    from aloe_bench.reporting.onefile import ReportOptions, write_report

    options = ReportOptions(
        tuple(map(Path, data)), None if plots is None else Path(plots), share, pictures, max_mb, pictures_mb, workers
    )
    return write_report(run_folders(runs), Path(output), options)


def view(
    runs: Run | Path | str | Sequence[Run | Path | str], *, data: Sequence[Path | str] = (), port: int = 0
) -> PageServer:
    """Return the page of `runs`, served by this machine to itself: `with view(runs) as page: print(page.url)`.

    Rows and pictures are loaded as they are looked at, so that no run is too large. `data` says where pictures lie now
    if that is elsewhere; `port` 0 takes a free one. Raises UsageError where nothing can listen there.
    """
    from aloe_bench.reporting.serving import PageServer

    return PageServer(run_folders(runs), tuple(map(Path, data)), port)


def run_folders(runs: Run | Path | str | Sequence[Run | Path | str]) -> list[Path]:
    """Return the folders of the finished runs that are given, or lie in a folder given, each once in that order."""
    from aloe_bench.boards.collect import finished_runs

    given = [runs] if isinstance(runs, Run | Path | str) else list(runs)
    # One place at a time: the order given is the order of comparison.
    folders = [
        folder for run in given for folder in finished_runs([run.folder if isinstance(run, Run) else Path(run)])[0]
    ]
    return list(dict.fromkeys(folders))
