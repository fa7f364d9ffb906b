"""`aloe-bench data tag`, `perplexity`, `ocr`, `filter`: what is measured of samples, and limits that a person sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aloe_bench.cli.common import progress_of
from aloe_bench.cli.verb import Verb
from aloe_bench.cli.workplace import on_ray, workplace_of
from aloe_bench.errors import UsageError

if TYPE_CHECKING:
    from aloe_bench.models.make import ModelSpec

PATH = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
F = TypeVar("F", bound=Callable[..., Any])


def asks_a_model(command: F) -> F:
    """Give `command` the options that say which model is asked."""
    options = (
        click.option("--model", required=True, help="Checkpoint folder, or the name that a server gives."),
        click.option("--backend", default="auto", show_default=True),
        click.option("--base-url", multiple=True, help="OpenAI-compatible server, such as http://127.0.0.1:8000/v1."),
        click.option(
            "--api-key", envvar="OPENAI_API_KEY", default="EMPTY", help="Never recorded; better set OPENAI_API_KEY."
        ),
        click.option("--model-args", default="", help="Options of the back end, as k=v,k=v."),
        click.option("--batch-size", type=click.IntRange(1)),
    )
    for option in reversed(options):
        command = option(command)
    return command


def asked_spec(asked: dict[str, Any]) -> ModelSpec:
    """Return the model that those options name."""
    from aloe_bench.cli.run import model_args
    from aloe_bench.models.make import ModelSpec

    options = model_args(asked["model_args"])
    urls = asked["base_url"] or None
    return ModelSpec(asked["model"], asked["backend"], urls, asked["api_key"], asked["batch_size"], options)


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data tag pool --model PATH",
        "aloe-bench data tag pool --model NAME --base-url http://127.0.0.1:8000/v1",
    ),
)
@click.argument("pool", type=PATH)
@asks_a_model
@on_ray
@JSON
def tag(pool: Path, as_json: bool, **asked: Any) -> None:
    """Have a model tag the samples of POOL and score them from 1 to 5; run again to resume.

    Replies are kept as they come. One that cannot be read is asked for once more; what is still unread is counted.
    """
    from aloe_bench.mixture.pool import Pool
    from aloe_bench.mixture.tags import tag as tagged

    made = Pool(pool)
    made.table(columns=["id"])
    with progress_of("tag", quiet=as_json) as report:
        model, others = workplace_of(asked).model(asked_spec(asked))
        found = tagged(made, model, report, spread=others)
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    attempts = found["settings"]["attempts"]
    unread = f"{found['untagged']} unreadable after {attempts} attempts"
    click.echo(f"{found['tagged']} tagged, {unread}, {found['failed']} without any reply")
    if found["unknown_words"]:
        words = ", ".join(f"{word} ({n})" for word, n in list(found["unknown_words"].items())[:10])
        click.echo(f"Not in the vocabulary, taken as Other: {words}")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data perplexity pool --model PATH",
        "aloe-bench data filter pool --max-perplexity pubmedvision=80 --sheet",
    ),
)
@click.argument("pool", type=PATH)
@asks_a_model
@on_ray
@JSON
def perplexity(pool: Path, as_json: bool, **asked: Any) -> None:
    """Measure how surprised a model is by the answers of POOL, given picture and question; run again to resume.

    The back ends hf and vllm can; a server's interface says nothing of an answer's tokens.
    """
    from aloe_bench.mixture.perplexity import perplexity as measured
    from aloe_bench.mixture.pool import Pool

    made = Pool(pool)
    made.table(columns=["id"])
    with progress_of("perplexity", quiet=as_json) as report:
        model, others = workplace_of(asked).model(asked_spec(asked))
        found = measured(made, model, report, spread=others)
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    click.echo(f"{found['measured']} measured, {found['failed']} failed")
    for fault in found["first_faults"]:
        click.echo(f"  {fault}")
    _show_quantiles(found["quantiles"])


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data ocr pool",
        "aloe-bench data filter pool --max-in-picture pubmedvision=0.8",
    ),
)
@click.argument("pool", type=PATH)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that read pictures.")
@on_ray
@JSON
def ocr(pool: Path, workers: int, as_json: bool, **options: Any) -> None:
    """Read what stands in the pictures of POOL, and say how much of each answer does; run again to resume."""
    from aloe_bench.mixture.ocr import ocr as read
    from aloe_bench.mixture.pool import Pool

    made = Pool(pool)
    made.table(columns=["id"])
    with progress_of("ocr", quiet=as_json) as report:
        found = read(made, workplace_of(options, workers).spread, report)
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    click.echo(f"{found['pictures_read']} pictures read, {found['pictures_with_words']} with words in them")
    click.echo(
        f"{found['measured']} samples measured; {found['no_picture_or_too_short']} have no picture, or answers under "
        "three letters"
    )
    _show_quantiles(found["quantiles"])


def _show_quantiles(sources: dict[str, dict[str, float]]) -> None:
    for source, each in sources.items():
        click.echo(f"{source}: " + ", ".join(f"{value:.4g} at {float(q):.0%}" for q, value in each.items()))


@click.command(
    "filter",
    cls=Verb,
    examples=(
        "aloe-bench data filter pool --min-score pubmedvision=3 --sheet",
        "aloe-bench data filter pool --max-perplexity pubmedvision=80 --note 'looked at 40 samples'",
    ),
)
@click.argument("pool", type=PATH)
@click.option("--min-score", multiple=True, help="Least score of a source: pubmedvision=3.")
@click.option("--min-perplexity", multiple=True, help="Least perplexity of a source: pubmedvision=1.1.")
@click.option("--max-perplexity", multiple=True, help="Greatest perplexity of a source: pubmedvision=80.")
@click.option("--max-in-picture", multiple=True, help="Greatest share of an answer in the picture: pubmedvision=0.8.")
@click.option("--note", default="", help="Who looked at what to set these limits; kept with the decisions.")
@click.option("--sheet", is_flag=True, help="Write POOL/filter.html, samples around the limits, and drop nothing.")
@JSON
def filter_(pool: Path, note: str, sheet: bool, as_json: bool, **given: tuple[str, ...]) -> None:
    """Drop samples of POOL beyond the limits of their source; look at them with --sheet first."""
    from aloe_bench.mixture.contact import SHEET, contact_sheet
    from aloe_bench.mixture.filter import QualityLimits, filter_pool
    from aloe_bench.mixture.pool import Pool

    by_source = {name: _limits(pairs) for name, pairs in given.items()}
    limits = QualityLimits(**by_source, note=note)
    made = Pool(pool)
    if sheet:
        n = contact_sheet(made, limits)
        click.echo(f"{pool / SHEET}: {n} samples")
        return
    if not any(by_source.values()):
        raise UsageError("no limit was given: --min-score SOURCE=SCORE or another, or --sheet to look first.")
    found = filter_pool(made, limits)
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    for source, counts in found["counts"]["sources"].items():
        out = " ".join(f"- {n} {name}" for name, n in counts.items() if name not in ("before", "after") and n)
        click.echo(f"{source}: {counts['before']} {out or '- 0'} = {counts['after']}")
    for measure, n in found["kept_without"].items():
        if n:
            click.echo(f"{n} samples have no {measure.replace('_', ' ')} and were kept")


def _limits(pairs: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise UsageError(f"{pair!r}: expected SOURCE=NUMBER, such as pubmedvision=3.") from None
    return found


COMMANDS = (tag, perplexity, ocr, filter_)
