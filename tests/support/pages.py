"""What README and docs show: their blocks, the commands in them, and whether such a command could be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from aloe_bench import registry
from aloe_bench.cli.main import VERBS, cli

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```([\w-]*)[ \t]*(?:title=\"([^\"]+)\")?[^\n]*\n(.*?)^```$", re.M | re.S)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
# Words of the shell behind which another command begins, or a file.
_SHELL = re.compile(r"\s(?:\||&&|;|>>?|2>)\s")


@dataclass(frozen=True)
class Block:
    """A fenced block: the line that it begins at, its language, the file that it is (`title`), and its text."""

    line: int
    language: str
    title: str
    text: str

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield each command with the lines shown below it; in a block that is not a console's, each line is one."""
        text = self.text.replace("\\\n", " ")
        if self.language != "console":
            yield from ((line, "") for line in text.splitlines() if line.strip())
            return
        for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            yield command, shown


def pages() -> list[Path]:
    """Return README and every page of the site."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [Block(text.count("\n", 0, m.start()) + 1, m[1], m[2] or "", m[3]) for m in _FENCE.finditer(text)]


def inline(page: Path) -> list[str]:
    """Return what stands in single backticks, its line breaks as spaces."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(found.split()) for found in _INLINE.findall(text)]


def commands_of(page: Path) -> Iterator[str]:
    """Yield each `aloe-bench ...` of a page, and each verb with its words in running text, as `aloe-bench VERB ...`."""
    for block in blocks(page):
        if block.language in ("", "sh", "bash", "console"):
            yield from (line for line, _ in block.commands() if line.startswith("aloe-bench "))
    for words in inline(page):
        if words.startswith("aloe-bench "):
            yield words
        elif re.match(rf"({'|'.join(map(re.escape, VERBS))}) (\w|--)", words):
            yield f"aloe-bench {words}"


def _dashes(name: str) -> str:
    return name.replace("_", "-")


def check(line: str) -> None:
    """Raise click.UsageError if `line` names a command, an option or a choice that is not there.

    Words in capitals, `...` and variables stand for what a reader puts there.
    """
    given = shlex.split(_SHELL.split(line)[0], comments=True)[1:]
    command: click.Command = cli
    while isinstance(command, click.Group):
        while given and given[0].startswith("-"):  # options of the group itself
            given = given[2:] if given[0] == "--config" else given[1:]
        if not given or given[0] == "...":
            return
        found = command.get_command(click.Context(command), given[0])
        if found is None:
            raise click.UsageError(f"no command {given[0]!r}")
        command, given = found, given[1:]
    context = click.Context(command, token_normalize_func=_dashes, **command.context_settings)
    try:
        values, beyond, _ = command.make_parser(context).parse_args([word for word in given if word != "..."])
    except click.BadOptionUsage as error:
        if error.option_name == given[-1]:  # running text names an option without its value
            return
        raise
    if beyond and not context.allow_extra_args:
        raise click.UsageError(f"words that it does not take: {beyond}")
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice | click.IntRange | click.FloatRange) and parameter.name in values:
            value = values[parameter.name]
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, str) and not each.isupper() and "$" not in each:
                    parameter.type.convert(each, parameter, context)
    _check_names(values.get("tasks"), values.get("suite"))


def _check_names(tasks: object, suite: object) -> None:
    """Raise click.UsageError for a task or suite that is not shipped, of words that stand for one of the reader's."""
    given = [*tasks] if isinstance(tasks, tuple) else tasks.split(",") if isinstance(tasks, str) else []
    # `data fetch` takes its tasks as words, and suites among them.
    known = {**registry.TASKS, **(registry.SUITES | registry.PUBLISHED if isinstance(tasks, tuple) else {})}
    for table, names in ((known, given), (registry.SUITES, [suite] if isinstance(suite, str) else [])):
        for name in filter(None, names):
            if not name.isupper() and ":" not in name and registry.find(table, name) is None:
                raise click.UsageError(f"{name!r} is not known: {', '.join(table)}")
