"""A command over several tasks that was interrupted is resumed; one that ended is not asked again."""

from __future__ import annotations

import json

from tests.conftest import MINI


def test_of_several_tasks_the_finished_ones_are_not_asked_again(aloe, tmp_path):
    words = ("run", "--model", "mock", "--data-root", MINI, "--allow-partial", "--output", "runs", "--json")
    both = (*words, "--tasks", "careqa_vision_mcq,careqa_vision_open")

    alone = aloe(*words, "--tasks", "careqa_vision_mcq")
    first = aloe(*both)
    (tmp_path / json.loads(first.stdout)[1]["run"] / "summary.json").unlink()  # as if it had been killed
    second, third = aloe(*both), aloe(*both)
    limited = aloe(*both, "--limit", "3", "--fresh")

    runs = [[summary["run"] for summary in json.loads(done.stdout)] for done in (alone, first, second, third, limited)]
    assert runs[0][0] == runs[1][0]
    assert runs[2] == runs[1]
    assert runs[3] == runs[2] and "Already finished" in third.stderr
    assert [summary["n"] for summary in json.loads(limited.stdout)] == [3, 3]
    settings = json.loads(aloe(*words, "--tasks", "careqa_vision_mcq", "--seed", "1").stdout)[0]["run"]
    (tmp_path / runs[4][1] / "summary.json").unlink()
    other = [summary["run"] for summary in json.loads(aloe(*both, "--limit", "3").stdout)]
    assert other == runs[4] and settings not in other
