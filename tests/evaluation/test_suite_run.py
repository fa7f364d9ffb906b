"""The medical suite in one command, killed on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aloe_bench import registry
from aloe_bench.evaluation import runlog
from tests.boards.test_leaderboard import number, table_rows
from tests.evaluation.test_run import untimed
from tests.evaluation.test_suite import JUDGES, MOCK, medical

__all__ = ["medical"]


def finished(output: Path) -> dict[str, list[object]]:
    return {path.parent.parent.name: untimed(path.parent) for path in sorted(output.rglob("summary.json"))}


def killed_when(words: list[str], folder: Path, there: Any) -> None:
    """Run a command and SIGKILL it once `there` is true of its output."""
    child = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not there() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert child.poll() is None, "ended before it was killed"
    child.send_signal(signal.SIGKILL)
    child.wait()


def test_a_suite_killed_midway_goes_on_and_equals_an_uninterrupted_one(aloe, medical, tmp_path):
    words = [sys.executable, "-m", "aloe_bench.cli.main", *map(str, (*MOCK, *JUDGES)), "--model-args",
             "accuracy=0.6,partial=0.3,latency=0.02"]  # fmt: skip
    probmed = tmp_path / "runs/m/probmed"
    killed_when(words, tmp_path, lambda: any(probmed.glob("*/records.jsonl")))
    before = {path.parent for path in (tmp_path / "runs").rglob("run.json")}

    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([*words, "--output", "whole"], cwd=tmp_path, check=True, capture_output=True)

    assert 6 <= len(before) < 8  # the task it died in, or the next on a machine that was busy
    after = {path.parent for path in (tmp_path / "runs").rglob("run.json")}
    assert before < after and len(after) == 8
    assert finished(tmp_path / "runs") == finished(tmp_path / "whole")


def test_one_command_fills_all_ten_columns_with_the_tiny_checkpoint_and_outlives_a_kill(medical, tmp_path):
    pytest.importorskip("lm_eval")
    from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
    from tests.support.text_data import real_mmlu

    build_tiny_checkpoint(tmp_path / "tiny")
    real_mmlu(medical)
    words = [
        sys.executable, "-m", "aloe_bench.cli.main", "run", "--model", "tiny", "--name", "tiny", "--suite", "medical",
        "--data-root", "data", "--allow-partial", "--max-new-tokens", "4", *map(str, JUDGES),
    ]  # fmt: skip
    killed_when(words, tmp_path, lambda: any((tmp_path / "runs/tiny/pathmmu").glob("*/records.jsonl")))
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    built = subprocess.run(
        [sys.executable, "-m", "aloe_bench.cli.main", "leaderboard", "build", "runs", "--output", "boards"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip

    assert built.returncode == 0, built.stderr
    folders = [path.parent for path in (tmp_path / "runs").rglob("run.json")]
    assert sorted(folder.parent.name for folder in folders) == sorted(registry.SUITES["medical"])
    (row,) = [row for row in table_rows(tmp_path / "boards/miniature.md") if row[0] == "tiny †§" and len(row) == 13]
    means = {}
    for folder in folders:
        records = runlog.read_run(folder)[1]
        scores = [r.score.value for r in records if r.score.value is not None]
        assert len(scores) == len(records) > 0
        means[folder.parent.name] = 100 * sum(scores) / len(scores)
    shown = [float(number(value).rstrip("†§¶◊°")) for value in row[2:12]]
    assert shown == pytest.approx([means[task] for task in registry.SUITES["medical"]], abs=0.0051)
    assert not [row for row in table_rows(tmp_path / "boards/medical.md") if row[0].startswith("tiny")]
