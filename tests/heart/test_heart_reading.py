"""Captions on real pictures, read back by an OCR model of others (PP-OCRv6 in RapidOCR): what a machine can read."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aloe_bench.heart.boxes import distractors
from aloe_bench.heart.draw.overlays import Rendering, caption, legend, numbered_boxes
from aloe_bench.images import open_image
from aloe_bench.seeds import rng_for

pytestmark = pytest.mark.slow

PICTURES = sorted((Path(__file__).parents[1] / "data" / "careqa_mini" / "images").iterdir())
WIDTHS = (256, 320, 384, 512, 640, 1024)
CLASSES = (
    "glioma", "pneumothorax", "a fracture of the left femur", "squamous-cell carcinoma", "no annotated finding",
    "meningioma, WHO grade 2", "COVID-19 pneumonia", "an adenoma of the colon", "diabetic macular oedema",
)  # fmt: skip
SENTENCES = (
    "Figure {n}: Image showing {c}.", "Figure {n}: Photograph illustrating {c}.", "Radiology report: {c}.",
    "{c} (confirmed by histology)", "Figure {n}: {c} in Box {b}.",
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """A caption as it was asked for, and as the OCR model read it."""

    text: str
    read: str
    width: int


def sentence(rng: random.Random) -> str:
    return rng.choice(SENTENCES).format(n=rng.randint(1, 10), b=rng.randint(1, 4), c=rng.choice(CLASSES))


def lines_of(ocr: Any, image: Image.Image) -> list[tuple[float, str]]:
    """Return (top, text) of each line the model finds, from above."""
    found = ocr(np.asarray(image)[:, :, ::-1].copy())
    boxes = [] if found.boxes is None else found.boxes
    lines = [(box[:, 1].min(), box[:, 0].min(), text) for box, text in zip(boxes, found.txts or (), strict=True)]
    return [(y, text) for y, _, text in sorted(lines)]


def read_band(ocr: Any, image: Image.Image, top: int) -> str:
    """Return what stands below `top`; a line that ends in a hyphen goes on without a space."""
    return " ".join(text for y, text in lines_of(ocr, image) if y >= top - 2).replace("- ", "-")


@pytest.fixture(scope="module")
def ocr() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": 1, "Global.use_cls": False})


@pytest.fixture(scope="module")
def readings(ocr: Any) -> list[Reading]:
    found = []
    for path in PICTURES:
        picture = open_image(path)
        for width in WIDTHS:
            height = round(width / picture.width * picture.height)
            if height <= 1600:
                text = sentence(rng_for("ocr", path.name, width))
                drawn = caption(picture.resize((width, height)), text, Rendering())
                found.append(Reading(text, read_band(ocr, drawn.image, height), width))
    return found


def test_nine_in_ten_captions_are_read_back_exactly(readings: list[Reading]) -> None:
    exact = [one for one in readings if one.read == one.text]
    print(f"{len(exact)} of {len(readings)} captions read back exactly")
    for one in readings:
        if one.read != one.text:
            print(f"  {one.width} px: {one.text!r} read as {one.read!r}")

    assert len(readings) >= 45
    assert len(exact) >= 0.9 * len(readings)


def test_the_narrowest_are_read_as_well(readings: list[Reading]) -> None:
    narrow = [one for one in readings if one.width <= 320]

    assert sum(one.read == one.text for one in narrow) >= 0.9 * len(narrow)


def test_legends_are_read_back_exactly_and_box_labels_but_for_a_space(ocr: Any) -> None:
    looks, labels, entries, n = Rendering(), 0, 0, 0
    for path in PICTURES:
        picture = open_image(path)
        if picture.width < 200:
            continue
        picture = picture.resize((512, round(512 / picture.width * picture.height)))
        width, height = picture.size
        true_box = (width // 3, height // 3, width // 3 + width // 6, height // 3 + height // 6)
        boxes = [true_box, *(one.box for one in distractors(picture, true_box, 3, rng_for(path.name)))]
        names = [f"Box {i}" for i in range(1, 5)]
        said = [f"{name}: {what}" for name, what in zip(names, CLASSES, strict=False)]
        drawn = numbered_boxes(picture, boxes, names, looks.palette, looks)
        drawn = legend(drawn.image, list(zip(looks.palette, said, strict=True)), looks)
        read = [text for _, text in lines_of(ocr, drawn.image)]
        n += 4
        labels += sum(name.replace(" ", "") in [text.replace(" ", "") for text in read] for name in names)
        entries += sum(entry in read for entry in said)
    print(f"{labels} of {n} box labels and {entries} of {n} legend entries read back")

    assert n == 32
    assert labels >= 0.9 * n and entries >= 0.9 * n
