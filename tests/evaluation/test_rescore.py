"""`rescore`: stored replies under other parsers; what moves adds up, and what cannot be read is said."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"
MCQ = ("--tasks", "careqa_vision_mcq", "--data-root", DATA / "careqa_mini", "--allow-partial")


@pytest.fixture
def folder(quick, tmp_path) -> Path:
    talkative = ("--model", "mock", "--model-args", "accuracy=0.6,verbose=0.4,refusal=0.2")
    assert quick("run", *talkative, *MCQ, "--output", "runs").returncode == 0
    (header,) = (tmp_path / "runs").rglob("run.json")
    return header.parent


def test_every_parser_that_reads_the_run_and_its_moves_add_up(quick, folder):
    done = quick("rescore", folder, "--parser", "all", "--json")
    found = json.loads(done.stdout)
    rows = {row["parser"].rpartition("-")[0]: row for row in found["parsers"]}
    cells = json.loads((folder / "summary.json").read_text())["cells"]

    assert len(rows) == 7 and "probmed" not in rows
    assert {name: cell["value"] for name, cell in cells.items()} == found["stored"]["cells"] == rows["strict"]["cells"]
    for row in rows.values():
        assert sum(Fraction(move["exact_points"]) for move in row["moved"]) == Fraction(row["exact_points"])
        assert 100 * (row["score"] - found["stored"]["score"]) == pytest.approx(row["points"])
        assert sum(row["outcomes"].values()) == found["n"] == 16
    assert rows["strict"]["moved"] == []
    # "Looking at the image, the answer is C." begins with no letter.
    (move,) = rows["first-letter"]["moved"]
    assert (move["was"], move["now"], move["gained"]) == ("announced", "unread: first-letter-none", 0)
    assert move["lost"] == -16 * rows["first-letter"]["points"] / 100 > 0


def test_the_table_names_each_rule_that_moved_the_score(quick, folder):
    done = quick("rescore", folder, "--parser", "exact-match,strict")
    assert done.returncode == 0
    assert "announced -> unread: exact-match-none" in done.stdout and "mmlu_generative" in done.stdout
    assert "nothing moves" in done.stdout


def test_a_run_that_is_not_whole_says_so_and_one_that_cannot_be_read_says_why(quick, folder):
    records = folder / "records.jsonl"
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:9]))
    assert "Not the whole run: 9 of 16 items" in quick("rescore", folder, "--parser", "mmmu").stdout

    probmed = quick("rescore", folder, "--parser", "probmed")
    assert (probmed.returncode, probmed.stderr.count("\n")) == (2, 1)
    unknown = quick("rescore", folder, "--parser", "mmu")
    assert unknown.returncode == 2 and "Did you mean mmmu?" in unknown.stderr


def test_a_log_of_schema_1_takes_its_options_from_the_data_of_the_run(quick):
    run = DATA / "runs_schema_1" / "mcq"
    lacking = quick("rescore", run, "--parser", "mmmu")
    assert lacking.returncode == 3 and "schema 1" in lacking.stderr and "--data-root" in lacking.stderr

    found = json.loads(
        quick("rescore", run, "--parser", "strict,mmmu", "--data-root", DATA / "careqa_mini", "--json").stdout
    )
    assert found["stored"]["parser"] == "strict-2" and [row["points"] for row in found["parsers"]] == [0, 0]
