"""Pictures small enough for one file: the clean one as a thumbnail, of each cue what it changed, at native size."""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from aloe_bench.core import ImageRef, Record
from aloe_bench.seeds import rng_for
from aloe_bench.workers import ordered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels = NDArray[np.uint32]

SIDES_PX = (448, 320, 256, 192, 144, 112)
GRID_PX = 24  # changed pixels nearer than this are one piece
MOST_PIECES = 12
# An attacked picture that differs from the clean one in more than this is another picture, with a thumbnail of its own.
OTHER_PICTURE = 0.6
SAMPLED = 12
# In base64, with how it is composed, and a tenth to spare.
CHARS_A_BYTE = 1.5
# Bytes per pixel above which a crop is not a drawing but a photograph, which is smaller with loss.
PHOTOGRAPH = 0.25
GREY_LEVELS, COLOUR_LEVELS = 4, 8
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class PictureWork:
    """The clean pictures of one item and those of its cues, by hash."""

    clean: tuple[tuple[str, ImageRef], ...]
    attacked: tuple[tuple[str, ImageRef], ...]


@dataclass(frozen=True, slots=True)
class PictureParts:
    """One picture as the page composes it: a thumbnail laid `at` a box, `pieces` over it, in pixels of `size`."""

    sha256: str
    size: tuple[int, int]
    thumbnail: bytes
    at: Box
    pieces: tuple[tuple[Box, bytes], ...] = ()


@dataclass(slots=True)
class Album:
    """All pictures of a report; `blobs` holds each image file once, `entries` is hash -> how to compose it."""

    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: list[str] = field(default_factory=list)
    side_px: int = 0
    n_items: int = 0
    n_left_out: int = 0
    _places: dict[bytes, int] = field(default_factory=dict)

    def add(self, parts: PictureParts) -> None:
        """Take one picture."""
        pieces = [[*box, self._blob(data)] for box, data in parts.pieces]
        self.entries[parts.sha256] = {
            "size": parts.size, "thumb": self._blob(parts.thumbnail), "at": parts.at, "pieces": pieces,
        }  # fmt: skip

    def _blob(self, data: bytes) -> int:
        if data not in self._places:
            self._places[data] = len(self.blobs)
            self.blobs.append(base64.b64encode(data).decode())
        return self._places[data]

    def text(self) -> str:
        """Return the image files as lines of base64, the composition of all pictures before them as one of JSON."""
        return "\n".join([json.dumps(self.entries, separators=(",", ":"), sort_keys=True), *self.blobs])


def hashes(record: Record) -> tuple[str, ...]:
    """Return the pictures that were sent with a question, by hash; empty in logs of before prompts were kept."""
    return tuple(part.image for part in record.prompt if part.image is not None)


def album(
    records: Sequence[Record], found: Mapping[str, ImageRef], *, most_items: int, budget_chars: int, n_workers: int = 1
) -> Album:
    """Return the pictures of at most `most_items` items, as large as fit in about `budget_chars` of base64.

    Which items those are depends on their ids alone. An item stands with all its cues, or is left out and counted.
    """
    items = _works(records, found)
    order = sorted(items, key=lambda item: rng_for(0, "report-pictures", item).random())
    chosen = order[:most_items]
    side = _side([items[item] for item in chosen], budget_chars)
    made = Album(side_px=side)
    size = 0
    for parts in ordered(partial(_parts_of, side=side), [items[item] for item in chosen], n_workers):
        before = len(made.blobs)
        if size > budget_chars:
            break
        for each in parts:
            made.add(each)
        size += sum(len(blob) + 1 for blob in made.blobs[before:])
        made.n_items += 1
    made.n_left_out = len(items) - made.n_items
    return made


def _works(records: Iterable[Record], found: Mapping[str, ImageRef]) -> dict[str, PictureWork]:
    """Return item -> its pictures, of the items all of whose pictures were found."""
    clean: dict[str, tuple[str, ...]] = {}
    attacked: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        if record.cue is None and not record.arm:
            clean[record.sample_id] = hashes(record)
        else:
            item = record.cue.base_id if record.cue else record.sample_id
            attacked[item] |= dict.fromkeys(hashes(record))
    works = {}
    for item, pictures in clean.items():
        others = [each for each in attacked[item] if each not in pictures]
        if pictures and all(each in found for each in (*pictures, *others)):
            works[item] = PictureWork(tuple((p, found[p]) for p in pictures), tuple((o, found[o]) for o in others))
    return works


