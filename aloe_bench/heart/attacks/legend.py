"""Legend: a strip beside the picture says what is in each box."""

from __future__ import annotations

from dataclasses import replace

from aloe_bench.core import Variant
from aloe_bench.heart import parity
from aloe_bench.heart.attacks.attack import Attack, RenderedItem
from aloe_bench.heart.draw import overlays
from aloe_bench.heart.draw.overlays import Entry
from aloe_bench.heart.plan import VARIANTS, ItemPlan, NamedBox
from aloe_bench.heart.wordings import PhraseTable, fill


def legend(plan: ItemPlan, variant: Variant, shown: RenderedItem, rendering: overlays.Rendering) -> RenderedItem:
    """Return `shown` with a legend: wholly true if assistive, exactly two entries swapped if adversarial."""
    drawn = overlays.legend(
        shown.image, entries(plan, variant), rendering, room_for=[entries(plan, other) for other in VARIANTS]
    )
    after = shown.drawn("legend", drawn)
    wording = plan.phrases["legend"]["id"] or None
    return replace(after, colour=plan.named_box(plan.answer).colour, caption_template=wording)


def entries(plan: ItemPlan, variant: Variant) -> list[Entry]:
    """Return (colour, text) of every box, in the order of their names."""
    said = {box.name: _truth(plan, box) for box in plan.boxes}
    if variant == "neutral":
        said = dict.fromkeys(said, plan.phrases["legend"]["neutral"])
    elif variant == "adversarial":
        true, fake = plan.options[plan.answer], plan.options[plan.target]
        said[true], said[fake] = said[fake], said[true]
    return [(box.colour, f"{box.name}: {said[box.name]}") for box in plan.boxes]


def _truth(plan: ItemPlan, box: NamedBox) -> str:
    index = box.slot.class_index
    phrases = plan.phrases["legend"]
    return phrases["none"] if index is None else fill(phrases["finding"], class_name=plan.classes.forms[index])


LEGEND = Attack(
    "legend",
    legend,
    says="legend in the image",
    stage="figure",
    title="Leg",
    published="legends",
    needs_boxes=True,
    # Of a box with a class, of one without, and of any box where nothing is claimed.
    wordings=PhraseTable("legend", {"finding": {"class_name"}, "none": set(), "neutral": set()}),
    reading="Which option does the legend below this image mark?",
    parity=parity.legend,
)
