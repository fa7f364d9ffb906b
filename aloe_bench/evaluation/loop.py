"""The one loop: samples -> requests -> predictions -> scores -> run log."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aloe_bench import registry
from aloe_bench.answers.score import grade, parser_id
from aloe_bench.core import (
    Model,
    Noting,
    OptionScorer,
    Prediction,
    Record,
    Request,
    Sample,
    Task,
    batches,
    capabilities,
    parts_of,
)
from aloe_bench.errors import DataError, RunMismatchError, UsageError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.leftover import FILE as LEFT_OVER
from aloe_bench.evaluation.leftover import PICTURE, ROW, keep_left_over
from aloe_bench.evaluation.plan import Plan, Settings, picture_notes
from aloe_bench.facts import facts_of
from aloe_bench.files import safe_name
from aloe_bench.tasks import formats

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
KeepRecords = Callable[[list[Record]], None]


@dataclass(frozen=True, slots=True)
class Engine:
    """Who asks: `ask(task, todo, model, settings, keep)` gives `keep` the records of `todo` as they come.

    `facts` name another harness in the header; they are None for our own loop. `check` raises UsageError, before a run
    has a folder, for what cannot be asked in this way.
    """

    ask: Callable[[Task, Sequence[tuple[int, Sample]], Model, Settings, KeepRecords], None]
    facts: Mapping[str, str] | None = None
    check: Callable[[Task, Model, Settings], None] | None = None


def check_able(plan: Plan, model: Model, settings: Settings, engine: Engine | None = None) -> None:
    """Raise UsageError if `model` cannot be asked `plan` under `settings`; nothing is written or asked."""
    if engine is not None and engine.facts is not None and (settings.controls or settings.defence or plan.repeats):
        given = "--controls" if settings.controls else "--defence" if settings.defence else "--repeats"
        raise UsageError(f"{given}: {engine.facts['name']} asks {plan.task.name} in its own way; ask without it.")
    if engine is not None and engine.check is not None:
        engine.check(plan.task, model, settings)
    if settings.protocol != "logprob":
        return
    if "logprob" not in capabilities(model):
        raise UsageError(f"{model.name}: this back end has no log-probabilities; use --protocol generate.")
    if any(sample.kind == "open" for _, sample in plan.samples):
        raise UsageError(f"{plan.task.name}: an open question has no options to score; use --protocol generate.")


def check_reasoning(plan: Plan, model: Model, settings: Settings, engine: Engine | None = None) -> None:
    """Raise UsageError if reasoning is to be bounded, and this model, protocol or engine cannot."""
    if settings.decoding.reasoning_tokens is None:
        return
    name, bound = model.name, "--reasoning-tokens"
    if settings.protocol != "generate" or engine is not None:
        raise UsageError(f"{plan.task.name}: {bound} bounds replies that our own loop generates; leave it out here.")
    if settings.decoding.temperature > 0:
        raise UsageError(f"{plan.task.name}: {bound} needs --temperature 0.")
    if not hasattr(model, "reasoning_tags"):
        raise UsageError(f"{name}: this back end cannot bound its reasoning; use --backend hf, or leave {bound} out.")
    if model.reasoning_tags is None:
        raise UsageError(f"{name}: it has no reasoning tag, so there is nothing to bound; leave {bound} out.")


def _parent(output: Path, model_name: str, task: Task) -> Path:
    return output / safe_name(model_name) / safe_name(task.name)


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

    A finished run that was made the same way is taken as it is, unless `settings` ask for a fresh one.
    Raises UsageError, before there is a folder, for what `model` cannot be asked.
    `asked` is what the user asked for (command line and resolved options, secrets redacted), kept in the header.
    `engine` is another harness that asks in place of our own loop.
    """
    engine = engine or Engine(_ask_all)
    check_able(plan, model, settings, engine)
    header = {**_header(plan, model, settings, model_facts, asked or {}), "engine": engine.facts}
    parent = _parent(settings.output, header["model"]["name"], plan.task)
    folder = None if settings.fresh else runlog.unfinished_run(parent, header["shard"])
    other = folder is None or runlog.identity(runlog.read_header(folder)) != runlog.identity(header)
    if not settings.fresh and other and (finished := runlog.finished_run(parent, header)):
        runlog.note_verified(finished, header)
        progress(len(plan.asked), len(plan.asked))
        return finished
    if folder is None:
        folder = _new_folder(parent)
        runlog.create_run(folder, {**header, "run_id": folder.name})
    else:
        runlog.refuse_difference(folder, header)
        runlog.note_verified(folder, header)
        _refuse_half_extended(folder, settings)
    if plan.left_over or (folder / LEFT_OVER).is_file():
        keep_left_over(folder, (ROW, PICTURE), plan.left_over)
    with runlog.RecordWriter(folder) as writer:
        done = {r.sample_id for r in runlog.read_lines(folder) if r.prediction.finish != "error"}
        todo = _image_by_image([(i, sample) for i, sample in plan.asked if sample.id not in done])
        progress(len(plan.asked) - len(todo), len(plan.asked))

        def keep(records: list[Record]) -> None:
            runlog.note_switched(folder, model.describe())
            writer.append(records)
            done.update(record.sample_id for record in records)
            progress(len(done), len(plan.asked))

        engine.ask(plan.task, todo, model, settings, keep)
    if "pictures" not in runlog.read_header(folder):
        runlog.note(folder, "pictures", picture_notes(sample for _, sample in plan.samples))
    log.info("%s: %d of %d samples answered", plan.task.name, len(done), len(plan.asked))
    return folder


