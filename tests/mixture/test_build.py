"""A mixture from one file: the same bytes after interruptions, a card that adds up, exports that trainers read."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.errors import DataError
from aloe_bench.mixture.build import build, load_recipe
from aloe_bench.mixture.pool import Pool
from aloe_bench.training.data.schema import read_folder
from tests.conftest import Run
from tests.mixture import sources

RECIPE = """
name = "made"
[[source]]
use = "llava/mapping.toml"
[[source]]
use = "sharegpt/mapping.toml"
[[source]]
use = "table/mapping.toml"
[[source]]
use = "faulty/mapping.toml"
[leakage]
against = ["held"]
radius = 2
[export]
formats = ["train-sft", "trl", "llama-factory"]
[about]
url = "https://example.org/made"
creator = "Example"
date = "2026-01-01"
"""


def made(folder: Path) -> Path:
    """Write sources of every layout, an evaluation picture and a recipe into `folder`; return the recipe."""
    folder.mkdir(exist_ok=True)
    for make in (sources.llava, sources.sharegpt, sources.table, sources.faulty):
        make(folder)
    (folder / "held").mkdir()
    shutil.copy(sources.PICTURES / sources.NAMES[0], folder / "held")
    recipe = folder / "mixture.toml"
    recipe.write_text(RECIPE)
    return recipe


def content(folder: Path) -> dict[str, bytes]:
    """Return every file that a build leaves, by name, but for the links to the sources' pictures."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".png"
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `out` is a mixture that was built of `in`."""
    folder = tmp_path_factory.mktemp("built")
    recipe = made(folder / "in")
    recipe.write_text(f'{RECIPE}[coverage]\npairs = [["modality", "modality"]]\n')
    build(load_recipe(recipe), folder / "out")
    recipe.write_text(RECIPE)
    return folder


def card_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "card.json").read_text())


def test_a_build_is_the_same_again_and_its_card_adds_up(built: Path) -> None:
    tmp_path, card = built, card_of(built)
    recipe = load_recipe(built / "in" / "mixture.toml")

    rows = [row["samples"] for row in card["table_1"]]
    assert (
        sum(rows) == card["steps"]["leakage"]["counts"]["after"] == len(list(read_folder(tmp_path / "out" / "mixture")))
    )
    verdicts = {check["what"]: check["verdict"] for check in card["checks"]}
    assert verdicts["every step's samples = kept + dropped, one reason each"] == "ok"
    assert verdicts["no picture of held is shown"] == "ok"
    assert verdicts["tokens counted by the training processor"] == "not checked"
    assert verdicts["loss tokens are balanced"] == "not checked"
    assert "| llava | multimodal | medical |" in (tmp_path / "out" / "card.md").read_text()

    before = content(tmp_path / "out")
    # What a killed process leaves; no process has a number so large.
    (tmp_path / "out" / "trl" / ".train.jsonl.999999999.tmp").write_text("half")
    build(recipe, tmp_path / "out")
    assert content(tmp_path / "out") == before
    build(recipe, tmp_path / "other")
    assert content(tmp_path / "other") == {k: v for k, v in before.items() if not k.startswith("coverage")}


def test_counts_that_do_not_add_up_give_no_card(tmp_path: Path) -> None:
    recipe = load_recipe(made(tmp_path / "in"))
    build(recipe, tmp_path / "out")
    path = tmp_path / "out" / "steps" / "clean.json"
    report = json.loads(path.read_text())
    report["counts"]["dropped"]["small picture"] += 1
    path.write_text(json.dumps(report))
    with pytest.raises(DataError, match="do not add up"):
        build(recipe, tmp_path / "out")


def test_what_contradicts_itself_in_a_source_is_a_check_with_a_verdict(tmp_path: Path) -> None:
    recipe = made(tmp_path / "in")
    place = tmp_path / "in" / "faulty"
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    good = rows[0]
    rows += [{**good, "name": "other answer", "answer": "A liver."}, {**good, "name": "again"}]
    rows += [{"name": "bare", "image": None, "question": "And without a picture?", "answer": "Yes."}]
    (place / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mapping = (place / "mapping.toml").read_text().replace('licence = "CC0-1.0"', "expected_rows = 10")
    (place / "mapping.toml").write_text(mapping)
    (place / "pictures" / "whole.png").write_bytes((sources.PICTURES / sources.NAMES[2]).read_bytes())

    card = build(load_recipe(recipe), tmp_path / "out")

    found = {check["what"]: (check["verdict"], check["found"]) for check in card["checks"]}
    assert found["faulty has the rows it states"] == ("contradiction", "9 of 10")
    assert found["one picture and question have one answer"][0] == "contradiction"
    assert "faulty/other answer and faulty/good" in found["one picture and question have one answer"][1]
    assert found["no picture, question and answer twice"] == ("warning", "1 repeats: faulty/again = faulty/good")
    assert found["samples show pictures where their source says multimodal"] == ("contradiction", "faulty: 1")
    assert found["every source states a licence"] == ("warning", "faulty")


def test_exports_hold_the_same_samples_and_name_what_undoes_a_balance(built: Path) -> None:
    tmp_path, card = built, card_of(built)
    ours = {c.id: c for c in read_folder(tmp_path / "out" / "mixture")}
    trl = [json.loads(line) for line in (tmp_path / "out" / "trl" / "train.jsonl").read_text().splitlines()]
    factory = json.loads((tmp_path / "out" / "llama-factory" / "data.json").read_text())

    assert [row["id"] for row in trl] == list(ours) and len(factory) == len(ours)
    for row, other in zip(trl, factory, strict=True):
        shown = [p for m in row["messages"] for p in m["content"] if p["type"] == "image"]
        marks = sum(m["content"].count("<image>") for m in other["messages"])
        assert len(shown) == len(row["images"]) == marks == len(other["images"])
        for folder in ("mixture", "trl", "llama-factory"):
            assert all((tmp_path / "out" / folder / path).is_file() for path in row["images"])
    assert "undoes" in card["exports"]["llama-factory"]["loss"] and "holds" in card["exports"]["trl"]["loss"]
    entry = json.loads((tmp_path / "out" / "llama-factory" / "dataset_info.json").read_text())["made"]
    assert entry["formatting"] == "sharegpt" and entry["tags"]["role_tag"] == "role"


def test_croissant_describes_files_that_are_there(built: Path) -> None:
    described = json.loads((built / "out" / "croissant.json").read_text())
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert {"name", "description", "license", "url", "creator", "datePublished"} <= described.keys()
    for file in described["distribution"]:
        assert (built / "out" / file["contentUrl"]).stat().st_size == int(file["contentSize"].split()[0])
    croissant = pytest.importorskip("mlcroissant")
    assert not croissant.Dataset(built / "out" / "croissant.json").metadata.issues.errors


def test_explain_tells_what_became_of_a_sample(built: Path, quick: Run) -> None:
    tmp_path = built
    gone = quick("data", "explain", tmp_path / "out", "llava/l0").stdout
    assert "clean: kept" in gone and "leakage: dropped: leaked picture" in gone and "near" in gone
    assert "user: [images/llava/pictures/" in gone and "weight in the mixture: 0" in gone
    assert (
        "read: dropped: malformed row (llava.json:4: 2 marks"
        in quick("data", "explain", tmp_path / "out", "llava/l3").stdout
    )
    missing = quick("data", "explain", tmp_path / "out", "llava/l99")
    assert missing.returncode == 2 and "Did you mean llava/l" in missing.stderr


@pytest.mark.parametrize(
    ("wrong", "said", "code"),
    [
        ("[leak]\nagainst = []", "leak is not known", 3),
        ("[rebalance]\ntokens = { llava = 1.0 }", "tokens were not counted", 2),
        ('[export]\nformats = ["axolotl"]', "expected one of 'train-sft'", 3),
    ],
)
def test_a_recipe_that_asks_for_the_impossible_is_refused(
    tmp_path: Path, quick: Run, wrong: str, said: str, code: int
) -> None:
    recipe = made(tmp_path / "in")
    recipe.write_text(RECIPE.split("[export]")[0] + wrong)
    done = quick("data", "build", recipe, "--output", tmp_path / "out")
    assert done.returncode == code and said in done.stderr, done.stderr


MEASURED = """
[tag]
model = "grader"
backend = "{folder}/grader.py:Grader"
[perplexity]
model = "grader"
backend = "{folder}/grader.py:Grader"
[filter]
min_score = {{ llava = 3 }}
max_perplexity = {{ sharegpt = 20.0 }}
note = "looked at filter.html"
"""
GRADER = """
import zlib
from aloe_bench.core import AnswerLikelihood, Prediction

