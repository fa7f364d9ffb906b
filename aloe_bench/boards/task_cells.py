"""Which numbers are made of a task's records: one line of a table for every task that has more than a mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from aloe_bench.answers.compat.slake import exact_match
from aloe_bench.core import Cell, Record, Score
from aloe_bench.evaluation.cells import all_right, cell, macro_cell, weighted_cell
from aloe_bench.heart.measure import effects

Cells = dict[str, Cell]
TaskCells = Callable[[Mapping[str, Any], Sequence[Record]], Cells]


def task_cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
    """Return the cells of a run by name; the first, `overall`, is the micro-average of all its records.

    `header` is that of the run log. A task named "heart-..." has the cells of "heart": those of Table 4, and no
    `overall`, since baseline and attacked rows have no mean of their own.
    """
    return (_of_task(TASK_CELLS, header) or by_tag())(header, records)


def task_sections(header: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """Return what a run's summary holds beside its cells, by name; empty for most tasks."""
    make = _of_task(TASK_SECTIONS, header)
    return make(records) if make else {}


def _of_task(table: Mapping[str, Any], header: Mapping[str, Any]) -> Any:
    name = str(header["task"]["name"])
    return table.get(name) or table.get(name.partition("-")[0])


def by_tag(tag: str = "", *values: str) -> TaskCells:
    """Return cells `overall` and one for each value of `tag`: those given, in any case, else those that occur."""

    def cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
        run = str(header["run_id"])
        made = {"overall": cell(records, run)}
        found = {record.tags.get(tag, "").strip().lower() for record in records} - {""}
        for value in values or sorted(found):
            made[value] = cell([r for r in records if r.tags.get(tag, "").strip().lower() == value], run)
        return made

    return cells


def by_tags(*tags: str) -> TaskCells:
    """Return cells `overall` and one for each value of each tag, named "tag: value"."""

    def cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
        run = str(header["run_id"])
        made = {"overall": cell(records, run)}
        for tag in tags:
            for value, members in sorted(_grouped(records, partial(_tag, tag)).items()):
                made[f"{tag}: {value or '-'}"] = cell(members, run)
        return made

    return cells


def _tag(tag: str, record: Record) -> str:
    return record.tags.get(tag, "")


def _grouped(records: Sequence[Record], key: Callable[[Record], str]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def omnimedvqa_cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
    """Return the micro-average, the average over source data sets if all are told, and cells by type and modality."""
    made = by_tags("question_type", "modality")(header, records)
    cells = {"overall": made.pop("overall")}
    if all(record.tags.get("source") for record in records):
        cells["macro over sources"] = macro_cell(records, str(header["run_id"]), partial(_tag, "source"))
    return cells | made


def multimedqa_cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
    """Return the average weighted by size, as lm-eval gives it, the average over the nine parts, and each part."""
    made = by_tag("category")(header, records)
    macro = macro_cell(records, str(header["run_id"]), partial(_tag, "category"))
    return {"overall": made.pop("overall"), "macro over parts": macro, **made}


def probmed_cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
    """Return accuracy by question, by pair of a true and an adversarial question, and the benchmark's own figure.

    `official` counts an image's modality, body part, entities and grounding each as right if all their questions are,
    and every abnormality question by itself. Source: ProbMed's eval/calculate_score.py, with its weights.
    """
    run = str(header["run_id"])
    made = by_tags("qa_type")(header, records)
    pairs = _grouped([r for r in records if r.tags.get("half")], lambda r: f"{r.cluster}\0{r.tags['pair']}")
    whole = [pair for pair in pairs.values() if {r.tags["half"] for r in pair} == {"true", "adversarial"}]
    units = [all_right(unit) for unit in _grouped(records, _probmed_unit).values()]
    return {
        "overall": made.pop("overall"),
        "pairs": cell([all_right(pair) for pair in whole], run),
        "official": weighted_cell(units, _probmed_weights(records, units), run),
        **made,
    }


def _probmed_unit(record: Record) -> str:
    kind = record.tags.get("qa_type", "")
    return f"{record.cluster}\0{kind}" + (f"\0{record.sample_id}" if kind == "abnormality" else "")


def _probmed_weights(records: Sequence[Record], units: Sequence[Record]) -> list[Fraction]:
    """Return the weight of each unit in the benchmark's overall figure.

    Its script weighs entities and grounding of an image type by all images of that type, also those that have none.
    """

    def kind(record: Record) -> tuple[str, str]:
        return record.tags.get("image_type", ""), record.tags.get("qa_type", "")

    of_type = {
        organ: len({r.cluster for r in members}) for organ, members in _grouped(records, lambda r: kind(r)[0]).items()
    }
    asked = Counter(map(kind, units))
    return [
        Fraction(of_type[kind(unit)[0]], asked[kind(unit)]) if kind(unit)[1] in ("entity", "grounding") else Fraction(1)
        for unit in units
    ]


def slake_cells(header: Mapping[str, Any], records: Sequence[Record]) -> Cells:
    """Return the jury's cells, overall and by answer type, and the exact match of closed questions."""
    run = str(header["run_id"])
    closed = [record for record in records if record.tags.get("answer_type") == "closed"]
    matched = [replace(record, score=_closed_score(record)) for record in closed]
    return by_tag("answer_type", "open", "closed")(header, records) | {"closed, exact match": cell(matched, run)}


def _closed_score(record: Record) -> Score:
    if record.prediction.text is None:
        return Score(None, None, "failed")
    read = exact_match(record.prediction.text, record.target)
    if read.letter is None:
        return Score(0.0, None, f"unread: {read.rule}")
    return Score(float(read.letter == record.target.strip().lower()), read.letter, read.rule)


# Aloe-Vision, Table 10: Overall is the micro-average in all 18 rows.
_CAREQA = by_tag("category", "nursing", "medicine")

TASK_CELLS: dict[str, TaskCells] = {
    "careqa_vision_mcq": _CAREQA,
    "careqa_vision_open": _CAREQA,
    "omnimedvqa": omnimedvqa_cells,
    "gmai_mmbench": by_tags("task", "department", "granularity"),
    "pathmmu": by_tags("category"),
    "probmed": probmed_cells,
    "slake": slake_cells,
    "mmmu": by_tags("question_type", "subject"),
    "multimedqa": multimedqa_cells,
    "heart": effects.cells,
}
TASK_SECTIONS: dict[str, Callable[[Sequence[Record]], dict[str, Any]]] = {"heart": effects.section}
