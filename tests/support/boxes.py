"""Pictures without a finding, and true boxes placed in them: noise, and procedural ones of four modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """A picture, and where in it there is tissue (the rest is ground)."""

    image: Image.Image
    tissue: Any


def noise(rng: np.random.Generator, side: int) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).convert("RGB")


def scene(rng: np.random.Generator, modality: str, side: int) -> Scene:
    """Return a picture of `modality`: "mri" (black ground), "xray" (white), "ultrasound" (grey), "skin" (none)."""
    y, x = np.mgrid[0:side, 0:side] / side
    coarse = rng.normal(0, 1, (side // 8 + 1, side // 8 + 1)).astype(np.float32)
    texture = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 5, (side, side))
    if modality == "mri":
        centre, radius = rng.uniform(0.4, 0.6, 2), rng.uniform(0.28, 0.45, 2)
        tissue = ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2 < 1
        levels = np.where(tissue, 100 + 30 * texture, 4) + np.abs(grain) * 0.8
    elif modality == "xray":
        edge = rng.uniform(0.03, 0.15, 4)
        tissue = (x > edge[0]) & (x < 1 - edge[1]) & (y > edge[2]) & (y < 1 - edge[3])
        levels = np.where(tissue, 120 + 35 * texture + grain, 255)
    elif modality == "ultrasound":
        distance, angle = np.hypot(x - 0.5, y + 0.1), np.abs(np.arctan2(x - 0.5, y + 0.1))
        tissue = (distance < rng.uniform(0.9, 1.1)) & (distance > 0.2) & (angle < rng.uniform(0.5, 0.75))
        levels = np.where(tissue, 70 + 25 * texture + rng.gamma(2, 10, (side, side)), 40 + grain / 5)
    else:
        tissue = np.ones((side, side), bool)
        levels = 160 + 10 * texture + grain
    return Scene(Image.fromarray(levels.clip(0, 255).astype(np.uint8)).convert("RGB"), tissue)


def tissue_box(rng: np.random.Generator, tissue: Any, sides: tuple[float, float] = (0.08, 0.18)) -> Box:
    """Return a box anywhere on `tissue`, its sides between the two shares of the picture's."""
    side = len(tissue)
    while True:
        width, height = (max(4, round(share * side)) for share in rng.uniform(*sides, 2))
        left, top = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
        if tissue[top : top + height, left : left + width].all():
            return left, top, left + width, top + height


def spot_box(rng: np.random.Generator, side: int, spread: float) -> Box:
    """Return a box whose centre lies by a normal distribution around one spot, `spread` of the picture wide."""
    while True:
        width, height = (round(share * side) for share in rng.uniform(0.08, 0.14, 2))
        x, y = rng.normal((0.5, 0.45), spread, 2) * side
        left, top = round(x - width / 2), round(y - height / 2)
        if left >= 0 and top >= 0 and left + width <= side and top + height <= side:
            return left, top, left + width, top + height
