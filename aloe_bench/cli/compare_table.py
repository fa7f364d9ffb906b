"""What `aloe-bench compare --table` prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from aloe_bench.cli.compare import line_of, points


def show_table(runs: tuple[Path, ...], reference: str | None, all_pairs: bool, as_json: bool) -> None:
    """Print the scores of every model on every task, and the changes against one of them."""
    from rich.console import Console
    from rich.table import Table

    from aloe_bench.boards.compare_table import compare_table

    result = compare_table(runs, reference=reference, all_pairs=all_pairs)
    if as_json:
        click.echo(json.dumps(result, indent=2, allow_nan=False))
        return
    columns = [(each["task"], each["cell"]) for each in result["columns"]]
    names = {key: key[0] if key[1] == "overall" else " ".join(key) for key in columns}
    scores = Table("Model", *names.values())
    for model in result["models"]:
        scores.add_row(model["model"], *map(_score, model["scores"]))
    changes = Table("", "column", "change", "95 % interval", "p", "p (family)", "interval (family)", "MDE", "n")
    for row in result["rows"]:
        change, *rest = line_of({**row, "row": "", "first": None, "second": None, "failed": 0})[3:]
        changes.add_row(f"{row['second']} - {row['first']}", names[row["task"], row["cell"]], change, *rest)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(f"Scores in %; changes in points, against {result['reference']}.", markup=False, highlight=False)
    console.print(scores)
    console.print(changes)
    for warning in dict.fromkeys(row["warning"] for row in result["rows"] if "warning" in row):
        console.print(f"Caution: {warning}.", highlight=False, markup=False, soft_wrap=True)
    if result["differ_in"]:
        console.print(f"Caution: runs also differ in {', '.join(result['differ_in'])}.", highlight=False, markup=False)


def _score(score: dict[str, Any]) -> str:
    if score["value"] is None and score["failed"]:
        return f"{score['failed']} failed"
    return points(score["value"])
