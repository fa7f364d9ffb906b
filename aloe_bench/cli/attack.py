"""`aloe-bench attack`: a HEART source becomes a table of questions with misleading cues."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aloe_bench.cli.verb import Verb
from aloe_bench.registry import ATTACKS

if TYPE_CHECKING:
    from aloe_bench.heart.build import HeartRecipe
    from aloe_bench.heart.make import Work
    from aloe_bench.heart.sources.source import Source
    from aloe_bench.heart.survey import SeenPictures


@dataclass(frozen=True)
class AttackOptions:
    """The options of `attack`, by their names on the command line."""

    new_source: Path | None
    source: tuple[Path, ...]
    questions: tuple[str, ...]
    output: Path | None
    type: str
    strength: tuple[str, ...]
    templates: str | None
    parity: bool
    seed: int
    limit: int | None
    places: Path | None
    workers: int | None
    embed: bool
    overwrite: bool
    preview: int | None
    dry_run: bool
    as_json: bool


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench attack --source xray --output attacked",
        "aloe-bench attack --source xray --type caption,sycophancy --preview 4 --output preview.png",
    ),
    groups={
        "What is attacked": "source from limit places new-source",
        "Attacks": "type strength templates parity seed",
    },
)
@click.option("--source", type=click.Path(path_type=Path), multiple=True, help="A source folder; repeatable.")
@click.option("--from", "questions", multiple=True, help="mcq:FILE, questions of your own, in place of --source.")
@click.option("--output", type=click.Path(path_type=Path), help="The new folder (with --preview: the PNG file).")
@click.option("--type", default="all", show_default=True, help=f"{', '.join(ATTACKS)}; a,b or a+b; or FILE.py:NAME.")
@click.option("--strength", multiple=True, help="SETTING=VALUE, e.g. caption.size=2,sycophancy.authority=high.")
@click.option("--templates", help="A shipped set, or a TOML file of yours.  [default: clinical; of --from: answers]")
@click.option("--parity", is_flag=True, help="Box and legend rules of the published generator, without neutral rows.")
@click.option("--seed", type=click.IntRange(-(2**63), 2**63 - 1), default=0, show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Maximum items per dataset and task, balanced over classes.")
@click.option(
    "--places", type=click.Path(path_type=Path), help="Table of a larger part of the source, for its wrong boxes."
)
@click.option("--workers", type=click.IntRange(1), help="Processes; the output does not depend on it.  [default: all]")
@click.option("--embed", is_flag=True, help="Put the pictures into the table, as on the hub, and not beside it.")
@click.option("--overwrite", is_flag=True, help="Replace an --output that this command wrote.")
@click.option("--preview", type=click.IntRange(1, 20), help="Draw so many sample items into one PNG and exit.")
@click.option("--dry-run", is_flag=True, help="Check everything, pictures too, and say what would be written.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
@click.option("--new-source", type=click.Path(path_type=Path), help="Write a commented template of a source.")
def attack(**options: Any) -> None:
    """Make a HEART table of --source: each question without a cue, and with every cue in every variant.

    Measure it with `aloe-bench run --tasks heart:OUTPUT`. The folder appears whole or not at all.
    """
    wanted = AttackOptions(**options)
    if wanted.new_source is not None:
        from aloe_bench.heart.sources.new_source import write_new_source

        write_new_source(wanted.new_source)
        click.echo(
            f"{wanted.new_source}: fill in dataset.toml, labels.csv, images/ and annotations/, then try --dry-run."
        )
        return
    if bool(wanted.source) == bool(wanted.questions):
        both = "either --source or --from, not both" if wanted.source else "--source is missing: a source folder"
        raise click.UsageError(
            f"{both}. --new-source FOLDER writes a template of one; --from mcq:FILE takes questions."
        )
    if wanted.output is None and not wanted.dry_run:
        raise click.UsageError("--output is missing: the folder to write (with --preview: the PNG file).")
    from aloe_bench.api.tables import recipe
    from aloe_bench.heart.sources.questions import TEMPLATES, opened

    named: list[Path | str] = [*wanted.source, *map(_question_file, wanted.questions)]
    templates = wanted.templates or (TEMPLATES if wanted.questions else None)
    with opened(named) as sources:
        tasks = {task for source in sources for task in source.tasks}
        made = recipe(wanted.type, templates, wanted.seed, wanted.strength, wanted.parity, tasks)
        _caution_sources(sources, wanted.type, made)
        _act(sources, made, wanted)


def _question_file(name: str) -> str:
    from aloe_bench.heart.sources.questions import is_questions

    if not is_questions(name):
        raise click.UsageError(f"--from {name!r}: expected mcq:FILE, a table of multiple-choice questions.")
    return name


def _act(sources: list[Source], recipe: HeartRecipe, wanted: AttackOptions) -> None:
    from aloe_bench.cli.common import progress_of
    from aloe_bench.files import NewFolder
    from aloe_bench.heart.make import build, check_pictures, plan_work
    from aloe_bench.heart.survey import read_places
    from aloe_bench.workers import available

    output, quiet = wanted.output, wanted.as_json
    n_workers = wanted.workers or available()
    if output is not None and wanted.preview is None:
        NewFolder(output, overwrite=wanted.overwrite, known_by="manifest.json").check()
    places = None if wanted.places is None else read_places(wanted.places)
    with progress_of("looking at true boxes", quiet=quiet) as report:
        work = plan_work(sources, recipe, limit=wanted.limit, places=places, n_workers=n_workers, report=report)
    if wanted.preview is not None:
        _preview(work, recipe, wanted.preview, output, as_json=quiet)
        return
    with progress_of("checking pictures", quiet=quiet) as report:
        seen = check_pictures(work, n_workers, report)
    _caution_pictures(seen)
    if wanted.dry_run or output is None:
        _say_dry(work, recipe, as_json=quiet)
        return
    with progress_of("attacking", quiet=quiet) as report:
        manifest = build(
            sources,
            work,
            recipe,
            output,
            n_workers=n_workers,
            embed=wanted.embed,
            overwrite=wanted.overwrite,
            limit=wanted.limit,
            report=report,
        )
    _say(output, manifest, as_json=quiet)


def _caution_sources(sources: list[Source], asked: str, recipe: HeartRecipe) -> None:
    """Say what the sources hold that is not used, or not as it stands, and which attacks fit none of them."""
    from aloe_bench.heart.attacks import unfit, unworded
    from aloe_bench.heart.problems import sentences

    for source in sources:
        for sentence in (*sentences(source.left_over), *source.notes):
            click.echo(f"Caution: {source.name}: {sentence}.", err=True)
    if "all" not in (word.strip() for word in asked.split(",")):
        return
    if others := unfit({task for source in sources for task in source.tasks}):
        click.echo(
            f"Left out of --type all: {', '.join(others)} (needs boxes, and no source has [detection]).", err=True
        )
    if not recipe.parity and (others := unworded(recipe.templates)):
        label = recipe.templates.label
        click.echo(
            f"Left out of --type all: {', '.join(others)} (the template set {label} has no such table).", err=True
        )


def _caution_pictures(seen: SeenPictures) -> None:
    from aloe_bench.joins import first_ten

    twins = seen.twins()
    for ids in twins[:5]:
        click.echo(
            f"Caution: {' and '.join(ids)} are the same picture; give both one patient_id, or drop one.", err=True
        )
    if len(twins) > 5:
        click.echo(f"Caution: {len(twins) - 5} more pictures are listed under several ids.", err=True)
    for note, names in seen.notes().items():
        click.echo(f"Caution: pictures {note}: {len(names)} ({first_ten(names)}).", err=True)


def _preview(work: Work, recipe: HeartRecipe, items: int, output: Path | None, *, as_json: bool) -> None:
    from aloe_bench.heart.preview import write_sheet

    if output is None or output.suffix.lower() != ".png":
        raise click.UsageError(f"--preview writes one picture: give --output a name that ends in .png, not {output}.")
    n = write_sheet([(job, key) for job in work.jobs for key in job.keys], recipe, items, output)
    click.echo(json.dumps({"preview": str(output), "items": n}) if as_json else f"{output}: {n} items")


def _say_dry(work: Work, recipe: HeartRecipe, *, as_json: bool) -> None:
    counts = {"pictures": len(work.jobs), "items": work.items, "rows": 0}
    for job in work.jobs:
        for key in job.keys:
            fit = [attack for attack in recipe.attacks if attack.fits(key.task)]
            counts["rows"] += 1 + sum(len(recipe.variants_of(attack)) for attack in fit)
    if as_json:
        click.echo(json.dumps({"dry_run": True, **counts}))
        return
    click.echo(
        f"{counts['items']} items of {counts['pictures']} pictures; up to {counts['rows']} rows "
        "(fewer where a picture has no room for the boxes). Nothing was written."
    )


def _say(output: Path, manifest: dict[str, Any], *, as_json: bool) -> None:
    from aloe_bench.heart.measure.geometry import above_chance

    if as_json:
        click.echo(json.dumps({"output": str(output), **manifest}, ensure_ascii=False))
        return
    for sentence in above_chance(manifest["medoid_share"]):
        click.echo(f"Caution: the boxes give the answer away: {sentence}. See docs/heart.md.", err=True)
    many = f"{manifest['dropped']} {'entry' if manifest['dropped'] == 1 else 'entries'} left out or changed"
    dropped = f"; {many}, see {output / 'dropped.csv'}" if manifest["dropped"] else ""
    made = f"{manifest['rows']} rows of {manifest['items']} items, {manifest['pictures']} pictures"
    click.echo(f"{output}: {made}{dropped}")
    click.echo(f"Measure a model on it: aloe-bench run --model MODEL --tasks heart:{output}")
