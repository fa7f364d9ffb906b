"""A task spread over a Ray cluster: Ray Data actors, each a replica of the back end; the driver writes the run log."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aloe_bench.core import Decoding, Model, Prediction, Request, Sample, Task
from aloe_bench.errors import DependencyError, ModelError
from aloe_bench.run import Engine, Keep, Settings, ask, record_of
from aloe_bench.tasks import formats

log = logging.getLogger(__name__)
KNOCK_S = 5.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the work goes: a Ray `address` ("auto", host:port) or None for this machine; how many replicas.

    `gpus` and `cpus` are what each replica is given; a vLLM replica with tensor parallelism takes as many GPUs.
    """

    address: str | None = None
    replicas: int = 2
    gpus: float = 0.0
    cpus: float = 1.0


class RemoteModel:
    """What the driver knows of the replicas: name, fingerprint, description. It answers nothing itself."""

    def __init__(self, name: str, fingerprint: str, settings: Mapping[str, object]) -> None:
        self.name, self.fingerprint, self._settings = name, fingerprint, settings

    def describe(self) -> Mapping[str, object]:
        """Return what a replica says of itself."""
        return self._settings

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Any:
        """Raise: only replicas answer."""
        raise ModelError(f"{self.name} lives on the cluster; it cannot be asked here.")

    option_logprobs = generate


class _Replica:
    """One back end in one actor; called by Ray Data with batches of requests."""

    def __init__(self, make: Callable[[], Model], settings: Settings) -> None:
        self.model, self.settings = make(), settings

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Prediction]]:
        return {"prediction": list(ask(self.model, list(batch["request"]), self.settings))}


def connect(cluster: Cluster) -> Any:
    """Return ray, connected; raises DependencyError or ModelError."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DependencyError(f"--ray needs Ray ({error}). Run: pip install 'aloe-bench[ray]'.") from error
    if not ray.is_initialized():
        cores = max(1, round(cluster.replicas * cluster.cpus)) + 1  # one for Ray Data's own tasks
        local: dict[str, Any] = {} if cluster.address else {"num_cpus": cores}
        try:
            _knock(cluster.address)
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR, **local)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"No Ray cluster at {cluster.address!r} ({error}). Start one with `ray start --head`, or leave the "
                "address out to use this machine."
            ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.enable_operator_progress_bars = False
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _knock(address: str | None) -> None:
    """Raise OSError at once if nothing listens at a host:port; Ray itself would wait for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()


def remote_model(cluster: Cluster, make: Callable[[], Model]) -> RemoteModel:
    """Return what one replica, made on the cluster and let go again, says of itself."""
    ray = connect(cluster)

    @ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus)  # type: ignore[untyped-decorator, unused-ignore]
    def look() -> tuple[str, str, dict[str, object]]:
        model = make()
        return model.name, model.fingerprint, dict(model.describe())

    try:
        return RemoteModel(*ray.get(look.remote()))
    except ray.exceptions.RayTaskError as error:
        raise ModelError(f"A replica cannot be made on the cluster: {error.cause}") from error


def ray_engine(cluster: Cluster, make: Callable[[], Model]) -> Engine:
    """Return what `run_plan` is handed to have replicas made by `make` answer on the cluster.

    A replica that dies is made anew and its batch is asked again; every batch is written as it arrives.
    """
    ray = connect(cluster)

    def ask_all(task: Task, todo: Sequence[tuple[int, Sample]], model: Model, settings: Settings, keep: Keep) -> None:
        by_id = {sample.id: (index, sample) for index, sample in todo}
        form = settings.answer
        items = [{"request": formats.request(s, formats.asked(task, s, form), form)} for _, s in todo]
        if not items:
            return
        blocks = min(len(items), max(cluster.replicas, len(items) // settings.chunk))
        answered = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
            _Replica,
            fn_constructor_args=(make, settings),
            batch_size=settings.chunk,
            compute=ray.data.ActorPoolStrategy(size=cluster.replicas),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
        )
        seen: set[str] = set()
        for batch in answered.iter_batches(batch_size=None, prefetch_batches=0):
            # A batch that was asked twice because its replica died in between counts once.
            fresh = [p for p in batch["prediction"] if p.id not in seen]
            seen.update(p.id for p in fresh)
            keep([record_of(*by_id[p.id], p, settings.parser) for p in fresh])
        if seen != set(by_id):
            missing = len(by_id) - len(seen)
            raise ModelError(f"{missing} of {len(by_id)} questions came back from no replica. Run again.")

    return Engine(ask_all)
