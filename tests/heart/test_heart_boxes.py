"""Wrong boxes: nothing but the anatomy tells the true one, on noise, on procedural and on real pictures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart.boxes import distractors
from aloe_bench.heart.measure.geometry import ItemBoxes, above_chance, boxes_alone, medoid_share
from aloe_bench.heart.places import BoxPlace, Places, ground, place_in
from aloe_bench.images import open_image
from aloe_bench.seeds import rng_for
from tests.support.boxes import Box, Scene, noise, scene, spot_box, tissue_box

PICTURES = sorted((Path(__file__).parents[1] / "data" / "careqa_mini" / "images").iterdir())
MODALITIES = ("mri", "xray", "ultrasound", "skin")


def centre_box(size: tuple[int, int]) -> Box:
    width, height = size
    return width // 3, height // 3, width // 3 + width // 6, height // 3 + height // 6


def items_of(scenes: list[tuple[Image.Image, Box]], seed: int) -> list[ItemBoxes]:
    """Return the boxes of an item a picture, as `attack` makes them of a whole source."""
    places = [
        BoxPlace(
            str(i), str(i), 0, *place_in(image, box), (box[2] - box[0]) / image.width, (box[3] - box[1]) / image.height
        )
        for i, (image, box) in enumerate(scenes)
    ]
    known = Places(places)
    items = []
    for i, ((image, box), place) in enumerate(zip(scenes, places, strict=True)):
        elsewhere = known.elsewhere(place, rng_for(seed, "sizes", i))
        try:
            wrong = [one.box for one in distractors(image, box, 3, rng_for(seed, "boxes", i), elsewhere=elsewhere)]
        except NoRoomError:
            continue
        shares = [tuple(side / image.width for side in some) for some in (box, *wrong)]
        items.append(ItemBoxes(str(i), "made", 0, tuple(shares)))  # type: ignore[arg-type]
    assert len(items) > 0.97 * len(scenes)
    return items


def found_by(items: list[ItemBoxes]) -> dict[str, float]:
    facts = medoid_share(items)["generated"]
    return {rule: facts[rule]["share"] for rule in ("size", "place", "all", "prior")}


def auc_of_a_forest(items: list[ItemBoxes]) -> float:
    """Return the area under the curve of a random forest that sees geometry alone, 10 parts, whole pictures apart."""
    forest = pytest.importorskip("sklearn.ensemble", reason="needs scikit-learn").RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    boxes = np.array([item.boxes for item in items])
    side, centre = boxes[..., 2:] - boxes[..., :2], (boxes[..., 2:] + boxes[..., :2]) / 2
    plain = np.concatenate([centre, side, side[..., :1] * side[..., 1:], side[..., :1] / side[..., 1:]], axis=2)
    own = plain - plain.mean(axis=1, keepdims=True)
    apart = np.sort(np.linalg.norm(centre[:, :, None] - centre[:, None], axis=3), axis=2)[..., 1:]
    seen = np.concatenate([plain, own, np.abs(own), apart], axis=2).reshape(4 * len(items), -1)
    true, picture = np.tile([1, 0, 0, 0], len(items)), np.repeat(np.arange(len(items)), 4)
    scores = np.zeros(len(true))
    for train, test in GroupKFold(10).split(seen, true, picture):
        model = forest(60, min_samples_leaf=5, random_state=0).fit(seen[train], true[train])
        scores[test] = model.predict_proba(seen[test])[:, 1]
    return float(roc_auc_score(true, scores))


def noise_scenes(n: int, seed: int) -> list[tuple[Image.Image, Box]]:
    rng = np.random.default_rng(seed)
    return [(noise(rng, 96), tissue_box(rng, np.ones((96, 96), bool))) for _ in range(n)]


def procedural_scenes(n: int, seed: int) -> list[tuple[Image.Image, Box]]:
    rng = np.random.default_rng(seed)
    made = [scene(rng, MODALITIES[i % 4], 128) for i in range(n)]
    return [(one.image, tissue_box(rng, one.tissue)) for one in made]


def spot_scenes(n: int, seed: int) -> list[tuple[Image.Image, Box]]:
    rng = np.random.default_rng(seed)
    return [(noise(rng, 192), spot_box(rng, 192, 0.12)) for _ in range(n)]


@pytest.mark.parametrize("scenes", [noise_scenes, procedural_scenes])
def test_no_rule_on_boxes_alone_finds_the_true_one(scenes: Callable[[int, int], list[tuple[Image.Image, Box]]]) -> None:
    found = found_by(items_of(scenes(160, 5), 0))

    assert all(0.14 < share < 0.36 for share in found.values()), found  # three standard errors


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scenes", [noise_scenes, procedural_scenes])
def test_on_2000_pictures_neither_rules_nor_a_forest_find_the_true_box(
    scenes: Callable[[int, int], list[tuple[Image.Image, Box]]], seed: int
) -> None:
    items = items_of(scenes(2000, 100 + seed), seed)

    assert all(0.21 < share < 0.29 for share in found_by(items).values()), found_by(items)
    assert auc_of_a_forest(items) == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_where_true_boxes_have_a_place_wrong_ones_have_it_too() -> None:
    items = items_of(spot_scenes(2000, 3), 0)

    assert found_by(items)["prior"] <= 0.35
    assert 0.2 < found_by(items)["size"] < 0.3


def test_true_boxes_that_are_all_of_one_size_get_wrong_ones_of_that_size() -> None:
    rng = np.random.default_rng(0)
    scenes = [(noise(rng, 128), (int(x), int(y), int(x) + 20, int(y) + 14)) for x, y in rng.integers(0, 100, (60, 2))]

    for item in items_of(scenes, 0):
        assert {(round(128 * (b[2] - b[0])), round(128 * (b[3] - b[1]))) for b in item.boxes} == {(20, 14)}


def test_a_rule_that_finds_more_than_chance_is_named_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    items = []
    for i in range(100):
        corners = rng.uniform(0, 0.8, (4, 2))
        sides = [(0.1, 0.1), (0.05, 0.05), (0.14, 0.14), (0.11, 0.12)]  # the true one is nearest their mean
        boxes = tuple((x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True))
        items.append(ItemBoxes(f"patient {i // 2}", "made", 0, boxes))

    facts = medoid_share(items)
    sentences = above_chance(facts)

    assert facts["generated"]["items"] == 100 and "annotated" not in facts
    assert facts["generated"]["size"]["share"] == 1.0
    assert sentences[0].startswith("100% of true boxes are found by taking the box of the most usual size")


@pytest.mark.parametrize("scale", [1, 5])
@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_wrong_boxes_of_about_the_true_size_lie_inside_and_clear(path: Path, scale: int) -> None:
    image = open_image(path)
    image = image.resize((image.width * scale, image.height * scale))
    true_box, annotated = centre_box(image.size), (0, 0, image.width // 5, image.height // 5)

    found = [one.box for one in distractors(image, true_box, 3, rng_for(0, path.name), annotated=[annotated])]

    margin = round(0.03 * min(image.size))
    for left, top, right, bottom in found:
        assert left >= 0 and top >= 0 and right <= image.width and bottom <= image.height
        assert 0.8 < (right - left) / (true_box[2] - true_box[0]) < 1.25
        assert 0.8 < (bottom - top) / (true_box[3] - true_box[1]) < 1.25
    for a, b in combinations([true_box, annotated, *found], 2):
        if {a, b} != {true_box, annotated}:
            assert max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3]) >= margin


def test_the_same_rng_gives_the_same_boxes_and_another_gives_others() -> None:
    image = open_image(PICTURES[3])
    true_box = centre_box(image.size)

    def boxes(seed: int) -> list[Box]:
        return [one.box for one in distractors(image, true_box, 3, rng_for(seed, "item"))]

    assert boxes(1) == boxes(1) != boxes(2)


def test_places_are_spread_over_the_picture_and_not_bound_to_a_grid() -> None:
    image = noise(np.random.default_rng(0), 600).resize((2400, 1800))

    found = [one.box for seed in range(60) for one in distractors(image, (300, 750, 540, 960), 1, rng_for(seed))]

    centres = np.array([((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in found])
    assert centres[:, 1].min() < 400 and centres[:, 1].max() > 1400
    assert len({box[0] % 10 for box in found}) == 10


@pytest.mark.parametrize("level", [(0, 0, 0), (255, 255, 255), (40, 40, 40), (200, 170, 150)])
@pytest.mark.parametrize("grain", [0, 2])
def test_ground_of_any_colour_is_no_place_for_a_wrong_box(level: tuple[int, int, int], grain: int) -> None:
    rng = np.random.default_rng(1)
    for case in range(8):
        one: Scene = scene(rng, "mri", 160)
        levels = np.where(
            one.tissue[..., None], np.asarray(one.image), np.array(level) + rng.normal(0, grain, (160, 160, 3))
        )
        image = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
        true_box = tissue_box(rng, one.tissue, (0.08, 0.13))

        for left, top, right, bottom in (d.box for d in distractors(image, true_box, 3, rng_for(case))):
            assert one.tissue[top:bottom, left:right].mean() > 0.5


def test_a_true_box_on_ground_gets_company_there_and_brightness_counts_for_nothing() -> None:
    one = scene(np.random.default_rng(3), "mri", 160)
    bright = Image.fromarray(np.asarray(one.image) // 2)
    bright.paste((255, 255, 255), (70, 70, 90, 90))  # a lesion as bright as nothing else

    in_tissue = [d.box for seed in range(20) for d in distractors(bright, (68, 68, 92, 92), 3, rng_for(seed))]
    on_ground = [d.box for seed in range(20) for d in distractors(one.image, (2, 2, 22, 22), 3, rng_for(seed))]

    assert np.mean([one.tissue[t:b, le:r].mean() > 0.5 for le, t, r, b in in_tissue]) == 1
    assert np.mean([one.tissue[t:b, le:r].mean() < 0.5 for le, t, r, b in on_ground]) == 1


def test_where_all_is_ground_boxes_are_placed_all_the_same() -> None:
    plain = Image.new("RGB", (200, 200), (90, 60, 60))

    assert float(ground(plain).share(np.array([[0, 0, 200, 200]]))[0]) == 1
    assert len(distractors(plain, (80, 80, 110, 110), 3, rng_for(0))) == 3


def test_a_mask_holds_the_wrong_boxes() -> None:
    image = noise(np.random.default_rng(0), 600)
    mask = Image.new("1", image.size)
    mask.paste(1, (0, 0, 400, 600))

    found = distractors(image, (100, 20, 180, 90), 3, rng_for(0), mask=mask)

    assert all(one.box[2] <= 405 for one in found)


@pytest.mark.parametrize(
    ("true_box", "annotated", "reason"),
    [
        ((5, 5, 195, 195), [], "no place is free of other boxes"),
        ((10, 10, 60, 60), [(0, 0, 200, 200)], "no place is free of other boxes"),
        ((60, 60, 150, 150), [], "no place"),
    ],
)
def test_where_none_fits_the_reason_is_given(true_box: Box, annotated: list[Box], reason: str) -> None:
    image = noise(np.random.default_rng(0), 200)

    with pytest.raises(NoRoomError, match=rf"no place for 3 wrong boxes of about .* px: {reason}"):
        distractors(image, true_box, 3, rng_for(0), annotated=annotated)


def test_a_box_outside_the_picture_is_refused() -> None:
    with pytest.raises(DataError, match=r"box \(0, 0, 201, 10\) does not lie inside the picture of 200x200 pixels"):
        distractors(Image.new("RGB", (200, 200)), (0, 0, 201, 10), 3, rng_for(0))


def test_whatever_the_picture_distractors_are_valid_or_the_reason_is_given() -> None:
    found = dropped = 0
    for case in range(60):
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
    assert found > 25 and dropped > 3


def test_a_box_of_a_few_pixels_in_a_large_picture_finds_company() -> None:
    image = open_image(PICTURES[6]).resize((3000, 3000))

    found = distractors(image, (1500, 1500, 1509, 1508), 3, rng_for(0))

    assert all(7 <= one.box[2] - one.box[0] <= 11 for one in found)


def test_what_boxes_alone_give_is_learnt_on_other_patients() -> None:
    rng = np.random.default_rng(1)
    even, leaking = [], []
    for i in range(200):
        corners = rng.uniform(0, 0.8, (4, 2))
        sides = rng.uniform(0.05, 0.15, (4, 2))
        middle = np.vstack([sides[1:].mean(axis=0), sides[1:]])
        for items, some in ((even, sides), (leaking, middle)):
            boxes = tuple((x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, some, strict=True))
            items.append(ItemBoxes(f"patient {i // 2}", f"set {i % 2}", 0, boxes))

    found, none = boxes_alone(leaking), boxes_alone(even)

    assert found is not None and none is not None and boxes_alone([]) is None
    assert found["value"] > 0.9 and found["rules"] == {"size": 200} and set(found["datasets"]) == {"set 0", "set 1"}
    assert none["interval"][0] < none["chance"] == 0.25 < none["interval"][1]
