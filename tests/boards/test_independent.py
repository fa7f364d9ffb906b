"""docs/verifying.md is enough: a check written from it alone agrees with every number, and finds what is forged."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.boards.build import build
from aloe_bench.boards.published import read_all
from aloe_bench.boards.verify import derived, verify
from aloe_bench.core import Prediction, Score, Verdict
from aloe_bench.evaluation.corrected import FILE
from aloe_bench.files import write_json
from aloe_bench.judges.jury import panel
from tests.boards.independent.check import check
from tests.boards.test_leaderboard import record, run_folder
from tests.support.heart_tables import Source, rows, worded, write_folder

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "leaderboards"
LOST = [Score(0.0, None, f"unread: {end}", outcome=end) for end in ("refused", "unread", "cut")]


def test_the_check_shares_no_line_with_the_package() -> None:
    for path in (HERE / "independent").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
                assert not any(name.startswith("aloe_bench") for name in names), f"{path.name} imports {names}"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a leaderboard of plain tasks: repeated clusters, halves of a jury, lost replies, a failed call."""
    folder = tmp_path_factory.mktemp("plain")
    runs = []
    for name, share in (("good", 1), ("fair", 2), ("poor", 4)):
        scores = [record(i, float((7 * i) % 5 >= share), "nursing" if i % 4 else "medicine", cluster=f"c{i % 17}")
                  for i in range(90)]  # fmt: skip
        scores += [record(90 + i, 0.0, score=score, cluster="last") for i, score in enumerate(LOST)]
        runs.append(run_folder(folder / name, name, "careqa_vision_mcq", scores))
    grades = [(1.0, 1.0, 1.0), (0.0, 0.5, 0.5), (0.5, 1.0, 0.0), (0.0, 0.0, 0.0)]
    for name, shift in (("good", 0), ("fair", 1)):
        given = [grades[(i * i + shift) % 4] for i in range(40)]
        judged = [record(i, None, kind="open", score=panel.score([Verdict(f"s{i}", f"j{k}", grade, "{}")
                                                                  for k, grade in enumerate(of)]))
                  for i, of in enumerate(given)]  # fmt: skip
        runs.append(run_folder(folder / f"{name}-open", name, "careqa_vision_open", judged))
        labels = {"ana": {f"s{i}": float(i % 3 == 0) for i in range(30)},
                  "bo": {f"s{i}": [1.0, 0.5, 0.0][i % 3] for i in range(36)}}  # fmt: skip
        write_json(runs[-1] / FILE, {"experts": labels})
    lost = record(0, None, score=Score(None, None, "failed", outcome="failed"),
                  prediction=Prediction("s0", None, "error", "gone"))  # fmt: skip
    runs.append(run_folder(folder / "failed", "failed", "pathmmu", [lost, *(record(i, 1.0) for i in range(1, 9))]))
    build(runs, folder / "board")
    return folder / "board"


def test_a_board_of_plain_tasks_follows_from_its_letters(plain: Path) -> None:
    assert verify(plain) == []
    assert check(plain) == []


def forged(folder: Path, change: Callable[[Path], None]) -> list[str]:
    """Return what the check says after a change and everything that the package derives of results made again."""
    change(folder)
    for name, text in derived(folder, read_all(folder))[0].items():
        (folder / name).write_text(text, encoding="utf-8")
    return check(folder)


def in_result(pattern: str, **numbers: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = sorted(folder.glob(pattern))[0]
        result = json.loads(path.read_text(encoding="utf-8"))
        result["cells"]["overall"] |= numbers
        path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        ({"exact": "92/93", "value": 92 / 93}, "cells.overall.exact: '92/93'"),
        ({"interval": [0.85, 0.9]}, "cells.overall.interval: 0.85"),
        ({"unread": 0, "answered": 91}, "cells.overall.unread: 0"),
    ],
)
def test_a_consistent_forgery_is_named(plain: Path, tmp_path: Path, numbers: dict[str, Any], named: str) -> None:
    shutil.copytree(plain, tmp_path / "board")
    found = forged(tmp_path / "board", in_result("results/good/careqa_vision_mcq.json", **numbers))
    assert any(named in line for line in found), found


