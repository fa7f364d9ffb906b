"""Where the boxes of a detection row lie, by the published columns, which any HEART table has."""

from __future__ import annotations

import ast
from typing import Any

from aloe_bench.errors import DataError
from aloe_bench.heart.measure.geometry import Box, ItemBoxes
from aloe_bench.heart.table.read import HeartRow


def boxes_in(row: HeartRow, cluster: str) -> ItemBoxes | None:
    """Return the boxes of `row`, the true one first; None where the table does not hold them.

    Raises DataError, naming the row, for a cell that is not one of "((x1, y1), (x2, y2))" in thousandths.
    """
    true, others = row.optional("true_bbox"), row.optional("fake_bboxes")
    if row.optional("task") != "detection" or true is None or others is None:
        return None
    try:
        boxes = [_box(ast.literal_eval(true)), *map(_box, ast.literal_eval(others))]
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(
            f"{row.where}: true_bbox {true[:60]!r} and fake_bboxes {others[:60]!r} are not boxes in thousandths "
            f"({error}); expected ((x1, y1), (x2, y2)) and a list of such. Correct the row."
        ) from error
    return ItemBoxes(cluster, row.text("dataset"), int(float(row.text("true_class"))), tuple(boxes))


def _box(corners: Any) -> Box:
    (x1, y1), (x2, y2) = corners
    left, top, right, bottom = (float(side) / 1000 for side in (x1, y1, x2, y2))
    if not (0 <= left <= right <= 1.001 and 0 <= top <= bottom <= 1.001):
        raise ValueError(f"a box from ({x1}, {y1}) to ({x2}, {y2})")
    return left, top, right, bottom
