"""Where the steps of a mixture run: the options of a Ray cluster, as `aloe-bench run` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aloe_bench.cli.common import FiniteRange
from aloe_bench.errors import UsageError

if TYPE_CHECKING:
    from aloe_bench.mixture.workplace import Workplace

_Ray = TypeVar("_Ray", bound=Callable[..., Any])


def on_ray(command: _Ray) -> _Ray:
    """Give `command` the options of a Ray cluster, as `run` has them; `workplace_of` reads them."""
    options = (
        click.option(
            "--ray", is_flag=False, flag_value="local",
            help="Work on the Ray cluster at an address; without a value, on this machine.",
        ),
        click.option("--replicas", type=click.IntRange(1), default=2, show_default=True, help="Workers there."),
        click.option("--gpus-per-replica", type=FiniteRange(0), default=0, show_default=True, help="Of one model."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def workplace_of(options: dict[str, Any], workers: int = 1) -> Workplace:
    """Return where the work is done, and take the options of it out of `options`."""
    from aloe_bench.mixture.workplace import this_machine

    address, replicas, gpus = (options.pop(name) for name in ("ray", "replicas", "gpus_per_replica"))
    if address is None:
        return this_machine(workers)
    if workers > 1:
        raise UsageError("--workers are processes of this machine; with --ray give --replicas.")
    from aloe_bench.bridges.ray.engine import RayCluster
    from aloe_bench.bridges.ray.shards import ray_workplace

    return ray_workplace(RayCluster(address, replicas, gpus=gpus))
