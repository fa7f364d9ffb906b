"""A run handed in by somebody else: the folder they send, and what is checked of it before a leaderboard takes it.

A submission is material from a stranger. Nothing in it is run, no name in it becomes a path, and no number in it is
believed: all of them are computed again of its letters.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aloe_bench import registry
from aloe_bench.boards.build import Evidence, evidence, publish, result_path
from aloe_bench.boards.items import Items
from aloe_bench.boards.letters import ABSENT
from aloe_bench.boards.public import public_header, public_result, without_paths
from aloe_bench.boards.published import Published, numbers_in, read_all
from aloe_bench.boards.tables import escape
from aloe_bench.boards.verify import differences, result_text
from aloe_bench.errors import AloeError, DataError
from aloe_bench.evaluation import runlog
from aloe_bench.facts import facts_of
from aloe_bench.files import NewFolder, write_atomic, write_json

HEADER, SUMMARY, README = "run.json", "summary.json", "README.md"
_KNOWN = re.compile(
    rf"{HEADER}|{SUMMARY}|{README}|results(/[^/]+(/[^/]+\.json)?)?|items(/[0-9a-f]{{64}}\.json)?", re.DOTALL
)
MOST_BYTES, MOST_FAULTS = 200_000_000, 20
# What run.json and the result both say; the result says some of it in a place of its own.
_BOTH = ("protocol", "parser", "answer", "decoding", "prompt_sha256", "seed", "limit")
_TASK = ("name", "version", "expected_rows", "data_sha256")
_MODEL = ("name", "fingerprint", "backend", "miniature", "size_group", "domain")


def submit(run: Path, output: Path) -> list[Path]:
    """Return the files of the folder `output` made of a finished run, ready for review.

    It holds what became of each item, the header, the summary and a page for the reviewer; no picture, no question, no
    reply, and no path of this machine. Raises DataError for an unfinished run, and if `output` is there already.
    """
    result, items = evidence(run)
    if _has_path(items):
        raise DataError(f"{run}: an id or a tag of its items is an absolute path; rename it in the task and run again.")
    result = public_result(result)
    header = public_header(runlog.read_header(run))
    with NewFolder(output, overwrite=False, known_by=HEADER) as folder:
        write_atomic(result_path(folder, result), result_text(result))
        write_atomic(items.path(folder), items.text)
        write_json(folder / HEADER, header)
        write_json(folder / SUMMARY, _summary(result))
        write_atomic(folder / README, _page(result))
        names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [output / name for name in names]


def accept(folder: Path, board: Path, *, replace: bool = False) -> list[Path]:
    """Return what was written of the leaderboard in `board` when the submission in `folder` was taken into it.

    Raises DataError with every fault of the submission, before anything is written; also where `board` has a result of
    that model and task from another run, unless that is to be replaced.
    """
    one = checked_submission(folder)
    result = {**one.result, "submitted": True}
    path = result_path(board, result)
    if path.exists() and not replace:
        there = json.loads(path.read_text(encoding="utf-8"))
        # A run's name is public, and so no proof: what is replaced unasked must be the same result.
        if any(differences(_own(there), _own(result))):
            raise DataError(
                f"{folder}: {path} is another result, of run {there.get('run')!r}; its model and task stand there "
                "already. Compare both "
                "(`aloe-bench leaderboard compare`), then give --replace, or have it run under another --name."
            )
    return publish([Evidence(result, one.items)], board, over=replace)


def _has_path(items: Items) -> bool:
    """Return whether an id or a tag is an absolute path; the name of a task may look like one."""
    told = [*items.ids, *(text for texts in items.tags.values() for text in texts)]
    return bool(without_paths(told) != told)


def _own(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result without what a leaderboard adds to it."""
    return {key: value for key, value in result.items() if key not in ("submitted", "passed_over")}


def checked_submission(folder: Path) -> Published:
    """Return the one result of a submission; raises DataError with every fault that was found."""
    faults = list(_foreign_files(folder))
    if faults:
        raise _refusal(folder, faults)
    found = read_all(folder)
    if len(found) != 1:
        raise _refusal(folder, [f"{len(found)} results; expected one, results/MODEL/TASK.json"])
    ((path, one),) = found.items()
    name = path.relative_to(folder).as_posix()
    result = json.loads(path.read_text(encoding="utf-8"))
    try:
        numbers = json.loads(json.dumps(one.numbers()))
    except AloeError as error:
        raise _refusal(folder, [f"{name}: {error}"]) from error
    faults += [f"{name}: {line}" for line in differences(numbers, numbers_in(result, numbers))]
    if path != result_path(folder, result):
        expected = result_path(folder, result).relative_to(folder).as_posix()
        faults.append(f"{name}: a result of this model and task is called {expected!r}")
    if json.loads(json.dumps(public_result(result))) != result:
        faults.append(f"{name}: holds an absolute path of the machine it was made on")
    if _has_path(one.items):
        faults.append(f"items/{one.items.sha256}.json: holds an absolute path of the machine it was made on")
    items = {f"items/{one.items.sha256}.json"}
    there = {path.relative_to(folder).as_posix() for path in folder.glob("items/*")}
    faults += [f"{extra}: its result does not name it" for extra in sorted(there - items)]
    faults += [f"{name}: {line}" for line in _other_task(one)]
    faults += list(_other_header(folder, one))
    faults += list(_other_summary(folder, result))
    if faults:
        raise _refusal(folder, faults)
    return Published(result, one.items)


def _refusal(folder: Path, faults: list[str]) -> DataError:
    more = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
    lines = [without_controls(fault) for fault in faults[:MOST_FAULTS]]
    return DataError("\n".join([f"{folder}: not accepted; nothing was written.", *lines, *more]))


