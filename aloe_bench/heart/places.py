"""Where in a picture a finding could be, where true boxes lie in others, and the places that wrong ones draw.

Ground is flat, or of a colour that the picture's border has, whatever that is: black around an organ, white
collimation, the grey of a workstation, the glass of a slide. No finding is sought there.

A place is counted in what its own picture could hold: (0, 0) at the upper left of it and (1, 1) at the lower right, so
that boxes anywhere on tissue have even places, whatever the shape of the tissue. Only then do the places of true boxes
in other pictures say where in this one a finding would be. Organs have places, and findings have too: boxes spread
evenly would be told from the true one by their place alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_LONG_SIDE = 512  # the picture is looked at no larger than this: averaged noise tells ground better
_FLAT_WINDOW, _FLAT_RANGE = 7, 4  # pixels; grey levels between the darkest and the brightest of them
_COLOURS = 4
_NEAR = 10  # levels in every channel
_OF_BORDER = 0.15  # a ground colour fills at least this share of the border


@dataclass(frozen=True, slots=True)
class Shares:
    """A part of a picture; `share` tells how much of a box lies in it. `sums` is an integral image at 1 to `step`."""

    sums: Any
    step: int

    def share(self, boxes: Any) -> Any:
        """Return for each row (left, top, right, bottom) of `boxes` the share of it in the part, 0 to 1."""
        import numpy as np

        rows, columns = (side - 1 for side in self.sums.shape)
        left, top = (np.minimum(boxes[:, i] // self.step, side - 1) for i, side in ((0, columns), (1, rows)))
        right = np.clip(-(-boxes[:, 2] // self.step), left + 1, columns)
        bottom = np.clip(-(-boxes[:, 3] // self.step), top + 1, rows)
        total = self.sums[bottom, right] - self.sums[top, right] - self.sums[bottom, left] + self.sums[top, left]
        return total / ((right - left) * (bottom - top))


def ground(image: Image.Image) -> Shares:
    """Return the ground of `image`."""
    import numpy as np

    step = _step(image)
    small = np.asarray(image.convert("RGB").reduce(step))
    found = _flat(small)
    for colour in _border_colours(small):
        found |= (np.abs(small.astype(np.int16) - colour) <= _NEAR).all(axis=2)
    return _shares(found, step)


def masked(mask: Image.Image) -> Shares:
    """Return the part of a picture where `mask` is not 0."""
    import numpy as np

    step = _step(mask)
    white = mask.convert("L").point(lambda level: 255 if level else 0)
    return _shares(np.asarray(white.reduce(step)) / 255, step)


def _step(image: Image.Image) -> int:
    return max(1, -(-max(image.size) // _LONG_SIDE))


def _shares(part: Any, step: int) -> Shares:
    import numpy as np

    return Shares(np.pad(part.astype(float).cumsum(0).cumsum(1), ((1, 0), (1, 0))), step)


def _flat(picture: Any) -> Any:
    """Return where the levels around a pixel are next to equal in every channel."""
    import numpy as np
    from scipy.ndimage import maximum_filter, minimum_filter

    flat = np.ones(picture.shape[:2], bool)
    channels = range(3) if (picture != picture[..., :1]).any() else range(1)
    for channel in channels:
        levels = picture[..., channel].astype(np.int16)
        flat &= maximum_filter(levels, _FLAT_WINDOW) - minimum_filter(levels, _FLAT_WINDOW) <= _FLAT_RANGE
    return flat


def _border_colours(picture: Any) -> list[Any]:
    """Return the colours that large parts of the picture's border share."""
    import numpy as np

    width = max(1, min(picture.shape[:2]) // 50)
    edges = (picture[:width], picture[-width:], picture[:, :width], picture[:, -width:])
    ring = np.concatenate([edge.reshape(-1, 3) for edge in edges]).astype(np.int16)
    colours: list[Any] = []
    left = ring
    while len(colours) < _COLOURS and len(left) >= _OF_BORDER * len(ring):
        bins = left // 8
        codes = (bins[:, 0] << 10) + (bins[:, 1] << 5) + bins[:, 2]
        most = np.bincount(codes).argmax()
        colour = np.median(left[codes == most], axis=0).astype(np.int16)
        near = (np.abs(left - colour) <= _NEAR).all(axis=1)
        if near.sum() < _OF_BORDER * len(ring):
            break
        colours.append(colour)
        left = left[~near]
    return colours


CELLS = 32
NARROW = 0.1  # of the share of ground: how alike that of all boxes is, where there are enough places
MASK_SHARE = 0.95
_ELSEWHERE = 1e-3  # weight of a cell without room: the true box may lie between those looked at

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Room:
    """Which of CELLS x CELLS corners (row, column, over the range a box of one size can reach) a box could have."""

    free: Any

    def places(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return the places (0 to 1) of corners at shares `x` and `y` of the range."""
        import numpy as np

        weight = self.free + _ELSEWHERE
        column, row = (np.minimum((np.asarray(at) * CELLS).astype(int), CELLS - 1) for at in (x, y))
        columns = weight.sum(axis=0)
        before = columns.cumsum() - columns
        across = (before[column] + columns[column] * (x * CELLS - column)) / columns.sum()
        above = weight.cumsum(axis=0) - weight
        down = (above[row, column] + weight[row, column] * (y * CELLS - row)) / columns[column]
        return np.clip(across, 0, 1), np.clip(down, 0, 1)


def room_of(
    size: Size, box: Size, flat: Shares, grounds: tuple[float, float], organ: Shares | None, least: float
) -> Room:
    """Return where in a picture of `size` a box of size `box` could lie.

    Its share of ground (`flat`) lies between the two of `grounds`, that of the mask (`organ`) is `least` or more.
    """
    import numpy as np

    cells = (np.arange(CELLS) + 0.5) / CELLS
    left, top = (axis.ravel() for axis in np.meshgrid(cells * (size[0] - box[0]), cells * (size[1] - box[1])))
    boxes = np.stack([left, top, left + box[0], top + box[1]], axis=1).astype(int)
    share = flat.share(boxes)
    free = (share >= grounds[0]) & (share <= grounds[1])
    if organ is not None:
        free &= organ.share(boxes) >= least
    return Room(free.reshape(CELLS, CELLS))


def corner_of(size: Size, box: tuple[int, int, int, int]) -> tuple[float, float]:
    """Return where the corner of `box` lies in the range that its size can reach in a picture of `size`, 0 to 1."""
    across, down = size[0] - (box[2] - box[0]), size[1] - (box[3] - box[1])
    return (box[0] / across if across else 0.5), (box[1] / down if down else 0.5)


def place_in(
    image: Image.Image, box: tuple[int, int, int, int], mask: Image.Image | None = None
) -> tuple[float, float]:
    """Return the place of the true box `box` in what `image` could hold: on as much ground as it, and in the mask."""
    import numpy as np

    flat, row = ground(image), np.array([box])
    share = float(flat.share(row)[0])
    organ = None if mask is None else masked(mask)
    least = 0.0 if organ is None else min(MASK_SHARE, float(organ.share(row)[0]))
    grounds = (share - NARROW / 2, share + NARROW / 2)
    room = room_of(image.size, (box[2] - box[0], box[3] - box[1]), flat, grounds, organ, least)
    x, y = corner_of(image.size, box)
    u, v = room.places(np.array([x]), np.array([y]))
    return float(u[0]), float(v[0])


ALIKE = 12  # true boxes of about one size
ROUNDS, LEAST, ENOUGH = 16, 0.02, 0.01
# Weight, in boxes, of what is known less closely: an even spread against all classes, those against one class.
_PRIOR_BOXES = 10.0


@dataclass(frozen=True, slots=True, order=True)
class BoxPlace:
    """One true box: whose picture it is in, and which, its class, its place (0 to 1) and its size in pictures."""

    cluster: str
    image_id: str
    class_index: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What true boxes of other pictures are like.

    `density` tells how often they lie in each of CELLS x CELLS places (row, column), 1 on the mean; None is an even
    spread. `sizes` are widths and heights (shares of the picture, a row each) of some that are about as large as the
    item's true box, which is one of them as far as can be told; empty if there are none. `own` is the density where
    the true box lies, and `denser` the share of the others that lie denser than it; None where nothing is known.
    """

    density: Any = None
    sizes: Any = ()
    own: float = 1.0
    denser: float | None = None


def places_of(density: Any, draw: Any, many: int) -> tuple[Any, Any]:
    """Return x and y of `many` places drawn by `density`, with the numpy generator `draw`."""
    import numpy as np

    x, y = draw.random((2, many))
    cumulative = density.ravel().cumsum()
    cells = np.searchsorted(cumulative, draw.random(many) * cumulative[-1], side="right")
    rows, columns = np.divmod(np.minimum(cells, cumulative.size - 1), CELLS)
    return (columns + x) / CELLS, (rows + y) / CELLS


def density_at(density: Any, x: Any, y: Any) -> Any:
    """Return `density` between the middles of its cells, at places `x` and `y`."""
    import numpy as np
    from scipy.ndimage import map_coordinates

    if density is None:
        return np.ones(np.shape(x))
    return map_coordinates(density, [y * CELLS - 0.5, x * CELLS - 0.5], order=1, mode="nearest")


def crowded(wanted: Any, reach: Sequence[float], others: int) -> Any:
    """Return the density by which `others` + 1 boxes must be drawn so that each lies by `wanted` if all keep clear.

    Boxes less than `reach` apart (rows, columns; shares of the range) are not clear of each other. Where true boxes
    crowd around one spot, clear ones could not all lie there: those drawn are the fewer the more are in their way, and
    this is made up for, as far as it can be.
    """
    import numpy as np

    coarse = CELLS // 2
    target = wanted.reshape(coarse, 2, coarse, 2).sum(axis=(1, 3)).ravel().astype(np.float32)
    target /= target.sum()
    steps = np.abs(np.subtract.outer(np.arange(coarse), np.arange(coarse)))
    rows, columns = (np.clip(side * coarse + 0.5 - steps, 0, 1).astype(np.float32) for side in reach)
    clear = 1 - np.kron(rows, columns)  # of two places
    drawn = target
    for _ in range(ROUNDS):
        # For each place of the first box: how often one other is clear of it, and two are, of it and of each other.
        left = drawn * clear
        one = left.sum(axis=1)
        apart = one**2 - (left * _meeting(left, rows, columns)).sum(axis=1)
        one = np.maximum(one, LEAST)
        two = np.maximum(apart / one**2, LEAST)
        kept = drawn * one**others * two ** (others * (others - 1) / 2)
        kept /= kept.sum()
        if np.abs(kept - target).sum() < ENOUGH:
            break
        drawn = drawn * np.sqrt(target / np.maximum(kept, 1e-9))
        drawn /= drawn.sum()
    change = drawn / np.maximum(target, 1e-9)
    return wanted * change.reshape(coarse, coarse).repeat(2, axis=0).repeat(2, axis=1)


def _meeting(left: Any, rows: Any, columns: Any) -> Any:
    """Return for each density in `left` (a row) how much of it is not clear of each place."""
    side = len(rows)
    across = (left.reshape(-1, side) @ columns).reshape(-1, side, side)
    return (
        (across.transpose(0, 2, 1).reshape(-1, side) @ rows)
        .reshape(-1, side, side)
        .transpose(0, 2, 1)
        .reshape(left.shape)
    )


class Places:
    """The places of all true boxes of a source."""

    def __init__(self, places: Iterable[BoxPlace] = ()) -> None:
        import numpy as np

        self.boxes = tuple(sorted(places))
        self._of = {(place.image_id, place.class_index): place for place in self.boxes}
        self._clusters = np.array([place.cluster for place in self.boxes], dtype=str)
        self._classes = np.array([place.class_index for place in self.boxes], dtype=int)
        sides = [(place.x, place.y, place.width, place.height) for place in self.boxes]
        self._sides = np.array(sides, dtype=float).reshape(-1, 4)

    def of(self, image_id: str, class_index: int) -> BoxPlace | None:
        """Return the place of one box, None if it is not there."""
        return self._of.get((image_id, class_index))

    def elsewhere(self, place: BoxPlace, rng: random.Random) -> Elsewhere:
        """Return what true boxes in pictures of other clusters than that of `place` are like.

        The fewer boxes of the class there are, the more those of all classes count; the fewer of those, the more an
        even spread.
        """
        import numpy as np

        others = self._clusters != place.cluster
        of_class = self._sides[others & (self._classes == place.class_index)]
        known = of_all = self._sides[others]
        density, peak = _shrunk(of_all, np.ones((CELLS, CELLS)))
        if 0 < len(of_class) < len(of_all):
            density, peak = _shrunk(of_class, density)
        if len(of_class) >= ALIKE:
            known = of_class
        own = float(density_at(density, np.array([place.x]), np.array([place.y]))[0])
        denser = None
        if len(known) >= ALIKE:
            # Each of them is in the density itself, and the item's true box is not.
            theirs = density_at(density, known[:, 0], known[:, 1]) - peak
            denser = float((np.sum(theirs > own) + rng.random()) / (len(known) + 1))
        return Elsewhere(density.astype(np.float32), _alike(place, known[:, 2:], rng), own, denser)


def _alike(place: BoxPlace, others: Any, rng: random.Random) -> Any:
    """Return sizes of `others` as large as that of `place`: those next to it when all stand in the order of their area.

    Which of its neighbours count is drawn evenly, so that its own rank among them tells nothing.
    """
    import numpy as np

    if len(others) < 3:
        return ()
    sizes = np.log(np.concatenate([[(place.width, place.height)], others]))
    lot = np.random.Generator(np.random.PCG64(rng.getrandbits(64))).random(len(sizes))
    order = np.lexsort((lot, sizes.sum(axis=1)))
    at = int(np.flatnonzero(order == 0)[0])
    # Blocks of ALIKE, the first and the last one with what is left over: within one, all are in the same position.
    starts = range(rng.randrange(ALIKE) + ALIKE, len(order) - ALIKE + 1, ALIKE)
    first = max((start for start in starts if start <= at), default=0)
    block = order[first : min((start for start in starts if start > at), default=len(order))]
    chosen = sizes[[i for i in block if i != 0]]
    # A little of the next size, or a size that another picture has to the pixel would be a wrong box's.
    apart = ((chosen[:, None] - chosen[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    share = 0.5 * np.array([[rng.random()] for _ in chosen])
    return np.exp(chosen * (1 - share) + chosen[apart.argmin(axis=1)] * share)


def _shrunk(places: Any, towards: Any) -> tuple[Any, float]:
    """Return the smoothed density of `places`, the nearer to `towards` the fewer they are, and what one adds to it."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    n = len(places)
    if not n:
        return towards, 0.0
    x, y = places[:, 0], places[:, 1]
    counts, _, _ = np.histogram2d(y, x, bins=CELLS, range=((0, 1), (0, 1)))
    # Scott's rule for two dimensions; half a cell at least.
    widths = [max(0.5, float(side.std()) * n ** (-1 / 6) * CELLS) for side in (y, x)]
    smooth = gaussian_filter(counts, widths, mode="reflect") * CELLS**2
    peak = CELLS**2 / (2 * np.pi * widths[0] * widths[1]) / (n + _PRIOR_BOXES)
    return (smooth + _PRIOR_BOXES * towards) / (n + _PRIOR_BOXES), float(peak)
