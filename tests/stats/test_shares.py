"""Intervals of single shares and of means over data sets: against arithmetic, and exact coverage where hits are few."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aloe_bench.stats.intervals import (
    DataSetShare,
    caution,
    clustered_share,
    correlation,
    design_effect,
    effective_clusters,
    macro_interval,
    nearly_exact,
)


def test_a_share_of_the_eligible_has_the_interval_of_the_eligible() -> None:
    hits, eligible = [1.0] * 30 + [0.0] * 70, [1.0] * 40 + [0.0] * 60

    share = clustered_share(hits, eligible, range(100))

    assert (share.value, share.n, share.n_clusters) == (0.75, 40, 40)
    assert share.interval == nearly_exact(30, 40)


@pytest.mark.parametrize(("hits", "n"), [(0, 28), (1, 156), (3, 165), (28, 28), (80, 165)])
def test_two_thirds_of_what_was_seen_count_as_beyond_it(hits: int, n: int) -> None:
    low, high = nearly_exact(hits, n)
    for end, tail in ((low, lambda p: stats.binom.sf(hits - 1, n, p) - stats.binom.pmf(hits, n, p) / 3),
                      (high, lambda p: stats.binom.cdf(hits, n, p) - stats.binom.pmf(hits, n, p) / 3)):  # fmt: skip
        if 0 < end < 1:
            assert tail(end) == pytest.approx(0.025)
    assert (low == 0) == (hits == 0) and (high == 1) == (hits == n)


@pytest.mark.parametrize("n", [28, 136, 156, 165])
def test_a_single_share_is_covered_down_to_one_in_a_thousand(n: int) -> None:
    """Exact, by enumeration: shares from .001 to .5 (and their mirror images) at the sizes of this project."""
    ends = np.array([nearly_exact(k, n) for k in range(n + 1)])
    for p in np.geomspace(0.001, 0.5, 400):
        mass = stats.binom.pmf(np.arange(n + 1), n, p)
        below, above = mass[ends[:, 1] < p].sum(), mass[ends[:, 0] > p].sum()
        assert 1 - below - above >= 0.93, (n, p)
        assert max(below, above) <= 0.05, (n, p)


def test_clusters_of_one_size_weigh_the_same_and_one_large_one_weighs_nearly_all() -> None:
    assert effective_clusters([5] * 30) == pytest.approx(30)
    assert effective_clusters([59] + [1] * 59) == pytest.approx(118**2 / (59**2 + 59))
    assert design_effect([5] * 30, 0.3) == pytest.approx(1 + 4 * 0.3)
    # Half of the items are alike in pairs, with nothing between pairs.
    values, codes = [1.0, 1.0, 0.0, 0.0] * 50, np.arange(200) // 2
    assert correlation([(values, codes)]) == pytest.approx(1.0)
    assert correlation([(values, np.arange(200))]) is None
    # The pool weighs pairs, not columns.
    apart = [1.0, 0.0] * 100
    assert correlation([(values, codes), (apart, codes)]) == pytest.approx(0.0, abs=0.01)


def test_repeated_clusters_are_worth_fewer_items() -> None:
    rng = np.random.default_rng(0)
    clusters = np.arange(300) // 5
    values = (rng.random(300) < 0.15 + 0.7 * (rng.random(60)[clusters] < 0.5)).astype(float)

    share = clustered_share(values, np.ones(300), clusters)

    residuals = values - values.mean()
    sums = np.bincount(clusters, weights=residuals)
    error = np.sqrt(60 / 59 * (sums**2).sum()) / 300
    assert share.n_effective <= share.value * (1 - share.value) / error**2 + 1e-9
    assert 60 <= share.n_effective < 150 and share.freedom < 59
    low, high = share.interval or (0, 1)
    assert high - low > np.subtract(*nearly_exact(values.sum(), 300)[::-1])


def test_a_hit_more_never_narrows_what_the_clusters_cannot_tell() -> None:
    """33 images with 5 questions each: no hit, one and two; the upper end fell from 10.6 to 3.6 once."""
    tops = []
    for hits in range(8):
        values = np.zeros(165)
        values[np.arange(hits) * 5] = 1
        tops.append((clustered_share(values, np.ones(165), np.arange(165) // 5).interval or (0, 0))[1])
    assert tops == sorted(tops)


def test_cautions_go_by_weight_and_by_clusters_with_an_event() -> None:
    assert caution([1] * 20) is None
    assert "12 clusters, fewer than 20" in str(caution([1] * 12))
    assert "no exact test of so few can reach 5 %" in str(caution([1] * 5))
    assert "can reach" not in str(caution([1] * 8))
    assert caution([1]) == "1 cluster: no interval and no test without two"
    heavy = str(caution([59] + [1] * 59))
    assert "worth 3.9 equal ones" in heavy and "one cluster holds 50 %" in heavy
    assert "only 3 hold an event" in str(caution([5] * 40, 3))
    assert caution([5] * 40, 8) is None


def test_half_credit_is_worth_more_than_single_answers_but_not_for_ever() -> None:
    halves = clustered_share([0.5] * 100, [1.0] * 100, range(100)).interval
    singles = clustered_share([0.0, 1.0] * 50, [1.0] * 100, range(100)).interval
    assert halves is not None and singles is not None
    assert 0.01 < halves[1] - halves[0] < 0.25 * (singles[1] - singles[0])


def test_one_cluster_has_no_interval_and_nothing_eligible_no_share() -> None:
    assert clustered_share([1.0, 0.0], [1.0, 1.0], ["a", "a"]).interval is None
    assert clustered_share([0.0, 0.0], [0.0, 0.0], ["a", "b"]).value is None
    with pytest.raises(ValueError, match="not eligible"):
        clustered_share([1.0, 1.0], [1.0, 0.0], ["a", "b"])


def test_each_end_of_a_macro_mean_lies_z_of_its_own_errors_away() -> None:
    parts = [DataSetShare(k / n, n, weight=1 / 3) for k, n in ((9, 50), (30, 60), (70, 90))]
    low, high = macro_interval(parts)
    mean = sum(part.value for part in parts) / 3
    # By hand: the sets' own ends at a common z, their variances there, and the mean's distance.
    for end, side in ((low, -1), (high, 1)):
        shared = 1.96
        for _ in range(100):
            ends = [wilson_end(part.value, part.n, shared, side) for part in parts]
            errors = np.array([np.sqrt(e * (1 - e) / part.n) / 3 for e, part in zip(ends, parts, strict=True)])
            shared = stats.norm.ppf(0.975) * np.sqrt((errors**2).sum()) / errors.sum()
        distance = abs(np.mean(ends) - mean)
        assert distance == pytest.approx(stats.norm.ppf(0.975) * np.sqrt((errors**2).sum()), rel=1e-6)
        # The nearly exact rule may put an end further out, never nearer.
        assert side * (end - np.mean(ends)) >= -1e-9
        assert end == pytest.approx(np.mean(ends), abs=0.005)


def wilson_end(p: float, n: float, z: float, side: int) -> float:
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return float((centre + side * half) / (1 + z**2 / n))


def test_a_macro_mean_mirrors_and_eight_empty_sets_have_an_upper_end() -> None:
    parts = [DataSetShare(v, 100, weight=0.25) for v in (0.0, 0.1, 0.4, 0.9)]
    low, high = macro_interval(parts)
    assert macro_interval([p._replace(value=1 - p.value) for p in parts]) == pytest.approx((1 - high, 1 - low))
    bottom, top = macro_interval([DataSetShare(0.0, 156, weight=1 / 8)] * 8)
    # z^2 / (8 x 156 + z^2): as if all items were of one set.
    assert bottom == 0 and top == pytest.approx(3.8415 / (8 * 156 + 3.8415), rel=0.01)


@pytest.mark.parametrize("law", ["seven empty", "8 at .001", "28 at .97"])
def test_macro_means_of_rare_events_are_covered(law: str) -> None:
    shares, n, draws = {
        "seven empty": ([0.0] * 7 + [0.05], 156, 400),
        "8 at .001": ([0.001] * 8, 156, 400),
        "28 at .97": ([0.97] * 28, 40, 150),
    }[law]
    rng, found = np.random.default_rng(1), []
    for hits in rng.binomial(n, shares, size=(draws, len(shares))):
        found.append(macro_interval([DataSetShare(h / n, n, weight=1 / len(shares)) for h in hits]))
    ends, truth = np.array(found), np.mean(shares)
    assert (ends[:, 0] > truth).mean() <= 0.06 and (ends[:, 1] < truth).mean() <= 0.06
