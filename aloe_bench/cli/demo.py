"""`aloe-bench demo`: the whole loop in miniature, on a CPU, in minutes."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aloe_bench.cli.verb import Verb
from aloe_bench.workers import available, helper

if TYPE_CHECKING:
    from aloe_bench.miniature.demo import Demo
    from aloe_bench.miniature.loop import Size


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
@click.option(
    "--workers",
    type=click.IntRange(1, 2),
    default=min(2, available()),
    show_default="2, or 1 on one core",
    help="Processes; the result is the same.",
)
def demo(output: Path, seed: int, quick: bool, base: Path | None, workers: int) -> None:
    """Attack a tiny model, train it against the attacks on one modality, and attack it on the others again."""
    from aloe_bench.errors import DataError, need
    from aloe_bench.miniature.demo import FULL, QUICK, run_demo, write_summary
    from aloe_bench.miniature.loop import BASE
    from aloe_bench.training.sft import Stopped

    need("torch", "torchvision", "transformers", "accelerate", "trl", "datasets", "tensorboard", "matplotlib")
    started, size, lines = time.monotonic(), QUICK if quick else FULL, _Lines()
    try:
        with helper(workers) as start:
            done = run_demo(output, size, seed, lines, start, base or BASE)
            lines("grades, leaderboard and report", 0, 1, "")
            jury = _judged(done)
            published = start(_published, done)
            shown, page = _reported(done), published()
            lines("grades, leaderboard and report", 1, 1, "")
    except (KeyboardInterrupt, Stopped) as stop:
        click.echo(f"Interrupted. What is in {output} is not resumed: remove it and start again.", err=True)
        raise click.exceptions.Exit(130) from stop
    except DataError as error:
        if not (output.is_dir() and any(output.iterdir())):
            raise
        raise DataError(f"{error} What is in {output} is not resumed: remove it and start again.") from error
    cost = _cost(started)
    summary = write_summary(done, size, jury, cost)
    _show(done, size, jury, cost)
    click.echo(f"Summary: {summary}\nLeaderboard: {page}\nTrained checkpoint: {done.trained}")
    click.echo(f"Look at every picture and answer, before and after: open {shown} in a browser.")


def _show(done: Demo, size: Size, jury: str, cost: str) -> None:
    """Print what came of it, for a terminal of 80 columns or more."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    from aloe_bench.miniature.demo import what_was_done
    from aloe_bench.miniature.measure import ATTACKS, READABLE
    from aloe_bench.miniature.tables import ANALOGUE, in_short

    console = Console(width=None if sys.stdout.isatty() else 80, highlight=False, markup=False)
    console.print(f"\n{ANALOGUE}\n\n{what_was_done(done, size)}\n")
    console.print(
        "Accuracy in %, 95 % interval in brackets; every cue is false. Not read: the model reads fewer than "
        f"{READABLE:.0%} of these cues, so not being misled by them means nothing."
    )
    for task in ATTACKS:
        cue = Column(f"{task}, n = {done.before.accuracy(task, '').n}", min_width=23)
        table = Table(cue, "base", "after AR", "gain", "cue read", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for row in in_short(done.before, done.after, task):
            table.add_row(*row)
        console.print(table)
    console.print(f"{jury}\n{cost}")


class _Lines:
    """Says what is happening: a line when a step begins, and its length when it ends."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def __call__(self, title: str, done: int, total: int, note: str) -> None:
        if title not in self._since:
            self._since[title] = time.monotonic()
            click.echo(f"{title} ...", err=True)
        if done >= total:
            seconds = time.monotonic() - self._since[title]
            many = f"{total} " if total > 1 else ""
            click.echo(f"{title}: {many}done in {seconds:.0f} s{f', {note}' if note else ''}", err=True)


def _judged(done: Demo) -> str:
    """Have the mock jury grade the open answers; return what is to be said of it."""
    from aloe_bench.api.grading import judge, jury
    from aloe_bench.miniature.demo import JUDGES

    judges = jury(JUDGES)
    said = []
    for name, folder in zip(("base", "after AR"), done.open_runs, strict=True):
        summary = judge(folder, judges).summary
        tally = summary["jury"]
        graded = tally["n"] - tally["missing"]
        lost = f" ({summary['n'] - graded} cut or empty)" if graded < summary["n"] else ""
        said.append(
            f"{name}: mean grade {100 * tally['bounds'][0]:.0f} on {graded} of {summary['n']} descriptions{lost}"
        )
    return f"Graded by three mock judges, which compare words. {'; '.join(said)}."


def _published(done: Demo) -> Path:
    """Build the leaderboard pages from all runs; return the one that they stand on."""
    from aloe_bench.boards.build import build

    written = build([*done.runs, *done.open_runs], done.output / "leaderboards")
    return next(path for path in written if path.name == "miniature.md")


def _reported(done: Demo) -> Path:
    """Write the page that shows the base beside the trained checkpoint, item by item."""
    from aloe_bench.api.reports import report

    return report(done.attacked_runs, done.output / "report.html", data=[done.table])[0]


def _cost(started: float) -> str:
    """Return wall time, CPU time and peak memory of this process and the one beside it, in words."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in spent)
    kib = 1024 if sys.platform == "darwin" else 1
    peak = max(each.ru_maxrss for each in spent) / kib / 1024**2
    seconds = time.monotonic() - started
    return f"{seconds:.0f} s ({cpu:.0f} CPU seconds) on {available()} cores, peak memory {peak:.1f} GiB a process."
