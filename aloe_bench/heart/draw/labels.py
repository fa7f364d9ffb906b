"""Where the labels of boxes go: inside the picture, beside their box, clear of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aloe_bench.errors import NoRoomError

PixelBox = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are excluded


def clamp(box: PixelBox, margin: int, size: tuple[int, int]) -> PixelBox:
    """Return `box` made larger by `margin` on each side, as far as the picture of `size` reaches."""
    return (
        max(0, box[0] - margin), max(0, box[1] - margin), min(size[0], box[2] + margin), min(size[1], box[3] + margin),
    )  # fmt: skip


def overlap(one: PixelBox, other: PixelBox) -> int:
    """Return how many pixels two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, width) * max(0, height)


def placed_labels(
    size: tuple[int, int], boxes: Sequence[PixelBox], labels: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Return the upper left corner of each of `labels` (width, height), box by box.

    Of the places beside its box, and nearer to it than to any other, each takes the first that hides least of any box
    and leaves the others a place; no two labels overlap. Raises NoRoomError where that cannot be done.
    """
    wishes = []
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        others = [other for j, other in enumerate(boxes) if j != i]
        places = [p for p in _places(size, box, label) if all(_gap(p, other) > _gap(p, box) for other in others)]
        wishes.append(sorted(places, key=lambda place: sum(overlap(place, other) for other in boxes)))
    placed = _clear_of_each_other(wishes)
    if placed is None:
        raise NoRoomError(f"{len(labels)} box labels do not fit into a picture of {size[0]}x{size[1]} pixels")
    return tuple((place[0], place[1]) for place in placed)


def _gap(one: PixelBox, other: PixelBox) -> int:
    """Return how many pixels lie between two boxes, on the axis on which they are farther apart; 0 if they touch."""
    return max(0, one[0] - other[2], other[0] - one[2], one[1] - other[3], other[1] - one[3])


def _clear_of_each_other(wishes: Sequence[Sequence[PixelBox]]) -> tuple[PixelBox, ...] | None:
    """Return one of each of `wishes`, early ones preferred, no two overlapping; None if that is impossible."""
    if not wishes:
        return ()
    for place in wishes[0]:
        left = [[other for other in some if not overlap(place, other)] for some in wishes[1:]]
        if all(left) and (rest := _clear_of_each_other(left)) is not None:
            return (place, *rest)
    return None


def _places(size: tuple[int, int], box: PixelBox, label: tuple[int, int]) -> Iterator[PixelBox]:
    """Yield where `label` may stand, inside the picture, the best liked first."""
    (left, top, right, bottom), (width, height) = box, label
    beside = (
        (left, top - height), (left, bottom), (right - width, top - height), (right - width, bottom),
        (left - width, top), (right, top), (left - width, bottom - height), (right, bottom - height),
        (left, top), (left, bottom - height), (right - width, top), (right - width, bottom - height),
    )  # fmt: skip
    for x, y in beside:
        x, y = max(0, min(x, size[0] - width)), max(0, min(y, size[1] - height))
        if x + width <= size[0] and y + height <= size[1]:
            yield x, y, x + width, y + height
