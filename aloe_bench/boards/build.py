"""From run folders to results/<model>/<task>.json, and from those to the tables."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from aloe_bench import registry
from aloe_bench.boards import tables
from aloe_bench.boards.compare import PROFILE
from aloe_bench.boards.items import Items, items_of
from aloe_bench.boards.letters import outcomes_of
from aloe_bench.boards.prefer import preferred
from aloe_bench.boards.published import numbers_in, numbers_of, read_all
from aloe_bench.boards.results import SCHEMA, JuryFacts, ModelFacts, TaskFacts, read_result
from aloe_bench.boards.verify import derived, differences, result_text
from aloe_bench.checked import checked
from aloe_bench.core import Record
from aloe_bench.errors import DataError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import header_facts, task_cells
from aloe_bench.evaluation.corrected import read_labels
from aloe_bench.evaluation.outcomes import cautions
from aloe_bench.files import safe_name, write_atomic
from aloe_bench.tasks.data.fetched import proof_of_run

log = logging.getLogger(__name__)

MODEL_KEYS = ("name", "fingerprint", "backend", "miniature", "size_group", "domain")
TASK_KEYS = ("name", "version", "expected_rows", "data_sha256")


class _Header(TypedDict):
    """What a page needs of a run's header."""

    run_id: str
    model: ModelFacts
    task: TaskFacts
    protocol: str
    limit: int | None
    partial: bool
    n: int
    judges: NotRequired[JuryFacts | None]
    absent: NotRequired[dict[str, int]]
    asked: NotRequired[_Asked]


class _Asked(TypedDict):
    left_out: NotRequired[list[str]]


class Evidence(NamedTuple):
    """What is published of a run: a result, and the items that its letters stand for."""

    result: dict[str, Any]
    items: Items


def build(runs: Sequence[Path], output: Path) -> list[Path]:
    """Write the evidence of `runs` under `output`/results and /items, make every table again; return what was written.

    All runs are read before anything is written. Of the runs of one model on one task the one that `preferred` names
    counts. Items that no result names any more are deleted. Without runs the numbers of the results that are there are
    computed again.
    Raises DataError for an unfinished run, a broken header, or a partial run that would take the
    place of a complete one.
    """
    if not runs:
        _renew(output)
    return publish([evidence(folder) for folder in runs], output)


def publish(found: Sequence[Evidence], output: Path, *, over: bool = False) -> list[Path]:
    """Write what is published of runs and make every table again, as `build` does; return what was written.

    With `over` each takes the place of what is there, whichever `preferred` would name.
    """
    results: dict[Path, dict[str, Any]] = {}
    items: dict[Path, Items] = {}
    for result, asked in found:
        items[asked.path(output)] = asked
        path = result_path(output, result)
        results[path] = preferred(results[path], result) if path in results else result
    if not over:
        results = {path: _beside(path, result) for path, result in results.items()}
    for path, asked in items.items():
        write_atomic(path, asked.text)
    for path, result in results.items():
        write_atomic(path, result_text(result))
    published = read_all(output)
    texts, remarks = derived(output, published)
    for name, text in texts.items():
        write_atomic(output / name, text)
    named = {one.items.path(output) for one in published.values()}
    for path in set((output / "items").glob(f"{'[0-9a-f]' * 64}.json")) - named:
        path.unlink()
    for remark in remarks:
        log.warning("%s", remark)
    log.info("leaderboard: %d runs added under %s", len(found), output)
    return [*results, *sorted(items.keys() & named), *(output / name for name in texts)]


def _renew(output: Path) -> None:
    """Compute the numbers of the results that are there again, as this version does."""
    for path, one in read_all(output).items():
        result = json.loads(path.read_text(encoding="utf-8"))
        numbers = json.loads(json.dumps(one.numbers()))
        said = numbers_in(result, numbers)
        if any(differences(numbers, said)):
            log.warning("%s: its numbers were not what its outcomes give, and are now.", path)
            rest = {key: value for key, value in result.items() if key not in said}
            write_atomic(path, result_text(rest | numbers))


