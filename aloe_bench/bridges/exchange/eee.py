"""A run in the format of Every Eval Ever: the aggregate, and one line for each reply in each cell; and back.

Schema 0.3.0, https://github.com/evaleval/every_eval_ever. What it has no field for is JSON text in `metadata` and
`additional_details`, so that a run that comes back has the same records, and the same cells.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from aloe_bench import registry
from aloe_bench.boards.build import evidence
from aloe_bench.boards.public import public_header, public_records, public_result, without_paths
from aloe_bench.boards.results import is_published_heart
from aloe_bench.boards.tables import cell_marks, marks_of, protocol_label
from aloe_bench.core import Cell, Record
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import cell_units, header_facts, task_cells, task_sections
from aloe_bench.evaluation.outcomes import OUTCOMES
from aloe_bench.files import safe_name, write_atomic

SCHEMA = "0.3.0"
UNKNOWN = "unknown"
HEADER, NOT_SCORED, UNMEASURED = "aloe_bench_header", "aloe_bench_not_scored", "aloe_bench_cells_without_value"
SECTIONS = "aloe_bench_sections"
# Keys of a record that stand in a field of Every Eval Ever, and so not in `metadata`.
_FIELDS = ("sample_id", "question", "target", "options")
_REPLY = ("text", "reasoning")
_RUN_ID = re.compile(r"(\d{8}T\d{6})(?:\.(\d{1,6}))?Z")


class EEEFiles(NamedTuple):
    """The two files of a run, how many numbers and lines are in them, and how many replies have no score."""

    aggregate: Path
    samples: Path
    n_results: int
    n_lines: int
    n_silent: int
    schema: str = SCHEMA


def export_eee(folder: Path, output: Path, organisation: str = UNKNOWN) -> EEEFiles:
    """Return the files written below `output`/data for the finished run in `folder`.

    The same run gives the same bytes. Raises DataError for an unfinished run.
    """
    result = public_result(evidence(folder).result)
    header = runlog.read_header(folder)
    lines = public_records(header, runlog.read_lines(folder))
    own = [record for record in lines if not record.arm and not record.repeat]
    beside = [record for record in lines if record.arm]
    cells = task_cells(header, own)
    when = stamp(str(header["run_id"]), folder)
    model, task = str(header["model"]["name"]), str(header["task"]["name"])
    evaluation = f"{task}/{model}/{when}"
    developer, _, name = model.rpartition("/")
    number = _uuid(f"{header['run_id']}\0{header['model']['fingerprint']}\0{task}")
    place = Path("data", safe_name(task), safe_name(developer or UNKNOWN), safe_name(name), number)
    instances = "".join(
        json.dumps(line, sort_keys=True) + "\n" for line in _instances(evaluation, model, task, header, lines, own)
    )
    samples = place.with_name(f"{number}_samples.jsonl")
    silent = [_silent(record) for record in lines if record.score.value is None]
    aggregate: dict[str, Any] = {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation,
        "evaluation_timestamp": datetime.fromtimestamp(float(when), UTC).isoformat(),
        "retrieved_timestamp": when,
        "source_metadata": {
            "source_name": "aloe-bench",
            "source_type": "evaluation_run",
            "source_organization_name": organisation,
            "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": "aloe-bench",
            "version": str((header.get("versions") or {}).get("aloe-bench") or UNKNOWN),
            "additional_details": {
                HEADER: json.dumps(public_header(header), sort_keys=True),
                SECTIONS: json.dumps(task_sections(header, own, beside), sort_keys=True),
                UNMEASURED: json.dumps([cell for cell, numbers in cells.items() if numbers.exact is None]),
                "cautions": json.dumps(result["cautions"]),
            },
        },
        "model_info": _model(header["model"], header.get("versions") or {}),
        "evaluation_results": [
            _result(evaluation, result, header, name, cell) for name, cell in cells.items() if cell.exact is not None
        ],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": samples.as_posix(),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(instances.encode()).hexdigest(),
            "total_rows": instances.count("\n"),
            # A line must have a score; a call that failed has none, and neither has what a jury has not read.
            "additional_details": {NOT_SCORED: json.dumps(silent, sort_keys=True), "not_scored": str(len(silent))},
        },
    }
    paths = output / place.with_name(f"{number}.json"), output / samples
    write_atomic(paths[1], instances)
    write_atomic(paths[0], json.dumps(aggregate, indent=2, sort_keys=True) + "\n")
    return EEEFiles(*paths, len(aggregate["evaluation_results"]), instances.count("\n"), len(silent))


def result_id(evaluation: str, cell: str) -> str:
    """Return what joins instances to a cell."""
    return f"{evaluation}#{cell}"


def _result(
    evaluation: str, result: Mapping[str, Any], header: Mapping[str, Any], name: str, cell: Cell
) -> dict[str, Any]:
    facts = header_facts(header)
    low_high = cell.interval
    interval = {} if low_high is None else {
        "confidence_interval": {
            "lower": low_high[0], "upper": low_high[1], "confidence_level": 0.95,
            "method": "clustered by source image or patient",
        }
    }  # fmt: skip
    counts = {outcome: str(getattr(cell, outcome)) for outcome in (*OUTCOMES, "unjudged", "n", "n_clusters")}
    decoding = header.get("decoding") or {}
    arguments = {"temperature": decoding.get("temperature"), "max_tokens": decoding.get("max_new_tokens")}
    return {
        "evaluation_result_id": result_id(evaluation, name),
        "evaluation_name": f"{header['task']['name']}: {name}",
        "evaluation_timestamp": evaluation.rpartition("/")[2],
        "source_data": _source(header),
        "metric_config": {
            "metric_id": "accuracy",
            "metric_name": "Mean grade of a jury" if header.get("judges") else "Accuracy",
            "metric_unit": "proportion",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 1.0,
            **({"llm_scoring": _jury(header["judges"])} if header.get("judges") else {}),
            "additional_details": {
                "cell": name,
                "measure": facts.measure or "cells",
                "protocol": str(header["protocol"]),
                "parser": str(header.get("parser")),
                "answer": str(header.get("answer", "letter")),
                "row_label": protocol_label(result).strip(),
            },
        },
        "score_details": {
            "score": float(Fraction(cell.exact or 0)),
            "details": {
                **counts,
                "exact": str(cell.exact),
                "bounds": json.dumps(cell.bounds),
                "marks": marks_of(result) + cell_marks(result["cells"][name]),
            },
            "uncertainty": {"num_samples": cell.n, **interval},
        },
        "generation_config": {
            "generation_args": {key: value for key, value in arguments.items() if value is not None},
            "additional_details": {
                "decoding": json.dumps(decoding, sort_keys=True),
                "seed": str(header.get("seed")),
                "prompt_sha256": str(header.get("prompt_sha256")),
            },
        },
    }


def _instances(
    evaluation: str, model: str, task: str, header: Mapping[str, Any], lines: Sequence[Record], own: Sequence[Record]
) -> Iterator[dict[str, Any]]:
    """Yield one line for each scored reply and each cell that it counts in; one without a cell where it is in none."""
    cells = _members(header, own)
    for record in lines:
        if record.score.value is None:
            continue
        line = _instance(evaluation, model, record)
        for cell in cells.get(id(record)) or [""]:
            if cell:
                yield {
                    **line,
                    "evaluation_name": f"{task}: {cell}",
                    "evaluation_result_id": result_id(evaluation, cell),
                }
            else:
                yield {**line, "evaluation_name": task}


def _members(header: Mapping[str, Any], own: Sequence[Record]) -> dict[int, list[str]]:
    """Return of each record, by its identity, the cells that are means of it as it stands."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    if header_facts(header, own).measure:
        for record in own:
            if record.cue is None or record.cue.variant == "adversarial":
                found[id(record)].append(f"{record.tags['task']}/{record.cue.attack if record.cue else 'baseline'}")
        return found
    for name, units in cell_units(header, own).items():
        for stratum in units.strata:
            for record, _ in stratum:
                found[id(record)].append(name)
    return found


