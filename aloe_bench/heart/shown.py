"""A question as it is shown, built up step by step: the base picture first, then one attack after another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aloe_bench.errors import DataError
from aloe_bench.heart.draw.overlays import Drawn, Rendering, numbered_boxes, outside_untouched
from aloe_bench.heart.plan import ItemPlan

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class RenderedItem:
    """What a model will see, and what was done to get there.

    `raw` is the picture of the source, `base` that of the baseline; `picture` is None while it is the base.
    `caption`, `trigger` and `colour` fill the published columns, the two `_template` fields ours: the ids of the
    wordings that were said. `checked` says whether each drawing step is held against the picture before it.
    """

    question: str
    raw: Image.Image
    base: Image.Image
    picture: Image.Image | None = None
    caption: str | None = None
    trigger: str | None = None
    colour: str | None = None
    font_px: int | None = None
    caption_template: str | None = None
    trigger_template: str | None = None
    checked: bool = False

    @property
    def image(self) -> Image.Image:
        return self.base if self.picture is None else self.picture

    def drawn(self, step: str, result: Drawn) -> RenderedItem:
        """Return this with the picture of `result`; raises DataError if it changed a pixel outside its overlay."""
        if self.checked and not outside_untouched(self.image, result):
            raise DataError(
                f"{step}: a pixel outside the overlay changed. Nothing was written; please report it with the picture."
            )
        return replace(self, picture=result.image, font_px=result.font_px)


def base_of(
    plan: ItemPlan, image: Image.Image, rendering: Rendering, *, checked: bool, colour: str | None = None
) -> RenderedItem:
    """Return the item without a cue: the picture itself, or with its numbered boxes (all in `colour`, if given)."""
    shown = RenderedItem(plan.question_text, image, image, checked=checked)
    if not plan.boxes:
        return shown
    return replace(boxed(plan, shown, [colour or box.colour for box in plan.boxes], rendering), font_px=None)


def boxed(plan: ItemPlan, shown: RenderedItem, colours: list[str], rendering: Rendering) -> RenderedItem:
    """Return `shown` with the item's boxes drawn into the source's picture; that is its base picture then."""
    boxes = [box.slot.box for box in plan.boxes]
    labels = [box.label for box in plan.boxes]
    blank = replace(shown, picture=None, base=shown.raw)
    result = blank.drawn("boxes", numbered_boxes(shown.raw, boxes, labels, colours, rendering))
    return replace(result, base=result.image, picture=None)
