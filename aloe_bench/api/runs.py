"""A model asked the questions of tasks: from what is wanted to finished runs on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Unpack, overload

from aloe_bench import registry
from aloe_bench.core import AnswerForm, AnswerProtocol, Cell, Decoding, Model, Record, Task
from aloe_bench.errors import UsageError
from aloe_bench.evaluation import extend, loop, runlog
from aloe_bench.evaluation.cells import task_cells
from aloe_bench.evaluation.controls import Arm
from aloe_bench.evaluation.defence import load_defence
from aloe_bench.evaluation.finish import finish
from aloe_bench.evaluation.plan import Plan, Settings, answer_key, load_plans, other_engine, suited
from aloe_bench.models.decoding import provider_decoding
from aloe_bench.models.make import ModelSpec, checked_options, is_miniature, make_model, model_facts, pinned

if TYPE_CHECKING:
    from aloe_bench.api.engines import Engines
    from aloe_bench.judges.jury.seats import Jury

Summary = dict[str, Any]
_DEFAULT = Decoding()
DecodingOf = Literal["greedy", "provider"]
Progress = Callable[[int, int], None]
# A title in, a place to report to for as long as the step lasts.
Bar = Callable[[str], AbstractContextManager[Progress]]


class Grader(Protocol):
    """Who grades open answers; a Jury is one."""

    def grade(self, folder: Path, progress: Progress) -> int:
        """Grade the run in `folder` and return how many verdicts are still to be asked for."""


@dataclass(frozen=True)
class Run:
    """A run on disk: `folder`, and what summary.json says of it, or would if no call had failed."""

    folder: Path
    summary: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path | str) -> Run:
        """Return the run in `folder`; raises DataError if there is none."""
        path = Path(folder)
        return cls(path, finish(path, done=False))

    @cached_property
    def header(self) -> Mapping[str, Any]:
        """What was asked, of whom, how: run.json."""
        return runlog.read_header(self.folder)

    @cached_property
    def cells(self) -> Mapping[str, Cell]:
        """The published numbers by name, each with its interval and counts."""
        return task_cells(self.header, self.records())

    def records(self) -> list[Record]:
        """Return the lines of the run log in task order: question, prompt, reply, score."""
        return runlog.read_records(self.folder)

    def controls(self) -> list[Record]:
        """Return the lines of the image controls, whose `arm` says which."""
        return runlog.read_controls(self.folder)


@contextmanager
def silent(title: str) -> Iterator[Progress]:
    """Report to nobody."""
    yield lambda done, total: None


class Options(TypedDict, total=False):
    """The keywords of `evaluate`, for type checkers."""

    data_root: Path | str
    output: Path | str
    protocol: AnswerProtocol
    answer: AnswerForm
    parser: str
    temperature: float
    decoding: DecodingOf
    max_new_tokens: int
    reasoning_tokens: int | None
    seed: int
    limit: int | None
    controls: Sequence[Arm]
    repeats: int
    defence: Path | str | None
    batch_size: int
    name: str | None
    judges: Jury | None
    fresh: bool
    allow_partial: bool
    extend_cut: int | None
    engine: Literal["native", "vlmeval"]
    ray: str | None
    replicas: int
    gpus_per_replica: float
    progress: Bar


@overload  # a str is a Sequence of str too, and the first of these that fits counts
def evaluate(  # type: ignore[overload-overlap]
    model: str | ModelSpec | Model, tasks: str | Task, **options: Unpack[Options]
) -> Run: ...
@overload
def evaluate(model: str | ModelSpec | Model, tasks: Sequence[str | Task], **options: Unpack[Options]) -> list[Run]: ...
def evaluate(
    model: str | ModelSpec | Model,
    tasks: str | Task | Sequence[str | Task],
    *,
    data_root: Path | str = "data",
    output: Path | str = "runs",
    protocol: AnswerProtocol = "generate",
    answer: AnswerForm = "letter",
    parser: str = "strict",
    temperature: float = _DEFAULT.temperature,
    decoding: DecodingOf = "greedy",
    max_new_tokens: int = _DEFAULT.max_new_tokens,
    reasoning_tokens: int | None = None,
    seed: int = _DEFAULT.seed,
    limit: int | None = None,
    controls: Sequence[Arm] = (),
    repeats: int = 1,
    defence: Path | str | None = None,
    batch_size: int = 8,
    name: str | None = None,
    judges: Jury | None = None,
    fresh: bool = False,
    allow_partial: bool = False,
    extend_cut: int | None = None,
    engine: Literal["native", "vlmeval"] = "native",
    ray: str | None = None,
    replicas: int = 2,
    gpus_per_replica: float = 0.0,
    progress: Bar = silent,
) -> Run | list[Run]:
    """Return the finished run of `model` on one task, or one run for each of a sequence of tasks.

    `model` is a checkpoint folder or hub id, "mock", a ModelSpec (a server, another back end, its options), or any
    object that is a Model. A task is a name, "heart:FOLDER", or any object that is a Task. As with `aloe-bench run`, an
    unfinished run is resumed, and a failed call has no score; `fresh` starts another run. `reasoning_tokens` closes
    reasoning after so many tokens (`hf`; `max_new_tokens` more may follow). `extend_cut` gives greedy replies that were
    cut so many tokens beyond the limit, also in the finished run. `engine` "vlmeval" lets VLMEvalKit's runner ask;
    `ray`, an address or "local", spreads the questions over `replicas` on a Ray cluster. Both build the model
    themselves, so they take a name or a ModelSpec. `decoding` "provider" samples as the model's provider says.
    `controls` are "blank", "swap" and "read", what is asked beside the samples. `repeats` draws so many replies to each
    question, at a temperature above 0.
    Raises UsageError for what does not fit together, DataError for data, ModelError for a model that cannot be used;
    all of it before anything is written.
    """
    one = not isinstance(tasks, Sequence) or isinstance(tasks, str)
    wanted = [tasks] if isinstance(tasks, str) or not isinstance(tasks, Sequence) else list(tasks)
    found: list[Task] = [registry.task(task) if isinstance(task, str) else task for task in wanted]
    spec = ModelSpec(model, batch_size=batch_size) if isinstance(model, str) else model
    sampled = Decoding(temperature, max_new_tokens, seed, reasoning_tokens)
    settings = Settings(
        output=Path(output),
        decoding=decoding_of(decoding, spec, found, protocol, sampled),
        protocol=protocol,
        parser=parser,
        answer=answer,
        limit=limit,
        controls=tuple(controls),
        repeats=repeats,
        defence=load_defence(str(defence)) if defence else None,
        chunk=chunk_of(batch_size),
        fresh=fresh,
        allow_partial=allow_partial,
        extend_cut=extend_cut,
    )
    plans, _ = load_plans(found, Path(data_root), settings)
    where = Where(engine, ray, replicas, gpus_per_replica)
    engines = engines_of(found, Path(data_root), Path(output), where, spec)
    if isinstance(spec, ModelSpec):
        asked, facts = model_of(spec, plans, engines, name)
    else:
        asked, facts = spec, _own_facts(spec, name)
    # By these the data are found again, e.g. to be shown to experts.
    by_name = ",".join(task for task in wanted if isinstance(task, str))
    said = {"options": {"tasks": by_name, "data_root": str(data_root)}}
    summaries = evaluate_plans(plans, asked, facts, settings, engines, said, judges, progress)
    runs = [Run(Path(summary["run"]), summary) for summary in summaries]
    return runs[0] if one else runs


def decoding_of(
    whose: str, model: ModelSpec | Model, tasks: Sequence[Task], protocol: str, decoding: Decoding
) -> Decoding:
    """Return `decoding`, or where it is the "provider" whose is wanted, that of the model's provider.

    Raises UsageError where nothing is decoded, or not by us; otherwise as `provider_decoding`.
    """
    if whose == "greedy":
        return decoding
    if whose != "provider":
        raise UsageError(f"decoding {whose!r}: expected greedy or provider.")
    if protocol != "generate":
        raise UsageError("--decoding provider is for generated replies; --protocol logprob decodes nothing.")
    if own := next((task.name for task in tasks if other_engine(task)), None):
        raise UsageError(f"--decoding provider: {own} is decoded as its own engine says; run it without.")
    if not isinstance(model, ModelSpec) or model.kind == "mock":
        raise UsageError("--decoding provider is for a checkpoint folder, a hub id, or a model on a server.")
    return provider_decoding(model, decoding)


@dataclass(frozen=True, slots=True)
class Where:
    """Where questions are asked: by our own loop here, by VLMEvalKit's runner, or by replicas on a Ray cluster."""

    engine: str = "native"
    ray: str | None = None
    replicas: int = 2
    gpus_per_replica: float = 0.0


