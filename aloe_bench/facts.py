"""What a task may say of itself beyond its questions: its cells, who asks it, where it stands, what the paper says.

All of it is plain data, written into the header of a run: pages are built from results alone, without the task's file
or its data. Only rules that ship with this package are called by name (`registry.CELL_RULES`, `registry.MEASURES`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aloe_bench.errors import UsageError

Average = Literal["micro", "macro", "each"]


@dataclass(frozen=True, slots=True)
class CellSpec:
    """How one number, or one for each value of a tag, is made of a task's records.

    `only` keeps the records with these tags, in any case of letters. `average` is one of
    "micro": every question counts the same, or by the number in its tag `weight`;
    "macro": every value of the tag `over` counts the same (no such cell unless every record has that tag);
    "each": one cell for each value of `over`, whose name is `name` with the value for {}: `values` in this order and in
    any case of letters, else those that occur.
    `unit` names tags ("cluster" is the sample's own): questions that agree in all of them are one unit, right only if
    all of them are. `rule` is one of `registry.CELL_RULES`, which groups the records in its own way, or of
    `registry.REGRADES`, which reads their replies again.
    """

    name: str
    average: Average = "micro"
    over: str = ""
    values: tuple[str, ...] = ()
    only: Mapping[str, str] = field(default_factory=dict, hash=False)
    unit: tuple[str, ...] = ()
    weight: str = ""
    rule: str = ""

    @property
    def tags(self) -> set[str]:
        """The tags it reads."""
        return ({self.over, self.weight, *self.only, *self.unit}) - {"", "cluster"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a page: its title, the cell shown, and its field in the paper's rows of that page, if any."""

    title: str
    cell: str = "overall"
    paper: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """The columns of a task on one page, `page`.md, and what the page says of it.

    `label` is how the notes call the task (its name if empty), `asides` are cells whose percentage the notes tell;
    `scored` and `rows` say how it is scored, and on how many rows.
    """

    page: str
    columns: tuple[Column, ...]
    label: str = ""
    asides: tuple[str, ...] = ()
    scored: str = ""
    rows: str = ""


@dataclass(frozen=True, slots=True)
class Paper:
    """What the paper tells of a task: how many rows it scored, None where its figures do not tell, and that in words.

    Where these are fewer than the whole, `lacks` is the one group that the others are missing from.
    """

    rows: int | None = None
    lacks: str | None = None
    told: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a task says of itself; a task without facts has these defaults, and a row of its own on other.md.

    `measure` names one of `registry.MEASURES`, which takes the place of `cells`; `engine` one of `registry.ENGINES`,
    which asks in place of our own loop. `pictures` says whether they may be passed on: "share", "keep", or as the
    task's licence says.
    """

    cells: tuple[CellSpec, ...] = (CellSpec("overall"),)
    measure: str = ""
    engine: str = "native"
    places: tuple[Place, ...] = ()
    paper: Paper = Paper()
    pictures: Literal["licence", "share", "keep"] = "licence"


DEFAULTS = Facts()


def facts_of(task: object) -> Facts:
    """Return what `task` says of itself in its attribute `facts`, the defaults if it has none."""
    found = getattr(task, "facts", None)
    if found is None:
        return DEFAULTS
    if not isinstance(found, Facts):
        name = getattr(task, "name", task)
        raise UsageError(f"{name}: its facts are a {type(found).__name__}; expected aloe_bench.facts.Facts.")
    return found


def by_tag(*tags: str) -> tuple[CellSpec, ...]:
    """Return the cells `overall` and, for each value of each tag, "tag: value"."""
    return CellSpec("overall"), *(CellSpec(f"{tag}: {{}}", "each", tag) for tag in tags)
