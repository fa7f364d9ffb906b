"""The steps of the whole loop in miniature, each by the code that real models go through.

Sources -> `attack` -> `run` of the base -> AR data and `train-ar` on one modality -> `run` of the result. Each step
leaves a folder that is whole or absent, and is not done again where it is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aloe_bench.core import Task
from aloe_bench.heart import make
from aloe_bench.heart.attacks import parse_attacks
from aloe_bench.heart.build import HeartRecipe
from aloe_bench.heart.sources.source import load_source
from aloe_bench.heart.task import open_task
from aloe_bench.heart.wordings import load_templates
from aloe_bench.miniature.images import MODALITIES
from aloe_bench.miniature.source import TEMPLATES, write_source
from aloe_bench.training.adversarial import ArDataConfig, write_adversarial_data
from aloe_bench.training.recipes import load_recipe
from aloe_bench.training.sft import TrainingJob, train

log = logging.getLogger(__name__)

BASE = Path(__file__).parent / "base"
AR_MODALITY = "xray"
UNSEEN = tuple(name for name in MODALITIES if name != AR_MODALITY)
EVALUATION, TRAINING = TEMPLATES
# Evaluation and training pictures come from two seeds, as those of two hospitals would.
_TEST_SEED, _TRAIN_SEED = 2077, 555
Note = Callable[[str], None]
Report = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: pictures of each test modality, pictures AR learns from; half of each are to be located.

    The options of `scored_items` are scored one by one, which takes several times as long as asking.
    """

    test_pictures: int
    ar_pictures: int
    scored_items: int


def evaluation_table(folder: Path, pictures: int, templates: Path = EVALUATION, own_words: bool = False) -> Task:
    """Return the HEART task of all modalities that AR never sees, `pictures` of each."""
    table = folder / "heart"
    if not (table / "manifest.json").is_file():
        sources = [
            load_source(_source(folder / "sources" / name, name, pictures, _TEST_SEED, "test", own_words))
            for name in UNSEEN
        ]
        recipe = HeartRecipe(parse_attacks("all"), load_templates(templates))
        make.build(sources, make.plan_work(sources, recipe), recipe, table)
    task: Task = open_task(str(table))
    return task


def _source(folder: Path, modality: str, pictures: int, seed: int, split: str, own_words: bool) -> Path:
    if (folder / "dataset.toml").is_file():
        return folder
    return write_source(folder, modality, pictures, seed, split=split, own_words=own_words)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one AR run learns from; `clean_only` is the control of the same rows, order and length without cues.

    `reading` keeps questions about what is written among the rows; without them the miniature forgets how to read.
    """

    pictures: int
    seed: int = 0
    attacks: str = "all"
    clean_only: bool = False
    reading: bool = True
    own_words: bool = False


def train_robust(
    base: Path, lesson: Lesson, folder: Path, evaluation: Sequence[Path], report: Report = lambda a, b, note: None
) -> Path:
    """Return the checkpoint that learnt `lesson` from `base`, trained below `folder`; it resumes where it stopped.

    The AR pictures, their cues and the order of rows all depend on the lesson's seed. Raises DataError if a picture
    or a wording of `evaluation` is among them.
    """
    data = folder / "data"
    if not (data / "manifest.json").is_file():
        seed = _TRAIN_SEED + lesson.seed
        source = _source(folder / "source", AR_MODALITY, lesson.pictures, seed, "train", lesson.own_words)
        wanted = ArDataConfig(
            source, tuple(evaluation), lesson.attacks, TRAINING, lesson.seed,
            clean_only=lesson.clean_only, reading=lesson.reading, answer="text",
        )  # fmt: skip
        write_adversarial_data(wanted, data)
    recipe = replace(load_recipe("miniature"), seed=lesson.seed)
    train(TrainingJob(base, data, folder / "checkpoint", recipe, stage="ar"), report)
    return folder / "checkpoint"


def data_facts(folder: Path) -> dict[str, Any]:
    """Return the manifest of the AR data below `folder`."""
    import json

    facts: dict[str, Any] = json.loads((folder / "data" / "manifest.json").read_text(encoding="utf-8"))
    return facts