def _instance(evaluation: str, model: str, record: Record) -> dict[str, Any]:
    whole = runlog.record_to_json(record)
    prediction = whole["prediction"]
    rest = {key: value for key, value in whole.items() if key not in (*_FIELDS, "prediction")}
    rest["prediction"] = {key: value for key, value in prediction.items() if key not in _REPLY}
    score = record.score
    outcome = whole["score"].get("outcome", "answered")
    read = {"turn_idx": 0, "source": "output.raw", "extracted_value": score.parsed, "extraction_method": score.rule,
            "is_terminal": True}  # fmt: skip
    tokens = [record.prediction.prompt_tokens, record.prediction.output_tokens]
    shown = "\n".join(part.text if part.text is not None else f"[picture {part.image}]" for part in record.prompt)
    digest = hashlib.sha256((record.question + record.target).encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation,
        "model_id": model,
        "sample_id": record.sample_id,
        "sample_hash": digest,
        "interaction_type": "single_turn",
        "input": {
            "raw": record.question,
            "formatted": shown if record.prompt else None,
            "reference": [record.target],
            "choices": list(record.options) or None,
        },
        "output": {
            "raw": [record.prediction.text or ""],
            "reasoning_trace": None if record.prediction.reasoning is None else [record.prediction.reasoning],
        },
        "answer_attribution": [] if score.parsed is None else [read],
        "evaluation": {"score": score.value, "is_correct": score.value == 1.0, "num_turns": 1},
        **({"token_usage": _tokens(*tokens)} if None not in tokens else {}),
        **({"error": outcome} if outcome != "answered" else {}),
        "metadata": {key: json.dumps(value, sort_keys=True) for key, value in rest.items()},
    }


