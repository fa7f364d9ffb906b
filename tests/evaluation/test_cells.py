"""Cells of one task share what their clusters say of how answers to one picture go together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aloe_bench.boards.columns import columns_of
from aloe_bench.core import Cell, Prediction, Record, Score
from aloe_bench.evaluation.cells import task_cells
from aloe_bench.facts import CellSpec, Facts
from aloe_bench.stats.intervals import clustered_share, design_effect, nearly_exact
from aloe_bench.stats.paired import mean_difference


def record(i: int, picture: int, is_right: bool, part: str) -> Record:
    score = Score(float(is_right), "A", "letter", outcome="answered")
    return Record(
        i, f"s{i}", "choice", "A", f"p{picture}", {"part": part}, None, Prediction(f"s{i}", "A", "stop"), score
    )


def cells(records: list[Record]) -> dict[str, Cell]:
    facts = Facts(cells=(CellSpec("overall"), CellSpec("{}", "each", "part")))
    return task_cells({"run_id": "r", "task": {"name": "t", "facts": facts}}, records)


def width(found: Cell) -> float:
    low, high = found.interval or (0.0, 0.0)
    return high - low


def drawn(seed: int, pictures: int = 30, each: int = 5) -> list[Record]:
    """Two parts over other pictures: half of one is right, of the other all but a few; answers are independent."""
    rng = np.random.default_rng(seed)
    made = [("even", i, rng.random() < 0.5) for i in np.repeat(range(pictures), each)]
    made += [("rare", i, k not in (3, 40)) for k, i in enumerate(np.repeat(range(pictures, 2 * pictures), each))]
    return [record(i, int(picture), bool(is_right), part) for i, (part, picture, is_right) in enumerate(made)]


def test_a_cell_with_few_misses_goes_by_what_the_other_cells_show() -> None:
    records = drawn(0)
    found = cells(records)
    rare = [r for r in records if r.tags["part"] == "rare"]
    alone = clustered_share([r.score.value or 0.0 for r in rare], [1.0] * len(rare), [r.cluster for r in rare])

    assert found["rare"].value == alone.value
    low, high = alone.interval or (0, 0)
    # Alone, each picture's five answers count as one.
    assert high - low == pytest.approx(np.diff(nearly_exact(30 * 148 / 150, 30))[0], rel=1e-6)
    # As if five answers were almost five, and never as if they were more.
    single = np.diff(nearly_exact(148, 150))[0]
    assert 1.0 < width(found["rare"]) / single < 1.25 < (high - low) / single
    # Where a picture's answers are alike in the other part, they are as good as one here too.
    alike = [replace(r, score=replace(r.score, value=float(int(r.cluster[1:]) % 2))) if r.tags["part"] == "even" else r
             for r in records]  # fmt: skip
    assert width(cells(alike)["rare"]) > 1.2 * width(found["rare"])


def test_of_few_pictures_with_a_miss_in_all_cells_together_nothing_is_known() -> None:
    records = [record(i, i // 5, i not in (3, 40, 41), "one" if i < 75 else "two") for i in range(150)]
    found = cells(records)["one"]
    sizes = [5] * 15
    worth = 75 / design_effect(sizes, 1.0)
    assert found.interval == pytest.approx(nearly_exact(worth * 72 / 75, worth))
    # An answer that is not there has no part in the pool, and its own cell no value.
    failed = replace(records[-1], score=Score(None, None, "failed", outcome="failed"))
    assert cells([*records[:-1], failed])["one"].interval == found.interval
    assert cells([*records[:-1], failed])["two"].interval is None


def test_a_cell_that_weighs_its_items_is_compared_by_their_weights() -> None:
    facts = Facts(cells=(CellSpec("it", weight="weight"),))
    header = {"run_id": "r", "task": {"name": "t", "facts": facts}}
    runs = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        made = [record(i, i, rng.random() < 0.5, "one") for i in range(40)]
        runs.append([replace(r, tags={"weight": str(1 + r.index % 3)}) for r in made])
    one, two = (columns_of(header, records)["it"] for records in runs)
    values = [task_cells(header, records)["it"].value for records in runs]
    assert [float(column[0][0].mean()) for column in (one, two)] == pytest.approx(values)
    found = mean_difference([(two[0][0], one[0][0], one[0][1])])
    assert found.value == pytest.approx(values[1] - values[0]) and found.p is not None
