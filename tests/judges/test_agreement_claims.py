"""What an agreement study may not say: on few items, of experts who disagree, of juries that know nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aloe_bench.stats.agreement import (
    alpha,
    least_interval,
    one_by_chance,
    percentile_interval,
    resamples,
    weighted_kappa,
)
from aloe_bench.stats.alt_test import alt_test

NAMES = ("ana", "bo", "cy", "di")


def study(n: int, law: tuple[float, float, float], noise: float, raters: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return experts' grades (raters, n) and a jury's as good as one of them."""
    rng = np.random.default_rng((n, raters))
    truth = rng.choice([0, 0.5, 1], size=n, p=law)
    grades = np.where(rng.random((raters + 1, n)) < noise, rng.choice([0, 0.5, 1], size=(raters + 1, n), p=law), truth)
    return grades[:-1], grades[-1]


def test_a_jury_of_the_commonest_grade_and_a_shuffled_one_stand_beside_the_test() -> None:
    humans, jury = study(105, (0.05, 0.05, 0.9), 0.2)
    easy = alt_test(humans, jury, NAMES, np.arange(105), "ordinal")
    assert (easy.constant_rate or 0) >= 0.5  # on answers that are nearly all right it passes
    humans, jury = study(105, (0.3, 0.2, 0.5), 0.1)
    fair = alt_test(humans, jury, NAMES, np.arange(105), "ordinal")
    assert fair.winning_rate == 1 and fair.constant_rate == 0 and fair.shuffled_rate == 0


def labels(tmp_path, humans: np.ndarray) -> str:
    path = tmp_path / f"labels{humans.shape}{humans.sum()}.csv"
    lines = [",".join(["item_id", *NAMES[: len(humans)]])]
    lines += [",".join([f"q{i}", *(f"{grade:g}" for grade in humans[:, i])]) for i in range(humans.shape[1])]
    path.write_text("\n".join(lines))
    return str(path)


def test_few_items_meet_no_gate_and_have_no_reading(quick, tmp_path) -> None:
    humans, _ = study(12, (0.3, 0.2, 0.5), 0.05)
    done = quick("agreement", "--annotations", labels(tmp_path, humans), "--min-alpha", 0.1)
    assert done.returncode == 4 and "12 independent items, fewer than 20" in done.stderr
    assert "must not be read" in done.stdout and "reliable'" not in done.stdout


def test_a_gate_on_the_lower_end_asks_more_than_one_on_the_value(quick, tmp_path) -> None:
    humans, _ = study(60, (0.3, 0.2, 0.5), 0.1)
    path = labels(tmp_path, humans)
    value, low = (
        quick("agreement", "--annotations", path, option, 0.7) for option in ("--min-alpha", "--min-alpha-low")
    )
    assert value.returncode == 0, value.stderr
    assert low.returncode == 4 and "may be as low as" in low.stderr
    assert quick("agreement", "--annotations", path, "--min-alpha-low", 0.3).returncode == 0


def test_perfect_agreement_has_an_interval_too() -> None:
    grades = np.tile(np.repeat([0, 0.5, 1], 10), (2, 1))
    found = alpha(grades, draws=resamples([str(i) for i in range(30)], n=200))
    assert found.value == 1 and found.bootstrap == found.jackknife
    low, high = found.bootstrap or (1, 0)
    # None of 30 differ: at most 11.6 % do, and by chance two thirds would.
    assert high == 1 and low == pytest.approx(1 - 0.1157 / (2 / 3), abs=2e-3)


def test_few_disagreements_of_unlike_cost_leave_a_low_end_as_far_as_one_by_chance_puts_it() -> None:
    """Of 150 items two differ by one grade: what a disagreement costs is not known from two cheap ones."""
    first = np.repeat([0, 0.5, 1], 50)
    near, far = first.copy(), first.copy()
    near[[60, 120]] = [0, 0.5]
    far[[60, 120]] = [0, 0]
    draws = resamples([str(i) for i in range(150)], n=200)
    one, two = (alpha(np.array([first, other]), draws=draws) for other in (near, far))
    # Clopper and Pearson's upper end of one of 150 is .036, of two .047, of three .058.
    low = (one.jackknife or (1, 0))[0]
    assert (one.value or 0) > 0.99 and 1 - 1.5 * 0.047 < low < 1 - 0.4 * 0.047
    assert (two.jackknife or (1, 0))[0] < low - 0.02
    # Costing the same each, as one by chance: Clopper and Pearson's ends.
    ends = stats.binomtest(5, 100).proportion_ci()
    cost = one_by_chance((0.3, 0.2, 0.5), 2)
    least = least_interval(100, 5, 5 * cost, 5 * cost**2, cost)
    assert least == pytest.approx((1 - cost * ends.high, 1 - cost * ends.low))
    # One of the five costs as much as eight of the others: as if there were fewer.
    unlike = least_interval(100, 5, 5 * cost, (4 * (5 / 12) ** 2 + (40 / 12) ** 2) * cost**2, cost)
    assert unlike[0] < least[0] - 0.02 and unlike[1] > least[1] + 0.005


