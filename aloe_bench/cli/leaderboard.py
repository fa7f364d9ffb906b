"""`aloe-bench leaderboard`: pages generated from run folders, never edited by hand."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def leaderboard() -> None:
    """Build and check leaderboard pages."""


@leaderboard.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), default=Path("leaderboards"), show_default=True)
def build(runs: tuple[Path, ...], output: Path) -> None:
    """Write results/<model>/<task>.json and the pages from finished RUNS (or folders that hold some)."""
    from aloe_bench.boards.build import build as build_pages
    from aloe_bench.errors import DataError
    from aloe_bench.evaluation.runlog import read_header

    folders: list[Path] = []
    skipped: list[Path] = []
    for run in runs:
        for header in sorted(run.rglob("run.json")):
            named = header.parent == run
            whole = (header.parent / "summary.json").exists() and not read_header(header.parent).get("shard")
            (folders if named or whole else skipped).append(header.parent)
    for folder in skipped:
        click.echo(f"{folder}: left out (unfinished, or a shard).", err=True)
    if not folders:
        where = ", ".join(map(str, runs))
        raise DataError(f"{where}: no finished run (run.json) found; give folders that `aloe-bench run` wrote.")
    for path in build_pages(folders, output):
        click.echo(str(path))


@leaderboard.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("leaderboards"), show_default=True)
def check(output: Path) -> None:
    """Compare the pages with what results/ gives; exit code 4 if they differ."""
    from aloe_bench.boards.build import check as differences
    from aloe_bench.errors import GateError

    found = differences(output)
    if found:
        raise GateError("\n".join(found))
    click.echo(f"{output}: every page is what its results give.")
