"""The one loop: samples -> requests -> predictions -> scores -> run log."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aloe_bench import runlog
from aloe_bench.core import (
    Absent,
    AnswerForm,
    AnswerProtocol,
    Decoding,
    Fetchable,
    Model,
    OptionScorer,
    PaperScored,
    Prediction,
    Record,
    Request,
    Sample,
    Task,
    batches,
)
from aloe_bench.errors import DataError, UsageError
from aloe_bench.grading import grade, parser_id, refuse_unreadable
from aloe_bench.tasks import formats

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
Keep = Callable[[list[Record]], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may set of a run; written whole into its header.

    With `go_on` a finished run that was made the same way is taken as it is, and nothing is asked.
    """

    output: Path = Path("runs")
    decoding: Decoding = field(default_factory=Decoding)
    protocol: AnswerProtocol = "generate"
    parser: str = "strict"
    answer: AnswerForm = "letter"
    seed: int = 0
    limit: int | None = None
    shard: tuple[int, int] | None = None
    chunk: int = 32
    fresh: bool = False
    go_on: bool = False
    allow_partial: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A task's samples after `limit` and `shard`, with what identifies the whole.

    `absent` counts, by group, what the data names and does not hold; `absent_told` says it in a sentence. `commits` are
    those of the fetched data sets by hub id, empty for a copy of the user's own.
    """

    task: Task
    samples: tuple[tuple[int, Sample], ...]
    n_total: int
    partial: bool
    data_sha256: str
    prompt_sha256: str
    absent: Mapping[str, int] = field(default_factory=dict)
    absent_told: str = ""
    commits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Engine:
    """Who asks: `ask(task, todo, model, settings, keep)` gives `keep` the records of `todo` as they come.

    `facts` name another harness in the header; they are None for our own loop.
    """

    ask: Callable[[Task, Sequence[tuple[int, Sample]], Model, Settings, Keep], None]
    facts: Mapping[str, str] | None = None


def load_plan(task: Task, root: Path, settings: Settings) -> Plan:
    """Return what is to be asked; raises DataError if the row count is none that the task knows.

    `limit` takes whole clusters' worth of base samples by hash, so a limited run is no head of the file.
    """
    samples, lacking = _split(task.load(root))
    known = dict.fromkeys(count for count in (task.expected_rows, paper_rows(task)) if count is not None)
    other = _fits_by_chance(task, len(samples), lacking)
    partial = len(samples) not in known or other is not None
    if not samples or (partial and not settings.allow_partial):
        raise DataError(
            f"{task.name}: {len(samples)} rows in {root}, expected {' or '.join(map(str, known))}{other or ''}."
            f"{_told(lacking)} "
            "Get the whole data set, or pass --allow-partial to run what is there; every table will be marked."
        )
    refuse_unreadable(settings.parser, {sample.kind for sample in samples}, task.name)
    data, prompts = hashlib.sha256(), hashlib.sha256()
    for sample in sorted(samples, key=lambda sample: sample.id):
        images = [image.sha256 for image in sample.images]
        parts: list[Any] = [sample.id, sample.kind, sample.question, sample.target, list(sample.choices), images]
        if sample.cue:
            parts.append(asdict(sample.cue))
        data.update(json.dumps(parts).encode())
        prompts.update(json.dumps([sample.id, formats.asked(task, sample, settings.answer)]).encode())
    chosen: list[tuple[int, Sample]] = list(enumerate(samples))
    if settings.limit is not None:
        chosen = _limited(chosen, settings.limit)
    n_total = len(chosen)
    if settings.shard is not None:
        index, count = settings.shard
        chosen = [(i, sample) for i, sample in chosen if _bucket(sample.cluster, count) == index - 1]
    absent = dict(Counter(item.group for item in lacking))
    commits = task.commits(root) if isinstance(task, Fetchable) else {}
    return Plan(
        task, tuple(chosen), n_total, partial, data.hexdigest(), prompts.hexdigest(), absent, _told(lacking), commits
    )


def paper_rows(task: Task) -> int | None:
    """Return how many rows of `task` the paper scored, None where that is not known."""
    return task.paper_scored_rows if isinstance(task, PaperScored) else None


def _fits_by_chance(task: Task, count: int, lacking: Sequence[Absent]) -> str | None:
    """Return in words why as many rows as the paper scored are not the paper's; None if they are, or are more."""
    if count == task.expected_rows or not isinstance(task, PaperScored) or task.paper_lacks is None:
        return None
    others = any(item.group != task.paper_lacks for item in lacking)
    return f" (the latter with only {task.paper_lacks} short)" if others else None


