"""miniature.md: random, miniature and mock models, which prove the path and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aloe_bench.boards.tables import GENERATED, Shape, is_miniature, own_rows, tables

WARNING = (
    "Random, miniature and mock models. These numbers show that the software runs; "
    "they say nothing about any medical model and stand beside none."
)


Blocks = Callable[[Sequence[Mapping[str, Any]]], list[str]]


def miniature_page(shapes: Sequence[Shape], others: Sequence[Blocks], results: Sequence[Mapping[str, Any]]) -> str:
    """Return miniature.md: a table of each shape with the models that no earlier one shows whole, and `others`."""
    small = [result for result in results if is_miniature(result)]
    blocks = [GENERATED, "# Miniature models", WARNING]
    shown: set[str] = set()
    for shape in shapes:
        rows = own_rows(shape, _with_more(small, set(shape.places) - shown))
        shown |= set(shape.places)
        if rows:
            found = [f"#{block}" if block.startswith("## ") else block for block in tables(shape, rows)]
            blocks += [f"## {shape.title}", *found]
    blocks += [block for make in others for block in make(small)]
    if len(blocks) == 3:
        blocks.append("No results yet.")
    return "\n\n".join(blocks) + "\n"


def _with_more(results: Sequence[Mapping[str, Any]], tasks: set[str]) -> list[Mapping[str, Any]]:
    """Return the results of the models that have one of `tasks`."""
    models = {result["model"]["fingerprint"] for result in results if result["task"]["name"] in tasks}
    return [result for result in results if result["model"]["fingerprint"] in models]
