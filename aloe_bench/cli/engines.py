"""Who asks in place of our own loop: lm-eval for text tasks, VLMEvalKit's runner, or replicas on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aloe_bench import registry
from aloe_bench.errors import UsageError
from aloe_bench.facts import facts_of

if TYPE_CHECKING:
    from aloe_bench.bridges.ray.engine import Cluster
    from aloe_bench.bridges.vlmeval.engine import Upstream
    from aloe_bench.core import Model, Task
    from aloe_bench.evaluation.loop import Engine
    from aloe_bench.evaluation.plan import Plan, Settings


@dataclass(slots=True)
class Engines:
    """What the options say of who asks; `make` builds a replica, once the model is known."""

    data_root: Path
    work: Path
    upstream: Upstream | None = None
    cluster: Cluster | None = None
    make: Callable[[], Model] | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any], tasks: Sequence[Task]) -> Engines:
        """Return the engines of a `run`; raises a usage error if two of them would ask."""
        if any(map(other_engine, tasks)):
            # The progress bars of lm-eval, one for each of a text task's parts; before tqdm is imported.
            os.environ.setdefault("TQDM_DISABLE", "1")
        engines = cls(options["data_root"], options["output"] / "vlmeval-work")
        if options["engine"] == "vlmeval":
            engines._take_upstream(options, tasks)
        if options["ray"] is not None:
            engines._take_cluster(options, tasks)
        return engines

    def model(self, make: Callable[[], Model], backend: str, name: str) -> Model:
        """Return the model that the header describes: one made here, or what stands for it."""
        self.make = make
        if self.upstream is not None:
            from aloe_bench.bridges.vlmeval.engine import UpstreamModel

            if backend != "hf":
                raise click.UsageError("--engine vlmeval runs a folder with back end hf, or a model of upstream's own.")
            return UpstreamModel(self.upstream, name)
        if self.cluster is not None:
            from aloe_bench.bridges.ray.engine import remote_model

            return remote_model(self.cluster, make)
        return make()

    def engine(self, task: Task) -> Engine | None:
        """Return what asks `task`; None is our own loop."""
        if other_engine(task):
            engine: Engine = registry.shipped("engine", registry.ENGINES, other_engine(task))(task, self.data_root)
            return engine
        if self.upstream is not None:
            from aloe_bench.bridges.vlmeval.engine import vlmeval_engine

            return vlmeval_engine(self.upstream, self.work)
        if self.cluster is not None and self.make is not None:
            from aloe_bench.bridges.ray.engine import ray_engine

            return ray_engine(self.cluster, self.make)
        return None

    def refuse_without_logprobs(self, model: Model, backend: str, plans: Sequence[Plan]) -> None:
        """Raise a usage error before anything is asked if a text task meets a model that cannot score raw prompts."""
        from aloe_bench.core import OptionScorer

        text = [plan.task.name for plan in plans if other_engine(plan.task)]
        if text and (backend == "openai" or not isinstance(model, OptionScorer)):
            raise click.UsageError(
                f"{', '.join(text)}: scored by the log-likelihood of raw prompts, which back end {backend} does not "
                "give. Use a checkpoint folder with hf or vllm, or the other tasks (--suite medical_images has them)."
            )

    def _take_upstream(self, options: Mapping[str, Any], tasks: Sequence[Task]) -> None:
        from aloe_bench.bridges.vlmeval.engine import Upstream
        from aloe_bench.cli.run import model_args

        text = [task.name for task in tasks if other_engine(task)]
        if text:
            raise click.UsageError(f"--engine vlmeval is for questions with images, not for {', '.join(text)}.")
        if options["ray"] is not None:
            raise click.UsageError("--engine vlmeval runs on this machine alone; leave --ray out.")
        folder = Path(options["model"])
        path = folder if folder.is_dir() else None
        extra = model_args(options["model_args"])
        if extra and path is None:
            raise click.UsageError(
                f"{options['model']} is no folder here, and VLMEvalKit takes no --model-args for its own models."
            )
        self.upstream = Upstream(options["model"], path, extra)

    def _take_cluster(self, options: Mapping[str, Any], tasks: Sequence[Task]) -> None:
        from aloe_bench.bridges.ray.engine import Cluster

        text = [task.name for task in tasks if other_engine(task)]
        if text:
            raise click.UsageError(f"--ray does not spread what lm-eval asks: {', '.join(text)}. Run these without it.")
        self.cluster = Cluster(options["ray"], options["replicas"], gpus=options["gpus_per_replica"])


def other_engine(task: Task) -> str:
    """Return the name of what asks this task in place of our own loop, "" if nothing does."""
    engine = facts_of(task).engine
    if engine != "native" and engine not in registry.ENGINES:
        known = ", ".join(("native", *registry.ENGINES))
        raise UsageError(f"{task.name}: engine {engine!r} is not known; expected one of {known}.")
    return "" if engine == "native" else engine


def suited(settings: Settings, task: Task) -> Settings:
    """Return `settings` for one task: a text task has one way of being asked, and it is none of the user's."""
    if not other_engine(task):
        return settings
    return replace(settings, protocol="logprob", answer="letter", parser="strict")
