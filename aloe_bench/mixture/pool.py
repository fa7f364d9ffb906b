"""A pool: the samples of some sources on disk, and one table a step that says of each why it is out, or nothing.

    POOL/pool.json               what it was made of: mappings, and the hash of every file of a source
    POOL/sources.json            size and times of those files, by which one that may have changed is read again
    POOL/rows/<source>/*.jsonl   the conversations, as training/data/schema.py has them; a sample is a file and a line
    POOL/images/<source>         a link to the source's folder: pictures are never copied
    POOL/images/<source>.inside/ pictures whose bytes were inside the source's tables
    POOL/pictures/*.parquet      size, hashes or fault of each picture
    POOL/tables/<step>.parquet   all samples after that step: `reason` is null where a sample is kept
    POOL/steps/<step>.json       settings, input and counts of that step

A step reads the table of the step before it. The same settings on the same input are not done again; other ones
remove what later steps made of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError, UsageError
from aloe_bench.files import alive, write_json
from aloe_bench.training.data.filters import Reason
from aloe_bench.training.data.schema import Conversation, from_json

# The steps in their order, and the reasons that each may give; together they are all reasons, in their order.
STEPS: dict[str, tuple[Reason, ...]] = {
    "read": ("malformed row", "repeated id", "not selected", "not sampled"),
    "clean": (
        "too many pictures", "unreadable picture", "small picture", "control token", "too long", "no loss",
    ),
    "leakage": ("leaked picture", "leaked text"),
    "tag": (),
    "perplexity": (),
    "ocr": (),
    "filter": ("low score", "perplexity", "answer in picture"),
    "rebalance": ("over budget",),
}  # fmt: skip
COUNTS = ("tokens", "loss_tokens", "text_tokens", "image_tokens")
POOL_FILE = "pool.json"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Samples before and after a step and what it took out, by source; before = after + sum of reasons, always."""

    before: int
    after: int
    dropped: dict[str, int]
    sources: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Pool:
    """The folder of a pool."""

    folder: Path

    def sweep(self) -> None:
        """Remove the half-written files that killed processes left."""
        for path in self.folder.rglob(".*.tmp"):
            found = re.search(r"\.(\d+)\.tmp$", path.name)
            if found and not alive(int(found[1])):
                path.unlink(missing_ok=True)

    def facts(self) -> dict[str, Any]:
        """Return pool.json. Raises DataError if the folder is not a pool."""
        try:
            found: dict[str, Any] = json.loads((self.folder / POOL_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder}: no pool of samples ({POOL_FILE} is missing or broken). Make one: "
                f"aloe-bench data clean SOURCE --output {self.folder}"
            ) from error
        return found

    def table_path(self, step: str) -> Path:
        """Return where the table of `step` is."""
        return self.folder / "tables" / f"{step}.parquet"

    def report(self, step: str) -> dict[str, Any] | None:
        """Return what steps/<step>.json says, None if the step was not done."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "steps" / f"{step}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if self.table_path(step).is_file() else None

    def done(self) -> list[str]:
        """Return the steps that were done, in order."""
        return [step for step in STEPS if self.report(step) is not None]

    def table(self, step: str | None = None, columns: list[str] | None = None, file: str | None = None) -> Any:
        """Return the table after `step`, a pyarrow one; after the last step that was done if none is named.

        `file` gives the samples alone whose conversations are in that file.
        """
        import pyarrow.parquet as parquet

        done = self.done()
        if step is None and not done:
            self.facts()
            raise DataError(f"{self.folder}: nothing was finished here yet. Run the same `data clean` again.")
        some = [("file", "=", file)] if file is not None else None
        return parquet.read_table(self.table_path(step or done[-1]), columns=columns, filters=some)

    def step(
        self, name: str, settings: Mapping[str, Any], make: Callable[[Any], tuple[Any, dict[str, Any]]]
    ) -> dict[str, Any]:
        """Return the report of step `name`: made now by `make`, or as it was if settings and input are the same.

        A step that reports "failed" calls is made again. `make` gets the table before the step and returns the one
        after it, rows in the same order, and facts to report.
        """
        before = [step for step in self.done() if list(STEPS).index(step) < list(STEPS).index(name)]
        if name != "read" and not before:
            raise UsageError(f"{self.folder}: `{name}` needs a pool that `aloe-bench data clean` made.")
        read_from = before[-1] if before else None
        asked = {"settings": json.loads(json.dumps(settings)), "input": self._digest(read_from) if read_from else None}
        made = self.report(name)
        if made is not None and not made.get("failed") and {key: made[key] for key in asked} == asked:
            return made
        self.forget(name)
        table = self.table(read_from) if read_from else None
        after, facts = make(table)
        counts = reconciled(name, table, after)
        path = self.table_path(name)
        write_table(path, after)
        report = {"step": name, **asked, "sha256": file_sha256(path), "counts": _as_json(counts), **facts}
        write_json(self.folder / "steps" / f"{name}.json", report)
        return report

    def conversations(self, table: Any) -> Iterator[Conversation]:
        """Yield the conversations of the rows of `table`, which needs the columns file and line, in its order."""
        for file, line in zip(table["file"].to_pylist(), table["line"].to_pylist(), strict=True):
            path = self.folder / "rows" / file
            known = path.stat()
            found = _lines(path, known.st_size, known.st_mtime_ns)[line]
            yield from_json(json.loads(found), f"{path}:{line + 1}")

    def _digest(self, step: str) -> str:
        report = self.report(step)
        return str(report["sha256"]) if report else ""

    def forget(self, name: str) -> None:
        """Remove what this step and later ones left: it would be of another input."""
        order = list(STEPS)
        for step in order[order.index(name) :]:
            (self.folder / "steps" / f"{step}.json").unlink(missing_ok=True)
            self.table_path(step).unlink(missing_ok=True)


@lru_cache(maxsize=4)
def _lines(path: Path, size: int, time_ns: int) -> list[bytes]:
    """Return the lines of a file of conversations; samples that are asked about together lie in few files."""
    return path.read_bytes().split(b"\n")


def reconciled(step: str, before: Any, after: Any) -> Reconciled:
    """Return the counts of a step once it is sure that they add up.

    Raises DataError if a sample was lost, came back, has a reason that is not this step's, or had one already.
    """
    import numpy as np

    reasons = np.asarray(after["reason"].to_pylist(), dtype=object)
    out = np.array([reason is not None for reason in reasons], bool)
    if before is None:
        was_out = np.zeros(len(reasons), bool)
    else:
        if before["id"].combine_chunks() != after["id"].combine_chunks():
            raise DataError(
                f"step {step}: {len(before)} samples went in and others came out. This is a defect; report it."
            )
        earlier = np.asarray(before["reason"].to_pylist(), dtype=object)
        was_out = np.array([reason is not None for reason in earlier], bool)
        if (reasons[was_out] != earlier[was_out]).any():
            raise DataError(f"step {step}: a reason given earlier was changed. This is a defect; report it.")
    new = out & ~was_out
    if strange := {str(reason) for reason in reasons[new]} - set(STEPS[step]):
        raise DataError(f"step {step} gave the reason {sorted(strange)[0]!r}, which is not its own. Report it.")
    sources = np.asarray(after["source"].to_pylist(), dtype=object)
    found: dict[str, dict[str, int]] = {}
    for source in sorted(set(sources)):
        own = sources == source
        dropped: dict[str, int] = {r: int((own & new & (reasons == r)).sum()) for r in STEPS[step]}
        found[source] = {"before": int((own & ~was_out).sum()), **dropped, "after": int((own & ~out).sum())}
        if found[source]["before"] - sum(dropped.values()) != found[source]["after"]:
            raise DataError(f"step {step}, {source}: {found[source]} does not add up. This is a defect; report it.")
    total: dict[str, int] = {r: sum(counts[r] for counts in found.values()) for r in STEPS[step]}
    return Reconciled(int((~was_out).sum()), int((~out).sum()), total, found)


def dropped(table: Any, reason: Reason, which: Any, details: Mapping[int, str] | None = None) -> Any:
    """Return `table` with the rows of the boolean array `which` dropped for `reason`, unless they were before.

    `details` says more of a row, by its number.
    """
    import numpy as np
    import pyarrow as pa

    reasons, notes = table["reason"].to_pylist(), table["detail"].to_pylist()
    for row in np.flatnonzero(which):
        if reasons[row] is None:
            reasons[row], notes[row] = reason, (details or {}).get(int(row), "")
    return with_columns(table, {"reason": pa.array(reasons, pa.string()), "detail": pa.array(notes, pa.string())})


def kept(table: Any) -> Any:
    """Return the rows of `table` that no step has dropped."""
    import pyarrow.compute as pc

    return table.filter(pc.is_null(table["reason"]))


def with_columns(table: Any, columns: Mapping[str, Any]) -> Any:
    """Return `table` with these columns set."""
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
    return table


def write_table(path: Path, table: Any) -> None:
    """Write `table` as Parquet, whole or not at all; equal tables give equal bytes."""
    import pyarrow.parquet as parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        parquet.write_table(table.combine_chunks(), temporary, compression="zstd", row_group_size=1 << 17)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror or error}). Free space and run it again.") from error
    finally:
        temporary.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(value: object) -> str:
    """Return the hash of `value` as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _as_json(counts: Reconciled) -> dict[str, Any]:
    return {
        "before": counts.before, "dropped": counts.dropped, "after": counts.after, "sources": counts.sources,
    }  # fmt: skip
