"""What a model said of the samples of a pool, one line each on disk, held to the content that it was said of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench.errors import UsageError
from aloe_bench.files import LineWriter
from aloe_bench.images import FileImage
from aloe_bench.mixture.pictures import LookedAt
from aloe_bench.mixture.pool import Pool, text_sha256
from aloe_bench.training.data.schema import Conversation, to_json


def pictures_of(pool: Pool, table: Any) -> LookedAt:
    """Return the pictures that the rows of `table` show."""
    return LookedAt(pool.folder, [each for paths in table["pictures"].to_pylist() for each in paths])


@dataclass(frozen=True, slots=True)
class AskJob:
    """Some samples of a pool that a model is asked about: their rows and pictures, and what it said before, by id."""

    pool: Path
    rows: Any
    pictures: Mapping[str, FileImage | str]
    before: Mapping[str, str | None]

    def conversations(self) -> list[Conversation]:
        """Return the samples, read from the pool."""
        return list(Pool(self.pool).conversations(self.rows))


def ask_jobs(
    pool: Pool, rows: Any, places: Iterable[Sequence[int]], before: Callable[[str], str | None] = lambda name: None
) -> Iterator[AskJob]:
    """Yield a job for each of `places`, numbers of rows that are asked about together."""
    import pyarrow as pa

    needed = rows.select(["id", "file", "line", "pictures"])
    pictures = pictures_of(pool, needed)
    for some in places:
        own = needed.take(pa.array(some, pa.int64()))
        names, paths = own["id"].to_pylist(), own["pictures"].to_pylist()
        shown_here = {path: pictures[path] for each in paths for path in each}
        yield AskJob(pool.folder, own, shown_here, {name: before(name) for name in names})


def shown(conversation: Conversation, pictures: LookedAt | Mapping[str, FileImage | str]) -> tuple[FileImage, ...]:
    """Return the pictures of a sample. Raises UsageError if one is not at hand: no model is asked without it."""
    made = []
    for path in conversation.pictures:
        found = pictures[path]
        if not isinstance(found, FileImage):
            raise UsageError(f"{conversation.id}: {found}. A model is not asked about a sample without its pictures.")
        made.append(found)
    return tuple(made)


def contents(pool: Pool, table: Any) -> dict[str, str]:
    """Return, by id, the hash of what each row of `table` says and shows: another content is another question."""
    pictures = pictures_of(pool, table)
    return {
        each.id: text_sha256([to_json(each)["messages"], [image.sha256 for image in shown(each, pictures)]])[:16]
        for each in pool.conversations(table)
    }


class KeptReplies:
    """The lines of one file by sample; what was said of another content of a sample is left out."""

    def __init__(self, path: Path, of: Mapping[str, str]) -> None:
        self._path, self._of = path, of
        self._lines: dict[str, list[dict[str, Any]]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            self._take(json.loads(line) for line in path.read_bytes().split(b"\n")[:-1])

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        """Return what was said of the sample `name`, in order."""
        return self._lines.get(name, [])

    def __enter__(self) -> KeptReplies:
        self._writer = LineWriter(self._path)
        self._writer.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)

    def write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add lines, each with an "id"; they are on disk when this returns."""
        made = [{**line, "content": self._of[line["id"]]} for line in lines]
        self._writer.write(made)
        self._take(iter(made))

    def _take(self, lines: Iterator[dict[str, Any]]) -> None:
        for line in lines:
            if line.get("content") == self._of.get(line["id"]):
                self._lines.setdefault(line["id"], []).append(line)
