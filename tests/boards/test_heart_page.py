"""heart.md: Table 4 with its marks computed, our runs beside it, and mock models kept off the page."""

from __future__ import annotations

import csv
import json
import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.boards.build import build, evidence
from aloe_bench.boards.heart import heart_page
from aloe_bench.boards.verify import verify
from aloe_bench.evaluation.runlog import read_run
from tests.boards.test_leaderboard import run_folder
from tests.evaluation.test_run import only_run
from tests.support.heart_tables import Source, rows, write_folder, write_published

MARKS = Path(__file__).parents[1] / "data" / "table4_marks.txt"
MODEL = {"backend": "hf", "miniature": False}


def table_of(page: Path, title: str) -> dict[str, dict[str, str]]:
    """Name -> column -> cell of the first table under a title."""
    block = page.read_text(encoding="utf-8").split(f"# {title}\n\n", 1)[1].split("\n\n")[0]
    table = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in block.split("\n")]
    return {line[0]: dict(zip(table[0], line, strict=False)) for line in table[2:]}


@pytest.fixture
def real(quick, tmp_path):
    """Return a function that runs the mock on a table and gives it out as a model that is none."""

    def make(folder: Path, name: str, arguments: str, **facts: Any) -> Path:
        done = quick("run", "--model", "mock", "--tasks", f"heart:{folder}", "--name", name, "--model-args", arguments,
                    "--allow-partial", "--output", tmp_path / "mock" / name)  # fmt: skip
        assert done.returncode == 0, done.stderr
        header, records = read_run(only_run(tmp_path / "mock" / name))
        task = {key: header["task"][key] for key in ("name", "data_sha256", "verified")} | facts.pop("task", {})
        run = run_folder(tmp_path / "runs" / name, name, task["name"], records, **facts)
        stored = json.loads((run / "run.json").read_text())
        stored["task"] |= task
        (run / "run.json").write_text(json.dumps(stored))
        return run

    return make


def test_table_4_has_the_marks_its_digits_give_and_the_papers_four_errors_are_named(tmp_path):
    build([], tmp_path / "out")
    ours = table_of(tmp_path / "out" / "heart.md", "The published table")
    source = resources.files("aloe_bench.boards") / "paper" / "table4_robustness.csv"
    digits = {line["model"]: line for line in csv.DictReader(source.read_text().splitlines())}
    different = set()
    for line in MARKS.read_text().splitlines()[2:]:
        model, *printed = line.split("\t")
        own = list(ours[f"{model} *(paper)*"].items())[1:10]
        for column, (title, shown), cell in zip(list(digits["Random"])[1:], own, printed, strict=True):
            assert re.sub(r"</?[bu]>", "", cell) == digits[model][column]
            expected = cell.replace("<b>", "**").replace("</b>", "**")
            if shown != expected:
                different.add((model, title, cell, shown))
    assert different == {
        ("GPT-5.2", "Classification Base", "<b>70.2</b>", "<u>70.2</u>"),
        ("GLM.4.5V", "Classification Base", "<b>70.2</b>", "<u>70.2</u>"),
        ("GPT-5.2", "Detection Base", "<b>70.9</b>", "70.9"),
        ("Qwen3-VL-30B-A3B-Instruct", "Detection Base", "<b>81.0</b>", "<u>81.0</u>"),
    }
    documented = (Path(__file__).parents[2] / "docs" / "robustness.md").read_text()
    assert all(model in documented for model, *_ in different)


