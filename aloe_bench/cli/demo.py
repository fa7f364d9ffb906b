"""`aloe-bench demo`: the whole loop in miniature, on a CPU, in minutes."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aloe_bench.cli.verb import Verb

if TYPE_CHECKING:
    from aloe_bench.miniature.demo import Demo


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench demo --output demo-output",
        "aloe-bench demo --quick",
    ),
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the AR stage's pictures, cues and order."
)
@click.option("--quick", is_flag=True, help="A tenth of everything, to see that it runs; its figures mean nothing.")
@click.option("--base", type=click.Path(path_type=Path), help="Another base checkpoint than the shipped one.")
def demo(output: Path, seed: int, quick: bool, base: Path | None) -> None:
    """Attack a tiny model, train it against the attacks on one modality, and attack it on the others again."""
    from aloe_bench.errors import need
    from aloe_bench.miniature.demo import FULL, QUICK, run_demo, write_summary
    from aloe_bench.miniature.loop import BASE
    from aloe_bench.training.sft import Stopped

    need("torch", "torchvision", "transformers", "accelerate", "trl", "datasets", "tensorboard", "matplotlib")
    started, size = time.monotonic(), QUICK if quick else FULL
    try:
        done = run_demo(output, size, seed, _Lines(), base or BASE)
        jury = _judged(done)
        pages = _published(done, output)
        shown = _reported(done, output)
    except (KeyboardInterrupt, Stopped) as stop:
        click.echo(f"Interrupted. What is in {output} is not resumed: remove it and start again.", err=True)
        raise click.exceptions.Exit(130) from stop
    page = write_summary(done, output, size, jury, _cost(started))
    click.echo(page.read_text(encoding="utf-8"))
    click.echo(f"Summary: {page}\nLeaderboard: {', '.join(map(str, pages))}\nTrained checkpoint: {done.trained}")
    click.echo(f"Look at every picture and answer, before and after: open {shown} in a browser.")


class _Lines:
    """Says what is happening: a line when a step begins, and its length when it ends."""

    def __init__(self) -> None:
        self._title, self._since = "", 0.0

    def __call__(self, title: str, done: int, total: int, note: str) -> None:
        if title != self._title:
            self._title, self._since = title, time.monotonic()
            click.echo(f"{title} ...", err=True)
        if done >= total:
            seconds = time.monotonic() - self._since
            click.echo(f"{title}: {total} done in {seconds:.0f} s{f', {note}' if note else ''}", err=True)


def _judged(done: Demo) -> str:
    """Have the mock jury grade the open answers; return what is to be said of it."""
    from aloe_bench.api.grading import judge, jury
    from aloe_bench.miniature.demo import JUDGES

    judges = jury(JUDGES)
    said = []
    for name, folder in zip(("base", "after AR"), done.open_runs, strict=True):
        tally = judge(folder, judges).summary["jury"]
        graded = tally["n"] - tally["missing"]
        said.append(f"{name}: mean grade {100 * tally['bounds'][0]:.0f} on {graded} of {tally['n']} descriptions")
    return f"Graded by three mock judges, which compare words. {'; '.join(said)}."


def _published(done: Demo, output: Path) -> Sequence[Path]:
    """Build the leaderboard pages from all runs; return those that hold something."""
    from aloe_bench.boards.build import build
    from aloe_bench.evaluation.finish import finish

    for folder in done.runs:
        finish(folder)
    written = build([*done.runs, *done.open_runs], output / "leaderboards")
    return [path for path in written if path.suffix == ".md"]


def _reported(done: Demo, output: Path) -> Path:
    """Write the page that shows the base beside the trained checkpoint, item by item."""
    from aloe_bench.api.reports import report

    return report(done.attacked_runs, output / "report.html", data=[done.table])[0]


def _cost(started: float) -> str:
    """Return wall time and the process's peak memory in words."""
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    seconds, cpu = time.monotonic() - started, time.process_time()
    return f"{seconds:.0f} s ({cpu:.0f} CPU seconds) on {cores} cores, peak memory {peak_kib / 1024**2:.1f} GiB."
