"""`aloe-bench train-ar`: from a HEART source to a checkpoint that its cues mislead less."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from aloe_bench.cli.common import FiniteRange, need
from aloe_bench.cli.train import CLUSTERS, PATH, job_of, print_plan, run_job, shared, show_trained

if TYPE_CHECKING:
    from aloe_bench.training.adversarial import ArDataConfig
    from aloe_bench.training.recipes import Recipe


@click.command("train-ar")
@click.option("--model", type=PATH, help="Checkpoint folder to start from.")
@click.option("--source", type=PATH, help="HEART source to attack and learn from (docs/robustness.md).")
@click.option("--output", type=PATH, help="Where the trained checkpoint goes.")
@click.option("--evaluation", type=PATH, multiple=True, help="Attacked folder that must share nothing with the source.")
@click.option("--measure", is_flag=True, help="Ask base and result every --evaluation, and held-out pictures.")
@click.option("--recipe", help="A bundled recipe, or a TOML file; default: by the size of the base.")
@click.option("--attacks", default="all", show_default=True, help="Comma-separated attacks to learn from.")
@click.option("--templates", type=PATH, help="Wordings of questions and cues; they must not be the evaluation's.")
@click.option("--target-size", type=click.IntRange(1), help="Cut to so many conversations (FracAtlas: 17200).")
@click.option("--held-out", type=FiniteRange(0, 0.9), default=0.1, show_default=True, help="Share of pictures.")
@click.option("--clean-only", is_flag=True, help="The control: the same rows and steps without any cue.")
@click.option("--reading", is_flag=True, help="Also ask what a drawn cue says, so that reading is not unlearnt.")
@click.option("--answer", type=click.Choice(["letter", "text"]), default="letter", show_default=True)
@click.option("--data-only", is_flag=True, help="Write the conversations to --output and train nothing.")
@shared
def train_ar(**options: Any) -> None:
    """Fine-tune a checkpoint on an attacked source; run again to go on."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise click.UsageError(
            "train-ar prepares data and measures in one process. On a cluster: train-ar --data-only --output DATA, "
            "then train-sft --data DATA --recipe ar-7b --write-cluster DIR."
        )
    if options["only_plan"]:
        print_plan(_recipe(options), options | {"data": None, "write_cluster": None, "cluster": CLUSTERS[0]})
        return
    need(options, "source", "output")
    if options["data_only"]:
        _write_data(options)
        return
    need(options, "model")
    if options["measure"] and not options["evaluation"] and not options["held_out"]:
        raise click.UsageError("--measure needs --evaluation FOLDER, or --held-out above 0.")
    _train(options, _recipe(options))


def _write_data(options: dict[str, Any]) -> None:
    from aloe_bench.cli.common import progress_of
    from aloe_bench.training.adversarial import write_adversarial_data

    with progress_of("attacked rows", quiet=options["as_json"]) as report:
        manifest = write_adversarial_data(_wanted(options, _recipe(options)), options["output"], report)
    if options["as_json"]:
        click.echo(json.dumps(manifest, indent=2))
    else:
        click.echo(f"{options['output']}: {manifest['n']} conversations, SHA-256 {manifest['sha256']}")
        click.echo(f"  leakage: {manifest['leakage']}")


def _train(options: dict[str, Any], recipe: Recipe) -> None:
    from aloe_bench.cli.common import progress_of
    from aloe_bench.training import ar, sft
    from aloe_bench.training.card import tables, write_card
    from aloe_bench.training.data.schema import read_manifest

    quiet = options["as_json"]
    state = options["output"] / sft.STATE_FOLDER
    job, wanted = job_of(options, recipe, state / ar.DATA, "ar"), _wanted(options, recipe)
    if options["measure"]:
        ar.check_measurable(wanted)
    sft.check_before(job)
    with progress_of("attacked rows", quiet=quiet) as report:
        ar.ensure_data(wanted, state, report)
    if not quiet:
        click.echo(f"leakage: {read_manifest(job.data).get('leakage', 'not recorded')}", err=True)
    probes = ar.probes(wanted, job.data) if options["measure"] else []
    with _progress(quiet) as progress:
        before = ar.ask(job.model, "base", probes, state, wanted.answer, progress)
    trained = run_job(replace(job, fresh=False), quiet=quiet)
    with _progress(quiet) as progress:
        after = ar.ask(job.output, "after AR", probes, state, wanted.answer, progress)
    measured = ar.compared(before, after)
    if measured:
        write_card(trained, tables(measured))
    show_trained(trained, quiet, measured)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Give a function title -> report; each title gets its own line."""
    from aloe_bench.cli.common import progress_of

    with ExitStack() as stack:
        yield lambda title: stack.enter_context(progress_of(title, quiet=quiet))


def _recipe(options: dict[str, Any]) -> Recipe:
    """Return the recipe asked for; without one, that for a base of this size."""
    from aloe_bench.training.ar import recipe_name
    from aloe_bench.training.recipes import changed, load_recipe

    name = options["recipe"] or (recipe_name(options["model"]) if options["model"] else "ar-7b")
    return changed(load_recipe(name), options["settings"])


def _wanted(options: dict[str, Any], recipe: Recipe) -> ArDataConfig:
    from aloe_bench.training.adversarial import TEMPLATES, ArDataConfig

    return ArDataConfig(
        source=options["source"],
        evaluation=options["evaluation"],
        attacks=options["attacks"],
        templates=options["templates"] or TEMPLATES,
        seed=recipe.seed,
        target_size=options["target_size"],
        validation_share=options["held_out"],
        clean_only=options["clean_only"],
        reading=options["reading"],
        answer=options["answer"],
        workers=max(1, options["workers"]),
    )
