"""Whatever list of a source is joined with another: remove or rename one entry on either side, and it is told."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from aloe_bench.cli.main import cli
from aloe_bench.errors import DataError
from aloe_bench.heart.problems import sentences
from aloe_bench.heart.sources.source import load_source
from tests.support.heart_source import TOML, picture, write_source

IDS = [f"im{n:03d}" for n in range(4)]


def small(image_id: str) -> Image.Image:
    return picture(image_id, (80, 70))


def source_of(root: Path, layout: str) -> Path:
    """Write four pictures with a box each, as YOLO or COCO, with masks."""
    write_source(root, 4, draw=small, boxes=lambda n: [(n % 2, 40, 10, 60, 25)])
    (root / "masks").mkdir()
    for image_id in IDS:
        Image.new("L", (80, 70), 255).save(root / "masks" / f"{image_id}.png")
    if layout == "coco":
        shutil.rmtree(root / "annotations")
        write_coco(root, lambda whole: None)
    return root


def write_coco(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    whole: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{name}.png", "width": 80, "height": 70} for n, name in enumerate(IDS)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": (7, 30)[n % 2], "bbox": [40, 10, 20, 15], "iscrowd": 0}
            for n in range(4)
        ],
        "categories": [{"id": 30, "name": "mass"}, {"id": 7, "name": "nodule"}],
    }
    change(whole)
    (root / "annotations.json").write_text(json.dumps(whole))


def removed(name: str) -> Callable[[Path], str]:
    def change(root: Path) -> str:
        (root / name).unlink()
        return Path(name).stem

    return change


def renamed(name: str, new: str) -> Callable[[Path], str]:
    def change(root: Path) -> str:
        (root / name).rename(root / Path(name).parent / new)
        return Path(new).stem

    return change


def doubled(name: str) -> Callable[[Path], str]:
    def change(root: Path) -> str:
        text = (root / name).read_text()
        (root / name).write_text(text + text)
        return Path(name).stem

    return change


def in_labels(old: str, new: str, told: str) -> Callable[[Path], str]:
    def change(root: Path) -> str:
        text = (root / "labels.csv").read_text()
        assert old in text
        (root / "labels.csv").write_text(text.replace(old, new))
        return told

    return change


def in_coco(change: Callable[[dict[str, Any]], object], told: str) -> Callable[[Path], str]:
    def apply(root: Path) -> str:
        write_coco(root, change)
        return told

    return apply


CHANGES: dict[str, tuple[str, Callable[[Path], str]]] = {
    "a label removed": ("yolo", in_labels("im002,2,,test\n", "", "im002")),
    "a label removed beside COCO": ("coco", in_labels("im002,2,,test\n", "", "im002")),
    "a picture more": ("yolo", lambda root: (small("x").save(root / "images" / "extra.png"), "extra")[1]),
    "a box file removed": ("yolo", removed("annotations/im001.txt")),
    "a box file renamed": ("yolo", renamed("annotations/im001.txt", "3f2a-im001.txt")),
    "a mask removed": ("yolo", removed("masks/im003.png")),
    "a mask renamed": ("yolo", renamed("masks/im003.png", "im003_mask.png")),
    "an image of COCO removed with its box": (
        "coco",
        in_coco(lambda w: (w["images"].pop(1), w["annotations"].pop(1)), "im001"),
    ),
    "an image of COCO renamed": (
        "coco",
        in_coco(lambda w: w["images"][1].update(file_name="a/x-im001.png"), "x-im001"),
    ),
    "a box that is there twice": ("yolo", doubled("annotations/im001.txt")),
    "a box whose polygon lies elsewhere": (
        "coco",
        in_coco(lambda w: w["annotations"][1].update(segmentation=[[0, 0, 5, 0, 5, 5]]), "im001"),
    ),
    "a category that no box has": (
        "coco",
        in_coco(lambda w: w["categories"].append({"id": 0, "name": "background"}), "background"),
    ),
    "a group region": ("coco", in_coco(lambda w: w["annotations"][1].update(iscrowd=1), "im001")),
    "a file that is not a picture": (
        "yolo",
        lambda root: ((root / "images" / "notes.docx").write_text("x"), "notes.docx")[1],
    ),
    "a list of classes beside the boxes": (
        "yolo",
        lambda root: ((root / "annotations" / "classes.txt").write_text("nodule\n"), "classes.txt")[1],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_entry_on_either_side_is_left_over_by_name(name: str, tmp_path: Path) -> None:
    layout, change = CHANGES[name]
    source = source_of(tmp_path / "source", layout)
    assert not load_source(source).left_over
    told = change(source)
    said = sentences(load_source(source).left_over)
    assert all(sentence.startswith("1 ") for sentence in said) and any(told in sentence for sentence in said), said


FAST = ("an image of COCO renamed",)


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CHANGES]
)
def test_one_entry_on_either_side_is_told_everywhere(name: str, tmp_path: Path) -> None:
    layout, change = CHANGES[name]
    source, out = source_of(tmp_path / "source", layout), tmp_path / "out"
    told = change(source)
    words = ["attack", "--source", source, "--output", out, "--type", "prompt", "--workers", 1]
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert any(line.startswith("Caution: tiny: ") and told in line for line in done.stderr.splitlines()), done.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    assert any(told in sentence for sentence in manifest["left_over"]["tiny"])
    with (out / "dropped.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert any(told in line["source_id"] for line in lines) and len(lines) == manifest["dropped"]


REFUSED: dict[str, tuple[str, Callable[[Path], str]]] = {
    "a picture removed": ("yolo", lambda root: (removed("images/im002.png")(root), "no picture of 'im002'")[1]),
    "a picture renamed": ("yolo", lambda root: (renamed("images/im002.png", "x.png")(root), "labels.csv:4")[1]),
    "a label renamed": ("yolo", in_labels("im002,", "im2,", "no picture of 'im2'")),
    "two labels that differ in case": (
        "yolo",
        in_labels("im003,", "IM002,,,test\nim003,", "'im002' (labels.csv:4) and 'IM002' (labels.csv:5)"),
    ),
    "two patients that differ in case": (
        "yolo",
        lambda root: (
            in_labels("im001,1,,", "im001,1,P1,", "")(root),
            in_labels("im002,2,,", "im002,2,p1,", "'P1' and 'p1'")(root),
        )[1],
    ),
    "all of COCO's names in another form": (
        "coco",
        in_coco(lambda w: [i.update(file_name=f"3f-{i['file_name']}") for i in w["images"]], "none of the 4 images of"),
    ),
    "all masks in another form": (
        "yolo",
        lambda root: (
            [path.rename(path.with_name(f"m-{path.name}")) for path in (root / "masks").iterdir()],
            "none of the 4 files in masks/",
        )[1],
    ),
    "all boxes as groups": (
        "coco",
        in_coco(lambda w: [a.update(iscrowd=1) for a in w["annotations"]], 'crowd = "keep"'),
    ),
    "a volume in place of a picture": (
        "yolo",
        lambda root: (
            removed("images/im002.png")(root),
            (root / "images" / "im002.nii.gz").write_bytes(b"\x1f\x8b"),
            "images/im002.nii.gz is NIfTI, a volume",
        )[2],
    ),
    "DICOM without its ending": (
        "yolo",
        lambda root: (
            removed("images/im002.png")(root),
            (root / "images" / "im002").write_bytes(bytes(128) + b"DICM"),
            "images/im002 is DICOM without its ending",
        )[2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_joined_is_refused_by_name(name: str, tmp_path: Path) -> None:
    layout, change = REFUSED[name]
    source = source_of(tmp_path / "source", layout)
    told = change(source)
    with pytest.raises(DataError) as caught:
        load_source(source)
    assert told in str(caught.value)


def test_names_in_another_case_or_composition_are_one_and_said_so(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 2, draw=small, boxes=lambda n: [(0, 40, 10, 60, 25)])
    (source / "images" / "im000.png").rename(source / "images" / "cafe\u0301.png")
    (source / "annotations" / "im000.txt").rename(source / "annotations" / "CAFÉ.txt")
    text = (source / "labels.csv").read_text()
    (source / "labels.csv").write_text(text.replace("im000", "Caf\u00e9").replace("im001", "IM001"))
    loaded = load_source(source)
    assert [len(image.boxes) for image in loaded.images] == [1, 1] and not loaded.left_over
    assert any("2 names differ in case or composition" in note for note in loaded.notes)


def test_files_of_another_split_are_nobodys_leftovers(tmp_path: Path) -> None:
    source = source_of(tmp_path / "source", "coco")
    in_labels("im002,2,,test", "im002,2,,valid", "")(source)
    (source / "dataset.toml").write_text('split = "test"\n' + TOML)
    loaded = load_source(source)
    assert len(loaded.images) == 3 and not loaded.left_over and "1 images of the labels" in loaded.notes[0]


@pytest.mark.parametrize("mark", [{"iscrowd": True}, {"iscrowd": "1"}, {"ignore": 1}, {"IsGroupOf": 1}])
@pytest.mark.parametrize("within", ["", "attributes"])
def test_a_group_region_is_one_however_it_is_marked(mark: dict[str, Any], within: str, tmp_path: Path) -> None:
    def marked(found: dict[str, Any]) -> dict[str, Any]:
        return {within: found} if within else found

    source = source_of(tmp_path / "source", "coco")
    write_coco(source, lambda whole: whole["annotations"][1].update(marked(mark)))
    assert [len(image.boxes) for image in load_source(source).images] == [1, 0, 1, 1]
    write_coco(source, lambda whole: whole["annotations"][1].update(marked(dict.fromkeys(mark, 0))))
    assert [len(image.boxes) for image in load_source(source).images] == [1] * 4


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("0 0.5 0.5 0.2 0.2 0.93", "the sixth perhaps a confidence"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.3 0.2 0.4", "a polygon of 5 points"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "four corners"),
        ("0 45 20 20 15", "looks like pixels"),
        ("0 0.99 0.5 0.06 0.2", "sticks out by 2.0%"),
        ("0 0.5 0.5 0 0.2", "no width or no height"),
        ("0 0.5 0.5 -0.1 0.2", "negative width"),
        ("7 0.5 0.5 0.1 0.2", "class '7' is not one of [detection] classes, 0 to 1"),
        ("Mass 0.5 0.5 0.1 0.2", "class 'Mass' is not one of [detection] classes, 0 to 1; write 1"),
        ("0 0,5 0,5 0,1 0,2", "Write decimal points, not commas"),
        ("0,0.5,0.5,0.1,0.2", "separated by commas"),
        ("# class x y w h", "a comment"),
    ],
)
def test_a_box_that_is_none_is_named_for_what_it_is(line: str, told: str, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 2, draw=small)
    (source / "annotations" / "im001.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=r"annotations/im001\.txt:1: ") as caught:
        load_source(source)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"bbox": None, "segmentation": {"counts": [1], "size": [70, 80]}}, "RLE, a mask"),
        ({"bbox": [], "segmentation": [[1, 1, 9, 1, 9, 9]]}, "a polygon"),
        ({"bbox": [50, 40, 70, 60]}, "corners instead of"),
        ({"bbox": [10, 10, 30, 25], "area": 300}, "has corners where [x, y, width, height] is expected"),
        ({"bbox": [10, 10, 30, 25], "segmentation": [[10, 10, 30, 10, 30, 25]]}, "has corners where"),
        ({"bbox": [0.4, 0.1, 0.25, 0.2]}, "lies in the first pixel: shares of 0 to 1?"),
        ({"image_id": "1"}, "image_id is not one of the file's images; 1 is: write number and text alike"),
        ({"bbox": [40, 10, 0, 15]}, "no width or no height"),
        ({"category_id": 30.5}, "category_id 30.5"),
    ],
)
def test_a_coco_entry_that_is_no_box_is_named_for_what_it_is(entry: dict[str, Any], told: str, tmp_path: Path) -> None:
    source = source_of(tmp_path / "source", "coco")
    write_coco(source, lambda whole: whole["annotations"][1].update(entry))
    with pytest.raises(DataError, match=r"annotations\[1\] \(id 1\)") as caught:
        load_source(source)
    assert told in str(caught.value)


def test_boxes_of_larger_pictures_that_all_lie_in_the_first_hundred_pixels_are_said_to(tmp_path: Path) -> None:
    source = source_of(tmp_path / "source", "coco")

    def larger(whole: dict[str, Any]) -> None:
        for image in whole["images"]:
            image.update(width=400, height=300)
        whole["annotations"] += [{**whole["annotations"][n], "id": 9 + n, "bbox": [60, 60, 20, 20]} for n in range(3)]

    write_coco(source, larger)
    assert any("if they are in percent" in note for note in load_source(source).notes)


def test_a_picture_under_another_ending_than_cocos_file_name_is_said_to_be(tmp_path: Path) -> None:
    source = source_of(tmp_path / "source", "coco")
    assert not load_source(source).notes
    write_coco(source, lambda whole: whole["images"][1].update(file_name="im001.jpg"))
    write = "1 picture is there under another ending than its file_name: im001.jpg = im001.png"
    assert [note for note in load_source(source).notes if note.endswith(write)]

    def twice(whole: dict[str, Any]) -> None:
        whole["images"].append({**whole["images"][1], "id": 9, "file_name": "im001.jpg"})

    write_coco(source, twice)
    with pytest.raises(DataError, match="image 'im001' or its id is there twice"):
        load_source(source)


def test_a_file_name_that_is_an_address_is_said_to_be_taken_by_its_last_part(tmp_path: Path) -> None:
    source = source_of(tmp_path / "source", "coco")
    write_coco(source, lambda whole: whole["images"][1].update(file_name="/data/local-files/?d=ward/im001.png"))
    told = "1 file_name is an address, of which the last part is taken as a name: "
    (note,) = load_source(source).notes
    assert note.endswith(f"{told}/data/local-files/?d=ward/im001.png = im001.png")


def test_corners_in_a_yolo_file_are_refused_as_such_or_cautioned_where_they_could_be_boxes(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 6, draw=small, boxes=lambda n: [])
    for n in range(6):
        (source / "annotations" / f"im00{n}.txt").write_text(f"0 0.4 0.4 0.5{n} 0.6\n")
    assert any("in all 6 boxes the third number is over the first" in note for note in load_source(source).notes)
    (source / "annotations" / "im005.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert not load_source(source).notes
    (source / "annotations" / "im005.txt").write_text("0 0.7 0.6 0.9 0.8\n")
    with pytest.raises(DataError, match="corners x1 y1 x2 y2 perhaps, is not inside the image"):
        load_source(source)


def test_a_class_is_given_by_number_or_by_a_name_that_means_one(tmp_path: Path) -> None:
    source = source_of(tmp_path / "source", "yolo")
    rows = ["im000,Normal", "im001,pneumonia", "im002,2", "im003,"]
    (source / "labels.csv").write_text("\n".join(["image_id,class", *rows]) + "\n")
    loaded = load_source(source)
    assert [image.class_index for image in loaded.images] == [0, 1, 2, None]
    assert any("classes by name: Normal = 'normal' (0), pneumonia = 'pneumonia' (1)" in note for note in loaded.notes)

    toml = (source / "dataset.toml").read_text().replace('"pneumonia", "effusion"]', '"None", "0"]')
    (source / "dataset.toml").write_text(toml)
    told_of = {
        "0": "may be 2 or 0",
        "none": "may be the class of that name or no class",
        "nomal": "Did you mean normal",
    }
    for cell, told in told_of.items():
        (source / "labels.csv").write_text(f"image_id,class\nim000,{cell}\n")
        with pytest.raises(DataError, match=told):
            load_source(source)


def test_classes_as_floats_and_category_ids_with_gaps_are_read(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 2, draw=small)
    (source / "annotations" / "im001.txt").write_text("1.0 0.5 0.5 0.2 0.2\n")
    assert [box.class_index for box in load_source(source).images[1].boxes] == [1]
    other = source_of(tmp_path / "other", "coco")
    assert [image.boxes[0].class_index for image in load_source(other).images] == [0, 1, 0, 1]


def test_clip_cuts_up_to_its_tolerance_and_tells_each_box(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 2, draw=small, toml="clip = true\n" + TOML)
    (source / "annotations" / "im001.txt").write_text("0 0.98 0.5 0.1 0.2\n1 0.5 0.5 0 0.2\n0 0.2 0.2 0.1 0.1\n")
    loaded = load_source(source)
    assert [(round(box.x2, 6), box.class_index) for box in loaded.images[1].boxes] == [(1.0, 0), (0.25, 0)]
    assert sorted((entry.name, entry.reason.split(":")[0]) for entry in loaded.left_over) == [
        ("im001", "sticking out"), ("im001", "without width or height"),
    ]  # fmt: skip
    (source / "annotations" / "im001.txt").write_text("0 0.98 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match=r"sticks out by 8\.0% .*clip allows 5\.0%"):
        load_source(source)
    (source / "dataset.toml").write_text("clip = 0.1\n" + TOML)
    assert load_source(source).images[1].boxes[0].x2 == 1
    (source / "dataset.toml").write_text("clip = 2\n" + TOML)
    with pytest.raises(DataError, match="clip = 2; expected true"):
        load_source(source)


def test_boxes_marked_as_groups_are_findings_where_the_source_says_so(tmp_path: Path) -> None:
    source = source_of(tmp_path / "source", "coco")
    write_coco(source, lambda whole: [entry.update(iscrowd=1) for entry in whole["annotations"]])
    (source / "dataset.toml").write_text('crowd = "keep"\n' + TOML)
    assert [len(image.boxes) for image in load_source(source).images] == [1] * 4


def test_all_means_all_attacks_that_fit_and_names_the_others(tmp_path: Path) -> None:
    toml = TOML.replace('[detection]\nclasses = ["nodule", "mass"]\n', "")
    source = write_source(tmp_path / "source", 2, draw=small, toml=toml)
    done = CliRunner().invoke(cli, ["attack", "--source", str(source), "--dry-run", "--workers", "1"])
    assert done.exit_code == 0 and "Left out of --type all: legend" in done.stderr, done.output
    named = CliRunner().invoke(cli, ["attack", "--source", str(source), "--dry-run", "--type", "legend"])
    assert getattr(named.exception, "exit_code", None) == 2


@pytest.mark.parametrize("case", ["02-orphan-coco-boxes", "22-coco-iscrowd"])
def test_the_cases_of_the_folder_beside_us(case: str) -> None:
    place = Path(__file__).parents[3] / "shared" / "cases" / case / "source"
    if not place.is_dir():
        pytest.skip("../shared is not here")
    if case.startswith("22"):
        assert any(
            "iscrowd" in sentence and "img001" in sentence for sentence in sentences(load_source(place).left_over)
        )
    else:
        with pytest.raises(DataError, match="3f2a-img000, 3f2a-img001, 3f2a-img002"):
            load_source(place)
