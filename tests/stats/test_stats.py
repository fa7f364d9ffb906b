"""Intervals, tests and power against published figures, against scipy and statsmodels, and against arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from aloe_bench.stats.dose import dose_response, rising
from aloe_bench.stats.intervals import clustered_share, few_clusters, wilson
from aloe_bench.stats.macro import macro_interval
from aloe_bench.stats.margins import equivalence, non_inferiority
from aloe_bench.stats.multiple import benjamini_hochberg, holm
from aloe_bench.stats.paired import mcnemar, paired_difference, sign_flip
from aloe_bench.stats.power import detectable, detectable_paired


def test_a_share_of_the_eligible_is_wilsons_interval_of_the_eligible() -> None:
    hits, eligible = [1.0] * 30 + [0.0] * 70, [1.0] * 40 + [0.0] * 60

    share = clustered_share(hits, eligible, range(100))

    assert (share.value, share.n, share.n_clusters) == (0.75, 40, 40)
    assert share.interval == wilson(30, 40)


def test_a_cluster_robust_share_has_the_standard_error_statsmodels_gives() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 60, 300)
    values = (rng.random(300) < rng.random(60)[clusters]).astype(float)

    share = clustered_share(values, np.ones(300), clusters)

    fit = sm.OLS(values, np.ones(300)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "df_correction": True}, use_t=True
    )
    # statsmodels' small-sample factor has (n - 1) / (n - k) too, which is 1 for a constant.
    error, t = float(fit.bse[0]), stats.t.ppf(0.975, len(set(clusters)) - 1)
    low, high = share.interval or (0, 0)
    # Wilson: (mean - x)^2 = t^2 error^2 x(1-x) / (mean (1-mean)) at both ends.
    for end in (low, high):
        assert (share.value - end) ** 2 == pytest.approx(
            (t * error) ** 2 * end * (1 - end) / (share.value * (1 - share.value))
        )


def test_nothing_eligible_is_no_share_and_few_clusters_are_said() -> None:
    assert clustered_share([0.0, 0.0], [0.0, 0.0], ["a", "b"]).value is None
    assert few_clusters(20) is None
    assert "12 clusters" in str(few_clusters(12)) and "rough" in str(few_clusters(12))
    assert "exact test" in str(few_clusters(9))
    assert few_clusters(1) == "1 cluster: no interval and no test without two"
    with pytest.raises(ValueError, match="not eligible"):
        clustered_share([1.0, 1.0], [1.0, 0.0], ["a", "b"])


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    # Statistics of two models on 165 questions: a gap of ten needs at most 20 discordant pairs.
    [(6, 0, 0.031), (5, 0, 0.0625), (15, 5, 0.041), (17, 7, 0.064)],
)
def test_mcnemars_exact_p(gained: int, lost: int, p: float) -> None:
    found, name = mcnemar(gained, lost)
    assert found == pytest.approx(p, abs=5e-4)
    assert found == mcnemar(lost, gained)[0]
    assert name == "McNemar exact"


def test_mcnemars_mid_p_counts_half_of_what_was_seen() -> None:
    from statsmodels.stats.contingency_tables import mcnemar as reference

    for gained, lost in ((25, 15), (40, 60), (13, 13)):
        table = [[5, gained], [lost, 7]]
        found, name = mcnemar(gained, lost)
        exact = reference(table, exact=True).pvalue
        assert name == "McNemar mid-p"
        mass = math.comb(gained + lost, gained) / 2 ** (gained + lost)
        assert found == pytest.approx(exact - mass if gained != lost else 1 - mass / 2)


@pytest.mark.parametrize("sums", [[1, 1, -2, 3, 0, 2, -1, 1], [0.5, -1, 1.5, 0.5, 2, 0.5], [0.3, 0.31, -0.2, 0.7, 0.1]])
def test_the_sign_flip_is_scipys_permutation_test(sums: list[float]) -> None:
    values = np.array(sums, dtype=float)
    reference = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=10_000)

    p, name = sign_flip(values)

    assert p == pytest.approx(reference.pvalue)
    assert name == "sign flip exact"


def test_the_sign_flip_of_single_steps_is_mcnemars_exact_test_whatever_the_number() -> None:
    assert sign_flip([1.0] * 320 + [-1.0] * 260)[0] == pytest.approx(stats.binomtest(320, 580).pvalue)
    # A macro mean over data sets of one size: the same test on another scale.
    scaled = sign_flip(np.array([1.0] * 1320 + [-1.0] * 1230) / 750)
    assert scaled == (pytest.approx(stats.binomtest(1320, 2550).pvalue), "sign flip exact")


def test_drawn_sign_flips_are_seeded_and_near_the_normal_limit() -> None:
    rng = np.random.default_rng(3)
    sums = rng.normal(0.1, 1, 400)
    p, name = sign_flip(sums, "a table")
    assert (p, name) == (sign_flip(sums[::-1], "a table")[0], "sign flip, 10000 draws")
    limit = 2 * stats.norm.sf(abs(sums.sum()) / math.sqrt((sums**2).sum()))
    assert p == pytest.approx(limit, abs=0.02)


def test_a_paired_difference_has_the_interval_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 3, 80) / 2, rng.integers(0, 3, 80) / 2

    found = paired_difference(first, second, range(80))

    reference = stats.ttest_rel(first, second).confidence_interval()
    assert found.value == pytest.approx((first - second).mean())
    assert list(found.interval or ()) == pytest.approx([reference.low, reference.high])
    assert found.test == "sign flip exact"  # half credit: McNemar is for right and wrong alone


def test_repeated_clusters_are_summed_before_they_are_compared() -> None:
    first, second = [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]

    found = paired_difference(first, second, ["a", "a", "b", "c"])

    # Cluster sums 2, 1, 0: all the eight sign patterns; +-3 are the two most extreme, of four distinct ones twice each.
    assert found.p == pytest.approx(0.5)
    assert (found.n, found.n_clusters, found.value) == (4, 3, 0.75)


def test_no_difference_seen_is_not_no_difference() -> None:
    found = paired_difference([1.0] * 100, [1.0] * 100, range(100))
    # The rule of three for 95 % two-sided: 1 - .025^(1/100).
    assert list(found.interval or ()) == pytest.approx([-0.03622, 0.03622], abs=1e-5)
    assert (found.p, found.detectable) == (1.0, None)


@pytest.mark.parametrize(
    ("n", "at_20", "at_30"), [(136, 10.4, 12.8), (165, 9.5, 11.7), (1250, 3.5, 4.3), (1729, 3.0, 3.7)]
)
def test_the_detectable_difference_of_planned_runs(n: int, at_20: float, at_30: float) -> None:
    assert round(100 * detectable_paired(n, 0.2), 1) == at_20
    assert round(100 * detectable_paired(n, 0.3), 1) == at_30


def test_the_detectable_difference_is_detected_in_80_of_100_runs() -> None:
    rng, groups, error = np.random.default_rng(5), 40, 0.05
    gap = detectable(error, groups)
    assert gap is not None
    drawn = rng.normal(gap, error * math.sqrt(groups), (4000, groups))
    found = stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert benjamini_hochberg([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.04, 0.04, None])
    assert holm([None]) == [None]


def test_adjusted_p_values_are_those_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(8).random(40) ** 3
    assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(list(p)) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_not_inferior_is_shown_by_data_and_not_by_few_of_them() -> None:
    rng = np.random.default_rng(2)
    base = (rng.random(2000) < 0.7).astype(float)
    same = base.copy()
    same[:20] = 1 - same[:20]

    assert (non_inferiority(same, base, range(2000), 0.02) or 1) < 0.05
    assert (equivalence(same, base, range(2000), 0.02) or 1) < 0.05
    assert (non_inferiority(same[:60], base[:60], range(60), 0.02) or 0) > 0.05
    # Nothing differed in 40 items: a loss of two points would have gone unseen 45 times in 100.
    assert non_inferiority([1.0] * 40, [1.0] * 40, range(40), 0.02) == pytest.approx(0.98**40)
    with pytest.raises(ValueError, match="margin"):
        equivalence([1.0], [1.0], ["a"], 0)


def test_the_mean_over_data_sets_has_their_errors_alone() -> None:
    # Symmetric intervals: SE = sqrt(.03^2 + .04^2) / 2 in units of the half-widths.
    assert macro_interval([0.5, 0.6], [(0.47, 0.53), (0.56, 0.64)]) == pytest.approx((0.525, 0.575))
    assert macro_interval([0.0, 0.5], [(0.0, 0.01), None]) is None
    low, high = macro_interval([0.0, 0.0], [(0.0, 0.015), (0.0, 0.015)]) or (1, 0)
    assert (low, high) == pytest.approx((0.0, 0.015 * math.sqrt(2) / 2))


def test_a_dose_response_rises_and_has_its_half_where_it_crosses_it() -> None:
    rng = np.random.default_rng(4)
    doses, truth = (0.5, 1.0, 2.0, 4.0), (0.1, 0.3, 0.7, 0.9)
    hits = (rng.random((400, 1)) < np.array(truth)).astype(float)  # one threshold an item: led from some dose on

    found = dose_response(doses, hits, [f"c{i // 2}" for i in range(400)], "test")

    assert found.shares == pytest.approx(hits.mean(axis=0))
    assert found.curve == pytest.approx(found.shares)  # it rises as it is
    low, high = found.shares[1:3]
    assert found.ed50 == pytest.approx(1 + (0.5 - low) / (high - low))
    assert found.ed50_interval[0] < found.ed50 < found.ed50_interval[1]
    assert found.ed50_interval[1] - found.ed50_interval[0] < 0.6
    assert found.p_trend < 1e-6 and (found.n, found.n_clusters) == (400, 200)
    again = dose_response(doses, hits, [f"c{i // 2}" for i in range(400)], "test")
    assert again == found


def test_the_rising_curve_is_scipys_isotonic_regression() -> None:
    shares = np.random.default_rng(6).random((50, 5))
    assert rising(shares) == pytest.approx(np.array([optimize.isotonic_regression(row).x for row in shares]))


def test_a_flat_dose_response_is_pooled_never_half_and_no_trend() -> None:
    hits = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], dtype=float)
    found = dose_response((1, 2, 3), hits, list("abcdef"))
    assert found.curve == pytest.approx((1 / 6,) * 3)
    assert (found.p_trend, found.ed50, found.ed50_interval[1]) == (1.0, None, None)
    with pytest.raises(ValueError, match="rising"):
        dose_response((2, 1), hits[:, :2], list("abcdef"))
