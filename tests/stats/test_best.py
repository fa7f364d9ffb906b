"""The confidence set for the best: it keeps what may be best, and drops what is clearly behind."""

from __future__ import annotations

import numpy as np
import pytest

from aloe_bench.stats.best import set_of_best


def drawn(rng, shares, n=165, sets=1, shared=0.5, size=1):
    """Answers of several runs with these shares right, a part of which follows how hard the item is for all."""
    runs = [[] for _ in shares]
    for _ in range(sets):
        hard = np.repeat(rng.random(n // size), size)
        clusters = np.repeat(np.arange(n // size), size).astype(str)
        for run, share in zip(runs, shares, strict=True):
            own = rng.random(len(hard))
            run.append((np.where(rng.random(len(hard)) < shared, hard < share, own < share).astype(float), clusters))
    return runs


def test_what_is_clearly_behind_goes_and_what_is_not_stays():
    runs = drawn(np.random.default_rng(5), (0.8, 0.79, 0.5, 0.2))
    assert set_of_best(runs) == [True, True, False, False]
    assert set_of_best([runs[3], runs[0], runs[2]]) == [False, True, False]
    assert set_of_best([runs[0], runs[0], runs[0]]) == [True, True, True], "identical runs are not separated"
    assert set_of_best([runs[2]]) == [True]


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_runs_changes_nothing(order):
    runs = drawn(np.random.default_rng(2), (0.7, 0.62, 0.6, 0.55), sets=2, n=120)
    assert set_of_best(runs[::order])[::order] == set_of_best(runs)


# Of k runs that are all equally good, how often at least one is called worse: at most 5 % (and 1.9 SE) in every one.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "share", "n", "sets", "size"),
    [(2, 0.5, 165, 1, 1), (5, 0.5, 165, 1, 1), (12, 0.5, 165, 1, 1), (20, 0.5, 165, 1, 1), (12, 0.03, 165, 1, 1),
     (12, 0.97, 60, 4, 1), (5, 0.3, 200, 1, 5), (12, 0.05, 156, 8, 1)],
)  # fmt: skip
def test_equally_good_runs_are_all_kept(k, share, n, sets, size):
    rng, lost, studies = np.random.default_rng(3), 0, 400
    for _ in range(studies):
        lost += not all(set_of_best(drawn(rng, (share,) * k, n, sets, size=size)))
    print(f"{k} runs, share {share}, {sets} sets of {n}, clusters of {size}: {lost / studies:.3f} lose one")
    assert lost / studies <= 0.05 + 1.9 * (0.05 * 0.95 / studies) ** 0.5


@pytest.mark.slow
def test_the_best_of_unequal_runs_is_kept_and_the_worst_found():
    rng, lost, found, studies = np.random.default_rng(4), 0, 0, 300
    for _ in range(studies):
        kept = set_of_best(drawn(rng, (0.6, 0.58, 0.55, 0.5, 0.4), 300))
        lost += not kept[0]
        found += not kept[4]
    print(f"the best is lost in {lost / studies:.3f}, 20 points behind is found in {found / studies:.3f}")
    assert lost / studies <= 0.05 and found / studies >= 0.9
