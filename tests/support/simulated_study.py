"""A study of experts and judges whose truth is known, as the files that a user would have."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aloe_bench.core import Prediction, Record, Score, Verdict
from aloe_bench.evaluation import runlog

GRADES = np.array([0.0, 0.5, 1.0])


@dataclass
class Simulated:
    """`humans` and `verdicts` are (raters, items), nan where missing; `answers` one text an item."""

    items: list[str]
    humans: np.ndarray
    verdicts: np.ndarray
    answers: list[str]
    raters: list[str]
    judges: list[str] = field(default_factory=lambda: ["llama", "olmo", "qwen"])

    @property
    def jury(self) -> np.ndarray:
        return np.median(self.verdicts, axis=0)


def noisy(truth: np.ndarray, accuracy: float, rng: np.random.Generator) -> np.ndarray:
    """Return `truth` with a share 1 - `accuracy` moved one step along the scale, or two where it must."""
    at = np.searchsorted(GRADES, truth)
    step = rng.choice([-1, 1], size=len(at))
    moved = np.clip(at + step, 0, 2)
    moved = np.where(moved == at, at - step, moved)
    return GRADES[np.where(rng.random(len(at)) < accuracy, at, moved)]


def simulate(
    seed: int = 0,
    *,
    n: int = 105,
    experts: int = 4,
    accuracy: float = 0.9,
    judge_accuracy: Sequence[float] = (0.9,) * 3,
) -> Simulated:
    """Return a study like that of Aloe-Vision, appendix E.2: each item rated by two to `experts` experts."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(GRADES, size=n, p=[0.35, 0.13, 0.52])
    humans = np.array([noisy(truth, accuracy, rng) for _ in range(experts)])
    for item in range(n):
        for gone in rng.permutation(experts)[rng.integers(2, experts + 1) :]:
            humans[gone, item] = np.nan
    verdicts = np.array([noisy(truth, share, rng) for share in judge_accuracy])
    answers = ["x" * int(length) for length in rng.lognormal(4, 0.8, n) + 1]
    names = [f"expert-{at}" for at in range(1, experts + 1)]
    return Simulated([f"q{at:03d}" for at in range(n)], humans, verdicts, answers, names)


def write_wide(path: Path, study: Simulated, labels: Mapping[tuple[str, str], str] | None = None) -> Path:
    """Write one row an item; `labels` replaces the cell of an (item, rater)."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", *study.raters])
        for at, item in enumerate(study.items):
            cells = ["" if np.isnan(grade) else f"{grade:g}" for grade in study.humans[:, at]]
            rows.writerow([item, *((labels or {}).get((item, r), c) for r, c in zip(study.raters, cells, strict=True))])
    return path


def write_run(folder: Path, study: Simulated, *, task: str = "careqa_vision_open") -> Path:
    """Write a judged run folder of the study's answers and verdicts."""
    folder.mkdir(parents=True)
    header = {
        "schema": runlog.SCHEMA,
        "run_id": folder.name,
        "model": {"name": "simulated", "fingerprint": "0" * 64},
        "task": {"name": task, "version": 1},
    }
    runlog.create_run(folder, header)
    records = []
    for at, item in enumerate(study.items):
        grades = study.verdicts[:, at]
        verdicts = tuple(
            Verdict(f"{task}/{item}", judge, None if np.isnan(grade) else float(grade), "{}")
            for judge, grade in zip(study.judges, grades, strict=True)
        )
        jury = study.jury[at]
        score = Score(None if np.isnan(jury) else float(jury), None, "jury", verdicts)
        prediction = Prediction(f"{task}/{item}", study.answers[at], "stop")
        records.append(
            Record(at, f"{task}/{item}", "open", "the reference", f"{task}/{item}", {}, None, prediction, score)
        )
    runlog.append(folder, records)
    return folder