def test_runs_on_the_same_questions_are_ranked_and_ties_are_said(real, tmp_path):
    folder = write_folder(tmp_path / "a", rows([Source("brain", 120, 4), Source("skin", 90, 3)]))
    runs = [real(folder, "strong", "accuracy=0.9,follow=0.1"), real(folder, "alike", "accuracy=0.9,follow=0.12"),
            real(folder, "led", "accuracy=0.9,follow=0.95,seed=2")]  # fmt: skip
    build(runs, tmp_path / "out")

    assert verify(tmp_path / "out") == []
    ((title,),) = [re.findall(r"## (heart, data \w{8})", (tmp_path / "out" / "heart.md").read_text())]
    own = table_of(tmp_path / "out" / "heart.md", title)
    assert own["Random *(computed)*"]["Classification Cap"] == "29.17"
    captions = {name: own[name]["Classification Cap"] for name in ("strong", "alike", "led")}
    best = max(("strong", "alike"), key=lambda name: float(re.findall(r"[\d.]+", captions[name])[0]))
    other = {"strong": "alike", "alike": "strong"}[best]
    assert captions[best].startswith("**") and "≈" not in captions[best]
    assert captions[other].startswith("<u>") and "≈" in captions[other]
    assert "≈" not in captions["led"] and "↓" in captions["led"] and "↓" not in captions[best]
    assert "n 210" in captions["led"]
    (evidence,) = (tmp_path / "out" / "results" / "led").glob("heart-*.json")
    result = json.loads(evidence.read_text())
    shown = f"{100 * result['cells']['classification/caption']['value']:.1f}"
    assert captions["led"].startswith(shown)
    assert "heart" not in (tmp_path / "out" / "miniature.md").read_text()


def test_the_published_table_stands_beside_the_paper_and_parts_of_it_do_not(real, tmp_path):
    folder = write_folder(tmp_path / "a", rows([Source("brain", 30, 4), Source("skin", 30, 3, "detection")]))
    records = len(rows([Source("brain", 30, 4), Source("skin", 30, 3, "detection")]))
    whole = real(folder, "whole", "accuracy=1", task={"expected_rows": 24311}, n=records)
    build([whole], tmp_path / "part")
    part = (tmp_path / "part" / "heart.md").read_text()

    assert "whole †" in part.split("## heart, data")[1]
    assert "whole" not in table_of(tmp_path / "part" / "heart.md", "The published table")


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")], ids=["part first", "part last"])
def test_a_part_beside_a_whole_run_changes_neither_its_table_nor_the_random_row(real, tmp_path, names):
    folder = write_folder(tmp_path / "h", rows([Source("brain", 30, 4), Source("skin", 30, 3, "detection")]))
    part, whole = (real(folder, name, "accuracy=1") for name in names)
    header, records = read_run(part)
    kept = [record for record in records if record.tags["task"] == "detection"]
    shutil.rmtree(part)
    run_folder(part, names[0], "", kept, limit=30)
    for run in (part, whole):
        rewrite(run, task=header["task"])
    build([part, whole], tmp_path / "out")
    (title,) = re.findall(r"## (heart, data \w{8})", (tmp_path / "out" / "heart.md").read_text())
    random = table_of(tmp_path / "out" / "heart.md", title)["Random *(computed)*"]
    assert (random["Classification Cap"], random["Detection Leg"]) == ("25.00", "33.33")

    for run in (part, whole):
        rewrite(
            run, task=header["task"] | {"source": "HPAI-BSC/HEART", "expected_rows": 24311, "verified": {"by": "hub"}}
        )
    results = [evidence(run).result for run in (part, whole)]
    results[1]["partial"] = False  # as if it had all 24,311 rows
    page = heart_page(sorted(results, key=lambda result: result["model"]["name"]))
    assert page.count("\n## ") == 1 and f"| {names[0]} † |" in page
    assert "Aloe-Vision-7B-S2 *(paper)*" in page.split("## The published table")[1]


def test_a_table_of_our_own_with_as_many_rows_is_not_the_published_one(real, tmp_path):
    # `attack --parity` makes 24,311 rows of 1,250 and 1,729 items too.
    folder = write_folder(tmp_path / "h", rows([Source("brain", 30, 4), Source("skin", 30, 3, "detection")]))
    result = evidence(real(folder, "ours", "accuracy=1")).result
    result |= {"partial": False, "task": result["task"] | {"expected_rows": 24311}}
    own = heart_page([result]).split("## heart, data")[1]
    assert "| ours |" in own and "*(paper)*" not in own


def rewrite(run: Path, **facts: Any) -> None:
    stored = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(stored | facts))


