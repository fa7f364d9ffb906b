"""Pictures known by their 64-bit perceptual hash, and which of many lie within a few bits of which others.

The hash thresholds 64 coefficients at their median, so an ordinary picture has 32 bits set and distances are even.
Blank and made-up pictures have another count ("degenerate") and collide: they are compared by their pixels alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError
from aloe_bench.images import decoded, phash
from aloe_bench.pixels import one_line

if TYPE_CHECKING:
    from PIL import Image

ORDINARY_BITS = 32
LARGEST_RADIUS = 8
_BITS = 64
# Bits of each of the three parts a hash is cut into for the search.
_PARTS = (22, 21, 21)
_ROWS_AT_ONCE = 1 << 18
_PAIRS_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class PicturePrint:
    """A picture by content: hash of its file, size after EXIF orientation, perceptual hash.

    `pixels` is the hash of the RGB pixels where the perceptual hash is degenerate, else empty.
    """

    sha256: str
    size: tuple[int, int]
    phash: int
    pixels: str

    @property
    def degenerate(self) -> bool:
        """Whether its perceptual hash says little, as that of a blank picture does."""
        return bool(self.pixels)


def file_print(path: Path) -> PicturePrint:
    """Return the print of the picture at `path`, read and decoded once. Raises DataError as decoding does."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({one_line(error)}). Check the path, or fetch it again.") from error
    if not data:
        raise DataError(f"{path}: the file is empty; expected a picture. Fetch or export it again.")
    image = decoded(data, str(path))
    return image_print(image, hashlib.sha256(data).hexdigest())


def image_print(image: Image.Image, sha256: str) -> PicturePrint:
    """Return the print of an upright picture whose file has the hash `sha256`."""
    value = int(phash(image), 16)
    if value.bit_count() == ORDINARY_BITS:
        return PicturePrint(sha256, image.size, value, "")
    rgb = image.convert("RGB")
    return PicturePrint(sha256, image.size, value, hashlib.sha256(repr(rgb.size).encode() + rgb.tobytes()).hexdigest())


def parsed_print(text: str) -> PicturePrint:
    """Return the print that `images.picture_print` wrote; file and size are not known from it."""
    value, _, pixels = text.partition("/")
    return PicturePrint("", (0, 0), int(value, 16), pixels)


@dataclass(frozen=True, slots=True)
class PrintTable:
    """Many prints as columns: `hashes` a uint64 array, `pixels` as many texts, empty where a hash is ordinary."""

    hashes: Any
    pixels: Sequence[str]

    @classmethod
    def of(cls, prints: Sequence[PicturePrint]) -> PrintTable:
        """Return the prints as columns."""
        import numpy as np

        return cls(np.array([shown.phash for shown in prints], np.uint64), [shown.pixels for shown in prints])


