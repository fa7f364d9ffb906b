"""Intervals for all wordings like those used, against sums written out and by what a user would expect of them."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from aloe_bench.heart.measure.answers import Arm, Block, MeasureColumn, joined
from aloe_bench.heart.measure.effects import base_columns, estimate, like_these
from aloe_bench.stats.wordings import Facet, wording_spread

ONE = np.zeros(400, dtype=np.intp)  # all items of one data set


def facet(ids: list[str], kinds: list[str] | None = None) -> Facet:
    return Facet(np.array(ids), np.array(kinds or ["k"] * len(ids)))


def column(values: list[float], ids: list[str], patients: list[str] | None = None, dataset: str = "") -> MeasureColumn:
    names = patients or [f"{dataset}{i}" for i in range(len(values))]
    first = np.array(values, dtype=float)
    return MeasureColumn(first, np.ones(len(first)), np.array(names), False, worded=(facet(ids),))


def test_four_wordings_by_hand() -> None:
    y = np.array([1.0, 1, 1, 0, 0, 0, 1, 0])
    found = wording_spread(y - 0.5, np.full(8, 1 / 8), np.arange(8), facet(list("aabbccdd")), ONE[:8])

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

    names = facet([f"w{w}" for w in wording], [f"k{k}" for k in kind])
    found = wording_spread(y - y.mean(), np.full(n, 1 / n), patient, names, ONE[:n])

    assert found is not None
    assert found.variance == pytest.approx(4 / 3 * (np.outer(e, e) * same).sum())
    assert found.freedom == pytest.approx(12 - kinds)
    # Cells of unequal size have no such plain factor; it lies near n / (n - 1) of as many.
    assert found.within == pytest.approx((np.outer(e, e) * both).sum(), rel=0.03)


def test_unequal_use_and_kinds_of_one_wording_leave_less_freedom() -> None:
    def freedom(ids: list[str], kinds: list[str] | None = None) -> tuple[float, int]:
        n = len(ids)
        found = wording_spread(np.arange(n) - (n - 1) / 2, np.full(n, 1 / n), np.arange(n), facet(ids, kinds), ONE[:n])
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


def sums_of(y: np.ndarray, sets: np.ndarray, names: list[str], kinds: list[str], loads: np.ndarray) -> dict[str, float]:
    """Return the sum over each wording's items of what they are off the mean of their data set, then of their kind."""
    off = [loads[i] * (y[i] - np.mean([y[j] for j in range(len(y)) if sets[j] == sets[i]])) for i in range(len(y))]
    for kind in set(kinds):
        of = [i for i in range(len(y)) if kinds[i] == kind]
        mean = sum(off[i] for i in of) / sum(loads[i] for i in of)
        for i in of:
            off[i] -= loads[i] * mean
    return {name: sum(off[i] for i in range(len(y)) if names[i] == name) for name in dict.fromkeys(names)}


def test_of_several_data_sets_the_variance_is_that_of_the_effects_behind_the_sums() -> None:
    """Some wordings stand in one set, some in two, with kinds across: against the sums of one effect after another."""
    rng = np.random.default_rng(5)
    n = 60
    sets = np.sort(rng.integers(0, 4, n))
    names = [f"{'ab' if i % 3 else 'cd'}{(sets[i] // (1 + i % 2)) * 2 + rng.integers(0, 2)}" for i in range(n)]
    kinds = [name[0] for name in names]
    loads = 1 / (4 * np.bincount(sets)[sets])
    y = rng.random(n)
    residuals = y - (np.bincount(sets, weights=y) / np.bincount(sets))[sets]
    every = sorted(dict.fromkeys(names))
    effects = {j: sums_of(np.array([float(name == j) for name in names]), sets, names, kinds, loads) for j in every}
    use = {i: sum(loads[k] for k in range(n) if names[k] == i) for i in every}
    scale = {
        i: sum(use[k] ** 2 for k in every if k[0] == i[0])
        / sum(effects[j][k] ** 2 for k in every if k[0] == i[0] for j in every)
        for i in every
    }
    form = np.array([[sum(scale[i] * effects[j][i] * effects[k][i] for i in every) for k in every] for j in every])

    found = wording_spread(residuals, loads, np.arange(n), facet(names, kinds), sets)

    assert found is not None and found.kinds == len(set(kinds)) > 1
    wanted = sum(scale[i] * s**2 for i, s in sums_of(y, sets, names, kinds, loads).items())
    assert found.variance == pytest.approx(wanted, rel=1e-12)
    assert found.freedom == pytest.approx(np.trace(form) ** 2 / (form**2).sum(), rel=1e-12)
    # Effects of one size and no other: on the mean the estimate is the variance that they give the mean of all items.
    assert np.trace(form) == pytest.approx(sum(share**2 for share in use.values()))


