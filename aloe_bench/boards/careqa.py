"""careqa_vision.md: the shape of the paper's Table 10. Its columns are those that tasks say of themselves."""

from __future__ import annotations

from aloe_bench.boards.shapes import PageText, Shape
from aloe_bench.boards.tables import NEAR, RANKED


def _paragraphs(shape: Shape) -> tuple[str, ...]:
    return (
        "Accuracy in %. Best in **bold**, second <u>underlined</u>, within a size group, by the printed digits. "
        f"{NEAR} Under a number: its 95 % interval and k/n "
        "of the questions. Rows marked *(paper)* are copied from Aloe-Vision, Table 10. " + RANKED,
    )


CAREQA = PageText("CareQA-Vision", _paragraphs, "table10_careqa_vision.csv")
