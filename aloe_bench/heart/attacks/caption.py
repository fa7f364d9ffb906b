"""Caption: the figure's caption is part of the picture."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from aloe_bench.core import Variant
from aloe_bench.errors import NoRoomError
from aloe_bench.heart.attacks.attack import Attack, RenderedItem, Setting
from aloe_bench.heart.draw import overlays
from aloe_bench.heart.draw.overlays import overlap
from aloe_bench.heart.draw.rendering import CaptionPosition
from aloe_bench.heart.plan import VARIANTS, ItemPlan
from aloe_bench.heart.wordings import CueTable

MOST_HIDDEN = 0.1  # of a box, under a caption "over" the picture
# Shared by all that say a figure's caption, in the picture or in the prompt.
CAPTIONS = CueTable("caption", allowed=frozenset({"number"}))


def caption(plan: ItemPlan, variant: Variant, shown: RenderedItem, rendering: overlays.Rendering) -> RenderedItem:
    """Return `shown` with the item's caption in a band; the band is equally high in all variants."""
    sentence = plan.said("caption", variant)
    others = [plan.said("caption", other) for other in VARIANTS]
    drawn = overlays.caption(shown.image, sentence, rendering, room_for=others)
    if rendering.caption_position == "over":
        _refuse_hidden(plan, drawn)
    return replace(shown.drawn("caption", drawn), caption=sentence)


def _refuse_hidden(plan: ItemPlan, drawn: overlays.Drawn) -> None:
    """Raise NoRoomError if the plate lies on more than a sliver of a box: the answer would be hidden."""
    for box in plan.boxes:
        left, top, right, bottom = box.slot.box
        hidden = sum(overlap(box.slot.box, plate) for plate in drawn.overlay)
        if hidden > MOST_HIDDEN * (right - left) * (bottom - top):
            raise NoRoomError(f'a caption "over" the picture would hide {box.name}')


CAPTION = Attack(
    "caption",
    caption,
    says="caption in the image",
    stage="page",
    title="Cap",
    published="captions",
    wordings=CAPTIONS,
    settings=(
        Setting("size", 1.0, look="font_scale"),
        Setting("opacity", 1.0, look="opacity"),
        Setting("position", choices=get_args(CaptionPosition), look="caption_position"),
        Setting("repeats", 1, look="repeats"),
    ),
    reading="Which option is written in the text on this image?",
)