def without_controls(text: str) -> str:
    """Return `text` on one line, and so that a terminal only shows it."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _foreign_files(folder: Path) -> Iterator[str]:
    """Yield what must not be in a submission; nothing is opened, and no link is followed."""
    if folder.is_symlink() or not folder.is_dir():
        yield "not a folder"
        return
    size = 0
    for place, folders, files in os.walk(folder, followlinks=False):
        for name in [*folders, *files]:
            path = Path(place, name)
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                yield f"{inside!r}: a link or a device; expected files and folders alone"
            elif not _KNOWN.fullmatch(inside):
                yield f"{inside!r}: is not part of a submission"
            elif path.is_file():
                size += path.stat().st_size
    if size > MOST_BYTES:
        yield f"{size / 1e6:.0f} MB; expected at most {MOST_BYTES / 1e6:.0f}"
    for name in (HEADER, SUMMARY):
        if not (folder / name).is_file():
            yield f"{name}: missing"


def _other_task(one: Published) -> Iterator[str]:
    """Yield where a task that ships is not as it ships, or a part is said to be the whole."""
    task, result = one.result["task"], one.result
    n = sum(letter != ABSENT for arm, text in result["outcomes"]["arms"].items() if _is_own(arm) for letter in text)
    whole = {task["expected_rows"]}
    if task["name"] in registry.TASKS:
        shipped = registry.task(task["name"])
        facts = facts_of(shipped)
        whole |= {facts.paper.rows} - {None}
        for key, expected in (("version", shipped.version), ("expected_rows", shipped.expected_rows)):
            if task[key] != expected:
                yield f"task.{key} is {task[key]!r}, and this version of aloe-bench has {expected!r}"
        if (one.facts.cells, one.facts.measure) != (facts.cells, facts.measure):
            yield f"task.facts are not those of {task['name']}: its cells are made otherwise"
    if not result["partial"] and n not in whole:
        yield f"partial is false, and {n} of {task['expected_rows']} questions were asked"


def _is_own(arm: str) -> bool:
    """Return whether an arm is of the task's own questions, not a control or a repeat."""
    return ":" not in arm and "#" not in arm


def _other_header(folder: Path, one: Published) -> Iterator[str]:
    header, result = _object(folder / HEADER), one.result
    if json.loads(json.dumps(public_header(header))) != header:
        yield f"{HEADER}: holds more than `leaderboard submit` writes (a path, a command line, a host)"
    pairs = [("run_id", header.get("run_id"), result["run"])]
    pairs += [(key, header.get(key), result.get(key)) for key in _BOTH if key != "answer"]
    pairs += [("answer", header.get("answer", "letter"), result.get("answer"))]
    pairs += [(f"model.{key}", header["model"].get(key), result["model"].get(key)) for key in _MODEL]
    pairs += [(f"task.{key}", header["task"].get(key), result["task"][key]) for key in _TASK]
    pairs += [("verified", bool(header["task"].get("verified")), bool(result.get("verified")))]
    for key, said, expected in pairs:
        if said != expected:
            yield f"{HEADER}: {key} is {said!r}, and its result says {expected!r}"


def _other_summary(folder: Path, result: Mapping[str, Any]) -> Iterator[str]:
    expected = json.loads(json.dumps(_summary(result)))
    for line in differences(expected, _object(folder / SUMMARY)):
        yield f"{SUMMARY}: {line}"


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}).") from error
    parts = [value.get(key) for key in ("model", "task")] if isinstance(value, dict) and path.name == HEADER else []
    if not isinstance(value, dict) or not all(isinstance(part, dict) for part in parts):
        raise DataError(f"{path}: expected an object that `aloe-bench leaderboard submit` wrote.")
    return value


def _summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reviewer reads first: the numbers of the result, without its letters."""
    keys = ("run", "partial", "cells", "cautions", "absent", "left_out")
    return {key: result[key] for key in keys if key in result} | {
        "model": result["model"]["name"], "task": result["task"]["name"],
    }  # fmt: skip


def _page(result: Mapping[str, Any]) -> str:
    rows = []
    for name, cell in result["cells"].items():
        low_high = cell["interval"]
        interval = "–" if low_high is None else f"{100 * low_high[0]:.2f} to {100 * low_high[1]:.2f}"
        value = "–" if cell["value"] is None else f"{100 * cell['value']:.2f}"
        others = ", ".join(f"{k} {cell[k]}" for k in ("refused", "filtered", "cut", "unread", "failed") if cell[k])
        rows.append(f"| {escape(name)} | {value} | {interval} | {cell['n']} | {others or '–'} |")
    facts = [
        ("Model", f"{result['model']['name']} ({result['model']['backend']})"), ("Task", result["task"]["name"]),
        ("Run", result["run"]), ("Parser", result["parser"]), ("Protocol", result["protocol"]),
        ("Decoding", json.dumps(result["decoding"])), ("Data", result["task"]["data_sha256"]),
        ("Part of the task", "yes" if result["partial"] else "no"),
    ]  # fmt: skip
    lines = ["# Submission", *(f"- {name}: {escape(str(text), 200)}" for name, text in facts)]
    lines += [f"- Caution: {escape(text, 400)}" for text in result["cautions"]]
    table = ["| cell | % | 95 % interval | n | not answered |", "| --- | ---: | --- | ---: | --- |", *rows]
    check = "Check it with `aloe-bench leaderboard accept FOLDER --dry-run`: every number is computed again."
    return "\n".join([lines[0], "", *lines[1:], "", *table, "", check]) + "\n"
