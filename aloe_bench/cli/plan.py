"""`aloe-bench plan`: how many items a comparison needs, and how many labels a study of experts."""

from __future__ import annotations

import json
from typing import Any

import click

from aloe_bench.cli.common import FiniteRange
from aloe_bench.cli.verb import Verb

SHARE = FiniteRange(0, 100, min_open=True)


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench plan --gap 5 --discordance 12 --attacks 3",
        "aloe-bench plan --gap 5 --discordance 12 --suite medical",
    ),
    groups={
        "Comparing two models": "gap discordance attacks power items tasks suite clusters",
        "Labels of experts": "alpha raters answers correlation grades within",
    },
)
@click.option("--gap", type=SHARE, help="Points between the two that should be found, e.g. 5.")
@click.option("--discordance", type=SHARE, help="Percent of items on which the two differ, e.g. 15.")
@click.option("--attacks", type=click.IntRange(1), default=1, show_default=True, help="Comparisons of one family.")
@click.option("--power", "wanted", type=FiniteRange(0.01, 0.999), default=0.8, show_default=True)
@click.option("--items", type=click.IntRange(2), help="Also what so many items would find.")
@click.option("--tasks", help="Also what all the questions of these tasks would find, separated by commas.")
@click.option("--suite", help="Also what all the questions of each task of this suite would find.")
@click.option("--clusters", type=click.IntRange(1), help="Also the least p that so many patients or images allow.")
@click.option("--alpha", type=FiniteRange(0, 1), help="Items to label, if the experts' alpha is about this, e.g. 0.8.")
@click.option("--raters", type=click.IntRange(2, 12), default=3, show_default=True, help="Experts of each item.")
@click.option("--answers", type=click.IntRange(2), help="Labels for the corrected score of so many judged answers.")
@click.option(
    "--correlation", type=FiniteRange(0, 1), default=0.5, show_default=True, help="Of the jury's grades and the labels."
)
@click.option(
    "--grades", default="30,20,50", show_default=True, metavar="P,P,P", help="Percent that experts grade 0, 0.5 and 1."
)
@click.option(
    "--within", type=FiniteRange(0, 1, min_open=True), default=0.05, show_default=True,
    help="How far an interval of alpha, or of the corrected score, may reach: .05 is 5 points.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the unrounded numbers as JSON and nothing else.")
def plan(
    gap: float | None,
    discordance: float | None,
    attacks: int,
    wanted: float,
    items: int | None,
    tasks: str | None,
    suite: str | None,
    clusters: int | None,
    alpha: float | None,
    raters: int,
    answers: int | None,
    correlation: float,
    grades: str,
    within: float,
    as_json: bool,
) -> None:
    """Say how many items show a gap between two runs on the same questions, or between a run with and without a cue.

    The power is the exact one of the test that `run` and `compare` make, at the first step of Holm's rule over
    --attacks comparisons. --alpha and --answers say how many labels of experts an alpha, and a score corrected for the
    jury, need. One item per image or patient throughout.
    """
    sized = (("items", items), ("tasks", tasks), ("suite", suite))
    if gap is None and (given := [f"--{name}" for name, value in sized if value is not None]):
        raise click.UsageError(f"{given[0]} needs --gap and --discordance: what is it that they should find?")
    if (gap is None) != (discordance is None):
        raise click.UsageError("--gap and --discordance go together: how far apart two are, and on how many items.")
    if gap is None and clusters is None and alpha is None and answers is None:
        raise click.UsageError("nothing is asked; give --gap and --discordance, --clusters, --alpha or --answers.")
    found: dict[str, Any] = {"attacks": attacks}
    if gap is not None and discordance is not None:
        found |= _comparison(gap, discordance, attacks, wanted, items)
        if tasks is not None or suite is not None:
            found["tasks"] = {
                name: _found_by(n, gap, discordance, attacks) for name, n in _questions(tasks, suite).items()
            }
    if clusters is not None:
        found |= {"clusters": clusters, "least_p": min(1.0, attacks * 2.0 ** (1 - clusters))}
    if alpha is not None or answers is not None:
        found |= _labels(alpha, raters, answers, correlation, _shares(grades), within)
    if as_json:
        click.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    for line in _lines(found):
        click.echo(line)


