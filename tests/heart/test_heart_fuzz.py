"""Ten thousand overlays: all ink inside the canvas, nothing changed outside the overlay, whatever the picture and text.

The oracle is drawn here, line by line on a canvas with room to spare, by Pillow alone.
"""

from __future__ import annotations

import functools
import io
import random
import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart.draw import fonts
from aloe_bench.heart.draw.overlays import Drawn, Rendering, caption, labels_fit, legend, numbered_boxes, undrawable
from aloe_bench.heart.draw.rendering import rgb
from aloe_bench.images import open_image
from aloe_bench.seeds import rng_for

pytestmark = pytest.mark.slow

CASES, PARTS = 10_000, 20
LARGE_EVERY = 101  # a hundred cases, spread over the parts
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")
# Latin with accents (composed, stacked, and as combining marks), Greek, Cyrillic, wide and narrow, high and deep.
LETTERS = (
    [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"] * 3
    + [*"WWMMiill...,,;:!?()[]{}/\\|_-–—'\"%°±≥≤µ½²‰€…@&#$jgpqyÇçŞģ"]
    + [*"éèêëäöüßñåøæœÅÄÖÜÉÝŁżčřžÿÐþıİẾỐỆữẵǺǾȬṨ"]
    + ["e\u0301", "o\u0302\u0301", "u\u0308", "A\u030a", "и\u0306"]
    + [*"αβγδΩΣΆΐΰὯᾯЖЩшфйЙЁўђҐ"]
)  # fmt: skip
Size = tuple[int, int]
Box = tuple[int, int, int, int]


def size_of(case: int, rng: random.Random) -> Size:
    """Return a size, log-uniform from 50 to 2048 a side; to 4096, one side above 2048, in a hundred cases."""

    def side(low: int, high: int) -> int:
        return round(low * (high / low) ** rng.random())

    if case % LARGE_EVERY:
        return side(50, 2048), side(50, 2048)
    sides = [side(2049, 4096), side(50, 4096)]
    rng.shuffle(sides)
    return sides[0], sides[1]


def picture_of(size: Size, mode: str, seed: int) -> Image.Image:
    """Return noise of `mode`, as a user's file of it is opened."""
    noise = np.random.default_rng(seed)
    width, height = size
    if mode == "I;16":
        image = Image.fromarray(noise.integers(0, 2**16, (height, width), dtype=np.uint16))
    elif mode == "1":
        image = Image.frombytes("1", size, noise.bytes((width + 7) // 8 * height))
    elif mode == "P":
        image = Image.frombytes("P", size, noise.bytes(width * height))
        image.putpalette(noise.bytes(768))
    else:
        image = Image.frombytes(mode, size, noise.bytes(width * height * len(Image.new(mode, (1, 1)).getbands())))
    file = io.BytesIO()
    image.save(file, "TIFF")
    return open_image(file.getvalue())


def text_of(rng: random.Random) -> str:
    """Return 1 to 200 characters in words of 1 to 60."""
    length, text = rng.randint(1, 200), ""
    while len(text) < length:
        n = min(60, 1 + int(rng.expovariate(0.15)))
        text += "".join(rng.choices(LETTERS, k=n)) + " " * rng.choice([1, 1, 1, 2])
    return text[:length].strip() or "x"


def joined(lines: tuple[str, ...]) -> str:
    return "".join(lines).replace(" ", "")


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace(" ", "")


@functools.lru_cache(maxsize=64)
def type_of(px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(fonts.PATH), px, layout_engine=ImageFont.Layout.BASIC)


def ink_of(lines: tuple[str, ...], px: int) -> int:
    """Return the darkness of `lines` in black on white, summed over all pixels."""
    total = 0
    for line in lines:
        room = Image.new("L", (int(type_of(px).getlength(line)) + 4 * px, 4 * px), 255)
        ImageDraw.Draw(room).text((2 * px, 2 * px), line, 0, type_of(px), "ls")
        total += int((255 - np.asarray(room, np.int64)).sum())
    return total


def check_text(strip: Image.Image, drawn: Drawn) -> None:
    """Check that black text on the white `strip` is there to the last bit of ink, and clear of the edges."""
    dark = 255 - np.asarray(strip.convert("L"), np.int64)
    assert dark.sum() == ink_of(drawn.lines, drawn.font_px)
    assert not (dark[0].any() or dark[-1].any() or dark[:, 0].any() or dark[:, -1].any())


def check_untouched(picture: Image.Image, drawn: Drawn) -> None:
    """Check every pixel outside the overlay against the original, and that the overlay is inside the canvas."""
    after, (x, y) = np.asarray(drawn.image), drawn.offset
    expected = ~after  # what nobody accounts for differs
    expected[y : y + picture.height, x : x + picture.width] = np.asarray(picture)
    for left, top, right, bottom in drawn.overlay:
        assert 0 <= left < right <= drawn.image.width and 0 <= top < bottom <= drawn.image.height
        expected[top:bottom, left:right] = after[top:bottom, left:right]
    assert np.array_equal(expected, after)


def check_caption(picture: Image.Image, text: str, looks: Rendering) -> bool:
    try:
        drawn = caption(picture, text, looks)
    except NoRoomError:
        band = caption(picture, text, Rendering()).overlay[0]
        assert looks.caption_position == "over" and band[3] - band[1] > picture.height
        return False
    assert joined(drawn.lines) == composed(text)
    assert drawn.font_px >= 14
    check_untouched(picture, drawn)
    check_text(drawn.image.crop(drawn.overlay[0]), drawn)
    return True


def check_legend(picture: Image.Image, text: str, looks: Rendering) -> bool:
    entries = [(colour, f"Box {i}: {text[: 50 * i]}") for i, colour in enumerate(looks.palette, 1)]
    drawn = legend(picture, entries, looks)
    assert joined(drawn.lines) == "".join(composed(entry) for _, entry in entries)
    assert drawn.image.crop((0, 0, *picture.size)).tobytes() == picture.tobytes()
    check_untouched(picture, drawn)
    if looks.legend_form == "text":
        check_text(drawn.image.crop(drawn.overlay[0]), drawn)
    return True


def boxes_of(size: Size, rng: random.Random) -> list[Box]:
    """Return four boxes, anywhere, of 2 pixels to half the picture a side; they may overlap."""
    found = []
    for _ in range(4):
        width, height = (max(2, int(side * rng.uniform(0.02, 0.5))) for side in size)
        left, top = rng.randint(0, size[0] - width), rng.randint(0, size[1] - height)
        found.append((left, top, left + width, top + height))
    return found


def check_boxes(picture: Image.Image, boxes: list[Box], looks: Rendering) -> bool:
    names = [f"Box {n}" for n in range(1, 5)]
    try:
        drawn = numbered_boxes(picture, boxes, names, looks.palette, looks)
    except NoRoomError:
        # Boxes lie anywhere here, over each other too: then no label may be nearest to its own.
        assert not labels_fit(picture.size, boxes, names, looks)
        return False
    assert drawn.image.size == picture.size
    check_untouched(picture, drawn)
    pixels = np.asarray(drawn.image.convert("RGB"))
    px, stroke = drawn.font_px, max(1, round(drawn.font_px / 10))
    for name, colour, (left, top, right, bottom) in zip(names, looks.palette, drawn.overlay[-4:], strict=True):
        room = Image.new("L", (right - left + 4 * px, bottom - top + 4 * px), 128)
        pen = ImageDraw.Draw(room)
        pen.text((2 * px, 2 * px), name, 255, type_of(px), stroke_width=stroke, stroke_fill=0)
        ink = np.argwhere(np.asarray(room) != 128)
        (y0, x0), (y1, x1) = ink.min(axis=0), ink.max(axis=0) + 1
        assert x1 - x0 <= right - left and y1 - y0 <= bottom - top
        full = int((np.asarray(room) == 255).sum())
        assert (pixels[top:bottom, left:right] == rgb(colour)).all(axis=-1).sum() >= full  # in its frame's colour
    return True


@pytest.mark.parametrize("part", range(PARTS))
def test_all_ink_is_inside_and_nothing_else_changes(part: int) -> None:
    done = 0
    for case in range(part, CASES, PARTS):
        rng = rng_for("heart fuzz", case)
        picture = picture_of(size_of(case, rng), rng.choice(MODES), case)
        text = text_of(rng)
        kind = rng.choice(["below", "below", "above", "over", "boxes", "legend"])
        if kind == "boxes":
            done += check_boxes(picture, boxes_of(picture.size, rng), Rendering())
        elif kind == "legend":
            looks = {"legend_side": rng.choice(["below", "right"]), "legend_form": rng.choice(["swatch", "text"])}
            done += check_legend(picture, text, Rendering.from_toml(looks, "fuzz"))
        else:
            done += check_caption(picture, text, Rendering.from_toml({"caption_position": kind}, "fuzz"))
    assert done > 0.8 * CASES / PARTS  # the others had no room


def test_a_single_wrong_character_anywhere_is_refused() -> None:
    picture = Image.new("RGB", (300, 300))
    wrong = [*"שםأمกไफि中の한😀🫁❤☺⌚✂\u200d\u202e\u0007\n\t\u00ad\ufe0f\ue000\U00020000"]
    for case in range(500):
        rng = rng_for("heart refusal", case)
        text, char = text_of(rng), rng.choice(wrong)
        at = rng.randint(0, len(text))
        broken = text[:at] + char + text[at:]
        assert any(f"U+{ord(char):04X}" in name for name in undrawable(broken))
        with pytest.raises(DataError, match="cannot be drawn right"):
            caption(picture, broken, Rendering())
        with pytest.raises(DataError, match="cannot be drawn right"):
            legend(picture, [("yellow", broken)], Rendering())
