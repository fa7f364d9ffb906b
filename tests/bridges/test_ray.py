"""Replicas on a Ray cluster of this machine: same records, and a replica that is killed loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="needs the ray extra")
sys.path.insert(0, str(Path(__file__).parents[2]))
from aloe_bench.core import Record
from aloe_bench.evaluation.runlog import read_run
from tests.support.many_rows import write_many_rows

pytestmark = pytest.mark.slow
MOCK = ["--model", "mock", "--model-args", "accuracy=0.6,refusal=0.1,latency=0.15", "--tasks", "careqa_vision_mcq"]
LIMIT_S = 300
MINI = Path(__file__).parents[1] / "data" / "careqa_mini"


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


def test_what_ends_a_replicas_work_is_one_line(aloe, tmp_path):
    words = ["run", *MOCK[-2:], "--data-root", MINI, "--allow-partial", "--output", "runs", "--ray", "--replicas", "1"]
    # An address that the environment names is not what `--ray` without one asks for.
    down = aloe(*words, "--model", "m", "--base-url", "http://127.0.0.1:1/v1", RAY_ADDRESS="127.0.0.1:1")
    assert down.returncode == 3, down.stderr
    assert "http://127.0.0.1:1/v1 cannot be reached" in down.stderr and "Traceback" not in down.stderr

    large = aloe(*words, "--model", "mock", "--gpus-per-replica", "1000", timeout_s=LIMIT_S)
    assert large.returncode == 3
    assert "no node has room for a replica of 1000 GPUs" in large.stderr


@pytest.fixture
def cluster(tmp_path) -> Iterator[str]:
    """Start a cluster in a folder of its own and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (elsewhere := tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=3"]
    command += [f"--port={port}", "--include-dashboard=false", "--disable-usage-stats"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    with (tmp_path / "head").open("wb") as log:
        head = subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=log, stderr=log)
        started = time.monotonic()
        while "Ray runtime started" not in (tmp_path / "head").read_text():
            assert head.poll() is None and time.monotonic() - started < LIMIT_S, (tmp_path / "head").read_text()
            time.sleep(0.5)
        yield f"127.0.0.1:{port}"
        head.terminate()
        head.wait(60)


def test_relative_paths_start_where_the_command_was_given(aloe, cluster, tmp_path):
    shutil.copytree(MINI, tmp_path / "data")
    words = ["run", "--model", "mock", "--model-args", "decode=true", *MOCK[-2:], "--data-root", "data"]
    done = aloe(*words, "--allow-partial", "--output", "runs", "--ray", cluster, RAY_AUTH_MODE="disabled")

    assert done.returncode == 0, done.stderr
    assert [record.prediction.error for record in answered(tmp_path / "runs")] == [None] * 16


SPREAD = """
import sys
from aloe_bench import evaluate
if __name__ == "__main__":
    where = dict(data_root={root!r}, output="there", ray="local", replicas=1)
    run = evaluate("mock", "careqa_vision_mcq", allow_partial=True, **where)
    print(run.cells["overall"].value, "ray" in sys.modules)
"""


def test_python_spreads_a_run_over_replicas_too(tmp_path):
    from aloe_bench import evaluate

    here = evaluate("mock", "careqa_vision_mcq", output=tmp_path / "here", data_root=MINI, allow_partial=True)
    script = tmp_path / "spread.py"
    script.write_text(SPREAD.format(root=str(MINI)))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(here.cells["overall"].value), "True"]
    assert answered(tmp_path / "there") == answered(tmp_path / "here")
