"""A leaderboard checked from its published outcomes: every number, mark, page and byte, without model or data.

The rules are in docs/leaderboard.md, in words enough to write such a check.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from math import isclose
from pathlib import Path
from typing import Any

from aloe_bench.boards.exports import exports
from aloe_bench.boards.pages import board
from aloe_bench.boards.published import Published, numbers_in, read_all
from aloe_bench.errors import AloeError, DataError

# What stands in the folder and is made of no result.
BESIDE = ("README.md",)
# Computed on another machine, a number may differ in its last bits; printed digits may not.
TOLERANCE = 1e-9
MOST = 20
INDEX = "leaderboard.json"


def result_text(result: Mapping[str, Any]) -> str:
    """Return a result as its file has it."""
    return json.dumps(result, indent=2, sort_keys=True) + "\n"


def derived(folder: Path, published: Mapping[Path, Published]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return file name -> text of everything that is made of the results, and what a user must know."""
    made = board([*published.values()])
    return dict(made.pages) | exports(folder, published, made), made.remarks


def verify(folder: Path) -> list[str]:
    """Return what is not as the published outcomes have it, file by file; empty if all is.

    Raises DataError, naming the place, for a result or items that cannot be read.
    """
    if not (folder / "results").is_dir() and not (folder / INDEX).is_file():
        raise DataError(
            f"{folder}: no results and no {INDEX}; expected a leaderboard that `aloe-bench leaderboard build` made."
        )
    published = read_all(folder)
    found = [line for path, one in published.items() for line in _result(path.relative_to(folder), path, one)]
    texts, _ = derived(folder, published)
    named = _named(folder)
    found += _unnamed(folder, texts, published)
    for path, one in published.items():
        items = folder / "items" / f"{one.items.sha256}.json"
        found += [line for file in (path, items) for line in _hash(file.relative_to(folder).as_posix(), file, named)]
    for name, text in texts.items():
        found += _file(folder / name, name, text.encode())
    return list(dict.fromkeys(found))


def _result(name: Path, path: Path, one: Published) -> Iterator[str]:
    """Yield where a result is not what its outcomes give, or not written as results are."""
    text = path.read_text(encoding="utf-8")
    given = json.loads(text)
    try:
        expected = json.loads(json.dumps(one.numbers()))
    except AloeError as error:
        raise DataError(f"{path}: {error}") from error
    lines = differences(expected, numbers_in(given, expected))
    for count, line in enumerate(lines):
        if count == MOST:
            yield f"{name}: and more"
            break
        yield f"{name}: {line}"
    if text != result_text(given):
        yield from _file(path, name.as_posix(), result_text(given).encode())


def differences(expected: Any, given: Any, place: str = "") -> Iterator[str]:
    """Yield, place by place, where given numbers are not those expected; the last bits of a number may differ."""
    if isinstance(expected, dict) and isinstance(given, dict):
        for key in sorted(expected.keys() | given.keys()):
            inside = f"{place}.{key}" if place else key
            if key not in given or key not in expected:
                yield f"{inside} is {'missing' if key in expected else 'not what outcomes give'}"
            else:
                yield from differences(expected[key], given[key], inside)
    elif isinstance(expected, list) and isinstance(given, list) and len(expected) == len(given):
        for i, (one, other) in enumerate(zip(expected, given, strict=True)):
            yield from differences(one, other, f"{place}[{i}]")
    elif not _same(expected, given):
        yield f"{place} is {given!r}, and the outcomes give {expected!r}"


def _same(expected: Any, given: Any) -> bool:
    if isinstance(expected, float) and isinstance(given, float):
        return isclose(expected, given, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(expected) is type(given) and bool(expected == given)


def _named(folder: Path) -> Mapping[str, str]:
    """Return path -> SHA-256 as leaderboard.json says; empty if it cannot be read, which its own check tells."""
    try:
        named = json.loads((folder / INDEX).read_text(encoding="utf-8"))["files"]
        return named if isinstance(named, dict) else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _hash(name: str, path: Path, named: Mapping[str, str]) -> list[str]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if named.get(name) in (None, digest):
        return []
    return [f"{name}: its SHA-256 is {digest[:12]}…, and {INDEX} says {str(named[name])[:12]}…"]


def _unnamed(folder: Path, texts: Mapping[str, str], published: Mapping[Path, Published]) -> list[str]:
    """Return the files that no result makes or names."""
    known = {*texts, *BESIDE, *(f"items/{one.items.sha256}.json" for one in published.values())}
    there = [path for kind in ("*.md", "*.json", "*.csv", "*.tex", "items/*") for path in folder.glob(kind)]
    names = sorted(path.relative_to(folder).as_posix() for path in there if path.is_file())
    return [f"{name}: no result makes or names it" for name in names if name not in known]


def _file(path: Path, name: str, expected: bytes) -> list[str]:
    """Return the first line in which a file is not what is expected, in words."""
    if not path.is_file():
        return [f"{name}: missing"]
    found = path.read_bytes()
    if found == expected:
        return []
    at = next(
        (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), min(len(found), len(expected))
    )
    line = expected[:at].count(b"\n") + 1

    def shown(text: bytes) -> str:
        start = text.rfind(b"\n", 0, at) + 1
        end = text.find(b"\n", at)
        begin = max(start, at - 60)
        return repr(text[begin : len(text) if end < 0 else min(end, at + 60)].decode(errors="replace"))

    return [f"{name}, line {line}: is {shown(found)}, and the outcomes give {shown(expected)}"]
