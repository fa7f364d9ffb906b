"""The experts' CSV files as `aloe-bench agreement` reads them, and the way from a run to alpha."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aloe_bench.cli.agreement import agreement as command
from aloe_bench.core import Prediction
from aloe_bench.errors import AloeError
from aloe_bench.evaluation import runlog
from aloe_bench.judges.experts.annotations import answer_digest, read_annotations
from aloe_bench.judges.jury.panel import Panel
from aloe_bench.judges.jury.rubric import Case
from aloe_bench.judges.jury.seats import judge_run, jury_facts
from tests.conftest import Run
from tests.judges.test_agreement import by_pairs, read, write
from tests.support.jury import ANSWERS, judges_file, mock, mock_table, run_folder
from tests.support.simulated_study import simulate, write_run, write_wide


def test_from_a_run_over_its_jury_to_alpha(aloe: Run, tmp_path: Path):
    grades = [1.0, 1.0, 0.5, 0.0, 0.0] * 6
    cases = [Case(f"careqa/s{i}", f"Q{i}?", "acute alteplase infusion", ANSWERS[g]) for i, g in enumerate(grades)]
    folder = run_folder(tmp_path / "r1", cases)
    labels = [("item_id", "ana", "bo"), *((f"s{i}", g, 1.0 if i == 2 else g) for i, g in enumerate(grades))]
    file = write(tmp_path / "labels.csv", *labels)
    words = ("agreement", "--annotations", file, "--run", folder)

    early = aloe(*words)
    jury = judges_file(tmp_path / "j.toml", mock_table("a"), mock_table("b", seed=1), mock_table("c", accuracy=0.0))
    judged = aloe("judge", folder, "--judges", jury)
    done = aloe(*words, "--json", "--report", "report")

    assert early.returncode == 3 and "aloe-bench judge" in early.stderr
    assert judged.returncode == 0, judged.stderr
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["panel"]["alpha"]["ordinal"]["value"] > 0.95
    assert found["panel"]["judges"][3]["name"] == "c" and found["panel"]["judges"][3]["vs_majority"]["value"] < 0.8
    rubric = runlog.read_header(folder)["judges"]["rubric"]
    assert found["run"]["rubric"] == rubric and rubric in (tmp_path / "report" / "agreement.html").read_text()


def test_item_ids_may_be_whole_or_the_last_part(tmp_path: Path):
    study = simulate(1, n=30)
    run = write_run(tmp_path / "run", study)
    short = read("--annotations", write_wide(tmp_path / "a.csv", study), "--run", run)
    study.items = [f"careqa_vision_open/{item}" for item in study.items]
    whole = read("--annotations", write_wide(tmp_path / "b.csv", study), "--run", run)

    assert short["panel"]["alpha"] == whole["panel"]["alpha"]


def test_labels_of_another_runs_answers_are_refused(tmp_path: Path):
    some = [
        Case(f"careqa/s{i}", f"Q{i}?", "acute alteplase infusion", ANSWERS[g]) for i, g in enumerate([1.0, 0.5, 0.0])
    ]
    run, other = run_folder(tmp_path / "r1", some), run_folder(tmp_path / "r2", some[1:] + some[:1])
    last = replace(
        runlog.read_records(other)[0], prediction=Prediction("careqa/s1", "<think>no</think> streptokinase", "stop")
    )
    runlog.append(other, [last])
    judges = [mock("a"), mock("b"), mock("c")]
    for folder in (run, other):
        judge_run(folder, Panel(judges), jury_facts(Panel(judges), [{}] * 3))
    header = ["item_id", "rater", "label", "answer_sha256"]
    rows = [[c.sample_id, rater, "1", answer_digest(c.answer)] for c in some for rater in ("ana", "bo")]
    file = write(tmp_path / "a.csv", header, *rows)
    blank = write(tmp_path / "b.csv", header, *([*row[:3], ""] for row in rows))
    mixed = write(tmp_path / "c.csv", header, *rows[:3], [*rows[3][:3], answer_digest("another")])

    assert read("--annotations", file, "--run", run)["n_items"] == 3
    assert read("--annotations", blank, "--run", other)["n_items"] == 3
    for wrong, folder, message in (
        (file, other, "'careqa/s1'.*rated another answer"),
        (mixed, run, ":5: .*another answer"),
    ):
        with pytest.raises(AloeError, match=message):
            read("--annotations", wrong, "--run", folder)


def test_an_expert_with_a_judges_name_is_told_from_the_judge(tmp_path: Path):
    study = simulate(3, n=30)
    study.raters[:2] = ["jury", "llama"]

    found = read("--annotations", write_wide(tmp_path / "a.csv", study), "--run", write_run(tmp_path / "run", study))

    pairs = {(pair["first"], pair["second"]): pair["alpha"]["value"] for pair in found["pairs"]}
    assert len(pairs) == len(found["pairs"]) == 28
    table = np.array([study.humans[1], study.verdicts[0]])
    assert pairs["expert llama", "llama"] == pytest.approx(by_pairs(table, "ordinal"), abs=1e-12)
    assert pairs["expert jury", "jury"] != pairs["jury", "llama"]


def test_items_of_one_expert_are_said_to_blur_the_difference(tmp_path: Path):
    study = simulate(3, n=30)
    run = write_run(tmp_path / "run", study)
    whole = read("--annotations", write_wide(tmp_path / "a.csv", study), "--run", run)
    study.humans[1:, :7] = np.nan
    study.humans[0, :7] = 1.0
    part = read("--annotations", write_wide(tmp_path / "b.csv", study), "--run", run)

    assert "one expert alone" not in " ".join(whole["cautions"])
    assert any(text.startswith("Items that one expert alone rated: 7.") for text in part["cautions"])
    assert part["panel"]["alpha"]["ordinal"]["n_units"] == part["humans"]["ordinal"]["n_units"] + 7


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "a label that is none": ("item_id,rater,label\nq1,a,correct\nq2,a,corect\n", ":3: label 'corect'"),
    "did you mean": ("item_id,rater,label\nq1,a,corect\n", "Did you mean correct?"),
    "a number off the scale": ("item_id,rater,label\nq1,a,0.7\n", ":2: label '0.7'"),
    "inf is not a label": ("item_id,rater,label\nq1,a,inf\n", ":2: label 'inf'"),
    "two items that differ in case": ("item_id,a,b\nq3,1,1\nQ3,0,1\n", "item_ids 'q3' and 'Q3' differ in case alone"),
    "two raters that differ in case": ("item_id,rater,label\nq3,Ana,1\nq3,ana,0\n", "raters 'Ana' and 'ana' differ"),
    "a cluster left empty": ("item_id,cluster,a,b\nq1,p1,1,1\nq2,,0,1\n", ":3: no cluster of 'q2'"),
    "an item in two clusters": ("item_id,cluster,rater,label\nq1,p1,a,1\nq1,p2,b,1\n", ":3: 'q1' is in cluster 'p2'"),
    "a workbook": (b"PK\x03\x04", "an Excel workbook"),
    "minus one is not one": ("item_id,a,b\nq1,-1,1\nq2,- 0.5,0\n", ":2: label '-1'"),
    "a label column twice": (
        "item_id,rater,label,Label\nq1,a,1,0\n",
        ":1: columns 'label' and 'Label' differ in case alone",
    ),
    "one rater in two spellings": (
        "item_id,rater,label\nq1,Jos\u00e9,1\nq1,Jose\u0301,0\n",
        ":3: 'Jos\u00e9' rated 'q1' on line 2 already",
    ),
    "one rater twice": ("item_id,rater,label\nq1,a,1\n\nq1,a,0\n", ":4: 'a' rated 'q1' on line 2 already"),
    "too few cells": ("item_id,rater,label\nq1,a\n", ":2: 2 fields; expected 3"),
    "too many cells": ("item_id,a,b\nq1,1,0,1\n", ":2: 4 fields; expected 3"),
    "no item": ("item_id,a,b\n,1,0\n", ":2: no item_id"),
    "no rater": ("item_id,rater,label\nq1,,1\n", ":2: no rater"),
    "no header": ("q1,a,1\n", ":1: the header is 'q1,a,1'"),
    "half a long form": ("item_id,rater,grade\nq1,a,1\n", ":1: no column 'label'"),
    "a column twice": ("item_id,a,a\nq1,1,0\n", ":1: column 'a' is there twice"),
    "a nameless rater": ("item_id,a,\nq1,1,0\n", ":1: column 3 has no name"),
    "an open quote": ('item_id,rater,label\nq1,a,1\nq2,a,"1\nq3,a,1\n', ":3: not readable as a table"),
    "Latin-1": ("item_id,rater,label\nq1,José,1\n".encode("latin-1"), ":2: not UTF-8"),
    "empty": ("", ": empty"),
    "a header alone": ("item_id,rater,label\n", ": no annotations below the header"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_message_with_the_line(name: str, tmp_path: Path):
    text, message = BROKEN[name]
    file = tmp_path / "broken.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(AloeError) as caught:
        CliRunner().invoke(command, ["--annotations", str(file)], catch_exceptions=False)

    assert f"{file}" in str(caught.value) and message in str(caught.value)


def test_every_broken_row_is_named_and_the_command_exits_with_3(aloe: Run, tmp_path: Path):
    rows = [[f"q{i}", "a", "maybe"] for i in range(15)]
    done = aloe("agreement", "--annotations", write(tmp_path / "x.csv", ["item_id", "rater", "label"], *rows))

    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert all(f"x.csv:{line}:" in done.stderr for line in range(2, 12)) and "5 more broken rows" in done.stderr
    assert aloe("agreement", "--annotations", tmp_path / "none.csv").returncode == 3
    assert aloe("agreement", "--annotations", tmp_path / "x.csv", "--values", "1,0").returncode == 2


def test_a_scale_may_go_below_zero(tmp_path: Path):
    signed = write(tmp_path / "a.csv", ["item_id", "a", "b"], ["1", "-1", "-1"], ["2", "-1", "0"], ["3", "1", "1"])
    shifted = write(tmp_path / "b.csv", ["item_id", "a", "b"], ["1", "0", "0"], ["2", "0", "1"], ["3", "2", "2"])

    found = read("--annotations", signed, "--values=-1,0,1")

    assert [rater["mean"] for rater in found["raters"]] == [pytest.approx(-1 / 3), 0.0]
    assert found["humans"] == read("--annotations", shifted, "--values", "0,1,2")["humans"]


def test_spreadsheet_dialects_are_read(tmp_path: Path):
    (tmp_path / "es.csv").write_bytes("\ufeffitem_id;Ana;José\r\nq1;0,5;correct\r\nq2;INCORRECT;0\r\n;;\r\n".encode())
    (tmp_path / "us.csv").write_text(
        'item_id,rater,label,comment\nq1,Ana,0.5,"two\nlines"\nq1,José,1,\nq2,Ana,0,\nq2,José,0,\n'
    )

    found = [read("--annotations", tmp_path / name) for name in ("es.csv", "us.csv")]

    assert found[0]["humans"] == found[1]["humans"]
    assert [rater["name"] for rater in found[0]["raters"]] == ["Ana", "José"]


def test_columns_that_are_no_raters_are_left_out_by_name(tmp_path: Path):
    names = ["item_id", "Ana", "bo", "n_words", "gold", "difficulty"]
    rows = [[f"q{i}", g, g, i % 2, 1 - g, "hard" if i % 3 else "NA"] for i, g in enumerate([1, 0.5, 0, 1] * 6)]
    file = write(tmp_path / "wide.csv", names, *rows)

    found = read("--annotations", file, "--raters", "ana, bo")

    assert found["humans"]["ordinal"]["value"] == 1.0
    assert [rater["name"] for rater in found["raters"]] == ["Ana", "bo"]
    assert {name for name, reason in found["left_over"] if reason == "not among --raters"} == set(names[3:])
    first = CliRunner().invoke(command, ["--annotations", str(file), "--raters", "Ana,bo"]).stdout
    assert (
        "2 experts (Ana, bo)" in first.splitlines()[0] and "Not among --raters: 3 (n_words, gold, difficulty)." in first
    )
    with pytest.raises(AloeError, match=r"has no rater 'anna'\. Did you mean Ana\?"):
        CliRunner().invoke(command, ["--annotations", str(file), "--raters", "anna"], catch_exceptions=False)
    with pytest.raises(AloeError, match=r"n_words, gold, difficulty: by the name no rater.*--raters Ana,bo\."):
        CliRunner().invoke(command, ["--annotations", str(file)], catch_exceptions=False)
    assert len(read("--annotations", file, "--raters", "gold,Ana")["raters"]) == 2


@pytest.mark.parametrize("name", ["Unnamed: 3", "prior_attempts", "has_image", "gpt4_score", "BLEU", "is_correct"])
def test_a_column_that_is_named_like_no_rater_needs_raters(tmp_path: Path, name: str):
    file = write(tmp_path / "t.csv", ["item_id", "Ana", "bo", name], *[[f"q{i}", 1, 0, i % 2] for i in range(4)])

    with pytest.raises(AloeError, match="by the name no rater"):
        read_annotations(file)
    assert read_annotations(file, raters=("Ana", "bo")).raters == ("Ana", "bo")


def test_raters_of_a_long_table_are_chosen_too(tmp_path: Path):
    rows = [[f"q{i}", who, g] for i, g in enumerate([1, 0.5, 0] * 8) for who in ("ana", "bo", "test-account")]
    found = read("--annotations", write(tmp_path / "l.csv", ["item_id", "rater", "label"], *rows), "--raters", "BO,ana")
    assert [rater["name"] for rater in found["raters"]] == ["ana", "bo"]
    assert ["test-account", "not among --raters"] in found["left_over"]


def test_a_cluster_column_says_what_items_share(tmp_path: Path):
    rows = [[f"q{i}", f"p{i // 3}", g, g] for i, g in enumerate([1, 0.5, 0] * 8)]
    found = read("--annotations", write(tmp_path / "c.csv", ["item_id", "cluster", "a", "b"], *rows))
    assert (found["n_items"], found["n_clusters"], len(found["raters"])) == (24, 8, 2)


def test_ratings_in_other_kinds_of_table_give_the_same_alpha(tmp_path: Path):
    import pandas as pd

    rows = [[i, g, g if i % 5 else 0] for i, g in enumerate([1, 0.5, 0] * 8)]
    plain = write(tmp_path / "a.csv", ["item_id", "ana", "bo"], *rows)
    frame = pd.read_csv(plain)
    frame.loc[len(frame)] = [99.0, None, None]
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_csv(tmp_path / "a.tsv", sep="\t", decimal=",", na_rep="NA", encoding="utf-16")
    for name in ("a.parquet", "a.jsonl", "a.tsv"):
        found = read("--annotations", tmp_path / name)
        assert found["humans"] == read("--annotations", plain)["humans"], name
        assert ["99", "an item that nobody graded"] in found["left_over"]


def test_items_and_answers_of_one_side_alone_are_named(tmp_path: Path):
    study = simulate(1, n=30)
    run = write_run(tmp_path / "run", study)
    file = write_wide(tmp_path / "a.csv", study)
    assert not read("--annotations", file, "--run", run, "--resamples", 100)["left_over"]
    lines = file.read_text().splitlines()
    first, renamed = lines[1].split(",")[0], lines[2].split(",")[0]
    lines[2] = lines[2].replace(renamed, "renamed", 1)
    file.write_text("\n".join([lines[0].replace("item_id", "ITEM_ID"), *lines[2:]]).replace("q", "Q"))

    found = read("--annotations", file, "--run", run, "--resamples", 100, "--report", tmp_path / "report")

    told = [tuple(entry) for entry in found["left_over"]]
    assert ("renamed", "an annotated item that is not in the run") in told and len(told) == 3
    missing = {
        name.rsplit("/", 1)[-1] for name, reason in told if reason == "an answer of the run that no expert rated"
    }
    assert missing == {first, renamed}
    assert all(name in (tmp_path / "report" / "dropped.csv").read_text() for name, _ in told)
    assert any("(renamed)" in caution for caution in found["cautions"])
