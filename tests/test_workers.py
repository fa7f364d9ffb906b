"""Work in a process beside this one: what it returns, raises, and leaves behind when it is no longer wanted."""

from __future__ import annotations

import signal
import time

import pytest

from aloe_bench.errors import DataError
from aloe_bench.workers import helper


@pytest.mark.parametrize("n_workers", [1, 2])
def test_work_beside_returns_and_raises_what_it_would_here(n_workers: int) -> None:
    with helper(n_workers) as start:
        seven, fault = start(int, "7"), start(int, "seven")
        assert seven() == 7
        with pytest.raises(ValueError, match="seven"):
            fault()


def test_a_process_beside_that_is_killed_is_told_of() -> None:
    with helper(2) as start:
        work = start(signal.raise_signal, signal.SIGKILL)
        with pytest.raises(DataError, match="killed"):
            work()


def test_the_process_beside_ends_at_once_where_the_work_here_is_interrupted() -> None:
    def interrupted() -> None:
        with helper(2) as start:
            start(time.sleep, 600)
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - started < 60
