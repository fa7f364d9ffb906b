"""SIGKILL at random instants: nothing lost, nothing doubled."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import closed_rows
from tests.evaluation.test_run import only_run, untimed

pytestmark = pytest.mark.slow
KILLS = 200
LATENCY = 0.01  # seconds a row: a run of 500 outlasts start-up several times


def command(root: Path, output: Path, latency: float) -> list[str]:
    return [
        sys.executable, "-m", "aloe_bench.cli.main", "run", "--model", "mock", "--tasks", "careqa_vision_mcq",
        "--allow-partial", "--data-root", str(root), "--output", str(output), "--name", "m",
        "--model-args", f"accuracy=0.6,latency={latency}",
    ]  # fmt: skip


def lines(output: Path) -> int:
    return sum(log.read_bytes().count(b"\n") for log in output.rglob("records.jsonl"))


def test_a_run_killed_200_times_equals_an_uninterrupted_one(closed, tmp_path):
    root, rng = closed(closed_rows(500)), random.Random(0)
    subprocess.run(command(root, tmp_path / "whole", LATENCY), check=True, capture_output=True)
    expected = untimed(only_run(tmp_path / "whole"))
    kills = between = finished = 0
    while kills < KILLS:
        output = tmp_path / f"killed{finished}"
        child = subprocess.Popen(command(root, output, LATENCY), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # A third at any instant from the start on, the others at some record, however long this machine takes to it.
        end, wanted = time.monotonic() + 1.2 * rng.random(), lines(output) + rng.randint(1, 20)
        by_the_clock = kills % 3 == 0
        while child.poll() is None and (time.monotonic() < end if by_the_clock else lines(output) < wanted):
            time.sleep(0.003)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.wait()
        between += 0 < lines(output) < 500
        if list(output.rglob("summary.json")):
            assert untimed(only_run(output)) == expected
            finished += 1
    subprocess.run(command(root, output, LATENCY), check=True, capture_output=True)
    assert all(untimed(path.parent) == expected for path in output.rglob("summary.json"))
    print(f"{kills} kills, {between} between the first and the last record, {finished} runs finished between them")
    assert between >= KILLS // 2
    assert finished >= 5