def engines_of(
    tasks: Sequence[Task], data_root: Path, output: Path, where: Where, model: ModelSpec | Model
) -> Engines | None:
    """Return who asks in place of our own loop; None if nobody does: no task's own engine, and none is wanted.

    Raises UsageError if two would, or if another engine would have to build a model that is already an object.
    """
    chosen = where.ray is not None or where.engine != "native"
    if not chosen and not any(map(other_engine, tasks)):
        return None
    from aloe_bench.api.engines import Engines

    if where.engine not in ("native", "vlmeval"):
        raise UsageError(f"engine {where.engine!r}: expected native or vlmeval.")
    engines = Engines.of(tasks, data_root, output)
    if chosen and not isinstance(model, ModelSpec):
        raise UsageError("Ray and VLMEvalKit build the model themselves; give its folder or a ModelSpec.")
    if where.ray is not None:
        engines.take_cluster(tasks, where.ray, where.replicas, where.gpus_per_replica)
    if where.engine == "vlmeval" and isinstance(model, ModelSpec):
        engines.take_upstream(tasks, model.model, model.options)
    return engines


def chunk_of(batch_size: int) -> int:
    """Return how many replies are written together: enough for a back end to sort them into like batches."""
    return max(32, 4 * batch_size)


def model_of(
    spec: ModelSpec, plans: Sequence[Plan], engines: Engines | None = None, name: str | None = None,
    size_group: str | None = None, domain: str | None = None,
) -> tuple[Model, dict[str, Any]]:  # fmt: skip
    """Return the model, or what stands for it where another engine asks, and what the header holds of it."""
    spec = pinned(spec)
    make = partial(make_model, spec, partial(_mock, answer_key(plans)))
    model = engines.model(make, spec.kind, spec.base) if engines else make()
    return model, model_facts(spec, model.fingerprint, name, size_group, domain)