def _split(rows: Iterable[Sample | Absent]) -> tuple[list[Sample], list[Absent]]:
    samples: list[Sample] = []
    lacking: list[Absent] = []
    for row in rows:
        if isinstance(row, Absent):
            lacking.append(row)
        else:
            samples.append(row)
    return samples, lacking


def _told(lacking: Sequence[Absent]) -> str:
    """Return a sentence on what is absent, by group, with the first of each."""
    first: dict[str, str] = {}
    for item in lacking:
        first.setdefault(item.group, item.what)
    counts = Counter(item.group for item in lacking)
    told = ", ".join(f"{group} {counts[group]} (first: {what})" for group, what in first.items())
    return f" Absent: {told}." if told else ""


def _bucket(cluster: str, count: int) -> int:
    return int(hashlib.sha256(cluster.encode()).hexdigest(), 16) % count


def _limited(chosen: list[tuple[int, Sample]], limit: int) -> list[tuple[int, Sample]]:
    def base(sample: Sample) -> str:
        return sample.cue.base_id if sample.cue else sample.id

    bases = list(dict.fromkeys(base(sample) for _, sample in chosen))
    kept = set(sorted(bases, key=lambda name: hashlib.sha256(name.encode()).digest())[:limit])
    return [(i, sample) for i, sample in chosen if base(sample) in kept]


def answer_key(plans: Sequence[Plan]) -> dict[str, tuple[str, str | None]]:
    """Return id -> (target, suggested option), which only the mock model is given."""
    return {
        sample.id: (sample.target, sample.cue.suggests if sample.cue else None)
        for plan in plans
        for _, sample in plan.samples
    }


def is_interrupted(plans: Sequence[Plan], model_name: str, settings: Settings) -> bool:
    """Return whether a command over several tasks has yet to end: one of them has no run, or an unfinished one."""
    below = [
        runlog.runs_below(_parent(settings.output, model_name, plan.task), _shard_text(settings)) for plan in plans
    ]
    return any(not folders or not all(map(runlog.is_finished, folders)) for folders in below)


def _parent(output: Path, model_name: str, task: Task) -> Path:
    return output / runlog.safe_name(model_name) / runlog.safe_name(task.name)


def _shard_text(settings: Settings) -> str | None:
    return "{}/{}".format(*settings.shard) if settings.shard else None


def run_plan(
    plan: Plan,
    model: Model,
    settings: Settings,
    model_facts: Mapping[str, Any],
    asked: Mapping[str, Any] | None = None,
    progress: Progress = lambda done, total: None,
    engine: Engine | None = None,
) -> Path:
    """Ask what is not yet answered and return the run's folder; failed items are asked again.

    `asked` is what the user asked for (command line and resolved options, secrets redacted), kept in the header.
    `engine` is another harness that asks in place of our own loop.
    """
    engine = engine or Engine(_ask_all)
    header = {**_header(plan, model, settings, model_facts, asked or {}), "engine": engine.facts}
    parent = _parent(settings.output, header["model"]["name"], plan.task)
    folder = None if settings.fresh else runlog.unfinished_run(parent, header["shard"])
    if folder is None and settings.go_on and (finished := runlog.finished_run(parent, header)):
        progress(len(plan.samples), len(plan.samples))
        return finished
    if folder is None:
        folder = _new_folder(parent)
        runlog.create_run(folder, {**header, "run_id": folder.name})
    else:
        runlog.refuse_difference(folder, header)
    with runlog.RecordWriter(folder) as writer:
        done = {r.sample_id for r in runlog.read_records(folder) if r.prediction.finish != "error"}
        todo = _image_by_image([(i, sample) for i, sample in plan.samples if sample.id not in done])
        progress(len(plan.samples) - len(todo), len(plan.samples))

        def keep(records: list[Record]) -> None:
            writer.append(records)
            done.update(record.sample_id for record in records)
            progress(len(done), len(plan.samples))

        engine.ask(plan.task, todo, model, settings, keep)
    log.info("%s: %d of %d samples answered", plan.task.name, len(done), len(plan.samples))
    return folder


