"""`aloe-bench rescore`: what a run would have scored under other parsers of its replies."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aloe_bench import registry
from aloe_bench.cli.common import RunFolder
from aloe_bench.cli.verb import Verb
from aloe_bench.errors import did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from aloe_bench.evaluation.rescore import Rescored, RescoredRun

SHOWN_MOVES = 12
OUTCOMES = ("unread", "refused", "cut", "filtered")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench rescore runs/m/slake --parser all",
        "aloe-bench rescore runs/m/slake --parser vlmeval,lm-eval",
    ),
)
@click.argument("run", type=RunFolder())
@click.option(
    "--parser",
    "parsers",
    required=True,
    help=f"Comma-separated, or all: {', '.join(registry.PARSERS)}. `ls parsers` says whose rule each is.",
)
@click.option(
    "--data-root", type=click.Path(path_type=Path), help="For logs of schema 1: the data that the run was asked from."
)
@click.option("--json", "as_json", is_flag=True, help="Print the exact numbers as JSON and nothing else.")
def rescore(run: Path, parsers: str, data_root: Path | None, as_json: bool) -> None:
    """Read the stored replies in folder RUN again under other parsers; nothing is asked, nothing is written.

    One row a parser: the mean over the items, what was not read, and the points that it is off the run's own score;
    below, which rule's reading became which, and what that moved. Rules of others are kept with their faults.
    """
    from aloe_bench.evaluation.rescore import rescore as read_run

    found = read_run(run, _names(parsers), data_root)
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2))
        return
    _show(run, found)


def _names(text: str) -> list[str] | None:
    """Return the parsers that the user names, None for all that can read the run."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return None
    if not names:
        raise click.UsageError("--parser names none; `aloe-bench ls parsers` lists them.")
    for name in names:
        if registry.find(registry.PARSERS, name) is None:
            known = ", ".join(registry.PARSERS)
            hint = did_you_mean(name, registry.PARSERS)
            raise click.UsageError(f"--parser {name!r} is not known.{hint} Known: {known}, or all.")
    return names


def _show(run: Path, found: RescoredRun) -> None:
    from rich.console import Console
    from rich.table import Table

    from aloe_bench.joins import first_ten

    console = Console(width=None if sys.stdout.isatty() else 130)
    header = found.header
    console.print(f"{header['task']['name']}; {header['model']['name']} ({run})", soft_wrap=True, markup=False)
    if found.n < found.expected:
        lacking = len(found.unscored)
        why = f" ({lacking} failed or wait for a jury: {first_ten(found.unscored)})" if lacking else ""
        click.echo(f"Not the whole run: {found.n} of {found.expected} items have a score{why}; figures are of these.")
    rows = [found.stored, *found.parsers]
    seen = [name for name in OUTCOMES if any(row.outcomes.get(name) for row in rows)]
    table = Table("parser", "score", "off by", "gained", "lost", *seen)
    for row in rows:
        _add(table, row, seen, stored=row is found.stored)
    console.print(table)
    for row in found.parsers:
        for line in _moves(row):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    click.echo("The score is the mean over the items; the run's own cells under each parser are in --json.")


def _add(table: Table, row: Rescored, seen: list[str], stored: bool) -> None:
    gained, lost = (sum(getattr(move, name) for move in row.moved) for name in ("gained", "lost"))
    off = ("-", "-", "-") if stored else (_points(row.points), str(gained), str(lost))
    name = f"{row.parser} ({row.says})" if stored else row.parser
    table.add_row(name, f"{100 * float(row.score):.2f}", *off, *(str(row.outcomes.get(one, 0)) for one in seen))


def _moves(row: Rescored) -> Iterator[str]:
    kept = ", ".join(f"{n} {kind}" for kind, n in row.kept.items())
    yield f"\n{row.parser}: {row.says}{f'; it does not read {kept} questions, whose score stays' if kept else ''}"
    for move in row.moved[:SHOWN_MOVES]:
        counts = f"{move.gained} gained, {move.lost} lost"
        yield f"  {_points(move.points):>7}  {move.was} -> {move.now}: {counts}"
    if rest := row.moved[SHOWN_MOVES:]:
        together = sum(move.points for move in rest)
        yield f"  {_points(together):>7}  {len(rest)} more pairs of rules, in --json"
    if not row.moved:
        yield "  nothing moves"


def _points(share: Any) -> str:
    return f"{100 * float(share):+z.2f}"


def _plain(found: RescoredRun) -> dict[str, Any]:
    header = found.header
    return {
        "run": header["run_id"],
        "task": header["task"]["name"],
        "model": header["model"]["name"],
        "n": found.n,
        "expected": found.expected,
        "failed_or_unjudged": len(found.unscored),
        "left_over": list(found.unscored),
        "stored": _row(found.stored),
        "parsers": [_row(row) for row in found.parsers],
    }


def _row(row: Rescored) -> dict[str, Any]:
    return {
        "parser": row.parser,
        "says": row.says,
        "score": float(row.score),
        "points": float(100 * row.points),
        "exact_points": str(100 * row.points),
        "outcomes": dict(row.outcomes),
        "kept": dict(row.kept),
        "moved": [
            {"was": m.was, "now": m.now, "gained": m.gained, "lost": m.lost, "points": float(100 * m.points),
             "exact_points": str(100 * m.points)}
            for m in row.moved
        ],
        "cells": dict(row.cells),
    }  # fmt: skip
