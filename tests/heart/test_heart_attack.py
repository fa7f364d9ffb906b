"""`aloe-bench attack`: rows of one item differ in the cue alone, and nothing else decides what is written."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner

from aloe_bench.cli.main import cli
from aloe_bench.images import open_image
from aloe_bench.miniature.source import write_source as write_miniature
from tests.support.heart_source import write_real_source, write_source

Row = dict[str, Any]


def attack(*words: object) -> Any:
    """Run the command in this process, as `main` does."""
    return CliRunner().invoke(cli, ["attack", *map(str, words)], catch_exceptions=True)


def rows_of(folder: Path) -> list[Row]:
    return parquet.read_table(folder / "heart.parquet").to_pylist()


def items_of(folder: Path) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows_of(folder):
        found.setdefault(row["item_id"], []).append(row)
    return found


@pytest.fixture(scope="module", params=["grain", "real", "xray", "ultrasound", "fundus", "mri"])
def output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with every attack and one composition: of grain, of real pictures, of four made-up modalities."""
    root = tmp_path_factory.mktemp("heart")
    if request.param == "grain":
        source = write_source(root / "source", 12)
    elif request.param == "real":
        source = write_real_source(root / "source")
    else:
        source = write_miniature(root / "source", request.param, 16)
        (source / "dataset.toml").write_text(  # its pictures, with the usual looks and numbered boxes
            f'name = "{request.param}"\n[classification]\nclasses = ["normal", "abnormal"]\n'
            '[detection]\nclasses = ["lesion"]\n[rendering]\nfont_share = 0.1\nmin_font_px = 10\n'
        )
    done = attack("--source", source, "--output", root / "out", "--type", "all,caption+sycophancy", "--workers", 1)
    assert done.exit_code == 0, done.exception
    tasks = {row["task"] for row in rows_of(root / "out")}
    assert tasks == {"classification", "detection"}
    return root / "out"


def test_every_item_has_its_baseline_and_every_variant_of_every_attack_once(output: Path) -> None:
    for rows in items_of(output).values():
        kinds = [(row["attack"], row["variant"]) for row in rows]
        attacks = ["caption", "prompt", "sycophancy", "report", "caption+sycophancy"]
        attacks += ["legend"] if rows[0]["task"] == "detection" else []
        wanted = {("", "baseline")} | {(a, v) for a in attacks for v in ("assistive", "adversarial", "neutral")}
        wanted |= {(a, v) for a in ("prompt", "sycophancy") for v in ("mention", "mention_truth")}
        assert len(kinds) == len(set(kinds)) and set(kinds) == wanted


# What may differ between the rows of one item; everything else must be equal.
CUE = {
    "approach", "sample_type", "variant", "attack", "index", "question", "fake_option", "fake_class",
    "fake_class_name", "caption", "syco_trigger", "answer_color", "image_path", "image_sha256", "cue_target",
    "trigger_template", "caption_template", "font_px", "cue_names", "authority", "bias",
}  # fmt: skip


def test_rows_of_one_item_differ_in_the_cue_alone(output: Path) -> None:
    for rows in items_of(output).values():
        base = rows[0]
        assert base["attack"] == ""
        for row in rows:
            assert {k: v for k, v in row.items() if k not in CUE} == {k: v for k, v in base.items() if k not in CUE}
            trigger = row["syco_trigger"] + ("\n" if row["attack"] == "report" else " ") if row["syco_trigger"] else ""
            caption = f"Caption: {row['caption']}\n" if "prompt" in row["attack"] else ""
            assert row["question"] == caption + trigger + base["question"]
            drawn = "caption" in row["attack"] or "legend" in row["attack"]
            assert (row["image_sha256"] != base["image_sha256"]) == drawn


def test_pictures_of_one_item_are_the_baseline_plus_a_strip_of_one_size(output: Path) -> None:
    seen = 0
    for rows in items_of(output).values():
        base = open_image(output / rows[0]["image_path"])
        heights: dict[str, set[int]] = {}
        for row in rows[1:]:
            picture = open_image(output / row["image_path"])
            assert picture.crop((0, 0, *base.size)).tobytes() == base.tobytes()
            heights.setdefault(row["attack"], set()).add(picture.height)
            seen += picture.height > base.height
        assert all(len(found) == 1 for found in heights.values())
    assert seen


