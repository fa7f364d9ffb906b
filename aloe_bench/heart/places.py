"""Where the true boxes of a source lie, so that wrong ones can be drawn from the same places.

Organs have places, and findings have too: boxes spread evenly would be told from the true one by their place alone.
A place is where a box lies between the edges that it can reach, (0, 0) at the upper left and (1, 1) at the lower
right, so that boxes of all sizes have the same range.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

CELLS = 32
ALIKE = 12  # true boxes of about one size
ROUNDS, LEAST, ENOUGH = 16, 0.02, 0.01
# Weight, in boxes, of what is known less closely: an even spread against all classes, those against one class.
_PRIOR_BOXES = 10.0


@dataclass(frozen=True, slots=True, order=True)
class BoxPlace:
    """One true box: whose picture it is in, its class, its place (0 to 1) and its size as shares of the picture."""

    cluster: str
    class_index: int
    x: float
    y: float
    width: float
    height: float


def place_of(cluster: str, class_index: int, box: tuple[float, float, float, float]) -> BoxPlace:
    """Return the place of `box`: left, top, right, bottom as shares of the picture."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    x, y = (corner / (1 - side) if side < 1 else 0.5 for corner, side in ((left, width), (top, height)))
    return BoxPlace(cluster, class_index, min(1.0, max(0.0, x)), min(1.0, max(0.0, y)), width, height)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What true boxes of other pictures are like.

    `density` tells how often they lie in each of CELLS x CELLS places (row, column), 1 on the mean; None is an even
    spread. `sizes` are widths and heights (shares of the picture, a row each) of some that are about as large as the
    item's true box, which is one of them as far as can be told; empty if there are none.
    """

    density: Any = None
    sizes: Any = ()


def places_of(density: Any, draw: Any, many: int) -> tuple[Any, Any]:
    """Return x and y of `many` places drawn by `density`, with the numpy generator `draw`."""
    import numpy as np

    x, y = draw.random((2, many))
    cumulative = density.ravel().cumsum()
    cells = np.searchsorted(cumulative, draw.random(many) * cumulative[-1], side="right")
    rows, columns = np.divmod(np.minimum(cells, cumulative.size - 1), CELLS)
    return (columns + x) / CELLS, (rows + y) / CELLS


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
        one = np.maximum(left.sum(axis=1), LEAST)
        two = np.maximum(np.einsum("ij,ij->i", left @ clear, left) / one**2, LEAST)
        kept = drawn * one**others * two ** (others * (others - 1) / 2)
        kept /= kept.sum()
        if np.abs(kept - target).sum() < ENOUGH:
            break
        drawn = drawn * np.sqrt(target / np.maximum(kept, 1e-9))
        drawn /= drawn.sum()
    change = drawn / np.maximum(target, 1e-9)
    return wanted * change.reshape(coarse, coarse).repeat(2, axis=0).repeat(2, axis=1)


class Places:
    """The places of all true boxes of a source."""

    def __init__(self, places: Iterable[BoxPlace] = ()) -> None:
        self._by_class: dict[int, list[BoxPlace]] = defaultdict(list)
        for place in sorted(places):
            self._by_class[place.class_index].append(place)

    def elsewhere(self, place: BoxPlace, rng: random.Random) -> Elsewhere:
        """Return what true boxes in pictures of other clusters than that of `place` are like.

        The fewer boxes of the class there are, the more those of all classes count; the fewer of those, the more an
        even spread.
        """
        import numpy as np

        known = {index: [p for p in some if p.cluster != place.cluster] for index, some in self._by_class.items()}
        of_all = [other for some in known.values() for other in some]
        density = _shrunk(of_all, np.ones((CELLS, CELLS)))
        of_class = known.get(place.class_index, [])
        if 0 < len(of_class) < len(of_all):
            density = _shrunk(of_class, density)
        return Elsewhere(density.astype(np.float32), _alike(place, of_class if len(of_class) >= ALIKE else of_all, rng))


def _alike(place: BoxPlace, others: list[BoxPlace], rng: random.Random) -> Any:
    """Return sizes of `others` as large as that of `place`: those next to it when all stand in the order of their area.

    Which of its neighbours count is drawn evenly, so that its own rank among them tells nothing.
    """
    import numpy as np

    if len(others) < 3:
        return ()
    sizes = np.log([(place.width, place.height), *((other.width, other.height) for other in others)])
    lot = np.array([rng.random() for _ in sizes])
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


def _shrunk(places: list[BoxPlace], towards: Any) -> Any:
    """Return the smoothed density of `places`, the nearer to `towards` the fewer they are."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    n = len(places)
    if not n:
        return towards
    x, y = np.array([(place.x, place.y) for place in places]).T
    counts, _, _ = np.histogram2d(y, x, bins=CELLS, range=((0, 1), (0, 1)))
    # Scott's rule for two dimensions; half a cell at least.
    widths = [max(0.5, float(side.std()) * n ** (-1 / 6) * CELLS) for side in (y, x)]
    smooth = gaussian_filter(counts, widths, mode="reflect") * CELLS**2
    return (smooth + _PRIOR_BOXES * towards) / (n + _PRIOR_BOXES)
