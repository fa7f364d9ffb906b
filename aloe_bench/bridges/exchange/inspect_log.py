"""A run as a log that `inspect view` opens, with the pictures that may be passed on."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from aloe_bench.boards.build import evidence
from aloe_bench.boards.public import public_header, public_records, public_result, without_paths
from aloe_bench.bridges.exchange.eee import stamp
from aloe_bench.core import ImageRef, Record
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import is_attacked
from aloe_bench.files import safe_name, write_atomic
from aloe_bench.reporting.pictures import hashes
from aloe_bench.reporting.places import WantedPictures, find_pictures
from aloe_bench.reporting.sharing import may_share

VERSION, SCORER = 2, "aloe_bench"
_STOPS = {"stop": "stop", "length": "max_tokens", "error": "unknown"}


class InspectLog(NamedTuple):
    """The log, how many samples and different pictures it holds, and why pictures are missing."""

    path: Path
    n_samples: int
    n_pictures: int
    remarks: tuple[str, ...]


def export_inspect(folder: Path, output: Path, data: Sequence[Path] = ()) -> InspectLog:
    """Return the log written below `output` for the finished run in `folder`; `data` says where pictures lie now.

    Pictures that may not be passed on are named by their hash alone. Raises DataError for an unfinished run.
    """
    result, header = public_result(evidence(folder).result), runlog.read_header(folder)
    records = public_records(header, runlog.read_lines(folder))
    wanted = {name for record in records for name in hashes(record)}
    found: dict[str, ImageRef] = {}
    remarks: list[str] = []
    if wanted and not may_share(header["task"]):
        remarks.append(f"{len(wanted)} pictures left out: the licence {header['task'].get('licence')!r} does not say "
                       "that they may be passed on")  # fmt: skip
    elif wanted:
        attacked = is_attacked([record for record in records if not record.arm])
        task = WantedPictures(str(header["task"]["name"]), header, attacked, frozenset(wanted))
        found, remarks = find_pictures(data, [task])
    shown = {name: _uri(found[name]) for name in sorted(wanted & found.keys())}
    began = datetime.fromtimestamp(float(stamp(str(header["run_id"]), folder)), UTC)
    begun = began.isoformat()
    decoding = header.get("decoding") or {}
    log = {
        "version": VERSION,
        "status": "success",
        "eval": {
            "run_id": header["run_id"],
            "created": begun,
            "task": header["task"]["name"],
            "task_id": f"{header['task']['name']}@{header['task']['data_sha256'][:8]}",
            "task_version": header["task"]["version"],
            "dataset": {"name": header["task"]["name"], "samples": len(records)},
            "model": header["model"]["name"],
            "model_generate_config": {"temperature": decoding.get("temperature"),
                                      "max_tokens": decoding.get("max_new_tokens")},
            "config": {"epochs": int(header.get("repeats", 1))},
            "metadata": {"aloe_bench": public_header(header), "cautions": result["cautions"]},
        },
        "plan": {"name": "aloe-bench", "steps": []},
        "results": {
            "total_samples": len(records),
            "completed_samples": sum(record.prediction.text is not None for record in records),
            "scores": [{"name": SCORER, "scorer": SCORER, "metrics": _metrics(result["cells"])}],
        },
        "stats": {"started_at": begun, "completed_at": begun},
        "samples": [_sample(record, str(header["model"]["name"]), shown) for record in records],
    }  # fmt: skip
    # The viewer lists files by their names alone: time, task, and what tells two apart.
    digits = hashlib.sha256(f"{header['run_id']}\0{header['model']['fingerprint']}".encode()).hexdigest()[:22]
    called = re.sub(r"[^\w-]|_", "-", safe_name(str(header["task"]["name"])))
    name = f"{began:%Y-%m-%dT%H-%M-%S}+00-00_{called}_{digits}.json"
    # In this order: the viewer reads a log's head up to its samples.
    write_atomic(output / name, json.dumps(_readable(log)) + "\n")
    return InspectLog(output / name, len(records), len(shown), tuple(remarks))


def _uri(image: ImageRef) -> str:
    file = io.BytesIO()
    image.open().save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _metrics(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells that have a value; a number cannot stand for one that was not measured."""
    return {
        name: {"name": name, "value": float(Fraction(cell["exact"])), "metadata": dict(cell)}
        for name, cell in cells.items()
        if cell["exact"] is not None
    }


def _sample(record: Record, model: str, shown: Mapping[str, str]) -> dict[str, Any]:
    prediction, score = record.prediction, record.score
    whole = runlog.record_to_json(record)
    reply: dict[str, Any] = {"role": "assistant", "content": prediction.text or "", "source": "generate"}
    if prediction.reasoning:
        reply["content"] = [{"type": "reasoning", "reasoning": prediction.reasoning},
                            {"type": "text", "text": prediction.text or ""}]  # fmt: skip
    asked = _messages(record, shown)
    choice = {"message": reply, "stop_reason": _STOPS[prediction.finish]}
    graded = {
        "value": score.value,
        "answer": score.parsed,
        "explanation": score.rule,
        "metadata": {"outcome": whole["score"].get("outcome"), "verdicts": whole["score"]["verdicts"]},
    }
    error = str(without_paths(prediction.error))
    return {
        "id": (record.sample_id.rpartition("#")[0] if record.repeat else record.sample_id)
        + (f" [{record.arm}]" if record.arm else ""),
        "epoch": record.repeat + 1,
        "input": asked,
        "choices": list(record.options) or None,
        "target": record.target,
        "messages": [*asked, reply],
        "output": {"model": model, "choices": [choice] if prediction.text is not None else []},
        "scores": {} if score.value is None else {SCORER: graded},
        "metadata": {"cluster": record.cluster, "tags": dict(record.tags), "cue": whole["cue"], "kind": record.kind},
        **({"error": {"message": error, "traceback": "", "traceback_ansi": ""}} if prediction.error else {}),
    }


def _messages(record: Record, shown: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what was sent, turn by turn; of a log of before prompts were kept the question."""
    turns: list[dict[str, Any]] = []
    for part in record.prompt:
        if part.text is not None:
            content = {"type": "text", "text": part.text}
        elif picture := shown.get(part.image or ""):
            content = {"type": "image", "image": picture}
        else:
            content = {"type": "text", "text": f"[picture {part.image}, not in this log]"}
        if not turns or turns[-1]["role"] != part.role:
            turns.append({"role": part.role, "content": []})
        turns[-1]["content"].append(content)
    return turns or [{"role": "user", "content": record.question}]


def _readable(value: Any) -> Any:
    """Return JSON without half characters, which no reader of UTF-8 takes."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_readable(key): _readable(each) for key, each in value.items()}
    return [_readable(each) for each in value] if isinstance(value, list | tuple) else value
