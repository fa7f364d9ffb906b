"""A task run by VLMEvalKit's own runner in a child process; its replies come back as our records.

Upstream's runner ends with 0 although a data set failed, takes stale predictions for new ones, and keeps going
without a word. So each run has a folder of its own, and what it leaves is checked row by row before it counts.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aloe_bench.bridges.vlmeval.kit import MODEL_NAME, digest, read_predictions, record_of_row
from aloe_bench.bridges.vlmeval.table import TsvTable, read_rows, write_table
from aloe_bench.core import Decoding, Model, Prediction, Record, Request, Sample, Task
from aloe_bench.errors import DataError, DependencyError, ModelError, UsageError
from aloe_bench.evaluation.loop import Engine, KeepRecords, record_of
from aloe_bench.evaluation.plan import Settings
from aloe_bench.models.checkpoint_files import fingerprint_folder
from aloe_bench.models.hf_folder import check_folder
from aloe_bench.tasks import formats

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES",
             "OMP_NUM_THREADS", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT", "TOKENIZERS_PARALLELISM")  # fmt: skip

LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Upstream:
    """Which model upstream is to run: a checkpoint folder of ours (`path`), or one of its own by `name`."""

    name: str
    path: Path | None
    model_args: Mapping[str, Any]


class UpstreamModel:
    """What the header holds of a model that answers in VLMEvalKit's process; it cannot be asked here.

    A model of upstream's own is known by its name and upstream's version alone, and decodes as upstream has it.
    """

    def __init__(self, upstream: Upstream, name: str) -> None:
        self.name = name
        self._upstream = upstream
        what = f"{installed_version()}/{upstream.name}"
        own = hashlib.sha256(what.encode()).hexdigest()
        if upstream.path:
            check_folder(upstream.path)
        self.fingerprint = fingerprint_folder(upstream.path) if upstream.path else own

    def describe(self) -> Mapping[str, object]:
        """Return what a run header records."""
        facts = {"backend": "vlmeval", "one_at_a_time": True, "dtype": self._upstream.model_args.get("dtype")}
        return facts if self._upstream.path else {**facts, "generation": "VLMEvalKit's own for this model"}

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Raise: only the child process answers."""
        raise ModelError(f"{self.name} runs inside VLMEvalKit; it cannot be asked here.")


def vlmeval_engine(upstream: Upstream, work: Path) -> Engine:
    """Return what `run_plan` is handed to have a task run by VLMEvalKit in folders below `work`.

    Raises DependencyError if it is not installed.
    """
    version = installed_version()

    def check(task: Task, model: Model, settings: Settings) -> None:
        if settings.protocol != "generate":
            raise UsageError("VLMEvalKit generates replies; it has no logprob protocol. Leave --engine vlmeval out.")

    def ask(
        task: Task, todo: Sequence[tuple[int, Sample]], model: Model, settings: Settings, keep: KeepRecords
    ) -> None:
        if todo:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            keep(_run(task, todo, upstream, settings, work / f"{model.fingerprint[:8]}-{stamp}"))

    return Engine(ask, {"name": "vlmeval", "version": version}, check)


def installed_version() -> str:
    """Return VLMEvalKit's version without importing it; raises DependencyError if there is none."""
    if importlib.util.find_spec("vlmeval") is None:
        raise DependencyError(
            "VLMEvalKit is not installed here. Run: pip install 'aloe-bench[vlmeval]', in an environment of its own "
            "if yours must stay as it is."
        )
    for distribution in ("ms-vlmeval", "vlmeval", "nvidia-vlmeval"):
        try:
            return f"{distribution} {importlib.metadata.version(distribution)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _run(
    task: Task, todo: Sequence[tuple[int, Sample]], upstream: Upstream, settings: Settings, work: Path
) -> list[Record]:
    work = work.resolve()  # the child has another working folder
    work.mkdir(parents=True)
    table = write_table(work / "data", task.name, todo, lambda sample: formats.asked(task, sample, settings.answer))
    job = {
        "data": str(work / "data"),
        "dataset": table.name,
        "model": upstream.name,
        "path": str(upstream.path.resolve()) if upstream.path else None,
        "model_args": dict(upstream.model_args),
        "decoding": asdict(settings.decoding),
        "work": str(work / "upstream"),
        "receipts": str(work / "receipts.jsonl"),
    }
    (work / "job.json").write_text(json.dumps(job, indent=2), encoding="utf-8")
    _launch(work)
    return checked(table, work, todo, settings.parser, ours=upstream.path is not None)


