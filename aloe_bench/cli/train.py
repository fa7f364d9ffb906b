"""`aloe-bench train-sft`: conversations and a base model in, a checkpoint folder out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aloe_bench.cli.common import FiniteRange, given
from aloe_bench.cli.verb import Verb

if TYPE_CHECKING:
    from aloe_bench.training.data.prepare import Prepared
    from aloe_bench.training.plan import TrainingPlan
    from aloe_bench.training.recipes import Recipe
    from aloe_bench.training.sft import Trained, TrainingJob

_Command = TypeVar("_Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
CLUSTERS = ("leonardo", "marenostrum5")
_SHARED = (
    click.option("--set", "settings", multiple=True, help="Change a setting of the recipe: --set learning_rate=1e-5."),
    click.option("--save-every", type=click.IntRange(1), default=500, show_default=True, help="Steps between saves."),
    click.option("--stop-after", type=FiniteRange(0), help="Save and stop after this many minutes."),
    click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read rows."),
    click.option("--plan", "only_plan", is_flag=True, help="Print the arithmetic of the recipe and train nothing."),
    click.option("--fresh", is_flag=True, help="Start over instead of resuming from the newest checkpoint."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON only."),
)


@dataclass(frozen=True)
class TrainOptions:
    """The options that both stages have, by their names on the command line."""

    model: Path | None
    output: Path | None
    recipe: str | None
    settings: tuple[str, ...]
    save_every: int
    stop_after: float | None
    workers: int
    only_plan: bool
    fresh: bool
    as_json: bool


@dataclass(frozen=True)
class SftOptions(TrainOptions):
    """The options of `train-sft`."""

    data: Path | None
    write_cluster: Path | None
    cluster: str


def shared(command: _Command) -> _Command:
    """Give `command` the options that both stages have."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


@click.command(
    "train-sft",
    cls=Verb,
    examples=(
        "aloe-bench train-sft --model PATH --data conversations --output tuned",
        "aloe-bench train-sft --model PATH --data conversations --output tuned --write-cluster job",
    ),
)
@click.option("--model", type=PATH, help="Checkpoint folder to start from.")
@click.option("--data", type=PATH, help="Folder of conversations (docs/training.md).")
@click.option("--output", type=PATH, help="Where the trained checkpoint goes.")
@click.option("--recipe", default="aloe-vision-7b", show_default=True, help="A bundled recipe, or a TOML file.")
@click.option("--write-cluster", type=PATH, help="Write sbatch, accelerate and ZeRO-3 files here; train nothing.")
@click.option("--cluster", type=click.Choice(CLUSTERS), default=CLUSTERS[0], show_default=True)
@shared
def train_sft(**options: Any) -> None:
    """Fine-tune a checkpoint on conversations; run again to resume."""
    _train(SftOptions(**options))


def _train(wanted: SftOptions) -> None:
    from aloe_bench.training.recipes import changed, load_recipe

    recipe = changed(load_recipe(given(wanted.recipe, "recipe")), wanted.settings)
    if wanted.fresh and (wanted.write_cluster or int(os.environ.get("WORLD_SIZE", "1")) > 1):
        raise click.UsageError(
            "--fresh would start over in every process and with every submission. Remove the folder of --output, or "
            "choose another."
        )
    if wanted.only_plan or wanted.write_cluster:
        print_plan(recipe, wanted)
        return
    job = job_of(wanted, recipe, given(wanted.data, "data"), "sft")
    show_trained(run_job(job, quiet=wanted.as_json), wanted.as_json)


def job_of(wanted: TrainOptions, recipe: Recipe, data: Path, stage: str) -> TrainingJob:
    """Return the job that the options ask for."""
    from aloe_bench.training.sft import TrainingJob

    return TrainingJob(
        model=given(wanted.model, "model"),
        data=data,
        output=given(wanted.output, "output"),
        recipe=recipe,
        stage=stage,
        fresh=wanted.fresh,
        save_every=wanted.save_every,
        stop_after=wanted.stop_after,
        workers=wanted.workers,
    )