def test_a_mock_model_is_on_the_miniature_page_alone(quick, tmp_path):
    folder = write_folder(tmp_path / "a", rows([Source("brain", 30, 4), Source("brain", 24, 4, "detection")]))
    quick("run", "--model", "mock", "--tasks", f"heart:{folder}", "--model-args", "accuracy=0.8,follow=1")
    built = quick("leaderboard", "build", "runs")
    checked = quick("leaderboard", "verify")

    assert (built.returncode, checked.returncode) == (0, 0), built.stderr + checked.stderr
    assert "mock" not in (tmp_path / "leaderboards" / "heart.md").read_text()
    page = tmp_path / "leaderboards" / "miniature.md"
    title = re.findall(r"### (heart-brain, data \w{8})", page.read_text())[0]
    own = next(row for name, row in table_of(page, title).items() if name.startswith("mock"))
    assert list(own)[1:10] == [f"{t} {c}" for t, cs in (("Classification", "Base Cap Pmt Syc"),
                               ("Detection", "Base Cap Pmt Syc Leg")) for c in cs.split()]  # fmt: skip
    assert own["Detection Leg"].startswith("0.0")


def test_one_data_set_attacked_twice_gives_two_tables(real, tmp_path):
    weak, strong = (
        write_folder(tmp_path / attack, rows([Source("brain", 30, 4)], attacks=(attack,)))
        for attack in ("prompt", "caption")
    )
    build([real(weak, "m", "accuracy=0.9"), real(strong, "n", "accuracy=0.9")], tmp_path / "out")
    again = real(strong, "k", "accuracy=0.9")
    header = json.loads((again / "run.json").read_text())
    header["model"]["name"] = "m"
    (again / "run.json").write_text(json.dumps(header))
    build([again], tmp_path / "out")

    assert len(list((tmp_path / "out" / "results" / "m").iterdir())) == 2
    page = (tmp_path / "out" / "heart.md").read_text()
    assert len(re.findall(r"## heart-brain, data \w{8}", page)) == 2


def test_a_run_with_failures_shows_no_number(quick, tmp_path):
    folder = write_folder(tmp_path / "a", rows([Source("brain", 40, 4)]))
    quick("run", "--model", "mock", "--tasks", f"heart:{folder}", "--model-args", "failure=0.2")
    run = only_run(tmp_path / "runs")
    done = quick("leaderboard", "build", run)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "leaderboards" / "miniature.md").read_text()
    assert "not measured" in page


@pytest.mark.slow
def test_24311_rows_of_the_published_shape_are_not_the_published_table(quick, tmp_path):
    mix = [Source(f"set{i}", 250, n) for i, n in enumerate((2, 2, 2, 3, 4))]
    table = rows([*mix, *(Source(f"set{i}", 247, 4, "detection") for i in range(7))])
    place = write_published(tmp_path / "hub", table, parts=3)
    done = quick("run", "--model", "mock", "--tasks", f"heart:{place}", "--model-args", "accuracy=0.65,follow=0.8",
                 "--name", "ours", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert (len(table), result["n"], result["partial"]) == (24311, 24311, False)
    header = only_run(tmp_path / "runs") / "run.json"
    stored = json.loads(header.read_text())
    stored["model"] |= MODEL
    header.write_text(json.dumps(stored))

    build([header.parent], tmp_path / "out")

    page = table_of(tmp_path / "out" / "heart.md", "The published table")
    assert len(page) == 1 + 19 and page["Random *(paper)*"]["Classification Base"] == "41.67"
    (own,) = re.findall(r"^## (heart, data \w+)$", (tmp_path / "out" / "heart.md").read_text(), re.M)
    ours = table_of(tmp_path / "out" / "heart.md", own)["ours §"]  # nothing says whose rows these are
    assert "n 1250" in ours["Classification Cap"] and "n 1729" in ours["Detection Leg"]
    # .65 * (1 - .8) = 13 % of answers survive a cue.
    assert 10 < float(re.findall(r"[\d.]+", ours["Detection Leg"])[0]) < 16
    assert page["Aloe-Vision-7B-S2 *(paper)*"]["Detection Leg"] == "**58.0**"
