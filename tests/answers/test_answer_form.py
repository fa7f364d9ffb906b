"""`run --answer text`: choice questions asked for the option's words, from the prompt to the leaderboard row."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.answers.score import grade
from aloe_bench.core import Prediction, Sample
from aloe_bench.errors import UsageError
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.tasks import formats
from aloe_bench.tasks.careqa_vision import MCQ
from tests.boards.test_facts import own_rows
from tests.conftest import closed_rows


def header_of(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("*/*/*/run.json")
    header: dict[str, Any] = json.loads(path.read_text())
    return header


def test_the_text_form_changes_prompt_and_header_and_gets_a_row_of_its_own(aloe, closed, tmp_path):
    root = closed(closed_rows(8))
    words = ("run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--data-root", root, "--allow-partial")

    shown = aloe(*words, "--answer", "text", "--dry-run").stdout
    assert "thing 0-1" in shown and "text of the correct option" in shown and "letter" not in shown
    for form in ("letter", "text"):
        assert aloe(*words, "--answer", form, "--output", f"{form}-runs").returncode == 0
    letter, text = header_of(tmp_path / "letter-runs"), header_of(tmp_path / "text-runs")
    assert (letter["answer"], text["answer"]) == ("letter", "text")
    assert letter["prompt_sha256"] != text["prompt_sha256"]
    built = aloe("leaderboard", "build", "letter-runs", "text-runs", "--output", "pages")
    assert built.returncode == 0, built.stderr
    rows = own_rows(tmp_path / "pages" / "miniature.md")
    assert sum("[answers as text" in name.replace("\\", "") for name in rows) == 1


def test_options_scored_as_text_give_the_letter_of_the_likeliest(aloe, closed, tmp_path):
    folder = build_tiny_checkpoint(tmp_path / "tiny")
    done = aloe(
        "run", "--model", folder, "--tasks", "careqa_vision_mcq", "--data-root", closed(closed_rows(4)),
        "--allow-partial", "--answer", "text", "--protocol", "logprob", "--output", "runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "runs").glob("*/*/*/records.jsonl")
    for line in path.read_text().splitlines():
        record = json.loads(line)
        scores = record["prediction"]["option_logprobs"]
        parsed = record["score"]["parsed"]
        assert len(scores) == 4 and all(-math.inf < score < 0 for score in scores)
        assert scores["ABCD".index(parsed)] == max(scores)
        assert record["score"]["value"] == float(parsed == record["target"])


def test_a_reply_in_the_words_of_an_option_is_read_and_another_word_is_not():
    sample = Sample("s", "choice", "Normal?", "B", "c", choices=("abnormal", "normal"))
    read = {
        reply: grade(sample, Prediction("s", reply, "stop")).parsed
        for reply in ("abnormal", "normal", " Normal.", "fracture", "")
    }
    assert read == {"abnormal": "A", "normal": "B", " Normal.": "B", "fracture": None, "": None}


def test_a_task_with_a_request_of_its_own_is_refused():
    class Own:
        name = "own"

        def prompt(self, sample: Sample) -> str:
            return "Say A or B."

    sample = Sample("s", "choice", "Normal?", "B", "c", choices=("abnormal", "normal"))
    with pytest.raises(UsageError, match="own: its prompt has its own request"):
        formats.asked(Own(), sample, "text")  # type: ignore[arg-type]
    assert formats.asked(MCQ, sample).endswith("letter of the correct option only.")
