"""VLMEvalKit itself on our tasks: `make test-vlmeval`, in an environment of its own."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

try:
    importlib.metadata.version("ms-vlmeval")
except importlib.metadata.PackageNotFoundError:
    pytest.skip("VLMEvalKit needs an environment of its own; `make test-vlmeval` makes it", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parents[2]))
from aloe_bench.evaluation.runlog import read_run
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from tests.support.many_rows import write_many_rows

MINI = Path(__file__).parents[1] / "data" / "careqa_mini"


def records(root: Path) -> list[tuple[object, ...]]:
    (run,) = root.rglob("run.json")
    return [(r.sample_id, r.prediction.text, r.score.value, r.score.parsed) for r in read_run(run.parent)[1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_checkpoint(tmp_path_factory.mktemp("vlmeval") / "tiny")


def test_200_rows_score_as_in_a_native_run(aloe, folder, tmp_path):
    root = write_many_rows(tmp_path / "data")
    common = ["--data-root", root, "--allow-partial", "--model", folder, "--max-new-tokens", "12", "--output", "runs"]
    native = aloe("run", "--tasks", "careqa_vision_mcq", *common, "--name", "n")
    theirs = aloe("vlmeval", "--data", "CareQA_Vision_MCQ", *common, "--name", "v")

    assert (native.returncode, theirs.returncode) == (0, 0), native.stderr + theirs.stderr
    found = records(tmp_path / "runs" / "n")
    assert len(found) == 200
    assert found == records(tmp_path / "runs" / "v")


def test_a_question_that_fails_inside_upstreams_runner_is_no_score(aloe, folder, tmp_path):
    root = write_many_rows(tmp_path / "data", 12)
    file = root / "CareQA-Vis_close.json"
    data = json.loads(file.read_text())
    data[7]["question"] += " <|image_pad|>"  # the model refuses it
    file.write_text(json.dumps(data))
    done = aloe(
        "vlmeval", "--data", "CareQA_Vision_MCQ", "--data-root", root, "--allow-partial",
        "--model", folder, "--max-new-tokens", "4", "--output", "runs",
    )  # fmt: skip

    assert done.returncode == 3
    assert "left no predictions" in done.stderr and "2 image tokens for 1 images" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "runs").rglob("summary.json"))


def test_plain_upstream_reads_the_export_with_its_own_prompt(aloe, tmp_path):
    import os
    import subprocess

    root = write_many_rows(tmp_path / "data", 32)
    assert aloe(
        "export", "--tasks", "careqa_vision_mcq", "--data-root", root, "--allow-partial", "--output", "lmu"
    ).returncode == 0  # fmt: skip
    code = (
        "from vlmeval.dataset import build_dataset\n"
        "d = build_dataset('CareQA_Vision_MCQ')\n"
        "parts = d.build_prompt(d.data.iloc[20])\n"
        "print(type(d).__name__, len(d), [p['type'] for p in parts], 'Question:' in parts[-1]['value'])\n"
    )
    environment = {**os.environ, "LMUData": str(tmp_path / "lmu"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split("\n")[-2] == "CustomMCQDataset 32 ['image', 'text'] True", done.stdout + done.stderr


OPEN_INSIDE = """
import sys
from pathlib import Path
from aloe_bench.bridges.vlmeval.kit import MODEL_NAME, jury_of, register
import os
from aloe_bench.judges.jury.seats import Jury

register(Path("lmu"), {}, jury_of(Jury.read(Path("judges.toml"), os.environ).panel, Path("verdicts")))
import vlmeval.config
from vlmeval.vlm.base import BaseModel
from vlmeval.run import main

class Repeats(BaseModel):
    def generate_inner(self, message, dataset=None):
        return REPLIES[message[-1]["value"]]

REPLIES = __import__("json").loads(Path("replies.json").read_text())
vlmeval.config.supported_VLM["Repeats"] = Repeats
sys.argv = ["run.py", "--data", "CareQA_Vision_Open", "--model", "Repeats", "--work-dir", "work",
            "--judge", "exact_matching"]
main()
"""


def test_open_answers_are_graded_inside_upstream_as_by_judge(aloe, tmp_path):
    import csv
    import os
    import subprocess

    from aloe_bench.tasks.careqa_vision import OPEN
    from tests.support.jury import judges_file, mock_table

    judges_file(tmp_path / "judges.toml", *(mock_table(n, accuracy=0.8, seed=i) for i, n in enumerate("abc")))
    words = ["--tasks", "careqa_vision_open", "--data-root", MINI, "--allow-partial"]
    mock = ["--model", "mock", "--model-args", "accuracy=0.5,partial=0.5", "--output", "runs"]
    ran = aloe("run", *words, *mock, "--judges", "judges.toml")
    assert ran.returncode == 0, ran.stderr
    (run,) = (tmp_path / "runs").rglob("run.json")
    expected = {r.sample_id: r for r in read_run(run.parent)[1]}
    prompts = {OPEN.prompt(sample): expected[sample.id].prediction.text for sample in OPEN.load(MINI)}
    (tmp_path / "replies.json").write_text(json.dumps(prompts))
    assert aloe("export", *words, "--output", "lmu").returncode == 0

    environment = {**os.environ, "LMUData": str(tmp_path / "lmu"), "PRED_FORMAT": "tsv", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", OPEN_INSIDE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    (scores,) = tmp_path.rglob("*_aloe_scores.csv")
    with scores.open(newline="") as file:
        found = {row["id"]: (float(row["score"]), row["rule"]) for row in csv.DictReader(file)}
    assert found == {name: (r.score.value, r.score.rule) for name, r in expected.items()}, done.stderr
    assert len({score for score, _ in found.values()}) > 1


def test_both_matchers_on_real_replies(aloe, tmp_path):
    mock = ["--model", "mock", "--model-args", "accuracy=0.6,verbose=0.5", "--output", "runs"]
    assert aloe("run", "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--allow-partial", *mock).returncode == 0
    (run,) = (tmp_path / "runs").rglob("run.json")
    parity = json.loads(aloe("vlmeval", "--parity", run.parent, "--data-root", MINI, "--json").stdout)

    assert parity["upstream"] == "ms-vlmeval 0.0.20"
    assert parity["n"] == 16
    assert parity["strict"] == pytest.approx(sum(r.score.value or 0 for r in read_run(run.parent)[1]) / 16)


def test_2000_real_replies_are_read_as_the_kit_reads_them():
    from vlmeval.utils.matching_util import can_infer

    from aloe_bench.answers.compat.vlmeval import parse_choice_vlmeval
    from tests.answers.test_real_replies import REPLIES, rows

    if not REPLIES.is_dir():
        pytest.skip(f"no real replies in {REPLIES}")
    differ = []
    for row in rows()[::8]:
        ours = parse_choice_vlmeval(row["reply"], row["choices"])
        theirs = can_infer(row["reply"], dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", row["choices"], strict=False)))
        # This release is of before the kit's pull request 1552.
        if ours.rule != "vlmeval-verbose" and ours.letter != (None if theirs in (False, "Z") else theirs):
            differ.append(row["reply"][-80:])
    assert not differ
