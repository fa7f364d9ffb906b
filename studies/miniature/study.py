"""Three bases, three AR seeds each, and the controls: `python -m studies.miniature.study FOLDER`.

Every arm leaves <arm>.json, item by item, and is not done again; killed, it resumes where it was.
`--render` makes the page of what is there. Nothing is picked: all arms begun are shown.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from aloe_bench.core import Task
from aloe_bench.errors import AloeError
from aloe_bench.files import write_atomic, write_json
from aloe_bench.miniature.derived import misled_task, reading_task
from aloe_bench.miniature.loop import BASE, EVALUATION, TRAINING, Lesson, evaluation_table, train_robust
from aloe_bench.miniature.measure import Answers, asker
from studies.miniature.base import train_base

log = logging.getLogger(__name__)

# 7 modalities x 88 pictures, half of each kind of question: 308 items per cell.
TEST_PICTURES = 88
AR_PICTURES = 640
# Items whose options are scored one by one, which takes fifteen times as long as asking.
SCORED_ITEMS = 100


@dataclass(frozen=True, slots=True)
class StudyArm:
    """One checkpoint of the study: a base, or what a lesson made of it."""

    base: int
    own_words: bool = False
    lesson: Lesson | None = None

    @property
    def base_name(self) -> str:
        """The name of the base it comes from."""
        return f"base{self.base}" + ("-own-words" if self.own_words else "")

    @property
    def name(self) -> str:
        """The arm's name, also of its files."""
        if self.lesson is None:
            return self.base_name
        kind = "control" if self.lesson.clean_only else "ar" if self.lesson.attacks == "all" else "ar-text-only"
        kind += "" if self.lesson.reading else "-no-reading"
        return f"{self.base_name}-{kind}{self.lesson.seed}"


def arms() -> Iterator[StudyArm]:
    """Yield the arms in the order in which they are worth having."""
    for base in (0, 1, 2):
        yield StudyArm(base)
        yield StudyArm(base, lesson=Lesson(AR_PICTURES, 0))
        yield StudyArm(base, lesson=Lesson(AR_PICTURES, 0, clean_only=True))
        if base == 0:
            yield StudyArm(base, lesson=Lesson(AR_PICTURES, 0, attacks="prompt,sycophancy"))
            yield StudyArm(base, lesson=Lesson(AR_PICTURES, 0, reading=False))
        yield from (StudyArm(base, lesson=Lesson(AR_PICTURES, seed)) for seed in (1, 2))
    yield StudyArm(0, own_words=True)
    yield StudyArm(0, own_words=True, lesson=Lesson(AR_PICTURES, 0, own_words=True))


def run_arm(folder: Path, evidence: Path, arm: StudyArm) -> Path:
    """Return <arm>.json in `evidence`, made in `folder` if it is not there."""
    result = evidence / f"{arm.name}.json"
    if result.is_file():
        return result
    started = time.process_time()
    words = "own" if arm.own_words else "shared"
    tables = {
        name: evaluation_table(folder / f"test-{words}-{name}", TEST_PICTURES, templates, arm.own_words)
        for name, templates in (("unseen", EVALUATION), ("seen", TRAINING))
    }
    base = _base(folder, arm)
    checkpoint = base
    if arm.lesson is not None:
        evaluation = [folder / f"test-{words}-unseen" / "heart"]
        checkpoint = train_robust(base, arm.lesson, folder / "trained" / arm.name, evaluation)
    asking = {name: asker(checkpoint, arm.name, folder / "runs" / name) for name in tables}
    measured = {
        "unseen": _answers(folder, asking["unseen"], tables["unseen"], restricted=True),
        "seen": _answers(folder, asking["seen"], tables["seen"], restricted=False),
    }
    facts = {
        "arm": arm.name,
        "base": arm.base_name,
        "checkpoint_sha256": asking["unseen"].model.fingerprint,
        "cpu_seconds": round(time.process_time() - started),
        "wordings": {name: answers.to_json() for name, answers in measured.items()},
    }
    write_json(result, facts)
    log.info("%s: %s CPU s", arm.name, facts["cpu_seconds"])
    return result


def _base(folder: Path, arm: StudyArm) -> Path:
    """Return the base of `arm`: the shipped one for seed 0, else trained below `folder`."""
    if arm.base == 0 and not arm.own_words and (BASE / "config.json").is_file():
        return BASE
    base = folder / "bases" / arm.base_name
    if not (base / "config.json").is_file():
        train_base(base, arm.base, own_words=arm.own_words)
    return base


def _answers(folder: Path, asking: Any, task: Task, *, restricted: bool) -> Answers:
    """Return clean and adversarial rows of `task`, answered; reading and option scores where `restricted` asks."""
    wanted = misled_task(task, folder)
    generated = asking.ask(wanted)
    if not restricted:
        return Answers.from_runs(generated)
    scored = asking.ask(misled_task(task, folder, SCORED_ITEMS), "logprob")
    return Answers.from_runs(generated, scored, asking.ask(reading_task(wanted, folder)))


def read_results(evidence: Path) -> dict[str, dict[str, Answers]]:
    """Return arm -> wordings ("unseen", "seen") -> answers, of all arms that are done."""
    found = {}
    for path in sorted(evidence.glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        found[facts["arm"]] = {name: Answers.from_json(value) for name, value in facts["wordings"].items()}
    return found


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--evidence", type=click.Path(path_type=Path), help="Where each arm's answers go.  [default: FOLDER/results]"
)
@click.option("--render", type=click.Path(path_type=Path), help="Write the page of all arms done so far to this file.")
@click.option("--first", type=click.IntRange(min=0), help="Do only so many of the arms, in their order.")
def main(folder: Path, evidence: Path | None, render: Path | None, first: int | None) -> None:
    """Run the arms of the study that FOLDER does not hold yet (an hour of one core and more), then render its page."""
    from studies.miniature.study_page import study_page

    results = evidence or folder / "results"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for arm in list(arms())[:first]:
            click.echo(run_arm(folder, results, arm))
        if render is not None:
            write_atomic(render, study_page(read_results(results)))
            click.echo(render)
    except AloeError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
