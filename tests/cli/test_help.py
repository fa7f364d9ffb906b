"""Every command says what it is for, groups its options, and shows two examples that can be typed."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from aloe_bench.cli.main import VERBS, cli
from tests.support.pages import check

# Passes all of its words on to another program, its --help included.
OTHERS = ("lm-eval",)


def commands() -> Iterator[str]:
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        below = getattr(command, "commands", {})
        yield from ([f"{verb} {name}" for name in below] if below else [verb] if verb not in OTHERS else [])


@pytest.mark.parametrize("words", list(commands()))
def test_help_shows_two_examples_that_parse(words: str) -> None:
    printed = CliRunner().invoke(cli, [*words.split(), "--help"], terminal_width=80)

    assert printed.exit_code == 0, printed.output
    listed, shown = printed.output.split("\nExamples:\n")
    assert "\n  --help" in listed
    examples = shown.strip().splitlines()
    assert len(examples) >= 2
    for example in examples:
        check(example)
    assert all(len(line) <= 80 for line in listed.splitlines())
