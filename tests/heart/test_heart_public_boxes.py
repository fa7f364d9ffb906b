"""The published generator's boxes, as `--parity` draws them: its rules, and that they tell the true box."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from aloe_bench.heart.boxes import Distractor
from aloe_bench.heart.measure.geometry import ItemBoxes, medoid_share
from aloe_bench.heart.public_boxes import public_distractors
from aloe_bench.seeds import rng_for
from tests.support.boxes import noise, tissue_box


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
        for one in public_distractors(image, (left, 250, left + 80, 320), 3, rng_for(seed)):
            assert (one.box[2] <= 410) == (left < 400)
            assert one.facts["mean_within"] == 0.25  # no need to relax


def test_public_rules_take_size_and_looks_from_all_boxes() -> None:
    image = two_halves()
    small, large = (20, 20, 60, 60), (20, 300, 220, 500)

    found: list[Distractor] = []
    for seed in range(10):
        found += public_distractors(image, small, 1, rng_for(seed), annotated=[large])

    sides = [one.box[2] - one.box[0] for one in found]
    assert min(sides) >= 0.65 * 120 - 1 and max(sides) <= 1.35 * 120 + 1
    assert np.mean(sides) > 90  # the true box has 40


def test_the_published_rules_tell_the_true_box() -> None:
    rng = np.random.default_rng(0)
    items = []
    for i in range(150):
        image, true = noise(rng, 96), tissue_box(rng, np.ones((96, 96), bool))
        boxes = [true, *(one.box for one in public_distractors(image, true, 3, rng_for(i)))]
        shares = tuple(tuple(side / 96 for side in box) for box in boxes)
        items.append(ItemBoxes(str(i), "made", 0, shares))  # type: ignore[arg-type]

    facts = medoid_share(items)["generated"]

    assert facts["size"]["low"] > 0.3
