"""Which part of a picture is ground: flat, or of a colour that its border has, whatever that colour is.

Black around an organ, white collimation, the grey of a workstation, the glass of a slide: no finding is sought there.
"""

from __future__ import annotations

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
