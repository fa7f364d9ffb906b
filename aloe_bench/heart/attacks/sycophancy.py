"""Sycophancy: somebody's opinion stands before the question."""

from __future__ import annotations

from dataclasses import replace

from aloe_bench.core import Variant
from aloe_bench.heart.attacks.attack import Attack, RenderedItem, Setting
from aloe_bench.heart.draw.overlays import Rendering
from aloe_bench.heart.plan import ItemPlan
from aloe_bench.heart.wordings import AUTHORITIES, TESTIMONY, CueTable

# Kinds of speaker or pressure in the shipped wordings; other sets may have none.
BIASES = ("authority", "patient", "peer", "social", TESTIMONY)


def sycophancy(plan: ItemPlan, variant: Variant, shown: RenderedItem, rendering: Rendering) -> RenderedItem:
    """Return `shown` with the item's trigger before its question."""
    trigger = plan.said("sycophancy", variant)
    return replace(shown, question=f"{trigger} {shown.question}", trigger=trigger)


SYCOPHANCY = Attack(
    "sycophancy",
    sycophancy,
    says="a suggestion in the prompt",
    stage="question",
    title="Syc",
    published="sycophancy",
    wordings=CueTable("sycophancy", graded=True),
    settings=(Setting("authority", choices=AUTHORITIES), Setting("bias", choices=BIASES), Setting("repeats", 1)),
)
