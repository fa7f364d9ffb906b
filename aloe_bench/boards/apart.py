"""The mark ≠: runs of one column that were not asked, shown, decoded or read alike, and in what each stands apart."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aloe_bench import registry
from aloe_bench.boards.tables import is_miniature, protocol_label

Result = Mapping[str, Any]


def apart(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return of each result what of data, prompt, pixels, parser, decoding and jury others of its column have not.

    Each text says what this result has. What a row's label says already is not said again: two protocols, a defence,
    answers as text and another parser are rows of their own.
    """
    columns: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, result in enumerate(results):
        columns[_column(result)].append(i)
    found: list[list[str]] = [[] for _ in results]
    for members in columns.values():
        for read, among in _ASPECTS:
            groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
            for i in members:
                groups[among(results[i])].append(i)
            for alike in groups.values():
                said = {i: read(results[i]) for i in alike}
                if len(set(said.values())) > 1:
                    for i, text in said.items():
                        found[i].append(text)
    return [tuple(texts) for texts in found]


def _column(result: Result) -> tuple[str, ...]:
    """Return what results of one column have in common: kind of model and task; and the data, where a table is of one.

    A task that ships, or that says where it stands, has one column for all its data.
    """
    task = result["task"]
    name = str(task["name"])
    shared = "heart" not in result and (name in registry.TASKS or task.get("places"))
    return str(is_miniature(result)), name, "" if shared else str(task["data_sha256"])


def _data(result: Result) -> str:
    task = result["task"]
    return f"data {str(task['data_sha256'])[:8]} of version {task['version']}"


def _prompt(result: Result) -> str:
    profile = result["model"].get("profile") or {}
    digest = str(result.get("prompt_sha256") or "unknown")[:8]
    template = {key: profile[key] for key in ("template", "template_args") if profile.get(key)}
    return f"prompt {digest}" + (f", {_words(template)}" if template else "")


def _pixels(result: Result) -> str:
    profile = result["model"].get("profile") or {}
    ends = {key: profile[key] for key in ("min_pixels", "max_pixels") if profile.get(key) is not None}
    return f"pixels: {_words(ends)}" if ends else "pixels as the model takes them"


def _parser(result: Result) -> str:
    return f"parser {result.get('parser') or 'unknown'}"


def _decoding(result: Result) -> str:
    decoding = dict(result.get("decoding") or {})
    if decoding.get("temperature"):
        decoding["seed"] = result.get("seed")
    effort = (result["model"].get("profile") or {}).get("reasoning_effort")
    return f"decoding: {_words(decoding | ({'reasoning_effort': effort} if effort else {}))}"


def _jury(result: Result) -> str:
    judges = (result.get("judges") or {}).get("judges", ())
    return f"jury: {', '.join(sorted(str(judge['name']) for judge in judges)) or 'none'}"


def _words(facts: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={json.dumps(facts[key], sort_keys=True)}" for key in sorted(facts)) or "unknown"


def _every(result: Result) -> tuple[str, ...]:
    return ()


def _labelled(result: Result) -> tuple[str, ...]:
    return (protocol_label(result),)


def _asked_alike(result: Result) -> tuple[str, ...]:
    # Other data have other prompts of themselves, as have the forms of an answer and defences.
    return protocol_label(result), _data(result)


_ASPECTS: tuple[tuple[Callable[[Result], str], Callable[[Result], tuple[str, ...]]], ...] = (
    (_data, _every),
    (_prompt, _asked_alike),
    (_pixels, _every),
    (_parser, _labelled),
    (_decoding, _labelled),
    (_jury, _every),
)
