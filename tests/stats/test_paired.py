"""The score test of paired shares: against published figures, arithmetic, and itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from aloe_bench.stats import tango
from aloe_bench.stats.intervals import quantile
from aloe_bench.stats.margins import equivalence, non_inferiority
from aloe_bench.stats.paired import Difference, mde, mean_difference, numbers_of, paired_difference, settle
from aloe_bench.stats.tango import Pairs, critical, detectable, items_needed, power

Z = 1.959963984540054


def changed(gained: int, lost: int, n: int) -> Difference:
    first = [1.0] * gained + [0.0] * (n - gained)
    second = [0.0] * gained + [1.0] * lost + [0.0] * (n - gained - lost)
    return paired_difference(first, second, range(n))


def test_tangos_published_interval() -> None:
    """Airway hyper-responsiveness before and after transplantation, 1 and 7 of 21: Fagerland et al. (2014)."""
    low, high = changed(1, 7, 21).interval or (0, 0)
    assert (low, high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize("n", [28, 108, 165])
def test_interval_and_p_never_disagree_over_all_tables(n: int) -> None:
    """Exhaustive over gained + lost <= n: at each end of the interval the statistic is z, and it falls in between."""
    for gained in range(n + 1):
        for lost in range(gained + 1):  # the other half mirrors it
            if gained + lost > n:
                break
            pairs = (Pairs(gained, lost, n),)
            score = tango.score(pairs)
            p = 2 * stats.norm.sf(abs(score)) if gained == n else math.erfc(abs(score) / math.sqrt(2))
            excluded = tango.lower_end(pairs, Z) > 0
            assert excluded == (p < 0.05), (gained, lost, n)
            assert not excluded or tango.upper_end(pairs, Z) > 0


def test_the_score_at_none_is_mcnemars_and_the_interval_mirrors() -> None:
    found, back = changed(6, 15, 165), changed(15, 6, 165)
    assert found.p == pytest.approx(2 * stats.norm.sf(9 / math.sqrt(21)))
    assert found.test == "Tango score"
    assert back.interval == pytest.approx([-end for end in reversed(found.interval or ())])


def test_losing_more_is_never_evidence_of_less_loss() -> None:
    """One lost question in 165 once was stronger evidence of no loss than none."""
    p = [non_inferiority(changed(0, lost, 165), 0.02) for lost in range(8)]
    assert p == sorted(p) and p[0] == pytest.approx(0.0333, abs=5e-4) and p[1] == pytest.approx(0.100, abs=5e-4)
    widths = [np.diff(changed(0, lost, 165).interval or (0, 0))[0] for lost in range(8)]
    assert widths == sorted(widths)
    with pytest.raises(ValueError, match="margin"):
        equivalence(changed(0, 1, 20), 0)


def test_a_margin_and_the_90_percent_interval_say_the_same() -> None:
    for gained, lost in ((0, 0), (3, 2), (5, 9), (20, 12)):
        found = changed(gained, lost, 165)
        low, high = found.at(0.10) or (0, 0)
        for margin in (0.01, 0.03, 0.05, 0.1):
            assert (non_inferiority(found, margin) < 0.05) == (low > -margin)
            assert (equivalence(found, margin) < 0.05) == (low > -margin and high < margin)


def test_nothing_changed_is_not_no_difference() -> None:
    found = changed(0, 0, 165)
    assert found.p == 1.0
    assert found.interval == pytest.approx((-(Z**2) / (165 + Z**2), Z**2 / (165 + Z**2)))
    shown = found.detectable()
    assert shown is not None and shown.difference is not None and shown.difference > 0.022


def test_half_credit_halves_what_a_change_weighs() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 3, 400) / 2, rng.integers(0, 3, 400) / 2

    found = paired_difference(first, second, range(400))

    reference = stats.ttest_rel(first, second)
    span = reference.confidence_interval()
    assert found.value == pytest.approx((first - second).mean())
    assert found.interval == pytest.approx((span.low, span.high), abs=0.003)
    assert found.p == pytest.approx(reference.pvalue, abs=0.01)


def test_a_difference_in_differences_may_be_two() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.integers(-1, 2, 500).astype(float), rng.integers(-1, 2, 500).astype(float)
    found = paired_difference(first, second, range(500))
    span = stats.ttest_rel(first, second).confidence_interval()
    assert found.scale == 2
    assert found.interval == pytest.approx((span.low, span.high), abs=0.01)


def test_items_that_weigh_more_count_as_more() -> None:
    rng, covered = np.random.default_rng(6), 0
    for _ in range(200):
        weights = rng.choice([0.5, 1.0, 4.0], 150)
        weights /= weights.mean()
        first, second = ((rng.random(150) < share) * weights for share in (0.7, 0.6))
        low, high = paired_difference(first, second, range(150)).interval or (1, 1)
        covered += low <= 0.1 <= high
    assert 0.91 <= covered / 200 <= 0.99
    found, span = paired_difference(first, second, range(150)), stats.ttest_rel(first, second).confidence_interval()
    assert found.value == pytest.approx(first.mean() - second.mean()) and found.scale == pytest.approx(weights.max())
    assert found.interval == pytest.approx((span.low, span.high), abs=0.03)


def test_repeated_clusters_widen_and_few_or_large_ones_have_a_second_named_test() -> None:
    rng = np.random.default_rng(3)
    clusters = np.arange(400) // 4
    moved = (rng.random(100) < 0.3)[clusters] & (rng.random(400) < 0.8)
    first, second = np.where(moved, 1.0, 0.0), np.zeros(400)
    second[rng.random(400) < 0.1] = 1.0

    apart, together = paired_difference(first, second, range(400)), paired_difference(first, second, clusters)

    assert np.diff(together.interval or ()) > 1.3 * np.diff(apart.interval or ())
    assert together.test == "Tango score over clusters" and together.p_flip is None
    few = paired_difference(first[:40], second[:40], clusters[:40])
    assert few.p_flip is not None and few.flip == "sign flip exact" and "fewer than 20" in str(few.caution)
    large = paired_difference(first, second, np.where(clusters < 50, 0, clusters))
    assert large.p_flip is not None and "one cluster holds 50 %" in str(large.caution)


def test_the_mean_over_data_sets_has_interval_and_p_of_one_statistic() -> None:
    rng = np.random.default_rng(4)
    for _ in range(60):
        counts = [(int(g), int(lo), 40) for g, lo in rng.integers(0, 6, (4, 2))]
        pairs = [Pairs(g, lo, n, 0.25) for g, lo, n in counts]
        score = tango.score(pairs)
        low, high = tango.lower_end(pairs, Z), tango.upper_end(pairs, Z)
        assert (low > 0 or high < 0) == (abs(score) > Z)
        assert tango.lower_end(pairs, abs(score)) == pytest.approx(0, abs=1e-6) or score <= 0
    sets = [([1.0] * 3 + [0.0] * 37, [0.0] * 40, range(40)), ([0.0] * 40, [0.0] * 40, range(40))]
    found = mean_difference(sets)
    assert found.value == pytest.approx(3 / 80) and found.n == 80 and found.test == "Tango score"


def test_a_set_without_a_change_is_not_certain() -> None:
    """Seven of eight sets unchanged: the detectable drop once was smaller than the interval's half."""
    still = ([1.0] * 50, [1.0] * 50, range(50))
    one = ([1.0] * 50, [0.0] * 3 + [1.0] * 47, range(50))
    found = mean_difference([one] + [still] * 7)
    shown, interval = found.detectable(), found.interval
    assert shown is not None and shown.difference is not None and interval is not None
    assert shown.difference > (interval[1] - interval[0]) / 2


