"""docs/own-questions.md: its commands run as written, one after another, and print what the page shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from aloe_bench.tasks.own import open_questions

PAGE = Path(__file__).parents[2] / "docs" / "own-questions.md"


def test_the_commands_of_the_page_run_as_written(quick, tmp_path):
    examples = re.findall(r"```console\n\$ aloe-bench (.*?)\n(.*?)```", PAGE.read_text(), re.S)
    assert [words.split()[0] for words, _ in examples][:4] == ["data", "data", "run", "leaderboard"]
    for words, shown in examples:
        done = quick(*shlex.split(words.replace("\\\n", " ")))
        assert done.returncode == 0, (words, done.stderr)
        for line in shown.splitlines():
            assert line in done.stdout, (words, line, done.stdout)

    assert (tmp_path / "ward/questions.csv").read_text().strip() in PAGE.read_text()
    assert "mcq-questions" in (tmp_path / "boards/miniature.md").read_text()


def test_every_template_is_whole(quick, tmp_path):
    for kind in ("mcq", "yesno", "open"):
        assert quick("data", "template", kind).returncode == 0
        task = open_questions(kind, str(tmp_path / f"{kind}-questions/questions.csv"))
        assert task.expected_rows >= 2
    again = quick("data", "template", "open")
    assert again.returncode == 2 and "is there already and not empty" in again.stderr
