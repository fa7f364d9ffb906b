"""`aloe-bench leaderboard`: pages generated from run folders, never edited by hand."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aloe_bench.cli.common import FiniteRange
from aloe_bench.cli.verb import Verb


@click.group()
def leaderboard() -> None:
    """Build and verify leaderboard pages, hand runs in and take them, and compare published runs."""


@leaderboard.command(
    cls=Verb,
    examples=(
        "aloe-bench leaderboard build runs/m runs/n --output board",
        "aloe-bench leaderboard build",
    ),
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), default=Path("leaderboards"), show_default=True)
def build(runs: tuple[Path, ...], output: Path) -> None:
    """Write results/<model>/<task>.json and the pages from finished RUNS (or folders that hold some).

    Without RUNS, numbers and pages are rebuilt from the outcomes that are there.
    """
    from aloe_bench.boards.build import build as build_pages
    from aloe_bench.boards.collect import finished_runs

    folders, skipped = finished_runs(runs) if runs else ([], [])
    for folder in skipped:
        click.echo(f"{folder}: left out (unfinished, or a shard).", err=True)
    for path in build_pages(folders, output):
        click.echo(str(path))


@leaderboard.command(
    cls=Verb,
    examples=(
        "aloe-bench leaderboard verify",
        "aloe-bench leaderboard verify board",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path), default=Path("leaderboards"))
def verify(folder: Path) -> None:
    """Compute FOLDER (default: leaderboards) again from its published outcomes: every number, mark and page.

    Needs neither model nor data. Exit code 4 if anything is not as the outcomes have it; each such file is named.
    """
    from aloe_bench.boards.verify import verify as differences
    from aloe_bench.errors import GateError

    found = differences(folder)
    if found:
        raise GateError("\n".join(found))
    click.echo(f"{folder}: every number and page is what the published outcomes give.")


@leaderboard.command(
    cls=Verb,
    examples=(
        "aloe-bench leaderboard submit runs/m --output submission",
        "aloe-bench leaderboard accept submission --dry-run",
    ),
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), default=Path("submission"), show_default=True)
def submit(run: Path, output: Path) -> None:
    """Make a folder of a finished RUN that others can review and take into their leaderboard.

    It holds what became of each item, the header and the summary: no picture, question or reply, no path of this
    machine.
    """
    from aloe_bench.boards.submission import submit as make
    from aloe_bench.evaluation.runlog import find_run

    for path in make(find_run(run), output):
        click.echo(str(path))


@leaderboard.command(
    cls=Verb,
    examples=(
        "aloe-bench leaderboard accept submission --dry-run",
        "aloe-bench leaderboard accept submission",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), default=Path("leaderboards"), show_default=True)
@click.option("--replace", is_flag=True, help="Take the place of another run of this model and task.")
@click.option("--dry-run", is_flag=True, help="Check FOLDER and write nothing.")
def accept(folder: Path, output: Path, replace: bool, dry_run: bool) -> None:
    """Check a submission, FOLDER, and take it into a leaderboard: every number is computed again of its outcomes.

    A submission with any fault is refused, each fault by its name, and nothing is written.
    """
    from aloe_bench.boards.submission import accept as take
    from aloe_bench.boards.submission import checked_submission

    if dry_run:
        checked_submission(folder)
        click.echo(f"{folder}: every number is what its outcomes give.")
        return
    for path in take(folder, output, replace=replace):
        click.echo(str(path))


@leaderboard.command(
    cls=Verb,
    examples=(
        "aloe-bench leaderboard compare board/results/m/slake.json board/results/n/slake.json",
        "aloe-bench leaderboard compare FIRST SECOND --margin 5",
    ),
)
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--by", help="Also one row for each value of this tag (exploratory).")
@click.option("--margin", type=FiniteRange(0, 100, min_open=True), help="Points that may be lost, e.g. 2.")
@click.option("--json", "as_json", is_flag=True, help="Print the unrounded numbers as JSON and nothing else.")
def compare(first: Path, second: Path, by: str | None, margin: float | None, as_json: bool) -> None:
    """Compare two published results, FIRST and SECOND, item by item, as `aloe-bench compare` does run folders.

    They are files results/MODEL/TASK.json of a leaderboard; neither run, model nor data are needed.
    """
    from aloe_bench.boards.compare import compared, published_side
    from aloe_bench.cli.compare import show

    share = None if margin is None else margin / 100
    result = compared(published_side(first), published_side(second), by=by, margin=share)
    if as_json:
        click.echo(json.dumps(result, indent=2, allow_nan=False))
        return
    show(result, margin)
