"""`train-ar` as a user runs it: a source in, a checkpoint out, with what it was measured to do before and after."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aloe_bench.cli.main import cli
from aloe_bench.errors import DataError, RunMismatchError, UsageError
from aloe_bench.evaluation import runlog
from aloe_bench.heart import make as attack
from aloe_bench.heart.attacks import parse_attacks
from aloe_bench.heart.build import HeartRecipe
from aloe_bench.heart.sources.source import load_source
from aloe_bench.heart.wordings import load_templates
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.miniature.source import TEMPLATES, write_source
from aloe_bench.training.adversarial import ArDataConfig, write_adversarial_data
from aloe_bench.training.ar import probes

pytest.importorskip("trl")

SMALL = ("--set", "micro_batch=8", "--set", "global_batch=8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base, an X-ray source to learn from, and an attacked CT table to be measured on."""
    folder = tmp_path_factory.mktemp("ar")
    build_tiny_checkpoint(folder / "tiny")
    write_source(folder / "xray", "xray", 8, 555, split="train")
    ct = load_source(write_source(folder / "ct", "ct", 4, 2077))
    recipe = HeartRecipe(parse_attacks("caption,prompt"), load_templates(TEMPLATES[0]))
    attack.build([ct], attack.plan_work([ct], recipe), recipe, folder / "eval")
    return folder


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def train_ar(place: Path, output: Path, *more: object) -> Result:
    return invoke(
        "train-ar", "--model", place / "tiny", "--source", place / "xray", "--output", output, "--answer", "text",
        "--templates", TEMPLATES[1], "--held-out", "0.3", *SMALL, *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("out") / "robust"
    result = train_ar(place, output, "--evaluation", place / "eval", "--measure", "--json")
    assert result.exit_code == 0, result.exception
    return output, json.loads(result.stdout)


def test_the_table_holds_what_both_checkpoints_answered(trained: tuple[Path, dict[str, Any]]) -> None:
    """Recounted from the two run logs, without the code that made the table."""
    output, said = trained
    runs = {
        header["model"]["name"]: runlog.read_run(path.parent)[1]
        for path in (output / ".training" / "runs" / "0").rglob("run.json")
        if (header := json.loads(path.read_text()))
    }
    assert sorted(runs) == ["after AR", "base"]
    (title,) = (title for title in said["measured"] if "never saw" in title)
    rows = {row["row"]: row for row in said["measured"][title]["rows"]}
    counted = 0
    for name, row in rows.items():
        task, _, attack = name.partition("/")
        if ":" in name or task not in ("classification", "detection"):
            continue
        arm = "" if attack == "baseline" else attack
        right = {
            model: [
                record.score.value or 0.0
                for record in records
                if record.tags["task"] == task
                and (record.cue.attack if record.cue else "") == arm
                and (record.cue is None or record.cue.variant == "adversarial")
            ]
            for model, records in runs.items()
        }
        assert len(right["base"]) == row["n"] > 0
        assert row["first"] == pytest.approx(sum(right["base"]) / row["n"])
        assert row["second"] == pytest.approx(sum(right["after AR"]) / row["n"])
        assert row["value"] == pytest.approx((sum(right["after AR"]) - sum(right["base"])) / row["n"])
        counted += 1
    assert counted == 6


def test_the_card_holds_the_tables_for_seen_and_unseen_wordings(trained: tuple[Path, dict[str, Any]]) -> None:
    card = (trained[0] / "README.md").read_text()

    assert "### heart-miniature-ct: wordings that AR never saw" in card
    assert "leakage none of 8 pictures is in eval" in card
    assert "### heart-miniature-xray: held-out pictures, wordings of the training" in card
    assert "| questions | n | before | after | change | 95 % interval | p (family) |" in card
    assert "Caution: " in card
    assert "dataset miniature-xray, " in card and "licence CC0-1.0" in card
    assert "| classification/caption |" in card
    assert "Not measured yet" not in card


def test_held_out_pictures_are_not_trained_on(trained: tuple[Path, dict[str, Any]]) -> None:
    data = trained[0] / ".training" / "data"

    def pictures(folder: Path) -> tuple[set[str], set[str]]:
        lines = [json.loads(line) for line in (folder / "conversations.jsonl").read_text().splitlines()]
        return {line["messages"][0]["content"][0]["image"] for line in lines}, {line["cluster"] for line in lines}

    learnt, held = pictures(data), pictures(data / "validation")
    assert learnt[0] and held[0]
    assert not learnt[0] & held[0]
    assert not learnt[1] & held[1]


def test_run_takes_the_result(trained: tuple[Path, dict[str, Any]], place: Path, tmp_path: Path) -> None:
    result = invoke("run", "--model", trained[0], "--tasks", f"heart:{place / 'eval'}", "--answer", "text",
                    "--max-new-tokens", 4, "--limit", 2, "--output", tmp_path, "--json")  # fmt: skip
    assert result.exit_code == 0, result.exception


def test_the_same_command_again_only_shows(place: Path, trained: tuple[Path, dict[str, Any]]) -> None:
    output, said = trained
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.safetensors")}
    runs = sorted((output / ".training" / "runs").rglob("records.jsonl"))

    result = train_ar(place, output, "--evaluation", place / "eval", "--measure", "--json")

    assert json.loads(result.stdout)["measured"] == said["measured"]
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.safetensors")} == before
    assert sorted((output / ".training" / "runs").rglob("records.jsonl")) == runs


def test_another_wish_in_the_same_folder_is_refused_by_name(place: Path, trained: tuple[Path, dict[str, Any]]) -> None:
    result = train_ar(place, trained[0], "--evaluation", place / "eval", "--clean-only")

    assert isinstance(result.exception, RunMismatchError)
    assert "another clean_only: was False, is True" in str(result.exception)


def test_another_evaluation_of_the_same_folder_name_is_not_taken_for_the_one_compared_with(
    place: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    ct = load_source(write_source(tmp_path / "ct", "ct", 4, 9))
    recipe = HeartRecipe(parse_attacks("caption,prompt"), load_templates(TEMPLATES[0]))
    attack.build([ct], attack.plan_work([ct], recipe), recipe, tmp_path / "eval")

    result = train_ar(place, trained[0], "--evaluation", tmp_path / "eval", "--measure")

    assert isinstance(result.exception, RunMismatchError)
    assert "another evaluation" in str(result.exception)


def test_the_control_is_asked_what_the_other_is_asked(place: Path, tmp_path: Path) -> None:
    """Base and control are measured under cues, though the control learns none; every folder is asked."""
    shutil.copytree(place / "eval", tmp_path / "again")
    asked = []
    for clean_only in (False, True):
        wanted = ArDataConfig(
            place / "xray", (place / "eval", tmp_path / "again"), templates=TEMPLATES[1], validation_share=0.3,
            clean_only=clean_only, reading=True,
        )  # fmt: skip
        folder = tmp_path / str(clean_only)
        write_adversarial_data(wanted, folder)
        asked.append({probe.title: {s.id for _, s in probe.plan.samples} for probe in probes(wanted, folder)})

    assert asked[0] == asked[1]
    read = {title for title in asked[0] if title.endswith("reading what is drawn")}
    assert len(asked[0]) == 6 and len(read) == 3
    (held,) = (ids for title, ids in asked[0].items() if "held-out" in title and title not in read)
    assert {name.partition("/")[2] for name in (i.removeprefix("heart/miniature-xray/") for i in held)} >= {
        "", "caption/adversarial", "sycophancy/assistive",
    }  # fmt: skip


def test_a_planted_evaluation_picture_stops_it_before_anything_is_trained(place: Path, tmp_path: Path) -> None:
    leaking = tmp_path / "leaking"
    shutil.copytree(place / "xray", leaking)
    victim = sorted((leaking / "images").iterdir())[0]
    planted = sorted((place / "ct" / "images").iterdir())[0]
    victim.write_bytes(planted.read_bytes())

    result = invoke(
        "train-ar", "--model", place / "tiny", "--source", leaking, "--output", tmp_path / "out", "--answer", "text",
        "--templates", TEMPLATES[1], "--evaluation", place / "eval", *SMALL,
    )  # fmt: skip

    assert isinstance(result.exception, DataError), result.exception
    assert victim.stem in str(result.exception)
    assert not (tmp_path / "out" / "config.json").exists()
    assert not (tmp_path / "out" / ".training" / "data").exists()


def test_data_only_feeds_train_sft(place: Path, tmp_path: Path) -> None:
    made = invoke(
        "train-ar", "--source", place / "xray", "--output", tmp_path / "data", "--data-only", "--answer", "text",
        "--templates", TEMPLATES[1], "--clean-only", "--target-size", 16, "--held-out", 0, "--json", "--workers", 2,
    )  # fmt: skip
    assert made.exit_code == 0, made.exception
    manifest = json.loads(made.stdout)
    assert (manifest["n"], manifest["clean_only"]) == (16, True)

    result = invoke(
        "train-sft", "--recipe", "miniature", *SMALL, "--model", place / "tiny", "--data", tmp_path / "data",
        "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    assert json.loads(result.stdout)["steps"] == 2


def test_wrong_wishes_are_one_clear_message(place: Path, tmp_path: Path) -> None:
    no_template = tmp_path / "bare"
    shutil.copytree(place / "tiny", no_template)
    (no_template / "chat_template.jinja").unlink()
    no_boxes, no_detection = tmp_path / "no_boxes", tmp_path / "no_detection"
    for folder in (no_boxes, no_detection):
        shutil.copytree(place / "xray", folder)
        shutil.rmtree(folder / "annotations")
    lines = (no_detection / "dataset.toml").read_text().splitlines(keepends=True)
    cut = lines.index("[detection]\n")
    (no_detection / "dataset.toml").write_text("".join(lines[:cut] + lines[cut + 3 :]))

    def wrong(*words: object) -> str:
        result = train_ar(place, tmp_path / "out", *words)
        assert result.exit_code != 0
        return str(result.exception) + result.output

    assert "no chat template" in wrong("--model", no_template)
    assert "neither annotations/ nor annotations.json is there" in wrong("--source", no_boxes)
    assert "legend" in wrong("--source", no_detection, "--attacks", "legend")
    assert "--measure needs --evaluation" in wrong("--measure", "--held-out", "0")
    assert "no heart.parquet" in wrong("--measure", "--evaluation", place / "ct")
    assert not (tmp_path / "out" / ".training" / "data").exists()
    assert "no such" in wrong("--source", tmp_path / "nowhere").lower()
    assert not (tmp_path / "out" / "config.json").exists()
    assert isinstance(train_ar(place, tmp_path / "out", "--set", "gpus=4").exception, UsageError)


def test_a_recipe_is_chosen_by_the_size_of_the_base(tmp_path: Path) -> None:
    for width, name in ((3584, "ar-7b"), (8192, "ar-72b")):
        base = tmp_path / name
        base.mkdir()
        (base / "config.json").write_text(json.dumps({"model_type": "qwen2_vl", "hidden_size": width}))
        (base / "pytorch_model.bin").write_bytes(b"")
        assert f"recipe:                 {name}" in invoke("train-ar", "--model", base, "--plan").output
