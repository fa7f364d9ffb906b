"""Wrong boxes by the rules of the published generator (`--parity`); how well they tell the true one: docs/heart.md.

Places look like the true box and hold no annotated finding.

Every place of a box is scored at once on a coarse grid (integral images), one is drawn by binary search in the
cumulative sum of the scores, and the pixels of that one place are then measured exactly. Nothing is sampled pixel by
pixel. Colour pictures are compared in grey (ITU-R 601 luma), target and candidate alike.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart.boxes import Distractor, check_inside
from aloe_bench.heart.draw.overlays import PixelBox, overlap

if TYPE_CHECKING:
    from PIL import Image

_CELLS, _MOST_CELLS = 256, 1024  # of the grid, on the long side: usually, and for boxes small against the picture
_CHECKS = 64  # places measured exactly before the thresholds are relaxed


@dataclass(frozen=True, slots=True)
class PublicRules:
    """The public generator's defaults. Not reproduced: boxes clipped at the picture's edge.

    Sides are the mean of all annotated boxes' times U(1 - size_jitter, 1 + size_jitter). A place qualifies if the mean
    and the standard deviation of its grey levels differ from theirs by less than the shares `mean_within` and
    `std_within`; if none does, both grow by the factor `relax_by`, up to `relax_to`. At least `mask_share` of it must
    lie in the mask, if there is one. `crowding` is the factor on a place's score within one box size of a chosen box.
    """

    size_jitter: float = 0.35
    mean_within: float = 0.25
    std_within: float = 0.5
    relax_by: float = 1.1
    relax_to: float = 1.01
    mask_share: float = 0.95
    crowding: float = 0.1
    restarts: int = 10


def public_distractors(
    image: Image.Image,
    true_box: PixelBox,
    n: int,
    rng: random.Random,
    *,
    annotated: Sequence[PixelBox] = (),
    mask: Image.Image | None = None,
    rules: PublicRules = PublicRules(),
) -> tuple[Distractor, ...]:
    """Return `n` boxes of about the size and grey levels of the boxes with a finding, clear of them and each other.

    `annotated` are all other boxes with a finding (or already used): none is touched. `mask` is of the picture's size;
    a box may lie where it is not 0 (the organ, say). The same picture, boxes and `rng` give the same result.
    Raises NoRoomError, saying why, if there are not `n` such places; DataError for a box outside the picture.
    """
    for box in (true_box, *annotated):
        check_inside(box, image.size)
    if mask is not None and mask.size != image.size:
        raise DataError(f"the mask is {_by(mask.size)} pixels, the picture {_by(image.size)}")
    search = _Search(image, true_box, annotated, mask, rules)
    reason = NoRoomError("")
    for _ in range(rules.restarts + 1):
        try:
            return search.find(n, rng)
        except NoRoomError as error:  # the first boxes may have taken the only places for the others
            reason = error
    raise reason


@dataclass(frozen=True, slots=True)
class _Look:
    """Mean and standard deviation of grey levels, share inside the mask."""

    mean: Any
    std: Any
    masked: Any


class _Search:
    """One picture's grid, and what its distractors must resemble and avoid."""

    def __init__(
        self,
        image: Image.Image,
        true_box: PixelBox,
        annotated: Sequence[PixelBox],
        mask: Image.Image | None,
        rules: PublicRules,
    ) -> None:
        import numpy as np

        self.rules = rules
        self.size = image.size
        self.grey = np.asarray(image.convert("L"))
        self.mask = None if mask is None else np.asarray(mask.convert("L")) > 0
        self.avoid = (true_box, *annotated)
        models = self.avoid
        self.model_size = tuple(sum(box[i + 2] - box[i] for box in models) / len(models) for i in (0, 1))
        looks = [self._look_at(box) for box in models]
        # One grey level at least: a share of nothing is not a threshold.
        self.mean = max(1.0, float(np.mean([look.mean for look in looks])))
        self.std = max(1.0, float(np.mean([look.std for look in looks])))
        self.cell = _cell(image.size, min(self.model_size))
        self.sums = _integrals(self.grey, self.mask, self.cell)

    def find(self, n: int, rng: random.Random) -> tuple[Distractor, ...]:
        """Return `n` distractors, one after the other, or raise NoRoomError."""
        found: list[Distractor] = []
        while len(found) < n:
            size = self._size(rng)
            chosen = self._one(size, [one.box for one in found], rng)
            if isinstance(chosen, str):
                raise NoRoomError(f"no place for distractor {len(found) + 1} of {n} ({_by(size)} px): {chosen}")
            found.append(chosen)
        return tuple(found)

    def _size(self, rng: random.Random) -> tuple[int, int]:
        """Return (width, height) near the model's."""
        jitter = self.rules.size_jitter
        sides = [max(round(side * rng.uniform(1 - jitter, 1 + jitter)), 1) for side in self.model_size]
        return sides[0], sides[1]

    def _one(self, size: tuple[int, int], chosen: Sequence[PixelBox], rng: random.Random) -> Distractor | str:
        """Return a distractor of `size`, or why there is none."""
        import numpy as np

        rules = self.rules
        if size[0] > self.size[0] or size[1] > self.size[1]:
            return f"it is larger than the picture of {_by(self.size)}"
        free = self._free(size, chosen)
        if not free.any():
            return "no place is free of other boxes"
        look = self._looks(size)
        mean_off, std_off = abs(look.mean - self.mean) / self.mean, abs(look.std - self.std) / self.std
        usable = free & (look.masked >= rules.mask_share)
        score = np.where(usable, np.clip(1 - mean_off, 0, 1) * np.clip(1 - std_off, 0, 1), 0.0)
        score = self._thinned(score, size, chosen)
        mean_within, std_within = rules.mean_within, rules.std_within
        while True:
            close = np.where((mean_off < mean_within) & (std_off < std_within), score, 0.0)
            for x, y in self._draws(close, rng):
                distance = self._measured((x, y, x + size[0], y + size[1]), chosen)
                if distance and distance[0] < mean_within and distance[1] < std_within:
                    return Distractor((x, y, x + size[0], y + size[1]), _facts(*distance, mean_within, std_within))
            if mean_within >= rules.relax_to and std_within >= rules.relax_to:
                limit = f"even at {rules.relax_to:.0%} off"
                return f"none of {int(free.sum())} free places looks like the true box, {limit}"
            mean_within = max(mean_within, min(rules.relax_to, mean_within * rules.relax_by))
            std_within = max(std_within, min(rules.relax_to, std_within * rules.relax_by))

    def _draws(self, score: Any, rng: random.Random) -> Any:
        """Yield (x, y) of places drawn by `score`, each once; the exact place is a free choice within its cell."""
        import numpy as np

        flat = score.ravel()
        for _ in range(_CHECKS):
            cumulative = np.cumsum(flat)
            if not cumulative[-1] > 0:
                return
            # As `random.choices` does it; `min` for a product rounded up to the total.
            at = min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")), flat.size - 1)
            row, column = divmod(at, score.shape[1])
            yield column * self.cell + rng.randrange(self.cell), row * self.cell + rng.randrange(self.cell)
            yield column * self.cell, row * self.cell
            flat[at] = 0.0

    def _corners(self, size: tuple[int, int]) -> tuple[Any, Any]:
        """Return the x and the y, both one-dimensional, of the grid places a box of `size` can have."""
        import numpy as np

        x, y = (np.arange(0, self.size[i] - size[i] + 1, self.cell) for i in (0, 1))
        return x, y

    def _free(self, size: tuple[int, int], chosen: Sequence[PixelBox]) -> Any:
        """Return for each grid place (row, column) whether a box of `size` overlaps no other."""
        import numpy as np

        xs, ys = self._corners(size)
        free = np.ones((len(ys), len(xs)), bool)
        for box in (*self.avoid, *chosen):
            left, top, right, bottom = box
            free &= ~np.outer((ys < bottom) & (ys + size[1] > top), (xs < right) & (xs + size[0] > left))
        return free

    def _thinned(self, score: Any, size: tuple[int, int], chosen: Sequence[PixelBox]) -> Any:
        """Return `score` made smaller near the chosen boxes, so that distractors spread over the picture."""
        import numpy as np

        xs, ys = self._corners(size)
        for left, top, right, bottom in chosen:
            near_x = (xs < right + size[0]) & (xs + size[0] > left - size[0])
            near_y = (ys < bottom + size[1]) & (ys + size[1] > top - size[1])
            score = np.where(np.outer(near_y, near_x), score * self.rules.crowding, score)
        return score

    def _looks(self, size: tuple[int, int]) -> _Look:
        """Return the looks of a box of `size` at every grid place, to the accuracy of the grid."""
        import numpy as np

        xs, ys = self._corners(size)
        rows, columns = ys // self.cell, xs // self.cell
        height, width = (max(1, round(size[i] / self.cell)) for i in (1, 0))
        last_row, last_column = (side - 1 for side in self.sums["area"].shape)
        lower, right = np.minimum(rows + height, last_row), np.minimum(columns + width, last_column)

        def total(name: str) -> Any:
            table = self.sums[name]
            return (
                table[np.ix_(lower, right)] - table[np.ix_(rows, right)]
                - table[np.ix_(lower, columns)] + table[np.ix_(rows, columns)]
            )  # fmt: skip

        area = total("area")
        mean = total("level") / area
        std = np.sqrt(np.maximum(total("square") / area - mean**2, 0))
        return _Look(mean, std, total("masked") / area)

    def _look_at(self, box: PixelBox) -> _Look:
        """Return the looks of the pixels in `box`, exactly."""
        left, top, right, bottom = box
        grey = self.grey[top:bottom, left:right]
        masked = 1.0 if self.mask is None else float(self.mask[top:bottom, left:right].mean())
        return _Look(float(grey.mean()), float(grey.std()), masked)

    def _measured(self, box: PixelBox, chosen: Sequence[PixelBox]) -> tuple[float, float] | None:
        """Return the exact distances of `box` from the true one, None if it may not stand there."""
        if box[2] > self.size[0] or box[3] > self.size[1]:
            return None
        if any(overlap(box, other) for other in (*self.avoid, *chosen)):
            return None
        look = self._look_at(box)
        if look.masked < self.rules.mask_share:
            return None
        return abs(look.mean - self.mean) / self.mean, abs(look.std - self.std) / self.std


