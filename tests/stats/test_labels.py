"""How many labels a study needs, against intervals of drawn studies of that size."""

from __future__ import annotations

import numpy as np
import pytest

from aloe_bench.stats.agreement import alpha, resamples
from aloe_bench.stats.corrected import corrected_mean
from aloe_bench.stats.labels import labels_for_alpha, labels_for_score

EVEN, SKEWED = (0.3, 0.2, 0.5), (0.05, 0.05, 0.9)


@pytest.mark.parametrize(("value", "raters", "shares"), [(0.9, 4, EVEN), (0.8, 4, SKEWED), (0.5, 3, (0.5, 0.0, 0.5))])
def test_an_alpha_of_so_many_items_ends_where_it_was_to(value: float, raters: int, shares) -> None:
    n = labels_for_alpha(value, raters, shares, within=0.08)
    assert n is not None and n >= 20
    reach = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        truth, other = (rng.choice([0, 0.5, 1], size, p=shares) for size in (n, (raters, n)))
        drawn = alpha(
            np.where(rng.random((raters, n)) < value**0.5, truth, other),
            draws=resamples([str(i) for i in range(n)], n=20),
        )
        low, high = drawn.jackknife or (0, 1)
        reach.append(max((drawn.value or 0) - low, min(high, 1) - (drawn.value or 0)))
    assert np.median(reach) == pytest.approx(0.08, abs=0.012)


def test_more_raters_and_a_wider_aim_need_fewer_and_perfect_agreement_needs_some() -> None:
    assert labels_for_alpha(0.8, 2, EVEN) > labels_for_alpha(0.8, 3, EVEN) > labels_for_alpha(0.8, 3, EVEN, 0.1)
    assert labels_for_alpha(0.8, 3, SKEWED) > 3 * labels_for_alpha(0.8, 3, EVEN)
    # No disagreement in n: up to 1 - 0.025^(1/n) may, and by chance 62 % would.
    n = labels_for_alpha(1.0, 2, EVEN)
    assert (1 - 0.025 ** (1 / n)) / 0.62 <= 0.05 < (1 - 0.025 ** (1 / (n - 1))) / 0.62
    assert labels_for_alpha(0.8, 3, (0.0, 0.0, 1.0)) is None
    with pytest.raises(ValueError, match="sum of 1"):
        labels_for_alpha(0.8, 3, (0.3, 0.3, 0.3))


@pytest.mark.parametrize("noise", [0.3, 0.8])
def test_a_corrected_score_of_so_many_labels_ends_where_it_was_to(noise: float) -> None:
    rng, reach = np.random.default_rng(1), []

    def graded(size: int):
        truth, other = rng.choice([0, 0.5, 1], (2, size), p=EVEN)
        return truth, np.where(rng.random(size) < noise, other, truth)

    correlation = float(np.corrcoef(*graded(100_000))[0, 1])
    labels = labels_for_score(1000, EVEN, correlation)
    assert labels is not None and labels < labels_for_score(1000, EVEN, 0.0)
    for _ in range(15):
        truth, jury = graded(1000)
        truth[labels:] = np.nan
        low, high = corrected_mean(jury, truth, [str(i) for i in range(1000)]).interval or (0, 1)
        reach.append((high - low) / 2)
    assert np.median(reach) == pytest.approx(0.05, abs=0.003)
    assert labels_for_score(100, EVEN, 0.5) is None
