"""Perceptual hashes are imagehash's, and the search for near ones finds what brute force finds."""

from __future__ import annotations

import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from aloe_bench.images import open_image, phash
from aloe_bench.prints import file_print, near

PICTURES = sorted((Path(__file__).parents[1] / "data" / "careqa_mini" / "images").iterdir())


def balanced(rng: np.random.Generator, n: int) -> np.ndarray:
    order = np.argsort(rng.random((n, 64)), axis=1)[:, :32].astype(np.uint64)
    return np.bitwise_or.reduce(np.uint64(1) << order, axis=1)


def around(rng: np.random.Generator, centres: np.ndarray, n: int, most: int) -> np.ndarray:
    """Return `n` hashes within `most` bits of some of the centres."""
    found = centres[rng.integers(0, len(centres), n)]
    for _ in range(most):
        found = found ^ np.where(rng.random(n) < 0.7, np.uint64(1) << rng.integers(0, 64, n).astype(np.uint64), 0)
    return found


@pytest.mark.parametrize("radius", range(9))
def test_near_is_brute_force_on_uniform_clustered_and_flat_hashes(radius: int) -> None:
    rng = np.random.default_rng(radius)
    centres = balanced(rng, 5)
    many = np.concatenate([balanced(rng, 2000), around(rng, centres, 300, 6), np.zeros(40, np.uint64)])
    few = np.unique(
        np.concatenate(
            [
                balanced(rng, 100),
                around(rng, centres, 40, 6),
                around(rng, many[:50], 50, 9),
                many[50:60],
                [np.uint64(7)],
            ]
        )
    )
    found = [
        (int(r), int(c), int(d))
        for rows, columns, distances in near(many, few, radius)
        for r, c, d in zip(rows, columns, distances, strict=True)
    ]
    distance = np.bitwise_count(many[:, None] ^ few[None, :])
    assert sorted(found) == [(int(r), int(c), int(distance[r, c])) for r, c in np.argwhere(distance <= radius)]
    assert found


def test_no_hashes_are_near_nothing() -> None:
    assert list(near([], [1], 4)) == list(near([1], [], 4)) == []


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_file_has_the_hash_that_imagehash_gives_it(tmp_path: Path, mode: str, suffix: str) -> None:
    for number, path in enumerate(PICTURES[:4]):
        image = Image.open(path).convert("RGB")
        shown = image.convert(mode) if not (mode == "P" and suffix == ".jpg") else image.convert("CMYK")
        shown.save(tmp_path / f"{number}{suffix}")
        found = file_print(tmp_path / f"{number}{suffix}")
        assert found.size == image.size and not found.degenerate
        if shown.mode != "CMYK":
            assert f"{found.phash:016x}" == str(imagehash.phash(Image.open(tmp_path / f"{number}{suffix}")))
        assert f"{found.phash:016x}" == phash(open_image(tmp_path / f"{number}{suffix}"))


def test_blank_pictures_are_told_apart_by_their_pixels(tmp_path: Path) -> None:
    for name, size in (("a", 64), ("b", 64), ("c", 80)):
        Image.new("L", (size, size)).save(tmp_path / f"{name}.png")
    a, b, c = (file_print(tmp_path / f"{name}.png") for name in "abc")
    assert a.degenerate and a.phash == c.phash and a.pixels == b.pixels != c.pixels


def test_a_turned_picture_is_hashed_upright() -> None:
    upright = open_image(PICTURES[0])
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3
    upright.rotate(180).save(file, "PNG", exif=exif)
    assert phash(open_image(file.getvalue())) == phash(upright)
