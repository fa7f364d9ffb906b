"""What in a run's data or among its verdicts found no partner: dropped.csv beside its log.

A line has what the entry is, its name and what became of it. `left_over` in summary.json holds a sentence for each
kind and reason, with the first ten names.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from aloe_bench.files import write_atomic
from aloe_bench.joins import dropped_csv, first_ten

FILE = "dropped.csv"
COLUMNS = ("what", "name", "reason")
ROW, PICTURE, VERDICT, LABEL = "row", "picture", "verdict", "label"


class Unmatched(NamedTuple):
    """An entry without a partner: `what` it is, in the singular, the name it goes by, and what became of it."""

    what: str
    name: str
    reason: str


def keep_left_over(folder: Path, whats: Sequence[str], entries: Iterable[Unmatched]) -> None:
    """Put into a run's folder what a join left over of the kinds `whats`, in place of what stood there of them."""
    before = read_left_over(folder)
    now = sorted({*(each for each in before if each.what not in whats), *entries})
    if now != before:
        write_atomic(folder / FILE, dropped_csv(now, COLUMNS))


def sentences(entries: Sequence[Unmatched]) -> list[str]:
    """Return a sentence for each kind of entry and reason: how many, and the first ten."""
    groups: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        groups.setdefault((entry.what, entry.reason), []).append(entry.name)
    return [
        f"{len(names)} {what}{'' if len(names) == 1 else 's'}, {reason}: {first_ten(names)}"
        for (what, reason), names in groups.items()
    ]


def read_left_over(folder: Path) -> list[Unmatched]:
    """Return what `keep_left_over` put into a run's folder."""
    path = folder / FILE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Unmatched(*(line[name] or "" for name in COLUMNS)) for line in csv.DictReader(file)]