def _silent(record: Record) -> dict[str, Any]:
    """Return a record as a line of a run has it; of its error no path, and its question as it was asked."""
    whole = runlog.record_to_json(record)
    return {**whole, "prediction": {**whole["prediction"], "error": without_paths(record.prediction.error)}}


def _tokens(prompt: int | None, output: int | None) -> dict[str, int]:
    return {"input_tokens": prompt or 0, "output_tokens": output or 0, "total_tokens": (prompt or 0) + (output or 0)}


def _source(header: Mapping[str, Any]) -> dict[str, Any]:
    task = header["task"]
    source = str(task.get("source") or "")
    published = re.fullmatch(r"[\w.-]+/[\w.-]+", source) and (
        task["name"] in registry.TASKS or is_published_heart(task)
    )
    where = {"source_type": "hf_dataset", "hf_repo": source, "samples_number": header["n"]} if published else {
        "source_type": "other"
    }  # fmt: skip
    names = ("version", "data_sha256", "expected_rows", "source", "revision", "licence")
    details = {name: str(task.get(name)) for name in names}
    details["verified"] = json.dumps(task.get("verified"))
    return {"dataset_name": str(task["name"]), **where, "additional_details": without_paths(details)}


def _model(model: Mapping[str, Any], versions: Mapping[str, Any]) -> dict[str, Any]:
    name, backend = str(model["name"]), str(model["backend"])
    developer, _, _ = name.rpartition("/")
    package = {"hf": "transformers"}.get(backend, backend)
    return {
        "name": name,
        "id": name,
        **({"developer": developer} if developer else {}),
        "inference_engine": {"name": package, "version": str(versions.get(package) or UNKNOWN)},
        "additional_details": {
            "deployment_type": "self_deployed" if backend in ("hf", "vllm", "mock") else UNKNOWN,
            "model_availability": "closed_weights" if model.get("size_group") == "closed" else UNKNOWN,
            "fingerprint": str(model["fingerprint"]),
            "backend": backend,
            "miniature": json.dumps(bool(model["miniature"])),
        },
    }


def _jury(jury: Mapping[str, Any]) -> dict[str, Any]:
    from aloe_bench.judges.jury.rubric import INSTRUCTIONS

    unknown = {"deployment_type": UNKNOWN, "model_availability": UNKNOWN}
    judges = [
        {"model_info": {"name": str(judge["name"]), "id": str(judge["name"]), "additional_details": dict(unknown)}}
        for judge in jury["judges"]
    ]
    return {
        "judges": judges,
        "input_prompt": INSTRUCTIONS,
        "aggregation_method": "median",
        "additional_details": {"rubric": str(jury.get("rubric")), "identity": str(jury.get("identity"))},
    }


def stamp(run_id: str, folder: Path) -> str:
    """Return when the run was begun in seconds since 1970; of a run whose name does not say it, when it was written."""
    found = _RUN_ID.fullmatch(run_id)
    if found is None:
        return str(int((folder / "run.json").stat().st_mtime))
    begun = datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return f"{int(begun.timestamp())}.{(found[2] or '0').ljust(6, '0')}"


def _uuid(text: str) -> str:
    """Return a number in the form of a random UUID (version 4) that is always the same for `text`."""
    digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"
