"""`aloe-bench import`: runs that were exported, as run folders again."""

from __future__ import annotations

from pathlib import Path

import click

from aloe_bench.cli.verb import Verb


@click.command(
    "import",
    cls=Verb,
    examples=(
        "aloe-bench import eee --output runs",
        "aloe-bench compare runs/m/slake runs/n/slake",
    ),
)
@click.argument("place", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
def import_run(place: Path, output: Path) -> None:
    """Make run folders of what `export --format eee` wrote: PLACE is an aggregate, or a folder above some.

    The numbers of the aggregate are computed again of the replies, and refused where they differ. `compare`, `report`
    and `leaderboard build` then take such a folder as they take any other run.
    """
    from aloe_bench.bridges.exchange.imports import import_eee

    for folder in import_eee(place, output):
        click.echo(f"run: {folder}")
