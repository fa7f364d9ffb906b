"""docs/tasks.md, a card for each task, from the tasks themselves: `python -m tests.tasks.page`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aloe_bench import registry
from aloe_bench.core import Sample
from aloe_bench.facts import CellSpec
from aloe_bench.tasks.formats import prompt

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
_HEAD = """\
# Task cards

<!-- Written by `python -m tests.tasks.page`; do not edit by hand. -->

What each task asks, of how many rows, and where its numbers stand. [Benchmarks](benchmarks.md) says how its data are
fetched, what makes them verified, and what was not checked. `aloe-bench ls tasks` is the short form.

"""
_ASKED = """
## How a question is asked

Every model is asked in the same words, after the pictures. Multiple choice, yes or no, and open:

"""
_QUESTIONS = (
    Sample("made-up", "choice", "Which organ is shown?", "A", "x", choices=("The liver", "The spleen")),
    Sample("made-up", "yes_no", "Is there a nodule?", "yes", "x"),
    Sample("made-up", "open", "Which organ is shown?", "The liver", "x"),
)


def page() -> str:
    """Return the page."""
    cards = "\n".join(_card(registry.task(name)) for name in registry.TASKS)
    asked = "\n\n".join(f"```text\n{prompt(sample)}\n```" for sample in _QUESTIONS)
    return f"{_HEAD}{cards}{_ASKED}{asked}\n"


def _card(task: Any) -> str:
    facts = task.facts
    place = next((each for each in facts.places if each.scored), None)
    rows = (
        ("asks", task.about),
        ("rows", f"{task.expected_rows:,}"),
        ("scored by", place.scored if place else "log-likelihood"),
        ("rows behind the paper's figure", facts.paper.told or "not in the paper"),
        ("cells", ", ".join(f"`{name}`" for cell in facts.cells for name in _names(cell))),
        ("data", f"{task.source}, revision {task.revision}"),
        ("licence", task.licence),
        ("pages", ", ".join(f"`{each.page}.md`" for each in facts.places) or "`other.md`"),
        ("in suites", ", ".join(f"`{name}`" for name, tasks in registry.SUITES.items() if task.name in tasks) or "-"),
        ("asked by", "lm-evaluation-harness" if facts.engine == "lm-eval" else "aloe-bench"),
        ("version", str(task.version)),
        ("get it", f"`aloe-bench data fetch {task.name}`"),
    )
    lines = "".join(f"| {title} | {text} |\n" for title, text in rows)
    return f"## {task.name}\n\n| | what |\n|---|---|\n{lines}"


def _names(cell: CellSpec) -> list[str]:
    """Return the names of a cell, or the tag in the place of its values where these are not known before."""
    return [cell.name.replace("{}", value) for value in cell.values or (f"<{cell.over}>",)]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