def _launch(work: Path) -> None:
    """Run the child to its end; raises ModelError with the end of its log if it fails."""
    (work / "upstream").mkdir()
    log = work / "log.txt"
    with log.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "aloe_bench.bridges.vlmeval.child", str(work / "job.json")],
            cwd=work,
            env=child_environment(work),
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise ModelError(f"VLMEvalKit ended with exit code {done.returncode}: {_end_of(log)} The whole log: {log}")


def child_environment(work: Path) -> dict[str, str]:
    """Return what a child is given of this process's environment: no key, no proxy, no switch of upstream's.

    Its home is `work`, so the hub's cache of weights is named to it: it would fetch them again into each `work`.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own = {"HOME": str(work), "LMUData": str(work / "data"), "PRED_FORMAT": "tsv", "PYTHONUNBUFFERED": "1"}
    own["HF_HUB_CACHE"] = str(Path(HF_HUB_CACHE).absolute())
    return passed | own


def checked(table: TsvTable, work: Path, todo: Sequence[tuple[int, Sample]], parser: str, ours: bool) -> list[Record]:
    """Return the records of a finished child; raises ModelError unless every row was answered in this very run.

    `ours`: our own model answered, and its receipts must name each reply.
    """
    folder = work / "upstream" / MODEL_NAME
    path = folder / f"{MODEL_NAME}_{table.name}.tsv"
    log = work / "log.txt"
    if not path.is_file():
        raise ModelError(
            f"VLMEvalKit left no predictions for {table.name}, though it ended without an error: "
            f"{_upstream_error(folder) or _end_of(log)} The whole log: {log}"
        )
    rows = {row["index"]: row for row in read_rows(table.path)}
    try:
        replies = read_predictions(path, rows)
    except DataError as error:
        raise ModelError(f"VLMEvalKit's predictions are not those of this run: {error}") from error
    if ours:
        _check_receipts(work / "receipts.jsonl", rows, replies, path)
    by_index = {str(index): (index, sample) for index, sample in todo}
    records = []
    for index, text in replies.items():
        place, sample = by_index[index]
        # Only our own model leaves receipts of what it was sent.
        sent = formats.request(sample, rows[index]["prompt"]) if ours else None
        records.append(record_of(place, sample, record_of_row(rows[index], text).prediction, parser, sent))
    return records


def _check_receipts(path: Path, rows: Mapping[str, Mapping[str, str]], replies: Mapping[str, str], found: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    given = Counter((line["prompt"], line["reply"]) for line in map(json.loads, lines))
    claimed = Counter((digest(rows[index]["prompt"]), digest(text)) for index, text in replies.items())
    foreign = claimed - given
    if foreign:
        raise ModelError(
            f"{found}: {sum(foreign.values())} of {len(replies)} replies were not given by the model in this run. "
            "VLMEvalKit took them from elsewhere; nothing was recorded."
        )


def _upstream_error(folder: Path) -> str:
    try:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    found = [value for key, value in _walk(status) if key in ("error_message", "skip_reason") and value]
    return f"{found[0]}." if found else ""


def _walk(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in [(key, inner), *_walk(inner)]]
    if isinstance(value, list):
        return [pair for inner in value for pair in _walk(inner)]
    return []


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    kept = [line.strip() for line in lines if line.strip()][-LOG_LINES:]
    return " / ".join(kept)[-600:] or "its log is empty."