@pytest.mark.slow
@pytest.mark.parametrize(("n", "raters", "law", "noise", "missing"), [
    (20, 2, (0.05, 0.05, 0.9), 0.2, 0), (20, 2, (0.05, 0.05, 0.9), 0.05, 0), (30, 2, (0.1, 0.1, 0.8), 0.1, 0),
    (108, 2, (0.3, 0.2, 0.5), 0.02, 0), (150, 2, (0.3, 0.2, 0.5), 0.02, 0), (300, 2, (0.3, 0.2, 0.5), 0.02, 0),
    (105, 4, (0.3, 0.2, 0.5), 0.02, 0.3), (105, 4, (0.3, 0.2, 0.5), 0.03, 0.3), (108, 3, (0.3, 0.2, 0.5), 0.1, 0),
    (108, 3, (0.3, 0.2, 0.5), 0.2, 0),
])  # fmt: skip
def test_alphas_interval_covers_skewed_and_near_perfect_tables(n: int, raters: int, law, noise, missing) -> None:
    def draw(rng, size):
        truth = rng.choice([0, 0.5, 1], size=size, p=law)
        other = rng.choice([0, 0.5, 1], size=(raters, size), p=law)
        given = np.where(rng.random((raters, size)) < noise, other, truth)
        return np.where(rng.random((raters, size)) < missing, np.nan, given)

    truth = alpha(draw(np.random.default_rng(0), 1_000_000)).value
    misses, defined, studies = np.zeros((2, 2)), 0, 1000
    draws = resamples([str(i) for i in range(n)], n=300)
    for seed in range(studies):
        found = alpha(draw(np.random.default_rng((seed, 7)), n), draws=draws)
        if found.value is None:
            continue
        defined += 1
        misses += [[i[1] < truth, i[0] > truth] for i in (found.jackknife or (2, 2), found.bootstrap or (2, 2))]
    for name, (below, above) in zip(("jackknife", "bootstrap"), misses / defined, strict=True):
        print(f"alpha {truth:.3f}: {n} items, {raters} raters, {law}: {name} covers {1 - below - above:.3f}, "
              f"below {below:.3f}, above {above:.3f}, no alpha {1 - defined / studies:.3f}")  # fmt: skip
    error = 1.9 * (0.05 * 0.95 / studies) ** 0.5
    assert (misses.sum(axis=1) / defined <= 0.07 + error).all() and misses.max() / defined <= 0.05 + error


def test_weighted_kappa_goes_by_the_distances_of_the_scale() -> None:
    rng = np.random.default_rng(5)
    first = rng.choice([0.0, 1.0, 2.0], 100)
    second = np.where(rng.random(100) < 0.6, first, rng.choice([0.0, 1.0, 2.0], 100))
    far = [np.where(x == 2, 10.0, x) for x in (first, second)]
    near = weighted_kappa(first, second, "quadratic", (0, 1, 2))
    assert near != pytest.approx(weighted_kappa(far[0], far[1], "quadratic", (0, 1, 10)))
    assert weighted_kappa(first, second, "linear", (0, 1, 2)) == pytest.approx(
        weighted_kappa(5 * first, 5 * second, "linear", (0, 5, 10))
    )


def test_an_interval_of_a_family_is_wider() -> None:
    drawn = np.random.default_rng(0).normal(size=4000)
    one, four = percentile_interval(drawn)[0], percentile_interval(drawn, 0.05 / 4)[0]
    assert one is not None and four is not None and four[0] < one[0] < one[1] < four[1]
