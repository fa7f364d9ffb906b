"""Overlays on real pictures: what is drawn, where, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart.draw import (
    Rendering,
    caption,
    content_name,
    legend,
    numbered_boxes,
    outside_untouched,
    png_bytes,
    undrawable,
)
from aloe_bench.images import open_image

PICTURES = sorted((Path(__file__).parent / "data" / "careqa_mini" / "images").iterdir())
LOOKS = Rendering()
SENTENCE = "Figure 3: Image showing a moderately differentiated adenocarcinoma."


@pytest.fixture(params=PICTURES, ids=lambda path: path.stem)
def picture(request: pytest.FixtureRequest) -> Image.Image:
    return open_image(request.param)


def four_boxes(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    width, height = size
    w, h = width // 6, height // 6
    return [
        (0, 0, w, h),
        (width - w, height // 2, width, height // 2 + h),
        (width // 3, height // 3, width // 3 + w, height // 3 + h),
        (width // 8, height - h, width // 8 + w, height),
    ]


@pytest.mark.parametrize("position", ["below", "above", "over"])
def test_a_caption_leaves_every_pixel_of_the_picture_outside_it(picture: Image.Image, position: str) -> None:
    drawn = caption(picture, SENTENCE, Rendering.from_toml({"caption_position": position}, "dataset.toml"))

    assert outside_untouched(picture, drawn)
    assert "".join(drawn.lines).replace(" ", "") == SENTENCE.replace(" ", "")
    if position != "over":
        x, y = drawn.offset
        inside = drawn.image.crop((x, y, x + picture.width, y + picture.height))
        assert inside.tobytes() == picture.tobytes()
        assert drawn.image.height > picture.height
    else:
        assert drawn.image.size == picture.size


def test_boxes_leave_size_and_every_other_pixel(picture: Image.Image) -> None:
    names = [f"Box {n}" for n in range(1, 5)]

    drawn = numbered_boxes(picture, four_boxes(picture.size), names, LOOKS.palette, LOOKS)

    assert drawn.image.size == picture.size
    assert outside_untouched(picture, drawn)


@pytest.mark.parametrize("side", ["below", "right"])
def test_a_legend_stands_beside_the_picture(picture: Image.Image, side: str) -> None:
    looks = Rendering.from_toml({"legend_side": side}, "dataset.toml")

    drawn = legend(picture, [(colour, "Box: fracture") for colour in looks.palette], looks)

    assert drawn.image.crop((0, 0, *picture.size)).tobytes() == picture.tobytes()
    assert outside_untouched(picture, drawn)


def test_a_changed_pixel_outside_the_overlay_is_noticed(picture: Image.Image) -> None:
    drawn = caption(picture, SENTENCE, LOOKS)
    red, *rest = drawn.image.getpixel((5, 5))  # type: ignore[misc]
    drawn.image.putpixel((5, 5), (red ^ 1, *rest))

    assert not outside_untouched(picture, drawn)


def test_a_picture_is_written_as_the_same_bytes_and_reads_as_the_same_pixels(picture: Image.Image) -> None:
    drawn = caption(picture, SENTENCE, LOOKS)

    png = png_bytes(drawn.image, LOOKS)

    assert png == png_bytes(caption(picture, SENTENCE, LOOKS).image, LOOKS)
    assert open_image(png).tobytes() == drawn.image.tobytes()
    assert len(content_name(png)) == 68


def test_variants_of_an_item_have_one_canvas() -> None:
    picture = open_image(PICTURES[0])
    texts = ["Figure 1: Normal.", SENTENCE * 3, ""]

    sizes = {caption(picture, text, LOOKS, room_for=texts).image.size for text in texts}

    assert len(sizes) == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("كسر", "ARABIC LETTER KAF"),
        ("שבר", "HEBREW LETTER SHIN"),
        ("骨折", "CJK UNIFIED IDEOGRAPH-9AA8"),
        ("फ", "DEVANAGARI LETTER PHA"),
        ("ก", "THAI CHARACTER KO KAI"),
        ("😀", "GRINNING FACE"),
        ("☺", "WHITE SMILING FACE"),
        ("x\u0302", "COMBINING CIRCUMFLEX ACCENT"),
        ("a\nb", "U+000A"),
        ("a\u202eb", "RIGHT-TO-LEFT OVERRIDE"),
    ],
)
def test_text_that_would_come_out_wrong_is_refused_by_name(text: str, named: str) -> None:
    assert named in undrawable(text)[0]
    with pytest.raises(DataError, match="cannot be drawn right") as refusal:
        caption(Image.new("RGB", (300, 300)), text, LOOKS)
    assert named in str(refusal.value)


def test_accents_greek_and_cyrillic_are_drawn() -> None:
    assert undrawable("naïve façade Ångström e\u0301 Ελλάδα перелом ≥ 5 µm, 37 °C – ♀ ½") == ()


def test_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(NoRoomError):
        caption(Image.new("RGB", (10, 300)), "WWW", LOOKS)
    with pytest.raises(NoRoomError):
        numbered_boxes(Image.new("RGB", (30, 30)), [(2, 2, 9, 9)], ["Box 1"], ["yellow"], LOOKS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"font_shar": 0.1}, "font_shar.*Did you mean font_share"),
        ({"font_share": "big"}, "font_share is 'big'; expected a number"),
        ({"min_font_px": 12.5}, "min_font_px is 12.5; expected a whole number"),
        ({"repeats": True}, "repeats is True"),
        ({"opacity": 2}, "opacity is 2; expected a number from 0.02 to 1"),
        ({"caption_position": "left"}, "expected one of below, above, over"),
        ({"palette": ["red"]}, "palette: 'red' is not a colour"),
        ({"palette": ["blue", "blue", "yellow", "black"]}, "four different colours"),
        ({"band_colour": "black"}, "band_colour and text_colour are both 'black'"),
    ],
)
def test_a_wrong_rendering_is_refused_with_file_and_key(table: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        Rendering.from_toml(table, "SOURCE/dataset.toml")
    assert "SOURCE/dataset.toml: [rendering]" in str(refusal.value)
