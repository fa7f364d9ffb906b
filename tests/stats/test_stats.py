"""Intervals, tests and power against published figures, against scipy and statsmodels, and against arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from aloe_bench.stats.dose import dose_response, rising
from aloe_bench.stats.paired import benjamini_hochberg, holm, sign_flip


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


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert benjamini_hochberg([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.04, 0.04, None])
    assert holm([None]) == [None]


def test_adjusted_p_values_are_those_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(8).random(40) ** 3
    assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(list(p)) == pytest.approx(multipletests(p, method="fdr_bh")[1])


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
