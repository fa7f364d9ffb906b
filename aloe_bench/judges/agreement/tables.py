"""An agreement study as tables of text, for the terminal and both pages of the trust report."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from aloe_bench.joins import first_ten
from aloe_bench.judges.agreement.measure import Agreement, ExpertsAndJury
from aloe_bench.judges.jury.panel import JURY
from aloe_bench.stats.agreement import LEVELS, Alpha, Estimate
from aloe_bench.stats.alt_test import LEAST_ITEMS
from aloe_bench.stats.intervals import Interval

NONE = "–"
WITH_PANEL = {
    "extra-rater": "experts and jury",
    "vs-majority": "jury and majority",
    "all-raters": "experts and judges",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text; the first `n_names` columns hold names, the others numbers."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    n_names: int = 1


def visible(text: str) -> str:
    """Return `text` on one line, control and direction marks replaced, so that it shows as it is."""
    return "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in " ".join(text.split()))


def number(value: float | None, *, signed: bool = False) -> str:
    """Return `value` with three decimals, or a dash."""
    if value is None:
        return NONE
    return f"{value:+z.3f}" if signed else f"{value:.3f}"


def span(interval: Interval | None, *, signed: bool = False) -> str:
    """Return "low to high", or a dash."""
    if interval is None:
        return NONE
    return f"{number(interval[0], signed=signed)} to {number(interval[1], signed=signed)}"


def tables(result: Agreement) -> list[Table]:
    """Return every table of the study, the headline first; without a run only those of the experts."""
    found = [_alphas(result)]
    if result.panel is not None:
        panel = result.panel
        found += [_judges(result, panel), _swaps(panel), _alt_test(panel), _confusion(result, panel, "ratings")]
        found += [_confusion(result, panel, "majority"), _biases(panel), _votes(panel)]
        if panel.drop_one:
            found.append(_dropped(panel))
    return [*found, _raters(result), _pairs(result)]


def counts_line(result: Agreement) -> str:
    """Return one sentence on what was used."""
    removed = f"; removed as ambiguous to two or more: {len(result.removed)}"
    listed = f" ({', '.join(visible(item) for item in result.removed)})" if result.removed else ""
    clusters = "" if result.n_clusters == result.n_items else f" in {result.n_clusters} clusters"
    return (
        f"{result.n_items} items{clusters}, {len(result.raters)} experts "
        f"({', '.join(visible(rater.name) for rater in result.raters)}){removed}{listed}; "
        f"single ambiguous labels read as missing: {result.n_ambiguous}."
    )


def left_over(result: Agreement) -> list[str]:
    """Return a sentence on each kind of what has no part: how many, and the first ten."""
    groups: dict[str, list[str]] = {}
    for name, reason in result.left_over:
        groups.setdefault(reason, []).append(visible(name))
    return [f"{reason.capitalize()}: {len(names)} ({first_ten(names)})." for reason, names in groups.items()]


def _alphas(result: Agreement) -> Table:
    rows: list[tuple[str, ...]] = []
    reasons: list[str] = []

    def add(name: str, found: Alpha, band: str | None) -> None:
        level = f"{found.level} *" if found.level == result.level else found.level
        intervals = (span(found.jackknife), span(found.bootstrap))
        counts = (str(found.n_units), str(found.n_values))
        rows.append((name, level, number(found.value), *intervals, *counts, band or NONE))
        if found.reason and found.reason not in reasons:
            reasons.append(found.reason)

    for level in LEVELS:
        add("experts alone", result.humans[level], result.band.name if level == result.level else None)
    if result.panel is not None:
        name = WITH_PANEL[result.mode]
        for level in LEVELS:
            add(name, result.panel.alpha[level], result.panel.band.name if level == result.level else None)
        for level in LEVELS:
            change = result.panel.difference[level]
            mark = f"{level} *" if level == result.level else level
            interval = span(change.interval, signed=True)
            jackknife = span(change.jackknife, signed=True)
            rows.append(("difference", mark, number(change.value, signed=True), jackknife, interval, NONE, NONE, NONE))
    note = (
        "95 % intervals resample items. Items and ratings are those that can be paired (two ratings or more). "
        "Customary reading: reliable from .800, tentative from .667, below it discard. * marks the level that "
        "the other tables use."
    )
    if reasons:
        note += f" No alpha: {'; '.join(reasons)}."
    if result.panel is not None and result.mode == "vs-majority":
        note += f" {result.panel.n_no_majority} items have no majority among the experts and are left out."
    columns = ("Raters", "Level", "Alpha", "Jackknife", "Bootstrap", "Items", "Ratings", "Reading")
    return Table("Krippendorff's alpha", note, columns, rows, 2)


def _judges(result: Agreement, panel: ExpertsAndJury) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            visible(judge.name),
            str(judge.n),
            number(judge.mean),
            number(judge.extra_rater.value),
            number(judge.vs_majority.value),
            span(judge.vs_majority.bootstrap),
            number(judge.with_each),
            number(judge.kappa_quadratic),
            number(judge.bias.value, signed=True),
            span(judge.bias.interval, signed=True),
        )
        for judge in panel.judges
    ]
    note = (
        "Extra rater: alpha of the experts and this one. Majority: alpha of this one and the grade that more than "
        f"half of an item's experts share ({panel.n_no_majority} items have none). One by one: mean of alpha with "
        "each expert. Kappa: quadratic weights, against the majority. Bias: mean of its grade minus the experts' mean."
    )
    columns = ("Name", "Items", "Mean", "Extra rater", "Majority", "95 %", "One by one", "Kappa", "Bias", "95 %")
    return Table("Jury and judges against the experts", note, columns, rows)


def _swaps(panel: ExpertsAndJury) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            visible(swap.human),
            str(swap.n),
            number(swap.humans.value),
            number(swap.swapped.value),
            number(swap.difference.value, signed=True),
            span(swap.difference.interval, signed=True),
            span(swap.family_interval, signed=True),
        )
        for swap in panel.swaps
    ]
    note = (
        "Alpha of the experts, and alpha with the jury in the place of one, on the ratings that both gave. "
        "A jury as good as that expert leaves alpha where it was."
    )
    columns = ("Expert replaced", "Ratings", "Experts", "Jury instead", "Difference", "95 %", "Held together")
    return Table("Swap test", note, columns, rows)


def _alt_test(panel: ExpertsAndJury) -> Table:
    test = panel.alt_test
    rows: list[tuple[str, ...]] = [
        (
            visible(one.rater),
            str(one.n),
            number(one.judge_closer),
            number(one.expert_closer),
            number(one.p),
            NONE if one.p is None else "yes" if one.won else "no",
        )
        for one in test.experts
    ]
    note = (
        "The jury and one expert, each compared with the other experts of an item: how often it is at least as close. "
        f"The jury wins if it is shown to be less close in fewer than epsilon {test.epsilon:g} more of the items "
        f"(one-sided, 5 % after Benjamini and Yekutieli, from {LEAST_ITEMS} items on). "
        f"Winning rate {number(test.winning_rate)}, mean share {number(test.advantage)}; of a jury that always gives "
        f"the experts' commonest grade the rate would be {number(test.constant_rate)}, of this one shuffled "
        f"{number(test.shuffled_rate)}."
    )
    columns = ("Expert left out", "Items", "Jury as close", "Expert as close", "p", "Jury wins")
    return Table("Alternative annotator test", note, columns, rows)


def _confusion(result: Agreement, panel: ExpertsAndJury, which: str) -> Table:
    counts = panel.confusion.ratings if which == "ratings" else panel.confusion.majority
    names = [f"{value:g}" for value in result.values]
    rows = [(name, *map(str, row), str(sum(row))) for name, row in zip(names, counts, strict=True)]
    whose = "Every expert rating" if which == "ratings" else "The experts' majority"
    columns = ("Experts", *(f"Jury {name}" for name in names), "Sum")
    return Table(
        f"Confusion: {whose.lower()} by the jury's grade", f"{whose} in rows, the jury in columns.", columns, rows
    )


def _biases(panel: ExpertsAndJury) -> Table:
    def row(name: str, found: Estimate, factor: float = 1.0) -> tuple[str, ...]:
        interval = (found.interval[0] * factor, found.interval[1] * factor) if found.interval else None
        value = None if found.value is None else found.value * factor
        return name, number(value, signed=True), span(interval, signed=True), str(found.n)

    rows: list[tuple[str, ...]] = [
        row("leniency: jury minus experts", panel.leniency),
        row("length slope, per log character", panel.length_slope),
        row("length slope, per doubling", panel.length_slope, math.log(2)),
    ]
    note = "The slope is that of the jury's grade minus the experts' mean on the logarithm of the answer's length."
    return Table("Leniency and length bias", note, ("Bias", "Value", "95 %", "Items"), rows)


def _votes(panel: ExpertsAndJury) -> Table:
    votes = panel.votes

    def share(count: int) -> str:
        return f"{100 * count / votes.n:.1f} %" if votes.n else NONE

    rows: list[tuple[str, ...]] = [
        ("all judges alike", str(votes.unanimous), share(votes.unanimous)),
        ("split: no grade has a majority", str(votes.split), share(votes.split)),
        ("no jury grade", str(votes.no_grade), share(votes.no_grade)),
        ("verdicts missing", str(votes.verdicts_missing), NONE),
    ]
    return Table("Votes of the panel", f"Over all {votes.n} judged answers of the run.", ("", "Answers", "Share"), rows)


def _dropped(panel: ExpertsAndJury) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            visible(dropped.judge),
            number(dropped.extra_rater.value),
            number(dropped.change.value, signed=True),
            span(dropped.change.interval, signed=True),
            str(dropped.unresolved),
            number(dropped.mean),
            span(dropped.mean_bounds),
        )
        for dropped in panel.drop_one
    ]
    note = (
        "The panel without one judge, as an extra rater. Change: against the whole panel on the items that both "
        "settle. Unresolved: the other judges differ or failed. "
        "Bounds: the mean grade with all of those at the scale's ends."
    )
    columns = ("Without", "Alpha", "Change", "95 %", "Unresolved", "Mean grade", "Bounds")
    return Table("Without one judge", note, columns, rows)


def _raters(result: Agreement) -> Table:
    rows = [(visible(rater.name), str(rater.n), number(rater.mean)) for rater in result.raters]
    return Table("Experts", "Items that each graded, and the mean grade.", ("Expert", "Items", "Mean"), rows)


def _pairs(result: Agreement) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            visible(pair.first),
            visible(pair.second),
            str(pair.n),
            number(pair.alpha.value),
            number(pair.kappa_linear),
            number(pair.kappa_quadratic),
        )
        for pair in result.pairs
    ]
    note = "On the items that both graded; kappa with linear and quadratic weights."
    if result.panel is not None:
        note += f" {JURY!r} is the panel's grade."
    return Table("Pairs", note, ("First", "Second", "Items", "Alpha", "Kappa lin.", "Kappa quad."), rows, 2)


def plain(table: Table) -> str:
    """Return the table for a terminal: names to the left, numbers to the right."""
    lines: Sequence[Sequence[str]] = [table.columns, *table.rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(table.columns))]
    text = [table.title, "-" * len(table.title)]
    for line in lines:
        cells = [
            cell.ljust(width) if at < table.n_names else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)
