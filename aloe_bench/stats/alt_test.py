"""The alternative annotator test: may a judge stand in for an expert?

Source: Calderon, Reichart and Dror (2025), "The Alternative Annotator Test for LLM-as-a-Judge", with
a standard error over clusters of items in place of single items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aloe_bench.seeds import rng_for
from aloe_bench.stats.agreement import Level, Matrix
from aloe_bench.stats.intervals import ALPHA

# Below this the authors hold the t-test to be no longer valid.
LEAST_ITEMS = 30
# A judge may stand in for an expert from this winning rate on.
PASSED = 0.5
SHUFFLES = 20
# With fewer experts the test compares the jury with one other alone; its authors ask for three.
LEAST_EXPERTS = 3


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The judge against one expert, each compared with the other experts of the same item.

    `judge_closer` is the share of `n` items on which the judge is at least as close to them as the expert,
    `expert_closer` the share the other way round. `p` is one-sided; None under 30 items, and then nothing is won.
    """

    rater: str
    n: int
    judge_closer: float | None
    expert_closer: float | None
    p: float | None
    won: bool


@dataclass(frozen=True, slots=True)
class AltTest:
    """`winning_rate` is the share of the tested experts against whom the judge wins at a cost of `epsilon`.

    `advantage` is the mean of `judge_closer` over them. Both are None where no expert could be tested. `constant_rate`
    is the winning rate that a jury would have which always gives the experts' commonest grade, `shuffled_rate` the mean
    one of this jury's own grades dealt out at random: where either passes, passing shows nothing.
    """

    epsilon: float
    winning_rate: float | None
    advantage: float | None
    experts: list[LeftOut]
    constant_rate: float | None = None
    shuffled_rate: float | None = None


def alt_test(
    humans: Matrix, judge: Matrix, raters: Sequence[str], cluster: NDArray[np.intp], level: Level, epsilon: float = 0.2
) -> AltTest:
    """Return the test of `judge` with the winning rates of two juries that know nothing, as `alt_result` else."""
    found = alt_result(humans, judge, raters, cluster, level, epsilon)
    known = ~np.isnan(judge)
    rated = humans[~np.isnan(humans)]
    if found.winning_rate is None or not rated.size:
        return found
    grades, counts = np.unique(rated, return_counts=True)
    constant = np.where(known, grades[counts.argmax()], np.nan)
    rng = np.random.default_rng(rng_for("alternative annotator test", *raters).getrandbits(128))
    shuffled = []
    for _ in range(SHUFFLES):
        dealt = judge.copy()
        dealt[known] = rng.permutation(judge[known])
        shuffled.append(alt_result(humans, dealt, raters, cluster, level, epsilon).winning_rate)
    return replace(
        found,
        constant_rate=alt_result(humans, constant, raters, cluster, level, epsilon).winning_rate,
        shuffled_rate=float(np.mean([rate for rate in shuffled if rate is not None])),
    )


def alt_result(
    humans: Matrix, judge: Matrix, raters: Sequence[str], cluster: NDArray[np.intp], level: Level, epsilon: float = 0.2
) -> AltTest:
    """Return the test of `judge` (n_items) against every row of `humans` (n_raters, n_items); nan = missing.

    Closeness is the share of equal grades at the nominal level, else minus the root mean square difference.
    P-values are held together by Benjamini and Yekutieli's rule at 5 %.
    """
    from statsmodels.stats.multitest import multipletests

    compared = [_compared(humans, judge, row, level) for row in range(len(raters))]
    ps = [_p_value(*found, cluster, epsilon) for found in compared]
    tested = [at for at, p in enumerate(ps) if p is not None]
    won = set[int]()
    if tested:
        rejected = multipletests([ps[at] for at in tested], alpha=ALPHA, method="fdr_by")[0]
        won = {at for at, yes in zip(tested, rejected, strict=True) if yes}
    experts = [
        LeftOut(rater, int(known.sum()), _share(ahead >= 0, known), _share(ahead <= 0, known), p, at in won)
        for at, (rater, (ahead, known), p) in enumerate(zip(raters, compared, ps, strict=True))
    ]
    shares = [share for at in tested if (share := experts[at].judge_closer) is not None]
    return AltTest(
        epsilon=epsilon,
        winning_rate=len(won) / len(tested) if tested else None,
        advantage=float(np.mean(shares)) if shares else None,
        experts=experts,
    )


def _share(claim: NDArray[np.bool_], known: NDArray[np.bool_]) -> float | None:
    return float(claim[known].mean()) if known.any() else None


def _compared(humans: Matrix, judge: Matrix, row: int, level: Level) -> tuple[Matrix, NDArray[np.bool_]]:
    """Return by how much the judge is closer than expert `row` to the item's other experts, and where it is known."""
    others = np.delete(humans, row, axis=0)
    known = ~np.isnan(humans[row]) & ~np.isnan(judge) & (~np.isnan(others)).any(axis=0)
    ahead = np.zeros(len(judge))
    for item in np.flatnonzero(known):
        rest = others[~np.isnan(others[:, item]), item]
        ahead[item] = _closeness(judge[item], rest, level) - _closeness(humans[row, item], rest, level)
    return ahead, known


def _closeness(grade: float, others: Matrix, level: Level) -> float:
    if level == "nominal":
        return float((others == grade).mean())
    return -float(np.sqrt(((others - grade) ** 2).mean()))


def _p_value(ahead: Matrix, known: NDArray[np.bool_], cluster: NDArray[np.intp], epsilon: float) -> float | None:
    """Return p of "the expert is closer by epsilon or more", by a t-test over clusters."""
    from scipy import stats

    if known.sum() < LEAST_ITEMS:
        return None
    lead = np.sign(-ahead[known])  # 1 where only the expert is at least as close, -1 where only the judge is
    mean = float(lead.mean())
    sums = np.bincount(cluster[known], weights=lead - mean)
    count = len(np.unique(cluster[known]))
    if count < 2:
        return None
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum())) / len(lead)
    if error == 0:
        return 0.0 if mean < epsilon else 1.0
    return float(stats.t.cdf((mean - epsilon) / error, count - 1))
