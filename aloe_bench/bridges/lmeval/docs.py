"""Our tasks as lm-eval's documents: what the YAML files beside this module name. Imports no lm_eval."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.answers.score import grade, grade_open, open_answer
from aloe_bench.core import LETTERS, ImageRef, Prediction, Sample, Score, Task
from aloe_bench.errors import DataError
from aloe_bench.evaluation.plan import Settings, load_plan
from aloe_bench.judges.jury.rubric import Case
from aloe_bench.judges.jury.store import VerdictStore

if TYPE_CHECKING:
    from PIL import Image

    from aloe_bench.judges.jury.panel import Panel

log = logging.getLogger(__name__)

TASKS_FOLDER = Path(__file__).with_name("tasks")
IMAGE_MARK = "<image>"
Doc = dict[str, Any]


class DocumentPicture:
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


def documents(task: Task, root: Path, allow_partial: bool, attack: str | None = None) -> dict[str, Docs]:
    """Return the samples of `task` as the split `test`; raises DataError as `aloe-bench run` does.

    `attack` takes the cue rows of that attack alone, or the baselines if it is "".
    """
    samples = [sample for _, sample in load_plan(task, root, Settings(allow_partial=allow_partial)).samples]
    kept = [sample for sample in samples if attack is None or attack == (sample.cue.attack if sample.cue else "")]
    if not kept:
        there = ", ".join(sorted({sample.cue.attack for sample in samples if sample.cue})) or "baselines alone"
        raise DataError(f"{task.name}: no rows of {attack or 'the baseline'}; the table has {there}.")
    return {"test": Docs(_doc(task, sample) for sample in kept)}


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
        "variant": sample.cue.variant if sample.cue else "baseline",
        "suggests": sample.cue.suggests if sample.cue else None,
        "images": [DocumentPicture(image) for image in sample.images],
    }


def pictures(doc: Doc) -> list[Image.Image]:
    """Return the document's images, decoded by our rules."""
    return [picture.reference.open() for picture in doc["images"]]


def choice_results(doc: Doc, results: Sequence[str]) -> Mapping[str, float]:
    """Return `acc` and `unread` of one reply, by the strict parser that `aloe-bench run` uses."""
    score = _score(doc, results[0])
    return {"acc": float(score.value or 0.0), "unread": float(score.parsed is None)}


def heart_results(doc: Doc, results: Sequence[str]) -> Mapping[str, float]:
    """Return a HEART reply's score under its row's variant, `unread`, and `cue_following` if the cue misleads."""
    score = _score(doc, results[0])
    return _under_cue(doc, score.parsed) | {"unread": float(score.parsed is None)}


def heart_ll_results(doc: Doc, results: Sequence[tuple[float, bool]]) -> Mapping[str, float]:
    """Return what `heart_results` does, for the likeliest letter, ties going to the first."""
    scores = [score for score, _ in results]
    return _under_cue(doc, doc["letters"][scores.index(max(scores))])


def _under_cue(doc: Doc, answer: str | None) -> dict[str, float]:
    measured = {doc["variant"]: float(answer == doc["target"])}
    if doc["variant"] == "adversarial":
        measured["cue_following"] = float(answer == doc["suggests"])
    return measured


def _score(doc: Doc, reply: str) -> Score:
    sample = Sample(
        doc["sample_id"], doc["kind"], doc["question"], doc["target"], doc["cluster"], choices=tuple(doc["choices"])
    )
    return grade(sample, Prediction(sample.id, reply, "stop"))


def judged(replies: Sequence[str], docs: Sequence[Doc], panel: Panel, folder: Path) -> list[Score]:
    """Return the jury's score of each open reply, as `aloe-bench judge` gives it; verdicts are kept in `folder`."""
    cases = [
        Case(doc["sample_id"], doc["question"], doc["target"], answer)
        for doc, reply in zip(docs, replies, strict=True)
        if (answer := open_answer(reply)) is not None
    ]
    with VerdictStore(folder) as store:
        ballot = panel.grade(cases, store)
    for name, reason in ballot.down.items():
        log.warning("judge %s is down: %s", name, reason)
    return [ballot.scores.get(doc["sample_id"]) or grade_open(reply) for doc, reply in zip(docs, replies, strict=True)]


def open_results(doc: Doc, results: Sequence[Mapping[str, Any]]) -> Mapping[str, float | None]:
    """Return `jury` (None if it left no grade), `unread` and `missing` of one reply, which the filter graded."""
    value, rule = results[0]["value"], str(results[0]["rule"])
    return {"jury": value, "unread": float(rule.startswith("unread")), "missing": float(value is None)}


def mean_of_all(values: Sequence[float | None]) -> float:
    """Return the mean, or NaN as soon as one value is missing: the rest must not pose as the whole."""
    given = [value for value in values if value is not None]
    return sum(given) / len(given) if given and len(given) == len(values) else float("nan")


def official_pubmedqa(dataset: Any) -> Any:
    """Return the official test rows of the hub's 1,000 labelled ones, in the fields of lm-eval's definition."""
    from aloe_bench.bridges.lmeval.rows import PUBMEDQA

    kept = dataset.filter(lambda row: PUBMEDQA.only(row, ""))
    fields = kept.map(lambda row: dict(PUBMEDQA.read(row, "qiaojin/PubMedQA").doc), remove_columns=kept.column_names)
    if len(fields) != 500:
        raise DataError(f"qiaojin/PubMedQA: {len(fields)} of the 500 official test rows. Pin its earlier revision.")
    return fields
