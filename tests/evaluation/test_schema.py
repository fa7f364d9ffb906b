"""What a line of the run log holds under schema 2, and that runs of schema 1 are still good for everything."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from aloe_bench.core import Part
from aloe_bench.evaluation import runlog
from tests.conftest import MINI

OLD = Path(__file__).parents[1] / "data" / "runs_schema_1"
MOCK = ("run", "--model", "mock", "--model-args", "accuracy=0.6,verbose=0.3,partial=0.2", "--name", "old",
        "--allow-partial", "--output", "runs")  # fmt: skip


@pytest.mark.parametrize("kind", ["mcq", "open"])
def test_a_run_of_schema_1_reads_as_it_did(kind):
    header, records = runlog.read_run(OLD / kind)
    told = json.loads((OLD / kind / "summary.json").read_text())

    assert header["schema"] == 1
    values = [record.score.value for record in records]
    assert sum(values) / len(values) == told["cells"]["overall"]["value"]
    assert [record.index for record in records] == list(range(header["n"]))
    assert not any(r.options or r.prompt or r.repeat or r.arm or r.score.outcome for r in records)
    assert all(r.prediction.finish_reason is r.prediction.reasoning is r.prediction.seed is None for r in records)


def test_a_graded_run_of_schema_1_reaches_a_page_and_is_not_compared_across_task_versions(quick, tmp_path):
    old = Path(shutil.copytree(OLD / "mcq", tmp_path / "old"))
    opened = Path(shutil.copytree(OLD / "open", tmp_path / "opened"))
    new = json.loads(quick(*MOCK, "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--json").stdout)[0]["run"]

    built = quick("leaderboard", "build", old, opened, "--output", "boards")
    compared = quick("compare", old, new, "--json")

    assert built.returncode == 0, built.stderr
    page = (tmp_path / "boards" / "miniature.md").read_text()
    assert "graded by ada, bea, cleo" in page and "40.00" in page
    # Its task was at version 1; pictures are shown otherwise since version 2.
    assert compared.returncode == 3 and "task.version is 1 and 2" in compared.stderr
    (row,) = json.loads(quick("compare", old, old, "--json").stdout)["rows"]
    assert row["value"] == 0 and row["first"] == row["second"] == 0.75


def test_nothing_that_schema_1_held_has_changed(quick, tmp_path):
    """The same command under both: every field of an old line has its value in the new one, time aside."""
    new = json.loads(quick(*MOCK, "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--json").stdout)[0]["run"]
    old_lines, new_lines = (
        sorted(map(json.loads, (folder / "records.jsonl").read_text().splitlines()), key=lambda line: line["index"])
        for folder in (OLD / "mcq", tmp_path / new)
    )
    assert len(old_lines) == len(new_lines)
    for old, line in zip(old_lines, new_lines, strict=True):
        for table in (old, line):
            table["prediction"].pop("seconds")
        assert old["prediction"].items() <= line["prediction"].items()
        assert all(old[key] == line[key] for key in old if key not in ("prediction", "score"))
        assert old["score"]["value"] == line["score"]["value"]


def test_a_line_holds_the_prompt_as_sent_with_its_pictures_and_options(quick, tmp_path):
    run = (
        tmp_path
        / json.loads(quick(*MOCK, "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--json").stdout)[0]["run"]
    )
    rows = {row["unique_id"]: row for row in json.loads((MINI / "CareQA-Vis_close.json").read_text())}
    pictures = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in (MINI / "images").iterdir()}

    for record in runlog.read_records(run):
        row = rows[record.sample_id.rpartition("/")[2]]
        picture, words = record.prompt
        assert record.options == tuple(str(row[f"op{i}"]) for i in range(1, 5))
        assert words == Part("user", text=words.text) and words.text.startswith(record.question)
        assert all(f"{letter}. {option}" in words.text for letter, option in zip("ABCD", record.options, strict=True))
        assert picture.role == "user" and picture.text is None
        with Image.open(pictures[picture.image]) as there:
            assert picture.size == there.size


def test_what_is_not_filled_is_not_written(quick, tmp_path):
    quick(*MOCK, "--tasks", "careqa_vision_mcq", "--data-root", MINI)
    (path,) = tmp_path.rglob("records.jsonl")
    for line in map(json.loads, path.read_text().splitlines()):
        assert not {"repeat", "arm"} & line.keys()
        assert not {"reasoning", "seed", "extended"} & line["prediction"].keys()
        assert json.loads(json.dumps(runlog.record_to_json(runlog.record_from_json(line)))) == line


def test_repeats_and_arms_of_one_sample_are_lines_of_their_own(tmp_path):
    from dataclasses import replace

    first = runlog.read_records(OLD / "mcq")[0]
    said = replace(first.prediction, finish_reason="max_tokens", reasoning="hm", seed=7, extended=512)
    lines = [first, replace(first, repeat=1, prediction=said), replace(first, arm="blank"), replace(first, target="D")]

    runlog.append(tmp_path, lines)

    found = runlog.read_lines(tmp_path)
    assert found == [lines[3], lines[1], lines[2]]  # the last line of the same question wins


def test_a_later_schema_is_refused(quick, tmp_path):
    run = Path(shutil.copytree(OLD / "mcq", tmp_path / "later"))
    header = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(header | {"schema": 3}))

    done = quick("leaderboard", "build", run, "--output", "boards")

    assert done.returncode == 3 and "schema 3 is newer than 2" in done.stderr
