"""Thousands of tables, label files, boxes and pictures, sound and broken: one clear line, or nothing lost unsaid."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aloe_bench.errors import AloeError, DataError
from aloe_bench.heart.sources.source import Source, load_source
from aloe_bench.images import bytes_image, open_image
from aloe_bench.judges.experts.annotations import read_annotations
from aloe_bench.seeds import rng_for
from aloe_bench.tables import read_table

# 10,000 cases of each kind in four parts, and the first 300 of them each time.
PARTS = [range(300), *(pytest.param(range(n, n + 2500), marks=pytest.mark.slow) for n in range(0, 10_000, 2500))]
TOML = 'name = "f"\n[classification]\nclasses = ["a", "b"]\n[detection]\nclasses = ["nodule", "mass"]\n'
WORDS = [
    "q1",
    "Q1",
    "é",
    "e\u0301",
    "0,5",
    "1.0",
    "NA",
    "-",
    "",
    "a b",
    "1e3",
    "'",
    '"',
    "x;y",
    "x,y",
    "\u00a0",
    "ΑΣ",
    "名",
    "=1+1",
]


def broken(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with a few bytes changed, added, cut out or cut off."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(4):
            case 0:
                found[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                found[at:at] = rng.choice(
                    [b'"', b",", b";", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"{", b"nan"]
                )
            case 2:
                del found[at : at + rng.randint(1, 9)]
            case 3:
                del found[rng.randint(at, len(found)) :]
    return bytes(found)


def refusal(read: Callable[[Any], object], given: object) -> str | None:
    """Return what a reader says of what it refuses, None if it reads it; any other error ends the test."""
    try:
        read(given)
    except AloeError as error:
        return str(error)
    return None


def table(rng: random.Random) -> tuple[bytes, list[list[str]]]:
    """Return a table in one of the ways that programs write, and its cells as a reader should see them."""
    names = ["item_id", *rng.sample(["ana", "bo", "cy", "note", "class"], rng.randint(1, 4))]
    rows = [[f"i{n}", *(rng.choice(WORDS) for _ in names[1:])] for n in range(rng.randint(1, 6))]
    cells = [[cell.strip() for cell in row] for row in rows]
    if rng.random() < 0.2:
        return "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows).encode(), cells
    separator, end = rng.choice(",;\t|"), rng.choice(["\n", "\r\n", "\r"])
    file = io.StringIO(newline="")
    extra = [""] * rng.choice([0, 0, 2])
    writer = csv.writer(
        file, delimiter=separator, lineterminator=end, quoting=rng.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
    )
    writer.writerows([[*names, *extra], *([*row, *extra] for row in rows)])
    head = f"sep={separator}{end}" if rng.random() < 0.3 else ""
    return (head + file.getvalue()).encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"])), cells


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_tables(part: range, tmp_path: Path) -> None:
    path, read = tmp_path / "t.csv", 0
    for case in part:
        rng = rng_for("fuzz tables", case)
        data, cells = table(rng)
        path.write_bytes(data)
        found = read_table(path, needed=("item_id",))
        assert not found.faults, (case, found.faults)
        assert [[row.text(name) for name in found.columns] for row in found.rows] == cells, case
        path.write_bytes(broken(data, rng))
        for said in (refusal(read_table, path), refusal(read_annotations, path)):
            assert said is None or str(path) in said, (case, said)
            read += said is None
    assert read > len(part) / 20  # some breaks leave a table


def coco(rng: random.Random, ids: list[str]) -> dict[str, Any]:
    number = rng.choice([int, float])
    boxes = [
        [10, 10, 20, 20],
        [0, 0, 80, 70],
        [70, 10, 20, 20],
        [10, 10, 0, 5],
        [78, 60, 4, 12],
        [1, 2],
        None,
        ["1", 2, 3, 4],
    ]
    chances = [12, 3, 1, 1, 3, 1, 1, 1]
    names = [f"{rng.choice(['', '', '', 'a/', 'x-'])}{rng.choice([i, i, i.upper()])}.png" for i in ids]
    return {
        "images": [{"id": n, "file_name": name, "width": number(80), "height": 70} for n, name in enumerate(names)],
        "annotations": [
            {
                "id": n,
                "image_id": rng.choice(range(len(ids))) if rng.random() < 0.98 else 77,
                "category_id": rng.choice([3, 9] * 9 + [1]),
                "bbox": rng.choices(boxes, chances)[0],
                "iscrowd": int(rng.random() < 0.1),
            }
            for n in range(rng.randint(0, 4))
        ],
        "categories": [
            {"id": 3, "name": "nodule"},
            {"id": 9, "name": "mass"},
            {"id": 1, "name": rng.choice(["mass", "other"])},
        ],
    }


def check_source(root: Path, listed: int, boxes: int, tag: object) -> Source | None:
    """Check that every listed picture and every box of a source is in it or left over; None if it is refused."""
    try:
        source = load_source(root)
    except DataError:
        return None
    assert len(source.images) == listed, tag
    told = sum(entry.what == "box" and "cut" not in entry.reason for entry in source.left_over)
    lost = [entry.reason for entry in source.left_over if entry.what == "annotated image" and " box" in entry.reason]
    away = sum(int(reason.split(" with ")[1].split()[0]) for reason in lost)
    assert sum(len(image.boxes) for image in source.images) + told + away == boxes, (tag, source.left_over)
    return source


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fuzz") / "s"
    (root / "images").mkdir(parents=True)
    for name in ("p0", "p1", "p2"):
        Image.new("L", (80, 70), 99).save(root / "images" / f"{name}.png")
    return root


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_labels_and_coco_files(part: range, pictures: Path) -> None:
    loaded, ids = 0, ["p0", "p1", "p2"]
    for case in part:
        rng = rng_for("fuzz coco", case)
        (pictures / "dataset.toml").write_text(rng.choice(["", "clip = true\n", 'crowd = "keep"\n']) + TOML)
        labels = ["image_id,class", *(f"{i},{rng.choice(['0', '1', '1.0', 'NA', '', '0', '1', '7'])}" for i in ids)]
        (pictures / "labels.csv").write_text("\n".join(labels))
        whole = coco(rng, ids)
        (pictures / "annotations.json").write_text(json.dumps(whole))
        loaded += check_source(pictures, 3, len(whole["annotations"]), case) is not None
        name = rng.choice(["labels.csv", "annotations.json", "dataset.toml"])
        (pictures / name).write_bytes(broken((pictures / name).read_bytes(), rng))
        said = refusal(load_source, pictures)
        assert said is None or str(pictures) in said, (case, said)
    (pictures / "annotations.json").unlink()
    assert loaded > len(part) / 20


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_yolo_files(part: range, pictures: Path) -> None:
    (pictures / "annotations").mkdir(exist_ok=True)
    (pictures / "labels.csv").write_text("image_id,class\np0,0\np1,1\np2,0\n")
    path, loaded = pictures / "annotations" / "p1.txt", 0
    lines = [
        "0 0.5 0.5 0.2 0.2",
        "1 0.2 0.2 0.1 0.1",
        "1.0 .9 .9 .2 .2",
        "0 0.97 0.5 0.1 0.1",
        "0 .5 .5 0 .1",
        "0 .5 .5 .1 .1 .9",
    ]
    for case in part:
        rng = rng_for("fuzz yolo", case)
        (pictures / "dataset.toml").write_text(rng.choice(["", "clip = true\n"]) + TOML)
        chosen = rng.choices(lines, [9, 9, 3, 1, 1, 1], k=rng.randint(0, 4))
        path.write_text(rng.choice(["\n", "\r\n"]).join(chosen) + rng.choice(["", "\n"]))
        loaded += check_source(pictures, 3, len(chosen), case) is not None
        path.write_bytes(broken(path.read_bytes(), rng))
        said = refusal(load_source, pictures)
        assert said is None or str(pictures) in said, (case, said)
    path.unlink()
    (pictures / "annotations").rmdir()
    assert loaded > len(part) / 20


def picture(rng: random.Random, noise: np.random.Generator) -> tuple[bytes, float]:
    """Return a picture in some mode and format, and the spread of its visible greys on a scale of 255."""
    size = (rng.randint(8, 40), rng.randint(8, 40))
    low = rng.choice([0, 100, 250])
    grey = noise.integers(low, rng.choice([low + 1, 256]), (size[1], size[0]), dtype=np.uint8)
    spread = float(grey.std())
    image = Image.fromarray(grey)
    mode = rng.choice(["L", "RGB", "RGBA", "LA", "P", "CMYK", "I;16", "F"])
    kinds = {"I;16": ["PNG", "TIFF"], "F": ["TIFF"], "CMYK": ["TIFF"], "LA": ["PNG"]}.get(mode, ["PNG", "TIFF"])
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * rng.choice([1, 16, 257]))
    elif mode != "L":
        image = image.convert(mode)
    if mode in ("RGBA", "LA"):
        alpha = noise.integers(0, 2, grey.shape, dtype=np.uint8) * 255
        image.putalpha(Image.fromarray(alpha))
        spread = float(grey[alpha > 0].std()) if (alpha > 0).any() else 0.0
    file = io.BytesIO()
    image.save(file, rng.choice(kinds))
    return file.getvalue(), spread


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_pictures(part: range) -> None:
    opened = 0
    for case in part:
        rng, noise = rng_for("fuzz pictures", case), np.random.default_rng(case)
        data, spread = picture(rng, noise)
        shown = np.asarray(open_image(data, name=f"case {case}"))
        assert shown.ndim == 3 and (spread < 5 or shown.std() >= 1), case
        wrong = broken(data, rng)
        for read in (open_image, bytes_image):
            said = refusal(partial(read, name="wrong.png"), wrong)
            assert said is None or ("wrong.png" in said and "\n" not in said), (case, said)
            opened += said is None
    assert opened > len(part) / 20