class Grader:
    fingerprint = "1"
    def __init__(self, path, name):
        self.name = name
    def describe(self):
        return {}
    def generate(self, requests, decoding):
        for r in requests:
            score = 1 + zlib.crc32(r.id.encode()) % 5
            yield Prediction(r.id, f"MOD[CT] MED[Other] ST[Other] SBP[Other] GBP[Other] SQ[{score}]", "stop")
    def answer_logprobs(self, requests):
        for r in requests:
            yield AnswerLikelihood(r.id, -float(1 + zlib.crc32(r.id.encode()) % 5), 1)
"""


def test_tags_perplexity_and_limits_are_steps_of_a_build_and_go_when_the_recipe_drops_them(tmp_path: Path) -> None:
    recipe = made(tmp_path / "in")
    (tmp_path / "in" / "grader.py").write_text(GRADER)
    plain = recipe.read_text()
    recipe.write_text(plain.replace("[export]", f"{MEASURED.format(folder=tmp_path / 'in')}[export]"))
    card = build(load_recipe(recipe), tmp_path / "out")

    assert list(card["steps"]) == ["read", "clean", "leakage", "tag", "perplexity", "filter"]
    low, surprising = (card["steps"]["filter"]["counts"]["dropped"][each] for each in ("low score", "perplexity"))
    assert low > 0 and surprising > 0
    assert card["steps"]["filter"]["settings"]["note"] == "looked at filter.html"
    kept = {c.id for c in read_folder(tmp_path / "out" / "mixture")}
    assert len(kept) == card["steps"]["leakage"]["counts"]["after"] - low - surprising

    before = content(tmp_path / "out")
    for step in ("tag", "perplexity", "filter"):  # what a kill before the end of each step leaves behind
        Pool(tmp_path / "out").forget(step)
        build(load_recipe(recipe), tmp_path / "out")
        assert content(tmp_path / "out") == before, step

    recipe.write_text(plain)
    assert list(build(load_recipe(recipe), tmp_path / "out")["steps"]) == ["read", "clean", "leakage"]


@pytest.mark.slow
def test_ten_thousand_samples_killed_again_and_again_end_in_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    sources.llava(folder, 5000)
    sources.sharegpt(folder, 3000)
    sources.table(folder, 2000)
    sources.faulty(folder)
    (folder / "held").mkdir()
    shutil.copy(sources.PICTURES / sources.NAMES[0], folder / "held")
    (folder / "mixture.toml").write_text(RECIPE)
    whole = build(load_recipe(folder / "mixture.toml"), tmp_path / "whole")
    assert sum(counts["samples"] for counts in whole["table_1"]) > 8000
    command = [sys.executable, "-m", "aloe_bench.cli.main", "data", "build", str(folder / "mixture.toml")]
    kills, seconds = 0, 0.3
    while True:
        process = subprocess.Popen(
            [*command, "--output", str(tmp_path / "killed")], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            assert process.wait(seconds) == 0
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills, seconds = kills + 1, seconds + 0.3
            time.sleep(0.01)
    assert kills >= 3
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert Pool(tmp_path / "killed").done() == ["read", "clean", "leakage"]


STEPS_KILLED = ("read", "clean", "leakage", "tag", "perplexity", "ocr", "filter")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="RapidOCR is not installed")
def test_a_build_killed_in_each_of_its_steps_ends_in_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    sources.llava(folder, 150)
    sources.sharegpt(folder, 60)
    sources.table(folder, 40)
    sources.faulty(folder)
    (folder / "held").mkdir()
    shutil.copy(sources.PICTURES / sources.NAMES[0], folder / "held")
    slow = GRADER.replace("for r in requests:\n", "for r in requests:\n            time.sleep(0.02)\n")
    (folder / "grader.py").write_text(f"import time\n{slow}")
    steps = MEASURED.format(folder=folder).replace("[filter]", "[ocr]\n[filter]")
    steps = steps.replace("note =", "max_in_picture = { table = 0.5 }\nnote =")
    recipe = folder / "mixture.toml"
    recipe.write_text(RECIPE.replace("[export]", f"{steps}[export]"))
    build(load_recipe(recipe), tmp_path / "whole")
    output = tmp_path / "killed"
    command = [sys.executable, "-m", "aloe_bench.cli.main", "data", "build", str(recipe), "--output", str(output)]
    within = []
    for before, step in zip(("", *STEPS_KILLED), STEPS_KILLED, strict=False):
        begun = output / "steps" / f"{before}.json" if before else output / "pool.json"
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not begun.is_file() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(0.3 if step in ("tag", "perplexity", "ocr") else 0.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        within += [step] if begun.is_file() and Pool(output).report(step) is None else []
    with capsys.disabled():
        print(f"killed within {', '.join(within)}")
    assert {"tag", "perplexity", "ocr"} <= set(within)  # the others may be over before the signal comes
    assert tuple(build(load_recipe(recipe), output)["steps"]) == STEPS_KILLED
    assert content(output) == content(tmp_path / "whole")


@pytest.mark.slow
def test_a_hundred_steps_of_train_sft_on_a_mixture_of_ten_thousand_samples(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
    from aloe_bench.training.recipes import load_recipe as training_recipe
    from aloe_bench.training.sft import TrainingJob, train

    folder = tmp_path / "in"
    folder.mkdir()
    sources.llava(folder, 5000)
    sources.sharegpt(folder, 3000)
    sources.table(folder, 2000)
    recipe = RECIPE.split("[leakage]")[0].replace('[[source]]\nuse = "faulty/mapping.toml"\n', "")
    (folder / "mixture.toml").write_text(recipe)
    card = build(load_recipe(folder / "mixture.toml"), tmp_path / "out")
    rows = sum(line["samples"] for line in card["table_1"])
    assert rows > 9900
    batch = rows // 100
    small = replace(
        training_recipe("miniature"), micro_batch=batch, global_batch=batch, min_pixels=3136, max_pixels=3136
    )
    tiny = build_tiny_checkpoint(tmp_path / "tiny")
    trained = train(TrainingJob(tiny, tmp_path / "out" / "mixture", tmp_path / "trained", small))
    assert trained.plan.steps == 100 and len(trained.losses) == 100
    assert sum(trained.losses[-10:]) < 0.8 * sum(trained.losses[:10])
