"""A task spread over a Ray cluster: Ray Data actors, each a replica of the back end; the driver writes the run log."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aloe_bench.core import AnswerScorer, Decoding, Model, Prediction, Request, Sample, Task, capabilities
from aloe_bench.errors import AloeError, DependencyError, ModelError
from aloe_bench.evaluation.loop import Engine, KeepRecords, ask, record_of
from aloe_bench.evaluation.plan import Settings
from aloe_bench.tasks import formats

log = logging.getLogger(__name__)
KNOCK_S = 5.0


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Where the work goes: a Ray `address` (host:port, "auto", "local" for one of its own here); how many replicas.

    `gpus` and `cpus` are what each replica is given; a vLLM replica with tensor parallelism takes as many GPUs.
    """

    address: str = "local"
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


class RemoteScorer(RemoteModel):
    """Replicas that also score options."""

    def option_logprobs(self, requests: Sequence[Request]) -> Any:
        """Raise: only replicas answer."""
        return self.generate(requests, Decoding())


class RemoteReader(RemoteScorer):
    """Replicas that also read whole answers; `capabilities` are a replica's own."""

    def __init__(self, able: frozenset[str], name: str, fingerprint: str, settings: Mapping[str, object]) -> None:
        super().__init__(name, fingerprint, settings)
        self.capabilities = able

    def answer_logprobs(self, requests: Sequence[Request]) -> Any:
        """Raise: only replicas answer."""
        return self.generate(requests, Decoding())


def made_in(make: Callable[[], Model], folder: str) -> Model:
    """Return the back end, made in the driver's `folder`: relative paths of model and images start there."""
    if os.path.isdir(folder):
        os.chdir(folder)
    return make()


class _Replica:
    """One back end in one actor; called by Ray Data with batches of requests.

    What ends a run comes back as data: of an exception raised in an actor, Ray hands on the text alone.
    """

    def __init__(self, make: Callable[[], Model], settings: Settings, folder: str) -> None:
        self.model, self.settings = made_in(make, folder), settings

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Prediction | AloeError]]:
        try:
            return {"prediction": [*ask(self.model, list(batch["request"]), self.settings)]}
        except AloeError as error:
            return {"prediction": [error]}


def connect(cluster: RayCluster) -> Any:
    """Return ray, connected; raises DependencyError or ModelError."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DependencyError(f"--ray needs Ray ({error}). Run: pip install 'aloe-bench[ray]'.") from error
    if not ray.is_initialized():
        cores = max(1, round(cluster.replicas * cluster.cpus)) + 1  # one for Ray Data's own tasks
        local: dict[str, Any] = {"num_cpus": cores} if cluster.address == "local" else {}
        try:
            _knock(cluster.address)
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR, **local)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"No Ray cluster at {cluster.address!r} ({error}). Start one with `ray start --head`, set "
                "RAY_AUTH_MODE=token if it asks for a token, or leave the address out to use this machine."
            ) from error
    _check_room(ray, cluster)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.enable_operator_progress_bars = False
    for name in ("ray", "ray.data"):  # what ends a run is told in one line, not in Ray's own traceback too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


def _knock(address: str) -> None:
    """Raise OSError at once if nothing listens at a host:port; Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()


def _check_room(ray: Any, cluster: RayCluster) -> None:
    """Say so if no node can hold a replica, as Ray waits for one in silence: a cluster may grow, this machine not."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(node.get("GPU", 0) >= cluster.gpus and node.get("CPU", 0) >= cluster.cpus for node in nodes):
        return
    most = max((node.get("GPU", 0) for node in nodes), default=0)
    wanted = f"{cluster.gpus:g} GPUs and {cluster.cpus:g} CPUs"
    reason = f"no node has room for a replica of {wanted}; the most GPUs are {most:g}."
    if cluster.address == "local":
        raise ModelError(f"Ray on this machine: {reason} Correct --gpus-per-replica.")
    log.warning("ray at %s: %s Waiting for one to join.", cluster.address, reason)


def remote_model(cluster: RayCluster, make: Callable[[], Model]) -> RemoteModel:
    """Return what one replica, made on the cluster and let go again, says of itself."""
    ray, folder = connect(cluster), os.getcwd()

    @ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus)  # type: ignore[untyped-decorator, unused-ignore]
    def look() -> tuple[frozenset[str], bool, tuple[str, str, dict[str, object]]]:
        model = made_in(make, folder)
        known = model.name, model.fingerprint, dict(model.describe())
        return capabilities(model), isinstance(model, AnswerScorer), known

    try:
        able, reads, known = ray.get(look.remote())
        if reads:
            return RemoteReader(able, *known)
        return RemoteScorer(*known) if "logprob" in able else RemoteModel(*known)
    except ray.exceptions.RayTaskError as error:
        raise ModelError(f"A replica cannot be made on the cluster: {error.cause}") from error


def ray_engine(cluster: RayCluster, make: Callable[[], Model]) -> Engine:
    """Return what `run_plan` is handed to have replicas made by `make` answer on the cluster.

    A replica that dies is replaced and its batch is asked again; every batch is written as it arrives.
    """
    ray = connect(cluster)

    def ask_all(
        task: Task, todo: Sequence[tuple[int, Sample]], model: Model, settings: Settings, keep: KeepRecords
    ) -> None:
        by_id = {sample.id: (index, sample) for index, sample in todo}
        form = settings.answer
        items = [{"request": formats.request(s, formats.asked(task, s, form, settings.before), form)} for _, s in todo]
        sent = {item["request"].id: item["request"] for item in items}
        if not items:
            return
        blocks = min(len(items), max(cluster.replicas, len(items) // settings.chunk))
        answered = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
            _Replica,
            fn_constructor_args=(make, settings, os.getcwd()),
            batch_size=settings.chunk,
            compute=ray.data.ActorPoolStrategy(size=cluster.replicas),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
        )
        seen: set[str] = set()
        for batch in _arriving(ray, answered):
            # A batch that was asked twice because its replica died in between counts once.
            fresh = [p for p in batch if p.id not in seen]
            seen.update(p.id for p in fresh)
            keep([record_of(*by_id[p.id], p, settings.parser, sent[p.id]) for p in fresh])
        if seen != set(by_id):
            missing = len(by_id) - len(seen)
            raise ModelError(f"{missing} of {len(by_id)} questions came back from no replica. Run again.")

    return Engine(ask_all)


def _arriving(ray: Any, answered: Any) -> Iterator[list[Prediction]]:
    """Yield the replies, batch by batch; raises what ended a replica's work, ModelError if none can be made."""
    try:
        for batch in answered.iter_batches(batch_size=None, prefetch_batches=0):
            for reply in batch["prediction"]:
                if isinstance(reply, AloeError):
                    raise reply
            yield list(batch["prediction"])
    except ray.exceptions.RayActorError as error:
        raise ModelError(
            f"A replica cannot be made on the cluster: {str(error).strip().splitlines()[-1]} "
            "What was answered is kept; run the same command again."
        ) from error
