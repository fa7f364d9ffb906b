"""Runs on one source attacked at several strengths: how cue-following rises with the dose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aloe_bench import runlog
from aloe_bench.core import Record
from aloe_bench.errors import DataError, RunMismatchError, UsageError
from aloe_bench.stats.dose import dose_response

# What `attack --strength` leaves at its usual value is not written into a row.
USUAL = 1.0


def dose_rows(runs: Sequence[Path], setting: str) -> dict[str, Any]:
    """Return, for each task and attack that `setting` (such as caption.size) acts on, its dose-response over `runs`.

    The share is cue-following under the adversarial cue. Raises UsageError for a setting without a number in at least
    two runs or twice the same, RunMismatchError unless every run has the same items of one model.
    """
    found = [_run(folder, setting) for folder in runs]
    models = {model for model, _, _ in found}
    if len(models) > 1:
        raise RunMismatchError(f"--dose: runs of {', '.join(sorted(models))}; expected one model at several strengths.")
    found.sort(key=lambda run: run[1])
    doses = [dose for _, dose, _ in found]
    if len(set(doses)) < max(2, len(doses)):
        shown = ", ".join(f"{dose:g}" for dose in doses)
        raise UsageError(f"--dose {setting}: the runs were made at {shown}; expected two different strengths or more.")
    rows = [_row(name, doses, [items.get(name, {}) for _, _, items in found]) for name in found[0][2]]
    return {"model": models.pop(), "setting": setting, "rows": rows}


def _run(folder: Path, setting: str) -> tuple[str, float, dict[str, dict[str, Record]]]:
    """Return the model, the dose, and task/attack -> sample id -> record of the rows the setting acts on."""
    header, records = runlog.read_run(folder)
    if len(records) != header["n"]:
        raise DataError(f"{folder}: {len(records)} records, expected {header['n']}. Resume the run, then compare.")
    items: dict[str, dict[str, Record]] = {}
    doses: set[float] = set()
    for record in records:
        if record.cue is None or record.cue.variant != "adversarial":
            continue
        if setting.partition(".")[0] in record.cue.attack.split("+"):
            items.setdefault(f"{record.tags['task']}/{record.cue.attack}", {})[record.sample_id] = record
            doses.add(_dose(folder, setting, record))
    if len(doses) != 1:
        raise UsageError(f"--dose {setting}: {folder} has no attack it acts on; expected e.g. caption.size.")
    return str(header["model"]["fingerprint"]), doses.pop(), items


def _dose(folder: Path, setting: str, record: Record) -> float:
    value = json.loads(record.tags.get("strength") or "{}").get(setting, USUAL)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"--dose {setting}: {folder} has {value!r}, which is no number; it cannot be put in order.")
    return float(value)


def _row(name: str, doses: Sequence[float], runs: Sequence[Mapping[str, Record]]) -> dict[str, Any]:
    ids = sorted(runs[0])
    if any(sorted(run) != ids for run in runs):
        raise RunMismatchError(f"--dose: the runs have other items of {name}; attack one source with one seed.")
    failed = sum(record.score.value is None for run in runs for record in run.values())
    if failed:
        return {"row": name, "failed": failed}
    hits = np.array([[_led(run[i]) for run in runs] for i in ids], dtype=float)
    clusters = [runs[0][i].cluster for i in ids]
    return {"row": name, "failed": 0, **asdict(dose_response(doses, hits, clusters, name))}


def _led(record: Record) -> bool:
    return record.cue is not None and record.score.parsed == record.cue.suggests
