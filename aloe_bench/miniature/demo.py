"""The paper's headline result on a laptop: a base falls for misleading cues, AR on one modality repairs the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.errors import DataError, UsageError
from aloe_bench.files import write_atomic, write_json
from aloe_bench.miniature.derived import describing_task, misled_task, reading_task
from aloe_bench.miniature.loop import (
    AR_MODALITY,
    BASE,
    UNSEEN,
    Lesson,
    Size,
    data_facts,
    evaluation_table,
    train_robust,
)
from aloe_bench.miniature.measure import Answers, asker
from aloe_bench.miniature.tables import ANALOGUE, LEGEND, before_and_after, numbers, percent

FULL = Size(test_pictures=44, ar_pictures=640)
QUICK = Size(test_pictures=4, ar_pictures=24)
JUDGES = Path(__file__).parent / "demo_judges.toml"
_DESCRIBED = 30
# Items whose options are scored one by one, which takes fifteen times as long as asking.
SCORED_ITEMS = 60
# (title, done, total, note)
Report = Callable[[str, int, int, str], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """What came of it: the folders of all runs, of those with open answers, and of those on the attacked table.

    The last two are pairs: the base's, and that of the trained checkpoint. `table` is the attacked table.
    """

    runs: tuple[Path, ...]
    open_runs: tuple[Path, ...]
    attacked_runs: tuple[Path, Path]
    table: Path
    before: Answers
    after: Answers
    trained: Path


def run_demo(output: Path, size: Size, seed: int, report: Report, base: Path = BASE) -> Demo:
    """Evaluate the base, train AR on one modality, evaluate again; everything lies below the new folder `output`.

    Raises UsageError if `output` holds something, DataError if the package lacks its base checkpoint.
    """
    if output.exists() and any(output.iterdir()):
        raise UsageError(f"{output} is not empty. Choose another --output, or remove it.")
    if not (base / "config.json").is_file():
        raise DataError(f"{base}: no base checkpoint. Train one: python -m studies.miniature.base FOLDER --seed 0")
    report("pictures of seven modalities", 0, 1, "")
    task = evaluation_table(output / "test", size.test_pictures)
    report("pictures of seven modalities", 1, 1, "")
    lesson = Lesson(size.ar_pictures, seed)
    before, runs, opened = _asked(base, "miniature-base", output, report)
    trained = train_robust(
        base, lesson, output / "ar", [output / "test" / "heart"],
        lambda done, total, note: report(f"AR on {AR_MODALITY} alone", done, total, note),
    )  # fmt: skip
    after, more, opened_after = _asked(trained, f"miniature-AR-{AR_MODALITY}", output, report)
    assert task.expected_rows
    table = output / "test" / "heart"
    return Demo((*runs, *more), (opened, opened_after), (runs[0], more[0]), table, before, after, trained)


def _asked(checkpoint: Path, name: str, output: Path, report: Report) -> tuple[Answers, list[Path], Path]:
    """Return what `checkpoint` answers, the folders of its closed runs, and that of its open one."""
    from aloe_bench.heart.task import open_task

    task = open_task(str(output / "test" / "heart"))
    asking = asker(checkpoint, name, output / "runs")

    def tell(what: str) -> Callable[[int, int], None]:
        return lambda done, total: report(f"{name}: {what}", done, total, "")

    generated = asking.ask(task, report=tell("questions"))
    restricted = asking.ask(misled_task(task, output, SCORED_ITEMS), "logprob", tell("options scored"))
    reading = asking.ask(reading_task(misled_task(task, output), output), report=tell("reading"))
    every = max(1, len({s.id for s in task.load(output) if s.cue is None}) // _DESCRIBED)
    opened = asking.ask(describing_task(task, output, every), report=tell("open questions"))
    return Answers.from_runs(generated, restricted, reading), [generated, restricted, reading], opened


def write_summary(demo: Demo, output: Path, size: Size, jury: str, cost: str) -> Path:
    """Write summary.md and summary.json into `output` and return the former."""
    table = before_and_after(demo.before, demo.after)
    facts = data_facts(output / "ar")
    true = "; ".join(_true_cues(demo, task) for task in ("classification", "detection"))
    few = "\n**A quick run: too few questions for its figures to mean anything.**\n" if size == QUICK else ""
    text = f"""# One modality taught, seven asked about: the demonstration
{few}
{ANALOGUE}

The base was asked about {len(UNSEEN)} modalities ({", ".join(UNSEEN)}; {size.test_pictures} pictures each), then
fine-tuned on {facts["n"]} attacked questions about {AR_MODALITY} pictures, then asked again. AR saw none of these
modalities, pictures (checked by perceptual hash) or cue sentences (another template set).

{table}

{LEGEND}

Accuracy under cues that are right: {true}.

## Open answers

{jury}

## Cost

{cost}
"""
    write_json(output / "summary.json", {"cells": numbers(demo.before, demo.after), "ar_data": facts})
    write_atomic(output / "summary.md", text)
    return output / "summary.md"


def _true_cues(demo: Demo, task: str) -> str:
    """Return the accuracy under assistive prompt captions before and after."""
    values = [a.accuracy(task, "prompt", "assistive").value for a in (demo.before, demo.after)]
    return f"{task} under a true caption in the prompt {' -> '.join(percent(v) for v in values)} %"


def read_summary(output: Path) -> dict[str, object]:
    """Return summary.json of a finished demonstration."""
    summary: dict[str, object] = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    return summary
