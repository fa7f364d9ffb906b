"""The Slurm examples of docs/cluster.md, run with stand-ins for what a cluster brings."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from aloe_bench.cli.run import run

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
SCRIPTS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
STAND_INS = {
    "aloe-bench": 'printf "%s\\n" "$@" > "$OUT/words"',
    "srun": 'echo "$@" >> "$OUT/started"',
    "scontrol": "printf 'node1\\nnode2\\nnode3\\nnode4\\n'",
    "sleep": ":",
    "ray": 'echo "$RAY_AUTH_MODE $@" > "$OUT/token"',
}


@pytest.mark.parametrize("script", SCRIPTS, ids=["array", "ray"])
def test_an_example_ends_in_a_command_that_we_know(script, tmp_path):
    for name, body in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "OUT": str(tmp_path), "MODEL": "m", "DATA": "d"}
    environment |= {"RUNS": "r", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_NODELIST": "node[1-4]"}
    (tmp_path / "job").write_text(script)
    subprocess.run(["bash", "-eu", "job"], cwd=tmp_path, env=environment, check=True)

    directives = re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", script, re.MULTILINE)
    assert {"job-name", "nodes", "gres", "cpus-per-task", "time"} <= {name for name, _ in directives}
    verb, *words = (tmp_path / "words").read_text().split("\n")[:-1]
    assert verb == "run"
    parsed = run.make_context("run", words).params
    assert (parsed["model"], parsed["suite"]) == ("m", "careqa_vision")
    if parsed["ray"]:
        log = tmp_path / "started"
        for _ in range(100):  # srun stands in the background
            started = log.read_text() if log.exists() else ""
            if started.count("\n") == 2:
                break
            time.sleep(0.1)
        assert parsed["ray"] == "node1:6379"
        assert "ray start --head --port=6379" in started and f"ray start --address={parsed['ray']}" in started
        assert (tmp_path / "token").read_text() == "token get-auth-token --generate\n"
        gpus = dict(directives)["gres"].removeprefix("gpu:")
        assert parsed["replicas"] * parsed["gpus_per_replica"] == 4 * int(gpus)
    else:
        assert parsed["shard"] == "3/8" and dict(directives)["array"] == "1-8"
