"""Text tasks asked and scored by lm-eval's `simple_evaluate`, written to the run log as the answers come."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aloe_bench.bridges.lmeval.text import SHOT_SEED, TextTask, lm_tasks
from aloe_bench.core import Model, Prediction, Record, Request, Sample, Task, capabilities
from aloe_bench.errors import DataError, ModelError, UsageError
from aloe_bench.evaluation.loop import Engine, KeepRecords, record_of
from aloe_bench.evaluation.plan import Settings


def lmeval_engine(task: Task, root: Path) -> Engine:
    """Return what `run_plan` is handed for a TextTask whose data lie in `root`; raises UsageError for another task."""
    if not isinstance(task, TextTask):
        raise UsageError(
            f"{task.name}: engine lm-eval asks a TextTask of aloe_bench.bridges.lmeval.text, and no other."
        )

    def check(task: Task, model: Model, settings: Settings) -> None:
        if "logprob" not in capabilities(model) or getattr(model, "chat_only", False):
            raise UsageError(
                f"{task.name}: scored by the log-likelihood of raw prompts, which back end "
                f"{model.describe().get('backend', model.name)} does not give. Use a checkpoint folder with hf or "
                "vllm, or the other tasks (--suite medical_images has them)."
            )

    def ask(task: Any, todo: Sequence[tuple[int, Sample]], model: Model, settings: Settings, keep: KeepRecords) -> None:
        if todo:
            _evaluate(task, root, todo, model, settings, keep)

    return Engine(ask, {"name": "lm-eval", "version": importlib.metadata.version("lm_eval")}, check)


def _evaluate(
    task: TextTask, root: Path, todo: Sequence[tuple[int, Sample]], model: Model, settings: Settings, keep: KeepRecords
) -> None:
    """Have lm-eval ask the samples of `todo`; raises ModelError if its scores are not the recorded ones."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from aloe_bench.bridges.lmeval.model import AloeLM

    found = task.find(root)
    tasks = lm_tasks(task, root, found)
    wanted = {sample.id: (index, sample) for index, sample in todo}
    places = {
        part.lm_task: [place for place, row in enumerate(part_rows) if row.id in wanted]
        for part, part_rows in found.items()
    }
    if sum(map(len, places.values())) != len(wanted):
        raise DataError(f"{task.name}: the files in {root} changed since the run began. Run it again.")
    kept: dict[str, Record] = {}

    def take(requests: Sequence[Request], predictions: Sequence[Prediction]) -> None:
        records = _records(task, root, wanted, requests, predictions, settings.parser)
        keep(records)
        kept.update((record.sample_id, record) for record in records)

    results = simple_evaluate(
        AloeLM(model=model, chunk=settings.chunk, on_predictions=take),
        tasks=[tasks[name] for name, chosen in places.items() if chosen],
        samples={name: chosen for name, chosen in places.items() if chosen},
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        random_seed=None,
        numpy_random_seed=None,
        torch_random_seed=None,
        fewshot_random_seed=SHOT_SEED,
    )
    _agree(kept, [sample for samples in results["samples"].values() for sample in samples])


def _records(
    task: TextTask,
    root: Path,
    wanted: Mapping[str, tuple[int, Sample]],
    requests: Sequence[Request],
    predictions: Sequence[Prediction],
    parser: str,
) -> list[Record]:
    for request in requests:
        if request.messages[0].text != wanted[request.id][1].question.rstrip():
            raise DataError(f"{task.name}: {request.id} in {root} changed since the run began. Run it again.")
    sent = {request.id: request for request in requests}
    return [record_of(*wanted[prediction.id], prediction, parser, sent[prediction.id]) for prediction in predictions]


def _agree(kept: Mapping[str, Record], samples: Sequence[Mapping[str, Any]]) -> None:
    """Raise ModelError unless lm-eval scored every answered item as the run log does."""
    theirs = {sample["doc"]["sample_id"]: float(sample["acc"]) for sample in samples}
    for name, record in kept.items():
        if record.score.value is not None and theirs.get(name) != record.score.value:
            raise ModelError(f"{name}: lm-eval scores it {theirs.get(name)}, the run log {record.score.value}.")
