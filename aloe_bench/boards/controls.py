"""Image controls on the pages: what each run's accuracy owes to the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from aloe_bench.boards.tables import APART, escape, markdown, p_text, percent, protocol_label

Result = Mapping[str, Any]
TITLE = "Image controls"
TEXT = (
    "Means over data sets in %, with 95 % intervals over images or patients; these items are in no cell. Blank: the "
    "same questions over a grey picture. Image reliance: accuracy minus blank, paired, in points; p by a score test, "
    "Holm over tasks. Swap: the picture of another item, whose truth is another of the question's options: answers "
    "that name the truth of the picture *shown*, and that *stay* with the asked one's. §: clusters are single "
    "pictures, so the other picture may be of the same patient."
)
COLUMNS = ("Model", "Task", "Accuracy", "Blank", "Guessing", "Image reliance", "p (Holm)", "Swap: shown", "Swap: stays",
           "n blank / swap")  # fmt: skip


def controls_blocks(results: Sequence[Result], level: int = 2) -> list[str]:
    """Return the blocks of Markdown on the controls of `results`, none without any; titles are of `level`."""
    lines = [
        _line(result, group, entry)
        for result in sorted(results, key=lambda one: (str(one["task"]["name"]), str(one["model"]["name"])))
        for group, entry in result.get("controls", {}).items()
    ]
    if not lines:
        return []
    return [f"{'#' * level} {TITLE}", TEXT, markdown([COLUMNS, *lines], names=2)]


def _line(result: Result, group: str, entry: Mapping[str, Any]) -> list[str]:
    name = f"{escape(str(result['model']['name']))}{protocol_label(result)}" + (" †" if result["partial"] else "")
    name += f" {APART}" if result.get("apart") else ""
    task = escape(str(result["task"]["name"])) + ("" if group == "overall" else f": {escape(group)}")
    reliance = entry.get("image_reliance", {})
    mark = " §" if entry.get("same_patient") else ""
    chance = entry.get("chance")
    counts = " / ".join(str(entry[key]["n"]) if key in entry else "–" for key in ("blank", "swap_follows"))
    return [
        name,
        task,
        _shown(entry.get("baseline")),
        _shown(entry.get("blank")),
        "–" if chance is None else str(percent(Fraction(chance), "0.1")),
        _shown(reliance),
        p_text(reliance.get("p_adjusted")),
        _shown(entry.get("swap_follows")) + mark,
        _shown(entry.get("swap_stays")) + mark,
        counts,
    ]


def _shown(entry: Mapping[str, Any] | None) -> str:
    if not entry:
        return "–"
    if entry["value"] is None:
        return f"not measured, {entry['failed']} failed"
    interval = entry["interval"]
    ends = ", ".join(str(percent(Fraction(end), "0.1")) for end in interval or ())
    return f"{percent(Fraction(entry['value']), '0.1')}<br><small>{f'[{ends}]' if ends else 'no interval'}</small>"
