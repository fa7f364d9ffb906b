"""What the cues of a HEART run did, in one short table; everything else is in summary.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = ("cue", "drop", "95 % interval", "p (Holm)", "MDE", "led", "excess", "assistive", "unread")


def show_effects(console: Console, heart: Mapping[str, Any]) -> None:
    """Print one line a task and attack, in percent and points: means over data sets (macro)."""
    from rich.table import Table

    table = Table(*COLUMNS)
    warnings: dict[str, None] = {}
    for task, part in heart.items():
        for attack, measures in part["columns"].items():
            gap = measures.get("robustness_gap", {}).get("macro")
            if gap is None:
                continue
            table.add_row(f"{task}/{attack}", *_line(gap, measures))
            if "warning" in gap:
                warnings[f"{task}: {gap['warning']}."] = None
    console.print(table)
    guess = [f"{task} {100 * part['chance']['macro']:.2f}" for task, part in heart.items()]
    sets = [len(part["chance"]["datasets"]) for part in heart.values()]
    if max(sets) > 1:
        guess = [f"{text} ({n} data sets)" for text, n in zip(guess, sets, strict=True)]
    over = "; all are means over data sets, pooled ones are in summary.json" if max(sets) > 1 else ""
    console.print(f"Guessing gives {', '.join(guess)}{over}.", highlight=False, soft_wrap=True)
    for warning in warnings:
        console.print(f"Caution: {warning}", highlight=False)


def _line(gap: Mapping[str, Any], measures: Mapping[str, Any]) -> list[str]:
    interval, p, found = gap["interval"], gap.get("p_adjusted"), gap.get("detectable")
    names = ("targeted_attack_success", "excess_cue_following", "assistive", "unread_adversarial")
    return [
        _points(gap["value"]),
        f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else "-",
        "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}",
        _points(found),
        *(_points(measures.get(name, {}).get("macro", {}).get("value")) for name in names),
    ]


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
