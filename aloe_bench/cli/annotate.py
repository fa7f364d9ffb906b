"""`aloe-bench annotate`: the web page on which experts rate a run's open answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aloe_bench.cli.common import RunFolder
from aloe_bench.cli.rating_page import per_item_of, rater_names, serve_page
from aloe_bench.cli.verb import Verb
from aloe_bench.errors import need

if TYPE_CHECKING:
    from aloe_bench.judges.experts.item import RatedItem

FILE = "annotations.sqlite"


@dataclass(frozen=True)
class AnnotateOptions:
    """The argument and options of `annotate`, by their names on the command line."""

    run: Path
    raters: str | None
    per_item: str | None
    data_root: Path | None
    host: str
    port: int
    seed: int | None
    sample: int | None
    csv_file: Path | None


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench annotate runs/m/careqa_vision_open --raters ana,bo,cy --sample 105",
        "aloe-bench annotate runs/m/careqa_vision_open --export ratings.csv",
    ),
)
@click.argument("run", type=RunFolder())
@click.option("--raters", help="Comma-separated names; kept from the first start on.  [default: a,b,c,d]")
@click.option("--per-item", help="Raters an item gets: N, or LEAST-MOST; kept from then on.  [default: 2-4]")
@click.option(
    "--data-root", type=click.Path(path_type=Path), help="Where the data are.  [default: where the run's were]"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--seed", type=int, help="Of who rates what, and in which order; kept from then on.  [default: 0]")
@click.option("--sample", type=click.IntRange(1), help="Show N answers drawn at random; kept from the first start on.")
@click.option("--export", "csv_file", type=click.Path(path_type=Path), help="Write the ratings as CSV (- = stdout).")
def annotate(**options: Any) -> None:
    """Serve the open answers of RUN to experts, each by a link of their own; or export what they said.

    Start it again, with or without --raters, --per-item and --seed, to resume: links and ratings stay in
    RUN/annotations.sqlite.
    """
    from aloe_bench.evaluation.runlog import read_header
    from aloe_bench.judges.experts.item import ANSWERS
    from aloe_bench.judges.experts.store import Store

    wanted = AnnotateOptions(**options)
    header = read_header(wanted.run)
    if wanted.csv_file is not None:
        _export(wanted.run, header, wanted.csv_file)
        return
    need("starlette", "uvicorn")
    if wanted.per_item is not None:
        per_item_of(wanted.per_item)
    names = rater_names(wanted.raters)
    items = _items(wanted.run, header, wanted.data_root or _data_root(header))
    items = _drawn(wanted.run, items, wanted.sample, wanted.seed)
    store = Store(wanted.run / FILE)
    try:
        asked = {"per_item": wanted.per_item, "seed": wanted.seed}
        design = {"per_item": "2-4", "seed": "0"} | store.design()
        design |= {key: str(value) for key, value in asked.items() if value is not None}
        per_item = per_item_of(design["per_item"])
        raters = names or [rater.name for rater in store.raters()] or ["a", "b", "c", "d"]
        if len(raters) < per_item.least and not store.raters():
            raise click.UsageError(f"--per-item {design['per_item']} needs {per_item.least} raters or more.")
        store.set_up(_study(header), items, raters, per_item, int(design["seed"]))
        after = "`aloe-bench annotate RUN --export FILE.csv` writes what was said."
        serve_page(store, items, ANSWERS, wanted.host, wanted.port, after)
    finally:
        store.close()


def _data_root(header: dict[str, Any]) -> Path:
    """Return where the run's command looked for data."""
    asked = (header.get("asked") or {}).get("options") or {}
    return Path(str(asked.get("data_root") or "data"))


def _items(run: Path, header: dict[str, Any], data_root: Path) -> list[RatedItem]:
    """Return the open answers of `run` that can be graded; question and images come from the data it was made on."""
    from aloe_bench import registry
    from aloe_bench.answers.score import gradable_answer
    from aloe_bench.errors import DataError, RunMismatchError
    from aloe_bench.evaluation.plan import Settings, load_plan
    from aloe_bench.evaluation.runlog import read_records
    from aloe_bench.judges.experts.item import RatedItem

    records = [record for record in read_records(run) if record.kind == "open"]
    # As the judges see it, without reasoning: raters of one study must have read the same text.
    answers = {record.sample_id: gradable_answer(record.prediction) for record in records}
    answered = [record for record in records if answers[record.sample_id]]
    if not answered:
        raise DataError(
            f"{run}: no answered open question; experts rate a run of an open task such as careqa_vision_open."
        )
    task = registry.task_of_run(header)
    plan = load_plan(task, data_root, Settings(allow_partial=True))
    for what, now, then in (
        ("data_sha256", plan.data_sha256, header["task"]["data_sha256"]),
        ("version", task.version, header["task"]["version"]),
    ):
        if now != then:
            raise RunMismatchError(
                f"{run}: {what} of {task.name} was {then}, but {data_root} gives {now}. "
                "Pass the --data-root that the run was made on."
            )
    samples = {sample.id: sample for _, sample in plan.samples}
    if len(answered) < len(records):
        n_left = len(records) - len(answered)
        click.echo(
            f"{n_left} replies that failed or were filtered, cut or empty are left out, as for judges.", err=True
        )
    return [
        RatedItem(record.sample_id, sample.question, sample.images, sample.target, answers[record.sample_id] or "")
        for record in answered
        for sample in (samples[record.sample_id],)
    ]


def _drawn(run: Path, items: list[RatedItem], size: int | None, seed: int | None) -> list[RatedItem]:
    """Return the items that are rated: those of the recorded draw, which is made now if a size is given; else all."""
    from aloe_bench.judges.experts.sample import read_draw, recorded_draw

    if size is not None and (run / FILE).exists() and read_draw(run) is None:
        raise click.UsageError(f"--sample: {run / FILE} has a study of all answers. Move it away to begin another.")
    drawn = recorded_draw(run, [item.id for item in items], size, seed)
    if drawn is None:
        return items
    click.echo(f"{len(drawn.items)} of {drawn.n_answers} answers, drawn at random with seed {drawn.seed}.", err=True)
    chosen = set(drawn.items)
    return [item for item in items if item.id in chosen]


def _study(header: dict[str, Any]) -> dict[str, str]:
    return {"run": header["run_id"], "data": header["task"]["data_sha256"]}


def _export(run: Path, header: dict[str, Any], csv_file: Path) -> None:
    from aloe_bench.answers.score import open_answer
    from aloe_bench.evaluation.runlog import read_records
    from aloe_bench.files import write_atomic
    from aloe_bench.joins import first_ten, join
    from aloe_bench.judges.experts.export import to_csv
    from aloe_bench.judges.experts.store import Store

    store = Store(run / FILE, create=False)
    try:
        store.refuse_other(_study(header))
        ratings = store.ratings()
    finally:
        store.close()
    answers = {record.sample_id: open_answer(record.prediction.text or "") or "" for record in read_records(run)}
    if lost := join([rating.item for rating in ratings], answers).left_only:
        many = f"{len(lost)} rated item{' is' if len(lost) == 1 else 's are'} not in the run"
        click.echo(f"Caution: {many}: {first_ten(lost)}", err=True)
    text = to_csv(ratings, answers)
    if str(csv_file) == "-":
        click.echo(text, nl=False)
        return
    write_atomic(csv_file, text)
    n_items, n_raters = len({r.item for r in ratings}), len({r.rater for r in ratings})
    click.echo(f"{csv_file}: {len(ratings)} ratings of {n_items} items by {n_raters} raters")
