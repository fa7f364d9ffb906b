"""Which boxes a detection item shows: the true one, annotated ones of other classes, generated ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from aloe_bench.errors import NoRoomError
from aloe_bench.heart.boxes import BoxRules, distractors
from aloe_bench.heart.draw.overlays import PixelBox, Rendering, clamp, frame_px, labels_fit, overlap
from aloe_bench.heart.places import Elsewhere
from aloe_bench.heart.plan import ItemKey, Slot
from aloe_bench.heart.public_boxes import public_distractors

if TYPE_CHECKING:
    from PIL import Image

# Of the published generator: a picture that is mostly boxes leaves no place for wrong ones.
MAX_UNION_SHARE = 0.75
MAX_BOX_SHARE = 0.30

Annotated = tuple[int, PixelBox]  # (class, box), in file order


def refusal(annotated: Sequence[Annotated], size: tuple[int, int]) -> str | None:
    """Return why a picture of `size` with these boxes is not a detection item, or None."""
    whole = size[0] * size[1]
    boxes = [box for _, box in annotated]
    largest = max((box[2] - box[0]) * (box[3] - box[1]) for box in boxes) / whole
    if largest > MAX_BOX_SHARE:
        return f"a box covers {largest:.0%} of the image (limit {MAX_BOX_SHARE:.0%})"
    union = union_area(boxes) / whole
    if union > MAX_UNION_SHARE:
        return f"the boxes together cover {union:.0%} of the image (limit {MAX_UNION_SHARE:.0%})"
    return None


def union_area(boxes: Sequence[PixelBox]) -> int:
    """Return how many pixels lie in at least one of `boxes`."""
    columns = sorted({x for box in boxes for x in (box[0], box[2])})
    area = 0
    for left, right in pairwise(columns):
        reached = 0
        for top, bottom in sorted((b[1], b[3]) for b in boxes if b[0] <= left and b[2] >= right):
            area += max(0, bottom - max(top, reached)) * (right - left)
            reached = max(reached, bottom)
    return area


def choose(
    image: Image.Image,
    key: ItemKey,
    annotated: Sequence[Annotated],
    n: int,
    seed: int,
    mask: Image.Image | None,
    elsewhere: Elsewhere | None,
    rendering: Rendering,
    labels: Sequence[str],
    *,
    public: bool = False,
) -> list[Slot]:
    """Return `n` boxes that do not overlap, the true one (the first of its class in the file) first.

    Wrong ones are annotated boxes of other classes that touch no box of the asked class, as far as there are any,
    then generated ones that touch no annotated box; `public` draws those by the published rules. Otherwise the frames
    of all boxes keep clear of each other, and there is room for `labels`. Raises NoRoomError if there are not `n`.
    """
    gap = 0 if public else 2 * frame_px(image.size, rendering)
    asked = [box for index, box in annotated if index == key.true_class]
    chosen = [(key.true_class, asked[0])]
    others = [(index, box) for index, box in annotated if index != key.true_class]
    key.rng(seed, "candidates").shuffle(others)
    for index, box in others:
        room = clamp(box, gap, image.size)
        if len(chosen) < n and not any(overlap(room, other) for other in (*asked, *(box for _, box in chosen))):
            chosen.append((index, box))
    slots = [Slot(box, index, grey=_grey(image, box)) for index, box in chosen]
    missing = n - len(slots)
    if not missing:
        return slots
    avoid = [box for _, box in annotated if box != asked[0]]
    rng = key.rng(seed, "boxes")
    if public:
        found = public_distractors(image, asked[0], missing, rng, annotated=avoid, mask=mask)
    else:
        rules = BoxRules(margin_px=gap)

        def fits(boxes: Sequence[PixelBox]) -> bool:
            return labels_fit(image.size, [*(box for _, box in chosen), *boxes], labels, rendering)

        found = distractors(
            image, asked[0], missing, rng, annotated=avoid, mask=mask, elsewhere=elsewhere, rules=rules, fits=fits
        )
    if len(found) != missing:
        raise NoRoomError(f"{len(found)} of {missing} boxes could be placed")
    return [*slots, *(Slot(one.box, None, one, _grey(image, one.box)) for one in found)]


def _grey(image: Image.Image, box: PixelBox) -> float:
    """Return the mean grey level of `box`, 0 to 255."""
    from PIL import ImageStat

    return round(ImageStat.Stat(image.crop(box).convert("L")).mean[0], 1)
