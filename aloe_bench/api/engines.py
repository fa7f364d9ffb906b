"""Who asks in place of our own loop: lm-eval for text tasks, VLMEvalKit's runner, or replicas on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench import registry
from aloe_bench.errors import UsageError
from aloe_bench.evaluation.plan import other_engine

if TYPE_CHECKING:
    from aloe_bench.bridges.ray.engine import RayCluster
    from aloe_bench.bridges.vlmeval.engine import Upstream
    from aloe_bench.core import Model, Task
    from aloe_bench.evaluation.loop import Engine


@dataclass(slots=True)
class Engines:
    """Who asks which task; `make` builds a replica, once the model is known. Data lie in `data_root`."""

    data_root: Path
    work: Path
    upstream: Upstream | None = None
    cluster: RayCluster | None = None
    make: Callable[[], Model] | None = None

    @classmethod
    def of(cls, tasks: Sequence[Task], data_root: Path, output: Path) -> Engines:
        """Return our own loop, and for each task with an engine of its own that one."""
        if any(map(other_engine, tasks)):
            # The progress bars of lm-eval, one for each of a text task's parts; before tqdm is imported.
            os.environ.setdefault("TQDM_DISABLE", "1")
        return cls(data_root, output / "vlmeval-work")

    def model(self, make: Callable[[], Model], backend: str, name: str) -> Model:
        """Return the model that the header describes: one made here, or what stands for it."""
        self.make = make
        if self.upstream is not None:
            from aloe_bench.bridges.vlmeval.engine import UpstreamModel

            if backend != "hf":
                raise UsageError("--engine vlmeval runs a folder with back end hf, or a model of upstream's own.")
            return UpstreamModel(self.upstream, name)
        if self.cluster is not None:
            from aloe_bench.bridges.ray.engine import remote_model

            return remote_model(self.cluster, make)
        return make()

    def engine(self, task: Task) -> Engine | None:
        """Return what asks `task`; None is our own loop."""
        if name := other_engine(task):
            engine: Engine = registry.shipped("engine", registry.ENGINES, name)(task, self.data_root)
            return engine
        if self.upstream is not None:
            from aloe_bench.bridges.vlmeval.engine import vlmeval_engine

            return vlmeval_engine(self.upstream, self.work)
        if self.cluster is not None and self.make is not None:
            from aloe_bench.bridges.ray.engine import ray_engine

            return ray_engine(self.cluster, self.make)
        return None

    def take_upstream(self, tasks: Sequence[Task], model: str, model_args: Mapping[str, Any]) -> None:
        """Let VLMEvalKit's runner ask; raises UsageError for what it does not."""
        from aloe_bench.bridges.vlmeval.engine import Upstream

        if text := list(filter(other_engine, tasks)):
            named = ", ".join(task.name for task in text)
            raise UsageError(f"--engine vlmeval is for questions with images, not for {named}.")
        if self.cluster is not None:
            raise UsageError("--engine vlmeval runs on this machine alone; leave --ray out.")
        path = Path(model) if Path(model).is_dir() else None
        if model_args and path is None:
            raise UsageError(
                f"--model-args needs a local checkpoint folder under --engine vlmeval; {model!r} is not a folder."
            )
        self.upstream = Upstream(model, path, model_args)

    def take_cluster(self, tasks: Sequence[Task], address: str, replicas: int, gpus: float) -> None:
        """Let replicas on a Ray cluster ask; raises UsageError for what they do not."""
        from aloe_bench.bridges.ray.engine import RayCluster

        if text := list(filter(other_engine, tasks)):
            named = ", ".join(task.name for task in text)
            raise UsageError(f"--ray does not spread what lm-eval asks: {named}. Run these without it.")
        self.cluster = RayCluster(address, replicas, gpus=gpus)
