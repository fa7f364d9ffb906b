"""A jury grades the open answers of a run on disk: records -> cases -> verdicts -> records."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aloe_bench.answers.score import grade_open, open_answer
from aloe_bench.core import Record
from aloe_bench.errors import DataError, RunMismatchError
from aloe_bench.evaluation import runlog
from aloe_bench.files import VERDICT_FILE, write_json
from aloe_bench.judges.jury.panel import Panel, Progress
from aloe_bench.judges.jury.rubric import Case, rubric_id
from aloe_bench.judges.jury.store import VerdictStore

log = logging.getLogger(__name__)
JURY_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class JurySession:
    """What a jury did with a run: why a judge stopped early; its unreadable replies and its failed calls, by name.

    `left` counts the verdicts that another session would still ask for.
    """

    judged: int
    left: int
    down: Mapping[str, str]
    counts: Mapping[str, tuple[int, int]]


def jury_facts(panel: Panel, described: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `judges.json` holds; `identity` is the same in whatever order the judges stand."""
    fingerprints = sorted([judge.name, judge.fingerprint] for judge in panel.judges)
    identity = hashlib.sha256(json.dumps([rubric_id(), fingerprints]).encode()).hexdigest()
    judges = [
        {"name": judge.name, "fingerprint": judge.fingerprint, **facts}
        for judge, facts in zip(panel.judges, described, strict=True)
    ]
    return {
        "schema": JURY_SCHEMA,
        "identity": identity,
        "rubric": rubric_id(),
        "rule": "median",
        "judges": sorted(judges, key=lambda judge: str(judge["name"])),
    }


def judge_run(
    folder: Path,
    panel: Panel,
    facts: Mapping[str, Any],
    fresh: bool = False,
    progress: Progress = lambda done, total: None,
) -> JurySession:
    """Grade the open answers of a finished run; what is graded stays, so that it can be interrupted and repeated.

    Raises RunMismatchError if another jury has begun, unless `fresh`, which sets that jury's verdicts aside.
    """
    header, records = runlog.read_run(folder)
    if len(records) < header["n"]:
        raise DataError(f"{folder}: {len(records)} of {header['n']} records; finish the run before it is graded.")
    cases = _cases(folder, records)
    with runlog.RecordWriter(folder) as writer:
        if fresh:
            writer.append(replace(r, score=grade_open(r.prediction.text or "")) for r in records if r.score.verdicts)
        _seat(folder, header.get("judges"), facts, fresh)
        with VerdictStore(folder) as store:
            ballot = panel.grade(cases, store, progress)
            counts = {judge.name: store.counts(judge.fingerprint) for judge in panel.judges}
        changed = [
            replace(record, score=ballot.scores[record.sample_id])
            for record in runlog.read_records(folder)
            if record.sample_id in ballot.scores and record.score != ballot.scores[record.sample_id]
        ]
        writer.append(changed)
    log.info("%s: %d answers graded, %d scores changed", folder, len(cases), len(changed))
    return JurySession(len(cases), ballot.left, ballot.down, counts)


def _cases(folder: Path, records: Sequence[Record]) -> list[Case]:
    cases = []
    for record in records:
        if record.kind != "open" or record.prediction.finish == "error":
            continue
        answer = open_answer(record.prediction.text or "")
        if answer is None:
            continue
        if not record.question:
            raise DataError(f"{folder}: {record.sample_id} has no question in its record; run the model again.")
        cases.append(Case(record.sample_id, record.question, record.target, answer))
    return cases


def _seat(folder: Path, seated: Mapping[str, Any] | None, facts: Mapping[str, Any], fresh: bool) -> None:
    """Write `judges.json`, unless it stands there; refuse another jury, or set its work aside."""
    if seated is not None and seated.get("identity") != facts["identity"] and not fresh:
        raise RunMismatchError(
            f"{folder}: graded, wholly or in part, by another jury: {_jury_line(seated)}; asked for now: "
            f"{_jury_line(facts)}. Use the earlier judges, or --fresh-verdicts to set their verdicts aside."
        )
    if fresh and seated is not None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        for name in (runlog.JURY_FILE, VERDICT_FILE):
            path = folder / name
            if path.exists():
                os.replace(path, path.with_name(f"{path.stem}-until-{stamp}{path.suffix}"))
    if fresh or seated is None:
        write_json(folder / runlog.JURY_FILE, facts)


def _jury_line(facts: Mapping[str, Any]) -> str:
    judges = ", ".join(f"{judge['name']} ({judge['fingerprint'][:8]})" for judge in facts.get("judges", ()))
    return f"{judges} with rubric {facts.get('rubric')}"
