"""Tutorials run as written and print what they show; commands of ours run in this process."""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MINI
from tests.support.pages import ROOT, Block, blocks
from tests.support.served_model import letters_of, served_model

PAGES = (
    "docs/tutorials/served.md",
    "docs/tutorials/publish.md",
    pytest.param("docs/tutorials/mixture.md", marks=pytest.mark.slow),
    pytest.param("docs/tutorials/robust.md", marks=pytest.mark.slow),
    "docs/agreement.md",
    "docs/training.md",
    "docs/extend.md",
)
SERVER = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_and_print_what_it_shows(quick, tmp_path, page):
    miniature = ("aloe_bench/miniature/templates", "aloe_bench/miniature/base")
    for part in ("tests/data/careqa_mini", "examples/extend", *miniature):
        shutil.copytree(ROOT / part, tmp_path / part)
    with served_model(letters_of(MINI / "CareQA-Vis_close.json")) as url:
        for block in blocks(ROOT / page):
            _follow(block, quick, tmp_path, url)


def _follow(block: Block, quick, folder: Path, url: str) -> None:
    """Write the file that a block is, or run its commands and compare what they print; one may end in an error."""
    if block.title:
        (folder / block.title).write_text(block.text, encoding="utf-8")
    for command, shown in block.commands() if block.language == "console" else ():
        words = command.replace(SERVER, url)
        done = _ours(quick, words, folder) if words.startswith("aloe-bench ") else _shell(words, folder)
        printed = " ".join(f"{done.stdout}\n{done.stderr}".split())
        assert bool(done.returncode) == ("Error: " in shown), (words, printed)
        for line in shown.splitlines():
            assert " ".join(line.removesuffix("...").split()) in printed, (words, line, printed)


def _ours(quick, words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    given = shlex.split(words, comments=True)[1:]
    spread = ((glob.glob(word, root_dir=folder) or [word]) if "*" in word else [word] for word in given)
    return quick(*(each for found in spread for each in found))


def _shell(words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        words, shell=True, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )


def test_a_page_whose_output_is_not_what_it_shows_is_noticed(quick, tmp_path):
    for shown in ("nothing of the kind", "Error: nothing of the kind"):
        with pytest.raises(AssertionError, match=re.escape("ls suites")):
            _follow(Block(1, "console", "", f"$ aloe-bench ls suites\n{shown}\n"), quick, tmp_path, SERVER)
