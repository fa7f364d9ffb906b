"""Templates, strength, compositions, parity and the contact sheet of `aloe-bench attack`."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner

from aloe_bench.cli.main import cli
from aloe_bench.errors import AloeError
from aloe_bench.heart.task import open_task
from aloe_bench.heart.wordings import fill, load_templates
from aloe_bench.images import open_image
from tests.support.heart_source import write_source

SHIPPED = (resources.files("aloe_bench.heart") / "templates" / "clinical.toml").read_text(encoding="utf-8")
Row = dict[str, Any]


def attack(*words: object) -> Any:
    return CliRunner().invoke(cli, ["attack", *map(str, words)], catch_exceptions=True)


def refused(*words: object) -> tuple[int, str]:
    done = attack(*words)
    assert isinstance(done.exception, AloeError), done.output
    return done.exception.exit_code, str(done.exception)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("wordings") / "source", 8)


def table(source: Path, output: Path, *words: object) -> list[Row]:
    done = attack("--source", source, "--output", output, "--workers", 1, *words)
    assert done.exit_code == 0, done.exception
    return parquet.read_table(output / "heart.parquet").to_pylist()


def test_the_shipped_set_has_wordings_enough_of_each_kind() -> None:
    shipped = load_templates()
    assert {wording.authority for wording in shipped.cues["sycophancy"]} == {"low", "medium", "high"}
    kinds = Counter(wording.bias for wording in shipped.cues["sycophancy"])
    assert set(kinds) == {"authority", "patient", "peer", "social", "testimony"} and min(kinds.values()) >= 8
    assert len(shipped.cues["caption"]) >= 16 and len(shipped.phrases["legend"]) >= 4
    whose = Counter(wording.bias for wording in shipped.cues["report"])
    assert set(whose) == {"other-patient", "other-date"} and min(whose.values()) >= 8


def test_a_report_stands_above_the_question_and_names_another_patient_or_date(source: Path, tmp_path: Path) -> None:
    rows = table(source, tmp_path / "out", "--type", "report,report+sycophancy")
    by_item = {(row["item_id"], row["attack"], row["variant"]): row for row in rows}
    wordings = {wording.id: wording for wording in load_templates().cues["report"]}
    for (item, attack, variant), row in by_item.items():
        if attack == "report":
            text, base = row["syco_trigger"], by_item[item, "", "baseline"]
            assert row["question"] == f"{text}\n{base['question']}" and row["image_sha256"] == base["image_sha256"]
            assert row["bias"] == wordings[row["trigger_template"]].bias and row["authority"] is None
            assert re.search("another|differ|else|other|before|earlier|older|previous", text, re.I)
            named = row[row["cue_target"]] if row["cue_target"] else None
            assert (variant == "neutral") == (named is None)
        elif attack:
            alone = by_item[item, "report", variant]
            assert row["syco_trigger"].startswith(alone["syco_trigger"]) and row["approach"] == "sycophancy+report"
            assert row["trigger_template"].startswith(f"{alone['trigger_template']}+")
    assert {row["bias"] for row in rows if row["attack"] == "report"} == {"other-patient", "other-date"}
    words = ("--type", "report", "--strength", "report.bias=other-date")
    dated = table(source, tmp_path / "dated", *words)
    assert {row["bias"] for row in dated if row["attack"]} == {"other-date"}


def test_testimony_is_drawn_when_asked_for_alone_and_measured_apart(source: Path, tmp_path: Path) -> None:
    usual = table(source, tmp_path / "usual", "--type", "sycophancy,caption")
    assert "testimony" not in {row["bias"] for row in usual}
    words = ("--type", "sycophancy,caption,caption+sycophancy", "--strength", "sycophancy.bias=testimony")
    told = table(source, tmp_path / "told", *words)
    assert {row["bias"] for row in told if "sycophancy" in row["attack"]} == {"testimony"}
    samples = list(open_task(str(tmp_path / "told")).load(tmp_path))
    assert {s.cue.attack for s in samples if s.cue} == {"caption", "testimony", "caption+testimony"}
    assert all(s.tags["attack"] == (s.cue.attack if s.cue else "") for s in samples)
    assert {s.cue.attack for s in open_task(str(tmp_path / "usual")).load(tmp_path) if s.cue} == {
        "caption",
        "sycophancy",
    }


def test_a_template_set_without_reports_has_none_in_all_and_is_refused_by_name(source: Path, tmp_path: Path) -> None:
    words = ("--source", source, "--templates", "answers")
    done = attack(*words, "--output", tmp_path / "out", "--workers", 1)
    assert done.exit_code == 0 and "Left out of --type all: report" in done.stderr
    made = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert made["attacks"] == ["caption", "prompt", "sycophancy", "legend"]
    code, message = refused(*words, "--output", tmp_path / "no", "--type", "report")
    assert code == 2 and "[[report]]" in message


def test_a_mention_names_the_option_of_the_claim_and_its_twin_the_truth(source: Path, tmp_path: Path) -> None:
    rows = table(source, tmp_path / "out", "--type", "prompt,sycophancy,caption")
    items: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        items.setdefault((row["item_id"], row["attack"]), {})[row["variant"]] = row
    assert {len(rows) for (_, attack), rows in items.items() if attack == "caption"} == {3}
    for (_, attack), variants in items.items():
        if attack not in ("prompt", "sycophancy"):
            continue
        assert len(variants) == 5
        for name, twin in (("mention", "adversarial"), ("mention_truth", "assistive")):
            assert variants[name]["cue_names"] == variants[twin]["cue_names"] == variants[twin]["cue_target"]
            assert variants[name]["cue_target"] is None and variants[name]["fake_option"] is None
            assert variants[name]["question"] != variants[twin]["question"]
            if variants[name]["task"] == "detection":
                assert variants[name][variants[name]["cue_names"]] in variants[name]["question"]
        if attack == "sycophancy":
            assert {row["bias"] for row in variants.values()} <= {"authority", "patient", "peer", "social"}
            assert len({(row["bias"], row["authority"], row["trigger_template"]) for row in variants.values()}) == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('experience said that this image shows $class_name."', 'said so."', "lacks its placeholder $class_name"),
        ("experience said that $bbox contains", "said that it contains", "lacks its placeholder $bbox"),
        ("Image, archive copy.", "Image of $class_name.", "allowed here: $number"),
        ("asked why $bbox has", "asked why it has", "lacks its placeholder $bbox"),
        ("this image shows $class_name.", "this image shows $clas_name.", "$clas_name"),
        ("What does this image show?", "What does 5$ show?", "'$' that begins no placeholder"),
        ('authority = "low"', 'authority = "lowest"', "low, medium, high"),
        ('bias = "authority"', "bias = 7", "expected a short name"),
        ('id = "authority-head"', 'id = "authority-consultant"', "'authority-consultant' is there twice"),
        ('finding = "$class_name"', 'finding = "a finding"', "lacks its placeholder $class_name"),
        ('task = "detection"', 'task = "segmentation"', "classification or detection"),
        ('id = "showing"', "id = 7", "id = 7"),
        ('neutral = "Figure $number: Image, archive', 'neural = "Figure $number: Image, archive', "mean neutral?"),
        ("version = 4", "version = 0", "version = 0"),
        ('none = "no annotated finding"', 'non = "no annotated finding"', "Did you mean none?"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_file_and_line(
    old: str, new: str, expected: str, source: Path, tmp_path: Path
) -> None:
    assert old in SHIPPED
    mine = tmp_path / "mine.toml"
    mine.write_text(SHIPPED.replace(old, new, 1))
    code, message = refused("--source", source, "--output", tmp_path / "out", "--templates", mine)
    changed = next(n for n, line in enumerate(SHIPPED.splitlines(), 1) if old in line)
    assert code == 3 and expected in message and not (tmp_path / "out").exists()
    if old != "version = 4":
        assert f"mine.toml:{changed}: " in message


def test_all_broken_templates_are_named_at_once_and_a_broken_file_is_said_to_be_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(SHIPPED.replace("$class_name.", "it."))
    with pytest.raises(AloeError, match="problems") as caught:
        load_templates(mine)
    assert str(caught.value).count("lacks its placeholder $class_name") > 8
    mine.write_text("name = ")
    with pytest.raises(AloeError, match="not readable as TOML"):
        load_templates(mine)


def test_templates_of_the_users_own_are_used_and_recorded(source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    changed = SHIPPED.replace('name = "clinical"', 'name = "ours"')
    for old in ("Which of the following best describes this image?", "What does this image show?"):
        changed = changed.replace(old, "What costs $$5?")
    mine.write_text(changed)
    rows = table(source, tmp_path / "out", "--templates", mine, "--type", "prompt")
    assert {row["template_set"] for row in rows} == {"ours-4"}
    assert any(row["question"] == "What costs $5?" for row in rows)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["templates"]["set"] == "ours-4"


def test_a_dollar_sign_in_a_class_name_stays_one(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 4)
    toml = source / "dataset.toml"
    toml.write_text(toml.read_text().replace('"pneumonia"', '"$class_name {costs} $5"'))
    rows = table(source, tmp_path / "out", "--type", "sycophancy")
    said = [row["syco_trigger"] for row in rows if row["variant"] == "assistive" and row["true_class"] == 1]
    assert any("$class_name {costs} $5" in text for text in said)


def test_authority_picks_the_level_and_leaves_the_rest_of_the_plan_alone(source: Path, tmp_path: Path) -> None:
    low, high = (
        table(source, tmp_path / level, "--type", "sycophancy", "--strength", f"sycophancy.authority={level}")
        for level in ("low", "high")
    )
    for one, other in zip(low, high, strict=True):
        same = ("item_id", "variant", "A", "B", "C", "answer", "cue_target", "question_template", "image_sha256")
        assert [one[key] for key in same] == [other[key] for key in same]
        if one["attack"]:
            assert (one["authority"], other["authority"]) == ("low", "high")
            assert one["trigger_template"].startswith("patient-")
            assert other["trigger_template"].startswith("authority-")
            assert json.loads(one["strength"]) == {"sycophancy.authority": "low"}
        else:
            assert one == other


def test_repeats_of_sycophancy_are_different_wordings_of_one_authority(source: Path, tmp_path: Path) -> None:
    once = table(source, tmp_path / "1", "--type", "sycophancy")
    thrice = table(source, tmp_path / "3", "--type", "sycophancy", "--strength", "sycophancy.repeats=3")
    for one, three in zip(once, thrice, strict=True):
        if one["attack"]:
            ids = three["trigger_template"].split("+")
            assert len(set(ids)) == 3 and len({name.partition("-")[0] for name in ids}) == 1
            assert ids[0] == one["trigger_template"] and one["syco_trigger"] in three["syco_trigger"]


@pytest.mark.parametrize(
    ("setting", "check"),
    [
        ("caption.size=2", lambda usual, strong: strong["font_px"] == 2 * usual["font_px"]),
        ("caption.repeats=3", lambda usual, strong: strong["height"] > usual["height"] + 2 * usual["font_px"]),
        ("caption.position=over", lambda usual, strong: strong["height"] == 140),
        ("caption.position=above", lambda usual, strong: strong["height"] == usual["height"]),
        ("caption.opacity=0.3", lambda usual, strong: strong["darkest"] > 150 > usual["darkest"]),
    ],
)
def test_the_strength_of_a_caption_is_seen_in_the_picture_and_in_the_row(
    setting: str, check: Any, source: Path, tmp_path: Path
) -> None:
    facts = []
    for name, words in (("usual", ()), ("strong", ("--strength", setting))):
        rows = table(source, tmp_path / name, "--type", "caption", "--limit", 1, *words)
        row = next(row for row in rows if row["variant"] == "adversarial" and row["task"] == "classification")
        picture = open_image(tmp_path / name / row["image_path"])
        band = np.asarray(picture.crop((0, 141, *picture.size)).convert("L")) if picture.height > 141 else np.array([0])
        facts.append({"font_px": row["font_px"], "height": picture.height, "darkest": int(band.min())})
        assert row["caption"] and json.loads(row["strength"]).keys() == (
            {setting.partition("=")[0]} if words else set()
        )
        assert {r["strength"] for r in rows if not r["attack"]} == {"{}"}
    assert check(*facts), facts


def test_a_strength_multiplies_the_usual_look_of_the_source(source: Path, tmp_path: Path) -> None:
    source = shutil.copytree(source, tmp_path / "large")
    facts = source / "dataset.toml"
    facts.write_text(facts.read_text() + "\n[rendering]\nfont_scale = 2.0\n")
    sizes = {}
    for size in (None, 1, 2):
        words = () if size is None else ("--strength", f"caption.size={size}")
        rows = table(source, tmp_path / f"size{size}", "--type", "caption", "--limit", 1, *words)
        (sizes[size],) = {(row["font_px"], row["strength"]) for row in rows if row["attack"]}
    assert sizes == {None: (28, "{}"), 1: (28, "{}"), 2: (56, '{"caption.size": 2.0}')}
    words = ("--type", "caption", "--strength", "caption.size=9")
    code, message = refused("--source", source, "--output", tmp_path / "no", *words)
    assert code == 3 and "font_scale is 18" in message


def test_a_composition_is_one_attack_by_a_stable_name_and_shows_both_cues(source: Path, tmp_path: Path) -> None:
    one = table(source, tmp_path / "one", "--type", "sycophancy+caption,caption,sycophancy")
    other = table(source, tmp_path / "other", "--type", "caption+sycophancy")
    both = [row for row in one if row["attack"] == "caption+sycophancy"]
    assert [row["item_id"] for row in both] == [row["item_id"] for row in other if row["attack"]]
    by_name = {(row["item_id"], row["attack"], row["variant"]): row for row in one}
    for row in both:
        captioned = by_name[row["item_id"], "caption", row["variant"]]
        opinion = by_name[row["item_id"], "sycophancy", row["variant"]]
        assert row["image_sha256"] == captioned["image_sha256"] and row["question"] == opinion["question"]
        assert row["approach"] == "captions+sycophancy" and row["cue_target"] == captioned["cue_target"]


def test_legend_over_caption_keeps_the_picture_and_a_legend_alone_on_whole_pictures_is_refused(
    source: Path, tmp_path: Path
) -> None:
    rows = table(source, tmp_path / "out", "--type", "caption+legend")
    assert {row["task"] for row in rows if row["attack"]} == {"detection"}
    base = {row["item_id"]: open_image(tmp_path / "out" / row["image_path"]) for row in rows if not row["attack"]}
    for row in (row for row in rows if row["attack"]):
        picture = open_image(tmp_path / "out" / row["image_path"])
        assert picture.crop((0, 0, 160, 140)).tobytes() == base[row["item_id"]].tobytes()
    plain = write_source(tmp_path / "plain", 2, toml='name = "p"\n[classification]\nclasses = ["a", "b", "c"]\n')
    code, message = refused("--source", plain, "--output", tmp_path / "no", "--type", "legend")
    assert code == 2 and "[detection]" in message


def test_a_caption_over_a_legend_is_refused_as_it_would_hide_it(source: Path, tmp_path: Path) -> None:
    words = ("--source", source, "--output", tmp_path / "no", "--strength", "caption.position=over")
    code, message = refused(*words, "--type", "caption,caption+legend")
    assert code == 2 and "caption+legend" in message and "cover the legend" in message
    assert table(source, tmp_path / "out", "--type", "caption,legend", *words[-2:])


def test_parity_rows_follow_the_published_counts_and_legend_rule(source: Path, tmp_path: Path) -> None:
    rows = table(source, tmp_path / "out", "--parity")
    assert {row["variant"] for row in rows} == {"baseline", "assistive", "adversarial"}
    n = {
        task: sum(row["task"] == task and not row["attack"] for row in rows) for task in ("classification", "detection")
    }
    assert len(rows) == 7 * n["classification"] + 9 * n["detection"]
    legends = [row for row in rows if row["attack"] == "legend"]
    assert {row["answer_color"] for row in legends} <= {"red", "blue", "green", "yellow"}
    for row in rows:
        if row["variant"] == "adversarial" and row["task"] == "detection":
            others = [c for c in json.loads(row["fake_bboxes_classes"]) if c != 99]
            assert (row["fake_class"] != 99) == bool(others)


def test_with_one_detection_class_legends_are_true_or_have_two_entries_swapped(tmp_path: Path) -> None:
    from aloe_bench.heart.attacks import parse_attacks
    from aloe_bench.heart.attacks.legend import entries
    from aloe_bench.heart.build import HeartRecipe, make_plan, open_job
    from aloe_bench.heart.make import plan_work
    from aloe_bench.heart.sources.source import load_source

    toml = 'name = "one"\n[detection]\nclasses = ["fracture"]\n'
    folder = write_source(
        tmp_path / "source", 6, toml=toml.replace("[det", '[classification]\nclasses=["a","b","c"]\n[det'),
        boxes=lambda n: [(0, 90, 20 + n, 120, 50 + n)],
    )  # fmt: skip
    recipe = HeartRecipe(parse_attacks("legend"), load_templates())
    for job in plan_work([load_source(folder)], recipe).jobs:
        key = next(key for key in job.keys if key.task == "detection")
        plan = make_plan(recipe, job.source, job.image, key, *open_job(job))
        said = {variant: entries(plan, variant) for variant in ("assistive", "adversarial", "neutral")}
        colours = [colour for colour, _ in said["assistive"]]
        assert len(set(colours)) == 4 and all([c for c, _ in found] == colours for found in said.values())
        true, phrases = plan.options[plan.answer], plan.phrases["legend"]
        own = fill(phrases["finding"], class_name="fracture")
        assert [text for _, text in said["assistive"]] == [
            f"Box {n}: {own if f'Box {n}' == true else phrases['none']}" for n in range(1, 5)
        ]
        changed = [a for a, b in zip(said["assistive"], said["adversarial"], strict=True) if a != b]
        assert len(changed) == 2 and sorted(t.partition(": ")[2] for _, t in said["adversarial"]) == sorted(
            t.partition(": ")[2] for _, t in said["assistive"]
        )
        assert len({text.partition(": ")[2] for _, text in said["neutral"]}) == 1


def test_boxes_named_by_colour_carry_no_label_and_are_called_by_it(tmp_path: Path) -> None:
    toml = (
        'name = "c"\n[detection]\nclasses = ["lesion"]\nbox_names = "colours"\n'
        '[rendering]\npalette = ["orange", "blue", "black", "yellow"]\n'
    )
    source = write_source(
        tmp_path / "source", 3, toml=toml + '[classification]\nclasses = ["a", "b", "c"]\n',
        boxes=lambda n: [(0, 90, 20, 120, 50)],
    )  # fmt: skip
    rows = table(source, tmp_path / "out", "--type", "sycophancy")
    for row in (row for row in rows if row["task"] == "detection"):
        names = {f"{colour} box" for colour in ("Orange", "Blue", "Black", "Yellow")}
        assert {row[letter] for letter in "ABCD"} == names == set(json.loads(row["box_labels"]))
        if row["variant"] == "adversarial":
            assert row[row["fake_option"]] in row["question"]
    text = (source / "dataset.toml").read_text()
    (source / "dataset.toml").write_text(text.replace('"black"', '"reddish purple"'))
    plain = table(source, tmp_path / "plain", "--type", "sycophancy")
    assert any("Pink box" in (row["A"], row["B"], row["C"], row["D"]) for row in plain)
    (source / "dataset.toml").write_text(text.replace('"black"', '"vermillion"'))
    assert "are both called 'orange'" in refused("--source", source, "--output", tmp_path / "no")[1]
    (source / "dataset.toml").write_text(text.replace('"orange"', '"#123456"'))
    assert "#123456" in refused("--source", source, "--output", tmp_path / "no")[1]
    code, message = refused("--source", source, "--output", tmp_path / "no", "--parity")
    assert code == 2 and "draws every box red" in message


def test_a_caption_over_a_picture_never_hides_a_box(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 24)
    rows = table(source, tmp_path / "out", "--type", "caption", "--strength", "caption.position=over")
    dropped = (tmp_path / "out" / "dropped.csv").read_text()
    assert "would hide Box" in dropped
    for row in (row for row in rows if row["box_info"] and row["attack"]):
        plain = open_image(tmp_path / "out" / "images" / f"{row['image_sha256']}.png")
        for _, top, _, bottom in (box["pixels"] for box in json.loads(row["box_info"]).values()):
            assert bottom - 0.1 * (bottom - top) <= plain.height - row["font_px"]


def test_the_contact_sheet_holds_the_very_pictures_of_the_table(source: Path, tmp_path: Path) -> None:
    done = attack("--source", source, "--preview", 2, "--output", tmp_path / "sheet.png")
    assert done.exit_code == 0 and "2 items" in done.output
    sheet = np.asarray(open_image(tmp_path / "sheet.png"))
    assert (sheet == 128).all(axis=2).sum() > 160 * 140  # the grey canvas of the image control, once an item
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.png"]
    pictures = [np.asarray(open_image(path)) for path in (table_folder(source, tmp_path) / "images").iterdir()]
    # The item with boxes has 7 pictures, the other one 4 and that of another item; a small picture is enlarged by whole
    # pixels.
    enlarged = [np.kron(picture, np.ones((k, k, 1), np.uint8)) for picture in pictures for k in (1, 2)]
    assert sum(_holds(sheet, picture) for picture in enlarged) == 12
    assert refused_usage("--source", source, "--preview", 2, "--output", tmp_path / "folder") == 2


def table_folder(source: Path, tmp_path: Path) -> Path:
    table(source, tmp_path / "out")
    return tmp_path / "out"


def refused_usage(*words: object) -> int:
    return int(attack(*words).exit_code)


def _holds(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Return whether `picture` is somewhere in `sheet`, pixel by pixel; found by a line of its grain."""
    (height, width), stride = picture.shape[:2], sheet.shape[1] * 3
    line, whole = height // 4, sheet.tobytes()
    at = whole.find(picture[line].tobytes())
    while at >= 0:
        top, left = at // stride - line, at % stride // 3
        found = sheet[max(0, top) : top + height, left : left + width]
        if found.shape == picture.shape and (found == picture).all():
            return True
        at = whole.find(picture[line].tobytes(), at + 1)
    return False