def _beside(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Return what is to stand at `path`; raises DataError where the complete result there would be lost to a part."""
    if not path.exists():
        return result
    try:
        there = read_result(path)
    except DataError:
        if result["partial"]:
            raise
        return result  # a complete run replaces a broken result
    stored = json.loads(path.read_text(encoding="utf-8"))  # as it stands, not as it was read: it may be written again
    shown = preferred(stored, result)
    if result["partial"] and not there["partial"] and shown["run"] == there["run"]:
        raise DataError(
            f"{result['run']}: a partial run, but {path} holds a complete one. "
            "Delete that file first if it is to go, or finish the run; nothing was written."
        )
    return shown


def evidence(folder: Path) -> Evidence:
    """Return what results/<model>/<task>.json says of the run in `folder`, and its items.

    Its numbers are computed from its letters, as anybody can compute them again.
    Raises DataError for an unfinished run, and for a header that lacks what a page needs.
    """
    header, records = runlog.read_run(folder)
    checked(header, _Header, f"{folder}: the run's header")
    if len(records) != header["n"]:
        raise DataError(f"{folder}: {len(records)} records, expected {header['n']}. Resume the run, then build again.")
    controls = runlog.read_controls(folder)
    if missing := runlog.controls_missing(header, controls):
        raise DataError(f"{folder}: {missing} controls without a record. Resume the run, then build again.")
    repeats = runlog.read_repeats(folder)
    if missing := runlog.repeats_missing(header, repeats):
        raise DataError(f"{folder}: {missing} further replies without a record. Resume the run, then build again.")
    facts, cells = header_facts(header, records), task_cells(header, records)
    task = {key: header["task"][key] for key in TASK_KEYS} | {"source": header["task"].get("source")}
    task["places"] = [asdict(place) for place in facts.places]
    task["facts"] = {"cells": [asdict(spec) for spec in facts.cells], "measure": facts.measure}
    if told := header["task"].get("told"):
        task["told"] = told
    items = items_of(header["task"], records)
    outcomes = outcomes_of(items, [*records, *controls, *repeats], facts, read_labels(folder))
    switched = (header["model"].get("settings") or {}).get("switched")
    known = {task["expected_rows"], facts.paper.rows, header["task"].get("paper_scored_rows")} - {None}
    result = {
        "schema": SCHEMA,
        "run": header["run_id"],
        "model": {key: header["model"][key] for key in MODEL_KEYS} | {"profile": _profile(header)},
        "task": task,
        "protocol": header["protocol"],
        "engine": header.get("engine"),
        "prompt_sha256": header.get("prompt_sha256"),
        "parser": header.get("parser"),
        "answer": header.get("answer", "letter"),
        **({"defence": header["defence"]} if header.get("defence") else {}),
        "decoding": header.get("decoding"),
        "seed": header.get("seed"),
        "judges": header.get("judges"),
        "limit": header["limit"],
        "partial": header["partial"]
        or header["limit"] is not None
        or header.get("shard") is not None
        or bool(known and header["n"] not in known),
        "verified": _verified(header["task"], records),
        "absent": header.get("absent", {}),
        "left_out": header.get("asked", {}).get("left_out", []),
        "outcomes": outcomes,
        "cautions": cautions(cells, records),
        "unread_by": {name: dict(cell.unread_by) for name, cell in cells.items() if cell.unread_by},
        **({"switched": switched} if switched else {}),
        **({"extended": header["extended"]} if header.get("extended") else {}),
    }
    numbers = numbers_of(header["run_id"], task["name"], facts, items, outcomes)
    return Evidence(result | numbers, items)


def _profile(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a model was asked, as far as two runs are compared by it."""
    profile = header["model"].get("profile") or {}
    return {key: profile[key] for key in PROFILE if profile.get(key) is not None}


def _verified(task: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any] | None:
    """Return whether a run's data are its benchmark's; None where its header says nothing of it."""
    said = task.get("verified")
    return None if said is None else asdict(proof_of_run(str(task["name"]), said, records))


def result_path(output: Path, result: Mapping[str, Any]) -> Path:
    """Return where a result stands in a leaderboard's folder; no name in it can lead elsewhere."""
    label = tables.protocol_label(result)
    # The NUL cannot stand in a file name, so no model's own name ends up in another's folder.
    mark = f"\0{label}" if label else ""
    model = safe_name(str(result["model"]["name"]) + mark) or "unnamed"
    task = str(result["task"]["name"])
    if task not in registry.TASKS:  # what users bring may be other data under the same name, each a table of its own
        task += f"-{result['task']['data_sha256'][:8]}"
    return output / "results" / model / f"{safe_name(task)}.json"