def matches(many: PrintTable, few: PrintTable, radius: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield every two prints that are one picture as far as hashes tell, block by block: rows, columns, distances.

    Ordinary hashes at most `radius` bits apart; degenerate ones only where the pixels are equal, at distance 0.
    """
    import numpy as np

    mine, theirs = (np.flatnonzero([not p for p in side.pixels]) for side in (many, few))
    unique, inverse = np.unique(np.asarray(few.hashes, np.uint64)[theirs], return_inverse=True)
    order = theirs[np.argsort(inverse, kind="stable")]
    counts = np.bincount(inverse, minlength=len(unique))
    begins = np.cumsum(counts) - counts
    for rows, places, distances in near(np.asarray(many.hashes, np.uint64)[mine], unique, radius):
        times = counts[places]
        within = np.arange(int(times.sum())) - np.repeat(np.cumsum(times) - times, times)
        columns = order[np.repeat(begins[places], times) + within]
        yield mine[np.repeat(rows, times)], columns, np.repeat(distances, times)
    by_pixels: dict[str, list[int]] = {}
    for j, pixels in enumerate(few.pixels):
        if pixels:
            by_pixels.setdefault(pixels, []).append(j)
    equal = [(i, j) for i, pixels in enumerate(many.pixels) if pixels for j in by_pixels.get(pixels, ())]
    if equal:
        pairs = np.array(equal)
        yield pairs[:, 0], pairs[:, 1], np.zeros(len(pairs), np.uint8)


def near(many: Any, few: Any, radius: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield every pair of hashes at most `radius` (0 to 8) bits apart, block by block: rows, columns, distances.

    `many` and `few` are uint64 arrays; rows index `many`, columns index `few`. Each pair comes once, in an order that
    means nothing; blocks are small, however many pairs there are. Exact, by the pigeonhole principle: of three parts
    whose allowances sum to radius - 2 at least one is within its own, so `few` is listed under every value so near
    to it. `few` should hold no value twice.
    Source: Norouzi et al., Fast exact search in Hamming space with multi-index hashing, 2014.
    """
    import numpy as np

    if not 0 <= radius <= LARGEST_RADIUS:
        raise ValueError(f"radius {radius}; expected 0 to {LARGEST_RADIUS}")
    many, few = np.asarray(many, np.uint64), np.asarray(few, np.uint64)
    if not len(many) or not len(few):
        return
    earlier: list[_Part] = []
    for part in _parts(few, radius):
        for start in range(0, len(many), _ROWS_AT_ONCE):
            yield from part.pairs(many[start : start + _ROWS_AT_ONCE], start, radius, earlier)
        earlier.append(part.without_entries())


@dataclass(frozen=True, slots=True)
class _Part:
    """The hashes of the smaller side listed under every value of one part that is near enough to theirs."""

    shift: int
    mask: int
    allowance: int
    offsets: Any  # value of the part -> where its entries begin
    hashes: Any  # of the entries
    columns: Any

    def without_entries(self) -> _Part:
        """Return what tells whether two hashes are near in this part, without the index."""
        return replace(self, offsets=None, hashes=None, columns=None)

    def pairs(self, block: Any, start: int, radius: int, earlier: list[_Part]) -> Iterator[tuple[Any, Any, Any]]:
        """Yield the near pairs of `block`, which begins at row `start`, that no earlier part found."""
        import numpy as np

        keys = ((block >> np.uint64(self.shift)) & np.uint64(self.mask)).astype(np.int64)
        begins = self.offsets[keys]
        counts = self.offsets[keys + 1] - begins
        ends = np.cumsum(counts, dtype=np.int64)
        low = 0
        while low < len(block):
            done = int(ends[low - 1]) if low else 0
            high = max(low + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
            if ends[high - 1] > done:
                yield from self._compared(block, slice(low, high), begins, counts, start, radius, earlier)
            low = high

    def _compared(
        self, block: Any, some: slice, begins: Any, counts: Any, start: int, radius: int, earlier: list[_Part]
    ) -> Iterator[tuple[Any, Any, Any]]:
        import numpy as np

        begins, counts = begins[some], counts[some]
        rows = np.repeat(np.arange(some.start, some.stop), counts)
        places = np.arange(len(rows)) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        apart = block[rows] ^ self.hashes[places]
        close = np.flatnonzero(np.bitwise_count(apart) <= radius)
        apart = apart[close]
        for part in earlier:
            new = np.bitwise_count((apart >> np.uint64(part.shift)) & np.uint64(part.mask)) > part.allowance
            apart, close = apart[new], close[new]
        if len(close):
            yield rows[close] + start, self.columns[places[close]].astype(np.int64), np.bitwise_count(apart)


def _parts(few: Any, radius: int) -> Iterator[_Part]:
    """Yield one index a part; the parts' allowances sum to as little as is enough for `radius`."""
    import numpy as np

    shift = _BITS
    for i, bits in enumerate(_PARTS):
        shift -= bits
        allowance = (radius - i) // len(_PARTS) if radius >= i else -1
        if allowance < 0:
            continue
        own = ((few >> np.uint64(shift)) & np.uint64((1 << bits) - 1)).astype(np.uint32)
        flips = np.array(
            [sum(1 << b for b in chosen) for n in range(allowance + 1) for chosen in combinations(range(bits), n)],
            np.uint32,
        )
        keys = (own[:, None] ^ flips[None, :]).ravel()
        order = np.argsort(keys, kind="stable")
        columns = (order // len(flips)).astype(np.uint32)
        counts = np.bincount(keys, minlength=1 << bits)
        offsets = np.zeros((1 << bits) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        yield _Part(shift, (1 << bits) - 1, allowance, offsets, few[columns], columns)
