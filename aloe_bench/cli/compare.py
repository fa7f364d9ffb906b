"""`aloe-bench compare`: two runs on the same questions."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from aloe_bench.cli.common import FiniteRange, RunFolder
from aloe_bench.cli.verb import Verb

SIDES = ("first", "second")
TITLES = ("", "first", "second", "change", "95 % interval", "p", "p (family)", "interval (family)", "MDE", "n")
# What a narrow terminal shows, none of it cut.
NARROW = ("", "first", "second", "change", "95 % interval", "p (family)", "n")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench compare runs/base/slake runs/tuned/slake --margin 5",
        "aloe-bench compare --table --reference base runs/*",
    ),
    groups={
        "Several runs": "table reference all-pairs dose",
        "Why they differ": "explain data-root",
    },
)
@click.argument("runs", nargs=-1, required=True, type=RunFolder())
@click.option("--by", help="Also one row for each value of this tag, e.g. category or modality (exploratory).")
@click.option("--margin", type=FiniteRange(0, 100, min_open=True), help="Points that may be lost, e.g. 2.")
@click.option("--dose", metavar="SETTING", help="RUNS of one model at several strengths, e.g. of caption.size.")
@click.option("--explain", is_flag=True, help="Why do two runs differ: their headers, and the difference in parts.")
@click.option("--data-root", type=click.Path(path_type=Path), help="With --explain: the data of logs of schema 1.")
@click.option("--table", is_flag=True, help="RUNS of several models on the same tasks: models x tasks, one family.")
@click.option("--reference", metavar="MODEL", help="With --table: compare with this model.  [default: the first run's]")
@click.option("--all-pairs", is_flag=True, help="With --table: also every two other models, in the same family.")
@click.option("--json", "as_json", is_flag=True, help="Print the unrounded numbers as JSON and nothing else.")
def compare(
    runs: tuple[Path, ...],
    by: str | None,
    margin: float | None,
    dose: str | None,
    explain: bool,
    data_root: Path | None,
    table: bool,
    reference: str | None,
    all_pairs: bool,
    as_json: bool,
) -> None:
    """Compare two run folders, item by item: the second of RUNS minus the first.

    Both must have answered the same questions. Interval and p are those of one score test, over clusters where images
    repeat; p (family) is Holm's over rows of a kind, with Bonferroni's interval beside it. MDE is the difference that
    would have been found with 80 % power at Holm's first step, if as many answers differ as stands beside it. --margin
    tests that the second is less than so many points worse. Of a HEART table: every accuracy, what each cue cost
    (drop), and which share of the answers right in both runs it turned to its own option (led).

    --explain: the difference in mean score, split into what differing rows, parsers and cut replies do, and the rest;
    the runs may have been asked otherwise.

    --dose: how cue-following rises with the strength of the attack, over two runs or more of one model.

    --table: every model's scores, and its paired differences from one of them, all in one family of Holm's.
    """
    if table:
        if by is not None or margin is not None or dose is not None or explain:
            raise click.UsageError("--by, --margin, --dose and --explain do not go with --table.")
        from aloe_bench.cli.compare_table import show_table

        show_table(runs, reference, all_pairs, as_json)
        return
    if reference is not None or all_pairs:
        raise click.UsageError("--reference and --all-pairs go with --table.")
    if dose is not None:
        _dose(runs, dose, as_json)
        return
    if len(runs) != 2:
        raise click.UsageError(f"{len(runs)} run folders; expected two, the first and the second.")
    if explain:
        if by is not None or margin is not None:
            raise click.UsageError("--explain splits one difference; leave --by and --margin out.")
        _explain(runs[0], runs[1], data_root, as_json)
        return
    from aloe_bench.boards.compare import compare as compare_runs

    result = compare_runs(*runs, by=by, margin=None if margin is None else margin / 100)
    if as_json:
        click.echo(json.dumps(result, indent=2, allow_nan=False))
        return
    show(result, margin)


def _dose(runs: tuple[Path, ...], setting: str, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from aloe_bench.boards.dose import dose_rows

    result = dose_rows(runs, setting)
    if as_json:
        click.echo(json.dumps(result, indent=2, allow_nan=False))
        return
    table = Table("", "led at dose", "rising curve", "p (trend)", "half led at", "95 % interval", "n")
    for row in result["rows"]:
        if row["failed"]:
            table.add_row(row["row"], f"{row['failed']} failed")
            continue
        shares, curve = (
            ", ".join(f"{dose:.4g}: {points(share)}" for dose, share in zip(row["doses"], row[key], strict=True))
            for key in ("shares", "curve")
        )
        most = ["at most " if flag else "" for flag in row["at_most_lowest"]]
        ends = zip(row["ed50_interval"], most[1:], strict=True)
        low, high = ("beyond" if end is None else f"{flag}{end:.3g}" for end, flag in ends)
        half = "not reached" if row["ed50"] is None else f"{most[0]}{row['ed50']:.3g}"
        table.add_row(row["row"], shares, curve, _p(row["p_trend"]), half, f"{low} to {high}", str(row["n"]))
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table)
    for row in (row for row in result["rows"] if not row["failed"] and row["axis"] != setting):
        pairs = zip(row["strengths"], row["doses"], strict=True)
        made = ", ".join(f"{strength:g}: {dose:.3g}" for strength, dose in pairs)
        console.print(f"{row['row']}: doses are {row['axis']}; by {setting}: {made}.", highlight=False, soft_wrap=True)


def _explain(first: Path, second: Path, data_root: Path | None, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from aloe_bench.boards.explain import explain as explained

    found = explained(first, second, data_root)
    change = found.second - found.first
    if as_json:
        parts = [
            {
                "name": p.name,
                "points": float(100 * p.points),
                "exact_points": str(100 * p.points),
                "n": p.n,
                "says": p.says,
            }
            for p in found.parts
        ]
        scores = {"first": float(found.first), "second": float(found.second), "exact_points": str(100 * change)}
        headers = {d.place: [d.first, d.second] for d in found.headers}
        click.echo(json.dumps({**scores, "headers": headers, "parts": parts}, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else 150)
    if found.headers:
        table = Table("the headers differ in", "first", "second")
        for difference in found.headers:
            table.add_row(*map(escape, (difference.place, difference.first, difference.second)))
        console.print(table)
    table = Table("part of the difference", "points", "items", "")
    for part in found.parts:
        table.add_row(part.name, points(float(part.points), "+z.2f"), str(part.n), part.says)
    table.add_section()
    means = f"{points(float(found.first), '.2f')} -> {points(float(found.second), '.2f')}"
    table.add_row("second minus first", points(float(change), "+z.2f"), "", f"mean over the items: {means}")
    console.print(table)


def show(result: dict[str, Any], margin: float | None = None) -> None:
    """Print a comparison as a table, with what is to be said against it."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    from aloe_bench.cli.summary import LIKE_THESE, NARROW_COLUMNS, WORDED
    from aloe_bench.evaluation.outcomes import not_answered

    lost = any(row.get("bounds") for row in result["rows"])
    worded = any(row.get("interval_wordings") for row in result["rows"])
    console = Console(width=None if sys.stdout.isatty() else 150 + 20 * lost + 25 * worded)
    flipped = any("p_flip" in row for row in result["rows"])
    margins = (f"p: not {margin:g} worse", f"p: within {margin:g}") if margin else ()
    titles = (*TITLES, *(("p (sign flip)",) if flipped else ()), *margins, *(("bounds",) if lost else ()),
              *((LIKE_THESE,) if worded else ()))  # fmt: skip
    wide = console.width >= NARROW_COLUMNS
    kept = [i for i, title in enumerate(titles) if wide or title in NARROW]
    columns = [Column(titles[i], no_wrap=i < 5 if wide else i > 0) for i in kept]
    if not wide:  # names fold, numbers stand whole
        columns[0].overflow, columns[0].min_width = "fold", 22
    table = Table(*columns)
    if not wide:
        table.box, table.pad_edge, table.show_edge, table.padding = box.SIMPLE_HEAD, False, False, (0, 1, 0, 0)
    for row in result["rows"]:
        extra = [_p(row.get("p_flip"))] if flipped else []
        extra += [_p(row.get(f"{key}_adjusted")) for key in ("p_not_inferior", "p_equivalent")] if margin else []
        extra += [_span(row.get("bounds"))] if lost else []
        line = [*line_of(row), *extra, *([_span(row.get("interval_wordings"))] if worded else [])]
        table.add_row(*(line[i] for i in kept))
    names = [f"{side}: {run['model']} ({run['run']})" for side, run in zip(SIDES, result["runs"], strict=True)]
    console.print(f"{result['task']}; {'; '.join(names)}", soft_wrap=True, markup=False, highlight=False)
    console.print(table)
    if not wide:
        lacking = ", ".join(title for title in titles if title and title not in NARROW)
        console.print(f"A terminal of {NARROW_COLUMNS} columns also shows {lacking}.", highlight=False)
    if worded:
        console.print(WORDED, highlight=False, soft_wrap=True)
    for text in result["left_over"]:
        console.print(f"Caution: {text}", highlight=False, markup=False, soft_wrap=True)
    for side, run in zip(SIDES, result["runs"], strict=True):
        outcomes = {"n": sum(run["outcomes"].values()), **run["outcomes"], "unread_by": run["unread_by"]}
        if others := not_answered(outcomes):
            console.print(f"{side}: answered {run['outcomes']['answered']}, {others}", highlight=False, soft_wrap=True)
        for text in run["cautions"]:
            console.print(f"Caution, {side}: {text}", highlight=False, markup=False, soft_wrap=True)
    for name, parts in result.get("repeats", {}).items():
        share = parts["replies"] / ((parts["items"] + parts["replies"]) or 1.0)
        told = f"a change in one reply an item strays by {100 * parts['sd_of_one']:.1f} points (SD) with the draw alone"
        console.print(
            f"{name}: {100 * share:.0f} % of the variance of a change is the replies'; {told}", highlight=False
        )
    for row in result["rows"]:
        if read := row.get("answered_in_both"):
            change = f"{points(read['value'], '+z.1f')} ({_span(read['interval'])})"
            console.print(f"{row['row']}: among the {read['n']} items that both answered, {change}", highlight=False)
    for warning in dict.fromkeys(row["warning"] for row in result["rows"] if "warning" in row):
        console.print(f"Caution: {warning}.", highlight=False, markup=False, soft_wrap=True)
    if result["differ_in"]:
        console.print(f"Caution: the runs also differ in {', '.join(result['differ_in'])}.", highlight=False)


def line_of(row: dict[str, Any]) -> list[str]:
    from aloe_bench.stats.paired import mde

    change = f"{row['failed']} failed" if row["failed"] else row.get("withheld") or points(row["value"], "+z.1f")
    return [
        row["row"], points(row["first"]), points(row["second"]), change, _span(row["interval"]), _p(row.get("p")),
        _p(row.get("p_adjusted")), _span(row.get("interval_family")), mde(row), str(row["n"]),
    ]  # fmt: skip


def _span(interval: Sequence[float] | None) -> str:
    return f"{100 * interval[0]:+z.1f} to {100 * interval[1]:+z.1f}" if interval else "-"


def points(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else f"{100 * value:{form}}"


def _p(p: float | None) -> str:
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
