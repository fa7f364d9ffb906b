"""`aloe-bench data curate` and `data review`: exam questions with pictures to the files of CareQA-Vision."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aloe_bench.cli.common import progress_of
from aloe_bench.cli.mixture_score import asked_spec, asks_a_model
from aloe_bench.cli.rating_page import per_item_of, rater_names, serve_page
from aloe_bench.cli.verb import Verb
from aloe_bench.core import LETTERS
from aloe_bench.errors import UsageError, need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aloe_bench.judges.experts.item import RatedItem, RatingSheet
    from aloe_bench.tasks.careqa_vision.curate import DraftForm

PATH = click.Path(path_type=Path)
STORE = "reviews.sqlite"


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data curate mir.csv --model NAME --base-url http://127.0.0.1:8000/v1 --output curation",
        "aloe-bench data review curation --raters ana,bo",
    ),
    groups={"Who drafts": "model backend base-url api-key model-args batch-size"},
)
@click.argument("exam", type=PATH)
@asks_a_model
@click.option("--output", type=PATH, required=True, help="Folder for drafts and replies; run again to resume.")
@click.option("--language", default="Spanish", show_default=True, help="What the exam is written in.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def curate(exam: Path, output: Path, language: str, as_json: bool, **asked: Any) -> None:
    """Draft the questions of EXAM in English, as multiple choice and open, by a language model.

    EXAM is a table as mcq:FILE takes it, with columns year and category (Medicine, Nursing). Left out are questions
    that the model answers without their picture, and open forms that need their options. docs/curation.md
    """
    from aloe_bench.models.make import make_model
    from aloe_bench.tasks.careqa_vision.curate import counts, read_exam
    from aloe_bench.tasks.careqa_vision.curate import curate as drafted

    read_exam(exam)  # its faults are told before a model is loaded
    with progress_of("replies", quiet=as_json) as report:
        forms = drafted(exam, make_model(asked_spec(asked)), output, language, report)
    found = counts(forms)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for kind, each in found.items():
        name = "closed" if kind == "choice" else "open"
        out = "".join(f" - {n} {why}" for why, n in each.items() if why not in ("questions", "drafts"))
        click.echo(f"{name}: {each['questions']}{out} = {each['drafts']}")
    if any("no reply" in each for each in found.values()):
        click.echo("Calls without a reply are made again by the same command.", err=True)
    click.echo(f"Have them reviewed: aloe-bench data review {output} --raters a,b")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data review curation --raters ana,bo",
        "aloe-bench data review curation --write careqa",
    ),
    groups={"The page": "raters per-item host port seed", "The files": "write allow-partial"},
)
@click.argument("folder", type=PATH)
@click.option("--raters", help="Comma-separated names; kept from the first start on.  [default: a,b]")
@click.option("--per-item", help="Reviewers a draft gets: N, or LEAST-MOST; kept from then on.  [default: 2]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--seed", type=int, help="Of who reviews what, and in which order; kept from then on.  [default: 0]")
@click.option("--write", "output", type=PATH, help="Serve nothing: write what the reviewers let in to this folder.")
@click.option("--allow-partial", is_flag=True, help="Write even if drafts wait for a reviewer or a correction.")
def review(folder: Path, output: Path | None, allow_partial: bool, **page: Any) -> None:
    """Serve the drafts of FOLDER to reviewers, each by a link of their own; or write what they let in.

    What two reviewers call ambiguous is removed. FOLDER/corrections.csv (id, field, text) puts a draft right; a draft
    with other words is reviewed again.
    """
    from aloe_bench.judges.experts.store import Store
    from aloe_bench.tasks.careqa_vision.curate import FILE
    from aloe_bench.tasks.careqa_vision.curated import REVIEW_LABELS, read_drafts, write_curated

    forms = read_drafts(folder)
    items = {form.id: _item(form, folder) for form in forms if not form.reason}
    if output is not None:
        store = Store(folder / STORE, create=False, labels=tuple(REVIEW_LABELS))
        try:
            ratings = store.ratings()
        finally:
            store.close()
        names = {item.id: name for name, item in items.items()}
        labels: dict[str, list[str]] = defaultdict(list)
        for rating in ratings:
            if rating.item in names:  # what was said of earlier words does not count
                labels[names[rating.item]].append(rating.label)
        for kind, each in write_curated(folder, forms, labels, output, allow_partial).items():
            click.echo(f"{kind}: " + ", ".join(f"{n} {what}" for what, n in each.items()))
        click.echo(f"{output}: aloe-bench run --tasks careqa_vision_mcq --data-root {output} --allow-partial")
        return
    need("starlette", "uvicorn")
    if not items:
        raise UsageError(f"{folder}: no draft to review.")
    store = Store(folder / STORE, labels=tuple(REVIEW_LABELS))
    try:
        given = {"per_item": page["per_item"], "seed": page["seed"]}
        design = {"per_item": "2", "seed": "0"} | store.design()
        design |= {key: str(value) for key, value in given.items() if value is not None}
        study = {"exam": str(json.loads((folder / FILE).read_text(encoding="utf-8"))["sha256"])}
        raters = rater_names(page["raters"]) or [rater.name for rater in store.raters()] or ["a", "b"]
        per_item = per_item_of(design["per_item"])
        if len(raters) < per_item.least and not store.raters():
            raise UsageError(f"--per-item {design['per_item']} needs {per_item.least} reviewers or more.")
        store.set_up(study, list(items.values()), raters, per_item, int(design["seed"]))
        after = f"`aloe-bench data review {folder} --write FOLDER` writes what was let in."
        serve_page(store, list(items.values()), _sheet(), page["host"], page["port"], after)
    finally:
        store.close()


def _sheet() -> RatingSheet:
    from aloe_bench.judges.experts.item import RatingSheet
    from aloe_bench.tasks.careqa_vision.curated import REVIEW_LABELS

    return RatingSheet(
        title="Review questions", noun="draft", reference="In the exam", answer="In English",
        asked="This draft is", labels=REVIEW_LABELS,
        rule="What two reviewers call ambiguous is taken out of the data; so is what two find unfit.",
    )  # fmt: skip


def _item(form: DraftForm, folder: Path) -> RatedItem:
    """Return a draft as the page shows it; its name has the hash of all that, so that other words are another item."""
    from dataclasses import replace

    from aloe_bench.images import file_image
    from aloe_bench.judges.experts.item import RatedItem

    images = tuple(file_image(folder / name) for name in form.exam.images)
    original = _options(form.exam.wording.question, form.exam.wording.choices, form.exam.target)
    answer = _options("", form.choices, form.answer).strip() if form.choices else form.answer
    item = RatedItem(form.id, form.question, images, original, answer)
    return replace(item, id=f"{form.id}@{item.digest()[:8]}")


def _options(question: str, choices: Sequence[str], target: str) -> str:
    """Return a question with its options, the right one marked."""
    lines = [f"{x}. {text}{'  ✓' if x == target else ''}" for x, text in zip(LETTERS, choices, strict=False)]
    return "\n".join([question, *lines])


COMMANDS = (curate, review)
