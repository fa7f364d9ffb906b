"""Distractor boxes on real pictures, and pictures in which there is no place for them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart.boxes import PUBLIC_RULES, BoxRules, Distractor, distractors
from aloe_bench.images import open_image
from aloe_bench.seeds import rng_for

PICTURES = sorted((Path(__file__).parents[1] / "data" / "careqa_mini" / "images").iterdir())
Box = tuple[int, int, int, int]


def centre_box(size: tuple[int, int]) -> Box:
    width, height = size
    return width // 3, height // 3, width // 3 + width // 6, height // 3 + height // 6


def distance(image: Image.Image, true_box: Box, other: Box) -> tuple[float, float]:
    """Return the shares by which mean and standard deviation of grey differ, pixel by pixel."""
    true, place = (np.asarray(image.convert("L").crop(box), float) for box in (true_box, other))
    return abs(place.mean() - true.mean()) / true.mean(), abs(place.std() - true.std()) / true.std()


@pytest.mark.parametrize("scale", [1, 5])
@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_distractors_look_like_the_true_box_and_keep_clear(path: Path, scale: int) -> None:
    image = open_image(path)
    image = image.resize((image.width * scale, image.height * scale))
    true_box, annotated = centre_box(image.size), (0, 0, image.width // 5, image.height // 5)

    found = distractors(image, true_box, 3, rng_for(0, path.name), annotated=[annotated])

    rules = BoxRules()
    margin = round(rules.margin_share * min(image.size))
    for one in found:
        left, top, right, bottom = one.box
        assert left >= 0 and top >= 0 and right <= image.width and bottom <= image.height
        assert (right - left) / (true_box[2] - true_box[0]) == pytest.approx(1, abs=0.1 + 1 / 16)
        assert (bottom - top) / (true_box[3] - true_box[1]) == pytest.approx(1, abs=0.1 + 1 / 16)
        assert (one.mean_distance, one.std_distance) == pytest.approx(distance(image, true_box, one.box))
        assert one.mean_distance < one.mean_within <= 1 and one.std_distance < one.std_within <= 1
    for a, b in combinations([true_box, annotated, *(one.box for one in found)], 2):
        if {a, b} != {true_box, annotated}:
            gap = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
            assert gap >= margin


def test_the_same_rng_gives_the_same_boxes_and_another_gives_others() -> None:
    image = open_image(PICTURES[3])
    true_box = centre_box(image.size)

    def boxes(seed: int) -> list[Box]:
        return [one.box for one in distractors(image, true_box, 3, rng_for(seed, "item"))]

    assert boxes(1) == boxes(1) != boxes(2)


def two_halves() -> Image.Image:
    """Return noise of two levels: about 60 on the left, about 180 on the right."""
    noise = np.random.default_rng(0).normal(0, 12, (600, 800))
    noise[:, :400] += 60
    noise[:, 400:] += 180
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("left", [100, 600])
def test_a_distractor_lies_where_the_picture_looks_like_the_true_box(left: int) -> None:
    image = two_halves()

    for seed in range(20):
        for one in distractors(image, (left, 250, left + 80, 320), 3, rng_for(seed)):
            assert (one.box[2] <= 410) == (left < 400)
            assert one.mean_within == 0.25  # no need to relax


def test_places_are_spread_over_the_picture_and_not_bound_to_a_grid() -> None:
    image = two_halves().resize((2400, 1800))
    true_box = (300, 750, 540, 960)

    found = [one.box for seed in range(40) for one in distractors(image, true_box, 1, rng_for(seed))]

    centres = np.array([((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in found])
    assert centres[:, 1].min() < 400 and centres[:, 1].max() > 1400
    assert len({box[0] % 10 for box in found}) == 10  # a cell of the grid is 10 pixels here


def test_thresholds_are_relaxed_no_further_than_needed_and_recorded() -> None:
    levels = np.full((400, 400), 100, np.uint8)
    levels[:, 200:] = 160  # 60 % brighter
    levels[::2] += 20
    image = Image.fromarray(levels).convert("RGB")
    findings = [(0, 100, 190, 400), (90, 0, 190, 90)]  # all of the left half

    [one] = distractors(image, (20, 20, 80, 80), 1, rng_for(0), annotated=findings, rules=BoxRules(mean_within=0.1))

    assert one.box[0] >= 190
    assert one.mean_distance < one.mean_within < one.mean_distance * 1.11
    assert one.facts() == {
        "box": list(one.box),
        "mean_distance": round(one.mean_distance, 4),
        "std_distance": round(one.std_distance, 4),
        "mean_within": round(one.mean_within, 4),
        "std_within": round(one.std_within, 4),
    }


def test_a_mask_holds_the_distractors() -> None:
    image = two_halves()
    mask = Image.new("1", image.size)
    mask.paste(1, (0, 300, 400, 600))

    found = distractors(image, (100, 20, 180, 90), 3, rng_for(0), mask=mask)

    assert all(one.box[1] >= 300 - 5 and one.box[2] <= 405 for one in found)


def test_dark_background_is_no_place_for_a_distractor() -> None:
    levels = np.random.default_rng(0).normal(40, 40, (500, 500)).clip(9, 255).astype(np.uint8)
    levels[:, 250:] = np.random.default_rng(1).integers(0, 8, (500, 250))  # background with JPEG noise

    image = Image.fromarray(levels).convert("RGB")

    for seed in range(10):
        found = distractors(image, (20, 20, 100, 100), 2, rng_for(seed), rules=BoxRules(relax_to=10))
        assert all(one.box[2] <= 260 for one in found)


@pytest.mark.parametrize(
    ("true_box", "annotated", "reason"),
    [
        ((5, 5, 195, 195), [], "no place is free of other boxes"),
        ((10, 10, 60, 60), [(0, 0, 200, 200)], "no place is free of other boxes"),
        ((10, 10, 60, 60), [], "none of 1[0-9]+ free places looks like the true box"),
    ],
)
def test_where_none_fits_the_reason_is_given(true_box: Box, annotated: list[Box], reason: str) -> None:
    levels = np.zeros((200, 200), np.uint8)
    levels[10:60, 10:60] = 200
    image = Image.fromarray(levels).convert("RGB")

    with pytest.raises(NoRoomError, match=rf"no place for distractor 1 of 3 .* px\): {reason}"):
        distractors(image, true_box, 3, rng_for(0), annotated=annotated)


def test_a_box_outside_the_picture_is_refused() -> None:
    with pytest.raises(DataError, match=r"box \(0, 0, 201, 10\) does not lie inside the picture of 200x200 pixels"):
        distractors(Image.new("RGB", (200, 200)), (0, 0, 201, 10), 3, rng_for(0))


def test_public_rules_take_size_and_looks_from_all_boxes() -> None:
    image = two_halves()
    small, large = (20, 20, 60, 60), (20, 300, 220, 500)

    found: list[Distractor] = []
    for seed in range(10):
        found += distractors(image, small, 1, rng_for(seed), annotated=[large], rules=PUBLIC_RULES)

    sides = [one.box[2] - one.box[0] for one in found]
    assert min(sides) >= 0.65 * 120 - 1 and max(sides) <= 1.35 * 120 + 1
    assert np.mean(sides) > 90  # the true box has 40


def test_whatever_the_picture_distractors_are_valid_or_the_reason_is_given() -> None:
    found = dropped = 0
    for case in range(200):
        rng = rng_for("boxes", case)
        size = rng.randint(50, 700), rng.randint(50, 700)
        noise = np.random.default_rng(case).integers(0, 256, (size[1] // 9 + 1, size[0] // 9 + 1), np.uint8)
        image = Image.fromarray(noise).resize(size).convert("RGB")
        boxes = []
        for _ in range(rng.randint(1, 5)):
            width, height = (rng.randint(3, side // 2) for side in size)
            left, top = rng.randint(0, size[0] - width), rng.randint(0, size[1] - height)
            boxes.append((left, top, left + width, top + height))
        try:
            new = [one.box for one in distractors(image, boxes[0], 3, rng, annotated=boxes[1:])]
        except NoRoomError:
            dropped += 1
            continue
        found += 1
        for box in new:
            assert 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]
        for a, b in [*combinations(new, 2), *((a, b) for a in new for b in boxes)]:
            assert max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3]) >= 0
    assert found > 80 and dropped > 10


def test_a_box_of_a_few_pixels_in_a_large_picture_finds_company() -> None:
    image = open_image(PICTURES[6]).resize((3000, 3000))

    found = distractors(image, (1500, 1500, 1509, 1508), 3, rng_for(0))

    assert all(7 <= one.box[2] - one.box[0] <= 11 for one in found)
