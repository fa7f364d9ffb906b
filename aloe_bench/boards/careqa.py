"""careqa_vision.md: the shape of the paper's Table 10."""

from __future__ import annotations

from aloe_bench.boards.tables import Shape

_GROUPS = ("overall", "nursing", "medicine")

CAREQA = Shape(
    title="CareQA-Vision",
    columns={f"{part}/{group}": f"{part.upper()} {group.capitalize()}" for part in ("mcq", "vqa") for group in _GROUPS},
    places={
        "careqa_vision_mcq": {group: f"mcq/{group}" for group in _GROUPS},
        "careqa_vision_open": {group: f"vqa/{group}" for group in _GROUPS},
    },
    labels={"careqa_vision_mcq": "MCQ", "careqa_vision_open": "VQA"},
    paper="table10_careqa_vision.csv",
    paragraphs=(
        "Accuracy in %. Best in **bold**, second <u>underlined</u>, within a size group, by the printed digits; "
        "a mark does not say that a test separates the models. Under a number: its 95 % interval and the number "
        "of questions. Rows marked *(paper)* are copied from Aloe-Vision, Table 10. "
        "Only complete runs are ranked.",
    ),
)
