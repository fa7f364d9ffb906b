"""miniature.md: random, miniature and mock models, which prove the path and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aloe_bench.leaderboard.tables import GENERATED, Shape, is_miniature, own_rows, tables

WARNING = (
    "Random, miniature and mock models. These numbers show that the software runs; "
    "they say nothing about any medical model and stand beside none."
)


Blocks = Callable[[Sequence[Mapping[str, Any]]], list[str]]


def miniature_page(shapes: Sequence[Shape], others: Sequence[Blocks], results: Sequence[Mapping[str, Any]]) -> str:
    """Return miniature.md, with the tables of each shape that such a model has rows for, and what `others` make."""
    small = [result for result in results if is_miniature(result)]
    blocks = [GENERATED, "# Miniature models", WARNING]
    for shape in shapes:
        rows = own_rows(shape, small)
        if rows:
            found = [f"#{block}" if block.startswith("## ") else block for block in tables(shape, rows)]
            blocks += [f"## {shape.title}", *found]
    blocks += [block for make in others for block in make(small)]
    if len(blocks) == 3:
        blocks.append("No results yet.")
    return "\n\n".join(blocks) + "\n"
