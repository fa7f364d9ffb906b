"""`annotate --sample` and `agreement --correct`: labels of a random part correct what a jury said of all."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aloe_bench.boards.build import build
from aloe_bench.boards.verify import verify
from aloe_bench.core import Prediction, Score, Verdict
from aloe_bench.errors import UsageError
from aloe_bench.evaluation.finish import finish
from aloe_bench.judges.experts.sample import draw, read_draw, recorded_draw
from aloe_bench.judges.jury import panel
from tests.boards.test_leaderboard import record, run_folder, table_rows
from tests.support.annotate_server import make_run, served

N = 200


@pytest.fixture
def judged(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A run of 200 answers, a quarter right, whose jury is lenient; ten more have no answer. And the truth."""
    rng = np.random.default_rng(0)
    truth = rng.choice([0.0, 0.5, 1.0], N, p=[0.7, 0.1, 0.2])
    records = []
    for i, right in enumerate(truth):
        grade = min(1.0, right + (0.5 if rng.random() < 0.4 else 0.0))
        score = panel.score([Verdict(f"s{i}", f"j{k}", float(grade), "{}") for k in range(3)])
        records.append(record(i, None, score=score, kind="open", prediction=Prediction(f"s{i}", f"words {i}", "stop")))
    for i in range(N, N + 10):
        unread = Score(0.0, None, "unread: no answer", outcome="unread")
        records.append(record(i, 0.0, score=unread, kind="open", prediction=Prediction(f"s{i}", "", "stop")))
    run = run_folder(tmp_path / "run", "m", "careqa_vision_open", records, shard=None,
                     judges={"judges": [{"name": f"j{k}", "backend": "hf"} for k in range(3)]})  # fmt: skip
    finish(run)
    return run, truth


def labels(path: Path, items: list[str], truth: np.ndarray, experts: int = 3) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", *(f"e{k}" for k in range(experts))])
        for item in items:
            rows.writerow([item, *[f"{truth[int(item[1:])]:g}"] * experts])
    return path


def test_drawn_labels_correct_the_cell_in_summary_and_on_the_page(quick, judged, tmp_path):
    run, truth = judged
    drawn = recorded_draw(run, [f"s{i}" for i in range(N)], 60, 1)
    file = labels(tmp_path / "labels.csv", list(drawn.items), truth)
    done = quick("agreement", "--annotations", file, "--run", run, "--correct", "--resamples", 100)
    assert done.returncode == 0, done.stderr
    cell = json.loads((run / "summary.json").read_text())["cells"]["overall"]
    found, right = cell["corrected"], float(truth.sum()) / (N + 10)
    assert cell["value"] - right > 0.1 and not cell["interval"][0] <= right <= cell["interval"][1]
    assert found["interval"][0] <= right <= found["interval"][1]
    assert (found["n_labels"], found["n_experts"]) == (60, 3) and 0 < found["weight"] <= 1
    assert found["bias_interval"][0] > 0.05
    assert "overall: jury" in done.stdout and "corrected with 60 labels" in done.stdout

    build([run], tmp_path / "boards")
    assert verify(tmp_path / "boards") == []
    (row,) = [row for row in table_rows(tmp_path / "boards/careqa_vision.md") if row[0].startswith("m")]
    assert f"corrected with 60 labels of 3 experts {100 * found['value']:.2f}" in row[-1]
    (result,) = (tmp_path / "boards" / "results").rglob("*.json")
    stored = json.loads(result.read_text())
    assert stored["cells"]["overall"]["corrected"]["value"] == pytest.approx(found["value"], abs=1e-12)
    assert sum(one != "." for one in stored["outcomes"]["labels"]["expert 1"]) == 60


def test_without_labels_the_page_says_what_the_interval_leaves_out(judged, tmp_path):
    build([judged[0]], tmp_path / "boards")
    (row,) = [row for row in table_rows(tmp_path / "boards/careqa_vision.md") if row[0].startswith("m")]
    assert "the jury's own error is not in the interval" in row[-1]


def test_labels_that_nobody_drew_are_refused_and_labels_outside_a_draw_left_out(quick, judged, tmp_path, caplog):
    run, truth = judged
    some = labels(tmp_path / "some.csv", [f"s{i}" for i in range(50)], truth)
    refused = quick("agreement", "--annotations", some, "--run", run, "--correct", "--resamples", 100)
    assert refused.returncode == 3 and "annotate RUN --sample N" in " ".join(refused.stderr.split())
    assert not (run / "labels.json").exists()
    drawn = recorded_draw(run, [f"s{i}" for i in range(N)], 40, 7)
    assert quick("agreement", "--annotations", some, "--run", run, "--correct", "--resamples", 100).returncode == 0
    kept = json.loads((run / "labels.json").read_text())["experts"]["e0"]
    assert set(kept) == set(drawn.items) & {f"s{i}" for i in range(50)}
    assert "were not drawn" in caplog.text and f"of {len(drawn.items)} drawn answers have no label" in caplog.text


@pytest.mark.parametrize("words", [("--correct",), ("--correct", "--run", "RUN", "--values", "1,2,3")])
def test_correct_needs_a_run_and_the_scale_of_scores(quick, judged, tmp_path, words):
    file = labels(tmp_path / "labels.csv", ["s0", "s1"], judged[1])
    done = quick("agreement", "--annotations", file, *(judged[0] if word == "RUN" else word for word in words))
    assert done.returncode == 2 and "--correct needs" in " ".join(done.stderr.split())


def test_a_draw_depends_on_seed_and_ids_alone_and_is_kept(tmp_path):
    ids = [f"a/{i}" for i in range(100)]
    first = draw(ids, 20, 1)
    assert draw(ids[::-1], 20, 1) == first and set(first.items) < set(draw(ids, 30, 1).items)
    assert draw(ids, 20, 2) != first
    assert recorded_draw(tmp_path, ids, None, None) is None
    assert recorded_draw(tmp_path, ids, 20, 1) == first == read_draw(tmp_path) == recorded_draw(tmp_path, ids, 20, None)
    with pytest.raises(UsageError, match="records a draw of 20 with seed 1"):
        recorded_draw(tmp_path, ids, 21, 1)
    with pytest.raises(UsageError, match="expected 1 to as many"):
        draw(ids, 101, 1)


@pytest.mark.slow
def test_the_page_shows_the_drawn_answers_and_no_others(tmp_path):
    pytest.importorskip("uvicorn", reason="install the extra annotate")
    run = make_run(tmp_path, "accuracy=0.5")
    with served(run, "--raters", "a,b", "--per-item", "2", "--sample", "5", "--seed", "3") as server:
        total: Any = server.get("a", "api/state").json["total"]
    assert total == 5 and len(read_draw(run).items) == 5
    with served(run) as server:
        assert server.get("b", "api/state").json["total"] == 5
