"""The paper's headline result on a laptop: a base falls for misleading cues, AR on one modality repairs the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.core import Task
from aloe_bench.errors import DataError, UsageError
from aloe_bench.evaluation.finish import finish
from aloe_bench.files import write_atomic, write_json
from aloe_bench.heart.task import open_task
from aloe_bench.miniature.derived import describing_task, misled_task, read_once, reading_task
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
from aloe_bench.miniature.measure import Answers, Asker, asker
from aloe_bench.miniature.tables import ANALOGUE, LEGEND, before_and_after, numbers, percent
from aloe_bench.workers import Start

FULL = Size(test_pictures=32, ar_pictures=400, scored_items=60)
QUICK = Size(test_pictures=4, ar_pictures=24, scored_items=12)
JUDGES = Path(__file__).parent / "demo_judges.toml"
_DESCRIBED = 30
# (title, done, total, note)
Report = Callable[[str, int, int, str], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """What came of it, all below `output`: the folders of all runs, of those with open answers, of those on the table.

    The last two are pairs: the base's, and that of the trained checkpoint. `table` is the attacked table.
    """

    output: Path
    runs: tuple[Path, ...]
    open_runs: tuple[Path, ...]
    attacked_runs: tuple[Path, Path]
    table: Path
    before: Answers
    after: Answers
    trained: Path


def run_demo(output: Path, size: Size, seed: int, report: Report, start: Start, base: Path = BASE) -> Demo:
    """Evaluate the base, train AR on one modality, evaluate again; everything lies below the new folder `output`.

    By `start` AR is trained while the base is asked, and half of the questions after it. Every process has one thread:
    what comes of it is the same without one beside. `report` is copied to the other process.
    Raises UsageError if `output` holds something, DataError if the package lacks its base checkpoint.
    """
    if output.exists() and any(output.iterdir()):
        raise UsageError(f"{output} is not empty. Choose another --output, or remove it.")
    if not (base / "config.json").is_file():
        raise DataError(f"{base}: no base checkpoint. Train one: python -m studies.miniature.base FOLDER --seed 0")
    start(_ready_to_learn, None)  # while this process draws
    report("pictures of seven modalities", 0, 1, "")
    evaluation_table(output / "test", size.test_pictures)
    report("pictures of seven modalities", 1, 1, "")
    learnt = start(_learnt, _Learning(base, output, Lesson(size.ar_pictures, seed), report))
    first = _Questions(base, "miniature-base", output, report, size.scored_items)
    asked, more = _asked(first), _asked_more(first)
    trained = learnt()
    second = _Questions(trained, f"miniature-AR-{AR_MODALITY}", output, report, size.scored_items)
    later = start(_asked_more, second)
    asked_after, more_after = _asked(second), later()
    runs = (asked, more.scored, more.reading, asked_after, more_after.scored, more_after.reading)
    return Demo(
        output, runs, (more.opened, more_after.opened), (asked, asked_after), output / "test" / "heart",
        Answers.from_runs(*runs[:3]), Answers.from_runs(*runs[3:]), trained,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Learning:
    """What `_learnt` needs, by the name of its field."""

    base: Path
    output: Path
    lesson: Lesson
    report: Report


def _ready_to_learn(_: None) -> None:
    """Load what training needs, which takes as long as drawing the pictures."""
    import aloe_bench.training.trainer  # noqa: F401 (to be there when it is needed)

    _one_thread()


def _learnt(wanted: _Learning) -> Path:
    """Return the checkpoint that AR training makes of the base."""
    _one_thread()
    title = f"AR on {AR_MODALITY} alone"
    wanted.report(title, 0, 1, "")
    return train_robust(
        wanted.base, wanted.lesson, wanted.output / "ar", [wanted.output / "test" / "heart"],
        lambda done, total, note: wanted.report(title, done, total, note),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Questions:
    """Who is asked, and how much: a checkpoint, by the name that its runs bear."""

    checkpoint: Path
    name: str
    output: Path
    report: Report
    scored_items: int

    def asker(self) -> Asker:
        """Return what asks this checkpoint, loaded."""
        _one_thread()
        return asker(self.checkpoint, self.name, self.output / "runs")

    def table(self) -> Task:
        """Return the attacked table as a task."""
        return open_task(str(self.output / "test" / "heart"))

    def tell(self, what: str) -> Callable[[int, int], None]:
        """Return what reports how much of a run is done."""
        return lambda done, total: self.report(f"{self.name}: {what}", done, total, "")


@dataclass(frozen=True, slots=True)
class _More:
    """Run folders: options scored of a part of the items, reading questions, open questions."""

    scored: Path
    reading: Path
    opened: Path


def _asked(who: _Questions) -> Path:
    """Return the run in which every question of the attacked table is asked."""
    folder = who.asker().ask(who.table(), report=who.tell("questions"))
    finish(folder)
    return folder


def _asked_more(who: _Questions) -> _More:
    """Return the runs that tell what else a checkpoint can do."""
    task, asking = read_once(who.table(), who.output), who.asker()
    misled = misled_task(task, who.output)
    every = max(1, sum(sample.cue is None for sample in misled.samples) // _DESCRIBED)
    runs = _More(
        asking.ask(misled_task(task, who.output, who.scored_items), "logprob", who.tell("options scored")),
        asking.ask(reading_task(misled, who.output), report=who.tell("reading")),
        asking.ask(describing_task(task, who.output, every), report=who.tell("open questions")),
    )
    finish(runs.scored)
    finish(runs.reading)
    return runs


def _one_thread() -> None:
    """Keep torch to one thread: two processes have two, and sums come out the same on any machine of one kind."""
    import torch

    torch.set_num_threads(1)


def what_was_done(demo: Demo, size: Size) -> str:
    """Return in a paragraph who was asked what, and what AR learnt from."""
    few = "**A quick run: too few questions for its figures to mean anything.** " if size == QUICK else ""
    return (
        f"{few}The base was asked about {len(UNSEEN)} modalities ({', '.join(UNSEEN)}; {size.test_pictures} pictures "
        f"each), then fine-tuned on {data_facts(demo.output / 'ar')['n']} attacked questions about {AR_MODALITY} "
        "pictures, then asked again. AR saw none of these modalities, pictures (checked by perceptual hash) or cue "
        "sentences (another template set)."
    )


def write_summary(demo: Demo, size: Size, jury: str, cost: str) -> Path:
    """Write summary.md and summary.json into the demonstration's folder and return the former."""
    true = "; ".join(_true_cues(demo, task) for task in ("classification", "detection"))
    text = f"""# One modality taught, seven asked about: the demonstration

{ANALOGUE}

{what_was_done(demo, size)}

{before_and_after(demo.before, demo.after)}

{LEGEND}

Accuracy under cues that are right: {true}.

## Open answers

{jury}

## Cost

{cost}
"""
    facts = {"cells": numbers(demo.before, demo.after), "ar_data": data_facts(demo.output / "ar")}
    write_json(demo.output / "summary.json", facts)
    write_atomic(demo.output / "summary.md", text)
    return demo.output / "summary.md"


def _true_cues(demo: Demo, task: str) -> str:
    """Return the accuracy under assistive prompt captions before and after."""
    values = [a.accuracy(task, "prompt", "assistive").value for a in (demo.before, demo.after)]
    return f"{task} under a true caption in the prompt {' -> '.join(percent(v) for v in values)} %"