def _comparison(gap: float, discordance: float, attacks: int, wanted: float, items: int | None) -> dict[str, Any]:
    if gap > discordance:
        raise click.UsageError(
            f"--gap {gap:g} is more than --discordance {discordance:g}; a gap is part of what differs."
        )
    from aloe_bench.stats.intervals import ALPHA
    from aloe_bench.stats.tango import items_needed

    found: dict[str, Any] = {
        "gap": gap / 100,
        "discordance": discordance / 100,
        "power": wanted,
        "items_needed": items_needed(gap / 100, discordance / 100, ALPHA / attacks, wanted),
    }
    return found if items is None else found | _found_by(items, gap, discordance, attacks)


def _found_by(items: int, gap: float, discordance: float, attacks: int) -> dict[str, Any]:
    from aloe_bench.stats.intervals import ALPHA, quantile
    from aloe_bench.stats.tango import detectable, freedom_of_items, power

    level, difference, differing = ALPHA / attacks, gap / 100, discordance / 100
    freedom = freedom_of_items(items)
    shown = detectable(float(items), differing, freedom, level)
    return {
        "items": items,
        "power_of_items": power(items, differing, difference, quantile(freedom, level)),
        "detectable": shown.difference,
        "detectable_at": shown.discordance,
    }


def _questions(tasks: str | None, suite: str | None) -> dict[str, int]:
    """Return task -> questions of its whole data; raises UsageError for one whose rows are not questions."""
    from aloe_bench import registry
    from aloe_bench.facts import facts_of

    found = {}
    for name in registry.task_names(tasks, suite):
        task = registry.task(name)
        if facts_of(task).measure:
            raise click.UsageError(
                f"{name}: its rows are items under several cues; give the items of a cue as --items."
            )
        found[name] = task.expected_rows
    return found


def _shares(text: str) -> tuple[float, ...]:
    """Return the shares of the grades 0, 0.5 and 1, given in percent."""
    try:
        shares = tuple(float(part) / 100 for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != 3 or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise click.UsageError(f"--grades {text!r}: expected the percent of 0, 0.5 and 1, adding to 100: 30,20,50.")
    return tuple(share / sum(shares) for share in shares)


def _labels(
    alpha: float | None,
    raters: int,
    answers: int | None,
    correlation: float,
    shares: tuple[float, ...],
    within: float,
) -> dict[str, Any]:
    from aloe_bench.stats.labels import labels_for_alpha, labels_for_score

    found: dict[str, Any] = {"grades": list(shares), "within": within}
    if alpha is not None:
        needed = labels_for_alpha(alpha, raters, shares, within)
        found |= {"alpha": alpha, "raters": raters, "items_to_label": needed}
    if answers is not None:
        needed = labels_for_score(answers, shares, correlation, within)
        found |= {"answers": answers, "correlation": correlation, "answers_to_label": needed}
    return found


def _lines(found: dict[str, Any]) -> list[str]:
    from aloe_bench.stats.paired import mde

    family = "" if found["attacks"] == 1 else f", in a family of {found['attacks']}"
    lines = []
    if "gap" in found:
        aim = f"a gap of {100 * found['gap']:g} points with {100 * found['discordance']:g} % differing{family}"
        needed = found["items_needed"]
        lines.append(
            f"items needed: over 10 million for {aim}" if needed is None
            else f"items needed: {needed} for {aim} and a power of {found['power']:g}"
        )  # fmt: skip
    if "items" in found:
        lines.append(
            f"{found['items']} items: power {found['power_of_items']:.2f}; found with 0.8: {mde(found)} differing"
        )
    for name, each in found.get("tasks", {}).items():
        shown = f"power {each['power_of_items']:.2f}; found with 0.8: {mde(each)} differing"
        lines.append(f"{name}, {each['items']} questions: {shown}")
    if "clusters" in found:
        lines.append(f"{found['clusters']} patients or images: least p of the sign flip {found['least_p']:.2g}{family}")
    law = "/".join(f"{100 * share:g}" for share in found.get("grades", ()))
    if "alpha" in found:
        needed = found["items_to_label"]
        lines.append(
            f"items to label: {'over a million' if needed is None else needed}, each by {found['raters']} experts, "
            f"for an alpha of about {found['alpha']:g} within {found['within']:g}, with {law} % graded 0, 0.5 and 1"
        )
    if "answers" in found:
        needed, points = found["answers_to_label"], 100 * found["within"]
        many = f"all {found['answers']} are too few" if needed is None else f"{needed} of {found['answers']}"
        lines.append(
            f"answers to label: {many} for a corrected score within {points:g} points, if jury and experts correlate "
            f"by {found['correlation']:g}, with {law} % graded 0, 0.5 and 1"
        )
    return lines
