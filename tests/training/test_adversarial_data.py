"""What AR learns from: the truth under every cue, whole items by lot, nothing that is evaluated with."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from aloe_bench.errors import DataError, UsageError
from aloe_bench.heart import make as attack
from aloe_bench.heart.attacks import parse_attacks
from aloe_bench.heart.build import HeartRecipe
from aloe_bench.heart.sources.source import load_source
from aloe_bench.heart.table import write as table
from aloe_bench.heart.wordings import load_templates
from aloe_bench.miniature.source import TEMPLATES, write_source
from aloe_bench.training.adversarial import TEMPLATES as CLINICAL_TRAINING
from aloe_bench.training.adversarial import ArDataConfig, write_adversarial_data
from aloe_bench.training.ar import check_measurable


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "conversations.jsonl").read_text().splitlines()]


def question_of(line: dict[str, Any]) -> str:
    return str(line["messages"][0]["content"][1]["text"])


def answer_of(line: dict[str, Any]) -> str:
    return str(line["messages"][1]["content"][0]["text"])


def evaluation(source: Path, folder: Path, templates: Path = TEMPLATES[0]) -> Path:
    loaded = load_source(source)
    recipe = HeartRecipe(parse_attacks("caption"), load_templates(templates))
    attack.build([loaded], attack.plan_work([loaded], recipe), recipe, folder)
    return folder


@pytest.fixture(scope="module")
def xray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("ar") / "xray", "xray", 40, split="train")


@pytest.fixture(scope="module")
def made(xray: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ar") / "data"
    write_adversarial_data(ArDataConfig(xray, templates=TEMPLATES[1], answer="text", validation_share=0.2), folder)
    return folder


def test_every_row_answers_with_the_truth_and_no_adversarial_cue_is_true(xray: Path, made: Path) -> None:
    rows = {
        (r["item_id"], r["attack"], r["variant"]): r
        for r in parquet.read_table(made / "heart" / "heart.parquet").to_pylist()
    }
    classes = dict(line.split(",")[:2] for line in (xray / "labels.csv").read_text().splitlines()[1:])
    seen = lines(made) + lines(made / "validation")
    for line in seen:
        parts = line["id"].split("/")
        row = rows[parts[2], line["tags"]["attack"], line["tags"]["variant"]]
        assert answer_of(line) == row[row["answer"]]
        if row["task"] == "classification":
            assert answer_of(line) == ("normal", "abnormal")[int(classes[row["source_id"]])]
        assert (row["cue_target"] == row["answer"]) == (line["tags"]["variant"] == "assistive")
        assert row["question"] in question_of(line)
        assert line["messages"][0]["content"][0]["image"] == f"heart/{row['image_path']}"
    variants = Counter(line["tags"]["variant"] for line in seen)
    located = Counter(row["task"] for row in rows.values() if not row["attack"])["detection"]
    assert located >= 19  # at most one picture has no room for four boxes
    cues = 20 * 3 + located * 4
    assert variants == {"baseline": 20 + located, "assistive": cues, "adversarial": cues}


def test_attacked_pictures_differ_from_the_clean_one_in_the_overlay_alone(made: Path) -> None:
    by_item: dict[str, dict[str, Path]] = {}
    for line in lines(made):
        key = f"{line['tags']['attack']}/{line['tags']['variant']}"
        picture = made / line["messages"][0]["content"][0]["image"]
        by_item.setdefault(line["id"].split("/")[2], {})[key] = picture
    checked = 0
    for pictures in by_item.values():
        clean = np.asarray(Image.open(pictures["/baseline"]).convert("RGB"))
        for key, path in pictures.items():
            seen = np.asarray(Image.open(path).convert("RGB"))
            if key.startswith(("prompt", "sycophancy", "/")):
                assert np.array_equal(seen, clean)
            elif key.startswith("caption"):  # a plate over the lowest 17 rows
                assert np.array_equal(seen[:95], clean[:95]) and not np.array_equal(seen, clean)
                checked += 1
            else:  # a legend below the picture
                assert np.array_equal(seen[:112], clean) and seen.shape[0] == 168
                checked += 1
    assert checked > 80


def test_held_out_images_are_in_no_training_row_and_their_pictures_are_there(made: Path) -> None:
    training, held_out = lines(made), lines(made / "validation")
    assert training and held_out
    assert not {line["cluster"] for line in training} & {line["cluster"] for line in held_out}
    for line in held_out:
        assert (made / "validation" / line["messages"][0]["content"][0]["image"]).is_file()
    for folder in (made, made / "validation"):
        manifest = json.loads((folder / "manifest.json").read_text())
        rows = Counter(
            f"{line['tags']['task']}/{line['tags']['attack'] or 'clean'}/{line['tags']['variant']}"
            for line in lines(folder)
        )
        assert manifest["rows"] == rows and manifest["n"] == manifest["available"] == rows.total()


def test_a_picture_that_is_there_twice_is_not_both_learnt_and_held_out(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "xray", 24, split="train")
    pictures = sorted((source / "images").iterdir())
    for one, other in zip(pictures[:12:2], pictures[12::2], strict=True):  # of the same class
        shutil.copyfile(one, other)
    wanted = ArDataConfig(source, templates=TEMPLATES[1], attacks="prompt", validation_share=0.4)
    write_adversarial_data(wanted, tmp_path / "data")

    def shown(folder: Path) -> set[str]:
        return {line["messages"][0]["content"][0]["image"] for line in lines(folder)}

    learnt, held = shown(tmp_path / "data"), shown(tmp_path / "data" / "validation")
    assert len(learnt) + len(held) == 18
    assert len(held) >= 4 and not learnt & held


def test_the_clean_only_control_is_as_long_and_has_no_cue(xray: Path, made: Path, tmp_path: Path) -> None:
    wanted = ArDataConfig(xray, templates=TEMPLATES[1], answer="text", validation_share=0.2, clean_only=True)
    write_adversarial_data(wanted, tmp_path / "control")

    control, attacked = lines(tmp_path / "control"), lines(made)
    assert [line["id"].removesuffix("/without-cue") for line in control] == [line["id"] for line in attacked]
    assert [answer_of(line) for line in control] == [answer_of(line) for line in attacked]
    clean = {question_of(line) for line in attacked if not line["tags"]["attack"]}
    assert {question_of(line) for line in control} == clean
    assert len({line["id"] for line in control}) == len(control)


@pytest.mark.parametrize("size", [100, 200, 310])
def test_the_cut_takes_the_commonest_class_first_and_is_drawn_by_seed(tmp_path: Path, size: int) -> None:
    source = write_source(tmp_path / "source", "xray", 40, split="train")
    rows = (source / "labels.csv").read_text().splitlines()
    # Eight of ten classified pictures normal, as in FracAtlas.
    ones = [i for i, row in enumerate(rows) if row.split(",")[1] == "1"]
    for i in ones[:6]:
        image_id, _, split = rows[i].split(",")
        rows[i] = f"{image_id},0,{split}"
    (source / "labels.csv").write_text("\n".join(rows) + "\n")
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_adversarial_data(
            ArDataConfig(source, templates=TEMPLATES[1], answer="text", target_size=size, seed=seed), tmp_path / name
        )
        made.append(lines(tmp_path / name))
    assert [len(m) for m in made] == [size] * 3
    assert made[0] == made[1]
    assert {line["id"] for line in made[0]} != {line["id"] for line in made[2]}
    found = Counter((line["tags"]["task"], answer_of(line)) for line in made[0])
    normal, abnormal = found["classification", "normal"], found["classification", "abnormal"]
    if size == 310:  # one row fewer than there are
        assert (normal, abnormal) == (16 * 7 - 1, 4 * 7)
    if size == 200:  # 320 - 12 normal items of 7 rows = 236: the classes are level, then all shrink alike
        assert abs(normal - abnormal) <= 7 and abnormal < 4 * 7
        assert sum(n for (task, _), n in found.items() if task == "detection") < 180


@pytest.mark.parametrize("number", [0, 1])  # classified; located, and so shown with frames in it
def test_a_picture_that_is_evaluated_with_is_refused_by_name(xray: Path, tmp_path: Path, number: int) -> None:
    other = write_source(tmp_path / "mri", "mri", 8)
    planted = sorted((xray / "images").iterdir())[number]
    victim = sorted((other / "images").iterdir())[number]
    shutil.copyfile(planted, victim)
    for place in (other, evaluation(other, tmp_path / "heart")):
        with pytest.raises(DataError, match=f"1 of its pictures .*{planted.stem}"):
            write_adversarial_data(ArDataConfig(xray, evaluation=(place,), templates=TEMPLATES[1]), tmp_path / "never")
        assert not (tmp_path / "never").exists()


def test_the_same_dataset_is_refused_and_a_shared_modality_is_marked(xray: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds the dataset 'miniature-xray' itself"):
        write_adversarial_data(ArDataConfig(xray, evaluation=(xray,), templates=TEMPLATES[1]), tmp_path / "never")
    kin = write_source(tmp_path / "kin", "xray", 4, seed=9)
    text = (kin / "dataset.toml").read_text().replace('"miniature-xray"', '"other-xray"')
    (kin / "dataset.toml").write_text(text)
    manifest = write_adversarial_data(
        ArDataConfig(xray, evaluation=(kin,), templates=TEMPLATES[1], attacks="prompt"), tmp_path / "data"
    )
    assert manifest["overlap"]["shared_modality"] == ["xray"]
    assert manifest["leakage"] == "none of 40 pictures is in kin; the modality xray is in both"


def test_what_could_not_be_measured_is_refused_before_a_picture_is_opened(tmp_path: Path) -> None:
    source = write_source(tmp_path / "few", "xray", 4)
    attacked = evaluation(source, tmp_path / "attacked")
    for picture in (source / "images").iterdir():
        picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match="holds the dataset 'miniature-xray' itself"):
        check_measurable(ArDataConfig(source, evaluation=(attacked,)))
    with pytest.raises(UsageError, match=r"--held-out 0.001 leaves none of 4 pictures or patients"):
        check_measurable(ArDataConfig(source, validation_share=0.001))


@pytest.mark.parametrize("spelled", ["Miniature X-Ray", "miniature_xray"])
def test_a_dataset_is_known_however_its_name_is_spelled(xray: Path, tmp_path: Path, spelled: str) -> None:
    kin = write_source(tmp_path / "kin", "xray", 4, seed=9)
    text = (kin / "dataset.toml").read_text().replace('"miniature-xray"', f'"{spelled}"')
    (kin / "dataset.toml").write_text(text.replace('modality = "xray"', 'modality = "X-ray"'))
    with pytest.raises(DataError, match="holds the dataset 'miniature-xray' itself"):
        write_adversarial_data(ArDataConfig(xray, evaluation=(kin,), templates=TEMPLATES[1]), tmp_path / "never")


def test_wordings_that_are_evaluated_with_are_refused(xray: Path, tmp_path: Path) -> None:
    heart = evaluation(write_source(tmp_path / "mri", "mri", 4), tmp_path / "heart")
    for place in (heart, heart / "heart.parquet"):
        with pytest.raises(DataError, match="made with the template set miniature-evaluation-1"):
            write_adversarial_data(ArDataConfig(xray, evaluation=(place,), templates=TEMPLATES[0]), tmp_path / "never")


def published(heart: Path, folder: Path) -> Path:
    """Write the table at `heart` as the hub has it: the published columns alone, under another file's name."""
    (folder / "data").mkdir(parents=True)
    rows = parquet.read_table(heart / "heart.parquet")
    rows = rows.select([name for name in rows.column_names if name in table.PUBLISHED])
    for name in rows["image_path"].unique().to_pylist():
        shutil.copyfile(heart / name, folder / Path(name).name)
    names = pa.array([Path(name).name for name in rows["image_path"].to_pylist()])
    rows = rows.set_column(rows.column_names.index("image_path"), "image_path", names)
    parquet.write_table(rows, folder / "data" / "test-00000-of-00001.parquet")
    return folder


