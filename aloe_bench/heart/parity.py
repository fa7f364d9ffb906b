"""`--parity`: choices of the published generator, for those who need its kind of rows (docs/heart.md lists them)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from aloe_bench.core import Variant
from aloe_bench.heart.attacks.attack import RenderedItem, boxed
from aloe_bench.heart.draw import overlays
from aloe_bench.heart.plan import ItemPlan, NamedBox

# All boxes of a baseline, and the colours a legend draws by lot for its classes.
BOX_COLOUR = "#ff0000"
LEGEND_COLOURS = {"red": "#ff0000", "blue": "#0000ff", "green": "#008000", "yellow": "#ffff00"}
VARIANTS: tuple[Variant, ...] = ("assistive", "adversarial")


def legend(plan: ItemPlan, variant: Variant, shown: RenderedItem, rendering: overlays.Rendering) -> RenderedItem:
    """Return `shown` with a legend by the published rule: a colour a class, generated boxes given wrong classes.

    The box that the cue points at is said to hold the asked class; if that is false, the true box takes the other's
    class. With one class there is no wrong one, and generated boxes hold "no annotated finding".
    """
    said = _said(plan, variant, plan.rng("parity"))
    names = list(LEGEND_COLOURS)
    plan.rng("parity colours").shuffle(names)
    colour_of = dict(zip(dict.fromkeys(said.values()), names, strict=False))
    painted = boxed(plan, shown, [LEGEND_COLOURS[colour_of[said[box.name]]] for box in plan.boxes], rendering)
    entries = [(LEGEND_COLOURS[colour], f"Contains {text.lower()}") for text, colour in colour_of.items()]
    result = painted.drawn("legend", overlays.legend(painted.image, entries, rendering))
    answer = plan.named_box(plan.answer).name
    return replace(result, base=shown.base, colour=colour_of[said[answer]])


def _said(plan: ItemPlan, variant: Variant, rng: random.Random) -> Mapping[str, str]:
    """Return the class that the legend gives each box, by name of the box."""
    wrong = [form for i, form in enumerate(plan.classes.forms) if i != plan.key.true_class]
    wrong = wrong or [plan.phrases["legend"]["none"]]
    said = {box.name: _class_or(plan, box, rng.choice(wrong)) for box in plan.boxes}
    true, fake = plan.options[plan.answer], plan.options[plan.target]
    if variant == "adversarial":
        said[true], said[fake] = said[fake], plan.class_form
    return said


def _class_or(plan: ItemPlan, box: NamedBox, otherwise: str) -> str:
    index = box.slot.class_index
    return otherwise if index is None else plan.classes.forms[index]
