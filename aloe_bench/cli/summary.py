"""The tables that a user sees at the end of a run; everything else is in summary.json."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from aloe_bench.cli.common import same_command
from aloe_bench.tasks.data.fetched import why_unverified

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column

    from aloe_bench.judges.jury.seats import Jury


MAX_CELLS = 8
UNREAD_CHARS = 300
NARROW_COLUMNS = 120
LOST, BOUNDS = "all wrong to all right", "bounds"
LIKE_THESE = "wordings like these"
WORDED = "95 % intervals are for the wordings of this table; beside them stand those for all wordings like these."
TITLES = ("task", "cell", "score", "95 % interval", LOST, "n", "answered", "not answered")
EFFECTS = (
    "cue", "drop", "95 % interval", BOUNDS, LIKE_THESE, "p", "p (Holm)", "interval (Holm)", "MDE", "led", "excess",
    "assistive", "not answered",
)  # fmt: skip
NARROW = ("cue", "drop", "95 % interval", BOUNDS, "p (Holm)", "led", "not answered")


def kept(title: str) -> Column:
    """Return a column that a narrow terminal does not cut: others wrap for it."""
    from rich.table import Column

    return Column(title, no_wrap=True)


def rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return task, cell, value, interval, bounds, n, answered and what was not as text, one row a cell."""
    from aloe_bench.evaluation.outcomes import not_answered

    lines: list[tuple[str, ...]] = []
    for name, cell in summary["cells"].items():
        missing = "not judged" if cell["unjudged"] else "-"
        value = missing if cell["value"] is None else f"{100 * cell['value']:.2f}"
        mark = (" (partial)" if summary["partial"] else "") + (" (extended)" if summary.get("extended") else "")
        counts = (str(cell["n"]), str(cell["answered"]), not_answered(cell) or "-")
        lines.append((summary["task"] + mark, name, value, _span(cell["interval"]), _span(cell["bounds"]), *counts))
    return lines


def show(summaries: Sequence[dict[str, Any]]) -> None:
    """Print the table of these runs' first cells, the tasks left out, and where each run is."""
    from rich.console import Console
    from rich.table import Table

    from aloe_bench.cli.summary import show_effects
    from aloe_bench.evaluation.outcomes import told_of_pictures

    lines = [(rows(summary)[:MAX_CELLS], len(summary["cells"]) - MAX_CELLS) for summary in summaries]
    titles, shown = _as_needed(TITLES, [row for some, _ in lines for row in some])
    table = Table(titles[0], kept("cell"), kept("score"), *titles[3:])
    for some, more in lines:
        for _ in some:
            table.add_row(*shown.pop(0))
        if more > 0:
            table.add_row("", f"... {more} more in summary.json")
    for task in dict.fromkeys(task for summary in summaries for task in summary["left_out"]):
        table.add_row(f"{task} (left out)", "no data", *["-"] * (len(titles) - 2))
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table)
    for text in dict.fromkeys(f"{summary['task']}: {text}" for summary in summaries for text in summary["cautions"]):
        console.print(f"Caution: {text}", soft_wrap=True, markup=False, highlight=False)
    for summary in summaries:
        for text in (*summary.get("left_over", ()), *told_of_pictures(summary.get("pictures", {}))):
            console.print(f"Caution: {summary['task']}: {text}", soft_wrap=True, markup=False, highlight=False)
    for summary in summaries:
        if "heart" in summary:
            show_effects(console, summary["heart"])
            show_reading(console, summary["heart"])
            show_told(console, summary.get("told", {}))
        if summary.get("controls"):
            show_controls(console, summary)
    for summary in summaries:
        if caution := unverified_caution(summary):
            console.print(caution, soft_wrap=True, markup=False, highlight=False)
    for summary in summaries:
        console.print(f"run: {summary['run']}", soft_wrap=True, markup=False, highlight=False)


