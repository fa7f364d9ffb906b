"""`run --repeats K`: several replies to each question under keys of their own, and what of a score is their draw."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aloe_bench.boards.build import evidence
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.repeats import variance_parts
from tests.conftest import MINI
from tests.evaluation.test_run import only_run
from tests.support.heart_tables import Source, rows, write_folder


def words(name, *more):
    return ("run", "--model", "mock", "--name", name, "--tasks", "careqa_vision_mcq", "--data-root", MINI,
            "--allow-partial", "--temperature", "0.7", "--output", name, *more)  # fmt: skip


def test_replies_have_keys_of_their_own_and_the_first_ones_are_the_run(quick, tmp_path):
    one = quick(*words("one", "--model-args", "accuracy=0.5"))
    three = quick(*words("three", "--model-args", "accuracy=0.5", "--repeats", "3", "--json"))
    assert (one.returncode, three.returncode) == (0, 0), one.stderr + three.stderr
    folder = only_run(tmp_path / "three")
    records, repeats = runlog.read_records(folder), runlog.read_repeats(folder)
    alone = runlog.read_records(only_run(tmp_path / "one"))
    assert [(r.sample_id, r.score.value) for r in records] == [(r.sample_id, r.score.value) for r in alone]
    assert {r.sample_id for r in repeats} == {f"{r.sample_id}#{k}" for r in records for k in (1, 2)}
    assert {r.repeat for r in repeats} == {1, 2}
    (summary,) = json.loads(three.stdout)
    found = summary["repeats"]["overall"]
    every = [r.score.value for r in (*records, *repeats)]
    assert found["value"] == pytest.approx(np.mean(every)) and found["n_replies"] == 3
    assert found["interval"][0] <= found["value"] <= found["interval"][1] and found["replies"] > 0
    assert summary["n"] == len(records), "items are counted once"
    result, _ = evidence(folder)
    assert set(result["outcomes"]["arms"]) == {"baseline", "baseline#1", "baseline#2"}
    for key, value in found.items():
        assert result["repeats"]["overall"][key] == pytest.approx(value), key

    again = quick(*words("three", "--model-args", "accuracy=0.5", "--repeats", "3", "--json"))
    assert again.returncode == 0 and len(runlog.read_lines(folder)) == 3 * len(records), "a finished run is taken"
    compared = quick("compare", folder, folder, "--json")
    result = json.loads(compared.stdout)
    row = next(row for row in result["rows"] if row["row"] == "overall: over all replies")
    assert (row["value"], row["n"]) == (0.0, len(records))
    parts = result["repeats"]["overall"]
    assert parts["sd_of_one"] == pytest.approx(2**0.5 * found["sd_of_one"])
    assert "of the variance of a change is the replies'" in quick("compare", folder, folder).stdout


@pytest.mark.slow
def test_an_attacked_table_has_the_parts_of_each_arm(quick, tmp_path):
    folder = write_folder(tmp_path / "a", rows([Source("brain", 12, 4)], attacks=("caption",)))
    done = quick("run", "--model", "mock", "--tasks", f"heart:{folder}", "--temperature", "1", "--repeats", "2",
                 "--model-args", "accuracy=0.5", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (summary,) = json.loads(done.stdout)
    assert set(summary["repeats"]) >= {"classification/baseline", "classification/caption/adversarial"}
    assert quick("leaderboard", "build", "runs").returncode == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [(("--temperature", "0"), "needs --temperature above 0"), (("--shard", "1/2"), "does not go with --shard"),
     (("--tasks", "careqa_vision_open"), "questions with options")],
)  # fmt: skip
def test_what_cannot_be_repeated_is_refused(quick, more, said):
    done = quick(*words("no", "--repeats", "2", *more))
    assert done.returncode == 2 and said in " ".join(done.stderr.split())


def test_the_parts_are_those_the_scores_were_drawn_with():
    rng = np.random.default_rng(0)
    share = rng.choice([0.2, 0.8], size=20_000)
    scores = (rng.random((20_000, 4)) < share[:, None]).astype(float)
    parts = variance_parts(scores)
    assert parts["items"] == pytest.approx(0.09, abs=0.004) and parts["replies"] == pytest.approx(0.16, abs=0.002)
    same = variance_parts(np.repeat(scores[:, :1], 3, axis=1))
    assert (same["replies"], same["changed"]) == (0.0, 0.0)
