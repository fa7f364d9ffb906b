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


# What an extra brings, by the name it is imported under.
EXTRAS = {
    "hf": ("torch", "torchvision", "transformers", "accelerate"),
    "train": ("trl", "datasets", "tensorboard"),
    "cluster": ("deepspeed", "bitsandbytes"),
    "vllm": ("vllm",),
    "lm-eval": ("lm_eval",),
    "vlmeval": ("vlmeval",),
    "ray": ("ray",),
    "annotate": ("starlette", "uvicorn"),
    "report": ("matplotlib",),
    "ocr": ("rapidocr", "onnxruntime"),
    "dicom": ("pydicom",),
    "dev": ("pytest", "ruff", "mypy"),
}


def missing_extra(error: ModuleNotFoundError) -> DependencyError | None:
    """Return what to say of a package that an extra would bring; None of any other."""
    cause: BaseException | None = error
    while cause is not None:  # a library that lacks another one says so in its own words
        package = (getattr(cause, "name", None) or "").partition(".")[0] if isinstance(cause, ImportError) else ""
        extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
        if extra and isinstance(cause, ModuleNotFoundError):
            return _not_installed(package, extra)
        cause = cause.__cause__ or cause.__context__
    return None


def _not_installed(package: str, extra: str) -> DependencyError:
    return DependencyError(f"this needs {package}, which is not installed. Run: pip install 'aloe-bench[{extra}]'")


def need(*extras: str) -> None:
    """Raise DependencyError for the first package of these extras that is not installed; nothing is imported."""
    from importlib.util import find_spec

    for extra in extras:
        for package in EXTRAS[extra]:
            if find_spec(package) is None:
                raise _not_installed(package, extra)


class GateError(AloeError):
    """A gate that the user gave was not met."""

    exit_code = 4


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean X?" for the closest of `known`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""
