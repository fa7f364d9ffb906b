"""The medical suite by its public doors: one command, ten columns, the numbers of each, and what is left out."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from aloe_bench import registry
from aloe_bench.answers.compat.slake import closed_by_exact_match
from aloe_bench.answers.score import grade
from aloe_bench.boards.build import build
from aloe_bench.core import Prediction, Record, Score
from aloe_bench.evaluation.cells import task_cells
from aloe_bench.evaluation.plan import Settings, load_plan
from aloe_bench.models.make import ModelSpec, model_facts
from tests.boards.test_leaderboard import number, record, run_folder, table_rows
from tests.support import suite_data as made
from tests.support.jury import judges_file, mock_table

DATA = Path(__file__).parents[1] / "data"
IMAGES = "medical_images"
MOCK = ("run", "--model", "mock", "--name", "m", "--suite", IMAGES, "--allow-partial", "--data-root", "data")
JUDGES = ("--judges", "judges.toml")


@pytest.fixture
def medical(tmp_path: Path) -> Path:
    judges_file(tmp_path / "judges.toml", *(mock_table(f"judge{i}", accuracy=0.8, seed=i) for i in range(3)))
    return made.medical(tmp_path / "data")


def answered(name: str, root: Path, replies: Any) -> tuple[dict[str, Any], list[Record]]:
    """Return header and records of a task whose model says what `replies` says of a sample, graded as `run` does."""
    plan = load_plan(registry.resolve("task", registry.TASKS, name), root, Settings(allow_partial=True))
    records = []
    for index, sample in plan.samples:
        prediction = Prediction(sample.id, replies(sample), "stop")
        records.append(
            Record(index, sample.id, sample.kind, sample.target, sample.cluster, sample.tags, None, prediction,
                   grade(sample, prediction), sample.question)
        )  # fmt: skip
    return {"run_id": "r", "task": {"name": name}}, records


def values(name: str, root: Path, replies: Any) -> dict[str, tuple[float | None, int]]:
    header, records = answered(name, root, replies)
    return {cell: (numbers.value, numbers.n) for cell, numbers in task_cells(header, records).items()}


# Numbers


def test_probmed_scores_questions_pairs_and_the_benchmark_s_own_units(tmp_path):
    made.probmed(tmp_path, [row for image in range(2) for row in made.probmed_image(image)])

    def replies(sample: Any) -> str:
        # One entity of image 0 is invented, and image 1's modality is denied.
        if sample.cluster == "im0" and sample.tags["pair"] == "entity/1":
            return "Yes"
        return "no" if sample.cluster == "im1" and sample.tags["qa_type"] == "modality" else sample.target

    found = values("probmed", tmp_path, replies)

    assert found["overall"] == (16 / 18, 18)
    assert found["pairs"] == (6 / 8, 8)
    # An image's two entity pairs are one unit: im0 has modality, body part and abnormality, im1 all but its modality.
    assert found["official"] == (6 / 8, 8)
    assert found["qa_type: entity"] == (7 / 8, 8)


def test_probmed_s_own_figure_weighs_grounding_by_all_images_of_a_kind(tmp_path):
    rows = [row for image in (0, 2, 4, 1) for row in made.probmed_image(image, pairs=1)]
    shared = {key: rows[0][key] for key in ("id", "image", "image_type", "src_dataset")}  # im0 alone has grounding
    for i, (half, answer) in enumerate([("gt", "yes"), ("hallu", "no")], 9001):
        rows.append({**shared, "i": i, "qa_type": f"grounding_{half}_0", "answer": answer, "question": "Is it left?"})
    made.probmed(tmp_path, rows)

    header, records = answered("probmed", tmp_path, lambda s: "no" if s.tags["qa_type"] == "grounding" else s.target)
    official = task_cells(header, records)["official"]

    # As calculate_score.py counts: 3 chest images and 1 brain, so that grounding's 0 % stands for 3 of 4 * 4 + 3.
    assert (official.exact, official.n) == ("16/19", 17)
    assert official.value == pytest.approx(16 / 19)
    assert official.interval[0] < 16 / 19 < official.interval[1]


def test_a_pair_with_a_failed_half_has_no_value_and_an_unread_half_is_wrong(tmp_path):
    made.probmed(tmp_path, made.probmed_image(0))
    header, records = answered("probmed", tmp_path, lambda s: "well" if s.id.endswith("/0") else s.target)

    pairs = task_cells(header, records)["pairs"]
    assert (pairs.value, pairs.n, pairs.unread) == (3 / 4, 4, 1)

    lost = records[0]
    records[0] = Record(**{**{f: getattr(lost, f) for f in lost.__slots__},
                           "prediction": Prediction(lost.sample_id, None, "error", error="gone"),
                           "score": Score(None, None, "failed")})  # fmt: skip
    pairs = task_cells(header, records)["pairs"]
    assert (pairs.value, pairs.failed) == (None, 1)


def test_omnimedvqa_gives_every_source_the_same_weight_in_its_macro_average(tmp_path):
    made.omni(tmp_path, {"Big": [made.omni_row(i, "Big") for i in range(12)], "Small": [made.omni_row(0, "Small")] * 1})

    found = values("omnimedvqa", tmp_path, lambda s: s.target if s.tags["source"] == "Big" else "B")

    assert found["overall"] == (12 / 13, 13)
    assert found["macro over sources"] == (0.5, 13)


def test_omnimedvqa_without_its_sources_has_no_average_over_them(tmp_path):
    rows = [made.omni_table_row(i, image="", dataset="", image_path=f"{i}.png") for i in range(2)]
    made.table(tmp_path / "omnimedvqa/OpenMMMedical.tsv", rows)
    made.zipped(tmp_path / "omnimedvqa/Images.zip", {f"{i}.png": made.png(i) for i in range(2)})

    found = values("omnimedvqa", tmp_path, lambda sample: "A")

    assert found["overall"] == (0.5, 2)
    assert "macro over sources" not in found


def test_slake_closed_questions_have_an_exact_match_beside_the_jury(tmp_path):
    rows = [
        made.slake_row(0),
        made.slake_row(3, answer="No"),
        made.slake_row(6, answer="Left Lung"),
        made.slake_row(9, answer="Left Lung"),
        made.slake_row(1),
    ]
    made.slake(tmp_path, rows)
    said = {
        "11934": "<think>Perhaps no?</think>Yes, it is.",
        "11937": "Yes",
        "11940": "<answer>the left lung</answer>",
        "11943": "The left lung and the heart",
        "11935": "Left Lung",
    }

    found = values("slake", tmp_path, lambda sample: said[sample.id.removeprefix("slake/")])

    assert found["closed, exact match"] == (0.5, 4)
    assert found["overall"] == (None, 5)
    assert (found["open"][1], found["closed"][1]) == (1, 4)


def test_slakes_exact_match_reads_nothing_from_a_reply_that_was_cut_or_filtered():
    whole = Prediction("slake/1", "Left lung", "stop")
    cut, unclear = replace(whole, finish="length"), replace(whole, text="Yes and", finish="length")
    begun = replace(whole, text="Yes, there is an", finish="length")
    filtered = replace(whole, finish_reason="content_filter")
    asked = [(whole, "Left Lung"), (cut, "Left Lung"), (begun, "Yes"), (filtered, "Left Lung"), (unclear, "No")]
    records = [
        Record(n, f"slake/{n}", "open", target, "p", {}, None, said, Score(None, None, "unjudged"))
        for n, (said, target) in enumerate(asked)
    ]

    scores = [parts[0].score for parts, _ in closed_by_exact_match(records)]

    assert [(s.value, s.outcome) for s in scores[:4]] == [
        (1.0, "answered"), (0.0, "cut"), (1.0, "answered"), (0.0, "filtered")]  # fmt: skip
    assert scores[4].value == 0.0


def test_mmmu_and_pathmmu_and_gmai_have_cells_by_their_groups(medical):
    mmmu = values("mmmu", medical, lambda sample: sample.target)
    gmai = values("gmai_mmbench", medical, lambda sample: "A")
    pathmmu = values("pathmmu", medical, lambda sample: sample.target)

    assert mmmu["question_type: multiple-choice"] == (1.0, 9)
    assert (mmmu["overall"], mmmu["question_type: open"]) == ((None, 10), (None, 1))
    assert gmai["overall"] == (0.25, 8)
    assert (gmai["task: Organ Recognition"], gmai["task: Disease Diagnosis"]) == ((0.5, 4), (0.0, 4))
    assert pathmmu["category: SocialPath"] == (1.0, 3)


@pytest.mark.parametrize(
    "reply",
    [
        "<think>A? No, it could be C.</think>B",
        "◁think▷The answer is A.◁/think▷ The answer is B.",
        "<think>Long.</think><answer>B</answer>",
        "<|begin_of_box|>B<|end_of_box|>",
        "<think>Rather A.</think>The nuclei are round. <|begin_of_box|>B<|end_of_box|>",
        "So the answer is $\\boxed{B}$.",
        "Step 1: look.\n### The final answer is: B",
        "<answer>\\boxed{B}</answer>",
    ],
)
def test_the_answer_marks_of_the_evaluated_models_are_read(tmp_path, reply):
    made.gmai(tmp_path, [made.gmai_row(1)])
    _, (read,) = answered("gmai_mmbench", tmp_path, lambda sample: reply)
    assert (read.score.value, read.score.parsed) == (1.0, "B")

    made.probmed(tmp_path, made.probmed_image(0)[:1])
    _, (yes,) = answered("probmed", tmp_path, lambda sample: reply.replace("B", "Yes"))
    assert (yes.score.value, yes.score.parsed) == (1.0, "yes")


def test_reasoning_that_never_ends_is_unread(tmp_path):
    made.gmai(tmp_path, [made.gmai_row(1)])

    for reply in ("<think>It is B", "◁think▷B, so B"):
        _, (read,) = answered("gmai_mmbench", tmp_path, lambda sample, reply=reply: reply)
        assert (read.score.value, read.score.rule) == (0.0, "unread: open-reasoning")


@pytest.mark.parametrize(
    ("reply", "target", "strict", "official"),
    [
        ("Yes", "yes", 1.0, 1.0),
        ("yes.", "yes", 1.0, 1.0),
        ("yes, clearly", "yes", 1.0, 0.0),
        ("no, nothing", "no", 1.0, 0.0),
        ("no", "no", 1.0, 1.0),
        ("no.", "no", 1.0, 1.0),
        ("Normal", "no", 0.0, 1.0),
        ("Yes and No", "no", 0.0, 1.0),
        ("Yes and No", "yes", 0.0, 1.0),
        ("No", "yes", 0.0, 0.0),
        ("It is there", "yes", 0.0, 0.0),
    ],
)
def test_the_compat_parser_scores_as_probmed_s_own_script(tmp_path, reply, target, strict, official):
    made.probmed(tmp_path, made.probmed_image(0))
    plan = load_plan(registry.resolve("task", registry.TASKS, "probmed"), tmp_path, Settings(allow_partial=True))
    sample = next(sample for _, sample in plan.samples if sample.target == target)
    prediction = Prediction(sample.id, reply, "stop")

    assert grade(sample, prediction).value == strict
    assert grade(sample, prediction, "probmed").value == official


def test_a_compat_parser_is_refused_where_it_cannot_read_and_labelled_where_it_can(aloe, medical, tmp_path):
    words = ("run", "--model", "mock", "--name", "m", "--allow-partial", "--data-root", "data", "--parser", "probmed")

    refused = aloe(*words, "--tasks", "pathmmu")
    assert refused.returncode == 2
    assert "pathmmu: --parser probmed reads yes_no questions, and the task has choice ones" in refused.stderr

    assert aloe(*words, "--tasks", "probmed").returncode == 0
    assert aloe("leaderboard", "build", "runs", "--output", "boards").returncode == 0
    assert "| m [probmed parser] †" in (tmp_path / "boards/miniature.md").read_text()


# Missing data


def test_all_that_is_missing_is_listed_at_once_with_what_fetches_it(aloe, medical, tmp_path):
    for task in ("pathmmu", "slake"):
        (medical / task).rename(tmp_path / task)

    refused = aloe(*MOCK)

    assert refused.returncode == 3
    assert "2 of 8 tasks have no data. Or pass --allow-missing" in refused.stderr
    for task, files in (("pathmmu", "data.json"), ("slake", "test.json")):
        assert f"{task}: no data in data." in refused.stderr
        assert f"{files}" in refused.stderr
        assert f"looked in data/{task}" in refused.stderr
        assert f"aloe-bench data fetch {task} --data-root data" in refused.stderr
    assert not (tmp_path / "runs").exists()


def test_allow_missing_runs_the_rest_and_marks_every_table(aloe, medical, tmp_path):
    (medical / "slake").rename(tmp_path / "slake")

    done = aloe(*MOCK, "--allow-missing", *JUDGES)
    assert done.returncode == 0, done.stderr
    assert re.search(r"slake \(left out\)\s+│ no data", done.stdout)
    assert not (tmp_path / "runs/m/slake").exists()

    assert aloe("leaderboard", "build", "runs", "--output", "boards").returncode == 0
    page = (tmp_path / "boards/miniature.md").read_text()
    assert "left out by this command: slake‡" in page
    assert "‡ Made with --allow-missing" in page
    as_json = aloe(*MOCK, "--allow-missing", *JUDGES, "--json")
    assert {tuple(summary["left_out"]) for summary in json.loads(as_json.stdout)} == {("slake",)}


def test_nothing_at_all_is_refused_even_with_allow_missing(aloe, tmp_path):
    refused = aloe("run", "--model", "mock", "--suite", "medical-images", "--allow-missing")

    assert refused.returncode == 3
    assert "8 of 8 tasks have no data" in refused.stderr


def test_absent_images_stand_in_every_table(aloe, medical, tmp_path):
    (medical / "slake/imgs/xmlab0/source.jpg").unlink()

    words = ("run", "--model", "mock", "--tasks", "slake", "--allow-partial", "--data-root", "data")
    done = aloe(*words, *JUDGES, "--json")

    assert done.returncode == 0, done.stderr
    assert "slake: Absent: closed 1 (first: imgs/xmlab0/source.jpg), open 1 (first: imgs/xmlab0" in done.stderr
    (summary,) = json.loads(done.stdout)
    assert (summary["absent"], summary["n"]) == ({"closed": 1, "open": 1}, 7)
    assert aloe("leaderboard", "build", "runs", "--output", "boards").returncode == 0
    assert "absent: closed 1, open 1" in (tmp_path / "boards/miniature.md").read_text()


# The page


def paper() -> list[dict[str, str]]:
    source = resources.files("aloe_bench.boards").joinpath("paper/table3_benchmarks.csv")
    return list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))


def test_all_190_cells_of_table_3_and_its_marks_come_out(tmp_path):
    build([], tmp_path)
    rows = {row[0].removesuffix(" *(paper)*"): row[2:12] for row in table_rows(tmp_path / "medical.md") if len(row) > 5}
    models = 0

    for line in (DATA / "table3_marks.txt").read_text(encoding="utf-8").splitlines()[1:]:
        model, *shown = line.split("\t")
        if len(shown) < 10 or not shown[0]:
            continue
        expected = [re.sub("</?b>", "b", re.sub("</?u>", "u", value)) for value in shown]
        assert [number(value) for value in rows[model]] == expected, model
        models += 1

    assert models == 19


def test_a_whole_run_of_the_paper_s_count_ranks_and_says_its_n(tmp_path):
    records = [record(i, 1.0 if i % 4 else 0.0) for i in range(1142)]
    run = run_folder(tmp_path / "r", "mine", "pathmmu", records)
    header = json.loads((run / "run.json").read_text())
    header["task"] |= {"expected_rows": 1156, "paper_scored_rows": 1142}
    header["absent"] = {"SocialPath": 14}
    (run / "run.json").write_text(json.dumps(header))

    build([run], tmp_path / "out")

    (own,) = [row for row in table_rows(tmp_path / "out/medical.md") if row[0] == "mine"]
    assert own[6].startswith("**74.96**<br><small>[")
    assert "/1142</small>" in own[6]
    assert "PathMMU v1: n 1142, answered 1142; absent: SocialPath 14; run r" in own[12]


# Known models


@pytest.mark.parametrize(
    ("model", "domain", "expected"),
    [
        ("lingshu-medical-mllm/Lingshu-32B", None, ("large", "medical")),
        ("gpt-5.2", None, ("closed", "general")),
        ("qwen2-vl-7b-instruct", "medical", ("small", "medical")),
        ("my-Lingshu-32B", None, (None, None)),
    ],
)
def test_a_known_model_gets_its_leaderboard_group_by_name(model, domain, expected):
    facts = model_facts(ModelSpec(model, "openai"), "0" * 64, domain=domain)

    assert (facts["size_group"], facts["domain"]) == expected


def test_a_mock_in_a_known_model_s_name_is_not_that_model(quick, tmp_path):
    made.gmai(tmp_path / "data", [made.gmai_row(0)])

    words = ("--model", "gpt-5.2", "--backend", "mock", "--tasks", "gmai_mmbench", "--allow-partial")
    assert quick("run", *words, "--data-root", "data").returncode == 0

    (path,) = (tmp_path / "runs").rglob("run.json")
    assert json.loads(path.read_text())["model"]["size_group"] is None


def test_ls_models_knows_the_paper_s_nineteen_with_their_groups_and_the_judges(aloe):
    known = json.loads(aloe("ls", "models", "--json").stdout)
    text = aloe("ls", "models").stdout

    evaluated = {name: facts for name, facts in known.items() if facts["role"] == "model"}
    assert {name: (f["size_group"], f["domain"]) for name, f in evaluated.items()} == {
        line["model"]: (line["size_group"], line["domain"]) for line in paper()
    }
    assert [name for name, facts in known.items() if facts["role"] == "judge"][2] == "Llama-3.3-70B-Instruct"
    assert known["Kimi-VL-A3B-Instruct"]["code"] == "remote code"
    assert "GLM-4.5V" in text and "<|begin_of_box|>" in known["GLM-4.5V"]["markers"]
