"""`ls` and `doctor`: what there is, as a table with a head that fits the terminal, and whole as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from aloe_bench import registry
from aloe_bench.cli.ls import TABLES
from tests.support.served_model import served_model


@pytest.mark.parametrize("what", TABLES)
def test_a_list_has_a_head_and_a_line_for_each_name(quick, monkeypatch, what):
    listing = json.loads(quick("ls", what, "--json").stdout)
    for columns in (80, 150):
        monkeypatch.setenv("COLUMNS", str(columns))
        head, rule, *lines = quick("ls", what).stdout.splitlines()

        assert head.split()[0] == what.removesuffix("s") and set(rule.strip()) == {"─"}
        assert [line.split()[0] for line in lines if line[0] != " "] == list(listing)
        assert max(map(len, (head, rule, *lines))) <= columns


def test_the_list_of_tasks_says_what_each_asks_and_how_it_is_scored(quick):
    tasks = json.loads(quick("ls", "tasks", "--json").stdout)

    assert {*registry.TASKS} < {*tasks}
    assert all(task["asks"] and task["scored by"] for name, task in tasks.items() if name in registry.TASKS)
    assert tasks["slake"]["rows"] == 1061 and tasks["mmmu"]["scored by"] == "exact match, jury"
    assert "yes or no" in quick("ls", "tasks").stdout


def test_doctor_says_which_judges_could_be_asked(quick, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with served_model({}) as url:
        (tmp_path / "judges.toml").write_text(
            f"""
            [[judge]]
            name = "here"
            backend = "openai"
            model = "m"
            base_url = "{url}"
            [[judge]]
            name = "gone"
            backend = "openai"
            model = "m"
            base_url = "http://127.0.0.1:9/v1"
            [[judge]]
            name = "locked"
            backend = "openai"
            model = "m"
            base_url = "{url}"
            api_key_env = "NO_SUCH_KEY"
            [[judge]]
            name = "made-up"
            backend = "mock"
            model = "mock"
            """
        )
        states = json.loads(quick("doctor", "--judges", "judges.toml", "--json").stdout)["judges"]
        said = quick("doctor", "--judges", "judges.toml").stdout

    assert "is reachable" in states["here"] and "does not answer" in states["gone"]
    assert states["locked"] == "m: its key is not set: NO_SUCH_KEY" and "in this process" in states["made-up"]
    assert "Judges (judges.toml):" in said and "  locked " in said


@pytest.mark.slow
def test_the_shell_completes_verbs_and_options(tmp_path):
    """As docs/reference/command-line.md sets it up, in a bash that is asked what it would complete."""
    script = """
    set -e
    eval "$(_ALOE_BENCH_COMPLETE=bash_source aloe-bench)"
    complete -p aloe-bench
    COMP_WORDS=(aloe-bench lea); COMP_CWORD=1; _aloe_bench_completion aloe-bench; echo "${COMPREPLY[@]}"
    COMP_WORDS=(aloe-bench run --max); COMP_CWORD=2; _aloe_bench_completion aloe-bench; echo "${COMPREPLY[@]}"
    """
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    verbs, options = done.stdout.splitlines()[-2:]
    assert verbs == "leaderboard" and {"--max-new-tokens", "--max-pixels", "--max-failed"} <= {*options.split()}
