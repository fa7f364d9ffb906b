"""Which run of a model a page shows, in whatever order the runs are given, and what the page says of the others."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from aloe_bench.boards.build import build
from aloe_bench.boards.verify import verify
from aloe_bench.core import Score
from tests.boards.test_leaderboard import number, record, run_folder, table_rows

UNJUDGED = Score(None, None, "unjudged")


def make(folder: Path, day: int, value: float | None, n: int = 4, limit: int | None = None) -> Path:
    """Write an open run of day `day`; without a value no jury has graded it."""
    score = {"score": UNJUDGED} if value is None else {}
    records = [record(i, value, kind="open", **score) for i in range(n)]
    return run_folder(folder / f"2026010{day}T000000.000000Z", "m", "careqa_vision_open", records, limit=limit)


def shown(out: Path) -> tuple[str, str]:
    (own,) = [row for row in table_rows(out / "careqa_vision.md") if "paper" not in row[0]]
    return number(own[5]).strip("bu"), own[8]


@pytest.mark.parametrize("order", [*permutations(range(4))])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_complete_graded_run_is_shown_and_the_page_names_the_newer_ones_passed_over(tmp_path, order, at_once):
    runs = [make(tmp_path, 1, 0.0), make(tmp_path, 2, 1.0), make(tmp_path, 3, None), make(tmp_path, 4, 1.0, 2, 2)]
    given = [runs[i] for i in order if at_once or i != 3]  # a part beside a complete result on disk is refused
    for each in [given] if at_once else [[run] for run in given]:
        build(each, tmp_path / "out")

    value, notes = shown(tmp_path / "out")
    assert value == "100.00"
    assert "run 20260102T000000.000000Z" in notes
    assert "passed over: run 20260103T000000.000000Z, not graded" in notes
    assert ("passed over: run 20260104T000000.000000Z, partial" in notes) == at_once
    assert "20260101" not in notes
    assert (
        "a graded one is shown, of these one on verified data, of these a complete one"
        in (tmp_path / "out/careqa_vision.md").read_text()
    )
    before = (tmp_path / "out/careqa_vision.md").read_text()
    build(given, tmp_path / "out")
    assert (tmp_path / "out/careqa_vision.md").read_text() == before
    assert verify(tmp_path / "out") == []
