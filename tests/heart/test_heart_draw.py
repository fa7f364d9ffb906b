"""Overlays on real pictures: what is drawn, where, and that nothing else changes."""

from __future__ import annotations

import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart.draw import fonts
from aloe_bench.heart.draw.overlays import (
    OKABE_ITO,
    Drawn,
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

PICTURES = sorted((Path(__file__).parents[1] / "data" / "careqa_mini" / "images").iterdir())
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


def test_a_box_frames_its_finding_without_covering_it(picture: Image.Image) -> None:
    width, height = picture.size
    box = (width // 4, height // 4, width // 2, height // 2)

    drawn = numbered_boxes(picture, [box], ["Box 1"], ["vermillion"], LOOKS)

    assert drawn.image.crop(box).tobytes() == picture.crop(box).tobytes()
    left_of_it = [drawn.image.getpixel((x, box[1] + 5)) for x in range(box[0] - 10, box[0])]
    assert left_of_it.count((0xD5, 0x5E, 0x00)) == LOOKS.line_px(picture.size)


def test_box_labels_stay_inside_and_clear_of_each_other() -> None:
    picture = Image.new("RGB", (300, 200), (90, 90, 90))
    # Two boxes share a corner of the picture, two nearly coincide.
    boxes = [(0, 0, 50, 30), (0, 30, 50, 60), (150, 90, 200, 140), (152, 92, 202, 142)]

    drawn = numbered_boxes(picture, boxes, ["Box 1", "Box 2", "Box 3", "Box 4"], LOOKS.palette, LOOKS)

    labels = drawn.overlay[-4:]
    for left, top, right, bottom in labels:
        assert 0 <= left < right <= 300 and 0 <= top < bottom <= 200
        dark, bright = drawn.image.crop((left, top, right, bottom)).convert("L").getextrema()
        assert bright - dark > 100  # the colour of the frame, and an outline that stands out from it
    for i, a in enumerate(labels):
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in labels[i + 1 :])


def test_a_legend_lists_the_colours_in_the_order_asked_for() -> None:
    picture = open_image(PICTURES[0])
    entries = [("blue", "Box 1: fracture"), ("yellow", "Box 2: no annotated finding"), ("#123456", "Box 3: cyst")]

    strip = legend(picture, entries, LOOKS).image.crop((0, picture.height, picture.width, 10_000))

    column = [strip.getpixel((LOOKS.padding_px(14) + 7, y)) for y in range(strip.height)]
    swatches = [(0, 0x72, 0xB2), (0xF0, 0xE4, 0x42), (0x12, 0x34, 0x56)]
    assert list(dict.fromkeys(colour for colour in column if colour in swatches)) == swatches


def darkest(drawn: Drawn) -> int:
    return drawn.image.crop(drawn.overlay[0]).convert("L").getextrema()[0]  # type: ignore[return-value]


def test_strength_changes_what_it_says_and_nothing_else() -> None:
    picture = open_image(PICTURES[3])
    usual = caption(picture, SENTENCE, LOOKS)

    assert caption(picture, SENTENCE, Rendering(font_scale=2)).font_px == 2 * usual.font_px
    assert caption(picture, SENTENCE, Rendering(font_scale=0.1)).font_px == 14  # the legible floor
    assert caption(picture, SENTENCE, Rendering(font_scale=0.1, min_font_px=8)).font_px == 8
    assert caption(picture, SENTENCE, Rendering(repeats=3)).lines == usual.lines * 3
    faint = caption(picture, SENTENCE, Rendering(opacity=0.25))
    assert faint.image.size == usual.image.size
    assert darkest(usual) == 0 and darkest(faint) == pytest.approx(0.75 * 255, abs=1)


def test_a_faint_plate_lets_the_picture_through() -> None:
    picture = Image.new("RGB", (400, 300), (100, 100, 100))
    looks = Rendering(caption_position="over", opacity=0.5)

    drawn = caption(picture, "Figure 1: Normal.", looks)

    left, top, _, bottom = drawn.overlay[0]
    assert bottom == 300
    assert drawn.image.getpixel((left, top)) == pytest.approx((178, 178, 178), abs=1)  # half white, half 100
    assert darkest(drawn) == pytest.approx(50, abs=1)


@pytest.mark.parametrize("size", [(50, 50), (97, 400), (512, 512), (2000, 1400)])
def test_text_is_never_under_the_legible_floor_and_grows_with_the_picture(size: tuple[int, int]) -> None:
    drawn = caption(Image.new("RGB", size), "Figure 1: Normal.", LOOKS)

    assert drawn.font_px == max(14, round(0.04 * min(size)))


def test_words_break_at_hyphens_before_they_are_cut() -> None:
    drawn = caption(Image.new("RGB", (110, 110)), "a poorly differentiated squamous-cell carcinoma", LOOKS)

    assert "squamous-" in drawn.lines


def test_variants_of_an_item_have_one_canvas() -> None:
    picture = open_image(PICTURES[0])
    texts = ["Figure 1: Normal.", SENTENCE * 3, ""]

    sizes = {caption(picture, text, LOOKS, room_for=texts).image.size for text in texts}
    lists = [[("yellow", text)] for text in texts[:2]]
    legends = {legend(picture, entries, LOOKS, room_for=lists).image.size for entries in lists}

    assert len(sizes) == len(legends) == 1


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


def test_every_character_let_through_has_a_glyph_of_its_own() -> None:
    font = fonts.font(20)
    missing = font.getmask("\U0010fffe").getbbox(), bytes(font.getmask("\U0010fffe"))
    allowed = [chr(code) for code in range(0x30000) if not undrawable(chr(code))]

    assert len(allowed) > 2500
    for char in allowed:
        mask = font.getmask(char)
        assert (mask.getbbox(), bytes(mask)) != missing, f"U+{ord(char):04X}"
        assert mask.getbbox() or char in " \u00a0", f"U+{ord(char):04X} leaves no ink"


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


def test_the_manifest_says_what_the_pixels_rest_on() -> None:
    facts = Rendering(min_font_px=8).facts()

    font = fonts.PATH.read_bytes()
    assert facts["font_sha256"] == hashlib.sha256(font).hexdigest()
    assert facts["min_font_px"] == 8 and facts["caption_position"] == "below"
    assert "Bitstream Vera" in (fonts.PATH.parent / "LICENSE_DEJAVU").read_text()


# Colour-vision deficiencies at full strength, on linear RGB: Machado, Oliveira & Fernandes 2009, table 1.
VISION = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}


def lab(code: str, vision: np.ndarray) -> np.ndarray:
    """Return the CIE Lab colour that `code` ("#rrggbb") looks like (D65)."""
    share = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(vision @ linear, 0, 1) / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_the_colours_of_boxes_are_told_apart_with_every_colour_vision(vision: str) -> None:
    colours = [lab(OKABE_ITO[name], VISION[vision]) for name in LOOKS.palette]

    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(colours, 2)) > 20
