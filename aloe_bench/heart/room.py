"""Where in a picture a box could lie, and a box's place as measured in that room.

A place is counted in what its own picture could hold: (0, 0) at the upper left of it and (1, 1) at the lower right, so
that boxes anywhere on tissue have even places, whatever the shape of the tissue. Only then do the places of true boxes
in other pictures say where in this one a finding would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aloe_bench.heart.ground import Shares, ground, masked

if TYPE_CHECKING:
    from PIL import Image

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
