"""Intervals for all wordings like those used, against sums written out and by what a user would expect of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aloe_bench.heart.measure.answers import MeasureColumn
from aloe_bench.heart.measure.effects import estimate, like_these
from aloe_bench.stats.wordings import Facet, wording_spread


def facet(ids: list[str], kinds: list[str] | None = None) -> Facet:
    return Facet(np.array(ids), np.array(kinds or ["k"] * len(ids)))


def column(values: list[float], ids: list[str], patients: list[str] | None = None, dataset: str = "") -> MeasureColumn:
    names = patients or [f"{dataset}{i}" for i in range(len(values))]
    first = np.array(values, dtype=float)
    return MeasureColumn(first, np.ones(len(first)), np.array(names), False, worded=(facet(ids),))


def test_four_wordings_by_hand() -> None:
    y = np.array([1.0, 1, 1, 0, 0, 0, 1, 0])
    found = wording_spread(y - 0.5, np.full(8, 1 / 8), np.arange(8), facet(list("aabbccdd")))

    # Sums by wording: 1/8, 0, -1/8, 0; with 4/3 for the mean that was estimated. Items alone: 8/7 * 8 * (1/16)^2.
    assert found is not None
    assert (found.variance, found.within) == pytest.approx((4 / 3 * 2 / 64, 8 / 7 * 8 / 256))
    assert (found.n, found.kinds, found.freedom) == (4, 1, pytest.approx(3))


def test_the_variance_is_that_of_all_pairs_of_one_wording_within_fixed_kinds() -> None:
    rng = np.random.default_rng(0)
    n, kinds = 240, 3
    wording, patient = np.repeat(np.arange(12), 20), rng.integers(0, 90, n)
    kind = wording % kinds
    y = rng.random(n) + kind
    means = np.array([y[kind == k].mean() for k in range(kinds)])
    e = (y - means[kind]) / n
    same = wording[:, None] == wording
    both = same & (patient[:, None] == patient)

    found = wording_spread(y - y.mean(), np.full(n, 1 / n), patient, facet([f"w{w}" for w in wording],
                                                                          [f"k{k}" for k in kind]))  # fmt: skip

    assert found is not None
    assert found.variance == pytest.approx(4 / 3 * (np.outer(e, e) * same).sum())
    assert found.freedom == pytest.approx(12 - kinds)
    # Cells of unequal size have no such plain factor; it lies near n / (n - 1) of as many.
    assert found.within == pytest.approx((np.outer(e, e) * both).sum(), rel=0.03)


def test_unequal_use_and_kinds_of_one_wording_leave_less_freedom() -> None:
    def freedom(ids: list[str], kinds: list[str] | None = None) -> tuple[float, int]:
        n = len(ids)
        found = wording_spread(np.arange(n) - (n - 1) / 2, np.full(n, 1 / n), np.arange(n), facet(ids, kinds))
        assert found is not None
        return found.freedom, found.kinds

    assert freedom(list("aaaaaaaaaabc"))[0] < 1.5 < freedom(list("aaaabbbbcccc"))[0]
    assert freedom(list("aabbccdd"), list("kkkkllll"))[1] == 2
    assert freedom(list("aabbccdd"), list("kkkkllmm"))[1] == 2, "l and m are taken together"
    assert freedom(list("aabbccdd"), list("kkkkkkmm"))[1] == 1, "m goes with k"
    assert freedom(list("abab"), list("kkll"))[1] == 1, "a and b stand under two kinds"


def test_one_wording_alone_has_no_such_interval_and_says_so() -> None:
    one = column([1, 0, 1, 1], list("aaaa"))
    assert like_these([one], estimate([one])) == {"wordings": [1], "interval_wordings": None}
    none = MeasureColumn(one.first, one.second, one.clusters, False)
    assert like_these([none], estimate([none])) == {}


def test_wordings_that_do_not_differ_leave_the_interval_as_it_is() -> None:
    ids = [f"w{i % 16}" for i in range(160)]
    alike = column([float(i // 16 < 5) for i in range(160)], ids)
    found = estimate([alike])
    assert like_these([alike], found)["interval_wordings"] == pytest.approx(found.interval)


def test_wordings_that_decide_are_as_many_answers_as_there_are_wordings() -> None:
    """Each of 20 wordings always or never turns the answer: 160 items say no more than 20 would."""
    ids = [f"w{i % 20}" for i in range(160)]
    led = column([float(i % 20 < 8) for i in range(160)], ids)
    low, high = like_these([led], estimate([led]))["interval_wordings"]
    half = stats.t.ppf(0.975, 19) * (0.4 * 0.6 / 19) ** 0.5
    assert (low, high) == pytest.approx((0.4 - half, 0.4 + half), abs=0.02)


def test_a_wording_moves_all_data_sets_at_once() -> None:
    rng = np.random.default_rng(1)
    share, wording = rng.random(8), rng.integers(0, 8, (2, 200))
    values = (rng.random((2, 200)) < share[wording]).astype(float)
    shared = [column(list(v), [f"w{i}" for i in w], dataset=d) for v, w, d in zip(values, wording, "ab", strict=True)]
    apart = [column(list(v), [f"{d}{i}" for i in w], dataset=d) for v, w, d in zip(values, wording, "ab", strict=True)]
    (low, high), (near, far) = (like_these(sets, estimate(sets))["interval_wordings"] for sets in (shared, apart))
    assert high - low > 1.2 * (far - near)


def test_the_order_of_rows_does_not_matter_and_ends_stay_in_range() -> None:
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 4, 60)
    first, second = (rng.random((2, 60)) < 0.1 + 0.2 * ids).astype(float)
    order = rng.permutation(60)
    for contrast in (False, True):
        ends = []
        for at in (np.arange(60), order):
            one = MeasureColumn(first[at], second[at] if contrast else np.ones(60), (at // 3).astype(str), contrast,
                                worded=(facet([f"w{i}" for i in ids[at]]),))  # fmt: skip
            ends.append(like_these([one], estimate([one]))["interval_wordings"])
        assert ends[0] == pytest.approx(ends[1], abs=1e-9)
        assert -contrast <= ends[0][0] < ends[0][1] <= 1


def test_a_cue_of_two_sentences_varies_with_both() -> None:
    rng = np.random.default_rng(3)
    caption, speaker = rng.integers(0, 8, 400), rng.integers(0, 8, 400)
    led = (rng.random(400) < 0.1 + 0.05 * caption + 0.05 * speaker).astype(float)
    facets = facet([f"c{i}" for i in caption]), facet([f"s{i}" for i in speaker])
    widths = []
    for worded in (facets[:1], facets[1:], facets):
        one = MeasureColumn(led, np.ones(400), np.arange(400).astype(str), False, worded=worded)
        low, high = like_these([one], estimate([one]))["interval_wordings"]
        widths.append(high - low)
    assert widths[2] > max(widths[:2])
