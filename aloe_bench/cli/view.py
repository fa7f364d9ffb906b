"""`aloe-bench view`: runs in the browser, item by item, for those that are too large for one file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from aloe_bench.cli.verb import Verb


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench view runs/m/heart-xray",
        "aloe-bench view runs/base/heart-xray runs/tuned/heart-xray --data heart/xray --port 0",
    ),
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where pictures lie now, if elsewhere than when asked: a data root, or an attacked table.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8766, show_default=True, help="0 takes a free one.")
def view(runs: tuple[Path, ...], data: tuple[Path, ...], port: int) -> None:
    """Show RUNS in a browser of this machine: the page of `report`, whose items are loaded as they are looked at.

    Nothing is written, and only this machine can reach the page, by the address that is printed.
    """
    from aloe_bench.api.reports import view as served

    with served(list(runs), data=data, port=port) as page, suppress(KeyboardInterrupt):
        click.echo(page.url)
        click.echo("Ctrl-C stops.")
        page.wait()
