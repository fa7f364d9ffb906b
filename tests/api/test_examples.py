"""Every file under examples/ runs as its first line says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MINI
from tests.support.faulty_server import Plan, faulty_server
from tests.support.heart_source import write_source

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def _run(name: str, folder: Path, *words: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here():
    tested = Path(__file__).read_text()
    assert all(f'_run("{path.stem}"' in tested for path in EXAMPLES.glob("*.py"))


def test_evaluate_a_checkpoint(tmp_path):
    pytest.importorskip("torch")
    from aloe_bench.miniature.checkpoint import build_tiny_checkpoint

    checkpoint = build_tiny_checkpoint(tmp_path / "tiny")
    out = _run("evaluate_checkpoint", tmp_path, checkpoint, "careqa_vision_mcq", MINI)
    assert "overall: " in out and "16 questions" in out
    assert (tmp_path / out.splitlines()[-1] / "summary.json").is_file()


def test_evaluate_a_model_behind_a_server(tmp_path):
    with faulty_server(Plan()) as server:
        out = _run("evaluate_server", tmp_path, "m", server.url, "careqa_vision_mcq", MINI)
    assert out.count(" -> ") == 3


def test_evaluate_a_model_of_ones_own(tmp_path):
    assert "Cell(value=0." in _run("own_model", tmp_path, "careqa_vision_mcq", MINI)


def test_attack_a_source_and_compare_two_models(tmp_path):
    source = write_source(tmp_path / "source")
    out = _run("attack_and_compare", tmp_path, source, "mock", "mock")
    assert "rows of" in out and "classification/caption 0.0 " in out
    assert (tmp_path / "leaderboards" / "heart.md").is_file()
    assert (tmp_path / "report.html").is_file()


def test_judge_a_run_and_hold_the_jury_to_experts(tmp_path):
    from aloe_bench import ModelSpec, evaluate

    mock = ModelSpec("mock", options={"accuracy": 0.6, "partial": 0.4, "seed": 2})
    run = evaluate(mock, "careqa_vision_open", data_root=MINI, output=tmp_path / "runs", allow_partial=True)
    data = ROOT / "tests" / "data"
    out = _run("judge_and_agree", tmp_path, run.folder, data / "judges_mini.toml", data / "labels_mini.csv")
    assert "'ada': {'graded': 10" in out and out.splitlines()[-1].startswith("0.")
