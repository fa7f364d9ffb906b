"""items/<hash>.json: what the runs on one task share, so that a result need only say what became of each item.

The format is in docs/outcomes.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from aloe_bench.checked import checked
from aloe_bench.core import Record
from aloe_bench.errors import DataError
from aloe_bench.heart.measure.answers import SPOKEN, spoken

# Items of a table whose cues say how they are worded have columns for that, which is the second schema.
SCHEMA, WORDED = 1, 2
# What stands first of every item; the tags come after.
FIRST = ("id", "cluster")


class _File(TypedDict):
    schema: int
    task: str
    version: int
    data_sha256: str
    columns: list[str]
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Items:
    """The questions of one task that were asked, in its order, without their texts and answers.

    An attacked table has one item for each baseline. `clusters` number the source images or patients from 0, in the
    order of their names; `tags` are name -> value of each item, "" where it has none. `spoken` is attack -> tag -> what
    the rows of that attack all say of their wording.
    """

    task: str
    version: int
    data_sha256: str
    ids: tuple[str, ...]
    clusters: tuple[int, ...]
    tags: Mapping[str, tuple[str, ...]]
    spoken: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The file's content, one line an item: the same questions always give the same bytes."""
        said = {_column(attack, tag): values for attack, of in self.spoken.items() for tag, values in of.items()}
        facts = {
            "schema": WORDED if said else SCHEMA,
            "task": self.task,
            "version": self.version,
            "data_sha256": self.data_sha256,
            "columns": [*FIRST, *self.tags, *said],
        }
        rows = zip(self.ids, self.clusters, *self.tags.values(), *said.values(), strict=True)
        lines = ",\n".join(json.dumps(row) for row in rows)
        return f'{json.dumps(facts)[:-1]}, "items": [\n{lines}\n]}}\n'

    @property
    def sha256(self) -> str:
        """The file's name without its ending."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def path(self, folder: Path) -> Path:
        """Return where these items stand in a leaderboard's folder."""
        return folder / "items" / f"{self.sha256}.json"


def is_item(record: Record) -> bool:
    """Return whether a record is an item itself: as it stands, without a cue or control, and the first reply to it."""
    return record.cue is None and not record.arm and not record.repeat


def items_of(task: Mapping[str, Any], records: Sequence[Record]) -> Items:
    """Return the items of a run; `task` is that of its header. Raises DataError for two items of one id."""
    found = [record for record in records if is_item(record)]
    ids = [record.sample_id for record in found]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise DataError(f"{task['name']}: {twice} is in the run twice; every question needs an id of its own.")
    number = {name: i for i, name in enumerate(sorted({record.cluster for record in found}))}
    # The data set first, where there are several.
    names = sorted({tag for record in found for tag in record.tags}, key=lambda tag: (tag != "dataset", tag))
    return Items(
        str(task["name"]),
        int(task["version"]),
        str(task["data_sha256"]),
        tuple(ids),
        tuple(number[record.cluster] for record in found),
        {tag: tuple(record.tags.get(tag, "") for record in found) for tag in names},
        _spoken(ids, records),
    )


def _column(attack: str, tag: str) -> str:
    """Return the name of a column of what an attack's rows say."""
    return f"{attack}/{tag}"


def _spoken(ids: Sequence[str], records: Sequence[Record]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return what the rows of each attack on an item all say of their wording, of the attacks that say something."""
    rows: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        if record.cue and not record.arm and not record.repeat:
            rows.setdefault(record.cue.attack, {}).setdefault(record.cue.base_id, []).append(record)
    found = {attack: [spoken(of.get(item, ())) for item in ids] for attack, of in sorted(rows.items())}
    return {
        attack: {tag: tuple(one[tag] for one in said) for tag in SPOKEN if any(one[tag] for one in said)}
        for attack, said in found.items()
        if any(one["wording"] for one in said)
    }


def read_items(path: Path) -> Items:
    """Return the items in a file; raises DataError, naming the place, unless the file is what its name says."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot read ({error.strerror}); results name it. Build the leaderboard again."
        ) from error
    if hashlib.sha256(content).hexdigest() != path.stem:
        raise DataError(
            f"{path}: its content is not what its name, the SHA-256, says. Build it again from a run folder."
        )
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}).") from error
    file = checked(value, _File, str(path))
    columns, rows = file["columns"], file["items"]
    known = file["schema"] in (SCHEMA, WORDED)
    if not known or columns[:2] != list(FIRST) or len(set(columns)) < len(columns):
        raise DataError(
            f"{path}: expected items of schema {SCHEMA} or {WORDED}, in columns of which the first are id and cluster."
        )
    for i, row in enumerate(rows):
        fits = isinstance(row, list) and len(row) == len(columns) and type(row[1]) is int
        if not fits or not all(isinstance(cell, str) for cell in (row[0], *row[2:])):
            raise DataError(f"{path}: items[{i}] is not an id, a cluster's number and {len(columns) - 2} tags.")
    ids = tuple(row[0] for row in rows)
    if len(set(ids)) < len(ids):
        raise DataError(f"{path}: an id is there twice.")
    tags = {name: tuple(row[i] for row in rows) for i, name in enumerate(columns) if i > 1}
    said: dict[str, dict[str, tuple[str, ...]]] = {}
    for name in [*tags] if file["schema"] == WORDED else ():
        attack, _, tag = name.rpartition("/")
        if attack and tag in SPOKEN:
            said.setdefault(attack, {})[tag] = tags.pop(name)
    clusters = tuple(row[1] for row in rows)
    return Items(file["task"], file["version"], file["data_sha256"], ids, clusters, tags, said)
