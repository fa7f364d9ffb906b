"""`aloe-bench report`: runs in one file to look at."""

from __future__ import annotations

from pathlib import Path

import click

from aloe_bench.cli.common import FiniteRange
from aloe_bench.cli.verb import Verb


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench report runs/m/heart-xray --output report.html",
        "aloe-bench report runs/base/heart-xray runs/tuned/heart-xray --plots figures",
    ),
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where pictures lie now, if elsewhere than when asked: a data root, or an attacked table.",
)
@click.option(
    "--plots", type=click.Path(path_type=Path), help="Also write every figure into this folder, as SVG and PNG."
)
@click.option("--share", is_flag=True, help="Refuse what may not be passed on: pictures whose licence does not say so.")
@click.option("--pictures", type=click.IntRange(0), default=2000, show_default=True, help="Items shown with pictures.")
@click.option("--max-mb", type=FiniteRange(0, min_open=True), default=40.0, show_default=True, help="Largest file.")
@click.option(
    "--pictures-mb", type=FiniteRange(0), default=14.0, show_default=True, help="Of that, about so much for pictures."
)
@click.option("--workers", type=click.IntRange(1), help="Processes that read pictures (default: all processors).")
def report(
    runs: tuple[Path, ...],
    output: Path,
    data: tuple[Path, ...],
    plots: Path | None,
    share: bool,
    pictures: int,
    max_mb: float,
    pictures_mb: float,
    workers: int | None,
) -> None:
    """Write RUNS as one HTML file that opens offline: what was asked, figures, and every item to look at.

    Runs on the same questions stand beside each other, the first being what the next is compared with. A folder above
    runs stands for the finished ones below it. Pictures whose licence does not allow copies go into a file of their
    own, which the page opens on this machine.
    """
    from aloe_bench.api.reports import report as write
    from aloe_bench.workers import available

    written = write(
        runs, output, data=data, plots=plots, share=share, pictures=pictures, max_mb=max_mb, pictures_mb=pictures_mb,
        workers=workers or available(),
    )  # fmt: skip
    for path in written:
        click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
