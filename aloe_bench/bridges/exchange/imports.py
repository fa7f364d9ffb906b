"""A run folder made of a run in the format of Every Eval Ever, as `export --format eee` wrote it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aloe_bench.bridges.exchange.eee import HEADER, NOT_SCORED, result_id
from aloe_bench.core import Record
from aloe_bench.errors import DataError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import task_cells
from aloe_bench.evaluation.finish import finish
from aloe_bench.files import NewFolder, safe_name, write_json

OURS = "expected files that `aloe-bench export --format eee` wrote"


def import_eee(place: Path, output: Path) -> list[Path]:
    """Return the run folders written below `output` for the aggregate at `place`, or for those below a folder.

    Raises DataError for what is none, is another harness's, or has numbers that its replies do not give.
    """
    files = [place] if place.is_file() else sorted(place.rglob("*.json"))
    if not files:
        raise DataError(f"{place}: no aggregate (*.json) there; {OURS}.")
    return [_import(path, output) for path in files]


def _import(path: Path, output: Path) -> Path:
    aggregate = _read(path)
    try:
        header = json.loads(aggregate["eval_library"]["additional_details"][HEADER])
        detailed = aggregate["detailed_evaluation_results"]
        silent = json.loads(detailed["additional_details"][NOT_SCORED])
        names = [str(header[key]) for key in ("run_id", "n")] + [str(header[key]["name"]) for key in ("model", "task")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: lacks what aloe-bench adds ({error}); {OURS}.") from error
    records = _records(path.with_name(f"{path.stem}_samples.jsonl"), str(detailed.get("checksum")))
    run, _, model, task = names
    folder = output / safe_name(model) / safe_name(task) / safe_name(run)
    try:
        records += [runlog.record_from_json(value) for value in silent]
        records = sorted(records, key=lambda record: (record.index, record.arm, record.repeat))
        _compare(path, aggregate, header, records)
        _write(folder, header, records)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: its header or a record is not one of aloe-bench ({error}); {OURS}.") from error
    return folder


def _write(folder: Path, header: Mapping[str, Any], records: list[Record]) -> None:
    with NewFolder(folder, overwrite=False, known_by="run.json") as building:
        runlog.create_run(building, {key: value for key, value in header.items() if key != "judges"})
        if header.get("judges"):
            write_json(building / runlog.JURY_FILE, header["judges"])
        runlog.append(building, records)
        summary = finish(building)
        write_json(building / "summary.json", {**summary, "run": str(folder)})


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); {OURS}.") from error


def _records(path: Path, checksum: str) -> list[Record]:
    """Return each reply of the instance-level file once, however many cells it counts in."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror}); it belongs beside its aggregate.") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise DataError(f"{path}: its SHA-256 is not the one in its aggregate; fetch both again.")
    found: dict[tuple[str, str, int], Record] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").rstrip("\n").split("\n"), 1):
        try:
            record = _record(json.loads(line))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(f"{path}:{number}: not an instance of aloe-bench ({error}); {OURS}.") from error
        key = record.sample_id, record.arm, record.repeat
        if found.setdefault(key, record) != record:
            raise DataError(f"{path}:{number}: {record.sample_id} is there twice and differs.")
    return list(found.values())


def _record(line: Mapping[str, Any]) -> Record:
    rest = {key: json.loads(value) for key, value in line["metadata"].items()}
    given, output = line["input"], line["output"]
    traces = output.get("reasoning_trace")
    reply = {"text": output["raw"][0], **({"reasoning": traces[0]} if traces else {})}
    whole = {
        **rest,
        "sample_id": line["sample_id"],
        "question": given["raw"],
        "target": given["reference"][0],
        "options": given["choices"] or (),
        "prediction": {**rest["prediction"], **reply},
    }
    return runlog.record_from_json(whole)


def _compare(path: Path, aggregate: Mapping[str, Any], header: Mapping[str, Any], records: list[Record]) -> None:
    """Raise DataError unless the aggregate's numbers are those that the replies give."""
    own = [record for record in records if not record.arm and not record.repeat]
    if len(own) != header["n"]:
        raise DataError(f"{path}: {len(own)} replies, expected {header['n']}; fetch its files again.")
    expected = {
        result_id(aggregate["evaluation_id"], name): cell.exact
        for name, cell in task_cells(header, own).items()
        if cell.exact is not None
    }
    given = {each["evaluation_result_id"]: each["score_details"] for each in aggregate["evaluation_results"]}
    for name in _unequal(expected, given):
        raise DataError(f"{path}: {name!r} is not what the replies give ({expected.get(name)}); fetch its files again.")


def _unequal(expected: Mapping[str, str | None], given: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(expected.keys() | given.keys()):
        if name not in expected or name not in given or given[name]["details"]["exact"] != expected[name]:
            yield name
