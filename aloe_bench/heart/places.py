"""Where the true boxes of a source lie, so that wrong ones can be drawn from the same places.

Organs have places, and findings have too: boxes spread evenly would be told from the true one by their place alone.
A place is measured in what its picture could hold (`room`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aloe_bench.heart.room import CELLS

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