def _new_folder(parent: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder = parent / stamp
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot create ({error.strerror}). Choose another --output.") from error
    return folder


def _image_by_image(todo: Sequence[tuple[int, Sample]]) -> list[tuple[int, Sample]]:
    """Return `todo` with the questions about one image side by side, so that a back end can reuse its features."""
    first: dict[tuple[str, ...], int] = {}
    for index, sample in todo:
        first.setdefault(tuple(image.sha256 for image in sample.images), index)
    return sorted(todo, key=lambda pair: (first[tuple(image.sha256 for image in pair[1].images)], pair[0]))


def _ask_all(task: Task, todo: Sequence[tuple[int, Sample]], model: Model, settings: Settings, keep: Keep) -> None:
    """Keep records in batches of the size that is flushed together."""
    by_id = {sample.id: (index, sample) for index, sample in todo}
    form = settings.answer
    requests = (formats.request(sample, formats.asked(task, sample, form), form) for _, sample in todo)
    for chunk in batches(requests, settings.chunk):
        records = []
        for prediction in ask(model, chunk, settings):
            index, sample = by_id[prediction.id]
            records.append(record_of(index, sample, prediction, settings.parser))
        if sorted(record.sample_id for record in records) != sorted(request.id for request in chunk):
            raise DataError(f"{model.name}: the back end did not answer each request once; the batch is dropped.")
        keep(records)


def record_of(index: int, sample: Sample, prediction: Prediction, parser: str) -> Record:
    """Return the line of the run log for one reply, graded as far as it can be without a jury."""
    return Record(
        index=index,
        sample_id=sample.id,
        kind=sample.kind,
        target=sample.target,
        cluster=sample.cluster,
        tags=sample.tags,
        cue=sample.cue,
        prediction=prediction,
        score=grade(sample, prediction, parser),
        question=sample.question,
    )


def ask(model: Model, chunk: Sequence[Request], settings: Settings) -> Iterator[Prediction]:
    """Yield one Prediction a request, by the protocol of `settings`; raises UsageError if the model lacks it."""
    if settings.protocol == "generate":
        return model.generate(chunk, settings.decoding)
    if not isinstance(model, OptionScorer):
        raise UsageError(f"{model.name}: this back end has no log-probabilities; use --protocol generate.")
    return model.option_logprobs(chunk)


def _header(
    plan: Plan, model: Model, settings: Settings, model_facts: Mapping[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    task = plan.task
    return {
        "schema": runlog.SCHEMA,
        "model": {**model_facts, "fingerprint": model.fingerprint, "settings": dict(model.describe())},
        "task": {
            "name": task.name,
            "version": task.version,
            "source": task.source,
            "revision": task.revision,
            "commits": dict(plan.commits),
            "licence": task.licence,
            "expected_rows": task.expected_rows,
            "paper_scored_rows": paper_rows(task),
            "data_sha256": plan.data_sha256,
        },
        "prompt_sha256": plan.prompt_sha256,
        "protocol": settings.protocol,
        "parser": parser_id(settings.parser),
        "answer": settings.answer,
        "decoding": asdict(settings.decoding),
        "seed": settings.seed,
        "limit": settings.limit,
        "shard": _shard_text(settings),
        "partial": plan.partial,
        "absent": dict(plan.absent),
        "n": len(plan.samples),
        "n_total": plan.n_total,
        "versions": _versions(),
        "host": {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()},
        "asked": dict(asked),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for package in ("aloe-bench", "torch", "transformers", "Pillow", "numpy", "openai", "lm-eval"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
