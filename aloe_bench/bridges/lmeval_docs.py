"""Our tasks as lm-eval's documents: what the YAML files beside this module name. Imports no lm_eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.core import LETTERS, ImageRef, Prediction, Sample, Task
from aloe_bench.grading import grade
from aloe_bench.run import Settings, load_plan

if TYPE_CHECKING:
    from PIL import Image

TASKS_FOLDER = Path(__file__).with_name("lmeval_tasks")
IMAGE_MARK = "<image>"
Doc = dict[str, Any]


class Picture:
    """An image of a document; in logs and hashes it reads as its SHA-256."""

    def __init__(self, reference: ImageRef) -> None:
        self.reference = reference

    def __str__(self) -> str:
        return f"sha256:{self.reference.sha256}"

    __repr__ = __str__


class Docs(list[Doc]):
    """The documents of a split as lm-eval takes them: a list that also names its columns."""

    @property
    def features(self) -> dict[str, None]:
        """The columns, without types."""
        return dict.fromkeys(self[0])


def documents(task: Task, root: Path, allow_partial: bool) -> dict[str, Docs]:
    """Return the samples of `task` as the split `test`; raises DataError as `aloe-bench run` does."""
    plan = load_plan(task, root, Settings(allow_partial=allow_partial))
    return {"test": Docs(_doc(task, sample) for _, sample in plan.samples)}


def _doc(task: Task, sample: Sample) -> Doc:
    letters = ["yes", "no"] if sample.kind == "yes_no" else list(LETTERS[: len(sample.choices)])
    return {
        "sample_id": sample.id,
        "kind": sample.kind,
        "prompt": IMAGE_MARK * len(sample.images) + task.prompt(sample),
        "question": sample.question,
        "choices": list(sample.choices),
        "letters": letters,
        "target": sample.target,
        "answer": letters.index(sample.target) if letters else -1,
        "cluster": sample.cluster,
        "tags": dict(sample.tags),
        "images": [Picture(image) for image in sample.images],
    }


def pictures(doc: Doc) -> list[Image.Image]:
    """Return the document's images, decoded by our rules."""
    return [picture.reference.open() for picture in doc["images"]]


def choice_results(doc: Doc, results: Sequence[str]) -> Mapping[str, float]:
    """Return `acc` and `unread` of one reply, by the strict parser that `aloe-bench run` uses."""
    score = _score(doc, results[0])
    return {"acc": float(score.value or 0.0), "unread": float(score.parsed is None)}


def _score(doc: Doc, reply: str) -> Any:
    sample = Sample(
        doc["sample_id"], doc["kind"], doc["question"], doc["target"], doc["cluster"], choices=tuple(doc["choices"])
    )
    return grade(sample, Prediction(sample.id, reply, "stop"))
