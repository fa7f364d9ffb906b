"""What makes a page: columns, made of the places that tasks name in their facts, and the paper's rows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from aloe_bench.facts import Column, Place

Result = Mapping[str, Any]
# A page whose columns are made of results alone shows the first cells of a task, and tells the rest in the notes.
MAX_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A task on a page: its place, what the page says the paper scored, and whether the task is one that ships."""

    place: Place
    paper: str = ""
    shipped: bool = True


@dataclass(frozen=True, slots=True)
class PageText:
    """What a page says of itself, and the file of the paper's rows in boards/paper, with a field for each column."""

    title: str
    paragraphs: Callable[[Shape], tuple[str, ...]]
    paper: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """A page, or a part of one: its text, and task -> its columns."""

    text: PageText
    entries: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, str]:
        """Column key -> title; a title that another task has already is followed by the task's name."""
        titles: dict[str, str] = {}
        for task, entry in self.entries.items():
            for column in entry.place.columns:
                taken = column.title in titles.values()
                titles[key_of(task, column)] = f"{column.title} ({task})" if taken else column.title
        return titles

    @property
    def paper_fields(self) -> dict[str, str]:
        """Column key -> its field in the paper's rows; no task from outside the package stands in one."""
        return {
            key_of(task, column): column.paper
            for task, entry in self.entries.items()
            for column in entry.place.columns
            if column.paper and entry.shipped
        }

    def label(self, task: str) -> str:
        """How the notes call a task."""
        return self.entries[task].place.label or task

    def paper_lines(self) -> list[dict[str, str]]:
        """Return the paper's rows, field by field; empty for a page without a table in the paper."""
        if not self.text.paper:
            return []
        source = resources.files("aloe_bench.boards").joinpath("paper", self.text.paper)
        return list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))


def key_of(task: str, column: Column) -> str:
    """Return the key of a task's column, which no other task's column has."""
    return f"{task}\0{column.cell}"


def generic(task: str, results: Sequence[Result]) -> Place:
    """Return a place for a task that has none: its first cells as columns, the others in the notes."""
    cells = list(dict.fromkeys(name for result in results for name in result["cells"]))
    columns = tuple(Column(name[:1].upper() + name[1:], name) for name in cells[:MAX_COLUMNS])
    return Place("other", columns, task, tuple(cells[MAX_COLUMNS:]))
