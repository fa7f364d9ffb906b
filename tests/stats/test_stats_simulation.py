"""Thousands of simulated runs: do intervals cover the truth, and do tests of nothing find something too often?

Slow: two and a half CPU-minutes in all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from aloe_bench.core import Decoding, Request
from aloe_bench.models.mock import Behaviour, MockModel
from aloe_bench.stats.dose import dose_response, trend
from aloe_bench.stats.margins import equivalence, non_inferiority
from aloe_bench.stats.paired import benjamini_hochberg, holm, paired_difference, sign_flip
from tests.support.simulated_heart import HARD, RUNS, SCENARIOS, Law, Scenario, coverages, draws, nulls

pytestmark = pytest.mark.slow
SIZES = ((30, 0.0), (30, 0.3), (165, 0.0), (165, 0.3), (1250, 0.0), (1250, 0.3))
MARGIN = 0.05


def test_the_mock_model_obeys_the_law_that_is_simulated() -> None:
    law, n = Law(), 6000
    behaviour = Behaviour(accuracy=law.accuracy, follow=law.follow, refusal=law.refusal)
    for suggests, right, led in (
        (None, "neutral", None),
        ("A", "assistive", None),
        ("B", "adversarial", "cue_following"),
    ):
        key = {f"{suggests}/{i}": ("A", suggests) for i in range(n)}
        requests = [Request(name, (), options=tuple("ABCD")) for name in key]
        texts = [prediction.text for prediction in MockModel(key, behaviour).generate(requests, Decoding())]
        truth = law.truth(4)
        assert texts.count("A") / n == pytest.approx(truth[right], abs=0.02)
        assert sum(text not in tuple("ABCD") for text in texts) / n == pytest.approx(law.refusal, abs=0.01)
        if led:
            assert texts.count(suggests) / n == pytest.approx(truth[led], abs=0.02)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_intervals_cover_the_truth_in_at_least_93_of_100_runs(scenario: Scenario) -> None:
    for row in coverages(scenario):
        print(f"{scenario.name}: {row.measure}: {row.coverage:.4f}, width {row.width:.4f} / {row.theory:.4f}")
        assert row.defined >= 0.99 * RUNS
        assert row.coverage >= 0.93, row
        # Wider than a normal interval with the spread seen over the runs where a few clusters hold all events.
        assert 0.9 <= row.width / row.theory <= 1.5, row


@pytest.mark.parametrize("scenario", HARD, ids=lambda scenario: scenario.name)
def test_where_events_are_few_intervals_still_cover_it_in_93_of_100_runs(scenario: Scenario) -> None:
    for row in coverages(scenario):
        print(f"{scenario.name}: {row.measure}: {row.coverage:.4f}, width {row.width:.4f} / {row.theory:.4f}")
        assert row.coverage >= 0.93, row


@pytest.mark.parametrize(("shared", "correlation"), [(1, 0.0), (2, 0.3)])
def test_the_dose_of_one_half_is_covered(shared: int, correlation: float) -> None:
    doses, truth, n = (1.0, 2.0, 3.0, 4.0), np.array([0.2, 0.4, 0.6, 0.8]), 164
    covered, widths, values = 0, [], []
    for seed in range(RUNS):
        rng, clusters = np.random.default_rng((seed, shared)), np.arange(n) // shared
        hits = np.stack([draws(rng, n, shared, correlation) < share for share in truth], axis=1).astype(float)
        response = dose_response(doses, hits, clusters, seed)
        low, high = response.ed50_interval
        assert low is not None and high is not None and response.ed50 is not None
        covered += low <= 2.5 <= high
        widths.append(high - low)
        values.append(response.ed50)
    width, theory = np.mean(widths), 2 * 1.96 * np.std(values)
    print(f"ED50: n {n}, correlation {correlation}: {covered / RUNS:.4f}, width {width:.3f} / {theory:.3f}")
    assert 0.93 <= covered / RUNS <= 0.97


@pytest.mark.parametrize(("n", "correlation"), SIZES)
def test_a_trend_over_doses_that_all_do_the_same_is_found_at_most_7_times_in_100(n: int, correlation: float) -> None:
    shared = 2 if correlation else 1
    clusters, found = np.arange(n) // shared, 0
    for seed in range(RUNS):
        rng = np.random.default_rng((seed, n, 4))
        flat = np.stack([draws(rng, n, shared, correlation) < 0.4 for _ in range(4)], axis=1).astype(float)
        found += trend(np.array([np.bincount(clusters, weights=column) for column in flat.T]).T) < 0.05
    print(f"type I: trend: n {n}, correlation {correlation}: {found / RUNS:.4f}")
    assert found / RUNS <= 0.07


Test = Callable[[np.ndarray, np.ndarray, np.ndarray], float | None]


def flipped(first: np.ndarray, second: np.ndarray, clusters: np.ndarray) -> float:
    return sign_flip(np.bincount(clusters, weights=first - second))[0]


def weighted(first: np.ndarray, second: np.ndarray, clusters: np.ndarray) -> float:
    """The macro mean of two data sets, a third and two thirds of the items."""
    third = clusters < clusters.max() // 3
    parts = [np.bincount(clusters[part] - clusters[part].min(), (first - second)[part]) / part.sum() / 2
             for part in (third, ~third)]  # fmt: skip
    return sign_flip(np.concatenate(parts), "simulated")[0]


def compared(first: np.ndarray, second: np.ndarray, clusters: np.ndarray) -> float | None:
    return paired_difference(first, second, clusters).p


TESTS: dict[str, tuple[Test, int, bool]] = {
    # name: test, levels of a score (2: half credit), holds with repeated images
    "paired difference": (compared, 1, True),
    "sign flip": (flipped, 1, True),
    "sign flip, half credit": (flipped, 2, True),
    "sign flip, macro": (weighted, 1, True),
}


@pytest.mark.parametrize("name", TESTS)
def test_of_nothing_at_most_7_in_100_are_found(name: str) -> None:
    test, levels, repeats = TESTS[name]
    for n, correlation in SIZES:
        if correlation and not repeats:
            continue
        found = [test(*nulls(n, correlation, seed, levels)) for seed in range(RUNS)]
        share = np.mean([p is not None and p < 0.05 for p in found])
        print(f"type I: {name}: n {n}, correlation {correlation}: {share:.4f}")
        assert share <= 0.07


@pytest.mark.parametrize("test", [non_inferiority, equivalence], ids=["non-inferiority", "equivalence"])
def test_a_loss_of_exactly_the_margin_is_passed_at_most_7_times_in_100(test: Callable[..., float | None]) -> None:
    for n, correlation in SIZES:
        passed = 0
        for seed in range(RUNS):
            first, second, clusters = nulls(n, correlation, seed)
            # Whole clusters lose, so that the loss too is correlated within them.
            lost = np.random.default_rng((seed, 1)).random(n)[clusters] < MARGIN / 0.7
            p = test(paired_difference(np.where(lost, 0.0, first), second, clusters), MARGIN)
            passed += p is not None and p < 0.05
        print(f"type I: {test.__name__}: n {n}, correlation {correlation}: {passed / RUNS:.4f}")
        assert passed / RUNS <= 0.07


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_of_a_family_of_nothing_one_is_found_at_most_7_times_in_100(adjust: Callable[..., list[float | None]]) -> None:
    for n, correlation in SIZES:
        any_found = 0
        for seed in range(RUNS):
            base, *_ = family = [next(nulls(n, correlation, 9 * seed + i)) for i in range(5)]
            clusters = np.arange(n) // (2 if correlation else 1)
            # Four attacks against one baseline, as in a run: the tests share it.
            p = [paired_difference(base, other, clusters).p for other in family[1:]]
            any_found += min(q for q in adjust(p) if q is not None) < 0.05
        print(f"type I: {adjust.__name__}, family of 4: n {n}, correlation {correlation}: {any_found / RUNS:.4f}")
        assert any_found / RUNS <= 0.07
