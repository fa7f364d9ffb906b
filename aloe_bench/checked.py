"""JSON that others wrote, held against the types that we expect, so that a broken file is named and nothing else is."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypeVar, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from aloe_bench.errors import DataError

T = TypeVar("T")
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", types.NoneType: "null"}


def checked(value: object, kind: type[T], where: str) -> T:
    """Return `value`, as `json` gives it, as a `kind`: a dataclass, a TypedDict, or what their fields are made of.

    Fields are texts, finite numbers, booleans, None, Literals, lists, tuples, mappings from text, and such classes; a
    list becomes a tuple where that is the kind. Further keys are refused in a dataclass and kept in a TypedDict.
    Raises DataError, naming `where` and the place in `value`, for anything else.
    """
    return cast("T", _read(value, kind, where, ""))


def read_checked(path: Path, kind: type[T], advice: str) -> T | None:
    """Return what a JSON file holds as a `kind`, None where there is no file.

    Raises DataError for a broken one, with `advice` on how to have it again.
    """
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); {advice}.") from error
    return checked(value, kind, str(path))


def _read(value: Any, kind: Any, where: str, place: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and types.NoneType in parts:
            return None
        (kind,) = (part for part in parts if part is not types.NoneType)
        return _read(value, kind, where, place)
    if kind is Any or kind is object:
        return value
    if origin is Literal:
        return value if value in parts else _refuse(value, f"one of {', '.join(map(repr, parts))}", where, place)
    if kind in _NAMES:
        return value if _is(value, kind) else _refuse(value, _NAMES[kind], where, place)
    if origin in (list, tuple):
        if not isinstance(value, list | tuple):
            _refuse(value, "a list", where, place)
        pair = origin is tuple and Ellipsis not in parts
        if pair and len(value) != len(parts):
            _refuse(value, f"a list of {len(parts)}", where, place)
        kinds = parts if pair else [parts[0]] * len(value)
        return origin(
            _read(each, k, where, f"{place}[{i}]") for i, (each, k) in enumerate(zip(value, kinds, strict=True))
        )
    if not isinstance(value, Mapping):
        _refuse(value, "an object", where, place)
    inside = f"{place}." if place else ""
    if is_dataclass(kind) or is_typeddict(kind):
        return _fields(value, kind, where, inside)
    return {key: _read(each, parts[1], where, f"{inside}{key}") for key, each in value.items()}


def _fields(value: Mapping[str, Any], kind: Any, where: str, inside: str) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    if is_typeddict(kind):
        needed = {key for key, hint in hints.items() if get_origin(hint) is not NotRequired}
        hints = {key: hint if key in needed else get_args(hint)[0] for key, hint in hints.items()}
    else:
        needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
        if unknown := sorted(value.keys() - hints.keys()):
            raise DataError(f"{where}: {inside}{unknown[0]} is not known; expected {', '.join(hints)}.")
    if missing := sorted(needed - value.keys()):
        raise DataError(f"{where}: {inside}{missing[0]} is missing.")
    read = {key: _read(value[key], hint, where, f"{inside}{key}") for key, hint in hints.items() if key in value}
    return {**value, **read} if is_typeddict(kind) else kind(**read)


def _is(value: object, kind: type) -> bool:
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)


def _refuse(value: object, expected: str, where: str, place: str) -> Any:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    raise DataError(f"{where}: {place or 'the whole'} is {shown}; expected {expected}.")
