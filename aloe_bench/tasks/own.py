"""Questions of one's own as a task: `mcq:FILE`, `yesno:FILE` and `open:FILE` (docs/own-questions.md)."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench.core import Absent, Kind, Sample
from aloe_bench.errors import DataError, UsageError
from aloe_bench.facts import CellSpec, Facts
from aloe_bench.files import safe_name
from aloe_bench.tasks import formats
from aloe_bench.tasks.data.questions import Questions, read_questions

log = logging.getLogger(__name__)

KINDS: dict[str, Kind] = {"mcq": "choice", "yesno": "yes_no", "open": "open"}
# A tag that so many values share is worth a cell each; one of more values tells rows apart, not groups.
MOST_GROUPS = 8


@dataclass(frozen=True, slots=True)
class OwnTask:
    """The questions of one file, all of whose rows are the whole set; a Task with facts.

    `notes` tell what was read in another way and what no row names; they stand in a run's header. `left_over` names
    each picture beside the rows' that no row names.
    """

    name: str
    rows: tuple[Sample | Absent, ...]
    source: str
    revision: str
    facts: Facts
    notes: tuple[str, ...] = ()
    left_over: tuple[tuple[str, str, str], ...] = ()
    licence: str = "your own"
    version: int = 1

    @property
    def expected_rows(self) -> int:
        """The rows of the file, those whose pictures are absent too."""
        return len(self.rows)

    def load(self, root: Path) -> Iterator[Sample | Absent]:
        """Yield the rows in the order of the file; it is where the task was opened, not below `root`."""
        yield from self.rows

    def prompt(self, sample: Sample) -> str:
        """Return the text of the user turn."""
        return formats.prompt(sample)


def open_mcq(place: str) -> OwnTask:
    """Return the task of multiple-choice questions in the file at `place`; raises DataError with all its faults."""
    return open_questions("mcq", place)


def open_yes_no(place: str) -> OwnTask:
    """Return the task of yes/no questions in the file at `place`; raises DataError with all its faults."""
    return open_questions("yesno", place)


def open_open(place: str) -> OwnTask:
    """Return the task of open questions in the file at `place`; raises DataError with all its faults."""
    return open_questions("open", place)


def open_questions(kind: str, place: str) -> OwnTask:
    """Return the task of the file at `place`, whose questions are of `kind`: "mcq", "yesno" or "open"."""
    if not place.strip():
        raise UsageError(f"{kind}: names no file; expected {kind}:FILE, a table of questions (CSV, JSONL or Parquet).")
    path = Path(place).expanduser()
    if path.is_dir():
        raise DataError(f"{path}: a folder; expected {kind}:FILE, a table of questions (CSV, JSONL or Parquet).")
    name = f"{kind}-{safe_name(path.stem)}"
    found = read_questions(path, KINDS[kind], name)
    found.stop_if_faulty()
    for note in found.notes:
        log.warning("%s", note)
    samples = [row for row in found.rows if isinstance(row, Sample)]
    return OwnTask(
        name=name,
        rows=tuple(found.rows),
        source=path.name,
        revision=hashlib.sha256(path.read_bytes()).hexdigest()[:12],
        facts=Facts((CellSpec("overall"), *_groups(samples))),
        notes=tuple(found.notes),
        left_over=tuple(("picture", name, "no row names it: not shown") for name in found.left_over),
    )


def facts_of_file(found: Questions) -> dict[str, Any]:
    """Return what a file of questions holds, in counts, for people."""
    samples = [row for row in found.rows if isinstance(row, Sample)]
    options = sorted({len(sample.choices) for sample in samples if sample.choices})
    pictures = {image.sha256 for sample in samples for image in sample.images}
    return {
        "questions": len(found.rows),
        **({"options": f"{options[0]} to {options[-1]}"} if options else {}),
        "pictures": f"{len(pictures)}, {sum(not sample.images for sample in samples)} questions without one",
        "clusters": len({sample.cluster for sample in samples}),
        "tags": sorted({tag for sample in samples for tag in sample.tags}),
        "cells": ["overall", *(spec.name.removesuffix(": {}") for spec in _groups(samples))],
    }


def _groups(samples: Sequence[Sample]) -> list[CellSpec]:
    """Return a spec of cells for each tag that every row has and that makes groups of them."""
    tags = dict.fromkeys(tag for sample in samples for tag in sample.tags)
    groups = []
    for tag in tags:
        counts = Counter(sample.tags.get(tag, "") for sample in samples)
        if tag != "cluster" and "" not in counts and 2 <= len(counts) <= MOST_GROUPS and len(counts) < len(samples):
            groups.append(CellSpec(f"{tag}: {{}}", "each", tag))
    return groups
