"""`aloe-bench view`: runs in the browser, item by item, for those that are too large for one file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from aloe_bench.cli.common import listener_on
from aloe_bench.cli.verb import Verb

HOST = "127.0.0.1"


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
    import secrets

    from aloe_bench.errors import need

    need("matplotlib", "starlette", "uvicorn")
    import uvicorn

    from aloe_bench.api.reports import run_folders
    from aloe_bench.reporting.served import view_app

    token = secrets.token_urlsafe(16)
    app = view_app(run_folders(runs), token, data)
    with listener_on(HOST, port) as listener:
        click.echo(f"http://{HOST}:{listener.getsockname()[1]}/{token}/")
        click.echo("Ctrl-C stops.")
        # No access log: it would write down the address.
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
