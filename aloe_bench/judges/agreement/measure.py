"""How far the experts agree with each other and with the jury.

Aloe-Vision, section 5.1 "Human Evaluation" and appendix E.2. Every interval resamples items, with
the same draws throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from aloe_bench.judges.agreement.reading import Band, band_of, cautions_of, findings_of, too_few
from aloe_bench.judges.agreement.study import Study, Votes, human_mean, majority, without_judge
from aloe_bench.judges.jury.panel import JURY
from aloe_bench.stats.agreement import (
    LEVELS,
    Alpha,
    Estimate,
    Level,
    Matrix,
    Resamples,
    alpha,
    alpha_difference,
    confusion,
    resamples,
    slope,
    weighted_kappa,
    weighted_mean,
)
from aloe_bench.stats.alt_test import AltTest, alt_test
from aloe_bench.stats.intervals import Interval

Mode = Literal["extra-rater", "vs-majority", "all-raters"]
MODES: tuple[Mode, ...] = ("extra-rater", "vs-majority", "all-raters")


@dataclass(frozen=True, slots=True)
class ExpertGrades:
    """One expert: how many items were rated, and the mean grade given."""

    name: str
    n: int
    mean: float | None


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """The jury, or one judge, against the experts.

    `extra_rater` is alpha of the experts and this one; `vs_majority` alpha of this one and the
    experts' majority; `with_each` the mean of alpha with each expert alone. `bias` is the mean of
    its grade minus the item's mean expert grade.
    """

    name: str
    n: int
    missing: int
    mean: float | None
    constant: bool
    extra_rater: Alpha
    vs_majority: Alpha
    with_each: float | None
    kappa_linear: float | None
    kappa_quadratic: float | None
    bias: Estimate


@dataclass(frozen=True, slots=True)
class Swap:
    """Alpha of the experts with the jury in the place of `human`, on the ratings that both gave.

    `family_interval` is that of the difference with level 1 - 0.05 / number of experts.
    """

    human: str
    n: int
    humans: Alpha
    swapped: Alpha
    difference: Estimate
    family_interval: Interval | None


@dataclass(frozen=True, slots=True)
class RaterPair:
    """Two raters, experts, jury or judges, on the items that both graded."""

    first: str
    second: str
    n: int
    alpha: Alpha
    kappa_linear: float | None
    kappa_quadratic: float | None


@dataclass(frozen=True, slots=True)
class JuryWithoutJudge:
    """The panel without one judge; `unresolved` items are those where the others differ or fail.

    `change` compares alpha with that of the whole jury on the same, resolved items; `mean` is over these, `mean_bounds`
    has all unresolved at the scale's ends.
    """

    judge: str
    extra_rater: Alpha
    change: Estimate
    unresolved: int
    mean: float | None
    mean_bounds: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts: a row for each grade of the experts, a column for each of the jury."""

    ratings: list[list[int]]
    majority: list[list[int]]


@dataclass(frozen=True, slots=True)
class ExpertsAndJury:
    """Everything that needs the judges' verdicts."""

    alpha: Mapping[Level, Alpha]
    difference: Mapping[Level, Estimate]
    band: Band
    judges: list[JudgeAgreement]
    swaps: list[Swap]
    alt_test: AltTest
    drop_one: list[JuryWithoutJudge]
    confusion: Confusion
    leniency: Estimate
    length_slope: Estimate
    votes: Votes
    n_no_majority: int
    unmatched: list[str]


@dataclass(frozen=True, slots=True)
class Agreement:
    """The whole result; written to JSON as it is, unrounded."""

    mode: Mode
    level: Level
    values: list[float]
    seed: int
    n_resamples: int
    n_items: int
    n_clusters: int
    removed: list[str]
    left_over: list[tuple[str, str]]
    n_ambiguous: int
    raters: list[ExpertGrades]
    humans: Mapping[Level, Alpha]
    band: Band
    panel: ExpertsAndJury | None
    pairs: list[RaterPair]
    cautions: list[str]
    findings: list[str]


def agreement(
    study: Study,
    mode: Mode = "extra-rater",
    level: Level = "ordinal",
    *,
    seed: int = 0,
    n_resamples: int = 2000,
    epsilon: float = 0.2,
) -> Agreement:
    """Return every figure of the trust report; `level` is that of the tests and of single judges.

    `epsilon` is what the alternative annotator test grants the jury for being cheap.
    """
    draws = resamples(study.clusters, n=n_resamples, seed=seed)
    humans = {each: alpha(study.humans, each, values=study.values, draws=draws) for each in LEVELS}
    panel = _panel(study, mode, level, draws, epsilon) if study.votes is not None else None
    band = band_of(humans[level], too_few(humans[level], draws.n_clusters))
    found = [ExpertGrades(name, *_mean(row)) for name, row in zip(study.raters, study.humans, strict=True)]
    return Agreement(
        mode=mode,
        level=level,
        values=list(study.values),
        seed=seed,
        n_resamples=n_resamples,
        n_items=len(study.items),
        n_clusters=draws.n_clusters,
        removed=list(study.removed),
        left_over=list(study.left_over),
        n_ambiguous=study.n_ambiguous,
        raters=found,
        humans=humans,
        band=band,
        panel=panel,
        pairs=_pairs(study, level),
        cautions=cautions_of(study, mode, draws.n_clusters),
        findings=findings_of(humans[level], band, panel, mode, level, len(study.judges)),
    )


def panel_table(study: Study, mode: Mode) -> Matrix:
    """Return the ratings (raters, items) that `mode` compares."""
    if mode == "extra-rater":
        return np.vstack([study.humans, study.jury])
    if mode == "all-raters":
        return np.vstack([study.humans, study.verdicts])
    return np.vstack([majority(study.humans, study.values), study.jury])