def test_an_assistive_cue_names_the_truth_and_an_adversarial_one_never_does(output: Path) -> None:
    for row in rows_of(output):
        options = {letter: row[letter] for letter in "ABCD" if row[letter] is not None}
        assert len(options) == row["n_options"] and len(set(options.values())) == len(options)
        said = " ".join(filter(None, (row["caption"], row["syco_trigger"])))
        named = {letter for letter, text in options.items() if _said(text, said)}
        if row["variant"] in ("baseline", "neutral"):
            assert row["cue_target"] is None and row["fake_option"] is None and not named
        elif row["variant"] in ("mention", "mention_truth"):
            assert row["cue_target"] is None and row["fake_option"] is None and named == {row["cue_names"]}
            assert (row["cue_names"] == row["answer"]) == (row["variant"] == "mention_truth")
        elif row["variant"] == "assistive":
            assert row["cue_target"] == row["answer"] and row["fake_option"] is None
            assert named == {row["answer"]} or row["attack"] == "legend"
        else:
            assert row["cue_target"] == row["fake_option"] != row["answer"]
            assert named == {row["fake_option"]} or row["attack"] == "legend"


def _said(option: str, text: str) -> bool:
    form = "no abnormality" if option == "normal" and "no abnormality" in text else option
    return re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text) is not None


def test_all_cues_of_one_item_argue_for_the_same_wrong_option(output: Path) -> None:
    for rows in items_of(output).values():
        assert len({row["cue_target"] for row in rows if row["variant"] == "adversarial"}) == 1


def test_boxes_of_a_detection_item_are_four_apart_and_hold_the_true_one(output: Path) -> None:
    for row in rows_of(output):
        if row["task"] != "detection":
            assert row["box_labels"] is None and row["true_bbox"] is None
            continue
        boxes, true = json.loads(row["box_labels"]), row[row["answer"]]
        assert set(boxes) == {row[letter] for letter in "ABCD"} == {f"Box {n}" for n in range(1, 5)}
        (x1, y1), (x2, y2) = ast.literal_eval(row["true_bbox"])
        assert boxes[true] == [x1, y1, x2, y2]
        others = [[*low, *high] for low, high in ast.literal_eval(row["fake_bboxes"])]
        assert sorted(others) == sorted(box for name, box in boxes.items() if name != true)
        for name, (left, top, right, bottom) in boxes.items():
            for other in (box for key, box in boxes.items() if key != name):
                assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_a_third_of_a_source_has_the_same_boxes_by_the_places_of_the_whole_one(tmp_path: Path) -> None:
    whole, third = write_source(tmp_path / "whole", 24), write_source(tmp_path / "third", order=range(0, 24, 3))
    made = {}
    for name, source, more in (
        ("whole", whole, ()),
        ("again", third, ("--places", tmp_path / "whole-out")),
        ("alone", third, ()),
    ):
        done = attack(
            "--source", source, "--output", tmp_path / f"{name}-out", "--type", "prompt", "--workers", 1, *more
        )
        assert done.exit_code == 0, done.output
        made[name] = {
            (row["item_id"], row["attack"], row["variant"]): {**row, "index": None}
            for row in rows_of(tmp_path / f"{name}-out")
        }

    assert len(made["again"]) < len(made["whole"]) and made["again"].items() <= made["whole"].items()
    assert made["alone"].keys() == made["again"].keys() and made["alone"] != made["again"]
    manifests = {name: json.loads((tmp_path / f"{name}-out" / "manifest.json").read_text()) for name in made}
    assert [manifests[name]["places"] for name in made] == ["of the source", "given", "of the source"]
    digests = {name: manifests[name]["files"]["places.json"] for name in made}
    assert digests["whole"] == digests["again"] != digests["alone"]


def test_places_of_another_dataset_are_refused(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 4)
    (tmp_path / "places.json").write_text('{"schema": 1, "places": {"other": []}}')
    (tmp_path / "broken.json").write_text('{"schema": 1, "places": {"tiny": [["a", "b", 0, 2, 0, 0, 0]]}}')

    other = attack("--source", source, "--dry-run", "--places", tmp_path / "places.json")
    broken = attack("--source", source, "--dry-run", "--places", tmp_path / "broken.json")

    assert "it holds other, and not tiny" in str(other.exception)
    assert "not readable as places (a place outside its picture" in str(broken.exception)
