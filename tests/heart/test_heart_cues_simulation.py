"""Intervals of what the wording, naming and reading of a cue change, over thousands of drawn runs.

Slow: some 18 CPU-minutes at 2,000 runs a setting; ALOE_TEST_RUNS sets another number.
"""

from __future__ import annotations

import os

import pytest

from tests.support.simulated_cues import SCENARIOS, CueScenario, coverages

RUNS = int(os.environ.get("ALOE_TEST_RUNS", "2000"))
# Two standard errors beyond what is asked, of fewer runs than these.
SLACK = 0.0 if RUNS >= 2000 else 2 * (0.05 * 0.95 / RUNS) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_intervals_cover_what_is_true_of_the_wordings_used_and_of_all_like_them(scenario: CueScenario) -> None:
    for name, (used, _, every) in coverages(scenario, RUNS).items():
        print(f"{scenario.name}: {name}: {used.covered:.4f}; of wordings like these {every.covered:.4f}")
        assert min(used.runs, every.runs) >= 0.99 * RUNS, name
        assert used.covered >= 0.93 - SLACK, name
        assert scenario.least - SLACK <= every.covered <= scenario.most + SLACK, name