def test_of_one_data_set_the_variance_and_its_freedom_have_a_closed_form() -> None:
    rng = np.random.default_rng(6)
    ids = rng.integers(0, 9, 200) ** 2 // 9
    y = (rng.random(200) < 0.4).astype(float)
    p = np.bincount(ids) / 200
    q = (p**2).sum()
    raised = q / (p**2 * (1 - 2 * p + q)).sum()
    form = raised * np.outer(p, p) * (np.eye(len(p)) - p[:, None] - p + q)

    found = wording_spread(
        y - y.mean(), np.full(200, 1 / 200), np.arange(200), facet([f"w{i}" for i in ids]), ONE[:200]
    )

    assert found is not None
    sums = np.bincount(ids, weights=y - y.mean()) / 200
    assert found.variance == pytest.approx(raised * (sums**2).sum(), rel=1e-12)
    assert found.freedom == pytest.approx(np.trace(form) ** 2 / (form**2).sum(), rel=1e-12)


def test_two_wordings_a_data_set_by_hand() -> None:
    """Half of what two wordings do is in their data set's mean, so squared sums count twice; one freedom a set."""
    y = np.array([1.0, 1, 0, 0, 1, 0, 0, 0])
    residuals = y - np.repeat([0.5, 0.25], 4)
    found = wording_spread(residuals, np.full(8, 1 / 8), np.arange(8), facet(list("aabbccdd")), np.repeat([0, 1], 4))
    assert found is not None
    assert found.variance == pytest.approx(2 * (2 * (1 / 8) ** 2 + 2 * (1 / 16) ** 2))
    assert found.freedom == pytest.approx(2)


@pytest.mark.parametrize("contrast", [False, True])
def test_one_wording_a_data_set_says_nothing_of_wordings(contrast: bool) -> None:
    rng = np.random.default_rng(4)
    sets = [column([*map(float, rng.random(50) < share)], [f"w{d}"] * 50, dataset=f"d{d}")
            for d, share in enumerate((0.2, 0.7, 0.4, 0.9))]  # fmt: skip
    sets = [replace(one, contrast=contrast, second=one.second - contrast) for one in sets]
    found = estimate(sets)
    assert found.interval is not None
    assert like_these(sets, found) == {"wordings": [4], "interval_wordings": None}
    assert like_these([joined(sets)], estimate([joined(sets)]))["interval_wordings"], "all items as one: four wordings"


def attacked(dataset: str, attacks: str, without: str = "") -> Block:
    """Return a block with an adversarial arm of each attack, of 8 wordings of its own; a neutral `without` it."""
    rng = np.random.default_rng(7)
    n, none = 200, np.zeros(200)
    every, ended = np.ones(n, dtype=bool), np.full(n, "answered")
    arms, said = {}, {}
    for attack in attacks + without:
        ids = rng.integers(0, 8, n)
        right = (rng.random(n) < 0.5 + 0.05 * ids).astype(float)
        variant = "neutral" if attack in without else "adversarial"
        arms[attack] = {variant: Arm(every, right, none, none, ended)}
        said[attack] = () if attack in without else (facet([f"{attack}{i}" for i in ids]),)
    base = Arm(every, np.ones(n), none, none, ended)
    names = np.array([f"{dataset}{i}" for i in range(n)])
    return Block(dataset, "classification", names, np.full(n, 0.25), base, arms, said)


def test_data_sets_under_different_attacks_have_no_common_sentences() -> None:
    same, other = attacked("d", "am"), attacked("e", "mz")
    for blocks, known in (((same, attacked("e", "am")), True), ((same, other), False)):
        columns = [base_columns(one)["worst_of_k"] for one in blocks]
        for level in (columns, [joined(columns)]):
            found = like_these(level, estimate(level))
            assert (found == {}) is not known, "the wordings of m would be those of z"
            assert not known or found["wordings"] == [8, 8]


def test_the_worst_attack_takes_its_wordings_from_the_attacks_that_it_is_of() -> None:
    alone, beside = (base_columns(one)["worst_of_k"] for one in (attacked("d", "am"), attacked("d", "am", "n")))
    (low, high), (near, far) = (like_these([one], estimate([one]))["interval_wordings"] for one in (alone, beside))
    assert (low, high) == (near, far)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_sets", "n", "wordings", "shared", "spread"),
    [(8, 50, 2, False, 0.2), (4, 100, 3, False, 0.2), (8, 50, 16, True, 0.2), (2, 165, 16, True, 0.15)],
)
def test_means_over_data_sets_cover_what_is_true_of_all_wordings(
    n_sets: int, n: int, wordings: int, shared: bool, spread: float
) -> None:
    """Each wording has its effect, drawn anew; data sets ask in the same wordings, or each in its own."""
    covered, runs = 0, int(os.environ.get("ALOE_TEST_RUNS", "1000"))
    for seed in range(runs):
        rng = np.random.default_rng((seed, n_sets, n, wordings))
        effects = rng.choice([-spread, spread], (1 if shared else n_sets, wordings))
        sets = []
        for d in range(n_sets):
            drawn = rng.integers(0, wordings, n)
            right = rng.random(n) < 0.4 + effects[0 if shared else d][drawn]
            names = [f"{0 if shared else d}-{i}" for i in drawn]
            sets.append(column([*map(float, right)], names, dataset=f"{d}-"))
        low, high = like_these(sets, estimate(sets))["interval_wordings"]
        covered += low <= 0.4 <= high
    print(f"{n_sets} sets of {n}, {wordings} wordings {'shared' if shared else 'each'}: {covered / runs:.4f}")
    slack = 2 * (0.05 * 0.95 / runs) ** 0.5
    assert 0.95 - slack <= covered / runs <= 0.98 + slack
