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
