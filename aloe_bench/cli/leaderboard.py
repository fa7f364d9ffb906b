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
    from aloe_bench.boards.collect import finished_runs

    folders, skipped = finished_runs(runs)
    for folder in skipped:
        click.echo(f"{folder}: left out (unfinished, or a shard).", err=True)
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