@pytest.mark.parametrize(("n", "discordance", "difference"), [(60, 0.2, 0.1), (165, 0.05, 0.03), (30, 0.5, -0.2)])
def test_power_is_that_of_every_table(n: int, discordance: float, difference: float) -> None:
    gains, losses = (discordance + difference) / 2, (discordance - difference) / 2
    total = 0.0
    for gained in range(n + 1):
        for lost in range(n - gained + 1):
            if abs(tango.score((Pairs(gained, lost, n),))) > Z:
                total += stats.multinomial.pmf(
                    [gained, lost, n - gained - lost], n, [gains, losses, 1 - gains - losses]
                )
    assert power(n, discordance, difference) == pytest.approx(total, abs=1e-7)


@pytest.mark.parametrize(("gained", "lost", "n"), [(0, 1, 165), (1, 2, 165), (4, 8, 165), (25, 35, 165), (2, 6, 1000)])
@pytest.mark.parametrize("family", [1, 8])
def test_what_is_called_detectable_is_found_in_77_of_100_runs(gained: int, lost: int, n: int, family: int) -> None:
    shown = changed(gained, lost, n).detectable(family)
    assert shown is not None and shown.difference is not None
    z = stats.norm.isf(0.025 / family)
    rng = np.random.default_rng(n + lost)
    gains, losses = (shown.discordance + shown.difference) / 2, (shown.discordance - shown.difference) / 2
    drawn = rng.multinomial(n, [gains, max(0.0, losses), 1 - shown.discordance], size=4000)
    score = (drawn[:, 0] - drawn[:, 1]) / np.sqrt(np.maximum(1, drawn[:, 0] + drawn[:, 1]))
    assert (np.abs(score) > z).mean() >= 0.77
    assert (gained + lost) / n < shown.discordance


