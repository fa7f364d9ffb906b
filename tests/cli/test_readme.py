"""Every command that README and tutorials show runs as written, and prints what the page says it prints."""

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


PAGES = (
    "README.md",
    "docs/tutorials/evaluate.md",
    "docs/tutorials/open-answers.md",
    pytest.param("docs/tutorials/attack.md", marks=pytest.mark.slow),
    "docs/exchange.md",
    "docs/leaderboard.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_as_written(tmp_path, page):
    environment = _prepared(tmp_path)
    for words, expected in _examples(page):
        shown = (_rated if _serves(words) else _shown)(words, tmp_path, environment)
        for line in expected.splitlines():
            if not line.startswith("run: "):
                assert LINK.sub("LINK", line).strip() in LINK.sub("LINK", shown), (words, line, shown)
        if page == "README.md":  # a second time, as people do: the same, or one line that says what to do instead
            before = _pages(tmp_path)
            again = _run(words, tmp_path, environment)
            if again.returncode:
                assert again.returncode == 3 and "--overwrite" in again.stderr.splitlines()[-1], again.stderr
            assert _pages(tmp_path) == before, words


def test_pages_hold_the_examples_that_are_run():
    assert all(len(_examples(page if isinstance(page, str) else page.values[0])) >= 4 for page in PAGES)


def _examples(page: str) -> list[tuple[str, str]]:
    """Return each console block of a page: the command, and the lines that it shows."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.S)
    parts = [block.replace("\\\n", "").partition("\n") for block in blocks]
    return [(command.removeprefix("$ "), expected) for command, _, expected in parts]


def _prepared(folder: Path) -> dict[str, str]:
    for part in ("tests/data", "aloe_bench/miniature/templates"):
        shutil.copytree(ROOT / part, folder / part)
    return {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1", "ALOE_BENCH_ANNOTATE_PORT": "0",  # the page's own port may be taken here
    }  # fmt: skip


def _pages(folder: Path) -> dict[str, str]:
    """Return every page, table and summary that the commands have written."""
    found = (path for kind in ("md", "html", "csv", "json") for path in folder.rglob(f"*.{kind}"))
    return {str(path.relative_to(folder)): path.read_text() for path in found if "tests" not in path.parts}


def _serves(words: str) -> bool:
    return words.startswith("aloe-bench annotate") and "--export" not in words


def _run(words: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, shell=True, cwd=folder, env=environment, capture_output=True, text=True)


def _shown(words: str, folder: Path, environment: dict[str, str]) -> str:
    done = _run(words, folder, environment)
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
