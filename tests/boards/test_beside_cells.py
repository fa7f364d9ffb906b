"""comparisons.md and agreement.md: what stands beside the cells of a leaderboard, computed of the same letters."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest

from aloe_bench.boards.build import build
from aloe_bench.boards.verify import verify
from aloe_bench.core import Score, Verdict
from aloe_bench.evaluation.corrected import FILE, Labels
from aloe_bench.files import write_json
from aloe_bench.judges.jury import panel
from tests.boards.test_leaderboard import record, run_folder, table_rows


def jury_record(i: int, *grades: float | None) -> Any:
    score = panel.score([Verdict(f"s{i}", f"j{k}", grade, "{}") for k, grade in enumerate(grades)])
    return record(i, None, score=score, kind="open")


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a leaderboard of three models on one task, and of one model whose answers a jury and experts graded."""
    folder = tmp_path_factory.mktemp("beside")
    runs = [
        run_folder(folder / name, name, "careqa_vision_mcq", [record(i, float(i % 5 >= of)) for i in range(60)])
        for name, of in (("good", 1), ("fair", 2), ("=poor", 4))
    ]
    grades = [(1.0, 1.0, 1.0), (0.0, 0.0, 0.5), (0.5, 1.0, 0.0), (0.0, 0.0, 0.0)]
    judged = run_folder(folder / "judged", "good", "careqa_vision_open",
                        [jury_record(i, *grades[i % 4]) for i in range(40)])  # fmt: skip
    said = {"ana": {f"s{i}": 1.0 if i % 4 == 0 else 0.0 for i in range(40)},
            "bo": {f"s{i}": [1.0, 0.0, 0.5, 0.0][i % 4] for i in range(40)}}  # fmt: skip
    write_json(judged / FILE, {"experts": Labels(said).experts})
    build([*runs, judged], folder / "board")
    return folder / "board"


def test_every_two_runs_stand_on_a_page_with_gains_losses_and_one_family(board: Path) -> None:
    rows = [row for row in lines_of(board / "comparisons.csv") if row["cell"] == "overall"]
    found = {(row["first"], row["second"]): row for row in rows}
    assert len(found) == 3 and {row["family"] for row in rows} == {str(len(lines_of(board / "comparisons.csv")))}
    row = found["fair", "good"]
    assert (row["gained"], row["lost"], row["n"]) == ("12", "0", "60")
    assert (row["first_points"], row["second_points"], float(row["value"])) == ("36", "48", 0.2)
    assert float(row["p"]) <= float(row["p_adjusted"]) and float(row["low"]) > 0
    text = (board / "comparisons.md").read_text(encoding="utf-8")
    assert re.search(
        r"\| fair \| good \| overall \| \*\*\+20\.0\*\*<br><small>\[\+\S+, \+\S+\]</small> \| \S+ \| 12 \| 0 \| 60 \|",
        text,
    )
    assert "'=poor" in {row["first"] for row in rows}, "a spreadsheet would run it"


def test_judges_and_experts_agreement_is_krippendorffs(board: Path) -> None:
    found = {line["of"]: line for line in lines_of(board / "agreement.csv")}
    judges = found["judges"]
    assert (judges["n"], judges["unanimous"], judges["split"], judges["no_grade"]) == ("40", "20", "10", "0")
    grades = np.array([[1, 0, 0.5, 0] * 10, [1, 0, 1, 0] * 10, [1, 0.5, 0, 0] * 10])
    alpha = krippendorff.alpha(grades, value_domain=[0, 0.5, 1], level_of_measurement="ordinal")
    assert float(judges["alpha"]) == pytest.approx(alpha, abs=1e-6)
    assert float(judges["alpha_low"]) < alpha < float(judges["alpha_high"])
    labels = np.array([[1, 0, 0, 0] * 10, [1, 0, 0.5, 0] * 10])
    alone = krippendorff.alpha(labels, value_domain=[0, 0.5, 1], level_of_measurement="ordinal")
    assert float(found["experts"]["alpha"]) == pytest.approx(alone, abs=1e-6)
    jury = found["jury minus experts"]
    assert (float(jury["mean"]), float(jury["experts_mean"])) == (0.375, 0.3125)
    assert float(jury["bias"]) == 0.0625 and float(jury["bias_low"]) <= 0.0625 <= float(jury["bias_high"])
    page = table_rows(board / "agreement.md")
    assert any(row[:2] == ["good", "careqa\\_vision\\_open"] and row[3].startswith("50.0<br>") for row in page), page


def test_the_json_holds_both_and_a_forged_number_is_named(board: Path, tmp_path: Path) -> None:
    whole = json.loads((board / "leaderboard.json").read_text(encoding="utf-8"))
    assert [row["second"] for row in whole["comparisons"]] and {row["of"] for row in whole["agreement"]} >= {"judges"}
    assert verify(board) == []
    for name, old, new in (("comparisons.md", "+20.0", "+29.0"), ("agreement.csv", "0.375", "0.275"),
                           ("leaderboard.json", '"gained": 12', '"gained": 13')):  # fmt: skip
        before = (board / name).read_text(encoding="utf-8")
        (board / name).write_text(before.replace(old, new), encoding="utf-8")
        assert any(line.startswith(name) for line in verify(board)), name
        (board / name).write_text(before, encoding="utf-8")


def test_a_failed_call_leaves_no_comparison_and_two_models_apart_in_kind_have_none(tmp_path: Path) -> None:
    failed = record(0, None, score=Score(None, None, "failed", outcome="failed"))
    runs = [
        run_folder(tmp_path / "a", "a", "careqa_vision_mcq", [record(i, 1.0) for i in range(8)]),
        run_folder(tmp_path / "b", "b", "careqa_vision_mcq", [failed, *(record(i, 1.0) for i in range(1, 8))]),
        run_folder(tmp_path / "c", "c", "careqa_vision_mcq", [record(i, 0.0) for i in range(8)],
                   model_facts={"miniature": True}),
    ]  # fmt: skip
    build(runs, tmp_path / "board")
    assert {row["cell"] for row in lines_of(tmp_path / "board/comparisons.csv")} <= {"nursing"}
    assert verify(tmp_path / "board") == []
