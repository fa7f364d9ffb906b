"""Where data are sparse: rare hits, one-sided losses, unequal clusters. Coverage, each one-sided miss, type-I error.

Slow: some two CPU-minutes. `pytest -m slow -s` prints the figures of docs/robustness.md.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from aloe_bench.stats.intervals import DataSetShare, clustered_share, correlation, macro_interval, shared_correlation
from aloe_bench.stats.margins import non_inferiority
from aloe_bench.stats.paired import Difference, paired_difference

pytestmark = pytest.mark.slow
# Misses are counted in simulated runs: two standard errors of a share of 5 % beyond what is asked.
RUNS, MACRO_RUNS = 600, 1500
SLACK = 2 * (0.05 * 0.95 / RUNS) ** 0.5

MACROS = {
    "7 sets of 156 without a hit, one of .05": ([0.0] * 7 + [0.05], 156),
    "7 sets of 156 without a hit, one of .01": ([0.0] * 7 + [0.01], 156),
    "8 sets of 156 at .001": ([0.001] * 8, 156),
    "8 sets of 156 at .01": ([0.01] * 8, 156),
    "8 sets of 156 at .03": ([0.03] * 8, 156),
    "8 sets of 30 at .03": ([0.03] * 8, 30),
    "28 sets of 40 at .9": ([0.9] * 28, 40),
    "28 sets of 40 at .97": ([0.97] * 28, 40),
    "28 sets of 40 at .99": ([0.99] * 28, 40),
}


def told(name: str, below: float, above: float) -> None:
    print(f"| {name} | {1 - below - above:.3f} | {below:.3f} | {above:.3f} |")


@pytest.mark.parametrize("name", MACROS)
def test_means_over_data_sets_are_covered_on_both_sides(name: str) -> None:
    shares, n = MACROS[name]
    hits = np.sort(np.random.default_rng(11).binomial(n, shares, size=(MACRO_RUNS, len(shares))), axis=1)
    known = cache(lambda row: macro_interval([DataSetShare(k / n, n, weight=1 / len(row)) for k in row]))
    ends = np.array([known(tuple(row)) for row in hits.tolist()])
    above, below = (ends[:, 0] > np.mean(shares)).mean(), (ends[:, 1] < np.mean(shares)).mean()
    told(name, below, above)
    assert 1 - below - above >= 0.93 and max(below, above) <= 0.05 + SLACK


CLUSTERS = {
    # name: sizes of clusters, correlation, share, P(gain), P(loss)
    "60 of 1 to 20, .3": ("1 to 20", 60, 0.3, 0.02, 0.01, 0.03),
    "60 of 1 to 20, .6": ("1 to 20", 60, 0.6, 0.05, 0.0, 0.05),
    "30 of 1 to 20, .3": ("1 to 20", 30, 0.3, 0.1, 0.02, 0.06),
    "15 of 1 to 20, .3": ("1 to 20", 15, 0.3, 0.3, 0.1, 0.2),
    "60, one of half, .3": ("half", 60, 0.3, 0.3, 0.1, 0.2),
    "30, one of half, .3": ("half", 30, 0.3, 0.05, 0.01, 0.04),
    "33 of 5, .3": ("5", 33, 0.3, 0.05, 0.01, 0.04),
    "60 of 5, .6": ("5", 60, 0.6, 0.1, 0.05, 0.1),
}


def drawn(rng: np.random.Generator, codes: np.ndarray, within: float) -> np.ndarray:
    own, common = rng.random(len(codes)), rng.random(codes.max() + 1)
    return np.where(rng.random(len(codes)) < within**0.5, common[codes], own)


@pytest.mark.parametrize("pooled", [False, True], ids=["alone", "pooled"])
@pytest.mark.parametrize("name", CLUSTERS)
def test_unequal_clusters_and_rare_events_are_covered(name: str, pooled: bool) -> None:
    kind, groups, within, share, gain, loss = CLUSTERS[name]
    misses = np.zeros((2, 2))
    found = np.zeros(2)
    for seed in range(RUNS):
        rng = np.random.default_rng((seed, groups))
        sizes = {"1 to 20": rng.integers(1, 21, groups), "half": np.array([groups - 1] + [1] * (groups - 1)),
                 "5": np.full(groups, 5)}[kind]  # fmt: skip
        codes = np.repeat(np.arange(groups), sizes)

        def changes(up: float, down: float, rng=rng, codes=codes) -> np.ndarray:
            u = drawn(rng, codes, within)
            return (u < up).astype(float) - ((u >= up) & (u < up + down))

        hits, moved, still = (drawn(rng, codes, within) < share).astype(float), changes(gain, loss), None
        still = changes((gain + loss) / 2, (gain + loss) / 2)
        known = [None, None]
        if pooled:
            others = [(drawn(rng, codes, within) < p).astype(float) for p in (0.05, 0.3, 0.5, 0.7)]
            known[0] = correlation([(x, codes) for x in (hits, *others)])
            known[1] = correlation([(x, codes) for x in (moved, changes(0.1, 0.1), changes(0.3, 0.05))])
        low, high = clustered_share(hits, np.ones(len(codes)), codes, known[0]).interval or (0, 1)
        change = difference(moved, codes, known[1])
        lower, upper = change.interval or (-1, 1)
        misses += [[high < share, low > share], [upper < gain - loss, lower > gain - loss]]
        found += [(difference(still, codes, known[1]).p or 1) < 0.05,
                  (non_inferiority(change, loss - gain) or 1) < 0.05]  # fmt: skip
    (below, above), (lower, upper) = misses / RUNS
    errors = found / RUNS
    told(f"{name}, share {share}", below, above)
    told(f"{name}, gains {gain}, losses {loss}", lower, upper)
    print(f"type-I error: of no difference {errors[0]:.3f}, of non-inferiority at the margin {errors[1]:.3f}")
    assert 1 - below - above >= 0.93 and 1 - lower - upper >= 0.93
    assert max(below, above, lower, upper) <= 0.05 + SLACK
    assert max(errors) <= 0.06 + SLACK


@pytest.mark.parametrize("split", [False, True], ids=["apart", "split"])
@pytest.mark.parametrize(("groups", "within", "shares"), [
    (60, 0.3, (0.02, 0.05, 0.02, 0.1)), (60, 0.6, (0.05,) * 4), (30, 0.3, (0.1, 0.03, 0.3, 0.02)),
    (33, 0.3, (0.03,) * 3), (60, 0.0, (0.02, 0.05, 0.02, 0.1)),
])  # fmt: skip
def test_cells_of_one_task_that_pool_their_correlation_are_covered(groups, within, shares, split) -> None:
    """Parts of other pictures, or parts that share pictures."""
    runs, misses, widths = 400, np.zeros((2, 2)), np.zeros(2)
    for seed in range(runs):
        rng = np.random.default_rng((seed, groups))
        sizes = rng.integers(1, 21, groups * (1 if split else len(shares)))
        codes = np.repeat(np.arange(len(sizes)), sizes)
        part = rng.integers(0, len(shares), len(codes)) if split else codes // groups
        y = (drawn(rng, codes, within) < np.array(shares)[part]).astype(float)
        columns = [(y[part == i], codes[part == i]) for i in range(len(shares))]
        known = shared_correlation(columns, (y, codes))
        for i, (values, names) in enumerate(columns[:2]):
            low, high = clustered_share(values, np.ones(len(values)), names, known).interval or (0, 1)
            misses[i] += [high < shares[i], low > shares[i]]
            alone = clustered_share(values, np.ones(len(values)), names).interval or (0, 1)
            widths += [high - low, alone[1] - alone[0]]
    for name, (below, above) in zip(("first part", "second part"), misses / runs, strict=True):
        told(f"{name} of {groups} pictures, {within}, {shares}, {'split' if split else 'apart'}", below, above)
        assert 1 - below - above >= 0.93 and max(below, above) <= 0.05 + SLACK
    print(f"as wide as alone: {widths[0] / widths[1]:.2f}")


def difference(change: np.ndarray, codes: np.ndarray, within: float | None) -> Difference:
    return paired_difference((change > 0).astype(float), (change < 0).astype(float), codes, within)


@pytest.mark.parametrize("n", [28, 108, 165, 400])
@pytest.mark.parametrize(("gain", "loss"), [(0.0, 0.02), (0.0, 0.05), (0.005, 0.025), (0.01, 0.03), (0.02, 0.02)])
def test_paired_shares_that_rarely_differ_are_covered(n: int, gain: float, loss: float) -> None:
    rng = np.random.default_rng(7)
    known = cache(lambda g, lo: difference(np.repeat([1.0, -1.0, 0.0], [g, lo, n - g - lo]), np.arange(n), None))
    tables = rng.multinomial(n, [gain, loss, 1 - gain - loss], size=4000)[:, :2].tolist()
    seen = [known(*row) for row in tables]
    ends = np.array([one.interval for one in seen])
    below, above = (ends[:, 1] < gain - loss).mean(), (ends[:, 0] > gain - loss).mean()
    told(f"{n} items, gains {gain}, losses {loss}", below, above)
    assert 1 - below - above >= 0.93 and max(below, above) <= 0.05 + 0.007
    margin = loss - gain
    error = np.mean([(non_inferiority(one, margin) if margin else one.p) < 0.05 for one in seen])
    print(f"type-I error: {error:.3f}")
    assert error <= 0.06 + 0.0075
