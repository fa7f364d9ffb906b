"""A mixture made on a Ray cluster: the functions of `mixture/` over the same shards, as Ray Data over pools of actors.

The pool's folder has to be on a file system that all nodes share. The driver takes results in the order of the shards,
whichever is ready first, and alone writes what models say: the files are those that one machine makes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from aloe_bench.bridges.ray.engine import RayCluster, connect, made_in, remote_model
from aloe_bench.core import Model
from aloe_bench.errors import AloeError, ModelError
from aloe_bench.mixture.workplace import ModelSpread, Workplace
from aloe_bench.models.make import ModelSpec, make_model, pinned
from aloe_bench.workers import Spread

Job = TypeVar("Job")
Answer = TypeVar("Answer")
# Jobs that are handed to the cluster at once: what waits in the driver is bounded, and a pool of actors lasts long.
AT_ONCE = 4096


def ray_workplace(cluster: RayCluster) -> Workplace:
    """Return the cluster as a workplace. Raises DependencyError or ModelError if there is none."""
    connect(cluster)

    def model(spec: ModelSpec) -> tuple[Model, ModelSpread]:
        make = partial(make_model, pinned(spec))
        return remote_model(cluster, make), _with_replicas(cluster, make)

    return Workplace(_spread(cluster), model)


def _spread(cluster: RayCluster) -> Spread:
    # Pictures and tokens are work for processors; GPUs are for the replicas of a model.
    bare = RayCluster(cluster.address, cluster.replicas, 0.0, cluster.cpus)

    def spread(function: Callable[[Job], Answer], items: Sequence[Job]) -> Iterator[Answer]:
        return _results(bare, partial(_without_model, function), None, items)

    return spread


def _without_model(function: Callable[[Job], Answer], model: None, job: Job) -> Answer:
    return function(job)


def _with_replicas(cluster: RayCluster, make: Callable[[], Model]) -> ModelSpread:
    def spread(function: Callable[[Model, Job], Answer], jobs: Iterable[Job]) -> Iterator[Answer]:
        return _results(cluster, function, make, jobs)

    return spread


class _Worker:
    """A function in an actor, with its model if it has one; what ends the work comes back as data."""

    def __init__(self, function: Callable[[Any, Any], Any], make: Callable[[], Model] | None, folder: str) -> None:
        self.function = function
        self.model = made_in(make or _nothing, folder)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        found = []
        for held in batch["job"]:
            try:
                found.append(self.function(self.model, held.answer))
            except AloeError as error:
                found.append(error)
        return {"number": list(batch["number"]), "answer": [_Held(each) for each in found]}


def _nothing() -> Any:
    return None


class _Held:
    """An answer of any kind; a bare list would become a column of its parts."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer


def _results(
    cluster: RayCluster, function: Callable[[Any, Job], Answer], make: Callable[[], Model] | None, jobs: Iterable[Job]
) -> Iterator[Answer]:
    """Yield the answers in the order of `jobs`. Raises what ended a job, ModelError if no actor can be made."""
    ray, waiting = connect(cluster), iter(jobs)
    while some := [{"number": number, "job": _Held(job)} for number, job in enumerate(islice(waiting, AT_ONCE))]:
        answered = ray.data.from_items(some, override_num_blocks=len(some)).map_batches(
            _Worker,
            fn_constructor_args=(function, make, os.getcwd()),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=cluster.replicas),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
        )
        yield from _in_order(ray, answered, len(some))


def _in_order(ray: Any, answered: Any, n: int) -> Iterator[Any]:
    early: dict[int, Any] = {}
    following = 0
    try:
        for batch in answered.iter_batches(batch_size=None, prefetch_batches=0):
            for number, held in zip(batch["number"], batch["answer"], strict=True):
                if isinstance(held.answer, AloeError):
                    raise held.answer
                if number >= following:  # a job that was done twice because its actor died counts once
                    early[int(number)] = held.answer
            while following in early:
                yield early.pop(following)
                following += 1
    except ray.exceptions.RayActorError as error:
        raise ModelError(
            f"A worker cannot be made on the cluster: {str(error).strip().splitlines()[-1]} What was done is kept; run "
            "the same command again."
        ) from error
    if following != n:
        raise ModelError(f"{n - following} of {n} shards came back from no worker. Run the same command again.")
