"""A CareQA-Vision folder made on the spot, and the command as a user runs it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Run = Callable[..., "subprocess.CompletedProcess[str]"]
MINI = Path(__file__).parent / "data" / "careqa_mini"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--third", type=int, choices=(1, 2, 3), help="run a fixed third of the tests, by their names")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the third that `--third` names; a test is always in the same one."""
    third = config.getoption("--third")
    if third is None:
        return
    chosen = [item for item in items if int(hashlib.sha256(item.nodeid.encode()).hexdigest(), 16) % 3 == third - 1]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


def png(shade: int) -> str:
    """Return a small grey PNG in base64."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade % 256, shade // 256, 7)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def closed_rows(n: int) -> list[dict[str, object]]:
    return [
        {
            "unique_id": f"row-{i}",
            "question": f"Which one is number {i}?",
            **{f"op{j}": f"thing {i}-{j}" for j in range(1, 5)},
            "cop": i % 4 + 1,
            "year": 2024,
            "category": "Nursing" if i % 4 == 0 else "Medicine",
            "image": png(i),
        }
        for i in range(n)
    ]


@pytest.fixture
def closed(tmp_path: Path) -> Callable[[list[dict[str, object]]], Path]:
    """Return a function that writes rows as the closed file and gives the data root."""

    def write(rows: list[dict[str, object]]) -> Path:
        root = tmp_path / "data"
        root.mkdir(exist_ok=True)
        (root / "CareQA-Vis_close.json").write_text(json.dumps(rows))
        return root

    return write


@pytest.fixture
def aloe(tmp_path: Path) -> Run:
    """Return a function that runs the command in a process of its own, in `tmp_path`."""

    def command(*words: object, timeout_s: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "aloe_bench.cli.main", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    return command


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what `aloe` does, in this process: for tests of numbers, which need no start-up of their own."""
    from aloe_bench.cli.main import main

    def command(*words: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["aloe-bench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        code = end.value.code
        return subprocess.CompletedProcess(list(words), code if isinstance(code, int) else 0, out, err)

    return command
