"""Work spread over processes, its results in the order of the work."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from aloe_bench.errors import DataError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK = 4
CHUNKS_AHEAD = 3  # a worker; bounds what waits in memory


class Start(Protocol):
    """Whatever begins to work out `function(item)`, and returns what waits for it and returns or raises its outcome."""

    def __call__(self, function: Callable[[Item], Result], item: Item) -> Callable[[], Result]: ...


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
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"), initializer=_begin)
    waiting: deque[Future[list[Result]]] = deque()
    chunks = iter([items[start : start + CHUNK] for start in range(0, len(items), CHUNK)])
    try:
        with _death_told():
            for chunk in islice(chunks, n_workers * CHUNKS_AHEAD):
                waiting.append(pool.submit(_chunk, function, chunk))
            while waiting:
                yield from waiting.popleft().result()
                for chunk in islice(chunks, 1):
                    waiting.append(pool.submit(_chunk, function, chunk))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def helper(n_workers: int) -> Iterator[Start]:
    """Give what has another process work something out meanwhile, one thing after the other; see Start.

    With one worker there is no other process. It is ended where the work here fails or is interrupted.
    """
    if n_workers <= 1:
        yield _when_asked
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    context = get_context("spawn")
    leash, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(leash,))

    def start(function: Callable[[Item], Result], item: Item) -> Callable[[], Result]:
        with _death_told():
            work = pool.submit(function, item)
        return _death_told()(work.result)

    try:
        yield start
    except BaseException:  # Ctrl-C too ends the process beside this one
        held.close()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        held.close()


def _when_asked(function: Callable[[Item], Result], item: Item) -> Callable[[], Result]:
    return partial(function, item)


@contextmanager
def beside(function: Callable[[Item], Result], item: Item, n_workers: int) -> Iterator[Callable[[], Result]]:
    """Give what returns `function(item)`, which another process works out meanwhile; with one worker, when asked."""
    with helper(n_workers) as start:
        yield start(function, item)


@contextmanager
def _death_told() -> Iterator[None]:
    """Raise DataError where a worker was killed."""
    from concurrent.futures.process import BrokenProcessPool

    try:
        yield
    except BrokenProcessPool as error:
        raise DataError(
            "A worker process was killed, by the system if memory ran out. Run again with fewer --workers."
        ) from error


def _chunk(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    return [function(item) for item in items]


def _begin(*leash: Connection) -> None:
    """Leave Ctrl-C to the parent, and end when it does, however that happens, or when it lets go of a `leash`."""
    import threading
    from multiprocessing import connection, parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is None:
        return

    def follow() -> None:
        connection.wait([parent.sentinel, *leash])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
