"""The errors a user can meet, each with the exit code it ends in."""

from __future__ import annotations

from collections.abc import Iterable


class AloeError(Exception):
    """A mistake or fault with one clear message; `exit_code` is what the command returns."""

    exit_code = 3


class UsageError(AloeError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class DataError(AloeError):
    """Data is missing, broken, or not what the task expects."""


class NoRoomError(DataError):
    """What was to be put into a picture does not fit; the item it belongs to is dropped with this reason."""


class MissingDataError(DataError):
    """The data of `task` is not there; the message says what was expected, where was looked, and what fetches it."""

    def __init__(self, task: str, message: str) -> None:
        super().__init__(message)
        self.task = task


class ModelError(AloeError):
    """A model folder, endpoint or checkpoint is missing or broken."""


class DependencyError(AloeError):
    """An optional package is not installed; the message names the extra that brings it."""


class RunMismatchError(AloeError):
    """A run folder was made under other conditions than those asked for now."""


class GateError(AloeError):
    """A gate that the user gave was not met."""

    exit_code = 4


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean X?" for the closest of `known`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""
