"""The miniature's pictures: same for the same seed, told apart by what they claim, in the HEART source format."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aloe_bench.errors import UsageError
from aloe_bench.miniature.images import MODALITIES, SIDE_PX, Difficulty, picture
from aloe_bench.miniature.source import OWN_WORDS, write_source


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_source_holds_what_its_labels_say_and_depends_on_its_seed_alone(tmp_path: Path) -> None:
    first = write_source(tmp_path / "a", "mri", 8, seed=3)
    again = write_source(tmp_path / "b", "mri", 8, seed=3)
    longer = write_source(tmp_path / "c", "mri", 12, seed=3)
    other = write_source(tmp_path / "d", "mri", 8, seed=4)

    settings = tomllib.loads((first / "dataset.toml").read_text())
    rows = list(csv.DictReader((first / "labels.csv").read_text().splitlines()))
    assert (settings["name"], settings["modality"], settings["split"]) == ("miniature-mri", "mri", "test")
    assert settings["classification"]["classes"] == ["normal", "abnormal"]
    assert [row["class"] for row in rows] == ["0", "", "1", ""] * 2
    for row in rows:
        with Image.open(first / "images" / f"{row['image_id']}.png") as image:
            assert image.size == (SIDE_PX, SIDE_PX) and image.mode == "RGB"
        noted = (first / "annotations" / f"{row['image_id']}.txt").read_text()
        assert bool(noted) == (row["class"] == "")
    assert digests(first) == digests(again)
    images = {name: digest for name, digest in digests(first).items() if name.startswith("images")}
    assert len(images) == 8 and images.items() <= digests(longer).items()
    assert not set(images.values()) & set(digests(other).values())


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_lesion_lies_in_its_box_and_nowhere_else(modality: str) -> None:
    """The mean over many pictures differs from the normal one's inside the box, and there alone."""
    strong = Difficulty(1.0, 1.0, 4.0)
    inside, outside = [], []
    for number in range(12):
        with_lesion = picture(modality, "boxed", (number,), strong)
        without = picture(modality, "boxed", (number,), Difficulty(0.0, 0.0, 4.0))
        assert with_lesion.box is not None and with_lesion.box == without.box
        left, top, right, bottom = with_lesion.box
        assert 0 <= left < right <= SIDE_PX and 0 <= top < bottom <= SIDE_PX
        change = np.abs(with_lesion.pixels.astype(int) - without.pixels.astype(int))
        mask = np.zeros(change.shape, bool)
        mask[top:bottom, left:right] = True
        inside.append(change[mask].max())
        outside.append(change[~mask].mean())
    assert min(inside) > 30 and float(np.mean(outside)) < 2


def test_words_of_one_modality_alone_for_the_control(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "own", "skin", 4, own_words=True)

    settings = tomllib.loads((folder / "dataset.toml").read_text())
    assert settings["classification"]["classes"] == ["benign", "melanoma"]
    assert settings["name"] == "miniature-skin-own"
    words = [word for pair in OWN_WORDS.values() for word in pair]
    assert len(set(words)) == 16 and set(OWN_WORDS) == set(MODALITIES)


def test_refuses_an_unknown_modality_and_a_folder_in_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'pet' is not one of xray"):
        write_source(tmp_path / "x", "pet", 4)
    (tmp_path / "kept").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "aloe_bench.miniature.source", str(tmp_path), "--modality", "ct"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        done.returncode == 3 and "exists; choose another" in done.stderr and (tmp_path / "kept").read_text() == "mine"
    )
