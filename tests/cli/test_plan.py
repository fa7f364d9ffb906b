"""`aloe-bench plan`: what is asked for before a run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats


def test_the_items_that_plan_asks_for_find_the_gap_in_80_of_100_draws(quick) -> None:
    done = quick("plan", "--gap", 5, "--discordance", 15, "--attacks", 4, "--items", 300, "--clusters", 5, "--json")
    found = json.loads(done.stdout)
    z = stats.norm.isf(0.025 / 4)

    def share(n: int) -> float:
        drawn = np.random.default_rng(0).multinomial(n, [0.10, 0.05, 0.85], size=5000)
        return float((abs(drawn[:, 0] - drawn[:, 1]) > z * np.sqrt(drawn[:, 0] + drawn[:, 1])).mean())

    assert share(found["items_needed"]) == pytest.approx(0.8, abs=0.03)
    assert share(300) == pytest.approx(found["power_of_items"], abs=0.03)
    assert found["least_p"] == 4 / 16  # five patients, four attacks


def test_plan_says_it_in_words_and_refuses_what_cannot_be(quick) -> None:
    done = quick("plan", "--gap", 5, "--discordance", 15, "--items", 165)
    assert done.stdout.startswith("items needed: 4") and "165 items: power 0.40" in done.stdout
    wrong = quick("plan", "--gap", 20, "--discordance", 15)
    assert wrong.returncode == 2 and "part of what differs" in wrong.stderr


def test_plan_says_how_many_labels_and_needs_to_be_asked_something(quick) -> None:
    done = quick("plan", "--alpha", 0.9, "--raters", 4, "--answers", 1061, "--correlation", 0.7, "--clusters", 5)
    assert "least p of the sign flip 0.062" in done.stdout
    assert "items to label: 202, each by 4 experts, for an alpha of about 0.9 within 0.05" in done.stdout
    assert " of 1061 for a corrected score within 5 points" in done.stdout
    for args, said in (((), "nothing is asked"), (("--gap", 5), "go together"), (("--items", 9), "needs --gap"),
                       (("--alpha", 0.8, "--grades", "50,50"), "expected the percent")):  # fmt: skip
        wrong = quick("plan", *args)
        assert wrong.returncode == 2 and said in wrong.stderr


def test_plan_says_what_each_task_of_a_suite_would_find(quick) -> None:
    words = ("plan", "--gap", 5, "--discordance", 12)
    found = json.loads(quick(*words, "--suite", "medical", "--json").stdout)
    alone = json.loads(quick(*words, "--items", found["tasks"]["slake"]["items"], "--json").stdout)

    assert len(found["tasks"]) == 10
    assert {name: each["items"] for name, each in found["tasks"].items()}["careqa_vision_mcq"] == 165
    assert found["tasks"]["slake"] == {name: alone[name] for name in found["tasks"]["slake"]}
    assert "careqa_vision_mcq, 165 questions: power " in quick(*words, "--tasks", "careqa_vision_mcq").stdout
    assert quick("plan", "--suite", "medical").returncode == 2
