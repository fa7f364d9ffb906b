"""A published benchmark as data: where its files lie, which reader fits them, and how many rows it must give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.core import Absent, DataSet, Sample
from aloe_bench.errors import DataError, MissingDataError
from aloe_bench.facts import DEFAULTS, Column, Facts, Place
from aloe_bench.tasks import formats
from aloe_bench.tasks.data.fetch import Fetch
from aloe_bench.tasks.data.fetched import refuse_changed

Rows = Iterator[Sample | Absent]


def table_3(title: str, scored: str, rows: str, asides: tuple[str, ...] = ()) -> Place:
    """Return the place of a task in the shape of Aloe-Vision's Table 3, in the column of this title."""
    return Place("medical", (Column(title, paper=title),), title, asides, scored, rows)


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which the files of a benchmark lie.

    `marker` is a glob below the data folder that tells this layout; `read` yields the rows of that folder, and raises
    DataError naming file and row for whatever is broken.
    """

    marker: str
    read: Callable[[Path], Rows]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A task of which only readers differ; a Task with facts.

    `source` is the hub id of its data set, `revision` the commit (or its first digits) that its counts were seen at,
    "main" where none is known; `files` are the globs that `data fetch` brings into `folder` below the data root;
    `about` says in a few words what is asked.
    """

    name: str
    source: str
    revision: str
    licence: str
    expected_rows: int
    folder: str
    layouts: tuple[Layout, ...]
    files: tuple[str, ...]
    version: int = 2  # 2: transparent pictures stand on white, 16-bit colours go through a window
    facts: Facts = DEFAULTS
    about: str = ""

    def load(self, root: Path) -> Rows:
        """Yield samples, and what is absent, from the first folder with a known layout.

        Raises MissingDataError if there is none, DataError naming task, file and row for whatever is broken.
        """
        layout, folder = self._locate(root)
        seen: set[str] = set()
        try:
            refuse_changed(folder, self.revision)
            for number, row in enumerate(layout.read(folder), 1):
                if row.id in seen:
                    raise DataError(f"{folder}: row {number}: {row.id} occurs twice; every question needs its own id.")
                seen.add(row.id)
                yield row
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from error

    def prompt(self, sample: Sample) -> str:
        """Return the text of the user turn."""
        return formats.prompt(sample)

    def data_sets(self, root: Path) -> tuple[DataSet, ...]:
        """Return the data set, and the folder that is loaded."""
        return (DataSet(self.source, self._locate(root)[1]),)

    @property
    def fetches(self) -> tuple[Fetch, ...]:
        """What `data fetch` brings."""
        return (Fetch(self.source, self.revision, self.folder, self.files),)

    def folders(self, root: Path) -> list[Path]:
        """Return where data is looked for, in this order; `data fetch` fills the first."""
        names = dict.fromkeys((self.folder, self.source.rpartition("/")[2]))
        return [*(root / name for name in names), root]

    def _locate(self, root: Path) -> tuple[Layout, Path]:
        places = self.folders(root)
        for place in places:
            for layout in self.layouts:
                if next(place.glob(layout.marker), None) is not None:
                    return layout, place
        expected = " or ".join(layout.marker for layout in self.layouts)
        looked = ", ".join(map(str, places))
        raise MissingDataError(
            self.name,
            f"{self.name}: no data in {root}.\n"
            f"  {self.source}: {expected}; looked in {looked}"
            # A task of somebody's own has a source in words, and nothing to fetch it from.
            + (f"\n  fetch with `aloe-bench data fetch {self.name} --data-root {root}`" if "/" in self.source else ""),
        )