def _mock(key: Mapping[str, tuple[str, str | None]], name: str, options: Mapping[str, Any]) -> Model:
    from aloe_bench.models.mock import Behaviour, MockModel

    return MockModel(key, Behaviour(**checked_options(Behaviour, options, "back end mock")), name=name)


def _own_facts(model: Model, name: str | None) -> dict[str, Any]:
    backend = str(model.describe().get("backend", type(model).__name__))
    called = name or f"{model.name}-{model.fingerprint[:8]}"
    folder = getattr(model, "folder", None)
    small = backend == "mock" or (folder is not None and is_miniature(Path(folder)))
    return {"name": called, "backend": backend, "miniature": small, "size_group": None, "domain": None}


def evaluate_plans(
    plans: Sequence[Plan],
    model: Model,
    facts: Mapping[str, Any],
    settings: Settings,
    engines: Engines | None = None,
    asked: Mapping[str, Any] | None = None,
    jury: Grader | None = None,
    progress: Bar = silent,
) -> list[Summary]:
    """Return the summary of each plan's run, every item of it asked; `jury` grades the open answers.

    What the model cannot be asked is refused before any run has a folder. A finished run that was made the same way is
    taken as it is, unless `settings` ask for a fresh one; its summary says so under `already_finished`.
    """
    for plan in plans:
        engine = engines.engine(plan.task) if engines else None
        loop.check_able(plan, model, suited(settings, plan.task), engine)
        loop.check_reasoning(plan, model, suited(settings, plan.task), engine)
        if settings.extend_cut is not None:
            extend.check_extendable(plan, suited(settings, plan.task), engine)
    summaries = []
    for plan in plans:
        with progress(plan.task.name) as report:
            engine = engines.engine(plan.task) if engines else None
            folder = loop.run_plan(plan, model, suited(settings, plan.task), facts, asked, report, engine)
        left = 0
        if settings.extend_cut is not None:
            with progress("cut replies") as report:
                left = extend.extend_cut(folder, plan, model, suited(settings, plan.task), report)
        already = runlog.is_finished(folder)
        if jury and any(sample.kind == "open" for _, sample in plan.samples):
            with progress("verdicts") as report:
                left += jury.grade(folder, report)
        summaries.append({**finish(folder, done=not left), **({"already_finished": True} if already else {})})
    return summaries
