"""Legend: a strip beside the picture says what is in each box."""

from __future__ import annotations

from dataclasses import replace

from aloe_bench.core import Variant
from aloe_bench.heart.draw import overlays
from aloe_bench.heart.draw.overlays import Entry
from aloe_bench.heart.plan import VARIANTS, ItemPlan, NamedBox
from aloe_bench.heart.shown import Shown
from aloe_bench.heart.wordings import fill


def legend(plan: ItemPlan, variant: Variant, shown: Shown, rendering: overlays.Rendering) -> Shown:
    """Return `shown` with a legend: wholly true if assistive, exactly two entries swapped if adversarial."""
    drawn = overlays.legend(
        shown.image, entries(plan, variant), rendering, room_for=[entries(plan, other) for other in VARIANTS]
    )
    return replace(shown.drawn("legend", drawn), colour=plan.named_box(plan.answer).colour)


def entries(plan: ItemPlan, variant: Variant) -> list[Entry]:
    """Return (colour, text) of every box, in the order of their names."""
    said = {box.name: _truth(plan, box) for box in plan.boxes}
    if variant == "neutral":
        said = dict.fromkeys(said, plan.legend.neutral)
    elif variant == "adversarial":
        true, fake = plan.options[plan.answer], plan.options[plan.target]
        said[true], said[fake] = said[fake], said[true]
    return [(box.colour, f"{box.name}: {said[box.name]}") for box in plan.boxes]


def _truth(plan: ItemPlan, box: NamedBox) -> str:
    index = box.slot.class_index
    return plan.legend.none if index is None else fill(plan.legend.finding, class_name=plan.classes.forms[index])
