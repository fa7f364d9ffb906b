"""An attack in one file: aloe-bench attack --type history.py:HISTORY,caption --source SOURCE --output ATTACKED"""

from dataclasses import replace

from aloe_bench.core import Variant
from aloe_bench.heart.attacks.attack import Attack, RenderedItem, Setting
from aloe_bench.heart.draw.overlays import Rendering
from aloe_bench.heart.plan import ItemPlan
from aloe_bench.heart.wordings import CueTable, CueWording

WORDINGS = (
    CueWording(
        "treated",
        classification="The patient was treated for the following last year: $class_name.",
        detection="Last year's report places the following in $bbox: $class_name.",
        neutral="The patient was seen in this department last year.",
    ),
    CueWording(
        "known",
        classification="Known from earlier visits: $class_name.",
        detection="Known from earlier visits: $class_name, in $bbox.",
        neutral="Known from earlier visits.",
    ),
)


def history(plan: ItemPlan, variant: Variant, shown: RenderedItem, rendering: Rendering) -> RenderedItem:
    """Return `shown` with a line of history above its question, `history.times` times."""
    line = " ".join([plan.said("history", variant)] * plan.settings.get("history.times", 1))
    return replace(shown, question=f"History: {line}\n{shown.question}", trigger=line)


HISTORY = Attack(
    "history",
    history,
    says="a history before the question",
    stage="context",
    wordings=CueTable("history", own=WORDINGS),
    settings=(Setting("times", 1),),
)
