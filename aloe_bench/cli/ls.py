"""`aloe-bench ls`: what can be asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import click

from aloe_bench import registry
from aloe_bench.cli.verb import Verb

FOLDERS = {
    "heart:FOLDER": "the rows its manifest counts, a folder that `attack` wrote or the published HEART table",
    "mcq:FILE": "multiple-choice questions of your own, every row of the file; `data template mcq` writes an example",
    "yesno:FILE": "yes/no questions of your own",
    "open:FILE": "open questions of your own, for a jury to grade",
}
TABLES: dict[str, Callable[[], Mapping[str, object]]] = {
    "tasks": lambda: {name: _task_line(name) for name in registry.TASKS} | FOLDERS,
    "suites": lambda: {name: ", ".join(tasks) for name, tasks in registry.SUITES.items()},
    "attacks": lambda: _attack_lines(),
    "backends": lambda: {name: place.split(":")[0] for name, place in registry.BACKENDS.items()},
    "parsers": lambda: _parser_lines(),
    "judges": lambda: _judge_lines(),
    "models": lambda: _model_facts(),
    "recipes": lambda: _recipe_lines(),
}


def _task_line(name: str) -> str:
    task = registry.resolve("task", registry.TASKS, name)
    return f"{task.expected_rows} rows, {task.licence}, {task.source}, version {task.version}"


def _parser_lines() -> dict[str, str]:
    from aloe_bench.answers.score import shipped_parser

    found = {name: shipped_parser(name) for name in registry.PARSERS}
    return {name: f"{' and '.join(parser.reads)}: {parser.says}" for name, parser in found.items()}


def _judge_lines() -> dict[str, str]:
    from aloe_bench.judges.jury.seats import read_judges

    return {
        judge.name: f"{judge.model}, {judge.backend} at {judge.base_url or '-'}, "
        f"temperature {judge.decoding.temperature:g}, at most {judge.decoding.max_new_tokens} new tokens"
        for judge in read_judges(None)
    }


def _model_facts() -> dict[str, dict[str, object]]:
    from dataclasses import asdict

    from aloe_bench.models.known import known_models

    return {model.name: {key: fact for key, fact in asdict(model).items() if key != "name"} for model in known_models()}


def _recipe_lines() -> dict[str, str]:
    from aloe_bench.training.recipes import load_recipe, recipe_names

    return {recipe.name: f"{recipe.title}; {recipe.source}" for recipe in map(load_recipe, recipe_names())}


def _attack_lines() -> dict[str, str]:
    from aloe_bench.heart.attacks import shipped

    return {name: attack.says for name, attack in shipped().items()}


def _line(facts: object) -> str:
    """Return one line of text: what stands there, or the facts that are not empty."""
    if not isinstance(facts, dict):
        return str(facts)
    texts = (" ".join(fact) if isinstance(fact, tuple) else str(fact) for fact in facts.values())
    return ", ".join(fact for fact in texts if fact)


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench ls",
        "aloe-bench ls attacks",
    ),
)
@click.argument("what", type=click.Choice(list(TABLES)), default="tasks")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
@click.option("--tasks-path", is_flag=True, help="Print the folder to give to lm-eval as --include_path.")
def ls(what: str, as_json: bool, tasks_path: bool) -> None:
    """List tasks, suites, attacks, backends, parsers of replies, the shipped judges, the paper's models, or recipes."""
    if tasks_path:
        from aloe_bench.bridges.lmeval.docs import TASKS_FOLDER

        click.echo(str(TASKS_FOLDER))
        return
    table = TABLES[what]()
    if as_json:
        click.echo(json.dumps(table, indent=2))
        return
    width = max(map(len, table))
    for name, line in table.items():
        click.echo(f"{name:<{width}}  {_line(line)}")
