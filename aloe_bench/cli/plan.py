"""`aloe-bench plan`: how many items a comparison needs, before anything is run."""

from __future__ import annotations

import json
from typing import Any

import click

from aloe_bench.cli.common import FiniteRange

SHARE = FiniteRange(0, 100, min_open=True)


@click.command()
@click.option("--gap", type=SHARE, required=True, help="Points between the two that should be found, e.g. 5.")
@click.option("--discordance", type=SHARE, required=True, help="Percent of items on which the two differ, e.g. 15.")
@click.option("--attacks", type=click.IntRange(1), default=1, show_default=True, help="Comparisons of one family.")
@click.option("--power", "wanted", type=FiniteRange(0.01, 0.999), default=0.8, show_default=True)
@click.option("--items", type=click.IntRange(2), help="Also what so many items would find.")
@click.option("--clusters", type=click.IntRange(1), help="Also the least p that so many patients or images allow.")
@click.option("--json", "as_json", is_flag=True, help="Print the unrounded numbers as JSON and nothing else.")
def plan(
    gap: float, discordance: float, attacks: int, wanted: float, items: int | None, clusters: int | None, as_json: bool
) -> None:
    """Say how many items show a gap between two runs on the same questions, or between a run with and without a cue.

    The power is the exact one of the test that `run` and `compare` make, at the first step of Holm's rule over
    --attacks comparisons, with one item an image or patient.
    """
    if gap > discordance:
        raise click.UsageError(
            f"--gap {gap:g} is more than --discordance {discordance:g}; a gap is part of what differs."
        )
    from aloe_bench.stats.intervals import ALPHA
    from aloe_bench.stats.tango import critical, detectable, items_needed, power

    alpha, difference, differing = ALPHA / attacks, gap / 100, discordance / 100
    found: dict[str, Any] = {
        "gap": difference,
        "discordance": differing,
        "attacks": attacks,
        "power": wanted,
        "items_needed": items_needed(difference, differing, alpha, wanted),
    }
    if items is not None:
        shown = detectable(float(items), differing, alpha=alpha)
        found |= {
            "items": items,
            "power_of_items": power(items, differing, difference, critical(float("inf"), alpha)),
            "detectable": shown.difference,
            "detectable_at": shown.discordance,
        }
    if clusters is not None:
        found |= {"clusters": clusters, "least_p": min(1.0, attacks * 2.0 ** (1 - clusters))}
    if as_json:
        click.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: dict[str, Any]) -> list[str]:
    from aloe_bench.stats.family import mde

    family = "" if found["attacks"] == 1 else f", in a family of {found['attacks']}"
    aim = f"a gap of {100 * found['gap']:g} points with {100 * found['discordance']:g} % differing{family}"
    needed = found["items_needed"]
    lines = [
        f"items needed: over 10 million for {aim}" if needed is None
        else f"items needed: {needed} for {aim} and a power of {found['power']:g}"
    ]  # fmt: skip
    if "items" in found:
        lines.append(
            f"{found['items']} items: power {found['power_of_items']:.2f}; found with 0.8: {mde(found)} differing"
        )
    if "clusters" in found:
        lines.append(f"{found['clusters']} patients or images: least p of the sign flip {found['least_p']:.2g}{family}")
    return lines
