"""`aloe-bench data`: data sets of tasks, and training mixtures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from aloe_bench import registry
from aloe_bench.cli import curate, mixture, mixture_build, mixture_score, questions
from aloe_bench.cli.verb import Verb
from aloe_bench.errors import DataError, UsageError


@click.group()
def data() -> None:
    """Fetch the data sets of tasks, check questions of your own, and make training mixtures (docs/data.md)."""


for command in (
    questions.template,
    questions.check,
    *mixture.COMMANDS,
    *mixture_score.COMMANDS,
    *mixture_build.COMMANDS,
    *curate.COMMANDS,
):
    data.add_command(command)


@data.command(
    cls=Verb,
    examples=(
        "aloe-bench data fetch medical",
        "aloe-bench data fetch slake --data-root data",
    ),
)
@click.argument("tasks", nargs=-1, required=True)
@click.option("--data-root", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
@click.option("--revision", help="Another commit or branch than the one the task pins.")
def fetch(tasks: tuple[str, ...], data_root: Path, revision: str | None) -> None:
    """Fetch the data of TASKS (names or suites) into the data root; run again to resume."""
    from aloe_bench.cli.common import progress_of
    from aloe_bench.tasks.data.fetch import Fetch
    from aloe_bench.tasks.data.fetch import fetch as bring

    members = [member for name in tasks for member in registry.find(registry.SUITES, name) or (name,)]
    found = [registry.resolve("task", {**registry.TASKS, **registry.PUBLISHED}, member) for member in members]
    # Two tasks of one data set are fetched once.
    wanted: dict[Fetch, str] = {}
    for task in found:
        for each in task.fetches:
            wanted.setdefault(each, task.name)
    if revision and len({each.repo for each in wanted}) > 1:
        raise UsageError("--revision goes with one data set; fetch the tasks one by one.")
    for each, name in wanted.items():
        asked = replace(each, revision=revision) if revision else each
        try:
            with progress_of(f"{each.repo}, MB", quiet=False) as progress:
                brought = bring(asked, data_root, progress)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        total = sum(file.size for file in brought.files.values())
        click.echo(
            f"{name}: {len(brought.files)} files, {total / 1e6:.1f} MB, {brought.repo} at {brought.revision}, "
            f"in {data_root / each.folder}"
        )
