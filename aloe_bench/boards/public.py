"""What of a run may leave the machine it was made on: its header without command lines, hosts and paths."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath, PureWindowsPath
from typing import Any

from aloe_bench.boards.compare import PROFILE
from aloe_bench.core import Record
from aloe_bench.evaluation.cells import ATTACKED, header_facts

log = logging.getLogger(__name__)

KEPT = (
    "schema", "run_id", "protocol", "parser", "answer", "decoding", "seed", "seed_use", "limit", "partial", "shard", 
    "n", "n_total", "prompt_sha256", "engine", "judges", "absent", "controls", "repeats", "extended", "defence",
    "merged", "versions",
)  # fmt: skip
_MODEL = ("name", "fingerprint", "backend", "miniature", "size_group", "domain")
_TASK = (
    "name", "version", "expected_rows", "data_sha256", "source", "revision", "licence", "facts", "verified", "commits",
    "told", "paper_scored_rows",
)  # fmt: skip
_JUDGE = ("name", "fingerprint", "backend", "model")
# Where a result holds more than names and numbers.
_SENTENCES = ("cautions", "verified", "passed_over", "left_out", "absent", "defence", "judges")
# Absolute ones, of this system and of Windows; what follows a scheme or another slash is an address.
_PATH = re.compile(
    r"(?<![\w/:.\\])(?:~?/(?:[^\s/'\"<>|]+/)+[^\s/'\"<>|]*|[A-Za-z]:[\\/](?:[^\s\\/'\"<>|]+[\\/])*[^\s'\"<>|]*)"
)


def public_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a run's header others need to compute and compare its numbers, and nothing of the machine.

    Left out are the command line and its options, the host, and the settings of the back end, but for parameters that
    a server refused. Absolute paths are cut to their last part.
    """
    kept = {"shard": None} | {key: header[key] for key in KEPT if key in header}
    model, task = header["model"], header["task"]
    profile = {key: value for key, value in (model.get("profile") or {}).items() if key in PROFILE}
    switched = (model.get("settings") or {}).get("switched")
    kept["model"] = {key: model.get(key) for key in _MODEL} | {"profile": profile}
    kept["model"]["settings"] = {"switched": switched} if switched else {}
    kept["task"] = {key: task[key] for key in _TASK if key in task}
    kept["asked"] = {"left_out": (header.get("asked") or {}).get("left_out", [])}
    if jury := header.get("judges"):
        judges = [{key: judge[key] for key in _JUDGE if key in judge} for judge in jury["judges"]]
        kept["judges"] = {**{key: jury[key] for key in jury if key != "judges"}, "judges": judges}
    made: dict[str, Any] = without_paths(kept)
    for part, names in (("model", ("name", "fingerprint")), ("task", ("name",))):
        made[part] |= {name: kept[part][name] for name in names if name in kept[part]}
    return made


def public_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result whose sentences hold no absolute path; its names and numbers are as they were."""
    cut = {key: without_paths(result[key]) for key in _SENTENCES if key in result}
    told = {key: without_paths(result["task"][key]) for key in ("source", "told") if key in result["task"]}
    return {**result, **cut, "task": {**result["task"], **told}}


def public_records(header: Mapping[str, Any], records: Sequence[Record]) -> list[Record]:
    """Return records whose tags hold no absolute path, but for tags that cells are made over; logs which were cut."""
    facts = header_facts(header, records)
    asked_for = {tag for spec in facts.cells for tag in spec.tags} | (ATTACKED if facts.measure else set())
    made, cut = [], set[str]()
    for record in records:
        changed = {tag: found for tag, text in record.tags.items()
                   if tag not in asked_for and (found := without_paths(text)) != text}  # fmt: skip
        cut |= changed.keys()
        made.append(replace(record, tags={**record.tags, **changed}) if changed else record)
    if cut:
        log.warning("tags held paths of this machine, which are cut to their last part: %s", ", ".join(sorted(cut)))
    return made


def without_paths(value: Any) -> Any:
    """Return JSON with every absolute path in its texts cut to the last part, behind an ellipsis."""
    if isinstance(value, str):
        return _PATH.sub(lambda found: f"…/{_last(found[0])}", value)
    if isinstance(value, Mapping):
        return {without_paths(key): without_paths(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(each) for each in value]
    return value


def _last(path: str) -> str:
    return (PureWindowsPath(path) if "\\" in path or path[1:2] == ":" else PurePath(path)).name