def test_a_sentence_that_is_evaluated_with_is_refused_under_any_name(xray: Path, tmp_path: Path) -> None:
    heart = evaluation(write_source(tmp_path / "mri", "mri", 8), tmp_path / "heart")
    mine = tmp_path / "mine.toml"
    mine.write_text(
        TEMPLATES[1].read_text().replace("miniature-training", "mine").replace("Shows $class_name", "seen: $class_name")
    )
    for place in (heart, published(heart, tmp_path / "hub")):
        with pytest.raises(DataError, match=r"says 'Seen: (ab)?normal', which is 'seen: \$class_name'"):
            write_adversarial_data(ArDataConfig(xray, evaluation=(place,), templates=mine), tmp_path / "never")
        assert not (tmp_path / "never").exists()


def test_the_published_table_is_compared_with(xray: Path, tmp_path: Path) -> None:
    other = write_source(tmp_path / "mri", "mri", 8)
    free = published(evaluation(other, tmp_path / "free"), tmp_path / "hub")
    wanted = ArDataConfig(xray, evaluation=(free,), templates=TEMPLATES[1], attacks="prompt")
    manifest = write_adversarial_data(wanted, tmp_path / "data")
    assert manifest["overlap"]["compared_with"] == 8
    assert manifest["leakage"] == "none of 40 pictures is in hub; hub states no modality"

    shutil.copyfile(sorted((xray / "images").iterdir())[0], sorted((other / "images").iterdir())[0])
    leaking = published(evaluation(other, tmp_path / "leaking"), tmp_path / "hub2")
    with pytest.raises(DataError, match="1 of its pictures"):
        write_adversarial_data(replace(wanted, evaluation=(leaking,)), tmp_path / "never")


