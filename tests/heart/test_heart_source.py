"""A broken source is refused before anything is drawn: every broken line at once, each with its place."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner
from PIL import Image

from aloe_bench.cli.main import cli
from aloe_bench.errors import AloeError
from aloe_bench.images import open_image
from tests.support.heart_source import TOML, picture, write_source

Break = Callable[[Path], None]


def attack(*words: object) -> Any:
    return CliRunner().invoke(cli, ["attack", *map(str, words)], catch_exceptions=True)


def refused(source: Path, *words: object) -> str:
    """Return the message of a refusal with exit code 3 that left nothing behind."""
    before = sorted(path.name for path in source.parent.iterdir())
    done = attack("--source", source, "--output", source.parent / "out", "--workers", 1, *words)
    assert isinstance(done.exception, AloeError) and done.exception.exit_code == 3, done.output
    assert sorted(path.name for path in source.parent.iterdir()) == before
    return str(done.exception)


def edit(name: str, old: str, new: str) -> Break:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return change


def append(name: str, text: str) -> Break:
    return lambda root: (root / name).write_text((root / name).read_text() + text) and None


def cut_picture(root: Path) -> None:
    path = root / "images" / "im002.png"
    path.write_bytes(path.read_bytes()[:-2000])


def no_pictures(root: Path) -> None:
    shutil.rmtree(root / "images")


def two_endings(root: Path) -> None:
    picture("im001").save(root / "images" / "im001.jpg")


BROKEN: dict[str, tuple[Break, tuple[str, ...]]] = {
    "class out of range": (edit("labels.csv", "im001,1", "im001,7"), ("labels.csv:3: class 7", "0 to 2")),
    "class infinite": (edit("labels.csv", "im001,1", "im001,inf"), ("labels.csv:3: class 'inf'",)),
    "class an unknown name": (
        edit("labels.csv", "im001,1", "im001,pneumo"),
        ("labels.csv:3: class 'pneumo'", "pneumonia?"),
    ),
    "class negative": (edit("labels.csv", "im001,1", "im001,-1"), ("labels.csv:3: class '-1'",)),
    "duplicate id": (append("labels.csv", "im001,2,,test\n"), ("labels.csv:6: image_id 'im001'", "labels.csv:3")),
    "too few fields": (edit("labels.csv", "im001,1,,test", "im001,1"), ("labels.csv:3: 2 fields",)),
    "no such picture": (append("labels.csv", "im999,0,,test\n"), ("labels.csv:6: no picture of 'im999'",)),
    "id with ending": (edit("labels.csv", "im001,", "im001.png,"), ("labels.csv:3", "write the id as 'im001'")),
    "path escape": (append("labels.csv", "../../secret,0,,test\n"), ("labels.csv:6", "'../../secret' is not a plain")),
    "hidden file": (append("labels.csv", ".htaccess,0,,test\n"), ("labels.csv:6", "'.htaccess' is not a plain")),
    "no class column": (edit("labels.csv", "image_id,class", "image_id,label"), ("labels.csv:1", "lacks class")),
    "empty file": (lambda root: (root / "labels.csv").write_text("") and None, ("labels.csv:1: empty",)),
    "header alone": (lambda root: (root / "labels.csv").write_text("image_id,class\n") and None, ("labels.csv:2",)),
    "not UTF-8": (
        lambda root: (root / "labels.csv").write_bytes(b"image_id,class\nim000,0\nim\xe9,1\n") and None,
        ("labels.csv:3: not UTF-8",),
    ),
    "no labels": (lambda root: (root / "labels.csv").unlink(), ("labels.csv: no such file",)),
    "no toml": (lambda root: (root / "dataset.toml").unlink(), ("dataset.toml: no such file",)),
    "no pictures": (no_pictures, ("labels.csv:2: no picture", "labels.csv:5: no picture")),
    "two endings": (two_endings, ("labels.csv:3", "im001.jpg and im001.png")),
    "box outside": (
        lambda root: (root / "annotations" / "im001.txt").write_text("0 0.9 0.5 0.4 0.2\n") and None,
        ("annotations/im001.txt:1", "not inside the image"),
    ),
    "box NaN": (
        lambda root: (root / "annotations" / "im001.txt").write_text("0 nan 0.5 0.4 0.2\n") and None,
        ("annotations/im001.txt:1",),
    ),
    "box empty": (
        lambda root: (root / "annotations" / "im001.txt").write_text("0 .5 .5 .1 .1\n0 0.5 0.5 0 0.2\n") and None,
        ("annotations/im001.txt:2",),
    ),
    "box class": (
        lambda root: (root / "annotations" / "im001.txt").write_text("2 0.5 0.5 0.2 0.2\n") and None,
        ("annotations/im001.txt:1: class '2'", "0 to 1"),
    ),
    "box fields": (
        lambda root: (root / "annotations" / "im001.txt").write_text("0 0.5 0.5 0.2\n") and None,
        ("annotations/im001.txt:1: 4 fields",),
    ),
    "one class": (
        edit("dataset.toml", '["normal", "pneumonia", "effusion"]', '["normal"]'),
        ("dataset.toml:6", "at least 2"),
    ),
    "class twice": (edit("dataset.toml", '"effusion"', '"Normal"'), ("dataset.toml:6", "twice")),
    "too many options": (
        edit("dataset.toml", "[detection]\n", "[detection]\noptions = 5\n"),
        ("dataset.toml:9: [detection] options = 5",),
    ),
    "unknown key": (edit("dataset.toml", "modality", "modalty"), ("dataset.toml:2", "Did you mean modality?")),
    "not TOML": (edit("dataset.toml", "[detection]", "[detection"), ("dataset.toml: not readable as TOML", "line")),
    "a form of no class": (
        edit("dataset.toml", '"normal" = ', '"nromal" = '),
        ("dataset.toml:12", "Did you mean normal?"),
    ),
    "one form of two classes": (
        edit("dataset.toml", '"no abnormality"', '"Pneumonia"'),
        ("dataset.toml:12", "'normal' and 'pneumonia' are both said as 'pneumonia'"),
    ),
    "rendering key": (
        append("dataset.toml", "[rendering]\nlegend_form = 'round'\n"),
        ("dataset.toml:14", "legend_form", "swatch"),
    ),
    "undrawable class": (
        edit("dataset.toml", '"mass"', '"ورم"'),
        ("dataset.toml:9", "ARABIC LETTER WAW", "cannot be drawn"),
    ),
    "undrawable form": (
        edit("dataset.toml", '"no abnormality"', '"all fine 👍"'),
        ("dataset.toml:12", "THUMBS UP SIGN"),
    ),
    "unknown split": (edit("dataset.toml", "[detection]", "split = 'x'\n[detection]"), ("dataset.toml",)),
    "damaged picture": (cut_picture, ("labels.csv:4", "im002.png", "cannot be decoded")),
    "not a picture": (
        lambda root: (root / "images" / "im002.png").write_text("hello") and None,
        ("labels.csv:4", "im002.png", "not a supported image"),
    ),
    "mask of another size": (
        lambda root: (root / "masks").mkdir() or Image.new("L", (9, 9)).save(root / "masks" / "im003.png"),
        ("labels.csv:5", "9x9", "160x140"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_source_is_refused_with_file_and_line(name: str, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 4)
    change, expected = BROKEN[name]
    change(source)
    message = refused(source)
    assert all(part in message for part in expected), message


def test_every_broken_line_is_named_at_once(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 12)
    for old, new in (("im001,1", "im001,9"), ("im004,0", "im004,x"), ("im006,2", "im060,2")):
        edit("labels.csv", old, new)(source)
    (source / "annotations" / "im003.txt").write_text("0 2 2 1 1\nnodule 0.5 0.5 0.1 0.1\n")
    message = refused(source)
    for place in ("labels.csv:3", "labels.csv:6", "labels.csv:8", "im003.txt:1", "im003.txt:2"):
        assert f"{place}: " in message
    assert "5 problems" in message


def test_every_damaged_picture_is_named_at_once(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 8)
    for n in (2, 5):
        (source / "images" / f"im{n:03d}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    message = refused(source)
    assert "labels.csv:4" in message and "labels.csv:7" in message and "2 problems" in message


def test_a_label_that_cannot_be_drawn_is_fine_where_nothing_is_drawn(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 2, toml=TOML.replace('"pneumonia"', '"ذات الرئة"'))
    out = tmp_path / "out"
    done = attack("--source", source, "--output", out, "--type", "prompt,sycophancy", "--workers", 1)
    assert done.exit_code == 0, done.output
    assert any("ذات الرئة" in str(row["question"]) for row in parquet.read_table(out / "heart.parquet").to_pylist())


def coco(root: Path, change: Callable[[dict[str, Any]], object] = lambda whole: None) -> Path:
    """Turn the YOLO files of a source into one COCO file, changed by `change`."""
    whole: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 30, "name": "mass"}, {"id": 7, "name": "nodule"}],
    }
    for n, path in enumerate(sorted((root / "annotations").iterdir())):
        width, height = open_image(root / "images" / f"{path.stem}.png").size
        whole["images"].append({"id": n, "file_name": f"{path.stem}.png", "width": width, "height": height})
        for line in path.read_text().splitlines():
            index, cx, cy, w, h = (float(field) for field in line.split())
            box = [round((cx - w / 2) * width), round((cy - h / 2) * height), round(w * width), round(h * height)]
            entry = {"id": len(whole["annotations"]), "image_id": n, "category_id": (7, 30)[int(index)], "bbox": box}
            whole["annotations"].append(entry)
    change(whole)
    shutil.rmtree(root / "annotations")
    (root / "annotations.json").write_text(json.dumps(whole))
    return root


def test_a_coco_file_gives_the_rows_of_the_yolo_files(tmp_path: Path) -> None:
    tables = []
    for name, convert in (("yolo", lambda root: root), ("coco", coco)):
        source = convert(write_source(tmp_path / name, 8))
        done = attack("--source", source, "--output", tmp_path / f"{name}-out", "--workers", 1)
        assert done.exit_code == 0, done.output
        tables.append(parquet.read_table(tmp_path / f"{name}-out" / "heart.parquet").to_pylist())
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w: w["annotations"][1].update(bbox=[150, 0, 30, 9]), ("annotations[1] (id 1)", "not inside")),
        (lambda w: w["annotations"][1].update(bbox=[1, 2, 3]), ("annotations[1] (id 1)", "[x, y, width, height]")),
        (lambda w: w["annotations"][1].update(bbox=[1, 2, float("nan"), 3]), ("annotations[1] (id 1)",)),
        (lambda w: w["annotations"][1].update(category_id=8), ("annotations[1] (id 1)", "category_id 8")),
        (lambda w: w["annotations"][1].update(image_id=99), ("annotations[1] (id 1)", "image_id")),
        (lambda w: w["categories"][0].update(name="masss"), ("categories[0] (id 30)", "Did you mean mass?")),
        (lambda w: w["images"][1].update(width="wide"), ("images[1] (id 1)", "'wide'")),
        (lambda w: w["images"][1].update(width=320), ("labels.csv:3", "160x140", "320x140")),
        (lambda w: w.pop("categories"), ("annotations.json:1", "'categories'")),
    ],
)  # fmt: skip
def test_a_broken_coco_file_is_refused_with_the_entry(
    change: Callable[[dict[str, Any]], object], expected: tuple[str, ...], tmp_path: Path
) -> None:
    message = refused(coco(write_source(tmp_path / "source", 4), change))
    assert all(part in message for part in expected), message


def test_the_template_of_a_source_is_complete_once_filled_in(tmp_path: Path) -> None:
    source = tmp_path / "source"
    assert attack("--new-source", source).exit_code == 0
    with (source / "labels.csv").open("a") as file:
        file.writelines(f"a{n},{n},p{n},test\n" for n in range(3))
    for n in range(3):
        picture(f"a{n}").save(source / "images" / f"a{n}.png")
    (source / "annotations" / "a1.txt").write_text("0 0.3 0.3 0.2 0.2\n")
    done = attack("--source", source, "--dry-run", "--workers", 1)
    assert done.exit_code == 0 and "4 items of 3 pictures" in done.output, done.exception
    again = attack("--new-source", source)
    assert again.exit_code == 2 or again.exception.exit_code == 2


def test_what_cannot_be_an_item_is_dropped_with_one_reason(tmp_path: Path) -> None:
    def boxes(number: int) -> list[tuple[int, int, int, int, int]]:
        return [
            [(0, 0, 0, 120, 100)],  # 54 % of the picture
            [(0, 0, 0, 40, 139), (1, 41, 0, 80, 139), (0, 81, 0, 120, 139), (1, 121, 0, 159, 139)],
            [(0, 20, 20, 44, 44)],
            [],
        ][number]

    source = write_source(tmp_path / "source", 4, boxes=boxes)
    assert attack("--source", source, "--output", tmp_path / "out", "--workers", 1).exit_code == 0
    with (tmp_path / "out" / "dropped.csv").open() as file:
        lines = {(row["source_id"], row["true_class_name"]): row["reason"] for row in csv.DictReader(file)}
    assert "54%" in lines["im000", "nodule"] and "30%" in lines["im000", "nodule"]
    assert "75%" in lines["im001", "nodule"] and "75%" in lines["im001", "mass"]
    assert "neither a class nor a box" in lines["im003", ""] and len(lines) == 4
    kept = parquet.read_table(tmp_path / "out" / "heart.parquet").to_pylist()
    assert {row["source_id"] for row in kept if row["task"] == "detection"} == {"im002"}


def test_the_split_named_in_the_toml_is_used_and_no_other(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 8, toml=TOML.replace("[class", 'split = "valid"\n[class', 1))
    for n in (1, 2):
        edit("labels.csv", f"im00{n},{n},,test", f"im00{n},{n},,valid")(source)
    assert attack("--source", source, "--output", tmp_path / "out", "--workers", 1).exit_code == 0
    rows = parquet.read_table(tmp_path / "out" / "heart.parquet").to_pylist()
    assert {row["source_id"] for row in rows} == {"im001", "im002"}


def test_patients_are_the_clusters_where_they_are_known(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 3, patients={0: "p", 1: "p"})
    assert attack("--source", source, "--output", tmp_path / "out", "--type", "prompt", "--workers", 1).exit_code == 0
    rows = parquet.read_table(tmp_path / "out" / "heart.parquet").to_pylist()
    clusters = {row["source_id"]: row["cluster"] for row in rows}
    assert clusters == {"im000": "tiny/p", "im001": "tiny/p", "im002": "tiny/im002"}


def test_generated_boxes_lie_in_the_organ_mask(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 4, boxes=lambda n: [(0, 90, 30, 115, 55)])
    (source / "masks").mkdir()
    for n in range(4):
        mask = Image.new("L", (160, 140))
        mask.paste(255, (60, 20, 160, 130))
        mask.save(source / "masks" / f"im{n:03d}.png")
    assert attack("--source", source, "--output", tmp_path / "out", "--type", "prompt", "--workers", 1).exit_code == 0
    seen = 0
    for row in parquet.read_table(tmp_path / "out" / "heart.parquet").to_pylist():
        for info in json.loads(row["box_info"] or "{}").values():
            if info["kind"] == "generated":
                left, top, right, bottom = info["pixels"]
                inside = max(0, min(right, 160) - max(left, 60)) * max(0, min(bottom, 130) - max(top, 20))
                assert inside >= 0.95 * (right - left) * (bottom - top)
                seen += 1
    assert seen


def test_sixteen_bit_pictures_are_shown_through_the_window_of_the_toml(tmp_path: Path) -> None:
    def deep(image_id: str) -> Image.Image:
        ramp = np.tile(np.linspace(0, 4000, 160).astype(np.uint16), (140, 1))
        return Image.fromarray(ramp)

    shown = []
    for name, line in (("whole", ""), ("window", "window = [1000, 2000]\n")):
        toml = line + TOML
        source = write_source(tmp_path / name, 1, toml=toml, draw=deep)
        out = tmp_path / f"{name}-out"
        assert attack("--source", source, "--output", out, "--type", "prompt", "--workers", 1).exit_code == 0
        path = parquet.read_table(out / "heart.parquet").to_pylist()[0]["image_path"]
        shown.append(np.asarray(open_image(out / path).convert("L"))[0])
    assert shown[0][0] == 0 and shown[0][-1] == 255 and shown[0][80] in range(126, 132)
    assert (shown[1][:39] == 0).all() and (shown[1][81:] == 255).all() and shown[1][60] in range(120, 136)


def test_a_dicom_file_is_a_source_picture(tmp_path: Path) -> None:
    data = pytest.importorskip("pydicom.data", reason="the extra dicom brings it")
    source = write_source(tmp_path / "source", 1)
    (source / "images" / "im000.png").unlink()
    shutil.copy(data.get_testdata_file("CT_small.dcm"), source / "images" / "im000.dcm")
    out = tmp_path / "out"
    assert attack("--source", source, "--output", out, "--workers", 1).exit_code == 0
    row = parquet.read_table(out / "heart.parquet").to_pylist()[0]
    assert open_image(out / row["image_path"]).size == (128, 128)


def test_one_picture_under_two_ids_is_told_unless_both_are_of_one_patient(tmp_path: Path) -> None:
    for name, patients, twins in (
        ("apart", {0: "p", 1: "q"}, [["tiny/im000", "tiny/im001"]]),
        ("one", {0: "p", 1: "p"}, []),
    ):
        source = write_source(tmp_path / name, 3, patients=patients)
        shutil.copy(source / "images" / "im000.png", source / "images" / "im001.png")
        out = tmp_path / f"{name}-out"
        done = attack("--source", source, "--output", out, "--type", "prompt", "--workers", 1)
        assert done.exit_code == 0 and ("tiny/im000 and tiny/im001 are the same picture" in done.stderr) == bool(twins)
        assert json.loads((out / "manifest.json").read_text())["same_picture"] == twins
