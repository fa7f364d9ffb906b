"""The end of a run: summary.json and the table a user sees."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aloe_bench.core import Cell
from aloe_bench.evaluation import runlog
from aloe_bench.files import write_json

MAX_CELLS = 8


def finish(folder: Path, done: bool = True) -> dict[str, Any]:
    """Return the summary of a run whose every sample has a record.

    It is written, which ends the run, unless a call failed or the caller is not `done` with it.
    """
    from aloe_bench.evaluation.task_cells import task_cells, task_sections
    from aloe_bench.judges.jury.judging import tally

    header, records = runlog.read_run(folder)
    cells = task_cells(header, records)
    failed = sum(record.prediction.finish == "error" for record in records)
    summary = {
        "run": str(folder),
        "task": header["task"]["name"],
        "model": header["model"]["name"],
        "protocol": header["protocol"],
        "n": len(records),
        "failed": failed,
        "first_failure": next(
            (f"{r.sample_id}: {r.prediction.error}" for r in records if r.prediction.finish == "error"), None
        ),
        "unjudged": sum(record.score.rule == "unjudged" for record in records),
        "partial": bool(header["partial"] or header["limit"] is not None or header["shard"]),
        "seconds": sum(record.prediction.seconds or 0.0 for record in records),
        "prompt_tokens": sum(record.prediction.prompt_tokens or 0 for record in records),
        "output_tokens": sum(record.prediction.output_tokens or 0 for record in records),
        "jury": tally(records),
        "absent": header.get("absent", {}),
        "left_out": header.get("asked", {}).get("left_out", []),
        "cells": {name: _plain(cell) for name, cell in cells.items()},
    } | task_sections(header, records)
    if (header.get("decoding") or {}).get("temperature") and header["protocol"] == "generate":
        # A sampled reply without a seed cannot be had again, and another seed would not have changed it.
        summary["unseeded"] = sum(r.prediction.text is not None and r.prediction.seed is None for r in records)
    if done and not failed:
        write_json(folder / "summary.json", summary)
    return summary


def _plain(cell: Cell) -> dict[str, Any]:
    return {
        "value": cell.value,
        "interval": cell.interval,
        "n": cell.n,
        "n_clusters": cell.n_clusters,
        "failed": cell.failed,
        "unread": cell.unread,
        "unjudged": cell.unjudged,
    }


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
        told = rows(summary)
        for row in told[:MAX_CELLS]:
            table.add_row(*row)
        if len(told) > MAX_CELLS:
            table.add_row("", f"... {len(told) - MAX_CELLS} more in summary.json")
    for task in dict.fromkeys(task for summary in summaries for task in summary["left_out"]):
        table.add_row(f"{task} (left out)", "no data", *["-"] * 5)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    for summary in summaries:
        if "heart" in summary:
            show_effects(console, summary["heart"])
    for summary in summaries:
        console.print(f"run: {summary['run']}", soft_wrap=True, markup=False, highlight=False)
