"""Whether a filtered, balanced mixture trains the miniature better than the raw one, by `data ablate` and `compare`.

`python -m studies.miniature.mixture FOLDER --seeds 3` makes three sources of X-ray-like pictures, builds the variants
of their mixture, trains the shipped base on each and asks all of them the same test questions; it resumes.

    labels    the right answer; 40 of its pictures are the test's
    crowd     the right answer in 55 % of rows, in the others the wrong one
    reports   a long description whose end says which it is: most of the loss tokens

The filter drops rows of the crowd whose answer the base itself finds unlikely (perplexity over 2); the balance gives
every source the same number of loss tokens.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from aloe_bench.boards.compare_table import compare_table
from aloe_bench.evaluation.runlog import read_run
from aloe_bench.files import write_json
from aloe_bench.miniature.images import picture
from aloe_bench.miniature.loop import BASE
from aloe_bench.miniature.source import SHARED_WORDS
from aloe_bench.mixture.ablate import TABLE, ablate
from aloe_bench.mixture.build import load_recipe
from aloe_bench.mixture.leaked import leaked_scores
from aloe_bench.mixture.pool import Pool
from aloe_bench.models.make import ModelSpec
from aloe_bench.seeds import rng_for
from aloe_bench.training.recipes import load_recipe as training_recipe
from aloe_bench.training.sft import TrainingJob, train

ROWS, TEST, LEAKED = 480, 300, 40
WRONG = 0.45
EPOCHS, BATCH = 1, 32
QUESTION = "What does this image show?"
ASKED = "{question}\nA. {a}\nB. {b}\nAnswer with the text of the correct option only."
REPORT = (
    "This image was made for a test. It contains a lesion or it does not contain a lesion, and what is below in the "
    "text says which of both options is correct for this image: {word}"
)
_MAPPING = """\
name = "{name}"
files = ["rows.jsonl"]
modality = "multimodal"
domain = "medical"
licence = "CC0-1.0"
[fields]
id = "id"
[turns]
layout = "pair"
question = "question"
answer = "answer"
[pictures]
field = "image"
folders = ["images"]
"""
_RECIPE = """\
name = "miniature"
[[source]]
use = "labels/mapping.toml"
[[source]]
use = "crowd/mapping.toml"
[[source]]
use = "reports/mapping.toml"
[clean]
model = "{base}"
[leakage]
against = ["mcq:{test}"]
[perplexity]
model = "{base}"
[filter]
max_perplexity = {{ crowd = 2.0 }}
[rebalance]
shares = {{ labels = 1, crowd = 1, reports = 1 }}
[export]
formats = ["train-sft"]
"""


def draw(folder: Path, name: str, number: int) -> str:
    """Draw a picture of the series `name` into `folder`; return the word for it. Every second one is abnormal."""
    kind = ("normal", "lesion")[number % 2]
    picture("xray", kind, ("mixture study", name, number)).image().save(folder / f"{name}-{number}.png")
    return SHARED_WORDS[number % 2]


def write_sources(folder: Path) -> Path:
    """Write the sources, the test and the recipe of their mixture; return the recipe."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    test = []
    (temporary / "test" / "images").mkdir(parents=True)
    for i in range(TEST):
        word = draw(temporary / "test" / "images", "test", i)
        row = {"id": f"t{i}", "image": f"images/test-{i}.png", "question": QUESTION, "options": list(SHARED_WORDS)}
        test.append({**row, "answer": "AB"[SHARED_WORDS.index(word)]})
    _write(temporary / "test" / "test.jsonl", test)
    for name in ("labels", "crowd", "reports"):
        images = temporary / name / "images"
        images.mkdir(parents=True)
        rows = []
        for i in range(ROWS):
            rng = rng_for("mixture study", name, i)
            if name == "labels" and i < LEAKED:
                shutil.copy(temporary / "test" / "images" / f"test-{i}.png", images / f"{name}-{i}.png")
                word = SHARED_WORDS[i % 2]
            else:
                word = draw(images, name, i)
            if name == "crowd" and rng.random() < WRONG:
                word = SHARED_WORDS[1 - SHARED_WORDS.index(word)]
            a, b = rng.sample(SHARED_WORDS, 2)
            asked = ASKED.format(question=QUESTION, a=a, b=b)
            if name == "reports":
                asked, word = "Describe this image briefly.", REPORT.format(word=word)
            rows.append({"id": f"{i}", "image": f"{name}-{i}.png", "question": asked, "answer": word})
        _write(temporary / name / "rows.jsonl", rows)
        (temporary / name / "mapping.toml").write_text(_MAPPING.format(name=name), encoding="utf-8")
    (temporary / "mixture.toml").write_text(
        _RECIPE.format(base=BASE, test=folder.resolve() / "test" / "test.jsonl"), encoding="utf-8"
    )
    os.replace(temporary, folder)
    return folder / "mixture.toml"


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def over_orders(runs: Mapping[str, Sequence[Path]]) -> dict[str, dict[str, Any]]:
    """Return by variant the mean score over its runs, one an order of rows, and its difference from the full mixture's.

    A picture's score is its mean over the runs; the 95 % interval of the difference is Student's over pictures, paired.
    It holds for these trained models: what another order of rows would do is only in the spread of the scores.
    """
    import numpy as np
    from scipy.stats import t

    def by_picture(some: Sequence[Path]) -> Any:
        read = [{record.sample_id: record.score.value for record in read_run(run)[1]} for run in some]
        names = sorted(read[0])
        return np.mean([[float(each[name] or 0.0) for name in names] for each in read], axis=0)

    full, found = by_picture(runs["full"]), {}
    for name, some in runs.items():
        own = by_picture(some)
        apart = own - full
        half = float(t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / len(apart) ** 0.5)
        mean = float(apart.mean())
        found[name] = {"mean": float(own.mean()), "difference": mean, "interval": [mean - half, mean + half]}
    return found


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Orders of the rows in training.")
def main(folder: Path, seeds: int) -> None:
    """Train the miniature on every variant of a mixture in FOLDER and compare what comes of it."""
    import aloe_bench

    recipe = folder / "in" / "mixture.toml"
    if not recipe.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_sources(folder / "in")
    built = ablate(load_recipe(recipe), folder / "variants", EPOCHS, BATCH, "largest")
    task = f"mcq:{folder / 'in' / 'test' / 'test.jsonl'}"
    scores: dict[str, list[float]] = {}
    runs: list[Path] = []
    of_all: dict[str, list[Path]] = {}
    jobs = [("base", 0, BASE)]
    for each in built:
        for seed in range(seeds):
            job = TrainingJob(
                BASE, folder / "variants" / each.name / "mixture", folder / "trained" / f"{each.name}-{seed}",
                replace(training_recipe("miniature"), seed=seed, epochs=each.epochs),
            )  # fmt: skip
            train(job)
            jobs.append((each.name, seed, job.output))
    for name, seed, checkpoint in jobs:
        spec = ModelSpec(str(checkpoint), name=f"{name}-{seed}")
        run = aloe_bench.evaluate(spec, task, answer="text", output=folder / "runs")
        if (value := run.cells["overall"].value) is None:
            raise click.ClickException(f"{run.folder}: calls failed, so it has no score. Run this again.")
        scores.setdefault(name, []).append(value)
        runs += [run.folder] if seed == 0 else []
        of_all.setdefault(name, []).append(run.folder)
        click.echo(f"{name}-{seed}: {scores[name][-1]:.3f}")
    pool = Pool(folder / "variants" / "full")
    leaked = [asdict(leaked_scores(pool, run, 0)) for run in runs]
    table = json.loads((folder / "variants" / TABLE).read_text(encoding="utf-8"))
    changes = compare_table([*runs[1:], runs[0]])["rows"]  # against the full mixture, the base last
    facts = {"scores": scores, "over_orders": over_orders(of_all), "leaked": leaked, "changes": changes}
    write_json(folder / "study.json", {**facts, "variants": table})


if __name__ == "__main__":
    main()
