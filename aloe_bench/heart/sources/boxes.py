"""One annotated box, in the numbers that exports give it: what it is, or why it is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aloe_bench.heart.problems import Problems
from aloe_bench.heart.sources.leftovers import Leftovers

# YOLO files are written with six decimals; half a pixel of a 512 px image is 0.001.
SLACK = 1e-3
CLIP = 0.05  # of `clip = true`: how far a box may stick out, as a share of the picture's side


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotated box: corners as shares of width and height, in [0, 1], x1 < x2 and y1 < y2."""

    class_index: int
    x1: float
    y1: float
    x2: float
    y2: float

    def pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the box in whole pixels of a picture of `size`, at least one pixel wide and high.

        Rounded, not cut off: six decimals of a YOLO file then give back the pixels they were made from.
        """
        width, height = size
        x1, y1 = min(round(self.x1 * width), width - 1), min(round(self.y1 * height), height - 1)
        return x1, y1, max(x1 + 1, round(self.x2 * width)), max(y1 + 1, round(self.y2 * height))


@dataclass(frozen=True, slots=True)
class BoxReading:
    """How boxes are taken: `classes` by index, how far one may stick out (`clip`, 0 for not at all), and whether those
    that COCO marks iscrowd are kept as findings."""

    classes: tuple[str, ...]
    clip: float = 0.0
    keep_crowd: bool = False


class BoxDesk:
    """Takes the boxes of one source; what is wrong with one goes to `problems`, what is cut or left out to `left`."""

    def __init__(self, reading: BoxReading, problems: Problems, left: Leftovers) -> None:
        self.reading, self.problems, self.left = reading, problems, left

    def corners(
        self, image_id: str, where: str, said: str, corners: tuple[float, float, float, float]
    ) -> tuple[float, float, float, float] | None:
        """Return the corners, as shares, inside the picture; None if the box cannot be used, which is then told.

        `said` is the box in its file's words.
        """
        x1, y1, x2, y2 = corners
        clip = self.reading.clip
        if not all(math.isfinite(c) for c in corners):
            self.problems.add(where, f"{said} holds a number that is not finite")
            return None
        if x2 <= x1 or y2 <= y1:
            if clip and x2 >= x1 and y2 >= y1:
                self.left.add("box", image_id, "without width or height: left out", task="detection")
            else:
                what = "negative width or height" if x2 < x1 or y2 < y1 else "no width or no height"
                self.problems.add(where, f"{said} is empty: {what}{_clip_hint(clip)}")
            return None
        out = max(0.0, -x1, -y1, x2 - 1, y2 - 1)
        if out > max(clip, SLACK):
            how = f"sticks out by {out:.1%} of the picture's side{f' (clip allows {clip:.1%})' if clip else ''}"
            self.problems.add(where, f"{said} is not inside the image: {how}{_clip_hint(clip)}")
            return None
        x1, y1, x2, y2 = (min(1.0, max(0.0, c)) for c in corners)
        if not (x1 < x2 and y1 < y2):
            self.problems.add(where, f"{said} is not inside the image: nothing of it is left")
            return None
        if out > SLACK:
            self.left.add("box", image_id, "sticking out: cut at the picture's border", task="detection")
        return x1, y1, x2, y2


def _clip_hint(clip: float) -> str:
    return "" if clip else f". `clip = true` in dataset.toml cuts up to {CLIP:.0%} and leaves empty boxes out"
