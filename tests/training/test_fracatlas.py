"""FracAtlas in its published layout, with each of its known defects planted in a small archive."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aloe_bench.errors import DataError
from aloe_bench.heart.sources.source import load_source
from aloe_bench.images import open_image
from aloe_bench.training.fracatlas import import_fracatlas

HEADER = "image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,fracture_count,frontal,lateral,oblique"


def jpeg(seed: int, size: tuple[int, int] = (48, 64), orientation: int | None = None) -> bytes:
    pixels = (
        np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8), np.uint8).repeat(8, 0).repeat(8, 1)
    )
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


class Archive:
    """An archive that a test adds images to."""

    def __init__(self, root: Path) -> None:
        self.root, self.rows = root, list[str]()
        for folder in ("images/Fractured", "images/Non_fractured", "Annotations/YOLO"):
            (root / folder).mkdir(parents=True)

    def add(self, name: str, data: bytes, fractured: bool, folder: str | None = None, boxes: str = "") -> None:
        where = folder or ("Fractured" if fractured else "Non_fractured")
        (self.root / "images" / where / f"{name}.jpg").write_bytes(data)
        (self.root / "Annotations" / "YOLO" / f"{name}.txt").write_text(boxes)
        row = f"{name}.jpg,1,0,0,0,0,0,0,{int(fractured)},{len(boxes.splitlines())},1,0,0"
        if row not in self.rows:
            self.rows.append(row)

    def write(self) -> Path:
        (self.root / "dataset.csv").write_text("\ufeff" + "\n".join([HEADER, *self.rows]) + "\n", encoding="utf-8")
        return self.root


BOX = "0 0.5 0.25 0.5 0.25\n"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "FracAtlas")
    made.add("IMG0000001", jpeg(1), True, boxes=BOX)
    made.add("IMG0000002", jpeg(2), False)
    return made


def test_a_plain_archive_becomes_a_source_that_attack_reads(archive: Archive, tmp_path: Path) -> None:
    found = import_fracatlas(archive.write(), tmp_path / "source")

    source = load_source(tmp_path / "source")
    assert (found.fractured, found.intact, found.boxes, found.notes) == (1, 1, 1, {})
    assert {image.image_id: image.class_index for image in source.images} == {"IMG0000001": 1, "IMG0000002": 0}
    assert source.modality == "xray" and source.licence == "CC-BY-4.0"
    (box,) = next(image.boxes for image in source.images if image.image_id == "IMG0000001")
    assert box.pixels((48, 64)) == (12, 8, 36, 24)


def test_the_table_decides_where_a_file_lies_in_both_class_folders(archive: Archive, tmp_path: Path) -> None:
    archive.add("IMG0003375", jpeg(3), True, boxes=BOX)
    archive.add("IMG0003375", jpeg(3), True, folder="Non_fractured", boxes=BOX)
    found = import_fracatlas(archive.write(), tmp_path / "source")
    assert (found.fractured, found.boxes) == (2, 2)
    assert found.notes == {"in both class folders; dataset.csv decides": 1}


def test_a_truncated_jpeg_is_kept_as_far_as_it_goes(archive: Archive, tmp_path: Path) -> None:
    whole = jpeg(4, (96, 96))
    archive.add("IMG0000004", whole[: len(whole) * 2 // 3], False)
    found = import_fracatlas(archive.write(), tmp_path / "source")
    assert found.notes == {"truncated JPEG, decoded as far as it goes": 1}
    kept = open_image(tmp_path / "source" / "images" / "IMG0000004.png")
    first = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))[:24]
    assert kept.size == (96, 96) and np.array_equal(np.asarray(kept)[:24], first)
    load_source(tmp_path / "source")


def test_boxes_refer_to_the_upright_picture(archive: Archive, tmp_path: Path) -> None:
    archive.add("IMG0000005", jpeg(5, (80, 40), orientation=6), True, boxes=BOX)
    import_fracatlas(archive.write(), tmp_path / "source")
    source = load_source(tmp_path / "source")
    image = next(image for image in source.images if image.image_id == "IMG0000005")
    assert open_image(image.path).size == (40, 80)
    assert image.boxes[0].pixels((40, 80)) == (10, 10, 30, 30)


def test_equal_pictures_are_kept_once_and_not_at_all_if_their_labels_differ(archive: Archive, tmp_path: Path) -> None:
    archive.add("IMG0000006", jpeg(2), False)
    archive.add("IMG0000007", jpeg(7), True, boxes=BOX)
    archive.add("IMG0000008", jpeg(7), False)
    found = import_fracatlas(archive.write(), tmp_path / "source")
    assert (found.fractured, found.intact) == (1, 1)
    assert found.notes == {"the same picture as IMG0000002.jpg": 1, "equal pictures with opposite labels": 2}
    listed = (tmp_path / "source" / "import.csv").read_text()
    assert "IMG0000006.jpg,the same picture as IMG0000002.jpg" in listed and "IMG0000007.jpg" in listed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: (a.root / "dataset.csv").write_text("name\nx\n"), "columns .*; expected image_id and fractured"),
        (lambda a: (a.root / "dataset.csv").write_text(f"{HEADER}\nx.jpg,0,0,0,0,0,0,0,2,0,0,0,0\n"), ":2: .*'2'"),
        (lambda a: (a.root / "dataset.csv").unlink(), "expected the unpacked FracAtlas archive"),
        (lambda a: (a.root / "images/Fractured/IMG0000001.jpg").write_bytes(b"no"), "IMG0000001.jpg: no picture"),
    ],
)
def test_what_is_broken_is_named_and_nothing_is_written(archive: Archive, tmp_path: Path, change, said: str) -> None:
    change_after = archive.write()
    change(archive)
    with pytest.raises(DataError, match=said):
        import_fracatlas(change_after, tmp_path / "source")
    assert not (tmp_path / "source").exists()
