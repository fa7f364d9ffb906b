"""Every command that the README shows runs as written, and prints what the README says it prints."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.annotate_server import request

pytest.importorskip("transformers", reason="the README's examples load a checkpoint: install the extra hf")
ROOT = Path(__file__).parents[2]


LABELS = ROOT / "tests" / "data" / "labels_mini.csv"
# A rater's own link: the port and the secret in it are new every time.
LINK = re.compile(r"http://127\.0\.0\.1:\d+/r/[\w-]{32}/")


def test_the_commands_of_the_readme_run_as_written(tmp_path):
    text = (ROOT / "README.md").read_text()
    examples = re.findall(r"```console\n(.*?)```", text, re.S)
    assert len(examples) >= 10
    shutil.copytree(ROOT / "tests" / "data", tmp_path / "tests" / "data")
    folder = Path(sys.executable).parent
    environment = {
        **os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1",
        "ALOE_BENCH_ANNOTATE_PORT": "0",  # README's own port may be taken here
    }  # fmt: skip
    for example in examples:
        command, _, expected = example.replace("\\\n", "").partition("\n")
        words = command.removeprefix("$ ")
        serves = words.startswith("aloe-bench annotate") and "--export" not in words
        shown = (_rated if serves else _shown)(words, tmp_path, environment)
        for line in expected.splitlines():
            if not line.startswith("run: "):
                assert LINK.sub("LINK", line).strip() in LINK.sub("LINK", shown), (command, line, shown)


def _shown(words: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(words, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def _rated(words: str, folder: Path, environment: dict[str, str]) -> str:
    """Start the page, rate as the hand-made labels say by the links it prints, stop it, and return what it printed."""
    server = subprocess.Popen(
        f"exec {words}", shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    try:
        shown = ""
        while "Ctrl-C" not in shown:
            line = server.stdout.readline()
            assert line, shown
            shown += line
        links = dict(re.findall(rf"^  (\w+)  ({LINK.pattern})", shown, re.M))
        with LABELS.open(newline="") as lines:
            for row in csv.DictReader(lines):
                body = json.dumps({"item": row["item_id"], "label": row["label"], "comment": ""}).encode()
                reply = request("POST", links[row["rater"]] + "api/rate", body, {"Content-Type": "application/json"})
                assert reply.status == 200, reply.body
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)
        assert server.returncode == 0
    finally:
        server.kill()
        server.communicate()
    return shown
