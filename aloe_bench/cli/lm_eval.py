"""`aloe-bench lm-eval`: lm-eval's own command with our tasks and our model in it.

The functions named in the YAML files live here too, as they read the environment: lm-eval's command has no other door
for a data folder.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from aloe_bench.errors import DataError, UsageError

ALLOW_PARTIAL = "ALOE_BENCH_ALLOW_PARTIAL"
JUDGES = "ALOE_BENCH_JUDGES"
VERDICTS = "ALOE_BENCH_VERDICTS"
DATA_ROOT = Path("data")


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def lm_eval(words: tuple[str, ...]) -> None:
    """Pass WORDS on to lm-eval (`lm-eval run ...`, `lm-eval ls ...`), with our tasks and --model aloe-bench known."""
    from aloe_bench.bridges.lmeval.launch import launch

    launch(list(words))


def documents(
    *, task: str, folder_from: str, attack: str | None = None, judges_from: str | None = None, **_: Any
) -> dict[str, Any]:
    """Return the documents of a task from the folder that the variable `folder_from` names.

    `task` is registered, or a kind of task that is itself a folder of the user's (heart), of which `attack` picks rows.
    A judges.toml named by the variable `judges_from` is read here, so that a wrong one is refused at the start.
    """
    from aloe_bench import registry
    from aloe_bench.bridges.lmeval import docs as lmeval_docs
    from aloe_bench.judges.jury.seats import read_judges

    if judges_from is not None and (judges := os.environ.get(judges_from)):
        read_judges(Path(judges))
    folder = os.environ.get(folder_from)
    partial = os.environ.get(ALLOW_PARTIAL, "").lower() in ("1", "true", "yes")
    if task in registry.FOLDER_TASKS and not folder:
        raise UsageError(f"{folder_from} names no folder; expected one that `aloe-bench attack` wrote.")
    try:
        found = registry.task(f"{task}:{folder}" if task in registry.FOLDER_TASKS else task)
        return lmeval_docs.documents(found, Path(folder or DATA_ROOT), partial, attack)
    except DataError as error:
        raise DataError(
            f"{error} In lm-eval the folder is named by the variable {folder_from} (now {folder or DATA_ROOT}), and "
            f"{ALLOW_PARTIAL}=1 stands for --allow-partial."
        ) from error


def graded(resps: Sequence[Sequence[str]], docs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return reply and score of every open answer, by the jury that the environment names; unjudged without one."""
    from aloe_bench.answers.score import grade_open
    from aloe_bench.bridges.lmeval import docs as lmeval_docs
    from aloe_bench.judges.jury.seats import Jury

    replies, file = [first for first, *_ in resps], os.environ.get(JUDGES)
    if not file:
        click.echo(f"Open answers are not judged: {JUDGES} names no judges.toml.", err=True)
        scores = [grade_open(reply) for reply in replies]
    else:
        panel = Jury.read(Path(file), os.environ).panel
        with _verdict_folder() as folder:
            scores = lmeval_docs.judged(replies, docs, panel, folder)
    return [{"reply": reply, **asdict(score)} for reply, score in zip(replies, scores, strict=True)]


@contextmanager
def _verdict_folder() -> Iterator[Path]:
    """Give the folder that keeps the judges' replies, so that none is asked twice; else a passing one."""
    kept = os.environ.get(VERDICTS)
    if kept is not None:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory() as passing:
        yield Path(passing)
