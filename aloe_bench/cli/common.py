"""What commands share: the check of an option, and what a user sees while one runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

if TYPE_CHECKING:
    import socket

_Value = TypeVar("_Value")
# A rate from less time says nothing, and lines that come faster are not read.
LEAST_SECONDS = 2.0


class RunFolder(click.Path):
    """A run folder, or the folder of its task or model, which stands for the newest finished run in it."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from aloe_bench.evaluation.runlog import find_run

        return find_run(Path(str(super().convert(value, param, ctx))))


class FiniteRange(click.FloatRange):
    """A range that holds neither nan, which passes every comparison with a bound, nor infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def given(value: _Value | None, name: str) -> _Value:
    """Return the value of option --`name`; raises a usage error if it was not given."""
    if value is None:
        raise click.UsageError(f"Missing option '--{name}'.")
    return value


class Report(Protocol):
    """What a command tells of its progress; `note` says more of the last step, such as a loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def same_command() -> str:
    """Return the advice by which an unfinished command is resumed; --fresh would start it over."""
    given = next((word for word in sys.argv if word.replace("_", "-") in ("--fresh", "--fresh-verdicts")), None)
    return "run the same command again" + (f" without {given}" if given else "")


def _nothing(done: int, total: int, note: str = "") -> None:
    """Report to nobody."""


@contextmanager
def progress_of(title: str, *, quiet: bool) -> Iterator[Report]:
    """Give a Report: a bar on a terminal, elsewhere a line every tenth, two seconds apart, nothing if quiet."""
    if quiet:
        yield _nothing
    elif sys.stderr.isatty():
        with _bar(title) as report:
            yield report
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    speed = _speed()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        line = bar.add_task(title, total=None, rate="")

        def report(done: int, total: int, note: str = "") -> None:
            rate = speed(done)
            bar.update(line, completed=done, total=total, rate=f"{f'{rate:.1f}/s' if rate else ''}  {note}".strip())

        yield report


def _lines(title: str) -> Report:
    shown, last, speed = -1, time.monotonic(), _speed()

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal shown, last
        rate, tenth, now = speed(done), 10 * done // max(1, total), time.monotonic()
        if tenth > shown and (note or done == total or now - last >= LEAST_SECONDS):
            shown, last = tenth, now
            left = f", {rate:.1f}/s, {(total - done) / rate:.0f} s left" if rate and done < total else ""
            click.echo(f"{title}: {done}/{total}{left}{f', {note}' if note else ''}", err=True)

    return report


def _speed() -> Callable[[int], float | None]:
    """Return a function done -> items per second of this session, None while that would be noise.

    What an earlier session did does not count, nor the time before the first item was reported.
    """
    started: tuple[float, int] | None = None

    def rate(done: int) -> float | None:
        nonlocal started
        if started is None:
            started = (time.monotonic(), done)
        seconds, new = time.monotonic() - started[0], done - started[1]
        return new / seconds if new and seconds >= LEAST_SECONDS else None

    return rate


def listener_on(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; raises UsageError where it cannot."""
    import socket

    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise click.UsageError(
            f"Cannot listen on {host} port {port} ({error.strerror}); choose another --host or --port (0: a free one)."
        ) from error
