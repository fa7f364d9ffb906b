"""`aloe-bench train-ar`: from a HEART source to a checkpoint that its cues mislead less."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aloe_bench.cli.common import FiniteRange, given
from aloe_bench.cli.train import (
    CLUSTERS,
    PATH,
    TrainOptions,
    checked_plan,
    job_of,
    run_job,
    shared,
    show_plan,
    show_trained,
)
from aloe_bench.cli.verb import Verb

if TYPE_CHECKING:
    from aloe_bench.core import AnswerForm
    from aloe_bench.training.adversarial import ArDataConfig
    from aloe_bench.training.recipes import Recipe


@dataclass(frozen=True)
class ArOptions(TrainOptions):
    """The options of `train-ar`, by their names on the command line."""

    source: Path | None
    evaluation: tuple[Path, ...]
    measure: bool
    attacks: str
    templates: Path | None
    target_size: int | None
    held_out: float
    clean_only: bool
    reading: bool
    answer: AnswerForm
    data_only: bool


@click.command(
    "train-ar",
    cls=Verb,
    examples=(
        "aloe-bench train-ar --model PATH --source xray --output robust --evaluation attacked --measure",
        "aloe-bench train-ar --source xray --data-only --output conversations",
    ),
)
@click.option("--model", type=PATH, help="Checkpoint folder to start from.")
@click.option("--source", type=PATH, help="HEART source to attack and learn from (docs/heart.md).")
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
    """Fine-tune a checkpoint on an attacked source; run again to resume."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise click.UsageError(
            "train-ar prepares data and measures in one process. On a cluster: train-ar --data-only --output DATA, "
            "then train-sft --data DATA --recipe ar-7b --write-cluster DIR."
        )
    wanted = ArOptions(**options)
    if wanted.only_plan:
        show_plan(checked_plan(_recipe(wanted), CLUSTERS[0]), wanted.as_json)
        return
    if wanted.data_only:
        _write_data(wanted)
        return
    if wanted.measure and not wanted.evaluation and not wanted.held_out:
        raise click.UsageError("--measure needs --evaluation FOLDER, or --held-out above 0.")
    _train(wanted, _recipe(wanted))


def _write_data(wanted: ArOptions) -> None:
    from aloe_bench.cli.common import progress_of
    from aloe_bench.training.adversarial import write_adversarial_data

    data, output = _data_of(wanted, _recipe(wanted)), given(wanted.output, "output")
    with progress_of("attacked rows", quiet=wanted.as_json) as report:
        manifest = write_adversarial_data(data, output, report)
    if wanted.as_json:
        click.echo(json.dumps(manifest, indent=2))
    else:
        click.echo(f"{output}: {manifest['n']} conversations, SHA-256 {manifest['sha256']}")
        click.echo(f"  leakage: {manifest['leakage']}")
        for sentence in manifest.get("left_over", ()):
            click.echo(f"  left over: {sentence}; see {output / 'heart' / 'dropped.csv'}")


def _train(wanted: ArOptions, recipe: Recipe) -> None:
    from aloe_bench.cli.common import progress_of
    from aloe_bench.training import ar, sft
    from aloe_bench.training.card import tables, write_card
    from aloe_bench.training.data.schema import read_manifest

    quiet = wanted.as_json
    state = given(wanted.output, "output") / sft.STATE_FOLDER
    job, data = job_of(wanted, recipe, state / ar.DATA, "ar"), _data_of(wanted, recipe)
    if wanted.measure:
        ar.check_measurable(data)
    sft.check_before(job)
    with progress_of("attacked rows", quiet=quiet) as report:
        ar.ensure_data(data, state, report)
    if not quiet:
        click.echo(f"leakage: {read_manifest(job.data).get('leakage', 'not recorded')}", err=True)
    probes = ar.probes(data, job.data) if wanted.measure else []
    with _progress(quiet) as progress:
        before = ar.ask(job.model, "base", probes, state, wanted.answer, progress)
    trained = run_job(replace(job, fresh=False), quiet=quiet)
    with _progress(quiet) as progress:
        after = ar.ask(job.output, "after AR", probes, state, wanted.answer, progress)
    measured = ar.compared(before, after)
    if measured:
        write_card(trained, tables(measured))
    show_trained(trained, quiet, measured)
    _gate(measured)


def _gate(measured: Mapping[str, Mapping[str, Any]]) -> None:
    """Say whether reading was retained; exit 4 where enough questions do not show it."""
    from aloe_bench.training.reading import retained

    found = retained(measured)
    for one in found:
        click.echo(f"Reading: {one.sentence}.", err=True)
    if any(one.kept is False for one in found):
        click.echo("A model that reads less is misled less: the gain is not to be taken for robustness.", err=True)
        raise click.exceptions.Exit(4)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Give a function title -> report; each title gets its own line."""
    from aloe_bench.cli.common import progress_of

    with ExitStack() as stack:
        yield lambda title: stack.enter_context(progress_of(title, quiet=quiet))


def _recipe(wanted: ArOptions) -> Recipe:
    """Return the recipe asked for; without one, that for a base of this size."""
    from aloe_bench.training.ar import recipe_name
    from aloe_bench.training.recipes import changed, load_recipe

    name = wanted.recipe or (recipe_name(wanted.model) if wanted.model else "ar-7b")
    return changed(load_recipe(name), wanted.settings)


def _data_of(wanted: ArOptions, recipe: Recipe) -> ArDataConfig:
    from aloe_bench.training.adversarial import TEMPLATES, ArDataConfig

    return ArDataConfig(
        source=given(wanted.source, "source"),
        evaluation=wanted.evaluation,
        attacks=wanted.attacks,
        templates=wanted.templates or TEMPLATES,
        seed=recipe.seed,
        target_size=wanted.target_size,
        validation_share=wanted.held_out,
        clean_only=wanted.clean_only,
        reading=wanted.reading,
        answer=wanted.answer,
        workers=max(1, wanted.workers),
    )
