"""The figures of a report that every run has: how often right, what a false cue costs, what became of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aloe_bench.reporting.change import CHANGES
from aloe_bench.reporting.charts import Entry, ReportFigure, bars, dots, short
from aloe_bench.reporting.probes import controls, jury, read_cues, wordings
from aloe_bench.reporting.read import QuestionSet, ReportedRun

CUES = {"none": "no cue", "assistive": "true cue", "neutral": "cue that claims nothing", "adversarial": "false cue"}


def figures(each: QuestionSet) -> list[ReportFigure]:
    """Return the figures of one task's runs, those alone for which the runs hold the numbers."""
    found = [_per_cue(each), _drops(each)] if each.attacked else [_per_cell(each)]
    return [*found, *_paired(each), *read_cues(each), *wordings(each), *controls(each), *jury(each), _outcomes(each)]


def _columns(run: ReportedRun) -> Mapping[str, Any]:
    """Return task -> attack or "baseline" -> measure -> levels of an attacked table's run."""
    return {task: part["columns"] for task, part in run.section["heart"].items()}


def _per_cue(each: QuestionSet) -> ReportFigure:
    entries: list[tuple[str, str, str, Entry]] = []
    for task in _columns(each.runs[0]):
        for run in each.runs:
            columns = _columns(run)[task]
            entries.append((f"{task}: no cue", run.name, "none", columns["baseline"]["accuracy"]["macro"]))
        for attack in [name for name in _columns(each.runs[0])[task] if name != "baseline"]:
            for variant in ("assistive", "neutral", "adversarial"):
                for run in each.runs:
                    if levels := _columns(run)[task][attack].get(variant):
                        entries.append((f"{task}: {attack}", run.name, variant, levels["macro"]))
    return dots("accuracy", "How often right, by cue", "accuracy in %", entries, CUES)


def _per_cell(each: QuestionSet) -> ReportFigure:
    entries: list[tuple[str, str, str, Entry]] = [
        (name, run.name, "none", {"value": cell.value, "interval": cell.interval, "n": cell.n})
        for name in each.runs[0].cells
        for run in each.runs
        if (cell := run.cells.get(name)) is not None
    ]
    return dots("accuracy", "How often right", "accuracy in %", entries[:60], {"none": "accuracy"})


def _drops(each: QuestionSet) -> ReportFigure:
    entries = [
        (f"{task}: {attack}", run.name, "adversarial", measures["robustness_gap"]["macro"])
        for task in _columns(each.runs[0])
        for attack in _columns(each.runs[0])[task]
        for run in each.runs
        for measures in [_columns(run)[task][attack]]
        if "robustness_gap" in measures
    ]
    title = "What a false cue costs: accuracy without it minus accuracy with it, same items"
    return dots("drops", title, "points lost", entries, {"adversarial": "drop"}, zero=True)


def _paired(each: QuestionSet) -> list[ReportFigure]:
    """Return a figure for each pair of neighbouring runs: second minus first, item by item."""
    found = []
    for at, pair in enumerate(each.pairs):
        first, second = each.runs[at].name, each.runs[at + 1].name
        rows = [row for row in pair["rows"] if row["value"] is not None and "led" not in row["row"]]
        entries = [(row["row"].replace("/", ": "), "", "none", row) for row in rows]
        title = f"{short(second)} against {short(first)}: the change on the same items"
        found.append(dots(f"paired{at}", title, "points, second minus first", entries, {"none": "change"}, zero=True))
    return found


def _outcomes(each: QuestionSet) -> ReportFigure:
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for run in each.runs:
        for record, change in zip(run.records, run.changes, strict=True):
            cue = f"{record.cue.attack}, {record.cue.variant}" if record.cue else "no cue"
            line = counts.setdefault((cue, run.name), dict.fromkeys(CHANGES, 0))
            line[change] += 1
    order = list(dict.fromkeys(cue for cue, _ in counts))
    names = [run.name for run in each.runs]
    lines = sorted(counts, key=lambda key: (order.index(key[0]), names.index(key[1])))
    used = [name for name in CHANGES if any(line[name] for line in counts.values())]
    ordered = {key: counts[key] for key in lines}
    return bars("outcomes", "What became of the answers", ordered, used, len(each.runs) > 1)
