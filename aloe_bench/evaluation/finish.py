"""The end of a run: its numbers, and summary.json, which is what ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aloe_bench.core import Cell, Record
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import tally, task_cells, task_sections
from aloe_bench.evaluation.corrected import FILE as LABELS
from aloe_bench.evaluation.corrected import corrected_cells, read_labels
from aloe_bench.evaluation.leftover import FILE as LEFT_OVER
from aloe_bench.evaluation.leftover import read_left_over, sentences
from aloe_bench.evaluation.outcomes import cautions, numbers_of_outcomes
from aloe_bench.files import write_json


def finish(folder: Path, done: bool = True) -> dict[str, Any]:
    """Return the summary of a run whose every sample has a record.

    It is written, which ends the run, unless a call failed or the caller is not `done` with it.
    """
    header, records = runlog.read_run(folder)
    controls = runlog.read_controls(folder)
    repeats = runlog.read_repeats(folder)
    every = [*records, *controls, *repeats]
    cells = task_cells(header, records)
    kept = (folder / LABELS).is_file()
    corrected = corrected_cells(header, records, read_labels(folder)) if kept else {}
    failed = sum(record.prediction.finish == "error" for record in every)
    summary = {
        "run": str(folder),
        "task": header["task"]["name"],
        "model": header["model"]["name"],
        "protocol": header["protocol"],
        "n": len(records),
        "failed": failed,
        "first_failure": next(
            (f"{r.sample_id}: {r.prediction.error}" for r in every if r.prediction.finish == "error"), None
        ),
        "unjudged": sum(record.score.rule == "unjudged" for record in records),
        "partial": bool(header["partial"] or header["limit"] is not None or header["shard"]),
        "seconds": sum(record.prediction.seconds or 0.0 for record in every),
        "prompt_tokens": sum(record.prediction.prompt_tokens or 0 for record in every),
        "output_tokens": sum(record.prediction.output_tokens or 0 for record in every),
        **_image_tokens(every),
        "jury": tally(records) if any(record.score.verdicts for record in records) else None,
        "verified": header["task"].get("verified"),
        "absent": header.get("absent", {}),
        "left_out": header.get("asked", {}).get("left_out", []),
        "pictures": header.get("pictures", {}),
        "left_over": sentences(read_left_over(folder)) if (folder / LEFT_OVER).is_file() else [],
        "cells": {name: _plain(cell, corrected.get(name)) for name, cell in cells.items()},
        "cautions": cautions(cells, records),
    } | task_sections(header, records, controls)
    if told := header["task"].get("told"):
        summary["told"] = told
    if "controls" in header:
        from aloe_bench.evaluation.reliance import controls_section

        summary |= controls_section(records, controls) | {"controls_left_out": header["controls"]["left_out"]}
    if repeats:
        from aloe_bench.evaluation.repeats import repeats_section

        summary |= repeats_section(records, repeats)
    if (header.get("decoding") or {}).get("temperature") and header["protocol"] == "generate":
        # A sampled reply without a seed cannot be had again, and another seed would not have changed it.
        summary["unseeded"] = sum(r.prediction.text is not None and r.prediction.seed is None for r in records)
    if header.get("extended"):
        count = sum(record.prediction.extended > 0 for record in records)
        how = {"from": header["extended_from"]} if "extended_from" in header else {}
        summary["extended"] = {"tokens": header["extended"], "replies": count, **how}
    missing = runlog.controls_missing(header, controls) or runlog.repeats_missing(header, repeats)
    if done and not failed and not missing:
        write_json(folder / "summary.json", summary)
    return summary


def _image_tokens(records: Sequence[Record]) -> dict[str, Any]:
    """Return the mean tokens of a picture, and of how many shown pictures that is known; {} if of none."""
    counted = [record for record in records if record.prediction.image_tokens is not None]
    pictures = sum(part.image is not None for record in counted for part in record.prompt)
    tokens = sum(record.prediction.image_tokens or 0 for record in counted)
    return {"image_tokens": {"mean": tokens / pictures, "pictures": pictures}} if pictures else {}


def _plain(cell: Cell, corrected: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "value": cell.value,
        "interval": cell.interval,
        "n": cell.n,
        "n_clusters": cell.n_clusters,
        "unjudged": cell.unjudged,
        **({"corrected": corrected} if corrected else {}),
    } | numbers_of_outcomes(cell)
