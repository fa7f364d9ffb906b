"""The table that a user sees at the end of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

MAX_CELLS = 8


def rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return task, cell, value, interval, n, unread, failed as text, one row a cell."""
    lines: list[tuple[str, ...]] = []
    for name, cell in summary["cells"].items():
        missing = "not judged" if cell["unjudged"] else "-"
        value = missing if cell["value"] is None else f"{100 * cell['value']:.2f}"
        interval = cell["interval"]
        span = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else "-"
        mark = " (partial)" if summary["partial"] else ""
        counts = (str(cell["n"]), str(cell["unread"]), str(cell["failed"]))
        lines.append((summary["task"] + mark, name, value, span, *counts))
    return lines


def show(summaries: Sequence[dict[str, Any]]) -> None:
    """Print the table of these runs' first cells, the tasks left out, and where each run is."""
    from rich.console import Console
    from rich.table import Table

    from aloe_bench.cli.effects import show_effects

    table = Table("task", "cell", "score", "95 % interval", "n", "unread", "failed")
    for summary in summaries:
        lines = rows(summary)
        for row in lines[:MAX_CELLS]:
            table.add_row(*row)
        if len(lines) > MAX_CELLS:
            table.add_row("", f"... {len(lines) - MAX_CELLS} more in summary.json")
    for task in dict.fromkeys(task for summary in summaries for task in summary["left_out"]):
        table.add_row(f"{task} (left out)", "no data", *["-"] * 5)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    for summary in summaries:
        if "heart" in summary:
            show_effects(console, summary["heart"])
    for summary in summaries:
        console.print(f"run: {summary['run']}", soft_wrap=True, markup=False, highlight=False)
