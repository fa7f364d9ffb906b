"""Caption: the figure's caption is part of the picture."""

from __future__ import annotations

from dataclasses import replace

from aloe_bench.core import Variant
from aloe_bench.heart.draw import overlays
from aloe_bench.heart.plan import VARIANTS, ItemPlan
from aloe_bench.heart.shown import Shown


def caption(plan: ItemPlan, variant: Variant, shown: Shown, rendering: overlays.Rendering) -> Shown:
    """Return `shown` with the item's caption in a band; the band is equally high in all variants."""
    sentence = plan.sentence(plan.caption, variant)
    others = [plan.sentence(plan.caption, other) for other in VARIANTS]
    drawn = overlays.caption(shown.image, sentence, rendering, room_for=others)
    return replace(shown.drawn("caption", drawn), caption=sentence)
