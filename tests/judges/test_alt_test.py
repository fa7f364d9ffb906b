"""The alternative annotator test and the jackknife of a difference, through the command, against second versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from aloe_bench.stats import agreement as stats
from aloe_bench.stats.alt_test import alt_test
from tests.judges.test_agreement import by_pairs, read
from tests.support.simulated_study import Simulated, simulate, write_run, write_wide


def measured(tmp_path: Path, study: Simulated, *words: object) -> dict:
    file, run = write_wide(tmp_path / "a.csv", study), write_run(tmp_path / "run", study)
    found: dict = read("--annotations", file, "--run", run, "--resamples", 100, *words)
    return found


def by_hand(study: Simulated, epsilon: float, nominal: bool) -> tuple[list[float], list[float], list[bool]]:
    """Return each expert's p-value, the jury's share of items, and whether it wins, one item at a time."""
    ps, shares = [], []
    for row, mine in enumerate(study.humans):
        leads, closer = [], []
        for item, jury in enumerate(study.jury):
            others = [h[item] for at, h in enumerate(study.humans) if at != row and not np.isnan(h[item])]
            if np.isnan(mine[item]) or np.isnan(jury) or not others:
                continue
            if nominal:
                far = [sum(grade != other for other in others) for grade in (mine[item], jury)]
            else:
                far = [sum((grade - other) ** 2 for other in others) for grade in (mine[item], jury)]
            leads.append(int(far[0] <= far[1]) - int(far[1] <= far[0]))
            closer.append(far[1] <= far[0])
        ps.append(scipy_stats.ttest_1samp(leads, epsilon, alternative="less").pvalue)
        shares.append(np.mean(closer))
    m, harmonic = len(ps), sum(1 / k for k in range(1, len(ps) + 1))
    passed = [k for k, p in enumerate(sorted(ps), 1) if p <= k / m * 0.05 / harmonic]
    bar = sorted(ps)[passed[-1] - 1] if passed else -1.0
    return ps, shares, [p <= bar for p in ps]


@pytest.mark.parametrize(("level", "epsilon"), [("ordinal", 0.2), ("nominal", 0.05), ("interval", 0.1)])
def test_figures_are_those_of_a_second_version(level: str, epsilon: float, tmp_path: Path):
    study = simulate(11, accuracy=0.88, judge_accuracy=(0.75, 0.7, 0.72))

    found = measured(tmp_path, study, "--level", level, "--epsilon", epsilon)

    test = found["panel"]["alt_test"]
    ps, shares, won = by_hand(study, epsilon, level == "nominal")
    assert [one["p"] for one in test["experts"]] == pytest.approx(ps, abs=1e-12)
    assert [one["judge_closer"] for one in test["experts"]] == pytest.approx(shares, abs=1e-12)
    assert [one["won"] for one in test["experts"]] == won
    assert test["winning_rate"] == sum(won) / 4
    assert test["advantage"] == pytest.approx(np.mean(shares))
    assert any(f"against {sum(won)} of 4 experts" in text for text in found["findings"])


def test_a_good_jury_passes_and_a_random_one_does_not(tmp_path: Path):
    good, bad = simulate(3), simulate(3)
    bad.verdicts[:] = np.random.default_rng(0).choice([0.0, 0.5, 1.0], bad.verdicts.shape)

    rates = [
        measured(tmp_path / name, study)["panel"]["alt_test"]["winning_rate"]
        for name, study in (("good", good), ("bad", bad))
        if not (tmp_path / name).mkdir()
    ]

    assert rates == [1.0, 0.0]


def test_under_30_items_nothing_is_tested_and_nothing_won(tmp_path: Path):
    found = measured(tmp_path, simulate(1, n=25))

    test = found["panel"]["alt_test"]
    assert test["winning_rate"] is None and {one["p"] for one in test["experts"]} == {None}
    assert not any("alternative annotator" in text for text in found["findings"])


def test_items_of_one_cluster_do_not_count_as_many():
    study = simulate(5, n=120, judge_accuracy=(0.7, 0.7, 0.7))
    once = alt_test(study.humans, study.jury, study.raters, np.arange(120), "ordinal", 0.1)
    fourfold = alt_test(
        np.tile(study.humans, 4), np.tile(study.jury, 4), study.raters, np.tile(np.arange(120), 4), "ordinal", 0.1
    )

    assert [one.p for one in fourfold.experts] == pytest.approx([one.p for one in once.experts], abs=1e-9)


def test_difference_has_a_jackknife_interval_over_items(tmp_path: Path):
    study = simulate(2, n=40)

    difference = measured(tmp_path, study)["panel"]["difference"]["ordinal"]

    table = np.vstack([study.humans, study.jury])

    def change(without: int | None) -> float:
        kept = [item for item in range(40) if item != without]
        return by_pairs(table[:, kept], "ordinal") - by_pairs(study.humans[:, kept], "ordinal")

    left_out = np.array([change(item) for item in range(40)])
    half = scipy_stats.t.ppf(0.975, 39) * np.sqrt(39 / 40 * ((left_out - left_out.mean()) ** 2).sum())
    assert difference["jackknife"] == pytest.approx([change(None) - half, change(None) + half], abs=1e-12)


@pytest.mark.slow
def test_a_difference_of_the_papers_size_is_covered_and_seldom_clear_of_zero():
    """In studies of 105 x 4 with gaps, alpha near .80 and a true difference near .015, as the paper's .796 and .016."""
    accuracy = {"accuracy": 0.835, "judge_accuracy": (0.785,) * 3}
    whole = simulate(10**6, n=60_000, **accuracy)
    truth = stats.alpha(np.vstack([whole.humans, whole.jury])).value - stats.alpha(whole.humans).value
    assert 0.010 < truth < 0.020
    covered, clear = {"interval": 0, "jackknife": 0}, 0
    for seed in range(300):
        study = simulate(seed, **accuracy)
        draws = stats.resamples(study.items, n=500, seed=seed)
        found = stats.alpha_difference(np.vstack([study.humans, study.jury]), study.humans, "ordinal", draws)
        for kind in covered:
            low, high = getattr(found, kind)
            covered[kind] += low <= truth <= high
        clear += found.interval[0] > 0
    print(f"true difference {truth:.4f}: covered {covered} of 300, clear of 0 in {clear}")
    assert all(0.90 <= count / 300 <= 0.98 for count in covered.values())
    assert clear / 300 < 0.4
