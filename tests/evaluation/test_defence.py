"""A defence: words before every prompt of a run, in its header and identity, and told apart in comparisons."""

from __future__ import annotations

import json

from aloe_bench.evaluation.defence import load_defence, shipped
from aloe_bench.evaluation.runlog import read_run
from tests.evaluation.test_run import only_run
from tests.support.heart_tables import Source, rows, write_folder

MOCK = ("run", "--model", "mock", "--model-args", "accuracy=0.8,follow=0.5")


def test_the_words_stand_before_every_prompt_and_compare_says_so(quick, tmp_path):
    folder = write_folder(tmp_path / "table", rows([Source("brain", 30, 4)], attacks=("prompt",)))
    words = (*MOCK, "--tasks", f"heart:{folder}")
    mine = tmp_path / "mine.txt"
    mine.write_text("Look twice.\n")

    plain = quick(*words, "--output", tmp_path / "plain")
    own = quick(*words, "--output", tmp_path / "own", "--defence", mine)

    assert plain.returncode == own.returncode == 0, own.stderr
    (_, before), (header, after) = (read_run(only_run(tmp_path / name)) for name in ("plain", "own"))
    assert header["defence"]["text"] == "Look twice." and header["defence"]["name"] == "mine"
    for one, other in zip(before, after, strict=True):
        assert other.prompt[1].text == f"Look twice.\n\n{one.prompt[1].text}"
    compared = quick("compare", only_run(tmp_path / "plain"), only_run(tmp_path / "own"), "--json")
    result = json.loads(compared.stdout)
    assert "defence" in result["differ_in"]
    assert "classification/prompt: drop" in {row["row"] for row in result["rows"]}
    quick("leaderboard", "build", tmp_path / "plain", tmp_path / "own", "--output", tmp_path / "boards")
    assert "[defence mine " in (tmp_path / "boards" / "miniature.md").read_text()


def test_shipped_defences_are_two_and_what_is_none_is_refused(quick, tmp_path):
    assert [load_defence(name).name for name in shipped()] == ["ignore-words", "picture-first"]
    folder = write_folder(tmp_path / "table", rows([Source("brain", 4, 4)], attacks=("prompt",)))
    words = (*MOCK, "--tasks", f"heart:{folder}", "--dry-run", "--defence")
    (tmp_path / "empty.txt").write_text(" ")

    shown, unknown, empty = (quick(*words, name) for name in ("picture-first", "picture-frist", "empty.txt"))

    assert "Decide from the picture itself." in shown.stdout
    assert unknown.returncode == 2 and "Did you mean picture-first?" in unknown.stderr
    assert empty.returncode == 3 and "0 characters" in empty.stderr
