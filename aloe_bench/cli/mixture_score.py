"""`aloe-bench data tag` and `data filter`: scores of samples by a model, and a limit for them by a person."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aloe_bench.cli.common import progress_of
from aloe_bench.errors import UsageError

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("pool", type=PATH)
@click.option("--model", required=True, help="Checkpoint folder, or the name that a server gives.")
@click.option("--backend", default="auto", show_default=True)
@click.option("--base-url", multiple=True, help="OpenAI-compatible server, such as http://127.0.0.1:8000/v1.")
@click.option("--api-key", envvar="OPENAI_API_KEY", default="EMPTY", help="Never recorded; better set OPENAI_API_KEY.")
@click.option("--model-args", default="", help="Options of the back end, as k=v,k=v.")
@click.option("--batch-size", type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def tag(
    pool: Path, model: str, backend: str, base_url: tuple[str, ...], api_key: str, model_args: str,
    batch_size: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Have a model tag the samples of POOL and score them from 1 to 5; run again to resume.

    Replies are kept as they come. One that cannot be read is asked for once more; what is still unread is counted.
    """
    from aloe_bench.cli.run import model_args as parsed
    from aloe_bench.mixture.pool import Pool
    from aloe_bench.mixture.tags import tag as tagged
    from aloe_bench.models.make import ModelSpec, make_model

    made = Pool(pool)
    made.table(columns=["id"])
    spec = ModelSpec(model, backend, base_url or None, api_key, batch_size, parsed(model_args))
    with progress_of("tag", quiet=as_json) as report:
        found = tagged(made, make_model(spec), report)
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    attempts = found["settings"]["attempts"]
    unread = f"{found['untagged']} unreadable after {attempts} attempts"
    click.echo(f"{found['tagged']} tagged, {unread}, {found['failed']} without any reply")
    if found["unknown_words"]:
        words = ", ".join(f"{word} ({n})" for word, n in list(found["unknown_words"].items())[:10])
        click.echo(f"Not in the vocabulary, taken as Other: {words}")


@click.command("filter")
@click.argument("pool", type=PATH)
@click.option("--min-score", multiple=True, help="Least score of a source: pubmedvision=3.")
@click.option("--sheet", is_flag=True, help="Write POOL/filter.html, samples around the limits, and drop nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def filter_(pool: Path, min_score: tuple[str, ...], sheet: bool, as_json: bool) -> None:
    """Drop samples of POOL whose score is under the limit of their source; look at them with --sheet first."""
    from aloe_bench.mixture.filter import SHEET, contact_sheet, filter_pool
    from aloe_bench.mixture.pool import Pool

    least = {}
    for pair in min_score:
        name, _, number = pair.partition("=")
        if not number.isdecimal():
            raise UsageError(f"{pair!r}: expected SOURCE=SCORE, such as pubmedvision=3.")
        least[name] = int(number)
    made = Pool(pool)
    if sheet:
        if made.report("tag") is None:
            raise UsageError(f"{pool}: no scores yet. Run `aloe-bench data tag` first.")
        n = contact_sheet(made, least)
        click.echo(f"{pool / SHEET}: {n} samples")
        return
    if not least:
        raise UsageError("no limit was given: --min-score SOURCE=SCORE, or --sheet to look at samples first.")
    found = filter_pool(made, least)
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    for source, counts in found["counts"]["sources"].items():
        click.echo(f"{source}: {counts['before']} - {counts['low score']} low score = {counts['after']}")
    if found["kept_without_score"]:
        click.echo(f"{found['kept_without_score']} samples have no score and were kept")


COMMANDS = (tag, filter_)
