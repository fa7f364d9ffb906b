"""Prompt caption: the figure's caption stands as text before the question."""

from __future__ import annotations

from dataclasses import replace

from aloe_bench.core import Variant
from aloe_bench.heart.attacks.attack import Attack, RenderedItem
from aloe_bench.heart.attacks.caption import CAPTIONS
from aloe_bench.heart.draw.overlays import Rendering
from aloe_bench.heart.plan import ItemPlan


def prompt(plan: ItemPlan, variant: Variant, shown: RenderedItem, rendering: Rendering) -> RenderedItem:
    """Return `shown` with a line "Caption: ..." above its question (one line break for both tasks)."""
    caption = plan.said("caption", variant)
    return replace(shown, question=f"Caption: {caption}\n{shown.question}", caption=caption)


PROMPT = Attack(
    "prompt",
    prompt,
    says="caption in the prompt",
    stage="context",
    title="Pmt",
    published="captions_text",
    wordings=CAPTIONS,
)
