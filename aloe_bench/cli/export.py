"""`aloe-bench export`: our tasks as files that other harnesses read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click


@click.command()
@click.option("--format", "form", type=click.Choice(["vlmeval"]), default="vlmeval", show_default=True)
@click.option("--tasks", help="Tasks, separated by commas; heart:FOLDER for an attacked data set.")
@click.option("--suite", help="A named set of tasks.")
@click.option("--data-root", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Keep N base questions, their variants with them.")
@click.option("--allow-partial", is_flag=True, help="Export another number of rows than the task has.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Where to write; as LMUData, later.")
def export(
    form: str,
    tasks: str | None,
    suite: str | None,
    data_root: Path,
    limit: int | None,
    allow_partial: bool,
    output: Path,
) -> None:
    """Write tasks as TSV files for VLMEvalKit, one base64 per picture.

    Plain upstream then reads them: `LMUData=OUTPUT python -m vlmeval.run --data CareQA_Vision_MCQ --judge
    exact_matching ...`, with its own prompt and matcher. `aloe-bench vlmeval` runs it with ours.
    """
    from aloe_bench import registry
    from aloe_bench.bridges.vlmeval.table import dataset_name, write_table
    from aloe_bench.errors import UsageError
    from aloe_bench.evaluation.plan import Settings, load_plan

    settings = Settings(limit=limit, allow_partial=allow_partial)
    chosen = [registry.task(name) for name in registry.task_names(tasks, suite)]
    called = Counter(dataset_name(task.name) for task in chosen)
    if twice := [name for name, count in called.items() if count > 1]:
        raise UsageError(f"Several of these would be called {', '.join(twice)}: export them into a folder each.")
    for task in chosen:
        plan = load_plan(task, data_root, settings)
        table = write_table(output, plan.task.name, plan.samples, plan.task.prompt)
        click.echo(f"{table.path}: {table.facts['rows']} rows, {table.facts['pictures']} pictures")
        lost = table.facts["options_read_as_missing"]
        if lost:
            click.echo(
                f"  {lost} options such as 'None' or 'NA' are missing cells to upstream's own reader, which leaves "
                "them out; `aloe-bench vlmeval` keeps them.",
                err=True,
            )
