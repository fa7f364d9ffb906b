"""Every command that the README shows runs as written, and prints what the README says it prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the README's examples load a checkpoint: install the extra hf")
ROOT = Path(__file__).parent.parent


def test_the_commands_of_the_readme_run_as_written(tmp_path):
    text = (ROOT / "README.md").read_text()
    examples = re.findall(r"```console\n(.*?)```", text, re.S)
    assert len(examples) >= 5
    shutil.copytree(ROOT / "tests" / "data" / "careqa_mini", tmp_path / "tests" / "data" / "careqa_mini")
    folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    for example in examples:
        command, _, expected = example.replace("\\\n", "").partition("\n")
        done = subprocess.run(
            command.removeprefix("$ "), shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (command, done.stderr)
        for line in expected.splitlines():
            if not line.startswith("run: "):
                assert line.strip() in done.stdout, (command, line, done.stdout)
