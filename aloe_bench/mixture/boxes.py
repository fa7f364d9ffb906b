"""Boxes of any format as Qwen2-VL writes them: integers in [0, 1000) of the picture's width and height."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from aloe_bench.errors import DataError

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
BoxUnit = Literal["pixels", "unit", "thousandths"]
TOP = 1000
_WRITTEN = re.compile(
    r"<\|box_start\|>\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)\s*,\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)\s*<\|box_end\|>"
)


def to_thousandths(
    box: Sequence[float], form: BoxFormat, unit: BoxUnit, size: tuple[int, int] | None = None
) -> tuple[int, int, int, int]:
    """Return `box` as (left, top, right, bottom) in [0, 1000); a box thinner than one step is made one step wide.

    `size` is (width, height) in pixels, needed for that unit alone.
    Raises DataError for a box that has no area, or reaches outside the picture by more than one pixel or 1 %.
    Source: Aloe-Vision, section 3, "Preprocessing and normalization".
    """
    if len(box) != 4 or not all(isinstance(v, int | float) and math.isfinite(v) for v in box):
        raise DataError(f"box {list(box)!r}; expected four numbers.")
    left, top, right, bottom = _corners(box, form)
    if unit == "pixels" and size is None:
        raise DataError(f"box {list(box)!r} is in pixels, and the size of its picture is not known.")
    width, height = (size or (1, 1)) if unit == "pixels" else ((1, 1) if unit == "unit" else (TOP, TOP))
    if right <= left or bottom <= top:
        raise DataError(f"box {list(box)!r} has no area as {form}; is it of another format?")
    slack_x, slack_y = (
        (max(1.0, width / 100), max(1.0, height / 100)) if unit == "pixels" else (width / 100, height / 100)
    )
    if left < -slack_x or top < -slack_y or right > width + slack_x or bottom > height + slack_y:
        raise DataError(f"box {list(box)!r} as {form} in {unit} reaches outside its picture of {width}x{height}.")
    x = _steps(left, right, width)
    y = _steps(top, bottom, height)
    return x[0], y[0], x[1], y[1]


def written(box: tuple[int, int, int, int]) -> str:
    """Return the words that Qwen2-VL is trained on for a box in thousandths."""
    return f"<|box_start|>({box[0]},{box[1]}),({box[2]},{box[3]})<|box_end|>"


def boxes_in(text: str) -> list[tuple[int, int, int, int]]:
    """Return the boxes written in `text`, with or without the spaces that the paper prints."""
    return [(int(a), int(b), int(c), int(d)) for a, b, c, d in _WRITTEN.findall(text)]


def _corners(box: Sequence[float], form: BoxFormat) -> tuple[float, float, float, float]:
    a, b, c, d = box
    if form == "xyxy":
        return a, b, c, d
    if form == "xywh":
        return a, b, a + c, b + d
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2


def _steps(low: float, high: float, whole: float) -> tuple[int, int]:
    """Return the two ends in steps of a thousandth, at least one apart and below 1000."""
    first, last = (min(TOP - 1, max(0, math.floor(v * TOP / whole))) for v in (low, high))
    if first >= last:
        first, last = (first - 1, first) if first == TOP - 1 else (first, first + 1)
    return first, last