def _facts(mean_distance: float, std_distance: float, mean_within: float, std_within: float) -> dict[str, float]:
    """Return how far a box's grey levels are from the boxes' with a finding, and how far they might have been."""
    distances = {"mean_distance": mean_distance, "std_distance": std_distance}
    limits = {"mean_within": mean_within, "std_within": std_within}
    return {name: round(value, 4) for name, value in (distances | limits).items()}


def _cell(size: tuple[int, int], side: float) -> int:
    """Return the side of a grid cell: a 256th of the picture, or a quarter of the box if that is finer."""
    usual, finest = (-(-max(size) // cells) for cells in (_CELLS, _MOST_CELLS))
    return max(1, finest, min(usual, int(side / 4)))


def _integrals(grey: Any, mask: Any, cell: int) -> dict[str, Any]:
    """Return integral images over cells by name, each with a leading row and column of zeros."""
    import numpy as np

    rows, columns = (np.arange(0, side, cell) for side in grey.shape)

    def integral(values: Any, dtype: Any = np.uint32) -> Any:
        # Along rows first, in small integers: a cell holds at most 4096 pixels of at most 255 squared.
        per_cell = np.add.reduceat(np.add.reduceat(values, rows, axis=0, dtype=dtype), columns, axis=1)
        return np.pad(per_cell.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    level = integral(grey)
    edges = [np.append(side, end) for side, end in zip((rows, columns), grey.shape, strict=True)]
    area = np.outer(*edges)
    return {
        "level": level,
        "square": integral(np.square(grey, dtype=np.uint16)),
        "masked": area if mask is None else integral(mask),
        "area": area,
    }


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
