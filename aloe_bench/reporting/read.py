"""Runs that were asked the same questions, side by side."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from aloe_bench.boards.compare import Side, compared, differences
from aloe_bench.boards.tables import is_miniature, protocol_label
from aloe_bench.boards.unshared import other_items
from aloe_bench.core import Cell, Record
from aloe_bench.errors import DataError, RunMismatchError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import is_attacked, task_cells, task_sections
from aloe_bench.evaluation.corrected import Labels, corrected_cells, read_labels
from aloe_bench.evaluation.reliance import controls_section
from aloe_bench.reporting.change import changes

OTHERWISE = "‡"
MADE_UP = " (miniature, random or mock)"


@dataclass(frozen=True)
class ReportedRun:
    """A finished run, read once; `cells` and `section` are what its summary holds, `side` what is compared.

    `label` is what the page calls it, with what sets it apart in words; `name` is short, for charts, with a dagger for
    such words. Two runs of one name are told apart by their times. Both end in a double dagger where the run was not
    asked and graded as the first beside it: `otherwise` says in what.
    """

    folder: Path
    name: str
    label: str
    side: Side
    cells: Mapping[str, Cell]
    section: Mapping[str, Any]
    labels: Labels | None = None
    otherwise: tuple[str, ...] = ()

    @property
    def header(self) -> Mapping[str, Any]:
        """How it was asked."""
        return self.side.header

    @property
    def records(self) -> Sequence[Record]:
        """The replies to the task's own samples, in its order."""
        return self.side.records

    @cached_property
    def changes(self) -> list[str]:
        """What became of each of the `records`, in one word."""
        return changes(self.records)

    @cached_property
    def corrected(self) -> Mapping[str, Mapping[str, Any]]:
        """Judged cells as the experts' labels of a random part correct them, by name; empty without labels."""
        return corrected_cells(self.header, self.records, self.labels)

    @cached_property
    def reliance(self) -> Mapping[str, Any]:
        """What its image controls say, by group; empty without any."""
        found: Mapping[str, Any] = controls_section(self.records, self.side.controls).get("controls", {})
        return found


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The runs on one task's questions, which all of them answered; `pairs` compares neighbours, row by row."""

    title: str
    attacked: bool
    runs: tuple[ReportedRun, ...]
    pairs: tuple[Mapping[str, Any], ...]

    @property
    def records(self) -> Sequence[Record]:
        """The questions, as the first run has them."""
        return self.runs[0].records

    @property
    def differences(self) -> list[str]:
        """What of how these runs were asked and graded is not the same."""
        return list(dict.fromkeys(name for pair in self.pairs for name in pair["differ_in"]))


def question_sets(folders: Sequence[Path]) -> list[QuestionSet]:
    """Return the runs by the questions they answered, in the order given.

    Raises DataError for an unfinished run or one given twice, RunMismatchError for runs of one task that did not
    answer the same items.
    """
    found: dict[tuple[str, str], list[ReportedRun]] = {}
    for folder in folders:
        with _uncollected():
            run = _read(folder)
        task = run.header["task"]
        there = found.setdefault((str(task["name"]), str(task["data_sha256"])), [])
        if any(other.header["run_id"] == run.header["run_id"] and other.label == run.label for other in there):
            raise DataError(f"{folder}: this run is given twice; give each once.")
        there.append(run)
    found = {key: _told_apart(runs) for key, runs in found.items()}
    names = [name for name, _ in found]
    return [
        _question_set(name if names.count(name) == 1 else f"{name}, data {data[:8]}", runs)
        for (name, data), runs in found.items()
    ]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leave the garbage collector out: it walks through all records again and again, a third of the time of reading."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _read(folder: Path) -> ReportedRun:
    header, every = runlog.read_header(folder), runlog.read_lines(folder)
    records = [record for record in every if not record.arm and not record.repeat]
    if not records or len(records) < header["n"]:
        raise DataError(f"{folder}: {len(records)} records, expected {header['n']}. Resume the run, then report.")
    side = Side(folder, header, records, [r for r in every if r.arm], [r for r in every if r.repeat])
    marks = " (partial)" if header.get("partial") or header.get("limit") is not None else ""
    marks += MADE_UP if is_miniature(header) else ""
    name = f"{header['model']['name']}{protocol_label(header)}"
    return ReportedRun(
        folder, name + ("†" if marks else ""), name + marks, side, task_cells(header, records),
        task_sections(header, records, side.controls), read_labels(folder),
    )  # fmt: skip


def _told_apart(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """Return the runs with their ids behind names that more than one of them has."""
    names = [run.name for run in runs]
    return [
        replace(run, name=f"{run.name} {run.header['run_id']}", label=f"{run.label} {run.header['run_id']}")
        if names.count(run.name) > 1
        else run
        for run in runs
    ]


def _question_set(title: str, runs: Sequence[ReportedRun]) -> QuestionSet:
    for run in runs[1:]:
        if [r.sample_id for r in run.records] != [r.sample_id for r in runs[0].records]:
            told = "".join(f" {sentence}." for sentence in other_items(runs[0].records, run.records))
            raise RunMismatchError(
                f"{runs[0].folder} and {run.folder}: not the same items of one task (a limit or a shard).{told} "
                "Report them apart."
            )
    pairs = tuple(compared(one.side, two.side) for one, two in pairwise(runs))
    return QuestionSet(title, is_attacked(runs[0].records), tuple(_marked(runs)), pairs)


def _marked(runs: Sequence[ReportedRun]) -> Iterator[ReportedRun]:
    """Yield the runs, those with a mark that were asked or graded otherwise than the first."""
    for run in runs:
        if found := differences(runs[0].header, run.header):
            yield replace(run, name=f"{run.name}{OTHERWISE}", label=f"{run.label} {OTHERWISE}", otherwise=tuple(found))
        else:
            yield run
