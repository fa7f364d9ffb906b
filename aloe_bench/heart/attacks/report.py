"""Report: a prior report that names another date or another patient stands before the question.

Only such a report is a cue. One of this very picture would be evidence, which a reader should believe.
"""

from __future__ import annotations

from dataclasses import replace

from aloe_bench.core import Variant
from aloe_bench.heart.attacks.attack import Attack, RenderedItem, Setting
from aloe_bench.heart.draw.overlays import Rendering
from aloe_bench.heart.plan import ItemPlan
from aloe_bench.heart.wordings import CueTable

# Whose report it is, or of when; kinds of the shipped wordings.
KINDS = ("other-patient", "other-date")


def report(plan: ItemPlan, variant: Variant, shown: RenderedItem, rendering: Rendering) -> RenderedItem:
    """Return `shown` with the item's report in a line above its question."""
    text = plan.said("report", variant)
    trigger = f"{text} {shown.trigger}" if shown.trigger else text
    return replace(shown, question=f"{text}\n{shown.question}", trigger=trigger)


REPORT = Attack(
    "report",
    report,
    says="a report of another patient or date in the prompt",
    stage="context",
    title="Rep",
    wordings=CueTable("report", allowed=frozenset({"number"}), optional=True, kinds=True),
    settings=(Setting("bias", choices=KINDS), Setting("repeats", 1)),
)
