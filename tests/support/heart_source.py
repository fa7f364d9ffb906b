"""A HEART source made on the spot: coloured pictures with boxes, in the folder format that `attack` reads."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

CLASSES = ("normal", "pneumonia", "effusion")
FINDINGS = ("nodule", "mass")
TOML = """\
name = "tiny"
modality = "x-ray"
licence = "CC0-1.0"

[classification]
classes = ["normal", "pneumonia", "effusion"]

[detection]
classes = ["nodule", "mass"]

[prompt_forms]
"normal" = "no abnormality"
"""
Box = tuple[int, int, int, int, int]  # class, left, top, right, bottom in pixels


def picture(image_id: str, size: tuple[int, int] = (160, 140)) -> Image.Image:
    """Return a picture that depends on its id alone: grain over two shades."""
    rng = random.Random(image_id)
    pixels = bytes(rng.choices(range(60, 150), k=size[0] * size[1] * 3))
    image = Image.frombytes("RGB", size, pixels)
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 4, size[1]), (rng.randrange(256), 80, 80))
    return image


def boxes_of(number: int) -> list[Box]:
    """Return no box, one, two of one class, or one of each class, in turn."""
    one, other = (0, 90, 20, 120, 50), (number % 2, 90, 80, 125, 110)
    return [[], [one], [one, (0, 90, 80, 120, 110)], [one, (1, *other[1:])]][number % 4]


def write_source(
    root: Path,
    n: int = 12,
    *,
    toml: str = TOML,
    order: Sequence[int] | None = None,
    draw: Callable[[str], Image.Image] = picture,
    boxes: Callable[[int], list[Box]] = boxes_of,
    patients: Mapping[int, str] | None = None,
) -> Path:
    """Write pictures 0..n-1, or those of `order` in its order; class = number modulo 4, none if that is 3."""
    for name in ("images", "annotations"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "dataset.toml").write_text(toml)
    with (root / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("image_id", "class", "patient_id", "split"))
        for number in order if order is not None else range(n):
            image_id = f"im{number:03d}"
            image = draw(image_id)
            image.save(root / "images" / f"{image_id}.png")
            rows.writerow((image_id, number % 4 if number % 4 < 3 else "", (patients or {}).get(number, ""), "test"))
            lines = [_yolo(box, image.size) for box in boxes(number)]
            (root / "annotations" / f"{image_id}.txt").write_text("".join(lines))
    return root


REAL = Path(__file__).parents[1] / "data" / "careqa_mini" / "images"
REAL_CLASSES = {
    "fundus": ("retina", "microaneurysms"), "histology": ("ihc", "cell"), "CT": ("ct_chest",),
    "MR": ("mr_abdomen",), "scintigraphy": ("bone_scan",), "ultrasound": ("us_doppler", "us_heart"),
}  # fmt: skip
# Placed by eye, on structures that the picture shows: YOLO lines of the classes "bone" and "vessel".
REAL_BOXES = {
    "retina": "1 0.3 0.5 0.15 0.2", "ct_chest": "0 0.5 0.6 0.2 0.2", "bone_scan": "0 0.5 0.3 0.25 0.08",
    "mr_abdomen": "0 0.52 0.67 0.2 0.2\n1 0.53 0.55 0.06 0.09", "us_doppler": "1 0.4 0.5 0.2 0.2",
}  # fmt: skip


def write_real_source(root: Path) -> Path:
    """Write a source of the nine real pictures of careqa_mini: what kind they are, and boxes on five of them."""
    (root / "annotations").mkdir(parents=True)
    shutil.copytree(REAL, root / "images")
    names = ", ".join(f'"{name}"' for name in REAL_CLASSES)
    (root / "dataset.toml").write_text(
        f'name = "real"\n[classification]\nclasses = [{names}]\n[detection]\nclasses = ["bone", "vessel"]\n'
    )
    rows = [f"{image_id},{n}\n" for n, some in enumerate(REAL_CLASSES.values()) for image_id in some]
    (root / "labels.csv").write_text("image_id,class\n" + "".join(rows))
    for image_id, lines in REAL_BOXES.items():
        (root / "annotations" / f"{image_id}.txt").write_text(lines + "\n")
    return root


def _yolo(box: Box, size: tuple[int, int]) -> str:
    index, left, top, right, bottom = box
    (width, height) = size
    centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
    return f"{index} {centre[0]:.6f} {centre[1]:.6f} {(right - left) / width:.6f} {(bottom - top) / height:.6f}\n"
