"""Everything that the item browser shows, as columns, and as the compressed text that the page unpacks."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aloe_bench.core import Record
from aloe_bench.reporting.change import CHANGES
from aloe_bench.reporting.pictures import hashes
from aloe_bench.reporting.read import QuestionSet, ReportedRun

Columns = dict[str, Any]
# Characters of a prompt that stand in the list.
HEAD = 90
# Rows that a page unpacks at once: few enough that the first is there at once, many enough to pack well.
PART_ROWS = 1000


def page_data(sets: Sequence[QuestionSet]) -> str:
    """Return what a page from disk unpacks, one packed text per line: `rows_index`, then parts of the rest.

    Before a part stand the number of its questions and of its first row.
    """
    parts = [
        (number, start, range(start, min(start + PART_ROWS, len(each.records))))
        for number, each in enumerate(sets)
        for start in range(0, len(each.records), PART_ROWS)
    ]
    # Compression leaves the interpreter to the next part's text.
    with ThreadPoolExecutor(2) as threads:
        texts = list(threads.map(lambda part: packed(row_details(sets[part[0]], part[2])), parts))
    lines = (f"{number} {start} {text}" for (number, start, _), text in zip(parts, texts, strict=True))
    return "\n".join([packed(rows_index(sets)), *lines])


def packed(value: object) -> str:
    """Return `value` as JSON, gzipped, in base64; the same value gives the same text."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def rows_index(sets: Sequence[QuestionSet]) -> dict[str, Any]:
    """Return what rows are filtered and listed by; the rest of them follows as it is needed."""
    return {
        "changes": dict(CHANGES),
        "sets": [
            {
                "title": each.title,
                "attacked": each.attacked,
                "rows": _index(each.records) | {"head": [_head(record) for record in each.records]},
                "runs": [_run(run) for run in each.runs],
            }
            for each in sets
        ],
    }


def row_details(each: QuestionSet, places: Sequence[int]) -> dict[str, Any]:
    """Return what `rows_index` leaves out of the rows at `places`, in their order."""
    records = [each.records[place] for place in places]
    return {"rows": _details(records), "runs": [_replies([run.records[p] for p in places]) for run in each.runs]}


def rows_with(each: QuestionSet, words: str) -> list[int]:
    """Return the rows whose id, cluster, prompt or a reply has `words`, whatever their case."""
    wanted = words.lower()

    def texts(place: int, record: Record) -> Iterator[str]:
        yield from (record.sample_id, record.cluster, _prompt(record))
        yield from (_reply(run.records[place]) or "" for run in each.runs)

    return [i for i, record in enumerate(each.records) if any(wanted in text.lower() for text in texts(i, record))]


def _index(records: Sequence[Record]) -> Columns:
    place = {record.sample_id: i for i, record in enumerate(records) if record.cue is None and not record.arm}
    return {
        "id": [record.sample_id for record in records],
        "base": [place.get(record.cue.base_id, -1) if record.cue else -1 for record in records],
        "attack": [record.cue.attack if record.cue else record.arm for record in records],
        "variant": [record.cue.variant if record.cue else "" for record in records],
        "dataset": [record.tags.get("dataset", "") for record in records],
        "kind": [record.tags.get("task") or record.kind for record in records],
    }


def _details(records: Sequence[Record]) -> Columns:
    return {
        "cluster": [record.cluster for record in records],
        "prompt": [_prompt(record) for record in records],
        "options": [list(record.options) for record in records],
        "target": [record.target for record in records],
        "suggests": [record.cue.suggests if record.cue else None for record in records],
        "pictures": [list(hashes(record)) for record in records],
    }


def _head(record: Record) -> str:
    return _prompt(record).split("\n", 1)[0][:HEAD]


def _prompt(record: Record) -> str:
    """Return the words of what was sent, or the question where a log of before does not hold them."""
    texts = [
        part.text if part.role == "user" else f"[{part.role}] {part.text}"
        for part in record.prompt
        if part.text is not None
    ]
    return "\n\n".join(texts) if texts else record.question


def _run(run: ReportedRun) -> Columns:
    return {"label": run.label, "run": str(run.header["run_id"]), "change": run.changes}


def _reply(record: Record) -> str | None:
    return record.prediction.text if record.prediction.text is not None else record.prediction.error


def _replies(records: Sequence[Record]) -> Columns:
    return {
        "text": [_reply(record) for record in records],
        "reasoning": _some(records, lambda r: r.prediction.reasoning),
        "parsed": [record.score.parsed for record in records],
        "rule": [record.score.rule for record in records],
        "value": [record.score.value for record in records],
        "verdicts": _some(records, lambda r: [[v.judge, v.grade, v.reply] for v in r.score.verdicts]),
        "end": _some(
            records, lambda r: r.prediction.finish_reason or (r.prediction.finish != "stop" and r.prediction.finish)
        ),
    }


def _some(records: Sequence[Record], of: Any) -> dict[str, Any]:
    """Return row -> what `of` says of it, where it says something."""
    return {str(i): value for i, value in enumerate(map(of, records)) if value}