def print_plan(recipe: Recipe, wanted: SftOptions) -> None:
    """Print the plan, and write the job files if asked to; nothing that is there is removed.

    The rows of --data are counted for --plan, and wherever the recipe names no number of them.
    """
    from aloe_bench.training.cluster import write_cluster
    from aloe_bench.training.recipes import clusters

    prepared = None
    if wanted.data is not None and (wanted.only_plan or recipe.samples is None):
        from aloe_bench.training import sft

        job = replace(job_of(wanted, recipe, wanted.data, "sft"), fresh=False)
        encoder = sft.check_base(job)
        sft.claim_output(job)
        prepared = sft.prepare_rows(job, encoder)
    planned = checked_plan(recipe, wanted.cluster, prepared.n if prepared else None)
    written: list[Path] = []
    if wanted.write_cluster:
        job_of(wanted, recipe, given(wanted.data, "data"), "sft")  # its command will need all of these
        written = write_cluster(wanted.write_cluster, planned, clusters()[wanted.cluster], _command_again(sys.argv[1:]))
    show_plan(planned, wanted.as_json, prepared, written)


def checked_plan(recipe: Recipe, cluster: str, conversations: int | None = None) -> TrainingPlan:
    """Return the arithmetic of `recipe`; raises UsageError if its model does not fit the cluster's GPUs."""
    from aloe_bench.training.plan import check_fits, plan
    from aloe_bench.training.recipes import clusters

    planned = plan(recipe, conversations)
    if recipe.zero_stage == 3:
        check_fits(planned, clusters()[cluster])
    return planned


def show_plan(
    planned: TrainingPlan, as_json: bool, prepared: Prepared | None = None, written: Sequence[Path] = ()
) -> None:
    """Print the plan, what was counted of the data, and the files that were written."""
    from aloe_bench.training.plan import describe

    if as_json:
        click.echo(json.dumps(planned.as_json() | {"files": [str(path) for path in written]}, indent=2))
        return
    lines = describe(planned)
    if prepared:
        dropped = ", ".join(f"{n} {reason}" for reason, n in prepared.dropped.items()) or "none"
        lines.append(("counted", f"{prepared.n:,} conversations, {prepared.tokens:,} tokens, {prepared.loss_tokens:,} "
                                 f"with loss, longest {prepared.longest}; left out: {dropped}"))  # fmt: skip
    for what, figure in lines:
        click.echo(f"{what + ':':<24}{figure}")
    for path in written:
        click.echo(str(path))


def _command_again(argv: Sequence[str]) -> list[str]:
    """Return the command line without what makes it a plan."""
    words, skip = [], False
    for word in argv:
        name = word.partition("=")[0].replace("_", "-")
        if skip or name in ("--plan", "--json", "--write-cluster", "--cluster"):
            skip = not skip and name in ("--write-cluster", "--cluster") and "=" not in word
            continue
        words.append(word)
    return words


def run_job(job: TrainingJob, *, quiet: bool) -> Trained:
    """Train `job` under a progress line; a stop that saved its state ends the command with 130."""
    from aloe_bench.cli.common import progress_of
    from aloe_bench.training.sft import Stopped, train

    try:
        with progress_of(f"train-{job.stage}", quiet=quiet) as report:
            return train(job, report)
    except Stopped as stopped:
        click.echo(f"{stopped}.", err=True)
        raise click.Abort from stopped


def show_trained(trained: Trained, as_json: bool, measured: Mapping[str, dict[str, Any]] | None = None) -> None:
    """Print what came of the job, and the before-and-after tables if it was measured."""
    if os.environ.get("RANK", "0") != "0":
        return
    facts = {
        "output": str(trained.output),
        "steps": trained.plan.steps,
        "conversations": trained.prepared.n,
        "dropped": trained.prepared.dropped,
        "left_over": trained.plan.left_over,
        "first_loss": trained.losses[0],
        "last_loss": trained.losses[-1],
        "data_sha256": trained.prepared.sha256,
        "resumed_from": trained.resumed_from,
    }
    if as_json:
        click.echo(json.dumps(facts | {"measured": measured or {}}, indent=2))
        return
    went_on = f", resumed from step {trained.resumed_from}" if trained.resumed_from else ""
    click.echo(
        f"{trained.output}: {trained.plan.steps} steps on {trained.prepared.n} conversations{went_on}; "
        f"loss {trained.losses[0]:.3f} to {trained.losses[-1]:.3f}. The model card is {trained.output / 'README.md'}."
    )
    for reason, count in trained.prepared.dropped.items():
        click.echo(f"  left out: {count} {reason}")
    from aloe_bench.cli.compare import show

    for title, result in (measured or {}).items():
        click.echo(f"\n{title}")
        show(result)