def _panel(study: Study, mode: Mode, level: Level, draws: Resamples, epsilon: float) -> ExpertsAndJury:
    assert study.votes is not None
    table = panel_table(study, mode)
    panel_alpha = {each: alpha(table, each, values=study.values, draws=draws) for each in LEVELS}
    agreed = majority(study.humans, study.values)
    bias = study.jury - human_mean(study.humans)
    columns = np.broadcast_to(study.jury, study.humans.shape)
    every = confusion(study.humans.ravel(), columns.ravel(), study.values)
    whole = confusion(agreed, study.jury, study.values)
    named = [(JURY, study.jury), *zip(study.judges, study.verdicts, strict=True)]
    return ExpertsAndJury(
        alpha=panel_alpha,
        difference={each: alpha_difference(table, study.humans, each, draws, values=study.values) for each in LEVELS},
        band=band_of(
            panel_alpha[level],
            cautions_of(study, mode, draws.n_clusters, fatal_only=True) + too_few(panel_alpha[level], draws.n_clusters),
        ),
        judges=[_judge(study, name, grades, level, draws) for name, grades in named],
        swaps=[_swap(study, row, level, draws) for row in range(len(study.raters))],
        alt_test=alt_test(study.humans, study.jury, study.raters, draws.cluster, level, epsilon),
        drop_one=_drop_one(study, level, draws) if len(study.judges) > 1 else [],
        confusion=Confusion(every.tolist(), whole.tolist()),
        leniency=weighted_mean(bias, draws),
        length_slope=slope(bias, np.log(study.chars), draws),
        votes=study.votes,
        n_no_majority=int(np.isnan(agreed).sum()),
        unmatched=list(study.unmatched),
    )


def _mean(row: Matrix) -> tuple[int, float | None]:
    known = row[~np.isnan(row)]
    return len(known), float(known.mean()) if len(known) else None


def _judge(study: Study, name: str, grades: Matrix, level: Level, draws: Resamples) -> JudgeAgreement:
    agreed = majority(study.humans, study.values)
    n, mean = _mean(grades)
    with_each = [alpha(np.vstack([human, grades]), level, values=study.values).value for human in study.humans]
    known = [value for value in with_each if value is not None]
    return JudgeAgreement(
        name=name,
        n=n,
        missing=len(study.items) - n,
        mean=mean,
        constant=len(np.unique(grades[~np.isnan(grades)])) == 1,
        extra_rater=alpha(np.vstack([study.humans, grades]), level, values=study.values, draws=draws),
        vs_majority=alpha(np.vstack([agreed, grades]), level, values=study.values, draws=draws),
        with_each=float(np.mean(known)) if known else None,
        kappa_linear=weighted_kappa(agreed, grades, "linear", study.values),
        kappa_quadratic=weighted_kappa(agreed, grades, "quadratic", study.values),
        bias=weighted_mean(grades - human_mean(study.humans), draws),
    )


def _swap(study: Study, row: int, level: Level, draws: Resamples) -> Swap:
    both = ~np.isnan(study.humans[row]) & ~np.isnan(study.jury)
    humans, swapped = study.humans.copy(), study.humans.copy()
    humans[row] = np.where(both, study.humans[row], np.nan)
    swapped[row] = np.where(both, study.jury, np.nan)
    return Swap(
        human=study.raters[row],
        n=int(both.sum()),
        humans=alpha(humans, level, values=study.values, draws=draws),
        swapped=alpha(swapped, level, values=study.values, draws=draws),
        difference=alpha_difference(swapped, humans, level, draws, values=study.values),
        family_interval=alpha_difference(
            swapped, humans, level, draws, values=study.values, family=len(study.raters)
        ).interval,
    )


def _pairs(study: Study, level: Level) -> list[RaterPair]:
    # An expert may be called like a judge; here the two stand in one column.
    taken = {JURY, *study.judges} if study.votes is not None else set()
    names = [f"expert {name}" if name in taken else name for name in study.raters]
    named = list(zip(names, study.humans, strict=True))
    if study.votes is not None:
        named += [(JURY, study.jury), *zip(study.judges, study.verdicts, strict=True)]
    return [
        RaterPair(
            first=one,
            second=two,
            n=int((~np.isnan(left) & ~np.isnan(right)).sum()),
            alpha=alpha(np.vstack([left, right]), level, values=study.values),
            kappa_linear=weighted_kappa(left, right, "linear", study.values),
            kappa_quadratic=weighted_kappa(left, right, "quadratic", study.values),
        )
        for (one, left), (two, right) in combinations(named, 2)
    ]


def _drop_one(study: Study, level: Level, draws: Resamples) -> list[JuryWithoutJudge]:
    graded = ~np.isnan(study.verdicts).all(axis=0)
    dropped = []
    for row, name in enumerate(study.judges):
        jury = without_judge(study.verdicts, row)
        table = np.vstack([study.humans, jury])
        # The whole jury on the items that the smaller one settles: the others are the hard ones.
        whole = np.vstack([study.humans, np.where(np.isnan(jury), np.nan, study.jury)])
        known = jury[graded & ~np.isnan(jury)]
        unresolved = int(graded.sum()) - len(known)
        ends = [
            float((known.sum() + unresolved * end) / max(1, int(graded.sum())))
            for end in (study.values[0], study.values[-1])
        ]
        dropped.append(
            JuryWithoutJudge(
                judge=name,
                extra_rater=alpha(table, level, values=study.values, draws=draws),
                change=alpha_difference(table, whole, level, draws, values=study.values),
                unresolved=unresolved,
                mean=float(known.mean()) if len(known) else None,
                mean_bounds=(ends[0], ends[1]),
            )
        )
    return dropped
