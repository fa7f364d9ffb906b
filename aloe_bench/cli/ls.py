"""`aloe-bench ls`: what can be asked for."""

from __future__ import annotations

import json

import click

from aloe_bench import registry

TABLES = {
    "tasks": lambda: {name: _task_line(name) for name in registry.TASKS},
    "suites": lambda: {name: ", ".join(tasks) for name, tasks in registry.SUITES.items()},
    "backends": lambda: {name: place.split(":")[0] for name, place in registry.BACKENDS.items()},
    "judges": lambda: _judge_lines(),
}


def _task_line(name: str) -> str:
    task = registry.resolve("task", registry.TASKS, name)
    return f"{task.expected_rows} rows, {task.licence}, {task.source}, version {task.version}"


def _judge_lines() -> dict[str, str]:
    from aloe_bench.judges.config import read_judges

    return {
        judge.name: f"{judge.model}, {judge.backend} at {judge.base_url or '-'}, "
        f"temperature {judge.decoding.temperature:g}, at most {judge.decoding.max_new_tokens} new tokens"
        for judge in read_judges(None)
    }


@click.command()
@click.argument("what", type=click.Choice(list(TABLES)), default="tasks")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
@click.option("--tasks-path", is_flag=True, help="Print the folder to give to lm-eval as --include_path.")
def ls(what: str, as_json: bool, tasks_path: bool) -> None:
    """List tasks, suites, backends or the judges of the shipped jury."""
    if tasks_path:
        from aloe_bench.bridges.lmeval_docs import TASKS_FOLDER

        click.echo(str(TASKS_FOLDER))
        return
    table = TABLES[what]()
    if as_json:
        click.echo(json.dumps(table, indent=2))
        return
    width = max(map(len, table))
    for name, line in table.items():
        click.echo(f"{name:<{width}}  {line}")
