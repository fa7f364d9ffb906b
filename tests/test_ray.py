"""Replicas on a Ray cluster of this machine: same records, and a replica that is killed loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="needs the ray extra")
sys.path.insert(0, str(Path(__file__).parent))
from many_rows import write_many_rows

from aloe_bench.core import Record
from aloe_bench.runlog import read_run

pytestmark = pytest.mark.slow
MOCK = ["--model", "mock", "--model-args", "accuracy=0.6,refusal=0.1,latency=0.15", "--tasks", "careqa_vision_mcq"]
LIMIT_S = 300


def answered(root: Path) -> list[Record]:
    """Return the records of the one run below `root`, without times."""
    (run,) = root.rglob("run.json")
    return [replace(r, prediction=replace(r.prediction, seconds=None)) for r in read_run(run.parent)[1]]


def replicas() -> dict[int, psutil.Process]:
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        if "_Replica" in " ".join(process.info["cmdline"] or []):
            found[process.pid] = process
    return found


def test_a_replica_killed_midway_loses_nothing(aloe, tmp_path):
    root = write_many_rows(tmp_path / "data")
    words = ["run", *MOCK, "--data-root", str(root), "--allow-partial", "--batch-size", "1"]
    plain = aloe(*words, "--output", "plain")
    assert plain.returncode == 0, plain.stderr

    command = [sys.executable, "-m", "aloe_bench.cli.main", *words, "--output", "spread", "--ray", "--replicas", "2"]
    before = set(replicas())
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(command, cwd=tmp_path, env=os.environ, stdout=log, stderr=log)
        started, killed = time.monotonic(), 0
        while run.poll() is None and time.monotonic() - started < LIMIT_S:
            lines = [path.read_bytes().count(b"\n") for path in (tmp_path / "spread").rglob("records.jsonl")]
            alive = {pid: p for pid, p in replicas().items() if pid not in before}
            if not killed and sum(lines) > 0 and len(alive) == 2:
                killed = min(alive)
                os.kill(killed, signal.SIGKILL)
            time.sleep(0.2)
        run.kill()
    assert run.returncode == 0, (tmp_path / "log").read_text()
    assert killed
    assert len(answered(tmp_path / "spread")) == 200
    assert answered(tmp_path / "spread") == answered(tmp_path / "plain")


def test_no_cluster_at_that_address_is_one_line(aloe, tmp_path):
    root = write_many_rows(tmp_path / "data", 4)
    done = aloe("run", *MOCK, "--data-root", root, "--allow-partial", "--ray", "127.0.0.1:1", "--output", "runs")
    assert done.returncode == 3
    assert "No Ray cluster at '127.0.0.1:1'" in done.stderr
    assert "Traceback" not in done.stderr
