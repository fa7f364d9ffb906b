"""miniature.md: random, miniature and mock models, which prove the path and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aloe_bench.boards.controls import controls_blocks
from aloe_bench.boards.heart import heart_blocks
from aloe_bench.boards.shapes import Shape
from aloe_bench.boards.tables import GENERATED, escape, own_rows, tables

WARNING = (
    "Random, miniature and mock models. These numbers show that the software runs; "
    "they say nothing about any medical model and stand beside none."
)


Result = Mapping[str, Any]


Part = tuple[Shape, list[Result]]


def miniature_page(
    shapes: Sequence[Shape], small: Sequence[Result], others: Sequence[Part], beside: Sequence[str]
) -> str:
    """Return miniature.md for the results `small`: a table of each shape with the models that no earlier one shows
    whole, HEART's, one for each task that is on no page, and blocks on what stands `beside` their cells.
    """
    blocks = [GENERATED, "# Miniature models", WARNING]
    shown: set[str] = set()
    for shape in shapes:
        rows = own_rows(shape, _with_more(small, set(shape.entries) - shown))
        shown |= set(shape.entries)
        if rows:
            found = [f"#{block}" if block.startswith("## ") else block for block in tables(shape, rows)]
            blocks += [f"## {escape(shape.text.title)}", *found]
    blocks += heart_blocks(small)
    for shape, members in others:
        blocks += titled(shape, members)
    blocks += [*controls_blocks(small), *beside]
    if len(blocks) == 3:
        blocks.append("No results yet.")
    return "\n\n".join(blocks) + "\n"


def titled(shape: Shape, results: Sequence[Result]) -> list[str]:
    """Return a part of a page: its title, what it says, and its tables; empty without results."""
    rows = own_rows(shape, results)
    if not rows:
        return []
    found = [f"#{block}" if block.startswith("## ") else block for block in tables(shape, rows)]
    return [f"## {escape(shape.text.title)}", *shape.text.paragraphs(shape), *found]


def _with_more(results: Sequence[Result], tasks: set[str]) -> list[Result]:
    """Return the results of the models that have one of `tasks`."""
    models = {result["model"]["fingerprint"] for result in results if result["task"]["name"] in tasks}
    return [result for result in results if result["model"]["fingerprint"] in models]