def _as_needed(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return titles and lines, without columns that are empty of what lost replies leave open, and of wordings."""
    left_out = {
        i
        for i, title in enumerate(titles)
        if title in (LOST, BOUNDS, LIKE_THESE) and all(line[i] == "-" for line in lines)
    }
    return [t for i, t in enumerate(titles) if i not in left_out], [
        [text for i, text in enumerate(line) if i not in left_out] for line in lines
    ]


def unverified_caution(summary: Mapping[str, Any]) -> str:
    """Return what to say of a run whose data are not known to be its benchmark's; "" of others."""
    verified = summary.get("verified")
    if not verified or not (why := why_unverified(verified)):
        return ""
    return f"Data not verified: {summary['task']}: {why}. Pages mark its row and do not rank it."


def show_effects(console: Console, heart: Mapping[str, Any]) -> None:
    """Print one line a task and attack, in percent and points: means over data sets (macro)."""
    from rich.console import Console as Wide
    from rich.table import Table

    flipped = any("p_flip" in m.get("robustness_gap", {}).get("macro", {}) for part in heart.values()
                  for m in part["columns"].values())  # fmt: skip
    wide = Wide(width=None if sys.stdout.isatty() else 210)
    lines: list[list[str]] = []
    warnings: dict[str, None] = {}
    for task, part in heart.items():
        for attack, measures in part["columns"].items():
            gap = measures.get("robustness_gap", {}).get("macro")
            if gap is None:
                continue
            lines.append([f"{task}/{attack}", *_line(gap, measures)])
            if "warning" in gap:
                warnings[f"{task}: {gap['warning']}."] = None
    titles, lines = _as_needed(EFFECTS, lines)
    shown = [i for i, title in enumerate(titles) if wide.width >= NARROW_COLUMNS or title in NARROW]
    named = [f"{title} (sign flip)" if title == "p" and flipped else title for title in titles]
    table = Table(kept(named[0]), *(named[i] for i in shown[1:]))
    for line in lines:
        table.add_row(*(line[i] for i in shown))
    wide.print(table)
    if lacking := [title for i, title in enumerate(titles) if i not in shown]:
        console.print(f"A terminal of {NARROW_COLUMNS} columns also shows {', '.join(lacking)}.", highlight=False)
    guess = [f"{task} {100 * part['chance']['macro']:.2f}" for task, part in heart.items()]
    sets = [len(part["chance"]["datasets"]) for part in heart.values()]
    if max(sets) > 1:
        guess = [f"{text} ({n} data sets)" for text, n in zip(guess, sets, strict=True)]
    over = "; all are means over data sets, pooled ones are in summary.json" if max(sets) > 1 else ""
    console.print(f"Guessing gives {', '.join(guess)}{over}.", highlight=False, soft_wrap=True)
    if LIKE_THESE in titles:
        console.print(WORDED, highlight=False, soft_wrap=True)
    for warning in warnings:
        console.print(f"Caution: {warning}", highlight=False)


def show_reading(console: Console, heart: Mapping[str, Any]) -> None:
    """Print every drop under a drawn cue beside the share of cues that were read, and the drop of these alone."""
    from rich.table import Table

    table = Table(
        "drawn cue", "drop", "read", "95 % interval", "drop if read", "95 % interval", "led if read", "n read"
    )
    for task, part in heart.items():
        for attack, measures in part["columns"].items():
            if "cue_read" not in measures:
                continue
            gap, read, led = (measures[key]["macro"] for key in ("robustness_gap", "cue_read", "cue_following_if_read"))
            if_read = measures.get("robustness_gap_if_read", {}).get("macro", {"value": None, "interval": None, "n": 0})
            drops = [one.get("withheld") or _points(one["value"]) for one in (gap, if_read)]
            shown = [drops[0], _points(read["value"]), _span(read["interval"]), drops[1], _span(if_read["interval"])]
            table.add_row(f"{task}/{attack}", *shown, _points(led["value"]), str(if_read["n"]))
    if table.row_count:
        console.print(table)
        told = "Intervals are for the wordings of this table; summary.json has those for wordings like these."
        console.print(told, highlight=False, soft_wrap=True)


def show_told(console: Console, told: Mapping[str, Any]) -> None:
    """Print what boxes alone give away of a table."""
    for task, one in told.get("boxes_alone", {}).items():
        rules = ", ".join(one["rules"])
        console.print(
            f"Boxes alone give {_points(one['value'])} ({_span(one['interval'])}) in {task}, guessing "
            f"{_points(one['chance'])}; best rule, out of fold: {rules}.", highlight=False, soft_wrap=True
        )  # fmt: skip


def show_controls(console: Console, summary: Mapping[str, Any]) -> None:
    """Print what the image controls say, a line a measure, in percent and points."""
    from rich.table import Table

    from aloe_bench.evaluation.outcomes import not_answered
    from aloe_bench.evaluation.reliance import SAID

    table = Table("image control", "%", "95 % interval", "p (Holm)", "n")
    for group, entry in summary["controls"].items():
        for name, said in SAID.items():
            if name in entry:
                one = entry[name]
                value = f"{one['failed']} failed" if one["failed"] else _points(one["value"])
                table.add_row(
                    f"{group}: {said}", value, _span(one["interval"]), _p(one.get("p_adjusted")), str(one["n"])
                )
    console.print(table)
    for group, entry in summary["controls"].items():
        for arm, outcomes in entry.get("outcomes", {}).items():
            if lost := not_answered({"n": sum(outcomes.values()), **outcomes}):
                console.print(f"{group}, {arm}: {lost}.", highlight=False, soft_wrap=True, markup=False)
    for arm, reason, n in summary["controls_left_out"]:
        console.print(f"{arm}: not asked of {n} questions: {reason}.", highlight=False, soft_wrap=True, markup=False)
    if any(entry.get("same_patient") for entry in summary["controls"].values()):
        console.print("Caution: swapped pictures may be of the same patient: the data name none.", highlight=False)


def _line(gap: Mapping[str, Any], measures: Mapping[str, Any]) -> list[str]:
    from aloe_bench.evaluation.outcomes import shares_not_answered
    from aloe_bench.stats.paired import mde

    names = ("targeted_attack_success", "excess_cue_following", "assistive")
    return [
        gap.get("withheld") or _points(gap["value"]),
        _span(gap["interval"]),
        _span(gap.get("bounds")),
        _span(gap.get("interval_wordings")),
        _p(gap["p"]) + (f" ({_p(gap['p_flip'])})" if "p_flip" in gap else ""),
        _p(gap["p_adjusted"]),
        _span(gap["interval_family"]),
        mde(gap),
        *(_points(measures.get(name, {}).get("macro", {}).get("value")) for name in names),
        shares_not_answered(measures) or "-",
    ]


def _span(interval: Sequence[float] | None) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else "-"


def _p(p: float | None) -> str:
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def show_jury(jury: Jury, summaries: Sequence[dict[str, Any]], quiet: bool) -> float:
    """Print each judge's counts, and return the largest share that a judge or the jury left ungraded."""
    for name in sorted({name for session in jury.sessions for name in session.down}):
        reason = next(session.down[name] for session in jury.sessions if name in session.down)
        click.echo(f"Judge {name} is down: {reason}", err=True)
    for name in sorted({name for session in jury.sessions for name in session.unread}):
        reply = next(session.unread[name] for session in jury.sessions if name in session.unread)
        text = reply.text or ""
        shown = f"{text[:UNREAD_CHARS]}..." if len(text) > UNREAD_CHARS else text
        ended = ", cut at its token limit" if reply.finish == "length" else ""
        click.echo(f"Judge {name}'s first reply that could not be read ({reply.sample_id}{ended}): {shown!r}", err=True)
    if left := sum(session.left for session in jury.sessions):
        click.echo(f"{left} verdicts are left to ask for: {same_command()}.", err=True)
    for summary in summaries:
        if summary["jury"] is not None and not quiet:
            _tally(jury, summary["jury"])
    return jury.worst_share(summaries)


def _tally(jury: Jury, tally: dict[str, Any]) -> None:
    unread = {name: sum(s.counts[name][0] for s in jury.sessions) for name in tally["judges"]}
    failed = {name: sum(s.counts[name][1] for s in jury.sessions) for name in tally["judges"]}
    click.echo(f"{'judge':<24} {'graded':>7} {'missing':>8} {'mean':>7} {'unread replies':>15} {'failed calls':>13}")
    for name, counts in tally["judges"].items():
        mean = "-" if counts["mean"] is None else f"{100 * counts['mean']:.2f}"
        numbers = f"{counts['graded']:>7} {counts['missing']:>8} {mean:>7} {unread[name]:>15} {failed[name]:>13}"
        click.echo(f"{name:<24} {numbers}")
    low, high = (f"{100 * bound:.2f}" for bound in tally["bounds"])
    mean = f"mean between {low} and {high} whatever the missing would say" if tally["missing"] else f"mean {low}"
    click.echo(
        f"jury: {tally['n'] - tally['missing']} of {tally['n']} graded, {tally['split']} split, "
        f"{tally['by_quorum']} without every judge, {tally['missing']} missing; {mean}"
    )
