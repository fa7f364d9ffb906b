"""Wrong boxes that nothing but the anatomy tells from the true one.

The true box and the wrong ones are exchangeable: nothing is drawn around the true box as a centre. Its own size is one
draw of the four, places are those that true boxes have in other pictures, and the share of ground in a box is held to
a window that does not lie around the true box's. How bright a box is counts for nothing: that is what a finding shows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart.draw.overlays import PixelBox
from aloe_bench.heart.places import (
    CELLS,
    MASK_SHARE,
    NARROW,
    Elsewhere,
    crowded,
    density_at,
    ground,
    masked,
    places_of,
    room_of,
)

if TYPE_CHECKING:
    from PIL import Image

_FEW, _MANY = 1024, 16384  # places drawn for a box: at first, and where few of them will do
_ANYWHERE = 0.02
JITTER = 0.1  # of sides, where no other picture has a true box
_TRIES, _STARTS = 16, 64  # whole sets held against `fits`; first boxes of sets drawn one box after another
_SETS = 4096  # of one place a box, tried for boxes that keep clear of each other


@dataclass(frozen=True, slots=True)
class BoxRules:
    """How wrong boxes are drawn.

    `margin_share` (of the short side; `margin_px` at least) is kept free around every annotated or chosen box. The
    shares of ground in all boxes lie within one of `ground_windows` of each other, the first with enough places. At
    least `mask_share` of a box lies in the mask, if there is one and the true box does.
    """

    margin_share: float = 0.03
    margin_px: int = 0
    ground_windows: tuple[float, ...] = (NARROW, 2 * NARROW, 4 * NARROW, 1.0)
    mask_share: float = MASK_SHARE


@dataclass(frozen=True, slots=True)
class Distractor:
    """A box that holds no annotated finding, and how it was chosen, as the table records it."""

    box: PixelBox
    facts: Mapping[str, float] = field(default_factory=dict)


def distractors(
    image: Image.Image,
    true_box: PixelBox,
    n: int,
    rng: random.Random,
    *,
    annotated: Sequence[PixelBox] = (),
    mask: Image.Image | None = None,
    elsewhere: Elsewhere | None = None,
    rules: BoxRules = BoxRules(),
    fits: Callable[[Sequence[PixelBox]], bool] = lambda boxes: True,
) -> tuple[Distractor, ...]:
    """Return `n` boxes inside `image`, clear of `true_box`, of `annotated` (all others with a finding) and each other.

    `elsewhere` tells where true boxes lie in other pictures; None is an even spread. `mask` is of the picture's size;
    a box may lie where it is not 0 (the organ, say). `fits` says of the wrong boxes whether
    they can be shown. The same picture, boxes and `rng` give the same result.
    Raises NoRoomError, saying why, if there are not `n` such places; DataError for a box outside the picture.
    """
    import numpy as np

    for box in (true_box, *annotated):
        check_inside(box, image.size)
    if mask is not None and mask.size != image.size:
        raise DataError(f"the mask is {_by(mask.size)} pixels, the picture {_by(image.size)}")
    draw = np.random.Generator(np.random.PCG64(rng.getrandbits(128)))
    search = _Search(image, true_box, annotated, mask, elsewhere or Elsewhere(), rules, draw, fits)
    return search.find(n)


class _Search:
    """One picture, what its wrong boxes must avoid, and the draws made for them."""

    def __init__(
        self,
        image: Image.Image,
        true_box: PixelBox,
        annotated: Sequence[PixelBox],
        mask: Image.Image | None,
        elsewhere: Elsewhere,
        rules: BoxRules,
        draw: Any,
        fits: Callable[[Sequence[PixelBox]], bool],
    ) -> None:
        import numpy as np

        self.size, self.rules, self.draw = image.size, rules, draw
        self.elsewhere, self.fits = elsewhere, fits
        self.true = np.array([true_box])
        self.avoid = np.array([true_box, *annotated])
        self.margin = max(rules.margin_px, round(rules.margin_share * min(image.size)))
        self.ground = ground(image)
        self.masked = None if mask is None else masked(mask)
        self.true_ground = float(self.ground.share(self.true)[0])
        self.least = 0.0 if self.masked is None else min(rules.mask_share, float(self.masked.share(self.true)[0]))

    def find(self, n: int) -> tuple[Distractor, ...]:
        """Return `n` distractors or raise NoRoomError."""
        self.n = n
        sizes = self._sizes(n)
        low = self.draw.random()  # where in the window the true box's share of ground lies
        denser = self.elsewhere.denser
        # How many wrong boxes lie where true ones are commoner: as many as of three true boxes of other pictures.
        self.wanted_denser = None if denser is None else int((self.draw.random(n) < denser).sum())
        reason = "no place is free of other boxes"
        for window in self.rules.ground_windows:
            lowest = self.true_ground - low * window
            spread = self._spread(lowest, lowest + window)
            for many in (_FEW, _MANY):
                places = [self._places(size, spread, many) for size in sizes]
                free = [some[self._usable(some)] for some in places]
                if not all(map(len, free)):
                    continue
                grounds = [self.ground.share(some) for some in free]
                fit = [s[(g >= lowest) & (g <= lowest + window)] for s, g in zip(free, grounds, strict=True)]
                if not all(map(len, fit)):
                    reason = "every free place lies on flat or border-coloured ground"
                    continue
                chosen = self._clear_of_each_other(fit)
                if chosen is not None:
                    facts = {"ground_window": window}
                    return tuple(
                        Distractor(_pixels(box), facts | {"ground": round(float(share), 4)})
                        for box, share in zip(chosen, self.ground.share(chosen), strict=True)
                    )
                reason = "no places are free of each other, or have room for the labels"
        raise NoRoomError(f"no place for {n} wrong boxes of about {_by(self._true_size())} px: {reason}")

    def _true_size(self) -> tuple[int, int]:
        left, top, right, bottom = (int(side) for side in self.true[0])
        return right - left, bottom - top

    def _sizes(self, n: int) -> list[tuple[int, int]]:
        """Return (width, height) of `n` boxes: of true boxes elsewhere, else draws of which the true box is one."""
        true, sizes = self._true_size(), self.elsewhere.sizes
        if len(sizes) >= n:
            chosen = sizes[self.draw.permutation(len(sizes))[:n]] * self.size
        else:
            factors = self.draw.uniform(1 - JITTER, 1 + JITTER, (n + 1, 2))
            chosen = true * factors[1:] / factors[0]
        return [(_fitted(w, self.size[0]), _fitted(h, self.size[1])) for w, h in chosen]

    def _places(self, size: tuple[int, int], spread: Any, many: int) -> Any:
        """Return `many` boxes of `size` at places drawn by `spread`, a row each, in the order of the draw."""
        import numpy as np

        x, y = places_of(spread, self.draw, many)
        left = np.rint(x * (self.size[0] - size[0])).astype(int)
        top = np.rint(y * (self.size[1] - size[1])).astype(int)
        return np.stack([left, top, left + size[0], top + size[1]], axis=1)

    def _spread(self, lowest: float, highest: float) -> Any:
        """Return the density to draw places by: under it, and if all boxes keep clear, each lies as true boxes do."""
        import numpy as np

        width, height = self._true_size()
        self.room = room_of(self.size, (width, height), self.ground, (lowest, highest), self.masked, self.least)
        fit = self.room.free
        cells = (np.arange(CELLS) + 0.5) / CELLS
        wanted = fit * self._density(*(axis.ravel() for axis in np.meshgrid(cells, cells))).reshape(CELLS, CELLS)
        if not wanted.any():
            return wanted + 1.0  # of places between those looked at
        free = self.size[0] - width, self.size[1] - height
        reach = [
            (side + self.margin) / room if room > 0 else 1.0
            for side, room in zip((height, width), free[::-1], strict=True)
        ]
        # Where true boxes all lie in one spot there is no room for others in it: then anywhere.
        spread = crowded(wanted, reach, self.n)
        return spread / spread.sum() + _ANYWHERE * fit / fit.sum()

    def _density(self, x: Any, y: Any) -> Any:
        """Return how common true boxes are in other pictures where in this one the corners `x` and `y` lie."""
        return density_at(self.elsewhere.density, *self.room.places(x, y))

    def _ordered(self, sets: Any) -> Any:
        """Return `sets` of boxes (set, box, side) with those first that have as many in common places as is wanted."""
        import numpy as np

        if self.wanted_denser is None or not len(sets):
            return sets
        free = np.maximum(1, np.array(self.size) - (sets[..., 2:] - sets[..., :2]))
        x, y = np.moveaxis(np.clip(sets[..., :2] / free, 0, 1), -1, 0)
        denser = (self._density(x.ravel(), y.ravel()).reshape(x.shape) > self.elsewhere.own).sum(axis=1)
        return sets[np.abs(denser - self.wanted_denser).argsort(kind="stable")]

    def _usable(self, boxes: Any) -> Any:
        """Return which of `boxes` keep their margin to all boxes with a finding, and lie in the mask."""
        import numpy as np

        usable = np.ones(len(boxes), bool)
        for other in self.avoid:
            usable &= ~self._near(boxes, other)
        if self.masked is not None:
            usable &= self.masked.share(boxes) >= self.least
        return usable

    def _near(self, boxes: Any, others: Any) -> Any:
        """Return which of `boxes` come within the margin of `others`, row by row."""
        return (
            (boxes[..., 0] < others[..., 2] + self.margin) & (boxes[..., 2] + self.margin > others[..., 0])
            & (boxes[..., 1] < others[..., 3] + self.margin) & (boxes[..., 3] + self.margin > others[..., 1])
        )  # fmt: skip

    def _clear_of_each_other(self, places: Sequence[Any]) -> Any:
        """Return one of each of `places`, by lot among whole sets, so that none is drawn after another; or None."""
        import numpy as np

        sets = np.stack([some[self.draw.integers(len(some), size=_SETS)] for some in places], axis=1)
        clear = np.ones(_SETS, bool)
        for i in range(len(places)):
            for j in range(i):
                clear &= ~self._near(sets[:, i], sets[:, j])
        some = chain(
            self._ordered(sets[clear])[:_TRIES], self._one_after_another(places, _TRIES if clear.any() else _STARTS)
        )
        return next((boxes for boxes in some if self.fits([_pixels(box) for box in boxes])), None)

    def _one_after_another(self, places: Sequence[Any], starts: int) -> Iterator[Any]:
        """Yield one of each of `places`, each next one from what is left: for places where whole sets all overlap."""
        import numpy as np

        for start in range(min(starts, len(places[0]))):
            chosen = [places[0][start]]
            for some in places[1:]:
                left = some[~np.any([self._near(some, other) for other in chosen], axis=0)]
                if not len(left):
                    break
                chosen.append(left[self.draw.integers(len(left))])
            else:
                yield np.stack(chosen)


def _pixels(box: Any) -> PixelBox:
    left, top, right, bottom = map(int, box)
    return left, top, right, bottom


def _fitted(side: float, most: int) -> int:
    return min(most, max(1, round(float(side))))


def check_inside(box: PixelBox, size: tuple[int, int]) -> None:
    """Raise DataError unless `box` lies inside a picture of `size`."""
    left, top, right, bottom = box
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise DataError(f"box {box} does not lie inside the picture of {_by(size)} pixels")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
