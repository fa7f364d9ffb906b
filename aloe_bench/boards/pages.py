"""The pages of the leaderboard: file name -> what writes it from the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from aloe_bench.boards.careqa import CAREQA
from aloe_bench.boards.heart import heart_blocks, heart_page
from aloe_bench.boards.medical import MEDICAL
from aloe_bench.boards.miniature import miniature_page
from aloe_bench.boards.tables import page

Page = Callable[[Sequence[Mapping[str, Any]]], str]

PAGES: dict[str, Page] = {
    "careqa_vision.md": partial(page, CAREQA),
    "heart.md": heart_page,
    "miniature.md": partial(miniature_page, (CAREQA, MEDICAL), (heart_blocks,)),
    "medical.md": partial(page, MEDICAL),
}
