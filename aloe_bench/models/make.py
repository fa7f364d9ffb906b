"""From what a user says of a model to the model: the one place that builds back ends, for runs and for judges."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aloe_bench import registry
from aloe_bench.core import Model
from aloe_bench.errors import UsageError, did_you_mean, missing_extra
from aloe_bench.models.checkpoint_files import model_name
from aloe_bench.models.known import known_model

# What a back end is given besides its own options, where its constructor names it.
COMMON = ("batch_size", "base_url", "api_key", "revision")
# Of these, what a user has asked for by name, and a back end without it must not drop.
ASKED = ("base_url", "revision")
LOCAL = ("hf", "vllm")
HINTS = {"base_url": ", e.g. http://127.0.0.1:8000/v1"}
# Builds what sits in the mock's place: a name and options in, a Model out.
Mock = Callable[[str, Mapping[str, Any]], Model]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as it is asked for: a checkpoint folder or hub id, or a name on the server at `base_url`, or "mock".

    `backend` "auto" is "mock" for "mock", "openai" with a `base_url`, "hf" without one. `options` go to the back end.
    `name` is what the model is called; by default the last part of its path, or its name on the server. `revision` is
    the commit of a hub id, or the one that a server serves.
    """

    model: str
    backend: str = "auto"
    base_url: str | Sequence[str] | None = None
    api_key: str = field(default="EMPTY", repr=False)
    batch_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    revision: str | None = None

    @property
    def kind(self) -> str:
        """The back end."""
        if self.backend != "auto":
            return self.backend
        return "mock" if self.model == "mock" else "openai" if self.base_url else "hf"

    @property
    def base(self) -> str:
        """What the model is called."""
        return self.name or (model_name(self.model) if self.kind in LOCAL else self.model)


def backend_of(spec: ModelSpec) -> Callable[..., Model]:
    """Return what builds the back end; raises UsageError if none has this name, or it builds none."""
    make: Callable[..., Model] = registry.resolve("back end", registry.BACKENDS, spec.kind)
    if not callable(make):
        raise UsageError(f"back end {spec.kind}: a {type(make).__name__}; expected a class that makes a Model.")
    return make


def pinned(spec: ModelSpec) -> ModelSpec:
    """Return `spec` with the hash of its back end's file, if that is from outside: other processes load the same."""
    if spec.kind in registry.BACKENDS:
        return spec
    origin = registry.origin(backend_of(spec))
    return replace(spec, backend=origin.pinned) if origin else spec


def file_facts(backend: str) -> Mapping[str, str]:
    """Return what a header records of the file of a back end from outside the package, nothing of a shipped one."""
    if backend in registry.BACKENDS:
        return {}
    origin = registry.origin(backend_of(ModelSpec("", backend)))
    return origin.facts if origin else {}


def make_model(spec: ModelSpec, mock: Mock | None = None) -> Model:
    """Return the model; `mock` builds what answers as back end "mock" in this seat, where one may sit there.

    Raises UsageError for an option that the back end does not have or needs and did not get, ModelError if the model
    cannot be used.
    """
    if spec.kind == "mock":
        if mock is None:
            raise UsageError("a mock model has no answers here; give a checkpoint folder.")
        return mock(spec.base, spec.options)
    make = backend_of(spec)
    common = {name: getattr(spec, name) for name in COMMON if getattr(spec, name) not in (None, "", ())}
    known = _parameters(make)
    if lost := [name for name in ASKED if name in common and name not in known]:
        raise UsageError(f"back end {spec.kind} has no {lost[0]}; leave it out.")
    given = {name: value for name, value in common.items() if name in known}
    options = checked_options(make, spec.options, f"back end {spec.kind}", ("name", *given))
    if missing := [name for name in _required(make) if name not in {"name", *given, *options}]:
        raise UsageError(f"back end {spec.kind} needs {missing[0]}{HINTS.get(missing[0], '')}.")
    try:
        model: Model = make(spec.model, name=spec.base, **given, **options)
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from error
    return model


def checked_options(
    make: Callable[..., Any], options: Mapping[str, Any], what: str, taken: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """Return `options`; raises UsageError if `make` has no such parameter, or it is one of `taken`."""
    known = _parameters(make)
    own = [name for name in list(known)[_first_option(make) :] if name not in taken]
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    for name in options:
        if name in taken or (name not in own and not open_ended):
            raise UsageError(f"{what} has no option {name!r}.{did_you_mean(name, own)} Its options: {', '.join(own)}.")
    return options


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(make).parameters


def _first_option(make: Callable[..., Any]) -> int:
    """Return how many parameters stand for the model itself: those without a keyword."""
    return sum(p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty for p in _parameters(make).values())


def _required(make: Callable[..., Any]) -> list[str]:
    return [p.name for p in _parameters(make).values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty]


def model_facts(
    spec: ModelSpec, fingerprint: str, name: str | None = None, size_group: str | None = None, domain: str | None = None
) -> dict[str, Any]:
    """Return what the header holds of the model beside its own description.

    `name` is the row's, by default the model's with 8 digits of the fingerprint; `size_group` and `domain` are those
    of the paper's model of this name, where there is one.
    """
    local = spec.kind in LOCAL
    file = file_facts(spec.kind)
    # What answers in a model's place is not one of the paper's, whatever it is called.
    known = None if spec.kind == "mock" else known_model(str(Path(spec.model).resolve()) if local else spec.model)
    return {
        "name": name or f"{spec.base}-{fingerprint[:8]}",
        "backend": file.get("file", spec.kind),
        **file,
        "miniature": spec.kind == "mock" or is_miniature(Path(spec.model)),
        "size_group": size_group or (known.size_group if known else None),
        "domain": domain or (known.domain if known else None),
    }


def is_miniature(folder: Path) -> bool:
    """Return whether the checkpoint in `folder` says that it is one of the miniature's, random or trained."""
    config = folder / "config.json"
    return config.is_file() and bool(json.loads(config.read_text(encoding="utf-8")).get("aloe_bench_miniature"))
