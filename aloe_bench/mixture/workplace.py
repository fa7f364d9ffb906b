"""Where a mixture is made: in this process, over processes of this machine, or where a bridge says (a Ray cluster).

The functions are the same everywhere, over the same shards, and their results come back in the order of the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from aloe_bench.core import Model
from aloe_bench.models.make import ModelSpec, make_model
from aloe_bench.workers import Spread, here, processes

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class ModelSpread(Protocol):
    """Whatever yields `function(model, job)` for each of `jobs`, in their order; each model may be one of many."""

    def __call__(self, function: Callable[[Model, Job], Answer], jobs: Iterable[Job]) -> Iterator[Answer]: ...


def with_model(model: Model) -> ModelSpread:
    """Return what has `model` itself do every job, one after the other."""

    def spread(function: Callable[[Model, Job], Answer], jobs: Iterable[Job]) -> Iterator[Answer]:
        return (function(model, job) for job in jobs)

    return spread


@dataclass(frozen=True, slots=True)
class Workplace:
    """How work without a model is spread, and from what a user says of a model, the model and who does its jobs."""

    spread: Spread
    model: Callable[[ModelSpec], tuple[Model, ModelSpread]]


def _made_here(spec: ModelSpec) -> tuple[Model, ModelSpread]:
    model = make_model(spec)
    return model, with_model(model)


def this_machine(n_workers: int = 1) -> Workplace:
    """Return this machine as a workplace: `n_workers` processes, and one model in this one."""
    return Workplace(here if n_workers <= 1 else processes(n_workers), _made_here)
