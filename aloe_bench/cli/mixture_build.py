"""`aloe-bench data build` and `data explain`: a whole mixture, and one sample of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from aloe_bench.cli.common import progress_of
from aloe_bench.cli.verb import Verb
from aloe_bench.cli.workplace import on_ray, workplace_of
from aloe_bench.errors import UsageError

PATH = click.Path(path_type=Path)


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data build mixture.toml --output mixture",
        "aloe-bench data build mixture.toml --output mixture --ray HOST:6379 --replicas 16",
    ),
    groups={"Where it runs": "ray replicas gpus-per-replica"},
)
@click.argument("recipe", type=PATH)
@click.option("--output", type=PATH, required=True, help="The mixture's folder; run again to resume.")
@click.option("--fresh", is_flag=True, help="Start over instead of resuming.")
@click.option("--api-key", envvar="OPENAI_API_KEY", default="EMPTY", help="Never recorded; better set OPENAI_API_KEY.")
@on_ray
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON only.")
def build(recipe: Path, output: Path, fresh: bool, api_key: str, as_json: bool, **options: Any) -> None:
    """Make the mixture that RECIPE (TOML) describes: every step in its order, coverage, exports, card.

    docs/data.md has an example. Killed at any moment, the same command resumes, to the same bytes.
    """
    from aloe_bench.mixture.build import build as built
    from aloe_bench.mixture.build import load_recipe
    from aloe_bench.mixture.pool import POOL_FILE

    wish = load_recipe(recipe)
    place = workplace_of(options, 1 if options["ray"] else wish.workers)
    if fresh and output.is_dir():
        if any(output.iterdir()) and not (output / POOL_FILE).is_file():
            raise UsageError(f"{output} is not a mixture's folder, and is not removed. Choose another --output.")
        shutil.rmtree(output)
    with ExitStack() as stack:

        def report(title: str) -> Callable[[int, int], None]:
            return stack.enter_context(progress_of(title, quiet=as_json))

        found = built(wish, output, report, api_key, place)
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    for step, each in found["steps"].items():
        counts = each["counts"]
        out = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items() if n) or "0"
        click.echo(f"{step}: {counts['before']} - {out} = {counts['after']}")
    for check in found["checks"]:
        if check["verdict"] != "ok":
            click.echo(f"{check['verdict']}: {check['what']}: {check['found']}")
    for name, each in found["exports"].items():
        click.echo(f"{name}: {each['rows']} rows; the loss is {each['loss']}")
    click.echo(f"{output / 'card.md'}")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data ablate mixture.toml --output variants",
        "aloe-bench data ablate mixture.toml --output variants --epochs 2 --batch 256",
    ),
)
@click.argument("recipe", type=PATH)
@click.option("--output", type=PATH, required=True, help="Folder of the variants; run again to resume.")
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True, help="Passes over the full mixture.")
@click.option("--batch", type=click.IntRange(1), default=1024, show_default=True, help="Rows of an update.")
@click.option(
    "--match", type=click.Choice(("full", "largest")), default="full", show_default=True,
    help="Whose updates each variant gets at least: the full mixture's, as in the paper, or the largest variant's.",
)  # fmt: skip
@click.option("--api-key", envvar="OPENAI_API_KEY", default="EMPTY", help="Never recorded; better set OPENAI_API_KEY.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def ablate(recipe: Path, output: Path, epochs: int, batch: int, match: Any, api_key: str, as_json: bool) -> None:
    """Build the mixture of RECIPE and its variants: without a modality or domain, with leakage, unfiltered, unbalanced.

    Each gets as many epochs as it takes to have as many updates as --match says. docs/data.md says how to compare them.
    """
    from aloe_bench.mixture.ablate import ablate as ablated
    from aloe_bench.mixture.build import load_recipe

    with ExitStack() as stack:

        def report(title: str) -> Callable[[int, int], None]:
            return stack.enter_context(progress_of(title, quiet=as_json))

        found = ablated(load_recipe(recipe), output, epochs, batch, match, report, api_key)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    for each in found:
        click.echo(
            f"{each.name} ({each.what} left out): {each.rows} rows, {each.epochs} epochs, {each.updates} updates"
        )
    click.echo(f"Train each: aloe-bench train-sft --data {output}/NAME/mixture --set epochs=EPOCHS ...")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data leaked pool runs/MODEL/careqa_vision_mcq",
        "aloe-bench data leaked pool runs/MODEL/slake runs/OTHER/slake --radius 2",
    ),
)
@click.argument("pool", type=PATH)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PATH)
@click.option("--radius", type=click.Choice(("0", "2", "4")), default="0", show_default=True, help="Bits of a hit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def leaked(pool: Path, runs: tuple[Path, ...], radius: str, as_json: bool) -> None:
    """Say what each RUN scored on items whose picture is in POOL, against the rest of the run.

    `data leakage` has to have compared POOL with the run's task; whether it dropped the hits does not matter.
    """
    from aloe_bench.cli.compare import points
    from aloe_bench.mixture.leaked import leaked_scores
    from aloe_bench.mixture.pool import Pool

    found = [leaked_scores(Pool(pool), run, int(radius)) for run in runs]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    for each in found:
        click.echo(f"{each.model} on {each.task}, pictures within {each.radius} bits of one of {pool}:")
        for name, part in (("leaked", each.leaked), ("rest", each.rest)):
            within = f" [{points(part.interval[0])}, {points(part.interval[1])}]" if part.interval else ""
            waiting = f"; {part.unscored} without a score" if part.unscored else ""
            click.echo(
                f"  {name}: {points(part.value)} %{within} of {part.n} items, {part.n_clusters} clusters{waiting}"
            )
        if each.difference is not None:
            within = (
                f" [{100 * each.interval[0]:+.1f}, {100 * each.interval[1]:+.1f}]"
                if each.interval
                else ", too few clusters or too alike for an interval"
            )
            click.echo(f"  leaked - rest: {100 * each.difference:+.1f} points{within}")
        for sentence in each.left_over:
            click.echo(f"  Caution: {sentence}")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data explain pool SAMPLE",
        "aloe-bench data explain mixture SAMPLE --json",
    ),
)
@click.argument("pool", type=PATH)
@click.argument("name", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def explain(pool: Path, name: str, as_json: bool) -> None:
    """Tell the whole story of the sample ID of POOL: where it was read, and what every step said of it."""
    from aloe_bench.cli.mixture import shown
    from aloe_bench.mixture.explain import explain as explained
    from aloe_bench.mixture.pool import Pool
    from aloe_bench.training.data.schema import to_json

    found: dict[str, Any] = explained(Pool(pool), name)
    said = found.pop("conversation")
    if as_json:
        whole = {**found, "conversation": to_json(said) if said else None}
        click.echo(json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False))
        return
    click.echo(f"{name}: source {found['source']}, cluster {found['cluster']}, {found['file'] or 'no conversation'}")
    for step, words in found["steps"].items():
        click.echo(f"  {step}: {words}")
    for picture in found["pictures"]:
        click.echo(f"  picture {picture['path']}: {picture['facts']}")
        for near in picture.get("near", ()):
            alike = f"{near['distance']} bits, likeness {near['likeness'] or 'not compared'}"
            click.echo(f"    near {near['picture']} of {near['set']}: {alike}")
    if found["tokens"]:
        click.echo("  " + ", ".join(f"{n} {key.replace('_', ' ')}" for key, n in found["tokens"].items()))
    click.echo(f"  weight in the mixture: {found['weight']}")
    if said is not None:
        click.echo(shown(said))


COMMANDS = (build, ablate, leaked, explain)