def test_the_shipped_training_wordings_share_no_sentence_with_the_evaluation_set() -> None:
    mine, theirs = load_templates(CLINICAL_TRAINING), load_templates("clinical")
    assert len(mine.cues["caption"]) >= 8 and len(mine.cues["sycophancy"]) >= 8
    assert {c.authority for c in mine.cues["sycophancy"]} == {"low", "medium", "high"}

    def sentences(one: Any) -> set[str]:
        cues = [*one.cues["sycophancy"], *one.cues["caption"]]
        return {text for cue in cues for text in (cue.classification, cue.detection, cue.neutral)} | {
            question.text for question in one.questions
        }

    assert not sentences(mine) & sentences(theirs)


def test_letters_are_answered_where_letters_are_asked(xray: Path, tmp_path: Path) -> None:
    wanted = replace(ArDataConfig(xray, templates=TEMPLATES[1]), attacks="sycophancy")
    write_adversarial_data(wanted, tmp_path / "letters")
    assert {answer_of(line) for line in lines(tmp_path / "letters")} == set("ABCD")


def test_reading_questions_ask_what_the_drawn_cue_says(xray: Path, tmp_path: Path) -> None:
    wanted = ArDataConfig(xray, templates=TEMPLATES[1], answer="text", reading=True)
    write_adversarial_data(wanted, tmp_path / "data")

    rows = {
        (r["item_id"], r["attack"], r["variant"]): r
        for r in parquet.read_table(tmp_path / "data" / "heart" / "heart.parquet").to_pylist()
    }
    asked = [line for line in lines(tmp_path / "data") if line["tags"]["variant"] == "reading"]
    assert Counter(line["tags"]["attack"] for line in asked) == {
        "caption": 39,
        "legend": 19,
    }  # one picture has no room for four boxes
    for line in asked:
        _, _, item, attack, variant, last = line["id"].split("/")
        row = rows[item, attack, variant]
        assert last == "reading" and answer_of(line) == row[row["cue_target"]]
        assert line["messages"][0]["content"][0]["image"] == f"heart/{row['image_path']}"
        assert question_of(line).startswith("Which option ") and row["question"] not in question_of(line)
    assert {line["id"].split("/")[4] for line in asked} == {"assistive", "adversarial"}