def _side(works: Sequence[PictureWork], budget_chars: int) -> int:
    """Return the largest thumbnail side with which all of `works` are likely to fit, judged by some of them."""
    sample = works[:: max(1, len(works) // SAMPLED)][:SAMPLED]
    parts = [each for work in sample for each in _parts_of(work, SIDES_PX[0])]
    pieces = {data for each in parts for _, data in each.pieces}
    thumbnails = {each.thumbnail for each in parts}
    for side in SIDES_PX if sample else ():
        smaller = [data if side == SIDES_PX[0] else _smaller(data, side) for data in thumbnails]
        if sum(map(len, (*pieces, *smaller))) * CHARS_A_BYTE * len(works) / len(sample) <= budget_chars:
            return side
    return SIDES_PX[-1]


def _smaller(thumbnail: bytes, side: int) -> bytes:
    from PIL import Image

    return _thumbnail(Image.open(io.BytesIO(thumbnail)), side)


def _parts_of(work: PictureWork, side: int) -> list[PictureParts]:
    """Return the parts of an item's pictures."""
    made: list[PictureParts] = []
    bases: list[tuple[Pixels, PictureParts]] = []
    for sha256, ref in work.clean:
        image = ref.open()
        parts = PictureParts(sha256, image.size, _thumbnail(image, side), (0, 0, *image.size))
        bases.append((_pixels(image), parts))
        made.append(parts)
    for sha256, ref in work.attacked:
        image = ref.open()
        made.append(_composed(sha256, image, bases) or _alone(sha256, image, side))
    return made


def _alone(sha256: str, image: Image.Image, side: int) -> PictureParts:
    return PictureParts(sha256, image.size, _thumbnail(image, side), (0, 0, *image.size))


def _composed(sha256: str, image: Image.Image, bases: Sequence[tuple[Any, PictureParts]]) -> PictureParts | None:
    """Return `image` as the clean picture it was made of and what changed; None if it was made of none of them."""
    shown = _pixels(image)
    places = [(clean, parts, corner) for clean, parts in bases for corner in _corners(shown, clean)]
    if not places:
        return None
    # Every eighth pixel tells where the clean picture lies; then all of them what changed.
    clean, parts, (x, y) = min(places, key=lambda place: _share_changed(shown, place[0], place[2], 8))
    if _share_changed(shown, clean, (x, y), 1) > OTHER_PICTURE:
        return None
    height, width = clean.shape
    changed = shown != 0  # as large as the picture; all of it outside of the clean one
    changed[:] = True
    changed[y : y + height, x : x + width] = shown[y : y + height, x : x + width] != clean
    pieces = [
        (box, _encoded(image.crop((box[0], box[1], box[0] + box[2], box[1] + box[3])))) for box in _boxes(changed)
    ]
    return PictureParts(sha256, image.size, parts.thumbnail, (x, y, width, height), tuple(pieces))


def _share_changed(shown: Any, clean: Any, corner: tuple[int, int], step: int) -> float:
    x, y = corner
    height, width = clean.shape
    return float((shown[y : y + height : step, x : x + width : step] != clean[::step, ::step]).mean())


def _corners(shown: Any, clean: Any) -> list[tuple[int, int]]:
    """Return where in `shown` the clean picture may lie: in a corner, or in the middle of a side."""
    spare_y, spare_x = (shown.shape[axis] - clean.shape[axis] for axis in (0, 1))
    if spare_y < 0 or spare_x < 0:
        return []
    return list(dict.fromkeys((x, y) for y in (0, spare_y, spare_y // 2) for x in (0, spare_x, spare_x // 2)))


def _boxes(changed: Any) -> list[Box]:
    """Return boxes (x, y, width, height) that hold every changed pixel; those close to each other share one."""
    import numpy as np
    from scipy import ndimage

    height, width = changed.shape
    padded = np.zeros((-(-height // GRID_PX) * GRID_PX, -(-width // GRID_PX) * GRID_PX), dtype=bool)
    padded[:height, :width] = changed
    coarse = padded.reshape(padded.shape[0] // GRID_PX, GRID_PX, -1, GRID_PX).any(axis=(1, 3))
    labels, count = ndimage.label(coarse, structure=np.ones((3, 3)))
    found = ndimage.find_objects(labels if count <= MOST_PIECES else coarse.astype(int))
    boxes = []
    for rows, columns in found:
        top, left = rows.start * GRID_PX, columns.start * GRID_PX
        inside = changed[top : rows.stop * GRID_PX, left : columns.stop * GRID_PX]
        ys, xs = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        boxes.append((left + int(xs[0]), top + int(ys[0]), int(xs[-1] - xs[0]) + 1, int(ys[-1] - ys[0]) + 1))
    return boxes


def _pixels(image: Image.Image) -> Any:
    """Return one number a pixel."""
    import numpy as np

    return np.asarray(image.convert("RGBA")).view(np.uint32)[..., 0]


def _thumbnail(image: Image.Image, side: int) -> bytes:
    from PIL import Image

    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _webp(small, quality=60)


@lru_cache(maxsize=4096)
def _drawn(pixels: bytes, size: tuple[int, int], levels: int) -> bytes:
    """Return a crop in so many levels of each colour: drawn text stays as it is to the eye, and takes half the room."""
    from PIL import Image

    few = Image.frombytes("RGB", size, pixels).point(lambda value: value * levels // 256 * 255 // (levels - 1))
    return _webp(few, lossless=True)


def _encoded(image: Image.Image) -> bytes:
    """Return a crop as small as it stays legible: what is drawn in few levels, without loss; a photograph with some."""
    crop = image.convert("RGB")
    red, green, blue = crop.split()
    is_grey = red.tobytes() == green.tobytes() == blue.tobytes()
    drawn = _drawn(crop.tobytes(), crop.size, GREY_LEVELS if is_grey else COLOUR_LEVELS)
    return drawn if len(drawn) < PHOTOGRAPH * crop.width * crop.height else _webp(crop, quality=80)


def _webp(image: Image.Image, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", method=4, **how)
    return file.getvalue()