def _refuse_half_extended(folder: Path, settings: Settings) -> None:
    """Raise RunMismatchError if cut replies of an unfinished run are being extended, and this command would not."""
    granted = runlog.read_header(folder).get("extended")
    if granted and settings.extend_cut is None:
        raise RunMismatchError(
            f"{folder}: its cut replies were being extended by {granted} tokens. "
            f"Give --extend-cut {granted} to finish it, or --fresh to start another."
        )


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


def _ask_all(
    task: Task, todo: Sequence[tuple[int, Sample]], model: Model, settings: Settings, keep: KeepRecords
) -> None:
    """Keep records in batches of the size that is flushed together."""
    by_id = {sample.id: (index, sample) for index, sample in todo}
    form, before = settings.answer, settings.before
    requests = (formats.request(sample, formats.asked(task, sample, form, before), form) for _, sample in todo)
    for chunk in batches(requests, settings.chunk):
        records, sent = [], {request.id: request for request in chunk}
        for prediction in ask(model, chunk, settings):
            index, sample = by_id[prediction.id]
            records.append(record_of(index, sample, prediction, settings.parser, sent[prediction.id]))
        if sorted(record.sample_id for record in records) != sorted(request.id for request in chunk):
            raise DataError(f"{model.name}: the back end did not answer each request once; the batch is dropped.")
        keep(records)


def record_of(
    index: int, sample: Sample, prediction: Prediction, parser: str, request: Request | None = None
) -> Record:
    """Return the line of the run log for one reply, graded as far as it can be without a jury.

    `request` is what was sent; without one, another harness has built the prompt.
    """
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
        options=sample.choices,
        prompt=parts_of(request) if request else (),
        repeat=sample.repeat,
        arm=sample.arm,
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
    task, described, decoding = plan.task, dict(model.describe()), settings.decoding.to_json()
    profile = {"profile": described.pop("profile")} if "profile" in described else {}
    if settings.decoding.source and isinstance(generation := described.get("generation"), Mapping):
        described["generation"] = {**generation, **{key: decoding[key] for key in generation if key in decoding}}
    return {
        "schema": runlog.SCHEMA,
        "model": {**model_facts, "fingerprint": model.fingerprint, "settings": described, **profile},
        "task": {
            "name": task.name,
            "version": task.version,
            "source": task.source,
            "revision": task.revision,
            "commits": dict(plan.commits),
            "verified": asdict(plan.proof) if plan.proof else None,
            "licence": task.licence,
            "expected_rows": task.expected_rows,
            "data_sha256": plan.data_sha256,
            "facts": asdict(facts_of(task)),
            **({"told": dict(plan.told)} if plan.told else {}),
            **({"notes": list(plan.task.notes)} if isinstance(plan.task, Noting) and plan.task.notes else {}),
            **_file_facts(task),
        },
        "prompt_sha256": plan.prompt_sha256,
        "protocol": settings.protocol,
        "parser": parser_id(settings.parser),
        "answer": settings.answer,
        "seed": decoding.pop("seed"),
        "seed_use": _seed_use(settings),
        "decoding": decoding,
        "limit": settings.limit,
        "shard": _shard_text(settings),
        "partial": plan.partial,
        "absent": dict(plan.absent),
        "n": len(plan.samples),
        "n_total": plan.n_total,
        **_control_facts(plan, settings),
        **({"repeats": settings.repeats} if settings.repeats > 1 else {}),
        **({"defence": {**asdict(settings.defence), "sha256": settings.defence.sha256}} if settings.defence else {}),
        "versions": _versions(),
        "host": {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()},
        "asked": dict(asked),
    }


def _control_facts(plan: Plan, settings: Settings) -> Mapping[str, Any]:
    """Return which controls are asked, and of how many samples each is not, and why."""
    if not settings.controls:
        return {}
    asked = {arm: sum(sample.arm == arm for _, sample in plan.controls.samples) for arm in settings.controls}
    return {"controls": {"asked": asked, "left_out": [list(each) for each in plan.controls.left_out]}}


def _file_facts(task: Task) -> Mapping[str, str]:
    """Return the file of a task from outside the package."""
    origin = registry.origin(task)
    return origin.facts if origin else {}


def _seed_use(settings: Settings) -> str:
    """Return in words what the run's seed does."""
    if settings.protocol == "logprob":
        return "unused: options are scored, and nothing is sampled"
    if settings.decoding.temperature == 0:
        return "unused: at temperature 0 every reply is the likeliest one"
    return "with an item's id it seeds the item's reply; a record without a seed was sampled without it"


def _versions() -> dict[str, str]:
    versions = {}
    for package in (
        "aloe-bench",
        "torch",
        "torchvision",
        "transformers",
        "vllm",
        "Pillow",
        "numpy",
        "openai",
        "lm-eval",
    ):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