def edited(folder: Path, name: str, old: str, new: str) -> None:
    """Change a page and, to be consistent, its SHA-256."""
    path, board = folder / name, folder / "leaderboard.json"
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new, 1), encoding="utf-8")
    whole = json.loads(board.read_text(encoding="utf-8"))
    whole["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
    board.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def test_a_rank_that_the_digits_do_not_give_is_named(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "board")
    edited(tmp_path / "board", "medical.md", "**83.73**", "83.73")
    assert any(line.startswith("medical.md: Hulu-Med-7B") for line in check(tmp_path / "board"))


def test_a_comparison_that_is_lacking_or_made_up_is_named(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "board")
    path = tmp_path / "board" / "leaderboard.json"
    board = json.loads(path.read_text(encoding="utf-8"))
    gone = board["comparisons"][-1]
    board["comparisons"][-1] = gone | {"cell": "no such cell"}
    path.write_text(json.dumps(board, indent=1) + "\n", encoding="utf-8")

    found = check(tmp_path / "board")

    assert any(f"no comparison of {gone['cell']} of" in line for line in found), found
    assert any("'no such cell'" in line and "without such results" in line for line in found), found


@pytest.mark.slow
def test_this_repositorys_leaderboard_follows_from_its_letters() -> None:
    assert check(FOLDER) == []


@pytest.mark.slow
def test_an_attacked_table_with_repeats_and_lost_replies_follows_from_its_letters(tmp_path: Path) -> None:
    from aloe_bench import ModelSpec, evaluate

    table = write_folder(
        tmp_path / "t",
        worded(
            rows(
                [Source("brain", 60, 4, shared=3), Source("skin", 36, 3), Source("lung", 24, 4, "detection", 2)],
                attacks=("caption", "sycophancy"),
            )
        ),
    )
    runs = []
    for name, follow in (("weak", 0.7), ("firm", 0.1)):
        spec = ModelSpec("mock", options={"accuracy": 0.8, "follow": follow, "refusal": 0.1})
        runs.append(evaluate(spec, f"heart:{table}", name=name, output=tmp_path / "runs").folder)
    build(runs, tmp_path / "board")
    assert verify(tmp_path / "board") == []
    assert check(tmp_path / "board") == []


@pytest.mark.slow
def test_forgeries_in_this_repositorys_leaderboard_are_named_each(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "board")
    path = sorted((tmp_path / "board").glob("results/*/*.json"))[0]
    result = json.loads(path.read_text(encoding="utf-8"))
    caption = result["heart"]["classification"]["columns"]["caption"]
    gap = caption["robustness_gap"]
    gap["macro"] |= {"p": 1e-9, "interval": [0.05, 0.06], "interval_family": [0.05, 0.06], "detectable": 0.01}
    gap["micro"]["p_adjusted"] = 0.4
    gap["datasets"]["miniature-ct"]["p_adjusted"] = 0.01
    caption["rescue"]["macro"]["value"] = 0.5
    caption["cue_following"]["datasets"]["miniature-mri"]["interval"] = [0.0, 0.01]
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name, text in derived(tmp_path / "board", read_all(tmp_path / "board"))[0].items():
        (tmp_path / "board" / name).write_text(text, encoding="utf-8")
    index = tmp_path / "board/leaderboard.json"
    board = json.loads(index.read_text(encoding="utf-8"))
    board["comparisons"][0] |= {"p": 0.5, "gained": 5}
    own = next(cell for cell in board["cells"] if cell["source"] == "run")
    own |= {"near_best": not own["near_best"], "marks": "†", "apart": "data"}
    index.write_text(json.dumps(board, indent=1) + "\n", encoding="utf-8")

    found = "\n".join(check(tmp_path / "board"))

    at = "heart.classification.caption"
    for place in (
        f"{at}.robustness_gap.macro.p:", f"{at}.robustness_gap.macro.interval:",
        f"{at}.robustness_gap.macro.detectable:",
        f"{at}.robustness_gap.macro.interval_family:", f"{at}.robustness_gap.micro.p_adjusted:",
        f"{at}.robustness_gap.datasets.miniature-ct.p_adjusted:", f"{at}.rescue.macro.value:",
        f"{at}.cue_following.datasets.miniature-mri.interval:", ".p: 0.5", ".gained: 5", ".near_best:", ".marks: '†'",
        ".apart: True", "comparisons.csv, line 2: p is",
    ):  # fmt: skip
        assert place in found, (place, found)
