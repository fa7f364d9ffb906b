"""Work spread over processes, its results in the order of the work."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Protocol, TypeVar

from aloe_bench.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK = 4
CHUNKS_AHEAD = 3  # a worker; bounds what waits in memory


class Spread(Protocol):
    """Whatever yields `function(item)` for each of `items`, in their order, wherever it is worked out."""

    def __call__(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]: ...


def here(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield `function(item)` for each of `items`, worked out in this process; a Spread."""
    yield from map(function, items)


def processes(n_workers: int) -> Spread:
    """Return what spreads work over `n_workers` processes of this machine, as `ordered` does."""

    def spread(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        return ordered(function, items, n_workers)

    return spread


def available() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(function: Callable[[Item], Result], items: Sequence[Item], n_workers: int) -> Iterator[Result]:
    """Yield `function(item)` for each of `items`, in order; with one worker in this process, else in new ones.

    Raises what `function` raises, and DataError if a worker is killed.
    """
    if n_workers <= 1 or len(items) <= CHUNK:
        yield from map(function, items)
        return
    yield from _pooled(function, items, n_workers)


def _pooled(function: Callable[[Item], Result], items: Sequence[Item], n_workers: int) -> Iterator[Result]:
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"), initializer=_begin)
    waiting: deque[Future[list[Result]]] = deque()
    chunks = iter([items[start : start + CHUNK] for start in range(0, len(items), CHUNK)])
    try:
        for chunk in islice(chunks, n_workers * CHUNKS_AHEAD):
            waiting.append(pool.submit(_chunk, function, chunk))
        while waiting:
            yield from waiting.popleft().result()
            for chunk in islice(chunks, 1):
                waiting.append(pool.submit(_chunk, function, chunk))
    except BrokenProcessPool as error:
        raise DataError(
            "A worker process was killed, by the system if memory ran out. Nothing was written; "
            "run again with fewer --workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def beside(function: Callable[[Item], Result], item: Item, n_workers: int) -> Iterator[Callable[[], Result]]:
    """Give what returns `function(item)`, which another process works out meanwhile; with one worker, when asked.

    What it returns raises as `ordered` does.
    """
    if n_workers <= 1:
        yield lambda: function(item)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(lambda: next(_pooled(function, [item], 1))).result


def _chunk(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    return [function(item) for item in items]


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end when it does, however that happens."""
    import threading
    from multiprocessing import connection, parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is None:
        return

    def follow() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
