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
from aloe_bench.tasks.probmed import PROBMED
from aloe_bench.tasks.slake import SLAKE


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


def probmed(is_right: list[tuple[int, bool, bool]]) -> dict[str, Cell]:
    """Cells of pairs of a true and an adversarial question: picture, and which of the two is right."""
    records = []
    for pair, (picture, *halves) in enumerate(is_right):
        for half, right in zip(("true", "adversarial"), halves, strict=True):
            tags = {"half": half, "pair": f"entity/{pair}", "qa_type": f"entity_{half}", "image_type": "chest"}
            records.append(replace(record(len(records), picture, right, ""), tags=tags))
    return task_cells({"run_id": "r", "task": {"name": "probmed", "facts": PROBMED.facts}}, records)


def test_pairs_go_together_as_pairs_do_not_as_their_questions() -> None:
    """40 pictures of 5 pairs, in 5 of which all pairs are right, in the others one question of each."""
    found = probmed([(i // 5, i < 25 or i % 2 == 0, i < 25 or i % 2 == 1) for i in range(200)])
    pairs, pictures = [float(i < 25) for i in range(200)], np.arange(200) // 5
    assert found["pairs"].interval == pytest.approx(clustered_share(pairs, np.ones(200), pictures).interval)
    # A picture's five pairs count as one; the halves, in which this does not show, are as good as five.
    assert found["pairs"].interval == pytest.approx(nearly_exact(5, 40))
    assert width(found["qa_type: entity_true"]) == pytest.approx(np.diff(nearly_exact(112, 200))[0], rel=0.15)


def test_exact_matches_go_together_as_they_match_not_as_a_jury_grades() -> None:
    """Of 30 pictures with four closed questions, ten are matched throughout; the jury grades none alike."""
    records, matched, pictures = [], [], np.arange(120) // 4
    for i, picture in enumerate(pictures):
        part = "closed" if i % 4 else "open"
        made = replace(record(i, int(picture), i % 2 == 0, ""), tags={"answer_type": part}, target="yes")
        records.append(replace(made, prediction=Prediction(f"s{i}", "yes" if picture % 3 == 0 else "no", "stop")))
        matched.append(float(picture % 3 == 0))
    found = task_cells({"run_id": "r", "task": {"name": "slake", "facts": SLAKE.facts}}, records)
    closed = np.arange(120) % 4 > 0
    alone = clustered_share(np.array(matched)[closed], np.ones(90), pictures[closed])
    assert found["closed, exact match"].interval == pytest.approx(alone.interval)
    assert width(found["closed, exact match"]) > 1.3 * width(found["closed"])
