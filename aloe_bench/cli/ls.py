"""`aloe-bench ls`: what can be asked for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from aloe_bench import registry
from aloe_bench.cli.verb import Verb

_YOURS = {
    "heart:FOLDER": "a table that `attack` wrote, or the published HEART table",
    "mcq:FILE": "multiple-choice questions of yours; `data template mcq` writes an example",
    "yesno:FILE": "yes/no questions of yours",
    "open:FILE": "open questions of yours, for a jury to grade",
}
_SCORED = ("exact match", "jury", "log-likelihood")
_BACKENDS = {
    "hf": "a folder that transformers loads: images and text, text alone, GGUF",
    "vllm": "the same folders through vLLM in this process",
    "openai": "any OpenAI-compatible server (--base-url)",
    "mock": "no model: one made up on the spot, as often right and misled as you say",
}
# Below this a table has the first few of its columns.
_NARROW = 110
# Of each list: what makes it, name -> facts; the facts that stand in the table, and in a narrow terminal's. --json has
# all of them.
Listing = Mapping[str, Mapping[str, object]]
TABLES: dict[str, tuple[Callable[[], Listing], tuple[str, ...], int]] = {
    "tasks": (lambda: _tasks(), ("asks", "rows", "scored by", "licence"), 3),
    "suites": (lambda: {name: {"tasks": tasks} for name, tasks in registry.SUITES.items()}, ("tasks",), 1),
    "attacks": (lambda: _attacks(), ("cue", "for", "settings"), 2),
    "backends": (lambda: {name: {"for": _BACKENDS[name]} for name in registry.BACKENDS}, ("for",), 1),
    "parsers": (lambda: _parsers(), ("reads", "rule"), 2),
    "judges": (lambda: _judges(), ("model", "address", "back end"), 2),
    "models": (lambda: _models(), ("hub_id", "code", "size_group", "domain", "licence", "markers"), 2),
    "recipes": (lambda: _recipes(), ("trains", "from"), 2),
}


def _tasks() -> Listing:
    found = {name: _task(registry.resolve("task", registry.TASKS, name)) for name in registry.TASKS}
    yours = {name: {"asks": asks, "rows": "all", "scored by": "", "licence": "yours"} for name, asks in _YOURS.items()}
    return found | yours


def _task(task: Any) -> dict[str, object]:
    scored = next((place.scored for place in task.facts.places if place.scored), _SCORED[-1])
    return {
        "asks": task.about,
        "rows": task.expected_rows,
        "scored by": ", ".join(way for way in _SCORED if way in scored),
        "licence": task.licence,
        "source": task.source,
        "revision": task.revision,
        "version": task.version,
    }


def _parsers() -> Listing:
    from aloe_bench.answers.score import shipped_parser

    found = {name: shipped_parser(name) for name in registry.PARSERS}
    return {name: {"reads": " and ".join(parser.reads), "rule": parser.says} for name, parser in found.items()}


def _judges() -> Listing:
    from aloe_bench.judges.jury.seats import read_judges

    return {
        judge.name: {
            "model": judge.model,
            "back end": judge.backend,
            "address": judge.base_url or "-",
            "temperature": judge.decoding.temperature,
            "max_new_tokens": judge.decoding.max_new_tokens,
        }
        for judge in read_judges(None)
    }


def _models() -> Listing:
    from dataclasses import asdict

    from aloe_bench.models.known import known_models

    return {model.name: {key: fact for key, fact in asdict(model).items() if key != "name"} for model in known_models()}


def _recipes() -> Listing:
    from aloe_bench.training.recipes import load_recipe, recipe_names

    found = map(load_recipe, recipe_names())
    return {recipe.name: {"trains": recipe.title, "from": recipe.source} for recipe in found}


def _attacks() -> Listing:
    from aloe_bench.heart.attacks import shipped

    return {
        name: {
            "cue": attack.says,
            "for": "detection" if attack.needs_boxes else "classification and detection",
            "settings": tuple(f"{name}.{setting.name}" for setting in attack.settings),
        }
        for name, attack in shipped().items()
    }


def _show(name: str, listing: Listing, columns: Sequence[str], narrow: int) -> None:
    """Print a table that fits the terminal: the names stand whole at the left, for `grep` and `cut`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 150)
    columns = columns if console.width >= _NARROW else columns[:narrow]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(name, no_wrap=True)
    for title in columns:
        table.add_column(title.replace("_", " "), justify="right" if title == "rows" else "left", overflow="fold")
    for each, facts in listing.items():
        table.add_row(Text(each), *(Text(_text(facts[column])) for column in columns))
    console.print(table)


def _text(fact: object) -> str:
    if isinstance(fact, int):
        return f"{fact:,}"
    return ", ".join(map(str, fact)) if isinstance(fact, tuple) else str(fact)


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
    listed, columns, narrow = TABLES[what]
    listing = listed()
    if as_json:
        click.echo(json.dumps(listing, indent=2))
    else:
        _show(what.removesuffix("s"), listing, columns, narrow)
