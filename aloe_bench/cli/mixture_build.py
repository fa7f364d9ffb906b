"""`aloe-bench data build` and `data explain`: a whole mixture, and one sample of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from aloe_bench.cli.common import progress_of
from aloe_bench.errors import UsageError

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("recipe", type=PATH)
@click.option("--output", type=PATH, required=True, help="The mixture's folder; run again to resume.")
@click.option("--fresh", is_flag=True, help="Start over instead of resuming.")
@click.option("--api-key", envvar="OPENAI_API_KEY", default="EMPTY", help="Never recorded; better set OPENAI_API_KEY.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON only.")
def build(recipe: Path, output: Path, fresh: bool, api_key: str, as_json: bool) -> None:
    """Make the mixture that RECIPE (TOML) describes: every step in its order, coverage, exports, card.

    docs/data.md has an example. Killed at any moment, the same command resumes, to the same bytes.
    """
    from aloe_bench.mixture.build import build as built
    from aloe_bench.mixture.build import load_recipe
    from aloe_bench.mixture.pool import POOL_FILE

    wish = load_recipe(recipe)
    if fresh and output.is_dir():
        if any(output.iterdir()) and not (output / POOL_FILE).is_file():
            raise UsageError(f"{output} is not a mixture's folder, and is not removed. Choose another --output.")
        shutil.rmtree(output)
    with ExitStack() as stack:

        def report(title: str) -> Callable[[int, int], None]:
            return stack.enter_context(progress_of(title, quiet=as_json))

        found = built(wish, output, report, api_key)
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


@click.command()
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


COMMANDS = (build, explain)
