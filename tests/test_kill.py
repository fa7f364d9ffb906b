"""SIGKILL at random instants: nothing lost, nothing doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import closed_rows
from test_run import only_run, untimed

pytestmark = pytest.mark.slow
KILLS = 200


def command(root: Path, output: Path, latency: float) -> list[str]:
    return [
        sys.executable, "-m", "aloe_bench.cli.main", "run", "--model", "mock", "--tasks", "careqa_vision_mcq",
        "--allow-partial", "--data-root", str(root), "--output", str(output), "--name", "m",
        "--model-args", f"accuracy=0.6,latency={latency}",
    ]  # fmt: skip


def test_a_run_killed_200_times_equals_an_uninterrupted_one(closed, tmp_path):
    root, rng = closed(closed_rows(500)), random.Random(0)
    subprocess.run(command(root, tmp_path / "whole", 0.002), check=True, capture_output=True)
    expected = untimed(only_run(tmp_path / "whole"))
    kills = between = series = 0
    while kills < KILLS:
        output, series = tmp_path / f"killed{series}", series + 1
        while True:
            child = subprocess.Popen(
                command(root, output, 0.002), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            logs = list(output.rglob("records.jsonl"))
            begun = bool(logs) and logs[0].stat().st_size > 0
            wait_until, grown = time.monotonic() + 20, False
            while child.poll() is None and time.monotonic() < wait_until and rng.random() > 0.1 and not grown:
                time.sleep(0.1)
                grown = any(log.stat().st_size for log in output.rglob("records.jsonl")) and not begun
            time.sleep(rng.random() * 0.6)
            if child.poll() is not None or kills >= KILLS:
                break
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            kills += 1
            lines = sum(log.read_bytes().count(b"\n") for log in output.rglob("records.jsonl"))
            between += 0 < lines < 500
        child.wait()
        subprocess.run(command(root, output, 0.0) if False else command(root, output, 0.002), check=True,
                       capture_output=True)  # fmt: skip
        finished = [path.parent for path in output.rglob("summary.json")]
        assert finished
        assert all(untimed(folder) == expected for folder in finished)
    print(f"{kills} kills, {between} between the first and the last record, {series} runs")
    assert between >= 100
