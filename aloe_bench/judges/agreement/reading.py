"""What the figures of an agreement study allow one to say, in words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from aloe_bench.joins import first_ten
from aloe_bench.judges.agreement.study import Study
from aloe_bench.stats.agreement import Alpha, Level
from aloe_bench.stats.alt_test import LEAST_EXPERTS, PASSED, AltTest

if TYPE_CHECKING:
    from aloe_bench.judges.agreement.measure import ExpertsAndJury, Mode

# Krippendorff (2004), "Content Analysis", chapter 11: .800 and .667.
RELIABLE, TENTATIVE = 0.800, 0.667
FEW_CLUSTERS = 20
# Two judges of one mind on fewer items than this may agree by chance.
MIN_ITEMS_TO_CALL_IDENTICAL = 10


@dataclass(frozen=True, slots=True)
class Band:
    """The customary reading of an alpha; `name` is None where it must not be read, for `reason`."""

    name: str | None
    reason: str | None = None


def band_name(value: float) -> str:
    """Return reliable (from .800), tentative (from .667) or discard."""
    return "reliable" if value >= RELIABLE else "tentative" if value >= TENTATIVE else "discard"


def band_of(found: Alpha, fatal: list[str] | None = None) -> Band:
    """Return the reading of `found`, or why it has none."""
    if found.value is None:
        return Band(None, found.reason)
    if fatal:
        return Band(None, fatal[0])
    return Band(band_name(found.value))


def too_few(found: Alpha, n_clusters: int) -> list[str]:
    """Return why an alpha over so few items, or without an interval, is given no reading; empty if it may have one."""
    if n_clusters < FEW_CLUSTERS:
        return [f"{n_clusters} independent items, fewer than {FEW_CLUSTERS}: alpha is given no reading."]
    if found.value is not None and found.bootstrap is None and found.jackknife is None:
        return ["alpha has no interval, and so no reading."]
    return []


def cautions_of(study: Study, mode: Mode, n_clusters: int, *, fatal_only: bool = False) -> list[str]:
    """Return what makes the figures mean less than they seem; with `fatal_only`, what voids the panel's alpha."""
    fatal: list[str] = []
    other: list[str] = []
    jury = study.jury[~np.isnan(study.jury)]
    if study.votes is not None and not len(jury):
        fatal.append("The jury graded none of the annotated items.")
    elif len(jury) and np.ptp(jury) == 0:
        fatal.append(
            f"The jury gave {jury[0]:g} to all {len(jury)} items it graded: it tells no answer from another, "
            "and no alpha with it can show that it is right."
        )
    for judge, grades in zip(study.judges, study.verdicts, strict=True):
        known = grades[~np.isnan(grades)]
        if len(known) and np.ptp(known) == 0:
            text = f"Judge {judge} gave {known[0]:g} to all {len(known)} items."
            (fatal if mode == "all-raters" and len(known) >= MIN_ITEMS_TO_CALL_IDENTICAL else other).append(text)
    for (one, first), (two, second) in combinations(zip(study.judges, study.verdicts, strict=True), 2):
        both = ~np.isnan(first) & ~np.isnan(second)
        constant = both.any() and np.ptp(first[both]) == 0
        if both.sum() >= MIN_ITEMS_TO_CALL_IDENTICAL and not constant and (first[both] == second[both]).all():
            text = (
                f"Judges {one} and {two} gave the same grade to all {int(both.sum())} items: they are one vote, "
                "and their agreement with each other says nothing about the experts."
            )
            (fatal if mode == "all-raters" else other).append(text)
    if fatal_only:
        return fatal
    for rater, grades in zip(study.raters, study.humans, strict=True):
        known = grades[~np.isnan(grades)]
        if len(known) >= MIN_ITEMS_TO_CALL_IDENTICAL and np.ptp(known) == 0:
            other.append(f"Rater {rater} gave {known[0]:g} to all {len(known)} items.")
    if n_clusters < FEW_CLUSTERS:
        other.append(
            f"Few independent items ({n_clusters}, under {FEW_CLUSTERS}): nothing is concluded from them, and the "
            "intervals are too narrow."
        )
    if study.unmatched:
        other.append(
            f"Annotated items that are not in the run and so have no jury grade: {len(study.unmatched)} "
            f"({first_ten(study.unmatched)})."
        )
    lacking = int(np.isnan(study.jury).sum()) - len(study.unmatched)
    if study.votes is not None and lacking:
        other.append(
            f"Annotated items of the run without a jury grade: {lacking}. They count as missing, not as wrong."
        )
    lonely = int(((~np.isnan(study.humans)).sum(axis=0) == 1)[~np.isnan(study.jury)].sum())
    if lonely and mode != "vs-majority":
        other.append(
            f"Items that one expert alone rated: {lonely}. They count in alpha with the panel and cannot count in the "
            "experts' alone, so the difference is not over the same items."
        )
    return fatal + other


