"""An open answer that was cut in the middle is cut: wrong, counted, with bounds, and no judge is asked about it."""

from __future__ import annotations

import pytest

from aloe_bench.answers.outcome import outcome_of_open
from aloe_bench.answers.score import grade
from aloe_bench.core import Prediction, Record, Sample
from aloe_bench.evaluation.outcomes import as_if


@pytest.mark.parametrize(
    ("reply", "finish", "outcome"),
    [
        ("The CT shows a mass in the", "length", "cut"),
        ("The CT shows a mass in the left lung.", "length", "cut"),
        ("The CT shows a mass in the left lung.", "stop", "answered"),
        ("<answer>A mass in the left lung.</answer> It may be", "length", "answered"),
        ("<answer>A mass in the left", "length", "cut"),
        ("So x is \\boxed{3}, and then the", "length", "cut"),
        ("<think>Where is it? The left", "length", "cut"),
        ("<think>Where is it? The left", "stop", "cut"),
        ("<think>It is left.</think> The left lung", "length", "cut"),
        ("", "length", "cut"),
        (" ", "stop", "unread"),
    ],
)
def test_what_becomes_of_an_open_reply(reply, finish, outcome):
    assert outcome_of_open(reply, finish) == outcome
    sample = Sample("1", "open", "What is shown?", "a mass", "1")
    score = grade(sample, Prediction("1", reply, finish))
    assert score.outcome == outcome and score.value == (None if outcome == "answered" else 0.0)
    record = Record(0, "1", "open", "a mass", {}, "1", None, Prediction("1", reply, finish), score)
    assert [as_if(record, right).score.value for right in (0.0, 1.0)] == (
        [0.0, 1.0] if outcome == "cut" else [score.value] * 2
    )