def test_what_is_out_of_reach_is_said_in_words() -> None:
    alone = numbers_of(changed(1, 0, 8))
    settle([alone])
    assert alone["detectable"] < 1  # of one test; of forty no change of 8 items would do
    entries = [numbers_of(changed(1, 0, 8)) for _ in range(40)]
    settle(entries)
    assert entries[0]["detectable"] is None and mde(entries[0]).startswith("over 100 at")
    assert entries[0]["family"] == 40 and "difference" not in entries[0]
    low, high = entries[0]["interval_family"]
    assert low < entries[0]["interval"][0] and high > entries[0]["interval"][1]


def test_t_needs_a_larger_effect_than_the_normal_test() -> None:
    assert critical(math.inf, 0.05) == pytest.approx(Z)
    shift = critical(4, 0.05) + stats.norm.ppf(0.8)
    assert stats.nct.sf(stats.t.ppf(0.975, 4), 4, shift) == pytest.approx(0.8, abs=2e-3)


@pytest.mark.parametrize(("difference", "discordance"), [(0.05, 0.15), (0.1, 0.3), (0.02, 0.02)])
def test_the_items_needed_are_enough_and_fewer_are_not(difference: float, discordance: float) -> None:
    n = items_needed(difference, discordance)
    assert n is not None and power(n, discordance, difference) >= 0.8
    assert power(int(0.93 * n), discordance, difference) < 0.8
    assert detectable(float(n), discordance).difference == pytest.approx(difference, rel=0.05)


def test_of_few_items_t_errs_in_no_more_than_five_of_100() -> None:
    """Exact, at every discordance: of 4 items the normal quantile called nothing a difference in 12.5 %."""
    for n in range(2, 20):
        assert max(power(n, d, 0.0, quantile(n - 1)) for d in np.linspace(0.02, 1, 50)) <= 0.05
        freedom = {changed(g, lost, n).freedom for g, lost in ((0, 0), (1, n - 1), (n, 0))}
        assert freedom == {n - 1}
    assert changed(1, 2, 20).freedom == math.inf
    assert max(power(n, d, 0.0) for n in range(20, 60) for d in np.linspace(0.02, 0.8, 40)) <= 0.06
    four = changed(4, 0, 4)
    assert four.p == pytest.approx(2 * stats.t.sf(2, 3)) and (four.interval or (1, 0))[0] < 0
    # What is needed, and what so few would find, is of that same test.
    needed = items_needed(0.9, 0.95)
    assert needed is not None and 5 < needed < 12 and power(needed, 0.95, 0.9, quantile(needed - 1)) >= 0.8
    shown = changed(6, 0, 8).detectable()
    assert shown is not None and shown.difference is not None
    assert power(8, shown.discordance, shown.difference, quantile(7)) >= 0.8
    for n in (7, 8, 11, 12):  # and no smaller one would be found
        least = detectable(float(n), 0.2, float(n - 1))
        assert least.difference is not None
        assert power(n, least.difference - 0.002, least.difference - 0.002, quantile(n - 1)) < 0.8


@pytest.mark.parametrize("n", [4, 6, 9, 13, 19])
def test_interval_and_p_of_few_items_never_disagree_and_the_sign_flip_stands_beside(n: int) -> None:
    for gained in range(n + 1):
        for lost in range(min(gained, n - gained) + 1):
            found = changed(gained, lost, n)
            assert ((found.interval or (0, 0))[0] > 0) == ((found.p or 0) < 0.05), (gained, lost, n)
            parted = found.p is not None and found.p_flip is not None and found.p < 0.05 <= found.p_flip
            assert ("that of the sign flip is not" in str(found.caution)) == parted


def test_clusters_that_show_no_likeness_are_taken_for_a_little_alike() -> None:
    """16 of 40 pictures have one change among five: nothing goes together in what was seen, which is little."""
    codes, first = np.arange(200) // 5, np.zeros(200)
    first[:80:5] = 1
    alone = paired_difference(first, np.zeros(200), codes)
    assert alone.pairs[0].n == pytest.approx(200 / (1 + 4 / 17)) and alone.freedom == pytest.approx(15)
    known = paired_difference(first, np.zeros(200), codes, within=0.3)
    assert known.pairs[0].n == pytest.approx(200 / (1 + 4 * 0.3))
    assert np.diff(known.interval or ()) > np.diff(alone.interval or ())
