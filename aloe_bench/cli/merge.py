"""`aloe-bench merge`: shards of one run become one."""

from __future__ import annotations

from pathlib import Path

import click

from aloe_bench.cli.verb import Verb


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench run --model PATH --suite medical --shard 1/3 --output part-1",
        "aloe-bench merge part-1 part-2 part-3 --output runs",
    ),
)
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The new run folder.")
def merge(shards: tuple[Path, ...], output: Path) -> None:
    """Join SHARDS (run folders, any order) into one run; refused unless together they are complete."""
    from aloe_bench.errors import DataError
    from aloe_bench.evaluation.finish import finish
    from aloe_bench.evaluation.runlog import merge as merge_runs

    if (output / "run.json").exists():
        raise DataError(f"{output}: already holds a run; choose another --output.")
    merge_runs(shards, output)
    finish(output)
    click.echo(str(output))
