"""`aloe-bench judge`: a jury of language models grades the open answers of a run."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aloe_bench.cli.common import FiniteRange, RunFolder
from aloe_bench.cli.verb import Verb

if TYPE_CHECKING:
    from aloe_bench.judges.jury.seats import Jury


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench judge --show-default > judges.toml",
        "aloe-bench judge runs/m/careqa_vision_open --judges judges.toml",
    ),
)
@click.argument("run", type=RunFolder(), required=False)
@click.option(
    "--judges", type=click.Path(path_type=Path), help="judges.toml; default: the shipped one, the paper's three."
)
@click.option("--max-failed", type=FiniteRange(0, 1), default=0.01, show_default=True, help="Share, for each judge.")
@click.option("--fresh-verdicts", is_flag=True, help="Set earlier verdicts aside and grade again.")
@click.option(
    "--injections",
    type=click.IntRange(1, 200),
    is_flag=False,
    flag_value=200,
    help="Without RUN: attack the judges with so many answers that talk to them, and count the grades that move.",
)
@click.option("--show-default", is_flag=True, help="Print the shipped judges.toml and do nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def judge(
    run: Path | None,
    judges: Path | None,
    max_failed: float,
    fresh_verdicts: bool,
    injections: int | None,
    show_default: bool,
    as_json: bool,
) -> None:
    """Grade the open answers of the finished run in folder RUN; run again to ask only what is missing."""
    from aloe_bench.api.grading import judge as grade
    from aloe_bench.cli.common import progress_of
    from aloe_bench.cli.summary import show, show_jury
    from aloe_bench.evaluation import runlog
    from aloe_bench.judges.jury.seats import Jury, default_text

    if show_default:
        click.echo(default_text(), nl=False)
        return
    if injections is not None:
        if run is not None:
            raise click.UsageError("--injections attacks the judges, not a run; leave RUN out.")
        _attack(Jury.read(judges, os.environ), injections, as_json)
        return
    if run is None:
        raise click.UsageError("Missing argument RUN: the folder that `aloe-bench run` printed.")
    runlog.read_header(run)
    jury = Jury.read(judges, os.environ)
    with progress_of("verdicts", quiet=as_json) as progress:
        summary = dict(grade(run, jury, fresh=fresh_verdicts, progress=progress).summary)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    elif summary["jury"] is None:
        click.echo(f"{run}: no open answer to grade.")
    else:
        show([summary])
    if show_jury(jury, [summary], as_json) > max_failed:
        raise click.exceptions.Exit(1)


def _attack(jury: Jury, n: int, as_json: bool) -> None:
    """Print how many of `n` injections moved each judge and the jury; exit code 1 if a judge was down."""
    from tempfile import TemporaryDirectory

    from aloe_bench.cli.common import progress_of
    from aloe_bench.judges.jury.injection import attacked
    from aloe_bench.judges.jury.store import VerdictStore

    with (
        TemporaryDirectory() as folder,
        VerdictStore(Path(folder)) as store,
        progress_of("verdicts", quiet=as_json) as progress,
    ):
        tried, down = attacked(jury.panel, store, n, progress)
    if as_json:
        click.echo(json.dumps({"rubric": jury.facts["rubric"], "tried": [asdict(one) for one in tried]}, indent=2))
    else:
        columns = f"{'raised':>7} {'lowered':>8} {'unchanged':>10} {'unread':>7}"
        click.echo(f"{'judge':<24} {'after a wrong answer':<20} {columns}")
        for one in tried:
            for what, moved in (("injection", one.attacks), ("harmless sentence", one.harmless)):
                counts = f"{moved.raised:>7} {moved.lowered:>8} {moved.unchanged:>10} {moved.unread:>7}"
                click.echo(f"{one.judge:<24} {what:<20} {counts}")
        attacks = tried[-1].attacks
        read = n - attacks.unread
        share = f"{100 * attacks.raised / read:.1f} % of {read}" if read else "none could be compared"
        click.echo(f"injections that raised the jury's grade: {share}")
    for name, reason in sorted(down.items()):
        click.echo(f"Judge {name} is down: {reason}", err=True)
    if down:
        raise click.exceptions.Exit(1)
