"""Overlays on pictures: captions, numbered boxes with their labels, legends; not a bit changes outside the overlay.

All take a picture as `images.open_image` gives it (RGB) and return a new one at the same scale. The names a
caller needs with them (`Rendering`, `undrawable`) are here too.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart.draw import fonts
from aloe_bench.heart.draw.rendering import OKABE_ITO, RGB, Rendering, contrast, rgb
from aloe_bench.heart.draw.text import TextBlock, block, ink, undrawable

if TYPE_CHECKING:
    from PIL import Image, ImageDraw


__all__ = [
    "OKABE_ITO", "Drawn", "PixelBox", "Rendering", "caption", "content_name", "frame_px", "labels_fit",
    "legend", "numbered_boxes", "outside_untouched", "png_bytes", "undrawable",
]  # fmt: skip

Entry = tuple[str, str]  # (colour, text) of a legend


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture with an overlay.

    `overlay` holds the boxes (left, top, right, bottom; right and bottom excluded) whose pixels may differ, `offset`
    is where the original's upper left corner now lies, `lines` are the lines of text as they were broken.
    """

    image: Image.Image
    overlay: tuple[PixelBox, ...]
    offset: tuple[int, int]
    font_px: int
    lines: tuple[str, ...]


def caption(image: Image.Image, text: str, rendering: Rendering, *, room_for: Sequence[str] = ()) -> Drawn:
    """Return `image` with `text` in a band outside it, or on a plate inside it (`caption_position` "over").

    The band is high enough for `text` and for each of `room_for`: give all texts of an item to every call, and all
    variants have one canvas. An empty `text` leaves the band blank.
    Raises DataError for text that cannot be drawn right, NoRoomError if it cannot be put into the picture's width.
    """
    _check_mode(image)
    px = rendering.caption_px(image.size)
    padding = rendering.padding_px(px)
    width = image.width - 2 * padding
    words = block(text, px, width, repeats=rendering.repeats)
    room = [words, *(block(other, px, width, repeats=rendering.repeats) for other in room_for)]
    height = max(b.height for b in room) + 2 * padding
    band = _band((image.width, height), rendering)
    _write(band, words, (padding, (height - words.height) // 2), rgb(rendering.text_colour))
    if rendering.caption_position == "over":
        return _over(image, band, words, px, rendering.opacity)
    band = _faded(band, _band(band.size, rendering), rendering.opacity)
    above = rendering.caption_position == "above"
    corner, offset = ((0, 0), (0, height)) if above else ((0, image.height), (0, 0))
    canvas = _band((image.width, image.height + height), rendering)
    canvas.paste(image, offset)
    canvas.paste(band, corner)
    return Drawn(canvas, (_box_at(corner, band.size),), offset, px, words.lines)


def frame_px(size: tuple[int, int], rendering: Rendering) -> int:
    """Return how many pixels a frame in a picture of `size` reaches out of its box."""
    line = rendering.line_px(size)
    return line + 2 * _edge_px(line)


def labels_fit(size: tuple[int, int], boxes: Sequence[PixelBox], labels: Sequence[str], rendering: Rendering) -> bool:
    """Return whether `numbered_boxes` finds places for the labels of `boxes`, in this order or another."""
    if not labels:
        return True
    try:
        blocks = _label_blocks(size, labels, rendering)
        widest = max(b.width for b in blocks), max(b.height for b in blocks)
        placed_labels(size, _rings(size, boxes, rendering), [widest] * len(boxes))
    except NoRoomError:
        return False
    return True


def _rings(size: tuple[int, int], boxes: Sequence[PixelBox], rendering: Rendering) -> list[PixelBox]:
    return [clamp(box, frame_px(size, rendering), size) for box in boxes]


def _label_blocks(size: tuple[int, int], labels: Sequence[str], rendering: Rendering) -> list[TextBlock]:
    px = rendering.font_px(size)
    blocks = [block(label, px, size[0], stroke=_stroke_px(px)) for label in labels]
    if any(len(b.lines) > 1 for b in blocks):
        raise NoRoomError(f"a box label at {px} px is wider than the picture of {size[0]} px")
    return blocks


def _stroke_px(font_px: int) -> int:
    return max(1, round(font_px / 10))


def _edge_px(line: int) -> int:
    return max(1, round(line / 3))  # a thin line on both sides of the frame


def numbered_boxes(
    image: Image.Image, boxes: Sequence[PixelBox], labels: Sequence[str], colours: Sequence[str], rendering: Rendering
) -> Drawn:
    """Return `image`, of the same size, with a frame around each of `boxes` and its label beside it.

    A frame lies outside its box (inside where the box meets the picture's edge). Labels have the colour of their
    frame and stay inside the picture, clear of each other and nearer to their own box than to any other.
    Raises DataError for a box outside the picture, NoRoomError where the labels do not fit.
    """
    from PIL import ImageDraw

    _check_mode(image)
    _check_boxes(image.size, boxes, labels, colours)
    px, line = rendering.font_px(image.size), rendering.line_px(image.size)
    stroke, edge = _stroke_px(px), _edge_px(line)
    rings = _rings(image.size, boxes, rendering)
    blocks = _label_blocks(image.size, labels, rendering)
    corners = placed_labels(image.size, rings, [(b.width, b.height) for b in blocks])
    canvas = image.copy()
    draw = ImageDraw.Draw(canvas)
    for ring, colour in zip(rings, colours, strict=True):
        _frame(draw, ring, line, edge, rgb(colour))
    for words, corner, colour in zip(blocks, corners, colours, strict=True):
        _write(canvas, words, corner, rgb(colour), stroke=stroke)  # outlined: read on any ground
    overlay = [strip for ring in rings for strip in _strips(ring, line + 2 * edge)]
    overlay += [_box_at(corner, (b.width, b.height)) for corner, b in zip(corners, blocks, strict=True)]
    return Drawn(canvas, tuple(overlay), (0, 0), px, tuple(labels))


def legend(
    image: Image.Image, entries: Sequence[Entry], rendering: Rendering, *, room_for: Sequence[Sequence[Entry]] = ()
) -> Drawn:
    """Return `image` with a strip beside it that lists `entries`: a swatch of the colour (form "swatch") and the text.

    The strip is as large as `entries` and each of `room_for` need: give the entries of all variants to every call.
    Raises DataError for text that cannot be drawn right, NoRoomError if the strip is too narrow for it.
    """
    _check_mode(image)
    px = rendering.font_px(image.size)
    padding = rendering.padding_px(px)
    indent = px + padding if rendering.legend_form == "swatch" else 0
    right = rendering.legend_side == "right"
    # Beside the picture at most half its width, but never so narrow that each word is cut.
    width = max(image.width // 2, 8 * px) if right else image.width
    edge = contrast(rgb(rendering.band_colour))
    lists = [[block(text, px, width - 2 * padding - indent) for _, text in some] for some in (entries, *room_for)]
    needed = max((b.width for blocks in lists for b in blocks), default=0) + 2 * padding + indent
    height = max(sum(b.height for b in blocks) for blocks in lists) + 2 * padding
    strip = _band((needed, max(height, image.height)) if right else (width, height), rendering)
    y = padding
    for words, (colour, _) in zip(lists[0], entries, strict=True):
        if indent:
            _swatch(strip, (padding, y + (words.pitch - px) // 2), px, rgb(colour), edge)
        _write(strip, words, (padding + indent, y), rgb(rendering.text_colour))
        y += words.height
    corner = (image.width, 0) if right else (0, image.height)
    size = (image.width + strip.width, strip.height) if right else (image.width, image.height + height)
    canvas = _band(size, rendering)
    canvas.paste(image)
    canvas.paste(strip, corner)
    overlay = [_box_at(corner, strip.size)]
    if canvas.height > image.height and right:
        overlay.append((0, image.height, image.width, canvas.height))
    return Drawn(canvas, tuple(overlay), (0, 0), px, tuple(line for b in lists[0] for line in b.lines))


def png_bytes(image: Image.Image, rendering: Rendering) -> bytes:
    """Return `image` as PNG, the same bytes for the same pixels.

    A picture whose channels are equal is written as greyscale, in half the time; read as RGB it is the same.
    """
    from PIL import ImageChops

    if image.mode == "RGB":
        red, green, blue = image.split()
        if not (ImageChops.difference(red, green).getbbox() or ImageChops.difference(green, blue).getbbox()):
            image = red
    file = io.BytesIO()
    # What Pillow would otherwise copy from the source file into ours.
    image.save(file, "PNG", compress_level=rendering.png_level, icc_profile=None, transparency=None)
    return file.getvalue()


def content_name(png: bytes) -> str:
    """Return the file name of `png`: its SHA-256 and ".png"."""
    return f"{hashlib.sha256(png).hexdigest()}.png"


def outside_untouched(before: Image.Image, drawn: Drawn) -> bool:
    """Return whether every pixel outside `drawn.overlay` is one of `before`, unchanged to the bit."""
    from PIL import ImageChops

    # Inverted, so that a pixel that neither the overlay nor `before` accounts for differs.
    expected = ImageChops.invert(drawn.image)
    expected.paste(before, drawn.offset)
    for box in drawn.overlay:
        expected.paste(drawn.image.crop(box), box)
    return expected.tobytes() == drawn.image.tobytes()


def _check_mode(image: Image.Image) -> None:
    if image.mode != "RGB":
        raise ValueError(f"a picture in mode {image.mode}; overlays are drawn on what images.open_image returns (RGB)")


def _check_boxes(
    size: tuple[int, int], boxes: Sequence[PixelBox], labels: Sequence[str], colours: Sequence[str]
) -> None:
    if not len(boxes) == len(labels) == len(colours):
        raise ValueError(f"{len(boxes)} boxes, {len(labels)} labels, {len(colours)} colours; expected as many of each")
    for box in boxes:
        left, top, right, bottom = box
        if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
            raise DataError(f"box {box} does not lie inside the picture of {size[0]}x{size[1]} pixels")


def _band(size: tuple[int, int], rendering: Rendering) -> Image.Image:
    from PIL import Image

    return Image.new("RGB", size, rgb(rendering.band_colour))


def _faded(image: Image.Image, ground: Image.Image, opacity: float) -> Image.Image:
    from PIL import Image

    return image if opacity == 1 else Image.blend(ground, image, opacity)


def _over(image: Image.Image, band: Image.Image, words: TextBlock, px: int, opacity: float) -> Drawn:
    """Return `image` with the plate `band` mixed into its lower edge."""
    if band.height > image.height:
        raise NoRoomError(f"a caption of {band.height} px does not fit into a picture {image.height} px high")
    box = (0, image.height - band.height, image.width, image.height)
    canvas = image.copy()
    canvas.paste(_faded(band, image.crop(box), opacity), box)
    return Drawn(canvas, (box,), (0, 0), px, words.lines)


def _write(image: Image.Image, words: TextBlock, corner: tuple[int, int], colour: RGB, *, stroke: int = 0) -> None:
    """Draw `words` with the upper left corner of its ink box at `corner`."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    x, y = corner[0], corner[1] + words.ascent
    for i, line in enumerate(words.lines):
        left = ink(line, words.px)[0] - stroke
        draw.text(
            (x - left, y + i * words.pitch), line, colour, fonts.font(words.px), "ls",
            stroke_width=stroke, stroke_fill=contrast(colour),
        )  # fmt: skip


def _frame(draw: ImageDraw.ImageDraw, ring: PixelBox, line: int, edge: int, colour: RGB) -> None:
    """Draw a frame of `line` pixels between two of `edge` that stand out from it, on bright and dark ground."""
    left, top, right, bottom = ring
    draw.rectangle((left, top, right - 1, bottom - 1), outline=contrast(colour), width=line + 2 * edge)
    inner = (left + edge, top + edge, right - edge - 1, bottom - edge - 1)
    if inner[0] <= inner[2] and inner[1] <= inner[3]:
        draw.rectangle(inner, outline=colour, width=line)


def _strips(ring: PixelBox, width: int) -> tuple[PixelBox, ...]:
    """Return the four sides, `width` pixels wide, of the frame inside `ring`."""
    left, top, right, bottom = ring
    return (
        (left, top, right, min(bottom, top + width)),
        (left, max(top, bottom - width), right, bottom),
        (left, top, min(right, left + width), bottom),
        (max(left, right - width), top, right, bottom),
    )


def _swatch(image: Image.Image, corner: tuple[int, int], side: int, colour: RGB, edge: RGB) -> None:
    from PIL import ImageDraw

    x, y = corner
    ImageDraw.Draw(image).rectangle((x, y, x + side - 1, y + side - 1), colour, edge, 1)


def _box_at(corner: tuple[int, int], size: tuple[int, int]) -> PixelBox:
    return corner[0], corner[1], corner[0] + size[0], corner[1] + size[1]


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
