"""`aloe-bench export`: our tasks as files that other harnesses read, and runs as other tools read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aloe_bench.cli.verb import Verb

TASKS_AS, RUNS_AS = ("vlmeval",), ("eee", "hf", "inspect")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench export runs/m/slake --format eee --output eee",
        "aloe-bench export --tasks careqa_vision_mcq --output tsv",
    ),
)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice([*TASKS_AS, *RUNS_AS]), default="vlmeval", show_default=True)
@click.option("--tasks", help="Tasks, separated by commas; heart:FOLDER for an attacked data set.")
@click.option("--suite", help="A named set of tasks.")
@click.option("--data-root", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Keep N base questions, their variants with them.")
@click.option("--allow-partial", is_flag=True, help="Export another number of rows than the task has.")
@click.option("--organization", default="unknown", show_default=True, help="Of eee: who publishes the run.")
@click.option("--data", multiple=True, type=click.Path(path_type=Path), help="Of inspect: where pictures lie now.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Where to write.")
def export(form: str, output: Path, run: Path | None, organization: str, data: tuple[Path, ...], **wanted: Any) -> None:
    """Write a finished RUN as others read it, or tasks as TSV files for VLMEvalKit.

    eee: Every Eval Ever, OUTPUT/data/...: the aggregate, and one line for each reply (`import` reads it back). hf: the
    model-index of a Hugging Face model card, and .eval_results. inspect: a log for `inspect view`, with the pictures
    whose licence allows copies. No path of this machine is in any of them, unless
    your own ids or tags hold one.

    vlmeval, without RUN: one base64 per picture. Plain upstream then reads the tasks: `LMUData=OUTPUT python -m
    vlmeval.run --data CareQA_Vision_MCQ --judge exact_matching ...`, with its own prompt and matcher. `aloe-bench
    vlmeval` runs it with ours.
    """
    from aloe_bench.errors import UsageError
    from aloe_bench.evaluation.runlog import find_run

    if form in TASKS_AS:
        if run is not None:
            raise UsageError(
                f"--format {form} exports tasks (--tasks, --suite), not {run}. Of runs: {_names(RUNS_AS)}."
            )
        _export_tasks(output=output, **wanted)
        return
    if run is None or wanted["tasks"] or wanted["suite"]:
        raise UsageError(f"--format {form} exports a run: aloe-bench export RUN --format {form} --output {output}")
    for line in _export_run(form, find_run(run), output, organization, data):
        click.echo(line)


def _names(forms: tuple[str, ...]) -> str:
    return ", ".join(f"--format {form}" for form in forms)


def _export_run(form: str, folder: Path, output: Path, organization: str, data: tuple[Path, ...]) -> list[str]:
    """Write a run and return what to say of it: what it holds, then each file."""
    if form == "hf":
        from aloe_bench.bridges.exchange.hub import export_hub

        return [*map(str, export_hub(folder, output))]
    if form == "inspect":
        from aloe_bench.bridges.exchange.inspect_log import export_inspect

        log = export_inspect(folder, output, data)
        return [f"{log.path}: {log.n_samples} samples, {log.n_pictures} pictures", *log.remarks]
    from aloe_bench.bridges.exchange.eee import export_eee

    made = export_eee(folder, output, organization)
    held = f"{made.n_results} numbers, {made.n_lines} lines, {made.n_silent} replies without a score"
    return [f"{output}: Every Eval Ever {made.schema}, {held}", str(made.aggregate), str(made.samples)]


def _export_tasks(
    tasks: str | None, suite: str | None, data_root: Path, limit: int | None, allow_partial: bool, output: Path
) -> None:
    from collections import Counter

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