def findings_of(
    humans: Alpha, band: Band, panel: ExpertsAndJury | None, mode: Mode, level: Level, n_judges: int
) -> list[str]:
    """Return the conclusions that the figures support, one sentence or two each."""
    if band.name is None and humans.value is not None:
        return [f"Alpha of the experts ({humans.value:.3f}) must not be read: {band.reason}"]
    found = [_humans(humans, level)]
    if panel is None:
        return found
    with_panel, difference = panel.alpha[level], panel.difference[level]
    if with_panel.value is None:
        return [*found, f"With the panel there is no alpha: {with_panel.reason}."]
    if panel.band.name is None:
        return [*found, f"Alpha with the panel ({with_panel.value:.3f}) must not be read: {panel.band.reason}"]
    if difference.value is not None and difference.interval is not None:
        found.append(_difference(difference.value, difference.interval, mode, n_judges))
    tested = [swap for swap in panel.swaps if swap.family_interval is not None]
    worse = [swap for swap in tested if swap.family_interval and swap.family_interval[1] < 0]
    better = [swap for swap in tested if swap.family_interval and swap.family_interval[0] > 0]
    if tested:
        found.append(
            f"With the jury in the place of one expert, alpha falls for {len(worse)} and rises for {len(better)} of "
            f"{len(tested)} experts with an interval clear of 0, all held together at 95 %. A fall suggests a worse "
            "rater than that expert; a rise may come from lower noise alone."
        )
    found += _alt_test(panel.alt_test, humans) + _biases(panel)
    return found


def _humans(humans: Alpha, level: Level) -> str:
    if humans.value is None:
        return f"The experts alone have no alpha: {humans.reason}."
    text = f"The experts alone agree at alpha {humans.value:.3f} ({level}), by custom {band_name(humans.value)!r}."
    if humans.bootstrap is not None:
        low, high = (band_name(bound) for bound in humans.bootstrap)
        if low != high:
            text += f" The interval reaches from {low!r} to {high!r}, so this study does not settle it."
    return text


def _difference(value: float, interval: tuple[float, float], mode: Mode, n_judges: int) -> str:
    span = f"{value:+z.3f} (95 % interval {interval[0]:+z.3f} to {interval[1]:+z.3f})"
    if mode == "vs-majority":
        return (
            f"Alpha of jury and experts' majority differs from that among experts by {span}; a majority is less noisy "
            "than one expert and only items with one are used, so a rise is expected."
        )
    if interval[0] <= 0 <= interval[1]:
        return (
            f"Adding the panel changes alpha by {span}: this study cannot tell a change from none; changes from "
            f"{interval[0]:+z.3f} to {interval[1]:+z.3f} remain possible."
        )
    if value > 0:
        if mode == "all-raters" or n_judges < 3:
            return f"Adding the panel raises alpha by {span}: read the swap test before this."
        return (
            f"Adding the panel raises alpha by {span}. A median of three independent judges is less noisy than one "
            "expert and raises alpha by +.03 to +.06 when each is only as good as an expert: read the swap test first."
        )
    return f"Adding the panel lowers alpha by {span}: the jury agrees with the experts less than they do."


def _alt_test(test: AltTest, humans: Alpha) -> list[str]:
    if test.winning_rate is None:
        return []
    tested = [one for one in test.experts if one.p is not None]
    result = (
        f"The jury wins against {sum(one.won for one in tested)} of {len(tested)} experts in the alternative annotator "
        f"test (epsilon {test.epsilon:g}), a winning rate of {test.winning_rate:.2f}"
    )
    if reason := alt_test_void(test, humans):
        return [f"{result}: no verdict, since {reason}."]
    verdict = "passes" if test.winning_rate >= PASSED else "does not pass"
    return [f"{result}: it {verdict} ({PASSED:g} is needed)."]


def alt_test_void(test: AltTest, humans: Alpha) -> str | None:
    """Return why the alternative annotator test gives no verdict here; None if it does."""
    if len(test.experts) < LEAST_EXPERTS:
        return f"it needs {LEAST_EXPERTS} experts or more"
    if humans.value is None or band_name(humans.value) == "discard":
        return "the experts themselves do not agree (alpha under .667, by custom 'discard')"
    for rate, who in ((test.constant_rate, "always gives their commonest grade"), (test.shuffled_rate, "is shuffled")):
        if rate is not None and rate >= PASSED:
            return f"a jury that {who} would pass too, at {rate:.2f}"
    return None


def _biases(panel: ExpertsAndJury) -> list[str]:
    found = []
    leniency, length = panel.leniency, panel.length_slope
    if leniency.value is not None and leniency.interval and not leniency.interval[0] <= 0 <= leniency.interval[1]:
        word = "lenient" if leniency.value > 0 else "strict"
        found.append(f"The jury is more {word} than the experts, by {abs(leniency.value):.3f} a question.")
    if length.value is not None and length.interval and not length.interval[0] <= 0 <= length.interval[1]:
        per_doubling = length.value * float(np.log(2))
        found.append(
            f"Next to the experts, the jury's grade changes by {per_doubling:+z.3f} for each doubling of the answer's "
            "length."
        )
    return found
