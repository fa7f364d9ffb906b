"""AR must not go blind: what is drawn is read before and after, and the loss is held to five points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aloe_bench.boards.compare import compare
from aloe_bench.evaluation.finish import finish
from aloe_bench.evaluation.loop import run_plan
from aloe_bench.evaluation.plan import Plan, Settings, answer_key, load_plan
from aloe_bench.heart.task import open_task
from aloe_bench.models.mock import Behaviour, MockModel
from aloe_bench.training.reading import TITLE, reading_plan, retained
from tests.support.heart_tables import Source, rows, write_folder


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = write_folder(
        tmp_path_factory.mktemp("reading") / "t", rows([Source("brain", 170, 4)], ("caption", "prompt"))
    )
    found = reading_plan(load_plan(open_task(str(folder)), folder, Settings()), "letter")
    assert found is not None
    return found


def run(plan: Plan, accuracy: float, output: Path) -> Path:
    model = MockModel(answer_key([plan]), Behaviour(accuracy=accuracy))
    folder = run_plan(plan, model, Settings(output=output), {"name": "m", "backend": "mock", "miniature": True})
    finish(folder)
    return folder


def test_reading_questions_are_over_drawn_cues_and_ask_what_they_name(plan: Plan) -> None:
    assert len(plan.samples) == 2 * 170
    for _, sample in plan.samples:
        assert sample.cue is None and sample.tags["attack"] == "caption" and sample.id.endswith("/reading")
        assert sample.question == "Which option is written in the text on this image?"


@pytest.mark.parametrize(("after", "kept"), [(0.95, True), (0.7, False)])
def test_a_loss_of_reading_is_told_from_none(plan: Plan, tmp_path: Path, after: float, kept: bool) -> None:
    before, later = run(plan, 0.95, tmp_path / "a"), run(plan, after, tmp_path / "b")

    (verdict,) = retained({f"brain: {TITLE}": compare(before, later), "other": compare(before, later)})

    assert verdict.kept is kept and verdict.n == 340
    assert ("NOT shown" in verdict.sentence) is not kept


def test_under_250_questions_the_gate_says_nothing(plan: Plan, tmp_path: Path) -> None:
    few = replace(plan, samples=plan.samples[:100], n_total=100)

    (verdict,) = retained({TITLE: compare(run(few, 0.95, tmp_path / "a"), run(few, 0.2, tmp_path / "b"))})

    assert verdict.kept is None and "under 250 questions" in verdict.sentence
